//! What an estimate foretells, against what arrives at both sides.

use crate::world::{MIB, Wire, World};
use bytes::Bytes;
use longhaul_core::backfill::counts::Counts;
use longhaul_core::backfill::estimate::{Assumptions, Estimate, Requests};
use longhaul_core::backfill::pack::parts_of;
use longhaul_core::classify::Class;
use longhaul_core::etag::ETag;
use longhaul_core::request::{ObjectRef, Request};
use longhaul_testing::{TestS3, s3_client};
use std::collections::BTreeMap;

const MIXED: [u64; 10] = [0, 1, 5_000, 255 * 1024, 256 * 1024 + 1, 3 * MIB, 8 * MIB, 8 * MIB + 1, 20 * MIB, 70 * MIB];

/// What a scan would count of these objects, and the request of their manifest.
fn counted(world: &World, keys: &[String]) -> (Counts, Request) {
    let mut counts = Counts { manifests: 1, ..Counts::default() };
    let mut request = Request::default();
    for key in keys {
        let object = world.here.store().object("departures", key).unwrap();
        let etag = ETag::new(&object.etag);
        let size = object.body.len();
        let (parts, mirrored) = parts_of(size, Some(&etag), None);
        counts.listed += 1;
        counts.offer(Some(size), parts, mirrored);
        let stands = world.there.store().object("arrivals", key).is_some();
        counts.differing += u64::from(stands && Class::of(size) != Class::Large);
        request.objects.push(ObjectRef { stands: Some(stands), ..world.offer(key) });
    }
    (counts, request)
}

fn arrived(side: &TestS3) -> BTreeMap<String, u64> {
    let mut operations = BTreeMap::new();
    for entry in side.log().entries() {
        *operations.entry(entry.call.operation).or_default() += 1;
    }
    operations
}

fn foretold(requests: &Requests) -> BTreeMap<String, u64> {
    requests.operations().map(|(operation, count)| (operation.to_owned(), count)).collect()
}

/// Runs the objects, and fails unless every request was foretold, operation by operation.
async fn compare(world: &World, keys: &[String], assumptions: &Assumptions) -> Estimate {
    let (counts, request) = counted(world, keys);
    let estimate = Estimate::of(&counts, assumptions);
    world.here.log().reset();
    world.there.log().reset();
    let request = Request { route: Some(world.route.clone()), ..request };
    let ended = world.migrate("estimated", &request).await;
    assert_eq!(ended.tally.migrated, keys.len() as u64, "{ended:?}");
    assert_eq!(arrived(&world.here), foretold(&estimate.source), "source");
    assert_eq!(arrived(&world.there), foretold(&estimate.destination), "destination");
    // Without the scan's and the report's: its beginning, its shards, two looks, the report.
    let scan = u64::from(assumptions.shards) + 4;
    assert_eq!(ended.stats.task_calls, estimate.invocations - scan, "invocations");
    estimate
}

fn put_mixed(world: &World) -> Vec<String> {
    MIXED
        .iter()
        .zip(1..)
        .map(|(size, seed)| {
            let key = format!("{size}");
            world.put(&key, seed, *size);
            key
        })
        .collect()
}

fn put_in_parts(world: &World) -> Vec<String> {
    let parts = |seed: u64, sizes: &[u64]| -> Vec<Bytes> {
        sizes.iter().map(|size| Bytes::from(World::bytes(seed + size, *size))).collect()
    };
    let store = world.here.store();
    store.put_parts("departures", "film", parts(1, &[16 * MIB, 16 * MIB, 3 * MIB]));
    store.put_parts("departures", "reel", parts(2, &[5 * MIB, 5 * MIB, 5 * MIB, 1]));
    vec!["film".into(), "reel".into()]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_request_is_foretold() {
    for (wire, versioned) in [(Wire::Http, false), (Wire::Tls, true)] {
        let world = if wire == Wire::Http { World::new().await } else { World::over_tls().await };
        if versioned {
            world.here.store().versioned_bucket("departures");
        }
        let mut keys = put_mixed(&world);
        keys.extend(put_in_parts(&world));
        let assumptions = Assumptions { versioned, compared: wire == Wire::Http, ..Assumptions::default() };
        compare(&world, &keys, &assumptions).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_stands_there_already_is_foretold() {
    let world = World::over_tls().await;
    let keys = put_mixed(&world);
    for key in [&keys[0], &keys[2], &keys[5], &keys[8]] {
        world.there.store().put("arrivals", key, World::bytes(99, 10));
    }
    compare(&world, &keys, &Assumptions::default()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tags_and_unknown_sizes_are_foretold() {
    let world = World::over_tls().await;
    let client = s3_client(&world.here);
    for (key, size) in [("note", 5_000), ("film", 20 * MIB)] {
        let put = client.put_object().bucket("departures").key(key).tagging("a=1");
        put.body(World::bytes(9, size).into()).send().await.unwrap();
    }
    let keys = ["note".to_owned(), "film".to_owned()];
    compare(&world, &keys, &Assumptions { tagged: 1.0, ..Assumptions::default() }).await;

    world.put("unsized", 7, 6_000);
    let mut counts = Counts { manifests: 1, listed: 1, ..Counts::default() };
    counts.offer(None, 0, false);
    let estimate = Estimate::of(&counts, &Assumptions::default());
    world.here.log().reset();
    let mut request = world.request(&["unsized"]);
    request.objects[0].size = None;
    assert_eq!(world.migrate("of unknown size", &request).await.tally.migrated, 1);
    assert_eq!(arrived(&world.here), foretold(&estimate.source));
    assert!(estimate.lower_bound);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_whole_manifest_of_small_objects_is_foretold() {
    let world = World::over_tls().await;
    let keys: Vec<String> = (0..2_000).map(|number| format!("{number:05}")).collect();
    for (key, seed) in keys.iter().zip(1..) {
        world.put(key, seed, seed % 700);
    }
    let estimate = compare(&world, &keys, &Assumptions::default()).await;
    assert_eq!((estimate.source.total(), estimate.destination.total()), (2_000, 2_000));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn histories_are_foretold() {
    // One large object, and small ones, each for itself: the longest of both is what an estimate tells.
    for sizes in [vec![130 * MIB], vec![10; 600]] {
        let world = World::over_tls().await;
        let keys: Vec<String> = (0..sizes.len()).map(|number| format!("{number}")).collect();
        for (key, size) in keys.iter().zip(&sizes) {
            world.put(key, *size + key.len() as u64, *size);
        }
        let (counts, request) = counted(&world, &keys);
        let estimate = Estimate::of(&counts, &Assumptions::default());
        let ended = world.migrate("h", &request).await;
        assert_eq!(ended.tally.migrated, keys.len() as u64);
        let told = &estimate.limits.iter().find(|finding| finding.name == "history").unwrap().told;
        let events = ended.stats.history_events;
        assert!(
            told.starts_with(&format!("{events} of")),
            "{told}, and there were {events}; {:?}",
            Class::of(sizes[0])
        );
    }
}
