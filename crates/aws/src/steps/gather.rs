//! What comes after the scan, and after the copies.

use super::backfill::read_run;
use super::begin::scans;
use crate::clients::Clients;
use crate::error::StepError;
use crate::scan::{control, progress};
use longhaul_core::backfill::counts::Counts;
use longhaul_core::backfill::manifest::manifests_prefix;
use longhaul_core::backfill::request::CONCURRENCY_DEFAULT;
use longhaul_core::backfill::run::{Run, map_results_prefix};
use longhaul_core::backfill::states::{
    CopyAll, DeleteAll, Gather, Gathered, ReportInput, ShardEnd, ShardState, ShardWork,
};
use longhaul_core::error::{CaughtError, ErrorName, Failure};

/// The name that Step Functions gives a Map whose tolerance for failures was exceeded.
/// <https://docs.aws.amazon.com/step-functions/latest/dg/concepts-error-handling.html>
const TOO_MANY_FAILED: &str = "States.ExceedToleratedFailureThreshold";

/// Decides what follows. Everything it needs lies in the work bucket.
pub(super) async fn gather(clients: &Clients, input: Gather) -> Result<Gathered, StepError> {
    let run = read_run(clients, &input.run).await?;
    let over = |failure: Option<Failure>| {
        Gathered::Report(ReportInput { run: input.run.clone(), failure, error: None, results: Vec::new(), rounds: 0 })
    };
    let broken = match input.copied {
        true => input.error.as_ref().map(|error| copies_broke_off(error, &run)),
        false => scans_broke_off(&input.results),
    };
    if broken.is_some() {
        return Ok(over(broken));
    }
    if control(&*clients.work, &run.name).await?.is_some() {
        return Ok(over(None));
    }
    let scanned = match scanned(clients, &run).await? {
        Ok(scanned) => scanned,
        Err(failure) => return Ok(over(Some(failure))),
    };
    if run.request.dry_run {
        return Ok(over(None));
    }
    if !input.copied && scanned.counts.offered > 0 {
        return Ok(Gathered::Copy(CopyAll {
            run: input.run,
            bucket: clients.work.bucket().to_owned(),
            prefix: manifests_prefix(&run.name),
            results_prefix: map_results_prefix(&run.name),
            max_concurrency: run.request.concurrency.unwrap_or(CONCURRENCY_DEFAULT),
            tolerated_failure_percentage: run.request.max_failed_percent.unwrap_or(100.0),
        }));
    }
    let deletions = scanned.counts.deletions;
    match run.request.delete {
        Some(delete) if deletions > delete.max => Ok(over(Some(Failure::new(
            ErrorName::Rejected.as_str(),
            format!("{deletions} objects would be removed, more than --max-delete {}: nothing was removed", delete.max),
        )))),
        Some(_) if deletions > 0 => {
            let work = |shard: &u32| ShardState::Delete(ShardWork { run: input.run.clone(), shard: *shard });
            Ok(Gathered::Delete(DeleteAll {
                shards: scanned.deleting.iter().map(work).collect(),
                max_concurrency: scans(&run.request),
                run: input.run,
            }))
        }
        _ => Ok(over(None)),
    }
}

/// What all shards saw together.
struct Scanned {
    counts: Counts,
    /// The shards that remove something.
    deleting: Vec<u32>,
}

/// The sum over all shards; a failure where one has not ended or an object is unaccounted for.
async fn scanned(clients: &Clients, run: &Run) -> Result<Result<Scanned, Failure>, StepError> {
    let bug = |told: String| Ok(Err(Failure::new(ErrorName::Bug.as_str(), told)));
    let mut scanned = Scanned { counts: Counts::default(), deleting: Vec::new() };
    for (shard, _) in (0..).zip(&run.shards) {
        let progress = progress(&clients.work, run, shard).await?;
        if !progress.done {
            return bug(format!("the scan of shard {shard} did not come to its end, and nothing says why"));
        }
        if progress.counts.deletions > 0 {
            scanned.deleting.push(shard);
        }
        scanned.counts += &progress.counts;
    }
    if !scanned.counts.add_up() {
        let Counts { listed, excluded, unchanged, exists, offered, .. } = scanned.counts;
        return bug(format!(
            "the counts do not add up: {listed} listed, but {excluded} excluded, {unchanged} unchanged, {exists} left \
             as they are and {offered} offered"
        ));
    }
    Ok(Ok(scanned))
}

fn scans_broke_off(results: &[ShardEnd]) -> Option<Failure> {
    let failed: Vec<&CaughtError> = results.iter().filter_map(|end| end.error.as_ref()).collect();
    let first = failed.first()?.failure();
    let told = format!("{} of {} scans broke off; the first: {}", failed.len(), results.len(), said(&first));
    Some(Failure::new(first.name, told))
}

fn copies_broke_off(error: &CaughtError, run: &Run) -> Failure {
    let failure = error.failure();
    let told = match run.request.max_failed_percent {
        Some(percent) if failure.name == TOO_MANY_FAILED => {
            format!("more than {percent} % of the executions failed: the run was ended, as maxFailedPercent asks")
        }
        _ => format!("the copies broke off: {}", said(&failure)),
    };
    Failure::new(failure.name, told)
}

/// The failure's message, or its name where it has none.
fn said(failure: &Failure) -> String {
    if failure.message.is_empty() { failure.name.clone() } else { failure.message.clone() }
}
