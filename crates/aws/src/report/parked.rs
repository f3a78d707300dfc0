//! How far a report has come, between two rounds.

use super::ground::Ground;
use super::written;
use crate::clients::Clients;
use crate::error::StepError;
use longhaul_core::backfill::csv::{Sheet, Table, deletion_line, exception_line};
use longhaul_core::backfill::manifest::manifest_name;
use longhaul_core::backfill::run::{Run, report_prefix};
use longhaul_core::backfill::summary::{Adder, chains};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Two unfinished tables, whose text doubles at most as JSON, and an adder.
const PARKED_MAX_BYTES: u64 = 256 * 1024 * 1024;

/// Everything learnt from the manifests up to a place. It depends on nothing but what lies before that place: whoever
/// takes it up, a round that is repeated too, comes to the same end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Progress {
    /// The attempt that it is of.
    attempt: u32,
    /// The last manifest that is in it.
    pub(crate) after: Option<String>,
    /// The number of the last manifest of each shard.
    pub(crate) last: BTreeMap<u32, u32>,
    /// Outcomes that belong to no manifest.
    pub(crate) strays: u64,
    /// The sums.
    pub(crate) added: Adder,
    /// The tables.
    pub(crate) sheets: Vec<Sheet>,
}

fn key(run: &str) -> String {
    format!("{}parked.json", report_prefix(run))
}

impl Progress {
    /// Nothing yet.
    pub(crate) fn new(run: &Run) -> Self {
        let mut sheets = vec![Sheet::new(Table::Failures)];
        if run.request.delete.is_some() {
            sheets.push(Sheet::new(Table::Deletions));
        }
        Self {
            attempt: run.attempt,
            after: None,
            last: BTreeMap::new(),
            strays: 0,
            added: Adder::new(run.started_ms),
            sheets,
        }
    }

    /// What an earlier round of this attempt parked; nothing where it did not.
    pub(crate) async fn parked(clients: &Clients, run: &Run) -> Result<Self, StepError> {
        let parked: Option<Self> = super::find_json(clients, &key(&run.name), PARKED_MAX_BYTES).await?;
        Ok(parked.filter(|parked| parked.attempt == run.attempt).unwrap_or_else(|| Self::new(run)))
    }

    /// Keeps it for the next round.
    pub(crate) async fn park(&self, clients: &Clients, run: &str) -> Result<(), StepError> {
        let body = serde_json::to_vec(self).map_err(|error| StepError::bug(error.to_string()))?;
        clients.work.put(&key(run), body.into()).await
    }

    /// Adds a manifest.
    pub(crate) async fn add(&mut self, clients: &Clients, run: &Run, ground: Ground) -> Result<(), StepError> {
        let Ground { manifest, attempts, header, deletions } = ground;
        let name = manifest_name(&manifest);
        if let Some((shard, number)) = place(name) {
            let last = self.last.entry(shard).or_default();
            *last = number.max(*last);
        }
        self.added.manifests += 1;
        let mut told = 0;
        let newest = attempts.len().saturating_sub(1);
        for (index, outcomes) in attempts.iter().enumerate() {
            let mut chains = chains(outcomes);
            let counts = if index == newest { chains.pop() } else { None };
            for chain in &chains {
                self.added.add_superseded(chain);
            }
            let Some(chain) = counts else { continue };
            self.added.add_chain(&chain);
            told = chain.iter().map(|outcome| outcome.tally.objects()).sum::<u64>();
            for outcome in chain {
                for exception in &outcome.exceptions {
                    let line = exception_line(exception, &outcome.execution);
                    self.write(clients, run, Table::Failures, line).await?;
                }
            }
        }
        if let Some(header) = header {
            let left = u64::from(header.objects).saturating_sub(told);
            // Of a dry run nothing is expected.
            if left > 0 && !run.request.dry_run {
                self.added.add_unfinished(name, left);
            }
            for deletion in &deletions {
                let line = deletion_line(deletion, &header.route.destination.bucket);
                self.write(clients, run, Table::Deletions, Some(line)).await?;
            }
        }
        self.after = Some(manifest);
        Ok(())
    }

    async fn write(
        &mut self,
        clients: &Clients,
        run: &Run,
        table: Table,
        line: Option<String>,
    ) -> Result<(), StepError> {
        let sheet = self.sheets.iter_mut().find(|sheet| sheet.table() == table);
        if let Some((part, text)) = sheet.zip(line).and_then(|(sheet, line)| sheet.push(&line)) {
            written::sheet(clients, &run.name, table, part, text).await?;
        }
        Ok(())
    }
}

/// Shard and number of a manifest, from its name.
fn place(name: &str) -> Option<(u32, u32)> {
    let mut parts = name.rsplitn(3, '-');
    let number = parts.next()?.parse().ok()?;
    Some((parts.next()?.parse().ok()?, number))
}

#[cfg(test)]
mod tests {
    use super::*;
    use longhaul_core::backfill::manifest::manifest_key;

    #[test]
    fn a_name_tells_shard_and_number() {
        assert_eq!(place(manifest_name(&manifest_key("a-1-2", 39, 14))), Some((39, 14)));
        assert_eq!(place("x"), None);
    }
}
