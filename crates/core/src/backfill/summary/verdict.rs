//! Whether a run succeeded, and what to tell of it.

use super::words::{bytes, counted, number};
use super::{Adder, RouteBrief, RunStatus, RunSummary};
use crate::backfill::check::RouteChecks;
use crate::backfill::counts::Counts;
use crate::backfill::deletions::Deleted;
use crate::backfill::request::BackfillRequest;
use crate::backfill::run::{Control, Run};
use crate::error::Failure;
use crate::uploads::OpenUploads;
use serde_json::Value;

/// What is known at the end of a run besides its outcomes.
#[derive(Clone, Debug)]
pub struct Facts {
    /// The run.
    pub run: Run,
    /// What the user wants of it.
    pub control: Option<Control>,
    /// Why it could not be carried out to its end.
    pub failure: Option<Failure>,
    /// What its shards listed.
    pub counts: Counts,
    /// Shards that were not scanned to their end.
    pub unscanned: u32,
    /// What became of the deletions, all shards together; `done` only if every shard's are.
    pub deletions: Option<Deleted>,
    /// What broke the deletions of a shard off.
    pub deletions_broken: Option<Failure>,
    /// See [`RunSummary::uploads`].
    pub uploads: OpenUploads,
    /// What preflight found.
    pub checks: Vec<RouteChecks>,
    /// See [`RunSummary::notes`].
    pub notes: Vec<String>,
    /// See [`RunSummary::estimate`].
    pub estimate: Option<Value>,
    /// When the run was reported, milliseconds since 1970.
    pub ended_ms: u64,
    /// The work bucket.
    pub bucket: String,
    /// Keys of the report's objects.
    pub report: Vec<String>,
}

/// Brings what was listed and what became of it together.
pub fn summarize(facts: Facts, added: Adder) -> RunSummary {
    let Facts { run, control, failure, counts, unscanned, deletions, deletions_broken, checks, .. } = facts;
    let dry_run = run.request.dry_run;
    let tally = added.tally;
    let told = tally.objects() + tally.held;
    let rest = if dry_run { 0 } else { counts.offered.saturating_sub(told) };
    let (held, missing) = if control.is_some() { (tally.held + rest, 0) } else { (tally.held, rest) };
    let outcomes = tally.objects() + held + missing;
    let accounted = counts.add_up() && (dry_run || outcomes == counts.offered);
    let mut notes = facts.notes;
    notes.extend(further_notes(&counts));
    let mut summary = RunSummary {
        run: run.name,
        attempt: run.attempt,
        status: RunStatus::Succeeded,
        error: String::new(),
        cause: String::new(),
        advice: String::new(),
        started_ms: run.started_ms,
        ended_ms: facts.ended_ms,
        routes: run.routes.iter().map(RouteBrief::of).collect(),
        request: BackfillRequest { routes: Vec::new(), ..run.request },
        counts,
        tally,
        superseded: added.superseded,
        held,
        missing,
        accounted,
        unscanned,
        manifests: added.manifests,
        executions: added.executions,
        unfinished: added.unfinished,
        deletions,
        uploads: facts.uploads,
        skipped: added.skipped,
        failures: added.failures,
        slowest: added.slowest,
        throughput: added.throughput,
        checks,
        notes,
        estimate: facts.estimate,
        bucket: facts.bucket,
        report: facts.report,
    };
    let wrong = wrongs(&summary, failure, deletions_broken, control);
    summary.status = match (wrong.first(), control) {
        (Some(_), _) => RunStatus::Failed,
        (None, Some(control)) if is_open(&summary) => match control {
            Control::Paused => RunStatus::Paused,
            Control::Stopped => RunStatus::Stopped,
        },
        (None, _) if dry_run => RunStatus::DryRun,
        (None, _) => RunStatus::Succeeded,
    };
    if let Some((error, _)) = wrong.first() {
        summary.error = (*error).to_owned();
    }
    let wrong: Vec<String> = wrong.into_iter().map(|(_, told)| told).collect();
    // The cause of an execution goes through Step Functions.
    summary.cause = Failure::new("", cause(&summary, &wrong, control)).message;
    summary.advice = advice(&summary, control);
    summary
}

