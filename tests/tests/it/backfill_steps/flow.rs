//! The steps one behind the other, over real listings.

use super::*;
use longhaul_core::backfill::deletions::Deleted;
use longhaul_core::backfill::run::deleted_key;
use longhaul_core::backfill::states::{ShardEnd, ShardState};
use serde_json::json;

/// Carries out shards until each has ended.
async fn carry_out(world: &World, shards: Vec<ShardState>) -> Vec<ShardEnd> {
    let mut ends = Vec::new();
    for mut state in shards {
        loop {
            let input = match state {
                ShardState::Scan(work) => ScanInput::Scan(work),
                ShardState::Delete(work) => ScanInput::Delete(work),
                ShardState::Done(end) => {
                    ends.push(end);
                    break;
                }
            };
            state = match scan(&world.clients, &world.context(), input).await.unwrap() {
                ScanOutput::Shard(state) => state,
                other => panic!("{other:?}"),
            };
        }
    }
    ends
}

async fn removed(world: &World, shards: u32) -> u64 {
    let mut removed = 0;
    for shard in 0..shards {
        if let Some(found) = world.clients.work.find(&deleted_key("monday", shard), 1 << 20).await.unwrap() {
            removed += serde_json::from_slice::<Deleted>(&found.body).unwrap().removed;
        }
    }
    removed
}

#[tokio::test]
async fn what_a_scan_finds_missing_is_removed() {
    let mut world = World::new().await;
    (world.route.destination.bucket, world.route.destination.prefix) = ("mirror".into(), "to/".into());
    // Older than the run: what is newer is left alone.
    for number in 0..300 {
        world.there.store().put("mirror", &format!("to/{number:03}"), "x");
    }
    world.there.store().put("mirror", "beside/the prefix", "x");
    tokio::time::sleep(std::time::Duration::from_millis(1_100)).await;
    for number in (0..300).step_by(3) {
        world.here.store().put("departures", &format!("{number:03}"), "x");
    }
    let begun = begun(&world, json!({"routes": [world.route], "delete": {"max": 200}, "scans": 4})).await;
    let shards = run_of(&world, "monday").await.shards.len() as u32;
    let results = carry_out(&world, begun.shards).await;
    let Gathered::Delete(all) = gather(&world, Gather { results, ..gathering(&begun.run) }).await else { panic!() };
    assert_eq!(world.there.store().keys("mirror").len(), 301, "nothing is removed before all is counted");
    for _ in 0..2 {
        let ends = carry_out(&world, all.shards.clone()).await;
        assert!(ends.iter().all(|end| end.error.is_none()));
        assert_eq!(removed(&world, shards).await, 200);
        assert_eq!(world.there.store().keys("mirror").len(), 101);
    }
    assert!(world.there.store().object("mirror", "beside/the prefix").is_some());
}

#[tokio::test]
async fn a_resumed_run_scans_nothing_twice() {
    let world = World::new().await;
    for number in 0..50 {
        world.put(&format!("{number:03}"), number, 10);
    }
    let begun = begun(&world, json!({"scans": 4})).await;
    carry_out(&world, begun.shards).await;
    want(&world, "monday", Some(Control::Paused)).await;
    let Gathered::Report(report) = gather(&world, gathering(&begun.run)).await else { panic!() };
    assert_eq!(report.failure, None);

    let next = begin(&world, json!({"resume": "monday"}), "other").await.unwrap();
    assert_eq!((next.run.attempt, next.shards.len()), (2, 0));
    assert!(matches!(gather(&world, gathering(&next.run)).await, Gathered::Copy(_)));
}
