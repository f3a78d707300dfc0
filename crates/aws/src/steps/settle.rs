//! Gives a failed item, request or execution its outcomes.

use super::objects::{batch_objects, read_lines, records_of};
use super::record::{EndOf, read_outcome, record_end, write_outcome};
use super::run_item::{idle, opened};
use crate::clients::Clients;
use crate::context::Context;
use crate::destination::Destination;
use crate::error::StepError;
use crate::outcomes::{Learnt, Offered, exception_name, failed, ledger_key, record};
use futures::future::ready;
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use longhaul_core::backfill::run::RunRef;
use longhaul_core::config::Route;
use longhaul_core::contract::{
    Again, Batch, Done, ItemState, LargeObject, Rest, SettleInput, SettleItem, SettleOutput, SettleRequest, Settled,
};
use longhaul_core::error::{ErrorName, Failure};
use longhaul_core::job::JobRecord;
use longhaul_core::names::{exception_prefix, short_execution, successor_name};
use longhaul_core::outcome::{Outcome, SkipReason};
use longhaul_core::request::{ObjectRef, Request, deduplicated};
use longhaul_core::tally::Tally;
use serde_json::Value;
use std::collections::BTreeSet;

/// An execution that ended without settling, as EventBridge tells of it.
#[derive(Clone, Debug)]
pub struct Ended {
    /// Its ARN.
    pub execution: String,
    /// When it began, milliseconds since 1970.
    pub started_ms: u64,
    /// `FAILED`, `TIMED_OUT` or `ABORTED`.
    pub status: String,
    /// Its input, where the event carried it.
    pub input: Option<String>,
    /// Error and cause, where the event carried them.
    pub reason: Option<String>,
}

/// Two clocks of AWS may differ by so much: a look that began less than this after an execution may have been before it.
const CLOCKS_DIFFER_MS: u64 = 2_000;
/// Objects of a manifest that are read at once.
const LINES_AT_ONCE: usize = 1_000;
/// Objects settled at once.
const SETTLED_AT_ONCE: usize = 16;

/// Settles a failed item or request, or ends the execution.
pub async fn settle(clients: &Clients, context: &Context, input: SettleInput) -> Result<SettleOutput, StepError> {
    match input {
        SettleInput::Settle(item) => Ok(SettleOutput::Item(Box::new(settle_item(clients, context, item).await?))),
        SettleInput::SettleRequest(request) => {
            let SettleRequest { request, execution, error } = request;
            let run = run_of(&request);
            let lost = Lost { execution: &execution, run: run.as_ref(), since_ms: None, failure: error.failure() };
            Ok(SettleOutput::Settled(settle_request(clients, context, &request, &lost).await?))
        }
        SettleInput::Record(record) => Ok(SettleOutput::End(record_end(clients, context, record).await?)),
    }
}

/// Settles every object of an execution that ended without giving it an outcome (SEMANTICS.md, rule 11).
pub async fn settle_ended(clients: &Clients, context: &Context, ended: Ended) -> Result<SettleOutput, StepError> {
    // An execution that recorded its end has settled everything itself, and its successor does what was left to it.
    let input = ended.input.as_ref().and_then(|input| serde_json::from_str::<Value>(input).ok());
    let input = match input {
        Some(input) => input,
        None => {
            let input = clients.outbox.input_of(&ended.execution).await?;
            serde_json::from_str(&input).unwrap_or(Value::String(input))
        }
    };
    let run = Request::from_value(&input).ok().and_then(|request| request.run);
    let recorded = read_outcome(clients, &ended.execution, run.as_ref()).await?;
    if let Some(outcome) = recorded.as_ref().filter(|outcome| outcome.tally.unsettled == 0)
        && (!outcome.continued || has_successor(clients, &ended.execution).await?)
    {
        return Ok(SettleOutput::Settled(Settled { tally: outcome.tally, ..Settled::default() }));
    }
    if recorded.is_none() && nothing_to_do(clients, &input).await? {
        return Ok(SettleOutput::Settled(Settled::default()));
    }
    let told = match &ended.reason {
        Some(reason) => format!("the execution ended {} before this object did: {reason}", ended.status),
        None => format!("the execution ended {} before this object did", ended.status),
    };
    let name =
        if ended.status == "TIMED_OUT" { "States.Timeout".to_owned() } else { format!("Execution{}", ended.status) };
    let of_run = run.as_ref().map(RunRef::from);
    let lost = Lost {
        execution: &ended.execution,
        run: of_run.as_ref(),
        since_ms: Some(ended.started_ms),
        failure: Failure::new(name, told),
    };
    let settled = settle_request(clients, context, &input, &lost).await?;
    let end = EndOf {
        execution: &ended.execution,
        run: run.as_ref(),
        started_ms: ended.started_ms,
        ended_ms: context.clock.now_ms(),
        slowest: Vec::new(),
    };
    // Its successor's objects are among these: nobody else answers for them any more.
    write_outcome(clients, end, settled.tally, false).await?;
    Ok(SettleOutput::Settled(settled))
}

