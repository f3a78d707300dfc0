//! Locks, runs, and going on with them.

use super::*;
use longhaul_core::backfill::check::RouteChecks;
use longhaul_core::backfill::run::{Lock, checks_key, lock_key};
use longhaul_core::backfill::states::ShardState;
use longhaul_core::error::ErrorName;
use longhaul_testing::{Fault, Keys, Rule};
use serde_json::json;
use std::time::Duration;

const OTHER: &str = "arn:aws:states:us-east-1:1:execution:backfill:tuesday";

async fn lock_of(world: &World) -> Lock {
    let found = world.clients.work.find(&lock_key(&world.route), 4096).await.unwrap().unwrap();
    serde_json::from_slice(&found.body).unwrap()
}

#[tokio::test]
async fn a_repeated_begin_takes_what_was_begun() {
    let world = World::new().await;
    world.put("a", 1, 10);
    let first = begun(&world, json!({"scans": 3, "dryRun": true})).await;
    assert_eq!((first.run.name.as_str(), first.run.attempt, first.max_concurrency), ("monday", 1, 3));
    assert!(!first.shards.is_empty());
    let written = run_of(&world, "monday").await;
    assert_eq!((written.execution.as_str(), written.routes.as_slice()), (EXECUTION, &[world.route.clone()][..]));
    let checks = world.clients.work.find(&checks_key("monday"), 1 << 20).await.unwrap().unwrap();
    let checks: Vec<RouteChecks> = serde_json::from_slice(&checks.body).unwrap();
    assert_eq!(checks[0].route, "test");

    world.sent.running.lock().unwrap().push(EXECUTION.into());
    let again = begun(&world, json!({"scans": 3, "dryRun": true})).await;
    assert_eq!((&again, run_of(&world, "monday").await), (&first, written));
    assert_eq!(lock_of(&world).await, Lock { run: "monday".into(), execution: EXECUTION.into() });
}

#[tokio::test]
async fn a_route_has_one_run_at_a_time() {
    let world = World::new().await;
    begun(&world, json!({})).await;
    world.sent.running.lock().unwrap().push(EXECUTION.into());
    let refused = begin(&world, json!({}), OTHER).await.unwrap_err();
    assert_eq!(refused.name, ErrorName::Rejected);
    assert!(refused.message.contains("monday") && refused.message.contains(EXECUTION), "{refused}");

    world.sent.running.lock().unwrap().clear();
    let next = begin(&world, json!({}), OTHER).await.unwrap();
    assert_eq!((next.run.name.as_str(), lock_of(&world).await.execution.as_str()), ("tuesday", OTHER));
    // The first execution may be redriven, but not beside the second.
    world.sent.running.lock().unwrap().push(OTHER.into());
    assert!(begin(&world, json!({}), EXECUTION).await.unwrap_err().message.contains("tuesday"));
}

#[tokio::test]
async fn a_name_belongs_to_one_execution() {
    let world = World::new().await;
    begun(&world, json!({})).await;
    let twin = "arn:aws:states:us-east-1:2:execution:backfill:monday";
    let refused = begin(&world, json!({}), twin).await.unwrap_err();
    assert!(refused.message.contains("another name"), "{refused}");
}

#[tokio::test]
async fn what_makes_no_sense_begins_nothing() {
    let world = World::new().await;
    let route = serde_json::to_value(&world.route).unwrap();
    let mut nested = world.route.clone();
    nested.name = "nested".into();
    nested.source.prefix = "y/".into();
    nested.destination.prefix = "x/".into();
    for (request, why) in [
        (json!({"routes": ["nowhere"]}), "nowhere"),
        (json!({"scans": 0}), "scans"),
        (json!({"routes": ["test", route]}), "same ends"),
        (json!({"delete": {"max": 1}, "routes": ["test", nested]}), "writes to the same place"),
    ] {
        let refused = begin(&world, request, EXECUTION).await.unwrap_err();
        assert_eq!(refused.name, ErrorName::Rejected);
        assert!(refused.message.contains(why), "{refused}");
    }
    assert!(world.clients.work.list("").await.unwrap().is_empty());
}

#[tokio::test]
async fn a_fault_of_a_side_is_one_message() {
    let keys = Keys { access_key: "other".into(), secret_key: "other".into() };
    let world = World::with(keys, crate::world::Wire::Http).await;
    let refused = begin(&world, json!({}), EXECUTION).await.unwrap_err();
    assert_eq!(refused.name, ErrorName::Rejected);
    assert!(refused.message.contains("the destination (credentials)"), "{refused}");
    assert!(world.clients.work.find(&run_key("monday"), 10).await.unwrap().is_none());
    assert!(world.clients.work.find(&checks_key("monday"), 10).await.unwrap().is_some());
}

#[tokio::test]
async fn a_list_of_keys_is_one_shard() {
    let world = World::new().await;
    let keys = json!({"format": "csv", "bucket": "departures", "key": "list"});
    let begun = begun(&world, json!({"routes": ["test"], "keys": keys})).await;
    assert_eq!(begun.shards.len(), 1);
}

