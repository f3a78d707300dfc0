//! The step `scan`: begins a run, lists, gathers, removes.

use super::begin::begin;
use super::delete::delete;
use super::gather::gather;
use crate::clients::Clients;
use crate::context::Context;
use crate::error::StepError;
use crate::scan::{ScanEnd, scan_shard};
use bytes::Bytes;
use longhaul_core::backfill::run::{Run, RunRef, run_key};
use longhaul_core::backfill::states::{ScanInput, ScanOutput, ShardEnd, ShardState, ShardWork};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Most bytes of a record that a run keeps in the work bucket. What grows with the number of objects lies elsewhere.
const RECORD_MAX: u64 = 16 * 1024 * 1024;

/// Carries out one state of a backfill. Every one may be repeated.
pub async fn scan(clients: &Clients, context: &Context, input: ScanInput) -> Result<ScanOutput, StepError> {
    match input {
        ScanInput::Begin(input) => begin(clients, context, input).await.map(ScanOutput::Begun),
        ScanInput::Scan(work) => scan_one(clients, context, work).await.map(ScanOutput::Shard),
        ScanInput::Gather(input) => gather(clients, input).await.map(ScanOutput::Gathered),
        ScanInput::Delete(work) => delete(clients, context, work).await.map(ScanOutput::Shard),
    }
}

async fn scan_one(clients: &Clients, context: &Context, work: ShardWork) -> Result<ShardState, StepError> {
    let run = read_run(clients, &work.run).await?;
    if run.shards.get(work.shard as usize).is_none() {
        return Err(StepError::bug(format!("run {} has no shard {}", run.name, work.shard)));
    }
    Ok(match scan_shard(clients, context, &run, work.shard).await? {
        ScanEnd::More => ShardState::Scan(work),
        // Whether the shard was scanned to its end, its manifests say.
        ScanEnd::Done | ScanEnd::Held => ShardState::Done(ShardEnd::default()),
    })
}

/// What was fixed when this attempt at the run began.
///
/// `Rejected` if there is no such run, or if another attempt goes on meanwhile: a step of the older one must not write.
pub async fn read_run(clients: &Clients, reference: &RunRef) -> Result<Run, StepError> {
    let name = &reference.name;
    let Some((run, _)) = record::<Run>(clients, &run_key(name)).await? else {
        return Err(StepError::rejected(format!("there is no run {name} in bucket {}", clients.work.bucket())));
    };
    if run.attempt != reference.attempt {
        let told = format!("attempt {} of run {name} is over: attempt {} goes on", reference.attempt, run.attempt);
        return Err(StepError::rejected(told));
    }
    Ok(run)
}

/// A record of the work bucket and its ETag; `None` where there is none.
pub(super) async fn record<T: DeserializeOwned>(
    clients: &Clients,
    key: &str,
) -> Result<Option<(T, String)>, StepError> {
    let Some(found) = clients.work.find(key, RECORD_MAX).await? else { return Ok(None) };
    let read = serde_json::from_slice(&found.body);
    let record = read.map_err(|error| StepError::rejected(format!("{key} of the work bucket is damaged: {error}")))?;
    Ok(Some((record, found.etag)))
}

/// A record as it is written.
pub(super) fn as_json(record: &impl Serialize) -> Result<Bytes, StepError> {
    serde_json::to_vec(record).map(Bytes::from).map_err(|error| StepError::bug(error.to_string()))
}

/// Writes a record where none stands; false where one does, or somebody else is about to write it.
pub(super) async fn put_new(clients: &Clients, key: &str, record: &impl Serialize) -> Result<bool, StepError> {
    lost_to_another(clients.work.put_new(key, as_json(record)?).await)
}

/// Replaces the record with this ETag; false where another stands, or somebody else is about to write it.
pub(super) async fn replace(
    clients: &Clients,
    key: &str,
    record: &impl Serialize,
    etag: &str,
) -> Result<bool, StepError> {
    lost_to_another(clients.work.replace(key, as_json(record)?, etag).await)
}

/// S3 answers 409 to one of two conditional writes at the same time.
/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html>
fn lost_to_another(written: Result<bool, StepError>) -> Result<bool, StepError> {
    match written {
        Err(error) if error.status == Some(409) => Ok(false),
        other => other,
    }
}
