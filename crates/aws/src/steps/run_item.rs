//! Requests that carry out a manifest of a backfill.

use crate::clients::Clients;
use crate::error::StepError;
use crate::scan::header;
use longhaul_core::backfill::manifest::Header;
use longhaul_core::backfill::run::{ControlObject, RunItem, control_key, item_of_outcome, item_outcomes_prefix};
use longhaul_core::contract::ExecutionOutcome;
use longhaul_core::request::Request;
use longhaul_core::tally::Tally;

/// More than any control object.
const CONTROL_MAX_BYTES: u64 = 4 * 1024;

/// A request whose manifest names the lines of its objects alone, and the route that the manifest was made for.
///
/// What a successor is given stays as it is: it names its route itself.
pub(super) async fn opened(clients: &Clients, mut request: Request) -> Result<(Request, Option<Header>), StepError> {
    let Some(item) = &request.run else { return Ok((request, None)) };
    let whole = |manifest: &&mut longhaul_core::request::ManifestRef| {
        manifest.key == item.manifest && manifest.offset == 0 && manifest.end.is_none()
    };
    let Some(manifest) = request.manifests.iter_mut().find(whole) else { return Ok((request, None)) };
    let key = &manifest.key;
    let wrong = |told: &str| StepError::rejected(format!("manifest s3://{}/{key}: {told}", manifest.bucket));
    if manifest.bucket != clients.work.bucket() {
        return Err(wrong("a run's manifests lie in the work bucket"));
    }
    let (header, end) = header(&*clients.work, key).await?.ok_or_else(|| wrong("it does not exist"))?;
    if header.run != item.name {
        return Err(wrong(&format!("it is of run {:?}, not {:?}", header.run, item.name)));
    }
    manifest.offset = end;
    manifest.end = (header.deletions > 0).then_some(header.deletions_at);
    request.route.get_or_insert_with(|| header.route.clone());
    Ok((request, Some(header)))
}

/// Why nothing is to be done for a manifest.
pub(super) enum Idle {
    /// The run was paused or stopped.
    Held,
    /// An earlier attempt brought every object to a good end.
    Done,
}

/// Looks whether the run goes on, and whether this manifest still has work in it.
///
/// A large object that has been going on for hours is asked about here too: each of its successors plans anew.
pub(super) async fn idle(
    clients: &Clients,
    item: &RunItem,
    header: Option<&Header>,
) -> Result<Option<Idle>, StepError> {
    if let Some(found) = clients.work.find(&control_key(&item.name), CONTROL_MAX_BYTES).await? {
        let control: ControlObject = serde_json::from_slice(&found.body)
            .map_err(|error| StepError::rejected(format!("{}: {error}", control_key(&item.name))))?;
        if control.control.is_some() {
            return Ok(Some(Idle::Held));
        }
    }
    let Some(header) = header.filter(|_| item.attempt > 1) else { return Ok(None) };
    let ended = latest(clients, item).await?;
    let complete = ended.all_well() && ended.held == 0 && ended.objects() == u64::from(header.objects);
    Ok(complete.then_some(Idle::Done))
}

/// What the newest of the earlier attempts at a manifest came to, its successors included.
async fn latest(clients: &Clients, item: &RunItem) -> Result<Tally, StepError> {
    let keys = clients.work.list(&item_outcomes_prefix(&item.name, &item.manifest)).await?;
    let attempt_of = |key: &String| item_of_outcome(&item.name, key).map(|(_, attempt)| attempt);
    let newest = keys.iter().filter_map(attempt_of).filter(|attempt| *attempt < item.attempt).max();
    let mut sum = Tally::default();
    for key in keys.iter().filter(|key| newest.is_some() && attempt_of(key) == newest) {
        let body = clients.work.get(clients.work.bucket(), key, 0, None).await?;
        let outcome: ExecutionOutcome =
            serde_json::from_slice(&body).map_err(|error| StepError::bug(format!("{key}: {error}")))?;
        sum += outcome.tally;
    }
    Ok(sum)
}
