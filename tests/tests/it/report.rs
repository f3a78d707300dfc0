//! The report of a run: what is added up, what is missing, and what stands in the work bucket afterwards.

use crate::world::World;
use bytes::Bytes;
use longhaul_aws::steps::report;
use longhaul_core::backfill::check::{Check, CheckedSide, RouteChecks, Verdict};
use longhaul_core::backfill::counts::Counts;
use longhaul_core::backfill::deletions::Deleted;
use longhaul_core::backfill::html::page;
use longhaul_core::backfill::manifest::{Deletion, Header, HeaderLine, Place, Progress, manifest_key};
use longhaul_core::backfill::request::{BackfillRequest, Deletions};
use longhaul_core::backfill::run::{
    Control, ControlObject, Hint, Run, RunItem, RunRef, Shard, checks_key, control_key, deleted_key, hint_key,
    item_outcome_key, report_prefix, run_key,
};
use longhaul_core::backfill::states::{ReportInput, Reported, RunEnd, ShardEnd};
use longhaul_core::backfill::summary::{RunStatus, RunSummary, page_key, summary_key};
use longhaul_core::contract::{Exception, ExecutionOutcome, Slowest};
use longhaul_core::error::{CaughtError, Failure};
use longhaul_core::etag::ETag;
use longhaul_core::names::successor_name;
use longhaul_core::outcome::{Outcome, SkipReason};
use longhaul_core::request::ObjectRef;
use longhaul_core::tally::Tally;
use std::collections::BTreeMap;
use std::process::Command;
use std::time::Duration;

const RUN: &str = "run-7";
/// Less than a step keeps for ending.
const NO_TIME: Duration = Duration::from_secs(9);
const NASTY: &str = "</td><script>alert('x')</script>\u{202e}\0,\"\n";

/// A run whose manifests and outcomes are written by hand.
struct Scene {
    world: World,
    run: Run,
    counts: BTreeMap<u32, (u32, Counts)>,
}

impl Scene {
    async fn new(shards: u32, request: BackfillRequest) -> Self {
        let world = World::new().await;
        let run = Run {
            name: RUN.into(),
            attempt: 1,
            execution: "e".into(),
            started_ms: 1_795_367_109_000,
            request,
            routes: vec![world.route.clone()],
            shards: vec![Shard::default(); shards as usize],
        };
        let scene = Self { world, run, counts: BTreeMap::new() };
        scene.put(&run_key(RUN), &scene.run).await;
        scene
    }

    async fn put<T: serde::Serialize>(&self, key: &str, value: &T) {
        self.world.clients.work.put(key, serde_json::to_vec(value).unwrap().into()).await.unwrap();
    }

    /// The next manifest of a shard, with so many objects of a kibibyte and with these deletions.
    async fn manifest(&mut self, shard: u32, objects: u64, deletions: &[&str]) -> String {
        let (number, counts) = self.counts.entry(shard).or_default();
        for _ in 0..objects {
            counts.listed += 1;
            counts.offer(Some(1024), 1, false);
        }
        counts.deletions += deletions.len() as u64;
        counts.manifests += 1;
        let (number, counts) = (std::mem::replace(number, *number + 1), counts.clone());
        let header = Header {
            run: RUN.into(),
            shard,
            number,
            route: self.world.route.clone(),
            objects: u32::try_from(objects).unwrap(),
            bytes: objects * 1024,
            deletions: u32::try_from(deletions.len()).unwrap(),
            // The body is filled up to there.
            deletions_at: 1_000_000,
            progress: Progress { through: Place::Start, counts, done: true },
        };
        let line = |header: &Header| serde_json::to_string(&HeaderLine { manifest: header.clone() }).unwrap() + "\n";
        let mut body = line(&header);
        for number in 0..objects {
            body += &format!("{}\n", serde_json::to_string(&self.world.offer(&format!("k{number}"))).unwrap());
        }
        if !deletions.is_empty() {
            body += &" ".repeat(999_999 - body.len());
            body.push('\n');
        }
        for key in deletions {
            let (delete, source_key) = ((*key).to_owned(), format!("s-{key}"));
            let deletion = Deletion { delete, source_key, etag: ETag::new("abc"), size: 3 };
            body += &format!("{}\n", serde_json::to_string(&deletion).unwrap());
        }
        let key = manifest_key(RUN, shard, number);
        self.world.clients.work.put(&key, body.into()).await.unwrap();
        key
    }

