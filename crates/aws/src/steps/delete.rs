//! Removes destination objects that the source lacks.

use super::backfill::{put_new, read_run, record, replace};
use crate::clients::Clients;
use crate::context::Context;
use crate::destination::Destination;
use crate::error::StepError;
use crate::scan::{control, header};
use crate::source::Source;
use futures::stream::{self, StreamExt as _};
use longhaul_core::backfill::deletions::{Deleted, Removal};
use longhaul_core::backfill::manifest::{Deletion, Header, manifest_key};
use longhaul_core::backfill::run::{Run, deleted_key};
use longhaul_core::backfill::states::{ShardEnd, ShardState, ShardWork};
use longhaul_core::config::Route;
use longhaul_core::error::ErrorName;
use std::time::Duration;
use tokio::time::{Instant, timeout, timeout_at};

/// Deletions at once.
const AT_ONCE: usize = 16;
/// Deletions between two writes of the record.
const GROUP: usize = 64;
/// Longest time for one deletion. A whole group in the worst case takes four times as long, which one invocation has.
const DELETION_TIMEOUT: Duration = Duration::from_secs(60);
/// How often the step looks whether the user wants a pause.
const CONTROL_EVERY: Duration = Duration::from_secs(10);
/// Times that one deletion is tried.
const TRIES: u32 = 3;
/// Why a run that removes fails where the source has a key again and the destination does not.
const CAME_BACK: &str = "removed, and the source has it again: the next run brings it";
/// So many deletions of which none was possible are a fault of a whole side.
const HOPELESS: usize = 16;

/// Carries out the deletions of one shard until none is left, or the time is nearly up, or the user wants a pause.
///
/// Each deletion is counted once, however often the step is repeated; where some failed in an earlier attempt at the
/// run, all are gone through again. Fails as its first deletion did if a whole group of them fails: then a side is at
/// fault and not an object.
pub(super) async fn delete(clients: &Clients, context: &Context, work: ShardWork) -> Result<ShardState, StepError> {
    let run = read_run(clients, &work.run).await?;
    let shard = run.shards.get(work.shard as usize);
    let route = shard.and_then(|shard| run.routes.get(shard.route as usize));
    let route = route.ok_or_else(|| StepError::bug(format!("run {} has no shard {}", run.name, work.shard)))?;
    let sides = Sides {
        source: Source::connect(clients, &route.source).await?,
        destination: Destination::connect(clients, &route.destination).await?,
        context,
    };
    let mut state = State::read(clients, &run, work.shard).await?;
    let mut looked: Option<Instant> = None;
    let mut opened: Option<Opened> = None;
    while !state.deleted.done {
        if looked.is_none_or(|looked| looked.elapsed() >= CONTROL_EVERY) {
            looked = Some(Instant::now());
            if control(&*clients.work, &run.name).await?.is_some() {
                state.rest(clients).await?;
                break;
            }
        }
        if context.time_left().is_zero() {
            state.rest(clients).await?;
            return Ok(ShardState::Delete(work));
        }
        let number = state.deleted.next_manifest;
        let manifest = match opened.take().filter(|opened| opened.number == number) {
            Some(opened) => opened,
            None => Opened::read(clients, manifest_key(&run.name, work.shard, number), number, route).await?,
        };
        let Opened { deletions, done, .. } = &*opened.insert(manifest);
        if deletions.is_empty() && !done {
            state.skip();
            continue;
        }
        let from = state.deleted.next_entry as usize;
        let group: Vec<&Deletion> = deletions.iter().skip(from).take(GROUP).collect();
        if !state.begin(clients).await? {
            continue;
        }
        let removals = timeout_at(context.last_moment(), sides.carry_out(&group)).await;
        // What was under way is repeated, and found to be done.
        let Ok(removals) = removals else { return Ok(ShardState::Delete(work)) };
        let through = from + group.len();
        let last = through >= deletions.len();
        let outcomes = group.iter().copied().zip(removals?);
        state.end(clients, outcomes, last, last && *done).await?;
    }
    Ok(ShardState::Done(ShardEnd::default()))
}

/// The deletions of a manifest, which never change.
struct Opened {
    number: u32,
    deletions: Vec<Deletion>,
    /// True of the shard's last manifest.
    done: bool,
}