/// True if something was left to do.
fn is_open(summary: &RunSummary) -> bool {
    let deletions = summary.deletions.as_ref().is_some_and(|deleted| !deleted.done) && !summary.request.dry_run;
    summary.held > 0 || summary.unscanned > 0 || deletions
}

/// What makes a run fail, by name, the most telling first.
fn wrongs(
    summary: &RunSummary,
    failure: Option<Failure>,
    deletions_broken: Option<Failure>,
    control: Option<Control>,
) -> Vec<(&'static str, String)> {
    let tally = &summary.tally;
    let mut wrong = Vec::new();
    let told = |failure: Failure| {
        let Failure { name, message } = failure;
        if message.is_empty() { name } else { format!("{name}: {message}") }
    };
    let broken = failure.is_some();
    if let Some(failure) = failure {
        wrong.push(("RunFailed", told(failure)));
    }
    if tally.failed > 0 {
        wrong.push(("ObjectsFailed", format!("{} failed", counted(tally.failed, "object"))));
    }
    if tally.unsettled > 0 {
        wrong.push(("ObjectsFailed", format!("{} could not be recorded", counted(tally.unsettled, "failure"))));
    }
    if !summary.accounted {
        let outcomes = tally.objects() + summary.held + summary.missing;
        let (listed, offered) = (number(summary.counts.listed), number(summary.counts.offered));
        let outcomes = number(outcomes);
        wrong.push((
            "CountsDiffer",
            format!("the counts do not add up: {listed} listed, {offered} offered, {outcomes} with an outcome"),
        ));
    }
    if summary.missing > 0 {
        wrong.push(("ObjectsMissing", format!("{} without an outcome", counted(summary.missing, "object"))));
    }
    if summary.unscanned > 0 && control.is_none() {
        let shards = counted(u64::from(summary.unscanned), "shard");
        wrong.push(("ListingIncomplete", format!("{shards} of the listing not read to the end")));
    }
    if let Some(failure) = deletions_broken {
        wrong.push(("DeletionsFailed", format!("deletions broke off: {}", told(failure))));
    }
    if let Some(deleted) = &summary.deletions {
        if deleted.failed > 0 {
            wrong.push(("DeletionsFailed", format!("{} failed", counted(deleted.failed, "deletion"))));
        }
        // Where the run broke off before, none was begun.
        let unfinished = !deleted.done && control.is_none() && !broken && !summary.request.dry_run;
        if unfinished && wrong.is_empty() {
            wrong.push(("DeletionsFailed", "the deletions did not come to their end".into()));
        }
    }
    wrong
}

fn cause(summary: &RunSummary, wrong: &[String], control: Option<Control>) -> String {
    let RunSummary { counts, tally, .. } = summary;
    let listed = counted(counts.listed, "object");
    let done = format!("{} migrated ({})", number(tally.migrated), bytes(tally.bytes));
    let left = || {
        let scan = if summary.unscanned > 0 { ", the listing is not complete" } else { "" };
        format!("{listed} listed so far, {done}, {} left{scan}", number(summary.held))
    };
    match summary.status {
        RunStatus::Failed => {
            let ended = match control {
                Some(Control::Paused) => " (the run is paused)",
                Some(Control::Stopped) => " (the run was stopped)",
                None => "",
            };
            format!("{}{ended}", wrong.join("; "))
        }
        RunStatus::Paused => format!("Paused: {}. To go on: longhaul resume {}", left(), summary.run),
        RunStatus::Stopped => format!("Stopped: {}", left()),
        RunStatus::DryRun => {
            let offered = format!("{} ({})", counted(counts.offered, "object"), bytes(counts.offered_bytes));
            let deletions = match counts.deletions {
                0 => String::new(),
                deletions => format!(", {} to be removed", number(deletions)),
            };
            format!("Dry run: of {listed} listed, {offered} would be copied{deletions}")
        }
        RunStatus::Succeeded => {
            let same = counts.unchanged + tally.unchanged;
            let mut parts = vec![done, format!("{} unchanged", number(same))];
            let others = [
                (counts.excluded, "excluded"),
                (tally.skipped, "skipped"),
                (counts.exists, "left as they were"),
                (summary.deletions.as_ref().map_or(0, |deleted| deleted.removed), "removed"),
            ];
            parts.extend(
                others.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{} {what}", number(*count))),
            );
            format!("{listed} listed: {}", parts.join(", "))
        }
    }
}

