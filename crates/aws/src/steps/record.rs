//! Writes the outcome of an execution, and says how it ends.

use super::objects::spill;
use crate::clients::Clients;
use crate::context::Context;
use crate::error::StepError;
use aws_sdk_s3::primitives::{DateTime, DateTimeFormat};
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use longhaul_core::backfill::run::{RunItem, item_outcome_key};
use longhaul_core::contract::{
    End, EndCounts, Exception, ExecutionOutcome, INLINE_MAX_BYTES, Record, Rest, SLOWEST_MAX, Slowest, Successor,
    Verdict,
};
use longhaul_core::names::{exception_prefix, outcome_key, short_execution, successor_name};
use longhaul_core::request::Request;
use longhaul_core::tally::Tally;

/// No outcome is larger: two thousand exceptions of a few KiB.
const OUTCOME_MAX_BYTES: u64 = 64 * 1024 * 1024;
/// Exceptions read at once.
const READS_AT_ONCE: usize = 16;

/// Adds up the items, writes the outcome object (its name is made from the execution: a second write replaces the
/// first), and returns how the execution ends.
pub(super) async fn record_end(clients: &Clients, context: &Context, record: Record) -> Result<End, StepError> {
    let Record { execution, started, tally, results, rest, route, run } = record;
    let tally: Tally = tally + results.iter().map(|done| done.tally).sum::<Tally>();
    let continued = !rest.is_empty() || results.iter().any(|done| !done.remaining.is_empty());
    let mut slowest: Vec<Slowest> = results.iter().filter_map(|done| done.slowest.clone()).collect();
    slowest.sort_by_key(|slowest| std::cmp::Reverse(slowest.ms));
    slowest.truncate(SLOWEST_MAX);
    let ended = EndOf {
        execution: &execution,
        run: run.as_ref(),
        started_ms: started.as_deref().and_then(time_ms).unwrap_or_default(),
        ended_ms: context.clock.now_ms(),
        slowest,
    };
    write_outcome(clients, ended, tally, continued).await?;
    log(&execution, run.as_ref(), &tally, continued);

    let then = Verdict::of(&tally);
    let Rest { mut objects, mut manifests } = rest;
    for done in results {
        objects.extend(done.remaining.objects);
        manifests.extend(done.remaining.manifests);
    }
    if objects.is_empty() && manifests.is_empty() {
        let counts = EndCounts { tally };
        return Ok(match then {
            Verdict::Succeeded => End::Succeeded(counts),
            Verdict::Failed => End::Failed(counts),
        });
    }
    let Rest { objects, manifests: spilled } = spill(clients, objects, INLINE_MAX_BYTES).await?;
    manifests.extend(spilled);
    let name = successor_name(&execution);
    let request = Request { objects, manifests, route, run, ..Request::default() };
    Ok(End::Continue(Box::new(Successor { name, request, then, tally })))
}

/// One line an execution.
fn log(execution: &str, item: Option<&RunItem>, tally: &Tally, continued: bool) {
    let (run, attempt) = (item.map(|item| item.name.as_str()), item.map(|item| item.attempt));
    let Tally { migrated, unchanged, skipped, failed, bytes, .. } = *tally;
    let execution = short_execution(execution);
    tracing::info!(execution, run, attempt, migrated, unchanged, skipped, failed, bytes, continued, "ended");
}

/// An execution that has ended, but for its counts.
pub(super) struct EndOf<'a> {
    pub(super) execution: &'a str,
    pub(super) run: Option<&'a RunItem>,
    pub(super) started_ms: u64,
    pub(super) ended_ms: u64,
    pub(super) slowest: Vec<Slowest>,
}

/// Writes the outcome object of an execution; an older one is replaced.
pub(super) async fn write_outcome(
    clients: &Clients,
    ended: EndOf<'_>,
    tally: Tally,
    continued: bool,
) -> Result<(), StepError> {
    let EndOf { execution, run, started_ms, ended_ms, slowest } = ended;
    let exceptions = exceptions(clients, execution).await?;
    let key = key_of(execution, run);
    let execution = execution.to_owned();
    let outcome = ExecutionOutcome { execution, tally, continued, started_ms, ended_ms, slowest, exceptions };
    let body = serde_json::to_vec(&outcome).map_err(|error| StepError::bug(error.to_string()))?;
    clients.work.put(&key, body.into()).await
}

/// Where the outcome object of an execution lies: under its run's prefix, where it belongs to one.
fn key_of(execution: &str, run: Option<&RunItem>) -> String {
    run.map_or_else(|| outcome_key(execution), |item| item_outcome_key(item, execution))
}

/// The outcome object of an execution, if it came so far as to write one.
pub(super) async fn read_outcome(
    clients: &Clients,
    execution: &str,
    run: Option<&RunItem>,
) -> Result<Option<ExecutionOutcome>, StepError> {
    let key = key_of(execution, run);
    let Some(found) = clients.work.find(&key, OUTCOME_MAX_BYTES).await? else { return Ok(None) };
    let outcome = serde_json::from_slice(&found.body).map_err(|error| StepError::bug(format!("{key}: {error}")))?;
    Ok(Some(outcome))
}

/// Milliseconds since 1970 of a time as Step Functions writes it.
fn time_ms(text: &str) -> Option<u64> {
    let time = DateTime::from_str(text, DateTimeFormat::DateTime).ok()?;
    time.to_millis().ok().and_then(|ms| u64::try_from(ms).ok())
}

async fn exceptions(clients: &Clients, execution: &str) -> Result<Vec<Exception>, StepError> {
    let keys = clients.work.list(&exception_prefix(execution)).await?;
    stream::iter(keys)
        .map(|key| async move {
            let body = clients.work.get(clients.work.bucket(), &key, 0, None).await?;
            serde_json::from_slice(&body).map_err(|error| StepError::bug(format!("{key}: {error}")))
        })
        .buffered(READS_AT_ONCE)
        .try_collect()
        .await
}
