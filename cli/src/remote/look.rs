//! How far a run has come, as its objects in the work bucket say.

use super::deployment::{Deployment, Execution};
use crate::progress::Snapshot;
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use longhaul_aws::scan::progress;
use longhaul_aws::work::Work;
use longhaul_core::backfill::counts::Counts;
use longhaul_core::backfill::run::{ControlObject, Run, item_of_outcome, outcomes_prefix};
use longhaul_core::contract::ExecutionOutcome;
use longhaul_core::tally::Tally;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Requests to the work bucket at once.
const AT_ONCE: usize = 16;

/// How far a run has come.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Standing {
    /// The run.
    pub run: String,
    /// Its attempt.
    pub attempt: u32,
    /// Status of the execution that carries it out.
    pub status: String,
    /// Why that one failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
    /// What the user asked of it: `paused`, `stopped`, or nothing.
    pub control: ControlObject,
    /// Shards, and those that are scanned to their end.
    pub shards: u32,
    /// See above.
    pub shards_done: u32,
    /// What was listed so far.
    pub counts: Counts,
    /// Executions of `migrate` with an outcome.
    pub executions: u64,
    /// What became of the offered objects so far.
    pub tally: Tally,
}

/// What one manifest came to: the sum over the newest attempt at it.
#[derive(Clone, Debug, Default)]
struct Item {
    attempt: u32,
    tally: Tally,
}

/// Looks at a run again and again, and reads no outcome twice.
#[derive(Debug)]
pub struct Watcher {
    run: Run,
    begun: Instant,
    read: BTreeSet<String>,
    items: BTreeMap<String, Item>,
    /// Counts of shards that are scanned to their end.
    done: BTreeMap<u32, Counts>,
}

impl Watcher {
    /// Of a run that has begun.
    pub fn new(run: Run) -> Self {
        Self { run, begun: Instant::now(), read: BTreeSet::new(), items: BTreeMap::new(), done: BTreeMap::new() }
    }

    /// How the run stands now.
    pub async fn look(&mut self, deployment: &Deployment, execution: &Execution) -> Result<Standing, String> {
        let work = deployment.work.as_ref();
        let counts = self.scanned(&deployment.work).await?;
        self.outcomes(work).await?;
        let (control, _) = deployment.wanted(&self.run.name).await?;
        Ok(Standing {
            run: self.run.name.clone(),
            attempt: self.run.attempt,
            status: execution.status.clone(),
            cause: execution.cause.clone(),
            control: ControlObject { control },
            shards: self.run.shards.len() as u32,
            shards_done: self.done.len() as u32,
            counts,
            executions: self.read.len() as u64,
            tally: self.items.values().map(|item| item.tally).sum(),
        })
    }

    async fn scanned(&mut self, work: &Arc<dyn Work>) -> Result<Counts, String> {
        let open: Vec<u32> = (0..self.run.shards.len() as u32).filter(|shard| !self.done.contains_key(shard)).collect();
        let run = &self.run;
        let found: Vec<_> = stream::iter(open)
            .map(|shard| async move { progress(work, run, shard).await.map(|progress| (shard, progress)) })
            .buffered(AT_ONCE)
            .try_collect()
            .await
            .map_err(|error| error.message)?;
        let mut sum = Counts::default();
        for (shard, progress) in found {
            if progress.done {
                self.done.insert(shard, progress.counts);
            } else {
                sum += &progress.counts;
            }
        }
        for counts in self.done.values() {
            sum += counts;
        }
        Ok(sum)
    }

    async fn outcomes(&mut self, work: &dyn Work) -> Result<(), String> {
        let prefix = outcomes_prefix(&self.run.name);
        let mut after: Option<String> = None;
        loop {
            let page = work.page(&prefix, after.as_deref()).await.map_err(|error| error.message)?;
            after = page.objects.last().map(|(key, _)| key.clone());
            let fresh: Vec<String> =
                page.objects.into_iter().map(|(key, _)| key).filter(|key| !self.read.contains(key)).collect();
            let read: Vec<(String, ExecutionOutcome)> = stream::iter(fresh)
                .map(|key| async move {
                    let body = work.get(work.bucket(), &key, 0, None).await.map_err(|error| error.message)?;
                    let outcome = serde_json::from_slice(&body).map_err(|error| format!("{key}: {error}"))?;
                    Ok::<_, String>((key, outcome))
                })
                .buffered(AT_ONCE)
                .try_collect()
                .await?;
            for (key, outcome) in read {
                if let Some((manifest, attempt)) = item_of_outcome(&self.run.name, &key) {
                    let item = self.items.entry(manifest.to_owned()).or_default();
                    if attempt > item.attempt {
                        *item = Item { attempt, tally: Tally::default() };
                    }
                    if attempt == item.attempt {
                        item.tally += outcome.tally;
                    }
                }
                self.read.insert(key);
            }
            if page.last {
                return Ok(());
            }
        }
    }

    /// The same in the terms of a progress bar.
    pub fn snapshot(&self, standing: &Standing) -> Snapshot {
        let Standing { counts, tally, .. } = standing;
        Snapshot {
            elapsed: self.begun.elapsed(),
            listed_objects: counts.listed,
            listed_bytes: counts.offered_bytes,
            listed_all: standing.shards_done == standing.shards,
            ended_objects: counts.excluded + counts.unchanged + counts.exists + tally.objects(),
            ended_bytes: tally.bytes,
            counted: *tally,
        }
    }
}

/// How long to wait before the next look: most of the time is not spent looking.
pub fn pause_after(look: Duration) -> Duration {
    const LEAST: Duration = Duration::from_secs(2);
    const MOST: Duration = Duration::from_secs(60);
    (look * 10).clamp(LEAST, MOST)
}
