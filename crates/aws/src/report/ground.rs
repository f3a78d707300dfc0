//! What one manifest came to: its outcomes, and where they do not tell all, its header.

use super::groups::Group;
use crate::clients::Clients;
use crate::error::StepError;
use crate::scan::header;
use longhaul_core::backfill::manifest::{Deletion, Header};
use longhaul_core::backfill::summary::chains;
use longhaul_core::contract::ExecutionOutcome;

/// No outcome is larger: two thousand exceptions of a few KiB.
const OUTCOME_MAX_BYTES: u64 = 64 * 1024 * 1024;

/// A manifest with everything that was recorded of it.
#[derive(Debug)]
pub(crate) struct Ground {
    /// Its key.
    pub(crate) manifest: String,
    /// Outcomes by attempt, the newest last.
    pub(crate) attempts: Vec<Vec<ExecutionOutcome>>,
    /// Its header, where it had to be looked at.
    pub(crate) header: Option<Header>,
    /// What it removes, where that was asked for.
    pub(crate) deletions: Vec<Deletion>,
}

/// What a run asks of its manifests.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked {
    /// Outcomes are expected: where they do not tell all, the header does.
    pub(crate) outcomes: bool,
    /// The lines of the deletions are wanted.
    pub(crate) deletions: bool,
}

/// Reads a group.
pub(crate) async fn read(clients: &Clients, group: Group, asked: Asked) -> Result<Ground, StepError> {
    let mut attempts: Vec<Vec<ExecutionOutcome>> = Vec::new();
    let mut newest = None;
    for (attempt, key) in group.outcomes {
        let Some(found) = clients.work.find(&key, OUTCOME_MAX_BYTES).await? else { continue };
        let outcome = serde_json::from_slice(&found.body).map_err(|error| StepError::bug(format!("{key}: {error}")))?;
        match attempts.last_mut() {
            Some(last) if newest == Some(attempt) => last.push(outcome),
            _ => attempts.push(vec![outcome]),
        }
        newest = Some(attempt);
    }
    let ended = attempts.last().is_some_and(|outcomes| {
        let chains = chains(outcomes);
        let chain = chains.last().map(Vec::as_slice).unwrap_or_default();
        let well = chain.iter().all(|outcome| outcome.tally.unsettled == 0 && outcome.tally.held == 0);
        well && chain.last().is_some_and(|last| !last.continued)
    });
    let mut ground = Ground { manifest: group.manifest, attempts, header: None, deletions: Vec::new() };
    if (asked.outcomes && !ended) || asked.deletions {
        let header = header(&*clients.work, &ground.manifest).await?.map(|(header, _)| header);
        if let Some(header) = header.as_ref().filter(|header| asked.deletions && header.deletions > 0) {
            ground.deletions = read_deletions(clients, &ground.manifest, header).await?;
        }
        ground.header = header;
    }
    Ok(ground)
}

async fn read_deletions(clients: &Clients, key: &str, header: &Header) -> Result<Vec<Deletion>, StepError> {
    let body = clients.work.get(clients.work.bucket(), key, header.deletions_at, None).await?;
    let lines = body.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    lines
        .map(|line| serde_json::from_slice(line).map_err(|error| StepError::bug(format!("{key}: a deletion: {error}"))))
        .collect()
}
