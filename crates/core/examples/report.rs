//! Writes sample reports, to look at: `cargo run -p longhaul-core --example report -- DIRECTORY`.
#![allow(missing_docs)]

use longhaul_core::backfill::check::{Check, CheckedSide, RouteChecks, Verdict};
use longhaul_core::backfill::counts::Counts;
use longhaul_core::backfill::deletions::{Deleted, DeletionFailure};
use longhaul_core::backfill::estimate::{Assumptions, Estimate};
use longhaul_core::backfill::html::page;
use longhaul_core::backfill::request::{BackfillRequest, Deletions};
use longhaul_core::backfill::run::{Control, Run};
use longhaul_core::backfill::summary::{Adder, Facts, summarize};
use longhaul_core::config::{Route, Side};
use longhaul_core::contract::{Exception, ExecutionOutcome, Slowest};
use longhaul_core::error::Failure;
use longhaul_core::outcome::{Outcome, SkipReason};
use longhaul_core::request::ObjectRef;
use longhaul_core::tally::Tally;

const BEGAN: u64 = 1_795_367_109_000;

/// Keys as they come.
const KEYS: [&str; 6] = [
    "archive/2024/05/readings-000123.parquet",
    "</td><script>alert('x')</script>",
    "reports//\u{202e}gpj.exe",
    "צילומים/תמונה 7.jpg",
    "a very long key/that goes on/and on/through-many-levels-of-a-deep-tree/with-a-name-that-does-not-end/2024-11-22T17:05:09.000Z/part-00000-0f2c1d4e-7a3b-4d59-9c7e-5a1b2c3d4e5f.c000.snappy.parquet",
    "tab\tnew\nline",
];

fn route() -> Route {
    let side = |bucket: &str, prefix: &str| Side { bucket: bucket.into(), prefix: prefix.into(), ..Side::default() };
    Route {
        name: "archive".into(),
        source: side("departures-eu", "archive/"),
        destination: Side { endpoint: Some("https://store.example".into()), ..side("arrivals", "copy/") },
        options: Default::default(),
    }
}

fn counts(dry_run: bool) -> Counts {
    let mut counts = Counts {
        listed: 20_305,
        listed_bytes: 48 << 30,
        excluded: 120,
        unchanged: 1_180,
        destination_listed: 1_420,
        extra: 240,
        deletions: 240,
        source_pages: 21,
        destination_pages: 2,
        ledger_reads: 40,
        manifests: 16,
        ..Counts::default()
    };
    let mut state = 7_u64;
    for number in 0..19_005_u64 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let size = if number < 5 { (number + 1) << 31 } else { (state >> 40) % (1 << (8 + state % 14)) };
        counts.offer(Some(size), size.div_ceil(8 << 20), number < 3);
    }
    counts.archived = u64::from(dry_run) * 4;
    counts
}

fn added(failing: bool, share: u64) -> Adder {
    let mut adder = Adder::new(BEGAN);
    adder.manifests = 16;
    for number in 0..share {
        let failed = if failing { [3, 0, 61, 0][number as usize % 4] } else { 0 };
        let objects: u64 = if number < 5 { 1 } else { if number == 15 { 1_000 } else { 1_800 } };
        let exception = |index: u64| {
            let key = KEYS[index as usize % KEYS.len()];
            let key = if index < 6 { key.to_owned() } else { format!("data/{number:02}/object-{index:05}.bin") };
            let failure = match index % 3 {
                0 => Failure::new(
                    "Rejected",
                    "writing to the destination: 403 AccessDenied: User is not authorized to perform s3:PutObject on this resource",
                ),
                1 => Failure::new("ChecksumMismatch", "the destination's CRC64NVME differs"),
                _ => Failure::new("States.Timeout", ""),
            };
            Exception {
                object: ObjectRef {
                    bucket: "departures-eu".into(),
                    key,
                    size: Some(index * 1_237),
                    ..ObjectRef::default()
                },
                outcome: Outcome::Failed { failure },
            }
        };
        let mut exceptions: Vec<Exception> = (0..failed).map(exception).collect();
        let skipped = u64::from(number > 12);
        if skipped > 0 {
            let reason = SkipReason::SourceGone;
            exceptions.push(Exception { outcome: Outcome::Skipped { reason }, ..exception(1) });
        }
        let failed = failed.min(objects);
        exceptions.truncate((failed + skipped) as usize);
        let bytes = if number < 5 { (number + 1) << 31 } else { 350 << 20 };
        let started = BEGAN + 9_000 + number % 7 * 14_000;
        adder.add(&ExecutionOutcome {
            execution: format!("e{number}"),
            tally: Tally {
                migrated: objects - failed - skipped,
                failed,
                skipped,
                bytes,
                retries: number,
                throttles: number / 4,
                ..Tally::default()
            },
            continued: false,
            started_ms: started,
            ended_ms: started + 31_000 + bytes / 90_000,
            slowest: vec![Slowest { key: KEYS[number as usize % 6].into(), bytes, ms: 4_000 + bytes / 100_000 }],
            exceptions,
        });
    }
    adder
}