    async fn outcome(&self, manifest: &str, attempt: u32, outcome: &ExecutionOutcome) {
        let item = RunItem { name: RUN.into(), attempt, manifest: manifest.into() };
        self.put(&item_outcome_key(&item, &outcome.execution), outcome).await;
    }

    /// All objects of a manifest migrated.
    async fn migrated(&self, manifest: &str, objects: u64) {
        self.outcome(manifest, 1, &ended(&format!("of-{}", &manifest[20..]), objects, &[])).await;
    }

    async fn report_in(&self, time: Duration, input: ReportInput) -> Reported {
        report(&self.world.clients, &self.world.context_for(time), input).await.unwrap()
    }

    fn input(&self) -> ReportInput {
        let run = RunRef { name: RUN.into(), attempt: self.run.attempt };
        ReportInput { run, failure: None, error: None, results: Vec::new(), rounds: 0 }
    }

    async fn report(&self) -> Reported {
        self.report_in(Duration::from_secs(300), self.input()).await
    }

    async fn text(&self, key: &str) -> String {
        let found = self.world.clients.work.find(key, u64::MAX).await.unwrap();
        String::from_utf8(found.unwrap_or_else(|| panic!("no {key}")).body.to_vec()).unwrap()
    }

    async fn summary(&self) -> RunSummary {
        serde_json::from_str(&self.text(&summary_key(RUN)).await).unwrap()
    }

    async fn csv(&self, name: &str) -> String {
        self.text(&format!("{}{name}", report_prefix(RUN))).await
    }

    /// Everything under the report's prefix, but for what is parked.
    async fn written(&self) -> BTreeMap<String, Bytes> {
        let mut written = BTreeMap::new();
        for key in self.world.clients.work.list(&report_prefix(RUN)).await.unwrap() {
            let body = self.world.clients.work.get(self.world.clients.work.bucket(), &key, 0, None).await.unwrap();
            written.insert(key, body);
        }
        written.retain(|key, _| !key.ends_with("/parked.json"));
        written
    }
}

fn ended(execution: &str, migrated: u64, failed: &[&str]) -> ExecutionOutcome {
    let failure = Failure::new("Rejected", "403 AccessDenied, \"no\"");
    let exception = |key: &&str| Exception {
        object: ObjectRef { bucket: "departures".into(), key: (*key).into(), ..ObjectRef::default() },
        outcome: Outcome::Failed { failure: failure.clone() },
    };
    ExecutionOutcome {
        execution: execution.into(),
        tally: Tally { migrated, failed: failed.len() as u64, bytes: migrated * 1024, ..Tally::default() },
        continued: false,
        started_ms: 1_795_367_110_000,
        ended_ms: 1_795_367_114_000,
        slowest: vec![Slowest { key: format!("slow-{execution}"), bytes: 1024, ms: 700 }],
        exceptions: failed.iter().map(exception).collect(),
    }
}

fn succeeded(reported: Reported) -> RunEnd {
    let Reported::Succeeded(end) = reported else { panic!("{reported:?}") };
    end
}

fn failed(reported: Reported) -> RunEnd {
    let Reported::Failed(end) = reported else { panic!("{reported:?}") };
    end
}

