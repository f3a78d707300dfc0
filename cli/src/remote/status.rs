//! `status` and `failures`.

use super::deployment::{Deployment, told};
use super::follow::{exit_status, follow};
use super::look::{Standing, Watcher};
use crate::args::remote::{RunArgs, StatusArgs, WatchArgs};
use crate::output::{print, print_raw, tell};
use crate::sizes::{bytes_text, count_text, time_text};
use longhaul_core::backfill::run::report_prefix;
use longhaul_core::backfill::summary::{RunSummary, page_key, summary_key};
use serde_json::json;

/// No summary is larger.
pub const REPORT_MAX_BYTES: u64 = 16 * 1024 * 1024;
/// Executions that a list of runs shows.
const LISTED: i32 = 20;
/// Failures that a summary shows.
const FAILURES_SHOWN: usize = 20;

/// Shows the newest runs, or how far one has come.
pub async fn status(args: &StatusArgs) -> Result<u8, String> {
    let deployment = Deployment::connect(&args.deployment).await?;
    let Some(name) = &args.run else { return list(&deployment, args.json).await };
    let run = deployment.known_run(name).await?;
    let execution = deployment.execution(&run.execution).await?;
    if args.follow && execution.is_running() {
        let watch = WatchArgs { json: args.json, ..WatchArgs::default() };
        return follow(&deployment, name, &run.execution, watch).await;
    }
    if !execution.is_running() {
        let found = deployment.work.find(&summary_key(name), REPORT_MAX_BYTES).await.map_err(|error| error.message)?;
        let summary: Option<RunSummary> = found.and_then(|found| serde_json::from_slice(&found.body).ok());
        if let Some(summary) = summary.filter(|summary| summary.attempt == run.attempt) {
            let text = if args.json { serde_json::to_string(&summary).ok() } else { Some(summary_text(&summary)) };
            print(&text.unwrap_or_default());
            return Ok(if args.follow { exit_status(&summary, &execution) } else { 0 });
        }
    }
    let standing = Watcher::new(run).look(&deployment, &execution).await?;
    let text = if args.json { serde_json::to_string(&standing).ok() } else { Some(standing_text(&standing)) };
    print(&text.unwrap_or_default());
    Ok(0)
}

async fn list(deployment: &Deployment, as_json: bool) -> Result<u8, String> {
    let request = deployment.sfn.list_executions().state_machine_arn(&deployment.state_machine).max_results(LISTED);
    let answer = request.send().await.map_err(|error| told("listing executions", &error))?;
    for execution in answer.executions {
        let (status, started) = (execution.status.as_str(), execution.start_date);
        if as_json {
            print(&json!({"execution": execution.name, "status": status, "started": started.to_string()}).to_string());
        } else {
            print(&format!("{:<10} {started}  {}", status.to_lowercase(), execution.name));
        }
    }
    Ok(0)
}

/// Prints the CSV of what failed, as the report holds it.
pub async fn failures(args: &RunArgs) -> Result<u8, String> {
    let deployment = Deployment::connect(&args.deployment).await?;
    let work = &deployment.work;
    let prefix = format!("{}failures", report_prefix(&args.run));
    let mut keys = work.list(&prefix).await.map_err(|error| error.message)?;
    // failures.csv, failures-2.csv, ..., failures-10.csv
    keys.sort_by_key(|key| (key.len(), key.clone()));
    if keys.is_empty() {
        deployment.known_run(&args.run).await?;
        tell(&format!("run {} has no report yet, or nothing failed in it", args.run));
    }
    for key in keys {
        let body = work.get(work.bucket(), &key, 0, None).await.map_err(|error| error.message)?;
        print_raw(&body);
    }
    Ok(0)
}

/// How far a run has come, for people.
fn standing_text(standing: &Standing) -> String {
    let Standing { counts, tally, .. } = standing;
    let control = standing.control.control.map(|control| format!(", {control:?}").to_lowercase()).unwrap_or_default();
    let mut rows = vec![
        ("status", format!("{}{control}, attempt {}", standing.status.to_lowercase(), standing.attempt)),
        (
            "scanned",
            format!("{} of {} shards, {} objects", standing.shards_done, standing.shards, count_text(counts.listed)),
        ),
        ("unchanged", count_text(counts.unchanged + counts.exists)),
        ("to copy", format!("{} ({})", count_text(counts.offered), bytes_text(counts.offered_bytes))),
        ("ended", format!("{} ({} migrated)", count_text(tally.objects()), bytes_text(tally.bytes))),
        ("failed", count_text(tally.failed)),
    ];
    if let Some(cause) = &standing.cause {
        rows.push(("cause", cause.clone()));
    }
    table(&standing.run, &rows)
}

/// The report of a run, for people at a terminal.
pub fn summary_text(summary: &RunSummary) -> String {
    let RunSummary { counts, tally, .. } = summary;
    let seconds = summary.ended_ms.saturating_sub(summary.started_ms) / 1_000;
    let mut rows = vec![
        ("status", format!("{}: {}", summary.status.words(), summary.cause)),
        ("listed", format!("{} ({})", count_text(counts.listed), bytes_text(counts.listed_bytes))),
        ("unchanged", count_text(counts.unchanged + tally.unchanged)),
        ("migrated", format!("{} ({})", count_text(tally.migrated), bytes_text(tally.bytes))),
        ("skipped", count_text(counts.exists + tally.skipped)),
        ("excluded", count_text(counts.excluded)),
        ("failed", count_text(tally.failed)),
        ("took", time_text(seconds)),
    ];
    for (name, count) in [("held", summary.held), ("missing", summary.missing)] {
        if count > 0 {
            rows.push((name, count_text(count)));
        }
    }
    if let Some(deletions) = &summary.deletions {
        rows.push(("removed", count_text(deletions.removed)));
    }
    rows.push(("report", format!("s3://{}/{}", summary.bucket, page_key(&summary.run))));
    let mut text = table(&summary.run, &rows);
    for failure in summary.failures.first.iter().take(FAILURES_SHOWN) {
        text += &format!("\nfailed {:?}: {}: {}", failure.key, failure.name, failure.message);
    }
    let more = tally.failed.saturating_sub(FAILURES_SHOWN as u64);
    if more > 0 {
        text += &format!("\nand {} more: longhaul failures {}", count_text(more), summary.run);
    }
    if !summary.advice.is_empty() {
        text += &format!("\n{}", summary.advice);
    }
    text
}

/// A heading and rows of names and values.
pub fn table(head: &str, rows: &[(&str, String)]) -> String {
    rows.iter().fold(head.to_owned(), |text, (name, value)| text + &format!("\n  {name:<10} {value}"))
}
