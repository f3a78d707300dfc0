//! Gives an object its one final outcome: ledger, failed queue, exception.

use crate::clients::Clients;
use crate::context::Context;
use crate::destination::Destination;
use crate::error::StepError;
use crate::ledger::{Expected, LedgerError};
use longhaul_core::backfill::run::RunRef;
use longhaul_core::config::{Route, Side};
use longhaul_core::contract::{Exception, failed_request};
use longhaul_core::error::Failure;
use longhaul_core::etag::ETag;
use longhaul_core::job::{JobRecord, SourceIdentity};
use longhaul_core::names::{LedgerKey, exception_key, short_execution};
use longhaul_core::outcome::{Outcome, Status};
use longhaul_core::request::ObjectRef;
use longhaul_core::tally::Tally;
use serde::Serialize;

/// An object that was offered, and who offered it.
#[derive(Clone, Copy, Debug)]
pub struct Offered<'a> {
    /// As it was offered.
    pub offer: &'a ObjectRef,
    /// Its route, where one was found.
    pub route: Option<&'a Route>,
    /// The execution's id.
    pub execution: &'a str,
    /// The run of a backfill that it belongs to.
    pub run: Option<&'a RunRef>,
}

/// The key in the work bucket under which an object that was not migrated is named: one for each destination, or for
/// each source where there is none.
pub fn exception_name(offered: Offered<'_>) -> String {
    let Offered { offer, route, execution, .. } = offered;
    let key = route.and_then(|route| ledger_key(route, &offer.key).ok());
    let source = || Side { bucket: offer.bucket.clone(), ..Side::default() };
    exception_key(execution, &key.unwrap_or_else(|| LedgerKey::new(&source(), &offer.key)))
}

/// What was learnt on the way.
#[derive(Clone, Debug, Default)]
pub struct Learnt {
    /// The source version that the outcome is about.
    pub source: Option<SourceIdentity>,
    /// The destination's ETag of it.
    pub destination_etag: Option<ETag>,
    /// The whole-object checksum that both sides report.
    pub checksum: Option<String>,
    /// When the object was begun, milliseconds since 1970, where this record is the first of the attempt.
    pub begun_ms: Option<u64>,
    /// The upload that carried it, or was to.
    pub upload_id: Option<String>,
}

/// The ledger's key of an offered object.
pub fn ledger_key(route: &Route, key: &str) -> Result<LedgerKey, StepError> {
    Ok(LedgerKey::new(&route.destination, &route.destination_key(key)?))
}

/// Writes a record with what `change` makes of the newest one, whatever others write meanwhile.
///
/// `known` saves the first read. Gives up as `Transient` after losing five races.
pub async fn update(
    clients: &Clients,
    key: &LedgerKey,
    known: Option<Option<JobRecord>>,
    mut change: impl FnMut(Option<JobRecord>) -> JobRecord,
) -> Result<JobRecord, StepError> {
    const TRIES: usize = 5;
    let mut known = known;
    for _ in 0..TRIES {
        let current = match known.take() {
            Some(current) => current,
            None => clients.ledger.get(key).await?,
        };
        let expected = current.as_ref().map_or(Expected::Absent, |record| Expected::Revision(record.revision));
        match clients.ledger.put(&change(current), expected).await {
            Err(LedgerError::Conflict) => {}
            other => return Ok(other?),
        }
    }
    Err(LedgerError::Conflict.into())
}

