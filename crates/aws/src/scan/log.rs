//! Where the manifests of a scan go.

use super::{control, header};
use crate::error::StepError;
use crate::work::Work;
use bytes::Bytes;
use longhaul_core::backfill::manifest::{Header, HeaderLine, Progress, manifest_key};
use longhaul_core::backfill::pack::Pile;
use longhaul_core::backfill::run::{Hint, Run, hint_key};
use longhaul_core::config::Route;
use longhaul_core::error::ErrorName;
use serde::Serialize;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::sleep;

/// Takes what a scan finds, manifest by manifest.
#[async_trait::async_trait]
pub trait Log: Send {
    /// How far the shard has come.
    async fn recover(&mut self) -> Result<Progress, StepError>;
    /// Takes the next manifest, and with it how far the shard has come.
    async fn write(&mut self, pile: Pile, progress: &Progress) -> Result<Written, StepError>;
    /// Remembers how far the shard has come without anything to write.
    async fn note(&mut self, progress: &Progress) -> Result<(), StepError>;
    /// True if the user wants the scan to pause or to stop.
    async fn is_held(&mut self) -> Result<bool, StepError>;
}

/// What became of a manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Written {
    /// It is taken.
    Ours,
    /// One stands under its number already, a twin's or our own after a lost reply, and says this.
    Theirs(Box<Progress>),
}

/// Tries of a write, each with the SDK's own inside.
const TRIES: u32 = 3;
/// More than any hint.
const HINT_MAX_BYTES: u64 = 16 * 1024 * 1024;
/// Manifests between two hints: so many headers may have to be found again after a crash.
const NOTE_EVERY: u32 = 64;

/// The work bucket. Each manifest is written once and never again.
#[derive(Debug)]
pub(crate) struct BucketLog {
    work: Arc<dyn Work>,
    run: String,
    shard: u32,
    route: Route,
    /// Number of the next manifest.
    number: u32,
}

impl BucketLog {
    pub(crate) fn new(work: &Arc<dyn Work>, run: &Run, shard: u32, route: &Route) -> Self {
        Self { work: work.clone(), run: run.name.clone(), shard, route: route.clone(), number: 0 }
    }

    fn key(&self, number: u32) -> String {
        manifest_key(&self.run, self.shard, number)
    }

    /// The header of a manifest, where it is written.
    async fn header(&self, number: u32) -> Result<Option<Header>, StepError> {
        Ok(header(&*self.work, &self.key(number)).await?.map(|(header, _)| header))
    }

    /// The last manifest from `from` on. They are written one behind the other, so a search by halves finds it.
    async fn last(&self, from: u32) -> Result<Option<Header>, StepError> {
        let Some(mut last) = self.header(from).await? else { return Ok(None) };
        let (mut step, mut missing) = (1, None);
        while missing.is_none_or(|missing| missing - last.number > 1) {
            let number = match missing {
                None => last.number.saturating_add(step),
                Some(missing) => last.number + (missing - last.number) / 2,
            };
            match self.header(number).await? {
                Some(header) => last = header,
                None => missing = Some(number),
            }
            step = step.saturating_mul(2);
        }
        Ok(Some(last))
    }

    async fn put_new(&self, key: &str, body: &Bytes) -> Result<bool, StepError> {
        let mut tries = 1;
        loop {
            match self.work.put_new(key, body.clone()).await {
                // 409: a twin's write is under way.
                Err(error) if tries < TRIES && (error.name.is_retryable() || error.status == Some(409)) => {
                    tracing::info!(%error, key, "manifest written again");
                    sleep(Duration::from_millis(250 << tries)).await;
                    tries += 1;
                }
                other => return other,
            }
        }
    }

    fn hint_key(&self) -> String {
        hint_key(&self.run, self.shard)
    }
}

#[async_trait::async_trait]
impl Log for BucketLog {
    async fn recover(&mut self) -> Result<Progress, StepError> {
        let key = self.hint_key();
        let hint = self.work.find(&key, HINT_MAX_BYTES).await?;
        let hint = hint.and_then(|found| match serde_json::from_slice::<Hint>(&found.body) {
            Ok(hint) => Some(hint),
            Err(error) => {
                // It only saves work.
                tracing::warn!(%error, key, "not a hint");
                None
            }
        });
        let hint = hint.unwrap_or(Hint { number: 0, progress: Progress::default() });
        if let Some(last) = self.last(hint.number).await? {
            self.number = last.number + 1;
            return Ok(last.progress);
        }
        self.number = hint.number;
        Ok(hint.progress)
    }

