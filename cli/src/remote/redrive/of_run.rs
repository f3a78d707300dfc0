//! What failed in a run, from its outcomes in the work bucket: they are kept for 90 days, messages for 14.

use super::choice::Choice;
use super::moving::{Redriven, send_bodies};
use super::queues::Queues;
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use longhaul_aws::work::Work;
use longhaul_core::backfill::run::{Run, item_of_outcome, outcomes_prefix};
use longhaul_core::backfill::summary::chains;
use longhaul_core::contract::ExecutionOutcome;
use longhaul_core::intake::INPUT_MAX_BYTES;
use longhaul_core::outcome::Outcome;
use longhaul_core::request::{ObjectRef, REQUEST_VERSION, Request, queue_text};

/// Most objects of one message: one batch of an execution.
const OBJECTS_MAX: usize = 100;
/// Messages made before they are sent.
const MESSAGES_AT_ONCE: usize = 80;
/// Outcomes read at once.
const READS_AT_ONCE: usize = 16;

/// Sends a request for every object that failed in the newest attempt at its manifest, on the route that the run had;
/// in a dry run counts them. Repeating it repeats the requests, and what has arrived meanwhile is found unchanged.
///
/// Fails if the work bucket cannot be read to the end: what was sent until then is told.
pub async fn redrive_run(
    queues: &dyn Queues,
    work: &dyn Work,
    run: &Run,
    choice: &Choice,
    dry_run: bool,
) -> (Redriven, Result<(), String>) {
    let mut sending =
        Sending { queues, run, done: Redriven { dry_run, ..Redriven::default() }, open: Vec::new(), ready: Vec::new() };
    let read = sending.all(work, choice).await;
    // What was found is sent even if the rest cannot be read.
    let open = std::mem::take(&mut sending.open);
    let closed = open.into_iter().try_for_each(|open| sending.close(open));
    sending.send().await;
    (sending.done, read.and(closed))
}

/// An object that failed.
struct Failed {
    object: ObjectRef,
    name: String,
}

/// The beginning of a message: objects of one route.
struct Open {
    route: u32,
    bytes: usize,
    objects: Vec<Failed>,
}

/// A message.
struct Ready {
    body: String,
    names: Vec<String>,
}

struct Sending<'a> {
    queues: &'a dyn Queues,
    run: &'a Run,
    done: Redriven,
    open: Vec<Open>,
    ready: Vec<Ready>,
}

impl Sending<'_> {
    async fn all(&mut self, work: &dyn Work, choice: &Choice) -> Result<(), String> {
        let name = self.run.name.as_str();
        let prefix = outcomes_prefix(name);
        let mut after: Option<String> = None;
        let mut group: Vec<String> = Vec::new();
        let mut taken = 0;
        loop {
            let page = work.page(&prefix, after.as_deref()).await.map_err(|error| error.message)?;
            // A page without an object that is not the last one would be read for ever.
            let last = page.last || page.objects.is_empty();
            after = page.objects.last().map(|(key, _)| key.clone());
            for (key, _) in page.objects {
                let Some(item) = item_of_outcome(name, &key) else { continue };
                // Keys sort by manifest, then by attempt: the newest attempt is the last of them.
                if let Some(known) = group.last().and_then(|known| item_of_outcome(name, known))
                    && known != item
                {
                    if known.0 != item.0 {
                        taken += self.group(work, choice, taken, &group).await?;
                    }
                    group.clear();
                }
                group.push(key);
            }
            if last {
                break;
            }
        }
        self.group(work, choice, taken, &group).await?;
        Ok(())
    }

    /// Takes what failed in the newest attempt at one manifest; how many there are.
    async fn group(&mut self, work: &dyn Work, choice: &Choice, taken: u64, keys: &[String]) -> Result<u64, String> {
        let Some((manifest, _)) = keys.first().and_then(|key| item_of_outcome(&self.run.name, key)) else {
            return Ok(0);
        };
        let outcomes: Vec<ExecutionOutcome> = stream::iter(keys)
            .map(|key| async move {
                let body = work.get(work.bucket(), key, 0, None).await.map_err(|error| error.message)?;
                serde_json::from_slice(&body).map_err(|error| format!("{key}: {error}"))
            })
            .buffered(READS_AT_ONCE)
            .try_collect()
            .await?;
        let chain = chains(&outcomes).pop().unwrap_or_default();
        let mut count = 0;
        for exception in chain.iter().flat_map(|outcome| &outcome.exceptions) {
            let Outcome::Failed { failure } = &exception.outcome else { continue };
            let full = choice.most.is_some_and(|most| taken + count >= most);
            if full || !choice.takes(&exception.object.key, &failure.name) {
                self.done.left += 1;
                continue;
            }
            let shard = shard_of(manifest).and_then(|shard| self.run.shards.get(shard));
            let route =
                shard.map(|shard| shard.route).ok_or_else(|| format!("{manifest} is no manifest of the run"))?;
            count += 1;
            self.push(route, Failed { object: exception.object.clone(), name: failure.name.clone() })?;
        }
        if self.ready.len() >= MESSAGES_AT_ONCE {
            self.send().await;
        }
        Ok(count)
    }

    fn push(&mut self, route: u32, failed: Failed) -> Result<(), String> {
        let bytes = serde_json::to_vec(&failed.object).map_err(|error| error.to_string())?.len() + 1;
        let place = self.open.iter().position(|open| open.route == route);
        let place = place.unwrap_or_else(|| {
            self.open.push(Open { route, bytes: 0, objects: Vec::new() });
            self.open.len() - 1
        });
        let open = &mut self.open[place];
        let full = open.objects.len() >= OBJECTS_MAX || open.bytes + bytes > INPUT_MAX_BYTES;
        let full = full.then(|| std::mem::replace(open, Open { route, bytes: 0, objects: Vec::new() }));
        open.bytes += bytes;
        open.objects.push(failed);
        full.map_or(Ok(()), |full| self.close(full))
    }

    fn close(&mut self, open: Open) -> Result<(), String> {
        if open.objects.is_empty() {
            return Ok(());
        }
        let route = self.run.routes.get(open.route as usize).cloned();
        let route = route.ok_or_else(|| format!("the run has no route {}", open.route))?;
        let (objects, names) = open.objects.into_iter().map(|failed| (failed.object, failed.name)).unzip();
        let version = Some(REQUEST_VERSION);
        let request = Request { version, objects, route: Some(route), ..Request::default() };
        let body = serde_json::to_string(&request).map_err(|error| error.to_string())?;
        self.ready.push(Ready { body: queue_text(body), names });
        Ok(())
    }

    async fn send(&mut self) {
        let ready = std::mem::take(&mut self.ready);
        let answers = if self.done.dry_run {
            vec![Ok(()); ready.len()]
        } else {
            let bodies: Vec<&str> = ready.iter().map(|ready| ready.body.as_str()).collect();
            send_bodies(self.queues, &bodies).await
        };
        for (Ready { names, .. }, answer) in ready.into_iter().zip(answers) {
            match answer {
                Ok(()) => names.iter().for_each(|name| self.done.count(name, 1)),
                Err(reason) => {
                    self.done.unsent += names.len() as u64;
                    self.done.because(reason);
                }
            }
        }
    }
}

/// The shard of a manifest, from its name: a hash, the shard, the number.
fn shard_of(manifest: &str) -> Option<usize> {
    manifest.rsplit('-').nth(1)?.parse().ok()
}

#[cfg(test)]
#[path = "of_run_tests.rs"]
mod tests;
