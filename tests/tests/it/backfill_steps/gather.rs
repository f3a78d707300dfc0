//! What follows a scan, and what follows the copies.

use super::*;
use longhaul_core::backfill::states::{ReportInput, ShardEnd, ShardState};
use longhaul_core::error::{CaughtError, Failure};
use serde_json::json;

fn caught(name: &str, cause: &str) -> CaughtError {
    CaughtError { error: name.into(), cause: cause.into() }
}

/// Begins a run of one shard per route whose scans saw these counts.
async fn scanned(world: &World, request: Value, seen: &[(Counts, bool)]) -> RunRef {
    let begun = begun(world, request).await;
    let mut run = run_of(world, &begun.run.name).await;
    run.shards.resize(seen.len(), run.shards[0].clone());
    world.clients.work.put(&run_key(&run.name), serde_json::to_vec(&run).unwrap().into()).await.unwrap();
    for ((counts, done), shard) in seen.iter().zip(0..) {
        manifest(world, &run, shard, 0, counts.clone(), &[], *done).await;
    }
    begun.run
}

fn offered(count: u64, deletions: u64) -> Counts {
    Counts { listed: count, offered: count, extra: deletions, deletions, ..Counts::default() }
}

fn report(gathered: Gathered) -> ReportInput {
    match gathered {
        Gathered::Report(report) => report,
        other => panic!("{other:?}"),
    }
}

fn failure(gathered: Gathered) -> Failure {
    report(gathered).failure.expect("a failure")
}

#[tokio::test]
async fn what_differs_is_copied() {
    let world = World::new().await;
    let run = scanned(&world, json!({"maxFailedPercent": 5.0}), &[(offered(2, 0), true), (offered(1, 0), true)]).await;
    for _ in 0..2 {
        let Gathered::Copy(copy) = gather(&world, gathering(&run)).await else { panic!("no copy") };
        assert_eq!((copy.bucket.as_str(), copy.prefix.as_str()), ("memory", "runs/monday/manifests/"));
        assert_eq!((copy.max_concurrency, copy.tolerated_failure_percentage), (20, 5.0));
    }
    assert_eq!(report(gather(&world, Gather { copied: true, ..gathering(&run) }).await).failure, None);
}

#[tokio::test]
async fn nothing_to_do_is_reported() {
    let world = World::new().await;
    let same = Counts { listed: 2, unchanged: 2, ..Counts::default() };
    let run = scanned(&world, json!({"concurrency": 7}), &[(same, true)]).await;
    assert_eq!(report(gather(&world, gathering(&run)).await).failure, None);
}

#[tokio::test]
async fn a_dry_run_ends_with_its_scan() {
    let world = World::new().await;
    let run = scanned(&world, json!({"dryRun": true, "delete": {"max": 0}}), &[(offered(2, 3), true)]).await;
    assert_eq!(report(gather(&world, gathering(&run)).await).failure, None);
}

#[tokio::test]
async fn a_scan_that_broke_off_is_named() {
    let world = World::new().await;
    let run = scanned(&world, json!({}), &[(offered(1, 0), true)]).await;
    let cause = r#"{"errorType":"Rejected","errorMessage":"page 7 was refused"}"#;
    let ends = [None, Some(caught("Rejected", cause)), Some(caught("States.Timeout", ""))];
    let results = ends.map(|error| ShardEnd { error }).to_vec();
    let told = failure(gather(&world, Gather { results, ..gathering(&run) }).await);
    assert_eq!(told.name, "Rejected");
    assert!(told.message.contains("2 of 3") && told.message.ends_with("page 7 was refused"), "{told:?}");
}

#[tokio::test]
async fn a_shard_that_did_not_end_fails_the_run() {
    let world = World::new().await;
    let run = scanned(&world, json!({}), &[(offered(1, 0), true), (offered(1, 0), false)]).await;
    assert_eq!(failure(gather(&world, gathering(&run)).await).name, "Bug");
    want(&world, "monday", Some(Control::Paused)).await;
    assert_eq!(report(gather(&world, gathering(&run)).await).failure, None, "a pause is no failure");
}

#[tokio::test]
async fn counts_that_do_not_add_up_fail_the_run() {
    let world = World::new().await;
    let odd = Counts { listed: 3, ..offered(1, 0) };
    let run = scanned(&world, json!({}), &[(Counts { listed: 3, ..odd }, true)]).await;
    let told = failure(gather(&world, gathering(&run)).await);
    assert!(told.name == "Bug" && told.message.contains("3 listed"), "{told:?}");
}

#[tokio::test]
async fn copies_that_broke_off_are_named() {
    let world = World::new().await;
    let request = json!({"maxFailedPercent": 2.5, "delete": {"max": 9}});
    let run = scanned(&world, request, &[(offered(1, 1), true)]).await;
    let copied = |error: Option<CaughtError>| Gather { copied: true, error, ..gathering(&run) };
    let told = failure(gather(&world, copied(Some(caught("States.ExceedToleratedFailureThreshold", "x")))).await);
    assert!(told.message.contains("more than 2.5 %"), "{told:?}");
    let told = failure(gather(&world, copied(Some(caught("States.ItemReaderFailed", "no bucket")))).await);
    assert_eq!(
        (told.name.as_str(), told.message.as_str()),
        ("States.ItemReaderFailed", "the copies broke off: no bucket")
    );

    want(&world, "monday", Some(Control::Stopped)).await;
    assert_eq!(report(gather(&world, copied(None)).await).failure, None);
}

#[tokio::test]
async fn deletions_follow_the_copies_within_their_limit() {
    let world = World::new().await;
    let seen = [(offered(1, 2), true), (offered(1, 0), true), (offered(0, 1), true)];
    let run = scanned(&world, json!({"delete": {"max": 3}, "scans": 4}), &seen).await;
    assert!(matches!(gather(&world, gathering(&run)).await, Gathered::Copy(_)));
    let Gathered::Delete(all) = gather(&world, Gather { copied: true, ..gathering(&run) }).await else { panic!() };
    let shard = |state: &ShardState| match state {
        ShardState::Delete(work) => work.shard,
        other => panic!("{other:?}"),
    };
    assert_eq!((all.shards.iter().map(shard).collect::<Vec<_>>(), all.max_concurrency), (vec![0, 2], 4));
}

#[tokio::test]
async fn deletions_need_no_copies() {
    let world = World::new().await;
    let run = scanned(&world, json!({"delete": {"max": 3}}), &[(offered(0, 2), true)]).await;
    assert!(matches!(gather(&world, gathering(&run)).await, Gathered::Delete(_)));
}

#[tokio::test]
async fn too_many_deletions_remove_nothing() {
    let world = World::new().await;
    let run = scanned(&world, json!({"delete": {"max": 2}}), &[(offered(1, 2), true), (offered(1, 1), true)]).await;
    let told = failure(gather(&world, Gather { copied: true, ..gathering(&run) }).await);
    assert!(told.message.starts_with("3 objects would be removed, more than --max-delete 2"), "{told:?}");
}