impl Opened {
    async fn read(clients: &Clients, key: String, number: u32, route: &Route) -> Result<Self, StepError> {
        let Some((header, _)) = header(&*clients.work, &key).await? else {
            return Err(StepError::bug(format!("{key} is missing, though the shard was scanned to its end")));
        };
        Ok(Self { number, deletions: deletions(clients, &key, &header, route).await?, done: header.progress.done })
    }
}

/// The record of a shard, and whether what comes next may be done in part.
struct State {
    key: String,
    deleted: Deleted,
    etag: Option<String>,
    repeated: bool,
    skipped: bool,
}

impl State {
    async fn read(clients: &Clients, run: &Run, shard: u32) -> Result<Self, StepError> {
        let key = deleted_key(&run.name, shard);
        let (deleted, etag) = record::<Deleted>(clients, &key).await?.unzip();
        let deleted = deleted.unwrap_or_else(|| Deleted { attempt: run.attempt, ..Deleted::default() });
        let mut state = Self { repeated: deleted.under_way, key, deleted, etag, skipped: false };
        while let Some(next) = state.deleted.taken_up(run.attempt) {
            // From the beginning, what may be done is counted already.
            let repeated = next.under_way;
            if state.write(clients, next).await? {
                state.repeated = repeated;
            }
        }
        Ok(state)
    }

    /// Goes on behind a manifest without deletions. Nothing is written for it by itself.
    fn skip(&mut self) {
        (self.deleted.next_manifest, self.deleted.next_entry) = (self.deleted.next_manifest + 1, 0);
        self.skipped = true;
    }

    /// Notes that work begins, before it does; false where a twin of this step has come to another place meanwhile.
    async fn begin(&mut self, clients: &Clients) -> Result<bool, StepError> {
        if self.deleted.under_way {
            return Ok(true);
        }
        let place = |deleted: &Deleted| (deleted.next_manifest, deleted.next_entry, deleted.done);
        let here = place(&self.deleted);
        let next = Deleted { under_way: true, ..self.deleted.clone() };
        self.write(clients, next).await?;
        Ok(place(&self.deleted) == here)
    }

    /// Notes that nothing is under way.
    async fn rest(&mut self, clients: &Clients) -> Result<(), StepError> {
        // What a former try left half done stays noted.
        let under_way = self.deleted.under_way && self.repeated;
        if under_way == self.deleted.under_way && !self.skipped {
            return Ok(());
        }
        let next = Deleted { under_way, ..self.deleted.clone() };
        self.write(clients, next).await.map(|_| ())
    }

    /// Counts a group. Where a twin of this step counted first, its count stands.
    async fn end<'a>(
        &mut self,
        clients: &Clients,
        outcomes: impl Iterator<Item = (&'a Deletion, Removal)>,
        last: bool,
        done: bool,
    ) -> Result<(), StepError> {
        let mut next = self.deleted.clone();
        for (deletion, removal) in outcomes {
            next.next_entry += 1;
            next.count(deletion, removal, self.repeated);
        }
        if last {
            (next.next_manifest, next.next_entry) = (next.next_manifest + 1, 0);
        }
        (next.done, next.under_way) = (done, !done);
        if self.write(clients, next).await? {
            self.repeated = false;
        }
        Ok(())
    }

    /// False where another record stands meanwhile: then that one is taken over.
    async fn write(&mut self, clients: &Clients, next: Deleted) -> Result<bool, StepError> {
        let written = match &self.etag {
            None => put_new(clients, &self.key, &next).await?,
            Some(etag) => replace(clients, &self.key, &next, etag).await?,
        };
        let (found, etag) = record::<Deleted>(clients, &self.key).await?.unzip();
        let found = found.unwrap_or_default();
        // A write whose reply was lost is refused when it is repeated: the record tells.
        let mine = written || found == next;
        (self.repeated, self.skipped) = (self.repeated || !written, false);
        (self.deleted, self.etag) = (found, etag);
        Ok(mine)
    }
}

/// The two sides of the shard's route.
struct Sides<'a> {
    source: Source,
    destination: Destination,
    context: &'a Context,
}