/// True if an earlier attempt brought the manifest of this request to a good end, or its run is held.
async fn nothing_to_do(clients: &Clients, input: &Value) -> Result<bool, StepError> {
    let Ok(request) = Request::from_value(input) else { return Ok(false) };
    let Some(item) = request.run.clone() else { return Ok(false) };
    match opened(clients, request).await {
        Ok((_, Some(header))) => Ok(idle(clients, &item, Some(&header)).await?.is_some()),
        // A successor has begun what it was given; what cannot be read is settled as a whole.
        Ok((_, None)) => Ok(false),
        Err(error) if error.name.is_retryable() => Err(error),
        Err(_) => Ok(false),
    }
}

/// True if the successor of an execution was started: it answers for what it was given.
async fn has_successor(clients: &Clients, execution: &str) -> Result<bool, StepError> {
    let machine = execution.rsplit_once(':').map_or("", |(machine, _)| machine);
    match clients.outbox.input_of(&format!("{machine}:{}", successor_name(execution))).await {
        Ok(_) => Ok(true),
        Err(error) if error.has_code("ExecutionDoesNotExist") => Ok(false),
        Err(error) => Err(error),
    }
}

/// The run of a backfill that an execution's input names.
fn run_of(input: &Value) -> Option<RunRef> {
    Request::from_value(input).ok()?.run.as_ref().map(RunRef::from)
}

/// Why objects have no outcome.
struct Lost<'a> {
    execution: &'a str,
    /// The run of a backfill that it belongs to.
    run: Option<&'a RunRef>,
    /// An outcome that any execution gave since then counts.
    since_ms: Option<u64>,
    failure: Failure,
}

impl Lost<'_> {
    /// The outcome that the object has after all, counted.
    fn outcome(&self, known: Option<&JobRecord>) -> Option<Tally> {
        let known = known?;
        if let Some(outcome) = known.outcome_of(self.execution) {
            return Some(outcome.tally());
        }
        // Another execution's outcome counts if its look at the source came after this one began: it copied, or
        // failed to copy, what was current then. A superseded version only points at a newer one.
        let since = self.since_ms?;
        let outcome = known.outcome_of(&known.execution)?;
        let counts = match &outcome {
            Outcome::Failed { .. } => known.updated_ms >= since,
            Outcome::Skipped { reason: SkipReason::Superseded } => false,
            _ => known.started_ms > since + CLOCKS_DIFFER_MS,
        };
        counts.then(|| outcome.tally())
    }
}

