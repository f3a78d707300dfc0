//! The largest message, and the largest parts.

use crate::by_hand::planned;
use crate::world::{MIB, World};
use longhaul_aws::context::Clock;
use longhaul_aws::steps::{QueueMessage, intake};
use longhaul_core::contract::{ItemState, Large};
use longhaul_core::rate::RateKey;
use longhaul_core::request::Request;
use serde_json::json;

/// The largest message of SQS, in bytes:
/// <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-messages.html>
const MESSAGE_MAX: usize = 1024 * 1024;

/// A request of as many objects as one message holds; their keys have 1,024 bytes and end alike.
fn largest(filler: &str) -> (String, Vec<String>) {
    let (mut objects, mut keys, mut bytes) = (Vec::new(), Vec::new(), 64);
    loop {
        let key = format!("{:04}{}", keys.len(), filler.repeat(1_020 / filler.len()));
        let object = json!({"bucket": "departures", "key": key});
        bytes += object.to_string().len() + 1;
        if bytes > MESSAGE_MAX {
            return (json!({ "objects": objects }).to_string(), keys);
        }
        objects.push(object);
        keys.push(key);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rule_14_the_largest_message_passes_whole() {
    // As they are, and such as JSON makes two and six times as long.
    for (filler, fewest) in [("k", 900), ("\"", 450), ("\u{1}", 150), ("ü", 900)] {
        let world = World::new().await;
        let (body, keys) = largest(filler);
        assert!(body.len() > MESSAGE_MAX - 8 * 1024 && keys.len() >= fewest, "{} {}", body.len(), keys.len());
        for key in keys.iter().step_by(50) {
            world.put(key, 1, 10);
        }
        let message = QueueMessage { id: "m".into(), body };
        let report = intake(&world.clients, &world.context(), vec![message.clone()]).await.unwrap();
        assert_eq!((report.unreadable, report.ignored, report.again.len()), (0, 0, 0), "{filler:?}");
        let started = world.sent.started.lock().unwrap().clone();
        assert_eq!(started.len(), report.executions);
        let mut objects = 0;
        for (name, request) in &started {
            let ended = world.migrate(name, request).await;
            assert!(ended.result.is_ok(), "{filler:?}: {ended:?}");
            assert_eq!((ended.tally.failed, ended.tally.unsettled), (0, 0));
            objects += ended.tally.objects();
        }
        assert_eq!(objects, keys.len() as u64, "{filler:?}");
        for key in keys.iter().step_by(50) {
            world.assert_equal(key);
        }
        // Again, after a lost reply: the same executions.
        let again = intake(&world.clients, &world.context(), vec![message]).await.unwrap();
        assert_eq!((again.executions, world.sent.started.lock().unwrap().len()), (started.len(), started.len()));
    }
}

/// One that is not started comes again, with all the others of its message.
#[tokio::test]
async fn rule_14_a_message_of_many_executions_comes_again_whole() {
    let world = World::new().await;
    let (body, _) = largest("k");
    let message = QueueMessage { id: "m".into(), body };
    let report = intake(&world.clients, &world.context(), vec![message.clone()]).await.unwrap();
    let names: Vec<String> = world.sent.started.lock().unwrap().keys().cloned().collect();
    assert!(report.executions > 4 && names.len() == report.executions);
    world.sent.started.lock().unwrap().clear();
    world.sent.refused.lock().unwrap().push(names[1].clone());
    let report = intake(&world.clients, &world.context(), vec![message]).await.unwrap();
    assert_eq!((report.again.contains("m"), report.executions), (true, names.len() - 1));
}

/// The large object that is planned, if there is one, and how many failed.
async fn planned_large(world: &World, request: &Request, execution: &str) -> (Option<Large>, u64) {
    let mut work = planned(world, request, execution).await;
    match work.work.pop() {
        Some(ItemState::CopyParts(large)) => (Some(*large), work.tally.failed),
        None => (None, work.tally.failed),
        other => panic!("{other:?}"),
    }
}

/// What three invocations saw in the last hour, in bytes a second.
async fn measured(world: &World, rate: u64) {
    let (key, now) = (RateKey::new(&world.route), Clock::system().now_ms());
    for minutes in [50, 30, 10] {
        let rates = world.clients.ledger.rates(&key).await.unwrap();
        world.clients.ledger.put_rates(&rates.with(rate, now - minutes * 60_000).unwrap()).await.unwrap();
    }
}

#[tokio::test]
async fn rule_18_a_layout_that_is_too_slow_is_not_begun() {
    let world = World::over_tls().await;
    let size = 5 * 1024 * 1024 * MIB;
    world.here.store().put_unread("departures", "archive", size);
    let request = world.request(&["archive"]);
    // Nothing is known: it is begun.
    let (large, _) = planned_large(&world, &request, "unknown").await;
    assert_eq!(large.unwrap().object.layout.part_size(), 525 * MIB);
    for upload in world.there.store().open_uploads() {
        world.there.store().abort_upload(&upload.id);
    }
    measured(&world, 400_000).await;
    assert_eq!(planned_large(&world, &request, "slow").await, (None, 1));
    let [message] = world.sent.failed.lock().unwrap().clone().try_into().unwrap();
    let failure = serde_json::from_str::<Request>(&message).unwrap().failure.unwrap();
    assert_eq!(failure.name, "TooSlow");
    for told in ["550502400", "400000", "1377 s"] {
        assert!(failure.message.contains(told), "{failure:?}");
    }
    assert!(world.there.store().open_uploads().is_empty(), "nothing is left behind");
    // The link is mended, as some other object shows.
    let rates = world.clients.ledger.rates(&RateKey::new(&world.route)).await.unwrap();
    let mended = rates.with(2_000_000, Clock::system().now_ms()).unwrap();
    world.clients.ledger.put_rates(&mended).await.unwrap();
    assert!(planned_large(&world, &request, "mended").await.0.is_some());
}

#[tokio::test]
async fn rule_18_parts_that_fit_take_the_place_of_those_that_do_not() {
    let mut world = World::over_tls().await;
    world.here.store().put_generated("departures", "film", 160 * MIB, Some(155 * MIB));
    let request = world.request(&["film"]);
    let (large, _) = planned_large(&world, &request, "unknown").await;
    let object = large.unwrap().object;
    assert_eq!((object.mirrored, object.layout.part_size()), (true, 155 * MIB));

    measured(&world, 100_000).await;
    // What is in flight keeps its layout.
    let (large, _) = planned_large(&world, &request, "resumed").await;
    assert_eq!(large.unwrap().object.upload_id, object.upload_id);
    world.there.store().abort_upload(&object.upload_id);
    let (large, _) = planned_large(&world, &request, "slow").await;
    let object = large.unwrap().object;
    assert_eq!((object.mirrored, object.layout.part_size()), (false, 8 * MIB));

    // A size that the route asks for, too.
    world.route.options.part_size = Some(1024 * MIB);
    world.here.store().put_unread("departures", "tape", 3_000 * MIB);
    let request = Request { route: Some(world.route.clone()), ..world.request(&["tape"]) };
    let (large, _) = planned_large(&world, &request, "asked").await;
    assert_eq!(large.unwrap().object.layout.part_size(), 150 * MIB);
}