#[tokio::test]
async fn rule_16_attempts_and_successors_are_added_up_once() {
    let mut scene = Scene::new(2, BackfillRequest::default()).await;
    let [first, second, third] =
        [scene.manifest(0, 5, &[]).await, scene.manifest(0, 4, &[]).await, scene.manifest(1, 3, &[]).await];
    // Two failed at first; the second attempt found the others there.
    scene.outcome(&first, 1, &ended("one", 3, &["a", "b"])).await;
    let mut again = ended("again", 2, &[]);
    again.tally.unchanged = 3;
    scene.outcome(&first, 2, &again).await;
    // An execution with two successors, and one that a lost reply began besides.
    let mut chain = ended("chain", 1, &[]);
    chain.continued = true;
    scene.outcome(&second, 1, &chain).await;
    let mut next = ended(&successor_name("chain"), 2, &[]);
    next.continued = true;
    scene.outcome(&second, 1, &next).await;
    let mut last = ended(&successor_name(&next.execution), 0, &[]);
    last.tally.skipped = 1;
    last.exceptions = vec![Exception {
        object: scene.world.offer(NASTY),
        outcome: Outcome::Skipped { reason: SkipReason::SourceGone },
    }];
    scene.outcome(&second, 1, &last).await;
    let twin = ExecutionOutcome { ended_ms: 1, ..ended("twin", 4, &[]) };
    scene.outcome(&second, 1, &twin).await;
    scene.migrated(&third, 3).await;
    let warning = Check::new(CheckedSide::Destination, "lifecycle rule", Verdict::Warning, "seven days");
    scene.put(&checks_key(RUN), &[RouteChecks { route: "test".into(), checks: vec![warning] }]).await;
    // Behind the last manifest the listing went on without anything to write.
    let mut counts = scene.counts[&1].1.clone();
    counts.listed += 10;
    counts.unchanged += 10;
    let progress = Progress { through: Place::Key("z".into()), counts, done: true };
    scene.put(&hint_key(RUN, 1), &Hint { number: 1, progress }).await;
    // This one is void: there is a manifest of its number.
    scene.put(&hint_key(RUN, 0), &Hint { number: 1, progress: Progress::default() }).await;

    let end = succeeded(scene.report().await);
    assert_eq!((end.counts.listed, end.counts.offered, end.counts.unchanged), (22, 12, 10));
    assert_eq!((end.tally.migrated, end.tally.unchanged, end.tally.skipped, end.tally.failed), (8, 3, 1, 0));
    let summary = scene.summary().await;
    assert_eq!((summary.superseded.migrated, summary.superseded.failed), (7, 2));
    assert_eq!((summary.manifests, summary.executions), (3, 7));
    assert_eq!(summary.throughput.total(), 15 * 1024, "what was repeated took its time too");
    assert!(summary.accounted && summary.unfinished.manifests == 0, "{summary:?}");
    assert!(summary.failures.first.is_empty(), "the first attempt's failures are mended");
    let csv = scene.csv("failures.csv").await;
    assert!(csv.contains("skipped,sourceGone") && !csv.contains("Rejected"), "{csv}");
    assert_eq!(end.report[0], page_key(RUN));
    for key in &end.report {
        scene.text(key).await;
    }
    let html = scene.text(&page_key(RUN)).await;
    assert!(html.contains("✓ 12 offered = 8 + 3 + 1") && html.contains("seven days"));
    let notified = scene.world.sent.notified.lock().unwrap().clone();
    assert_eq!(notified.len(), 1);
    assert_eq!(notified[0].0, "Longhaul: run run-7 succeeded, 22 objects");
    assert!(
        notified[0].1.contains("Migrated: 8 (8 KiB)") && notified[0].1.contains("report.html"),
        "{}",
        notified[0].1
    );

    let before = scene.written().await;
    succeeded(scene.report().await);
    assert!(before == scene.written().await, "the same report again is the same");
}

#[tokio::test]
async fn failed_objects_fail_the_run_and_are_named() {
    let mut scene = Scene::new(1, BackfillRequest::default()).await;
    let manifest = scene.manifest(0, 3, &[]).await;
    scene.outcome(&manifest, 1, &ended("one", 1, &["a,b", NASTY])).await;
    let end = failed(scene.report().await);
    assert_eq!((end.error.as_str(), end.cause.as_str()), ("ObjectsFailed", "2 objects failed"));
    let csv = scene.csv("failures.csv").await;
    assert!(csv.contains("\"a,b\",departures,,failed,Rejected,\"403 AccessDenied, \"\"no\"\"\",one\r\n"), "{csv}");
    let summary = scene.summary().await;
    assert_eq!(summary.failures.by_name["Rejected"], 2);
    assert_eq!(summary.failures.first.len(), 2);
}

#[tokio::test]
async fn objects_without_an_outcome_fail_the_run_and_their_manifests_are_named() {
    let mut scene = Scene::new(1, BackfillRequest::default()).await;
    let (one, two, three) =
        (scene.manifest(0, 5, &[]).await, scene.manifest(0, 4, &[]).await, scene.manifest(0, 2, &[]).await);
    scene.migrated(&one, 5).await;
    // Its successor never came.
    let mut broken = ended("broken", 1, &[]);
    broken.continued = true;
    scene.outcome(&two, 1, &broken).await;
    let end = failed(scene.report().await);
    assert_eq!((end.error.as_str(), end.cause.as_str()), ("ObjectsMissing", "5 objects without an outcome"));
    let summary = scene.summary().await;
    assert_eq!((summary.missing, summary.unfinished.manifests, summary.unfinished.objects), (5, 2, 5));
    let names: Vec<String> = [two, three].iter().map(|key| key[key.len() - 28..key.len() - 6].to_owned()).collect();
    assert!(names.iter().all(|name| summary.unfinished.first.contains(name)), "{names:?} {summary:?}");
}