#[tokio::test]
async fn several_routes_share_the_scans() {
    let world = World::new().await;
    let mut routes = vec![serde_json::to_value(&world.route).unwrap()];
    for name in ["second", "third"] {
        world.there.store().bucket(name);
        let mut route = world.route.clone();
        route.name = name.into();
        route.destination.bucket = name.into();
        routes.push(serde_json::to_value(&route).unwrap());
    }
    let begun = begun(&world, json!({"routes": routes, "scans": 2})).await;
    let run = run_of(&world, &begun.run.name).await;
    assert_eq!(run.shards.iter().map(|shard| shard.route).collect::<Vec<_>>(), [0, 1, 2]);
    assert_eq!(world.clients.work.list("locks/").await.unwrap().len(), 3);
}

#[tokio::test]
async fn a_paused_run_goes_on_where_it_was() {
    let world = World::new().await;
    let mut second = world.route.clone();
    second.destination.prefix = "second/".into();
    second.name = "second".into();
    let first = begun(&world, json!({"routes": ["test", second], "scans": 2})).await;
    let run = run_of(&world, "monday").await;
    assert_eq!(first.shards.len(), 2);
    manifest(&world, &run, 0, 0, Counts::default(), &[], true).await;
    manifest(&world, &run, 1, 0, Counts::default(), &[], false).await;
    want(&world, "monday", Some(Control::Paused)).await;

    let resume = json!({"resume": "monday"});
    world.sent.running.lock().unwrap().push(EXECUTION.into());
    assert!(begin(&world, resume.clone(), OTHER).await.unwrap_err().message.contains("goes on"));
    world.sent.running.lock().unwrap().clear();

    let next = begin(&world, resume.clone(), OTHER).await.unwrap();
    assert_eq!((next.run.name.as_str(), next.run.attempt), ("monday", 2));
    let [ShardState::Scan(left)] = next.shards.as_slice() else { panic!("{next:?}") };
    assert_eq!((left.shard, &left.run), (1, &next.run));
    assert_eq!(longhaul_aws::scan::control(&*world.clients.work, "monday").await.unwrap(), None);
    let resumed = run_of(&world, "monday").await;
    assert_eq!((resumed.attempt, resumed.execution.as_str(), &resumed.shards), (2, OTHER, &run.shards));

    // A pause that comes later is not taken back by a repeat.
    want(&world, "monday", Some(Control::Paused)).await;
    assert_eq!(begin(&world, resume, OTHER).await.unwrap(), next);
    assert_eq!(longhaul_aws::scan::control(&*world.clients.work, "monday").await.unwrap(), Some(Control::Paused));
    // What the first attempt left running must not write any more.
    let late = longhaul_aws::steps::read_run(&world.clients, &first.run).await.unwrap_err();
    assert!(late.message.contains("attempt 2 goes on"), "{late}");
}

#[tokio::test]
async fn what_cannot_be_resumed_says_so() {
    let world = World::new().await;
    let missing = begin(&world, json!({"resume": "never"}), OTHER).await.unwrap_err();
    assert!(missing.name == ErrorName::Rejected && missing.message.contains("no run never"), "{missing}");
    begun(&world, json!({})).await;
    want(&world, "monday", Some(Control::Stopped)).await;
    let stopped = begin(&world, json!({"resume": "monday"}), OTHER).await.unwrap_err();
    assert!(stopped.message.contains("for good"), "{stopped}");
    assert_eq!(run_of(&world, "monday").await.attempt, 1);
}

#[tokio::test]
async fn routes_are_split_at_once_and_numbered_in_their_order() {
    let world = World::new().await;
    world.here.store().bucket("second");
    let mut second = world.route.clone();
    second.name = "second".into();
    second.source.bucket = "second".into();
    second.destination.prefix = "second/".into();
    let request = json!({"routes": ["test", second], "scans": 8});
    // Preflight lists each bucket once; the first one is not split before the second was asked for.
    let hang = |bucket: &str| Rule { bucket: Some(bucket.into()), ..Rule::on("ListObjectsV2").nth(2) };
    world.here.faults().add(hang("departures").fails(Fault::Delay { ms: 3_600_000 }));
    let of = |bucket: &str| {
        world.here.log().count_if(|entry| entry.call.operation == "ListObjectsV2" && entry.call.bucket == bucket)
    };
    let both = async {
        while of("departures") < 2 || of("second") < 2 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::select! {
        begun = begin(&world, request.clone(), EXECUTION) => panic!("{begun:?}"),
        waited = tokio::time::timeout(Duration::from_secs(20), both) => waited.expect("both are listed at once"),
    }
    world.here.faults().clear();
    begun(&world, request).await;
    let run = run_of(&world, "monday").await;
    assert_eq!(run.shards.iter().map(|shard| shard.route).collect::<Vec<_>>(), [0, 1]);
}
