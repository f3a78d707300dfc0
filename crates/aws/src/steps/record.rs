//! Writes the outcome of an execution, and says how it ends.

use super::objects::spill;
use crate::clients::Clients;
use crate::context::Context;
use crate::error::StepError;
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use longhaul_core::contract::{
    End, EndCounts, Exception, ExecutionOutcome, INLINE_MAX_BYTES, Record, Rest, Successor, Verdict,
};
use longhaul_core::names::{exception_prefix, outcome_key, short_execution, successor_name};
use longhaul_core::request::Request;
use longhaul_core::tally::Tally;

/// Exceptions read at once.
const READS_AT_ONCE: usize = 16;

/// Adds up the items, writes the outcome object (its name is made from the execution: a second write replaces the
/// first), and returns how the execution ends.
pub(super) async fn record_end(clients: &Clients, _context: &Context, record: Record) -> Result<End, StepError> {
    let Record { execution, tally, results, rest, route } = record;
    let tally: Tally = tally + results.iter().map(|done| done.tally).sum::<Tally>();
    let continued = !rest.is_empty() || results.iter().any(|done| !done.remaining.is_empty());
    write_outcome(clients, &execution, tally, continued).await?;
    tracing::info!(execution = short_execution(&execution), tally = %serde_json::to_string(&tally).unwrap_or_default(), "ended");

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
    let request = Request { objects, manifests, route, ..Request::default() };
    Ok(End::Continue(Box::new(Successor { name, request, then, tally })))
}

/// Writes the outcome object of an execution; an older one is replaced.
pub(super) async fn write_outcome(
    clients: &Clients,
    execution: &str,
    tally: Tally,
    continued: bool,
) -> Result<(), StepError> {
    let exceptions = exceptions(clients, execution).await?;
    let outcome = ExecutionOutcome { execution: execution.to_owned(), tally, continued, exceptions };
    let body = serde_json::to_vec(&outcome).map_err(|error| StepError::bug(error.to_string()))?;
    clients.work.put(&outcome_key(execution), body.into()).await
}

/// The outcome object of an execution, if it came so far as to write one.
pub(super) async fn read_outcome(clients: &Clients, execution: &str) -> Result<Option<ExecutionOutcome>, StepError> {
    let key = outcome_key(execution);
    if !clients.work.list(&key).await?.contains(&key) {
        return Ok(None);
    }
    let body = clients.work.get(clients.work.bucket(), &key, 0, None).await?;
    let outcome = serde_json::from_slice(&body).map_err(|error| StepError::bug(format!("{key}: {error}")))?;
    Ok(Some(outcome))
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