/// Records the final outcome of an object and returns it counted.
///
/// A failed one goes to the failed queue first: a death in between repeats the message and loses nothing.
pub async fn record(
    clients: &Clients,
    context: &Context,
    offered: Offered<'_>,
    outcome: &Outcome,
    learnt: Learnt,
    known: Option<Option<JobRecord>>,
) -> Result<Tally, StepError> {
    let Offered { offer, route, execution, .. } = offered;
    let short = short_execution(execution);
    if let Outcome::Failed { failure } = outcome {
        let message = failed_request(offer, route, failure, short);
        let body = serde_json::to_string(&message).map_err(|error| StepError::bug(error.to_string()))?;
        clients.outbox.send_failed(&body).await?;
    }
    // Without a route, or with one that this key does not fit, there is no destination to keep a record of.
    let key = route.and_then(|route| ledger_key(route, &offer.key).ok());
    if matches!(outcome, Outcome::Failed { .. } | Outcome::Skipped { .. }) {
        let exception = Exception { object: offer.clone(), outcome: outcome.clone() };
        let body = serde_json::to_vec(&exception).map_err(|error| StepError::bug(error.to_string()))?;
        let name = exception_name(offered);
        clients.work.put(&name, body.into()).await?;
    }
    if let Some(key) = key {
        let now = context.clock.now_ms();
        // Whose record it was when the caller looked.
        let looked = known.as_ref().map(|job| job.as_ref().map(|job| job.execution.clone()));
        let mut dropped: Option<String> = None;
        let written = update(clients, &key, known, |current| {
            // The message above can be sent again before this is written: what another execution has made of it since is
            // not undone by a failure.
            if let (Some(job), Some(looked), Outcome::Failed { .. }) = (&current, &looked, outcome)
                && job.execution != execution
                && looked.as_ref() != Some(&job.execution)
            {
                return job.clone();
            }
            // Another execution is copying another version by now, or this same one by another upload: the record is
            // theirs, and so is the object. Nobody else would know of the upload any more.
            if let Some(job) = &current
                && job.status == Status::Copying
                && job.execution != execution
                && !is_newer(learnt.source.as_ref(), job.source.as_ref())
                && (job.source != learnt.source || has_another_upload(job, &learnt))
            {
                return job.clone();
            }
            let upload = current.as_ref().and_then(|job| job.upload.as_ref());
            if let Some(upload) = upload.filter(|upload| learnt.upload_id.as_ref() != Some(&upload.upload_id)) {
                dropped = Some(upload.upload_id.clone());
            }
            let mut job = current
                .unwrap_or_else(|| JobRecord::new(key.clone(), &offer.bucket, &offer.key, execution, now))
                .ended(outcome, execution, now);
            job.offer(offer.sequencer.as_ref());
            if let Some(begun_ms) = learnt.begun_ms {
                job.started_ms = begun_ms;
                job.attempts += 1;
            }
            if matches!(outcome, Outcome::Migrated { .. } | Outcome::Unchanged { .. }) {
                job.source.clone_from(&learnt.source);
                job.destination_etag.clone_from(&learnt.destination_etag);
                job.checksum.clone_from(&learnt.checksum);
            }
            job
        })
        .await?;
        let kept = written.upload.as_ref().map(|upload| &upload.upload_id);
        if let (Some(dropped), Some(route)) = (dropped.filter(|dropped| kept != Some(dropped)), route) {
            forsake(clients, route, &offer.key, &dropped).await;
        }
    }
    log(offered, outcome, &learnt);
    let tally = outcome.tally();
    context.count(tally);
    Ok(tally)
}

/// Aborts an upload that the ledger has just forgotten.
async fn forsake(clients: &Clients, route: &Route, key: &str, upload_id: &str) {
    let Ok(destination_key) = route.destination_key(key) else { return };
    match Destination::connect(clients, &route.destination).await {
        Ok(destination) => destination.forsake(&destination_key, upload_id).await,
        Err(error) => tracing::warn!(destination_key, upload_id, %error, "old upload not aborted"),
    }
}

/// True if the record names an upload that this outcome does not come from.
fn has_another_upload(job: &JobRecord, learnt: &Learnt) -> bool {
    job.upload.as_ref().is_some_and(|upload| learnt.upload_id.as_ref() != Some(&upload.upload_id))
}

/// True if `one` was modified after `other`.
fn is_newer(one: Option<&SourceIdentity>, other: Option<&SourceIdentity>) -> bool {
    let modified = |source: Option<&SourceIdentity>| source.and_then(|source| source.last_modified);
    modified(one) > modified(other)
}

/// One line an outcome, all of it in fields, by the names that the ledger and the reports have for them. What does not
/// apply is left out.
fn log(offered: Offered<'_>, outcome: &Outcome, learnt: &Learnt) {
    let Offered { offer, route, execution, run } = offered;
    let (attempt, run) = (run.map(|run| run.attempt), run.map(|run| run.name.as_str()));
    let execution = short_execution(execution);
    let (bucket, key) = (offer.bucket.as_str(), offer.key.as_str());
    let destination_key = route.and_then(|route| route.destination_key(key).ok());
    let destination_bucket = route.map(|route| route.destination.bucket.as_str());
    let (destination_key, route) = (destination_key.as_deref(), route.map(|route| route.name.as_str()));
    let (upload_id, etag) = (learnt.upload_id.as_deref(), learnt.destination_etag.as_ref().map(ETag::as_str));
    let status = outcome.status().as_str();
    macro_rules! line {
        ($level:ident, $($fields:tt)*) => {
            tracing::$level!(
                status, run, attempt, execution, route, bucket, key, destination_bucket, destination_key, upload_id, etag,
                $($fields)*, "outcome"
            )
        };
    }
    match outcome {
        Outcome::Migrated { bytes, proof } => line!(info, bytes, proof = word(proof)),
        Outcome::Unchanged { proof } => line!(info, proof = word(proof)),
        Outcome::Skipped { reason } => line!(info, reason = word(reason)),
        Outcome::Failed { failure } => line!(warn, error = failure.name, reason = failure.message),
    }
}

/// The name that a variant has in JSON.
fn word(variant: &impl Serialize) -> String {
    serde_json::to_value(variant).ok().and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
}

/// A failure as an outcome.
pub fn failed(failure: Failure) -> Outcome {
    Outcome::Failed { failure }
}
