//! `report`: adds up what a run did, writes its report, and says how it ended.

use crate::clients::Clients;
use crate::context::Context;
use crate::error::StepError;
use crate::report::ground::Asked;
use crate::report::groups::Groups;
use crate::report::parked::Progress;
use crate::report::written::REPORT_NAMED;
use crate::report::{READS_AT_ONCE, facts, ground, open, written};
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use longhaul_core::backfill::states::{ReportInput, Reported, RunEnd};
use longhaul_core::backfill::summary::{RunStatus, RunSummary, summarize};
use longhaul_core::error::Failure;
use std::time::Duration;

/// Manifests between two looks at the time.
const GROUPS_AT_ONCE: usize = 64;
/// Time kept for the end: some hundred small reads, and the tables.
const KEPT: Duration = Duration::from_secs(20);

/// Reads what the executions of a run recorded, and reports. Where the time does not suffice, what was learnt is parked
/// in the work bucket and the next round goes on behind it; every round goes some way.
///
/// Done twice it writes the same objects and tells the subscribers twice. Fails as `Rejected` on a run that nobody
/// began.
pub async fn report(clients: &Clients, context: &Context, input: ReportInput) -> Result<Reported, StepError> {
    let Some(run) = facts::run(clients, &input).await? else { return unknown(input) };
    let mut progress = match input.rounds {
        0 => Progress::new(&run),
        _ => Progress::parked(clients, &run).await?,
    };
    let asked = Asked { outcomes: !run.request.dry_run, deletions: run.request.delete.is_some() };
    let after = progress.after.clone();
    let mut groups = Groups::new(clients, &run.name, after.as_deref());
    let strays = progress.strays;
    loop {
        let some = groups.next(GROUPS_AT_ONCE).await?;
        progress.strays = strays + groups.strays;
        if some.is_empty() {
            break;
        }
        let mut read = stream::iter(some).map(|group| ground::read(clients, group, asked)).buffered(READS_AT_ONCE);
        while let Some(ground) = read.try_next().await? {
            progress.add(clients, &run, ground).await?;
        }
        if context.time_left() < KEPT {
            progress.park(clients, &run.name).await?;
            tracing::info!(run = run.name, manifests = progress.added.manifests, "parked");
            return Ok(Reported::Report(ReportInput { rounds: input.rounds + 1, ..input }));
        }
    }
    let mut facts = facts::gather(clients, context, run, &input, &progress).await?;
    let (uploads, orphans) = open::look(clients, context, &facts.run).await?;
    facts.uploads = uploads;
    progress.sheets.extend(orphans);
    facts.report = written::names(&facts.run.name, &progress.sheets);
    let summary = summarize(facts, progress.added);
    written::sheets(clients, &summary.run, &progress.sheets).await?;
    written::summary(clients, &summary).await?;
    written::notify(clients, &summary).await?;
    tracing::info!(run = summary.run, status = summary.status.words(), cause = summary.cause, "reported");
    Ok(ended(input, summary))
}

fn ended(input: ReportInput, summary: RunSummary) -> Reported {
    let RunSummary { status, error, cause, counts, tally, report, .. } = summary;
    let report = report.into_iter().take(REPORT_NAMED).collect();
    let end = RunEnd { run: input.run, error, cause, counts, tally, report };
    match status {
        RunStatus::Failed => Reported::Failed(end),
        RunStatus::Succeeded | RunStatus::Paused | RunStatus::Stopped | RunStatus::DryRun => Reported::Succeeded(end),
    }
}

/// A run that failed before anything was written.
fn unknown(input: ReportInput) -> Result<Reported, StepError> {
    let Some(Failure { name, message }) = input.stopped_by() else {
        return Err(StepError::rejected(format!("no run {:?} was ever begun", input.run.name)));
    };
    let cause = Failure::new("", format!("{name}: {message}")).message;
    Ok(Reported::Failed(RunEnd { run: input.run, error: "RunFailed".into(), cause, ..RunEnd::default() }))
}