fn facts(dry_run: bool) -> Facts {
    let check = |side, name: &str, verdict, told: &str| Check::new(side, name, verdict, told);
    Facts {
        run: Run {
            name: "backfill-2026-11-22-archive".into(),
            attempt: 1,
            execution: "e".into(),
            started_ms: BEGAN,
            request: BackfillRequest {
                dry_run,
                delete: Some(Deletions { max: 500 }),
                concurrency: Some(40),
                ..BackfillRequest::default()
            },
            routes: vec![route()],
            shards: Vec::new(),
        },
        control: None,
        failure: None,
        counts: counts(dry_run),
        unscanned: 0,
        deletions: Some(Deleted {
            done: !dry_run,
            removed: if dry_run { 0 } else { 238 },
            removed_bytes: 77 << 20,
            kept_changed: 2,
            ..Deleted::default()
        }),
        deletions_broken: None,
        uploads: Default::default(),
        checks: vec![RouteChecks {
            route: "archive".into(),
            checks: vec![
                check(CheckedSide::Source, "list", Verdict::Ok, "42 ms"),
                check(
                    CheckedSide::Destination,
                    "lifecycle rule",
                    Verdict::Warning,
                    "AbortIncompleteMultipartUpload after 7 days: an upload that takes longer begins anew; at least 30 days are advised",
                ),
                check(
                    CheckedSide::Source,
                    "tags",
                    Verdict::Unknown,
                    "s3:GetObjectTagging could not be tried: the prefix is empty",
                ),
            ],
        }],
        notes: Vec::new(),
        estimate: serde_json::to_value(Estimate::of(&counts(dry_run), &Assumptions::default())).ok(),
        ended_ms: BEGAN + 224_000,
        bucket: "longhaul-work".into(),
        report: ["summary.json", "failures.csv", "deletions.csv", "report.html"]
            .map(|name| format!("runs/backfill-2026-11-22-archive/report/{name}"))
            .to_vec(),
    }
}

fn main() -> std::io::Result<()> {
    let directory = std::env::args().nth(1).unwrap_or_else(|| ".".into());
    let paused = Facts { control: Some(Control::Paused), deletions: None, ..facts(false) };
    let mut unlisted = Deleted { failed: 1, done: true, ..Deleted::default() };
    unlisted.failures.push(DeletionFailure { key: KEYS[1].into(), reason: "403 AccessDenied".into() });
    let failed = Facts { deletions: Some(unlisted), ..facts(false) };
    let mut held = added(false, 9);
    for number in 9..16_u32 {
        held.add_unfinished(&format!("{:08x}-00000-{number:07}", number.wrapping_mul(2_654_435_761)), 1_800);
    }
    let reports = [
        ("succeeded", summarize(facts(false), added(false, 16))),
        ("failed", summarize(failed, added(true, 16))),
        ("paused", summarize(paused, held)),
        ("dry-run", summarize(facts(true), Adder::new(BEGAN))),
    ];
    for (name, summary) in reports {
        std::fs::write(format!("{directory}/{name}.html"), page(&summary))?;
    }
    Ok(())
}