fn advice(summary: &RunSummary, control: Option<Control>) -> String {
    let run = &summary.run;
    match summary.status {
        RunStatus::Succeeded => "Nothing is left to do.".into(),
        RunStatus::DryRun => "Start the same backfill without dryRun to carry it out.".into(),
        RunStatus::Paused => format!("longhaul resume {run} goes on where it stands, without listing again."),
        RunStatus::Stopped => "The run is over. A new backfill lists again and copies what still differs.".into(),
        RunStatus::Failed if control == Some(Control::Stopped) => {
            "The run is over. Mend the cause; a new backfill lists again and copies what still differs.".into()
        }
        RunStatus::Failed => {
            format!(
                "Mend the cause, then longhaul resume {run}: it carries out what failed or is left, without listing again what was listed."
            )
        }
    }
}

/// What the numbers alone do not say.
fn further_notes(counts: &Counts) -> Vec<String> {
    let mut notes = Vec::new();
    if counts.unproven > 0 {
        notes.push(format!(
            "{} of equal size taken as unchanged, without further proof (compare: size).",
            counted(counts.unproven, "object")
        ));
    }
    if counts.archived > 0 {
        notes.push(format!(
            "{} of the offered in a storage class that has to be restored before a read.",
            counted(counts.archived, "object")
        ));
    }
    if counts.unsized_objects > 0 {
        notes.push(format!(
            "{} offered without a size: the list of keys did not tell it, so bytes and sizes leave them out.",
            counted(counts.unsized_objects, "object")
        ));
    }
    notes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backfill::request::Deletions;
    use crate::contract::ExecutionOutcome;
    use crate::tally::Tally;

    fn facts() -> Facts {
        Facts {
            run: Run {
                name: "r".into(),
                attempt: 1,
                execution: "e".into(),
                started_ms: 1_000,
                request: BackfillRequest::default(),
                routes: Vec::new(),
                shards: Vec::new(),
            },
            control: None,
            failure: None,
            counts: Counts { listed: 10, excluded: 2, unchanged: 3, offered: 5, ..Counts::default() },
            unscanned: 0,
            deletions: None,
            deletions_broken: None,
            uploads: OpenUploads::default(),
            checks: Vec::new(),
            notes: Vec::new(),
            estimate: None,
            ended_ms: 9_000,
            bucket: "work".into(),
            report: Vec::new(),
        }
    }

    fn added(tally: Tally) -> Adder {
        let mut adder = Adder::new(1_000);
        adder.add(&ExecutionOutcome {
            execution: "x".into(),
            tally,
            continued: false,
            started_ms: 1_000,
            ended_ms: 2_000,
            slowest: Vec::new(),
            exceptions: Vec::new(),
        });
        adder
    }

    fn all_well() -> Tally {
        Tally { migrated: 4, skipped: 1, bytes: 2_048, ..Tally::default() }
    }

    #[test]
    fn a_run_that_adds_up_succeeds() {
        let summary = summarize(facts(), added(all_well()));
        assert_eq!((summary.status, summary.accounted, summary.missing), (RunStatus::Succeeded, true, 0));
        assert_eq!(summary.cause, "10 objects listed: 4 migrated (2 KiB), 3 unchanged, 2 excluded, 1 skipped");
        let json = serde_json::to_string(&summary).unwrap_or_default();
        assert_eq!(serde_json::from_str::<RunSummary>(&json).ok(), Some(summary));
    }

    #[test]
    fn whatever_is_wrong_fails_the_run() {
        let failed = |facts: Facts, tally: Tally| {
            let summary = summarize(facts, added(tally));
            assert_eq!(summary.status, RunStatus::Failed, "{summary:?}");
            assert!(summary.advice.contains("resume r"));
            (summary.error, summary.cause)
        };
        let (error, cause) = failed(facts(), Tally { skipped: 0, failed: 1, ..all_well() });
        assert_eq!((error.as_str(), cause.as_str()), ("ObjectsFailed", "1 object failed"));
        let (error, cause) = failed(facts(), Tally { skipped: 0, ..all_well() });
        assert_eq!((error.as_str(), cause.as_str()), ("ObjectsMissing", "1 object without an outcome"));
        assert_eq!(failed(facts(), Tally { migrated: 6, ..all_well() }).0, "CountsDiffer");
        assert_eq!(failed(facts(), Tally { unsettled: 1, ..all_well() }).0, "ObjectsFailed");
        let short = Facts { unscanned: 2, ..facts() };
        assert_eq!(
            failed(short, all_well()),
            ("ListingIncomplete".into(), "2 shards of the listing not read to the end".into())
        );
        let broken = Facts { failure: Some(Failure::new("Rejected", "denied")), ..facts() };
        assert_eq!(failed(broken, all_well()), ("RunFailed".into(), "Rejected: denied".into()));
        let listed = Facts { counts: Counts { listed: 11, ..facts().counts }, ..facts() };
        assert_eq!(failed(listed, all_well()).0, "CountsDiffer");
    }

    #[test]
    fn deletions_have_their_part_in_it() {
        let with = |deleted: Deleted, broken: Option<Failure>| {
            let mut facts = Facts { deletions: Some(deleted), deletions_broken: broken, ..facts() };
            facts.run.request.delete = Some(Deletions { max: 9 });
            summarize(facts, added(all_well()))
        };
        let done = Deleted { done: true, removed: 2, ..Deleted::default() };
        assert_eq!(with(done.clone(), None).status, RunStatus::Succeeded);
        assert_eq!(with(Deleted { failed: 1, ..done.clone() }, None).error, "DeletionsFailed");
        assert_eq!(with(Deleted { done: false, ..done.clone() }, None).error, "DeletionsFailed");
        assert_eq!(with(done, Some(Failure::new("Transient", "x"))).error, "DeletionsFailed");
    }

    #[test]
    fn what_the_user_ended_is_held_and_not_missing() {
        let part = Tally { migrated: 2, bytes: 10, ..Tally::default() };
        for (control, status) in [(Control::Paused, RunStatus::Paused), (Control::Stopped, RunStatus::Stopped)] {
            let summary = summarize(Facts { control: Some(control), ..facts() }, added(part));
            assert_eq!((summary.status, summary.held, summary.missing), (status, 3, 0));
            assert!(summary.accounted && summary.error.is_empty(), "{summary:?}");
        }
        let paused = Facts { control: Some(Control::Paused), ..facts() };
        assert!(summarize(paused.clone(), added(part)).cause.contains("longhaul resume r"));
        let over = summarize(paused.clone(), added(all_well()));
        assert_eq!(over.status, RunStatus::Succeeded, "nothing was left to do");
        let failed = summarize(paused, added(Tally { failed: 1, ..part }));
        assert_eq!((failed.status, failed.held), (RunStatus::Failed, 2));
        assert!(failed.cause.contains("paused"), "{}", failed.cause);
    }

    #[test]
    fn a_dry_run_offers_and_copies_nothing() {
        let mut facts = facts();
        facts.run.request.dry_run = true;
        facts.counts.unproven = 1;
        let summary = summarize(facts, Adder::new(1_000));
        assert_eq!((summary.status, summary.accounted, summary.missing), (RunStatus::DryRun, true, 0));
        assert_eq!(summary.notes.len(), 1);
    }
}