#[tokio::test]
async fn a_paused_run_says_how_to_go_on() {
    let mut scene = Scene::new(2, BackfillRequest::default()).await;
    let one = scene.manifest(0, 5, &[]).await;
    scene.manifest(0, 4, &[]).await;
    scene.migrated(&one, 5).await;
    scene.put(&control_key(RUN), &ControlObject { control: Some(Control::Paused) }).await;
    // The other shard had not begun.
    let end = succeeded(scene.report().await);
    assert!(end.cause.contains("longhaul resume run-7"), "{}", end.cause);
    let summary = scene.summary().await;
    assert_eq!((summary.status, summary.held, summary.unscanned), (RunStatus::Paused, 4, 1));
    assert!(summary.accounted);

    scene.put(&control_key(RUN), &ControlObject { control: Some(Control::Stopped) }).await;
    assert!(succeeded(scene.report().await).cause.starts_with("Stopped"));
    scene.put(&control_key(RUN), &ControlObject { control: None }).await;
    assert_eq!(failed(scene.report().await).error, "ObjectsMissing");
}

#[tokio::test]
async fn a_dry_run_lists_what_it_would_remove() {
    let request = BackfillRequest { dry_run: true, delete: Some(Deletions { max: 10 }), ..BackfillRequest::default() };
    let mut scene = Scene::new(2, request).await;
    scene.manifest(0, 5, &["x", NASTY]).await;
    scene.manifest(1, 0, &["y"]).await;
    let end = succeeded(scene.report().await);
    assert!(end.cause.contains("5 objects (5 KiB) would be copied, 3 to be removed"), "{}", end.cause);
    assert_eq!(scene.summary().await.status, RunStatus::DryRun);
    let csv = scene.csv("deletions.csv").await;
    for line in ["x,arrivals,s-x,3,abc\r\n", "y,arrivals,s-y,3,abc\r\n", "script>alert('x')"] {
        assert!(csv.contains(line), "{line}: {csv}");
    }
    assert!(end.report.iter().any(|key| key.ends_with("/deletions.csv")));
}

#[tokio::test]
async fn deletions_are_part_of_the_verdict() {
    let request = BackfillRequest { delete: Some(Deletions { max: 10 }), ..BackfillRequest::default() };
    let mut scene = Scene::new(2, request).await;
    let (one, two) = (scene.manifest(0, 1, &["x", "y"]).await, scene.manifest(1, 1, &[]).await);
    scene.migrated(&one, 1).await;
    scene.migrated(&two, 1).await;
    assert_eq!(failed(scene.report().await).error, "DeletionsFailed", "nothing was removed");
    let deleted = Deleted { done: true, removed: 2, removed_bytes: 6, ..Deleted::default() };
    scene.put(&deleted_key(RUN, 0), &deleted).await;
    succeeded(scene.report().await);
    let sum = scene.summary().await.deletions.unwrap();
    assert_eq!((sum.done, sum.removed), (true, 2), "the second shard had nothing to remove");
    let error = CaughtError { error: "Transient".into(), cause: "late".into() };
    let input = ReportInput { results: vec![ShardEnd { error: Some(error) }], ..scene.input() };
    let end = failed(scene.report_in(Duration::from_secs(300), input).await);
    assert_eq!((end.error.as_str(), end.cause.as_str()), ("DeletionsFailed", "deletions broke off: Transient: late"));
}

#[tokio::test]
async fn a_long_report_takes_rounds_and_comes_to_the_same() {
    let mut scene = Scene::new(3, BackfillRequest::default()).await;
    for number in 0..150_u32 {
        let manifest = scene.manifest(number % 3, 2, &[]).await;
        scene.outcome(&manifest, 1, &ended(&format!("e{number}"), 1, &[&format!("k{number}")])).await;
    }
    // Of no manifest.
    let stray = manifest_key(RUN, 77, 7);
    scene.outcome(&stray, 1, &ended("stray", 1, &[])).await;
    let whole = failed(scene.report().await);
    let before = scene.written().await;
    assert_eq!((whole.tally.migrated, whole.tally.failed), (150, 150));

    let mut input = scene.input();
    let mut rounds = 0;
    let end = loop {
        match scene.report_in(NO_TIME, input.clone()).await {
            Reported::Report(next) => {
                // Whoever repeats a round goes on from what it parked.
                match scene.report_in(NO_TIME, input).await {
                    Reported::Report(again) => assert_eq!(again, next),
                    other => assert_eq!(other, Reported::Failed(whole.clone())),
                }
                rounds += 1;
                assert_eq!(next.rounds, rounds);
                input = next;
            }
            other => break failed(other),
        }
    };
    assert!(rounds > 1, "{rounds}");
    assert_eq!(end, whole);
    assert!(before == scene.written().await);
    let summary = scene.summary().await;
    assert_eq!((summary.manifests, summary.failures.first.len()), (150, 50));
    assert!(summary.notes.iter().any(|note| note.starts_with("1 outcome")), "{:?}", summary.notes);
    assert_eq!(scene.csv("failures.csv").await.lines().count(), 151);
}