async fn settle_item(clients: &Clients, context: &Context, item: SettleItem) -> Result<ItemState, StepError> {
    let failure = item.error.failure();
    let done = |tally, remaining| Ok(ItemState::Done(Done { tally, remaining, slowest: None }));
    match item.item {
        ItemState::CopyObjects(batch) => {
            let Batch { route, execution, run, objects, tally, remaining, .. } = batch;
            let objects = batch_objects(clients, &objects).await?.into_iter().map(|(_, object)| object).collect();
            let lost = Lost { execution: &execution, run: run.as_ref(), since_ms: None, failure };
            let settled = settle_objects(clients, context, &route, objects, &lost).await?;
            done(tally + settled, remaining)
        }
        ItemState::CopyParts(large) | ItemState::Complete(large) | ItemState::Settle(large) => {
            let settled = settle_large(clients, context, &large.object, failure).await?;
            done(large.tally + settled, Rest::default())
        }
        ItemState::PlanAgain(again) => {
            let Again { offer, route, execution, run, tally, .. } = *again;
            let lost = Lost { execution: &execution, run: run.as_ref(), since_ms: None, failure };
            let settled = settle_objects(clients, context, &route, vec![offer], &lost).await?;
            done(tally + settled, Rest::default())
        }
        ItemState::Done(finished) => Ok(ItemState::Done(finished)),
    }
}

/// True if what an upload holds is worthless after this error; after any other it can be resumed.
fn never_resumed(failure: &Failure) -> bool {
    matches!(
        ErrorName::parse(&failure.name),
        Some(
            ErrorName::SourceChanged
                | ErrorName::SourceGone
                | ErrorName::ChecksumMismatch
                | ErrorName::DestinationChanged
                | ErrorName::UploadGone
        )
    )
}

async fn settle_large(
    clients: &Clients,
    context: &Context,
    object: &LargeObject,
    failure: Failure,
) -> Result<Tally, StepError> {
    let key = ledger_key(&object.route, &object.offer.key)?;
    let known = clients.ledger.get(&key).await?;
    let LargeObject { offer, route, execution, run, upload_id, .. } = object;
    let lost = Lost { execution, run: run.as_ref(), since_ms: None, failure };
    if let Some(tally) = lost.outcome(known.as_ref()) {
        return Ok(tally);
    }
    // Never while another execution is on it. One that nobody has in the ledger is on none.
    let in_ledger = known.as_ref().and_then(|job| job.upload.as_ref()).map(|upload| upload.upload_id.as_str());
    let ours = known.as_ref().is_none_or(|job| job.execution == object.execution);
    if in_ledger != Some(upload_id) || ours && never_resumed(&lost.failure) {
        let destination = Destination::connect(clients, &object.route.destination).await?;
        destination.abort_until_gone(&object.destination_key, &object.upload_id).await?;
    }
    let offered = Offered { offer, route: Some(route), execution, run: lost.run };
    let learnt = Learnt { upload_id: Some(upload_id.clone()), ..Learnt::default() };
    record(clients, context, offered, &failed(lost.failure), learnt, Some(known)).await
}

async fn settle_objects(
    clients: &Clients,
    context: &Context,
    route: &Route,
    objects: Vec<ObjectRef>,
    lost: &Lost<'_>,
) -> Result<Tally, StepError> {
    let offers: Vec<&ObjectRef> = objects.iter().collect();
    let records = records_of(clients, route, &offers).await?;
    stream::iter(objects.iter().zip(records))
        .map(|(offer, (_, known))| async move {
            if let Some(had) = lost.outcome(known.as_ref()) {
                return Ok(had);
            }
            let offered = Offered { offer, route: Some(route), execution: lost.execution, run: lost.run };
            let outcome = failed(lost.failure.clone());
            record(clients, context, offered, &outcome, Learnt::default(), Some(known)).await
        })
        .boxed()
        .buffered(SETTLED_AT_ONCE)
        .try_fold(Tally::default(), |sum, tally| ready(Ok(sum + tally)))
        .await
}