impl Sides<'_> {
    /// Carries out a group of deletions; what became of each, in their order.
    async fn carry_out(&self, group: &[&Deletion]) -> Result<Vec<Removal>, StepError> {
        let ended: Vec<Result<Removal, StepError>> = stream::iter(group.iter().copied())
            .map(|deletion| async move {
                let late = || Err(StepError::stalled(format!("no answer in {} s", DELETION_TIMEOUT.as_secs())));
                timeout(DELETION_TIMEOUT, self.with_retries(deletion)).await.unwrap_or_else(|_| late())
            })
            .buffered(AT_ONCE)
            // Boxed, so that the step may run on any thread.
            .boxed()
            .collect()
            .await;
        let hopeless = ended.len() >= HOPELESS && ended.iter().all(Result::is_err);
        ended
            .into_iter()
            .map(|end| match end {
                Err(error) if hopeless || error.keys_refused => Err(error),
                Err(error) => Ok(Removal::Failed(error.message)),
                Ok(removal) => Ok(removal),
            })
            .collect()
    }

    async fn with_retries(&self, deletion: &Deletion) -> Result<Removal, StepError> {
        let mut attempt = 1;
        loop {
            match self.remove(deletion).await {
                Err(error) if error.name.is_retryable() && attempt < TRIES => self.context.back_off(attempt).await,
                other => return other,
            }
            attempt += 1;
        }
    }

    async fn remove(&self, deletion: &Deletion) -> Result<Removal, StepError> {
        let key = &deletion.delete;
        if self.source_has(deletion).await? {
            return Ok(match self.destination.head(key).await? {
                Some(_) => Removal::SourceHasIt,
                None => Removal::Failed(CAME_BACK.to_owned()),
            });
        }
        let removal = self.destination.remove(key, &deletion.etag).await?;
        if removal != Removal::Removed {
            return Ok(removal);
        }
        // Whoever brought it back in between found the destination's object, and migrated nothing.
        let mut attempt = 1;
        loop {
            match self.source_has(deletion).await {
                Ok(false) => return Ok(Removal::Removed),
                Ok(true) => return Ok(Removal::Failed(CAME_BACK.to_owned())),
                Err(error) if error.name.is_retryable() && attempt < TRIES => self.context.back_off(attempt).await,
                Err(error) => {
                    let told = "removed, but the source could not be asked whether it has it again";
                    return Ok(Removal::Failed(format!("{told}: {}", error.message)));
                }
            }
            attempt += 1;
        }
    }

    async fn source_has(&self, deletion: &Deletion) -> Result<bool, StepError> {
        match self.source.head(&deletion.source_key, None).await {
            Ok(_) => Ok(true),
            Err(error) if error.name == ErrorName::SourceGone && error.status == Some(404) => Ok(false),
            Err(error) if error.status == Some(403) && !error.keys_refused => {
                let told = "kept, since without s3:ListBucket at the source a missing object looks like a denied one";
                Err(StepError { message: format!("{told}: {}", error.message), ..error })
            }
            Err(error) => Err(error),
        }
    }
}

/// The deletions of a manifest. A `Bug` where one is not of the route: nothing of the manifest is removed then.
async fn deletions(clients: &Clients, key: &str, header: &Header, route: &Route) -> Result<Vec<Deletion>, StepError> {
    if header.deletions == 0 {
        return Ok(Vec::new());
    }
    let damaged = |told: String| StepError::bug(format!("the deletions of {key} are damaged: {told}"));
    let text = clients.work.get(clients.work.bucket(), key, header.deletions_at, None).await?;
    let lines = text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let read: Result<Vec<Deletion>, _> = lines.map(serde_json::from_slice).collect();
    let read = read.map_err(|error| damaged(error.to_string()))?;
    if read.len() != header.deletions as usize {
        return Err(damaged(format!("{} of {} are there", read.len(), header.deletions)));
    }
    for deletion in &read {
        let under = deletion.delete.starts_with(&route.destination.prefix);
        let meant = route.destination_key(&deletion.source_key).is_ok_and(|key| key == deletion.delete);
        if !under || !meant {
            return Err(damaged(format!("{:?} is not of route {:?}", deletion.delete, route.name)));
        }
    }
    Ok(read)
}
