//! What is known of a run besides the outcomes of its executions.

use super::parked::Progress as Joined;
use super::{READS_AT_ONCE, find_json};
use crate::clients::Clients;
use crate::context::Context;
use crate::error::StepError;
use crate::scan::header;
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use longhaul_core::backfill::check::RouteChecks;
use longhaul_core::backfill::deletions::{Deleted, FAILURES_KEPT};
use longhaul_core::backfill::estimate::{Assumptions, Estimate, Transfer};
use longhaul_core::backfill::manifest::{Progress, manifest_key};
use longhaul_core::backfill::run::{ControlObject, Hint, Run, checks_key, control_key, deleted_key, hint_key};
use longhaul_core::backfill::states::ReportInput;
use longhaul_core::backfill::summary::{Facts, RunSummary, summary_key};
use longhaul_core::config::{Overwrite, Side};

/// More than any object that is read whole here.
const OBJECT_MAX_BYTES: u64 = 16 * 1024 * 1024;

/// The run, as it was when this attempt began; `None` if it never came so far.
pub(crate) async fn run(clients: &Clients, input: &ReportInput) -> Result<Option<Run>, StepError> {
    let key = longhaul_core::backfill::run::run_key(&input.run.name);
    let run: Option<Run> = find_json(clients, &key, OBJECT_MAX_BYTES).await?;
    Ok(run.map(|run| Run { attempt: input.run.attempt, ..run }))
}

/// Gathers everything. `joined` tells the last manifest of each shard.
pub(crate) async fn gather(
    clients: &Clients,
    context: &Context,
    run: Run,
    input: &ReportInput,
    joined: &Joined,
) -> Result<Facts, StepError> {
    let name = run.name.as_str();
    let control: Option<ControlObject> = find_json(clients, &control_key(name), OBJECT_MAX_BYTES).await?;
    let mut notes = Vec::new();
    let checks = lenient::<Vec<RouteChecks>>(clients, &checks_key(name), &mut notes).await?.unwrap_or_default();
    if joined.strays > 0 {
        notes.push(format!("{} outcomes belong to no manifest of the run and count for nothing.", joined.strays));
    }
    // The same report again tells the same time, unless the run went on meanwhile.
    let before: Option<RunSummary> = lenient(clients, &summary_key(name), &mut Vec::new()).await?;
    let before = before
        .filter(|before| before.attempt == run.attempt && before.ended_ms >= joined.added.ended_ms)
        .map(|before| before.ended_ms);

    let shards = u32::try_from(run.shards.len()).unwrap_or(u32::MAX);
    let progress: Vec<Progress> = stream::iter(0..shards)
        .map(|shard| progress(clients, name, shard, joined.last.get(&shard).copied()))
        .buffered(READS_AT_ONCE)
        .try_collect()
        .await?;
    let mut facts = Facts {
        control: control.and_then(|control| control.control),
        failure: input.stopped_by(),
        counts: Default::default(),
        unscanned: 0,
        deletions: None,
        uploads: Default::default(),
        // Where no deletions were asked for, what a former state left there are the scans.
        deletions_broken: (input.results.iter().find_map(|end| end.error.as_ref()))
            .filter(|_| run.request.delete.is_some())
            .map(|error| error.failure()),
        checks,
        notes,
        estimate: None,
        ended_ms: before.unwrap_or_else(|| context.clock.now_ms()),
        bucket: clients.work.bucket().to_owned(),
        report: Vec::new(),
        run,
    };
    for progress in &progress {
        facts.counts += &progress.counts;
        facts.unscanned += u32::from(!progress.done);
    }
    let estimate = Estimate::of(&facts.counts, &assumptions(&facts.run, clients.copy_functions));
    facts.estimate = Some(serde_json::to_value(estimate).map_err(|error| StepError::bug(error.to_string()))?);
    if facts.run.request.delete.is_some() {
        facts.deletions = Some(deletions(clients, &facts.run.name, &progress).await?);
    }
    Ok(facts)
}

/// What the run itself tells of what an estimate assumes.
fn assumptions(run: &Run, copy_functions: Option<u32>) -> Assumptions {
    let usual = Assumptions::default();
    let ranges = run.routes.iter().filter_map(|route| route.options.max_ranges).max();
    Assumptions {
        copy_concurrency: copy_functions,
        concurrency: run.request.concurrency.unwrap_or(usual.concurrency),
        shards: u32::try_from(run.shards.len()).unwrap_or(u32::MAX),
        ranges: ranges.unwrap_or(usual.ranges),
        never_overwrites: run.routes.iter().all(|route| route.options.overwrite == Overwrite::Never),
        compared: run.routes.iter().any(|route| is_plain(&route.destination)),
        transfer: run.routes.iter().map(Transfer::of).max_by_key(|transfer| *transfer as u8).unwrap_or_default(),
        ..usual
    }
}

/// True if a side is reached without TLS.
fn is_plain(side: &Side) -> bool {
    side.endpoint.as_ref().is_some_and(|endpoint| endpoint.starts_with("http://"))
}

/// How far a shard has come: as its last manifest says, or the hint behind it.
async fn progress(clients: &Clients, run: &str, shard: u32, last: Option<u32>) -> Result<Progress, StepError> {
    let next = last.map_or(0, |last| last + 1);
    let hint: Option<Hint> = find_json(clients, &hint_key(run, shard), OBJECT_MAX_BYTES).await?;
    if let Some(hint) = hint.filter(|hint| hint.number == next) {
        return Ok(hint.progress);
    }
    let Some(last) = last else { return Ok(Progress::default()) };
    let key = manifest_key(run, shard, last);
    let header = header(&*clients.work, &key).await?;
    header.map(|(header, _)| header.progress).ok_or_else(|| StepError::bug(format!("{key} is gone")))
}

/// What became of the deletions, all shards together.
async fn deletions(clients: &Clients, run: &str, progress: &[Progress]) -> Result<Deleted, StepError> {
    let mut sum = Deleted { done: true, ..Deleted::default() };
    for (shard, progress) in (0..).zip(progress) {
        let found: Option<Deleted> = find_json(clients, &deleted_key(run, shard), OBJECT_MAX_BYTES).await?;
        let Deleted {
            done,
            removed,
            removed_bytes,
            kept_source_has_it,
            kept_changed,
            already_gone,
            failed,
            failures,
            ..
        } = found.unwrap_or_default();
        // Where nothing is to be removed, nobody writes a record.
        sum.done &= done || (progress.done && progress.counts.deletions == 0);
        sum.removed += removed;
        sum.removed_bytes += removed_bytes;
        sum.kept_source_has_it += kept_source_has_it;
        sum.kept_changed += kept_changed;
        sum.already_gone += already_gone;
        sum.failed += failed;
        sum.failures.extend(failures);
        sum.failures.truncate(FAILURES_KEPT);
    }
    Ok(sum)
}

/// An object that the report can do without: one that cannot be read becomes a note.
async fn lenient<T: serde::de::DeserializeOwned>(
    clients: &Clients,
    key: &str,
    notes: &mut Vec<String>,
) -> Result<Option<T>, StepError> {
    let Some(found) = clients.work.find(key, OBJECT_MAX_BYTES).await? else { return Ok(None) };
    match serde_json::from_slice(&found.body) {
        Ok(value) => Ok(Some(value)),
        Err(error) => {
            notes.push(format!("{key} cannot be read: {error}"));
            Ok(None)
        }
    }
}
