#![allow(clippy::unwrap_used)]

use super::page;
use crate::backfill::check::{Check, CheckedSide, RouteChecks, Verdict};
use crate::backfill::counts::{Counts, Histogram};
use crate::backfill::request::BackfillRequest;
use crate::backfill::run::{Control, Run};
use crate::backfill::summary::{Adder, Facts, RunSummary, summarize};
use crate::contract::{Exception, ExecutionOutcome, Slowest};
use crate::error::Failure;
use crate::outcome::{Outcome, SkipReason};
use crate::request::ObjectRef;
use crate::tally::Tally;
use crate::uploads::OpenUploads;

const NASTY: &str = "</td><script>alert('x')</script>&\"\u{202e}gnp.exe\0\n";

fn sample(control: Option<Control>, dry_run: bool) -> RunSummary {
    let mut sizes = Histogram::default();
    for number in 0..20_u64 {
        sizes.add(number * number * 1_000);
    }
    let counts = Counts {
        listed: 30,
        listed_bytes: 9_000_000,
        excluded: 4,
        unchanged: 6,
        offered: 20,
        sizes,
        ..Counts::default()
    };
    let exception = |key: &str, outcome: Outcome| Exception {
        object: ObjectRef { bucket: "b".into(), key: key.into(), ..ObjectRef::default() },
        outcome,
    };
    let failed = Outcome::Failed { failure: Failure::new("Rejected", NASTY) };
    let outcome = ExecutionOutcome {
        execution: "x".into(),
        tally: Tally { migrated: 17, skipped: 1, failed: 2, bytes: 5_000_000, ..Tally::default() },
        continued: false,
        started_ms: 1_795_367_110_000,
        ended_ms: 1_795_367_130_000,
        slowest: vec![Slowest { key: NASTY.into(), bytes: 4_000_000, ms: 12_000 }],
        exceptions: vec![
            exception(NASTY, failed.clone()),
            exception("b", failed),
            exception("c", Outcome::Skipped { reason: SkipReason::SourceGone }),
        ],
    };
    let mut adder = Adder::new(1_795_367_109_000);
    adder.manifests = 1;
    if !dry_run {
        adder.add(&outcome);
    }
    let run = Run {
        name: NASTY.into(),
        attempt: 2,
        execution: "e".into(),
        started_ms: 1_795_367_109_000,
        request: BackfillRequest { dry_run, ..BackfillRequest::default() },
        routes: Vec::new(),
        shards: Vec::new(),
    };
    let facts = Facts {
        run,
        control,
        failure: None,
        counts,
        unscanned: 0,
        deletions: None,
        deletions_broken: None,
        uploads: OpenUploads { open: 3, orphans: 2, oldest_ms: Some(951_782_400_000), unseen: vec![NASTY.into()] },
        checks: vec![RouteChecks {
            route: NASTY.into(),
            checks: vec![Check::new(CheckedSide::Source, "tags", Verdict::Warning, NASTY)],
        }],
        notes: vec![NASTY.into()],
        estimate: Some(serde_json::json!({ NASTY: NASTY, "bytes": 5 })),
        ended_ms: 1_795_367_140_000,
        bucket: "work".into(),
        report: vec!["runs/r/report/failures.csv".into()],
    };
    summarize(facts, adder)
}

#[test]
fn totals_stand_on_the_page() {
    let html = page(&sample(None, false));
    assert!(html.contains("✗ Failed") && html.contains("2 objects failed"));
    assert!(html.contains("✓ 30 listed = 20 + 6 + 4"), "{html}");
    assert!(html.contains("✓ 20 offered = 17 + 1 + 2"), "{html}");
    assert!(html.contains("2026-11-22 17:05:09 UTC") && html.contains("attempt 2"));
    assert!(html.contains("4.77 MiB"), "bytes");
}

#[test]
fn nothing_that_a_key_holds_is_obeyed() {
    for summary in [sample(None, false), sample(Some(Control::Paused), false), sample(None, true)] {
        let html = page(&summary);
        assert!(!html.contains("<script") && !html.contains("alert('x')"));
        assert!(!html.contains(['\0', '\u{202e}']));
        assert!(html.contains("default-src 'none'; style-src 'unsafe-inline'"));
        // Nothing is fetched, whatever the content.
        assert!(!["src=", "href=", "url(", "@import", " on"].iter().any(|way| {
            let way = if *way == " on" { " onload" } else { *way };
            html.contains(way)
        }));
    }
}

#[test]
fn elements_are_closed() {
    for summary in [sample(None, false), sample(None, true)] {
        let html = page(&summary);
        for name in
            ["table", "tr", "td", "th", "section", "svg", "div", "dl", "ul", "li", "span", "p", "bdi", "details"]
        {
            let opened = html.matches(&format!("<{name}>")).count() + html.matches(&format!("<{name} ")).count();
            assert_eq!(opened, html.matches(&format!("</{name}>")).count(), "{name}");
        }
    }
}

#[test]
fn the_same_summary_gives_the_same_page() {
    let summary = sample(None, false);
    let again: RunSummary = serde_json::from_str(&serde_json::to_string(&summary).unwrap()).unwrap();
    assert_eq!(page(&summary), page(&again));
}
