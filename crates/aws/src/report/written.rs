//! What a report leaves behind: its objects, and a message.

use crate::clients::Clients;
use crate::error::StepError;
use longhaul_core::backfill::csv::{Sheet, Table};
use longhaul_core::backfill::html::page;
use longhaul_core::backfill::summary::words::{bytes, duration, number};
use longhaul_core::backfill::summary::{RunStatus, RunSummary, page_key, summary_key};
use std::fmt::Write as _;

/// Most objects of a report that an answer or a message names: the summary names them all.
pub(crate) const REPORT_NAMED: usize = 10;

/// Writes an object of a table that is full.
pub(crate) async fn sheet(
    clients: &Clients,
    run: &str,
    table: Table,
    part: u32,
    text: String,
) -> Result<(), StepError> {
    clients.work.put(&table.key(run, part), text.into()).await
}

/// Writes the last object of each table, and empties those that an earlier attempt left behind it.
pub(crate) async fn sheets(clients: &Clients, run: &str, sheets: &[Sheet]) -> Result<(), StepError> {
    for unfinished in sheets {
        let table = unfinished.table();
        let (part, text) = unfinished.last();
        sheet(clients, run, table, part, text.to_owned()).await?;
        for further in part + 1.. {
            if clients.work.find(&table.key(run, further), 1).await?.is_none() {
                break;
            }
            sheet(clients, run, table, further, table.header()).await?;
        }
    }
    Ok(())
}

/// The keys of all objects of a report.
pub(crate) fn names(run: &str, sheets: &[Sheet]) -> Vec<String> {
    let tables = sheets.iter().flat_map(|sheet| (1..=sheet.last().0).map(|part| sheet.table().key(run, part)));
    let mut names = vec![page_key(run), summary_key(run)];
    names.extend(tables);
    names
}

/// Writes the page and then the summary: who finds the summary finds the rest.
pub(crate) async fn summary(clients: &Clients, summary: &RunSummary) -> Result<(), StepError> {
    let body = serde_json::to_vec_pretty(summary).map_err(|error| StepError::bug(error.to_string()))?;
    clients.work.put(&page_key(&summary.run), page(summary).into()).await?;
    clients.work.put(&summary_key(&summary.run), body.into()).await
}

/// Tells whoever subscribed. Who may not be told is no reason to fail a run that went well.
pub(crate) async fn notify(clients: &Clients, summary: &RunSummary) -> Result<(), StepError> {
    let (subject, text) = message(summary);
    match clients.outbox.notify(&subject, &text).await {
        Err(error) if !error.name.is_retryable() => {
            tracing::warn!(run = summary.run, error = %error.name, reason = error.message, "no notification");
            Ok(())
        }
        other => other,
    }
}

fn message(summary: &RunSummary) -> (String, String) {
    let RunSummary { run, counts, tally, .. } = summary;
    let ended = match summary.status {
        RunStatus::DryRun => "dry run ended".to_owned(),
        other => other.words().to_owned(),
    };
    let subject = format!("Longhaul: run {run} {ended}, {} objects", number(counts.listed));
    let mut text = format!("{}\n{}\n\n", summary.cause, summary.advice);
    let mut line = |name: &str, value: u64, of: Option<u64>| {
        if value > 0 || name == "Listed" {
            let of = of.map(|of| format!(" ({})", bytes(of))).unwrap_or_default();
            // Writing into text does not fail.
            let _ = writeln!(text, "{name}: {}{of}", number(value));
        }
    };
    line("Listed", counts.listed, Some(counts.listed_bytes));
    line("Excluded", counts.excluded, None);
    line("Unchanged", counts.unchanged + tally.unchanged, None);
    line("Left as they were", counts.exists, None);
    line("Offered", counts.offered, Some(counts.offered_bytes));
    line("Migrated", tally.migrated, Some(tally.bytes));
    line("Skipped", tally.skipped, None);
    line("Failed", tally.failed, None);
    line("Left to do", summary.held, None);
    line("Without an outcome", summary.missing, None);
    if let Some(deleted) = &summary.deletions {
        line("To remove", counts.deletions, None);
        line("Removed", deleted.removed, Some(deleted.removed_bytes));
        line("Not removed after a fault", deleted.failed, None);
    }
    line("Open uploads that the ledger does not know", summary.uploads.orphans, None);
    let _ = writeln!(text, "Time: {}\n", duration(summary.ended_ms.saturating_sub(summary.started_ms)));
    for route in &summary.routes {
        let _ = writeln!(text, "{} -> {}", route.source, route.destination);
    }
    let _ = writeln!(text, "\nReport:");
    for name in summary.report.iter().take(REPORT_NAMED) {
        let _ = writeln!(text, "s3://{}/{name}", summary.bucket);
    }
    (subject, text)
}
