//! Brings what a run listed and what became of it together, in memory that does not grow with the run.

pub(crate) mod facts;
pub(crate) mod ground;
pub(crate) mod groups;
pub(crate) mod open;
pub(crate) mod parked;
pub(crate) mod written;

use crate::clients::Clients;
use crate::error::StepError;
use serde::de::DeserializeOwned;

/// Objects of the work bucket read at once.
pub(crate) const READS_AT_ONCE: usize = 16;

/// An object of the work bucket as JSON; `None` where there is none. Fails as `Bug` on one that is something else.
pub(crate) async fn find_json<T: DeserializeOwned>(
    clients: &Clients,
    key: &str,
    most: u64,
) -> Result<Option<T>, StepError> {
    let Some(found) = clients.work.find(key, most).await? else { return Ok(None) };
    serde_json::from_slice(&found.body).map(Some).map_err(|error| StepError::bug(format!("{key}: {error}")))
}