#[tokio::test]
async fn a_run_that_broke_off_reports_why() {
    let mut scene = Scene::new(2, BackfillRequest::default()).await;
    let manifest = scene.manifest(0, 2, &[]).await;
    scene.migrated(&manifest, 2).await;
    assert_eq!(failed(scene.report().await).error, "ListingIncomplete");
    let input = ReportInput { failure: Some(Failure::new("Rejected", "listing: 403")), ..scene.input() };
    let end = failed(scene.report_in(Duration::from_secs(300), input.clone()).await);
    assert_eq!(end.error, "RunFailed");
    assert!(end.cause.starts_with("Rejected: listing: 403"), "{}", end.cause);

    let unknown = RunRef { name: "other".into(), attempt: 1 };
    let end = failed(scene.report_in(Duration::from_secs(300), ReportInput { run: unknown, ..input }).await);
    assert_eq!(end.cause, "Rejected: listing: 403");
}

/// What Chromium makes of a page; `None` where there is no Chromium.
fn opened(name: &str, html: &str) -> Option<serde_json::Value> {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let path = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::write(&path, html).unwrap();
    let told = Command::new("python3").arg(root.join("local/page.py")).arg(&path).output();
    let told = match told {
        Ok(told) if told.status.code() != Some(3) => told,
        _ => {
            use std::io::Write as _;
            // Not by a macro: the harness keeps those to itself unless a test fails.
            std::io::stderr().write_all(b"left out: no Chromium here to open the report in\n").unwrap();
            return None;
        }
    };
    assert!(told.status.success(), "{}", String::from_utf8_lossy(&told.stderr));
    Some(serde_json::from_slice(&told.stdout).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_opens_in_a_browser_without_a_complaint() {
    let mut scene = Scene::new(1, BackfillRequest::default()).await;
    let manifest = scene.manifest(0, 9, &[]).await;
    let mut outcome = ended("one", 6, &["a", NASTY, "ש/x"]);
    outcome.slowest = vec![
        Slowest { key: NASTY.into(), bytes: 4_000, ms: 900 },
        Slowest { key: "slow".into(), bytes: 4_000, ms: 1_900 },
    ];
    scene.outcome(&manifest, 1, &outcome).await;
    failed(scene.report().await);
    let summary = scene.summary().await;
    let html = scene.text(&page_key(RUN)).await;
    assert_eq!(html, page(&summary));
    let Some(seen) = opened("report.html", &html) else { return };
    assert_eq!(seen["console"], serde_json::json!([]));
    let text = |id: &str| seen["texts"][id].as_str().unwrap_or_default().to_owned();
    assert!(text("verdict").starts_with("✗ Failed") && text("verdict").contains("3 objects failed"));
    assert_eq!(text("title"), "run-7: failed");
    assert!(text("tiles").contains("Migrated6"), "{}", text("tiles"));
    assert!(text("failures").contains("</td><script>alert('x')</script>\\u{202e}\\u{0},\"\\u{a}"));
    let rows = |id: &str| seen["rows"][id].as_u64();
    assert_eq!(
        (rows("failures"), rows("slowest"), rows("listed"), rows("outcomes")),
        (Some(3), Some(2), Some(4), Some(6))
    );
    assert_eq!(seen["marks"]["throughput"].as_u64(), Some(summary.throughput.bytes.len() as u64));
    assert_eq!(rows("buckets"), Some(summary.throughput.bytes.len() as u64));
    assert_eq!(seen["elements"]["script"], serde_json::Value::Null);

    // That complaints are heard at all.
    let forbidden = html.replace("</main>", "<script>1</script></main>");
    let heard = opened("forbidden.html", &forbidden).unwrap();
    assert!(!heard["console"].as_array().unwrap().is_empty(), "{heard}");
}