/// Settles whatever of a request has no outcome. A request that cannot be read names no object: it counts as one
/// failure, so that its execution fails.
async fn settle_request(
    clients: &Clients,
    context: &Context,
    request: &Value,
    lost: &Lost<'_>,
) -> Result<Settled, StepError> {
    let parsed = match Request::from_value(request) {
        Ok(parsed) => parsed,
        Err(error) => {
            // Nothing that could be sent again: the failed execution holds the input and the reason.
            tracing::error!(execution = short_execution(lost.execution), reason = %error, "request rejected");
            let tally = Tally { failed: 1, ..Tally::default() };
            return Ok(Settled { tally, ..Settled::default() });
        }
    };
    let run = parsed.run.clone();
    let parsed = match opened(clients, parsed.clone()).await {
        Ok((opened, _)) => opened,
        Err(error) if error.name.is_retryable() => return Err(error),
        // Reading its lines says so once more.
        Err(_) => parsed,
    };
    let Request { objects, manifests, route: given, .. } = parsed;
    let mut tally = settle_group(clients, context, deduplicated(objects), given.as_ref(), lost).await?;
    for manifest in manifests {
        let mut next = Some(manifest);
        while let Some(manifest) = next.take() {
            let read = if context.time_left().is_zero() {
                Err(StepError::rejected("no time was left to settle it object by object"))
            } else {
                read_lines(clients, &manifest, LINES_AT_ONCE).await
            };
            match read {
                Ok(lines) => {
                    tally += settle_group(clients, context, lines.objects, given.as_ref(), lost).await?;
                    next = lines.rest;
                }
                // What cannot be settled object by object goes to the failed queue as it is, from here to its end.
                Err(error) if error.name == ErrorName::Rejected => {
                    let request = Request {
                        manifests: vec![manifest],
                        route: given.clone(),
                        failure: Some(Failure::new(&lost.failure.name, format!("{}; {error}", lost.failure.message))),
                        execution: Some(short_execution(lost.execution).to_owned()),
                        ..Request::default()
                    };
                    let body = serde_json::to_string(&request).map_err(|error| StepError::bug(error.to_string()))?;
                    clients.outbox.send_failed(&body).await?;
                    tally.failed += 1;
                }
                Err(error) => return Err(error),
            }
        }
    }
    Ok(Settled { tally, run, ..Settled::default() })
}

/// Settles objects whose routes are not known yet. An object without a route fails without one.
async fn settle_group(
    clients: &Clients,
    context: &Context,
    objects: Vec<ObjectRef>,
    given: Option<&Route>,
    lost: &Lost<'_>,
) -> Result<Tally, StepError> {
    // A configuration that cannot be read is a likely cause of what is settled here: it must not stop the settling.
    let config = match given {
        Some(_) => None,
        None => match clients.routes.config().await {
            Err(error) if error.name.is_retryable() => return Err(error),
            other => other.ok(),
        },
    };
    let mut groups: Vec<(Option<Route>, Vec<ObjectRef>)> = Vec::new();
    for object in objects {
        let route = match given {
            Some(route) => Some(route),
            None => config.as_ref().and_then(|config| config.route(&object.bucket, &object.key)),
        };
        match groups.iter_mut().find(|(known, _)| known.as_ref() == route) {
            Some((_, group)) => group.push(object),
            None => groups.push((route.cloned(), vec![object])),
        }
    }
    let mut tally = Tally::default();
    for (route, group) in groups {
        match route {
            Some(route) => tally += settle_objects(clients, context, &route, group, lost).await?,
            None => tally += settle_unrouted(clients, context, &group, lost).await?,
        }
    }
    Ok(tally)
}

/// Settles objects without a route. The ledger does not know them; their exceptions tell which have their outcome.
async fn settle_unrouted(
    clients: &Clients,
    context: &Context,
    objects: &[ObjectRef],
    lost: &Lost<'_>,
) -> Result<Tally, StepError> {
    let named: BTreeSet<String> = clients.work.list(&exception_prefix(lost.execution)).await?.into_iter().collect();
    let mut tally = Tally::default();
    for offer in objects {
        let offered = Offered { offer, route: None, execution: lost.execution, run: lost.run };
        let outcome = failed(lost.failure.clone());
        if named.contains(&exception_name(offered)) {
            tally += outcome.tally();
        } else {
            tally += record(clients, context, offered, &outcome, Learnt::default(), None).await?;
        }
    }
    Ok(tally)
}