    async fn write(&mut self, pile: Pile, progress: &Progress) -> Result<Written, StepError> {
        let header = Header {
            run: self.run.clone(),
            shard: self.shard,
            number: self.number,
            route: self.route.clone(),
            objects: pile.objects.len() as u32,
            bytes: pile.bytes,
            deletions: pile.deletions.len() as u32,
            deletions_at: 0,
            progress: progress.clone(),
        };
        let key = self.key(self.number);
        let written = self.put_new(&key, &manifest(header, &pile)?).await?;
        let number = self.number;
        self.number += 1;
        if written {
            tracing::info!(key, objects = pile.objects.len(), deletions = pile.deletions.len(), "manifest written");
            if number % NOTE_EVERY == NOTE_EVERY - 1 {
                self.note(progress).await?;
            }
            return Ok(Written::Ours);
        }
        let theirs = self.header(number).await?;
        let gone = || StepError::new(ErrorName::Transient, format!("{key} of the work bucket came and went"));
        Ok(Written::Theirs(Box::new(theirs.ok_or_else(gone)?.progress)))
    }

    async fn note(&mut self, progress: &Progress) -> Result<(), StepError> {
        let hint = Hint { number: self.number, progress: progress.clone() };
        let body = serde_json::to_vec(&hint).map_err(|error| StepError::bug(error.to_string()))?;
        self.work.put(&self.hint_key(), body.into()).await
    }

    async fn is_held(&mut self) -> Result<bool, StepError> {
        Ok(control(&*self.work, &self.run).await?.is_some())
    }
}

/// The text of a manifest.
fn manifest(header: Header, pile: &Pile) -> Result<Bytes, StepError> {
    let mut objects = Vec::new();
    for object in &pile.objects {
        line(&mut objects, object)?;
    }
    let mut header = HeaderLine { manifest: header };
    let mut text = Vec::new();
    loop {
        text.clear();
        line(&mut text, &header)?;
        // The number stands in the line whose length it depends on: it grows until it is right.
        let deletions_at = (text.len() + objects.len()) as u64;
        if header.manifest.deletions_at == deletions_at {
            break;
        }
        header.manifest.deletions_at = deletions_at;
    }
    text.append(&mut objects);
    for deletion in &pile.deletions {
        line(&mut text, deletion)?;
    }
    Ok(text.into())
}

fn line(text: &mut Vec<u8>, value: &impl Serialize) -> Result<(), StepError> {
    serde_json::to_writer(&mut *text, value).map_err(|error| StepError::bug(error.to_string()))?;
    text.push(b'\n');
    Ok(())
}

/// A manifest on its way to whoever carries it out in the same process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stretch {
    /// What it holds.
    pub pile: Pile,
    /// How far the scan has come with it.
    pub progress: Progress,
}

/// A channel. Nothing outlives the process, so each scan begins at the beginning.
#[derive(Debug)]
pub(crate) struct ChannelLog(pub(crate) mpsc::Sender<Stretch>);

#[async_trait::async_trait]
impl Log for ChannelLog {
    async fn recover(&mut self) -> Result<Progress, StepError> {
        Ok(Progress::default())
    }

    async fn write(&mut self, pile: Pile, progress: &Progress) -> Result<Written, StepError> {
        let sent = self.0.send(Stretch { pile, progress: progress.clone() }).await;
        sent.map_err(|_| StepError::rejected("nobody takes what the scan finds any more"))?;
        Ok(Written::Ours)
    }

    async fn note(&mut self, _: &Progress) -> Result<(), StepError> {
        Ok(())
    }

    async fn is_held(&mut self) -> Result<bool, StepError> {
        Ok(self.0.is_closed())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use longhaul_core::backfill::manifest::Deletion;
    use longhaul_core::config::{Options, Side};
    use longhaul_core::etag::ETag;
    use longhaul_core::request::ObjectRef;

    #[test]
    fn a_manifest_says_where_its_deletions_begin() {
        let route = Route {
            name: String::new(),
            source: Side::default(),
            destination: Side::default(),
            options: Options::default(),
        };
        let header = Header {
            run: "r".into(),
            shard: 0,
            number: 0,
            route,
            objects: 0,
            bytes: 0,
            deletions: 1,
            deletions_at: 0,
            progress: Progress::default(),
        };
        let deletion = Deletion { delete: "d".into(), source_key: "s".into(), etag: ETag::new("e"), size: 1 };
        // Lengths around which the number of digits grows.
        for length in (0..400).chain(9_000..10_000) {
            let object = ObjectRef { key: "k".repeat(length), ..ObjectRef::default() };
            let pile = Pile { objects: vec![object], bytes: 0, deletions: vec![deletion.clone()] };
            let text = manifest(header.clone(), &pile).unwrap();
            let end = text.iter().position(|byte| *byte == b'\n').unwrap();
            let told: HeaderLine = serde_json::from_slice(&text[..end]).unwrap();
            let at = usize::try_from(told.manifest.deletions_at).unwrap();
            assert_eq!(text[at - 1], b'\n');
            assert_eq!(serde_json::from_slice::<Deletion>(&text[at..]).unwrap(), deletion);
        }
    }
}
