//! Rules of SEMANTICS.md that no other test is named after, and what happens where several meet.

use crate::by_hand::{copy_all, large};
use crate::world::{MIB, Wire, World};
use longhaul_aws::steps::{QueueMessage, complete, copy_objects, intake, plan, settle};
use longhaul_core::backfill::summary::{RunStatus, RunSummary, summary_key};
use longhaul_core::config::ServerSideCopy;
use longhaul_core::contract::{ItemState, Large, PlanInput, PlanOutput, PlanRequest, SettleInput, SettleItem};
use longhaul_core::error::{CaughtError, ErrorName};
use longhaul_core::outcome::{SkipReason, Status};
use longhaul_core::request::{ObjectRef, Request, Sequencer};
use longhaul_testing::{Entry, Fault, Rule};
use serde_json::json;

/// Events of one key in any order, twice, late, about versions that are gone: what arrives is what is current.
#[tokio::test]
async fn rule_01_an_event_is_no_order_to_copy_that_version() {
    let world = World::new().await;
    world.here.store().versioned_bucket("departures");
    let mut offers = Vec::new();
    for (seed, size) in [(1, 5_000), (2, 20 * MIB), (3, 700)] {
        world.put("note", seed, size);
        let object = world.here.store().object("departures", "note").unwrap();
        offers.push(ObjectRef {
            version_id: Some(object.version_id.clone()),
            sequencer: Some(Sequencer(format!("0{seed}"))),
            ..world.offer("note")
        });
    }
    for (number, order) in [[2, 0, 1], [0, 2, 1], [1, 1, 0]].into_iter().enumerate() {
        for (place, index) in order.into_iter().enumerate() {
            let request = Request { objects: vec![offers[index].clone()], ..Request::default() };
            let ended = world.migrate(&format!("e{number}-{place}"), &request).await;
            assert!(ended.result.is_ok(), "{ended:?}");
            world.assert_equal("note");
        }
    }
    assert_eq!(world.there.log().count("PutObject"), 1, "the same version is not written twice");
    world.here.store().delete("departures", "note");
    let request = Request { objects: vec![offers[2].clone()], ..Request::default() };
    let ended = world.migrate("late", &request).await;
    assert_eq!((ended.tally.failed, ended.tally.migrated), (0, 0), "{ended:?}");
    assert!(world.there.store().get("arrivals", "note").is_some(), "a removed source removes nothing");
}

/// One store on both sides, so that there is one log: destination, source, write on the condition of the first look.
#[tokio::test]
async fn rule_02_the_destination_is_looked_at_first_and_the_write_depends_on_it() {
    let mut world = World::in_one_store(Wire::Tls).await;
    world.route.options.server_side_copy = ServerSideCopy::Off;
    for (key, size) in [("note", 5_000), ("film", 20 * MIB)] {
        world.put(key, 1, size);
        world.there.store().put("arrivals", key, "older");
    }
    let older = world.there.store().object("arrivals", "note").unwrap().etag.clone();
    for (key, write, look) in [("note", "PutObject", "GetObject"), ("film", "CompleteMultipartUpload", "HeadObject")] {
        world.here.log().reset();
        let offer = ObjectRef { stands: Some(true), ..world.offer(key) };
        let request = Request { objects: vec![offer], route: Some(world.route.clone()), ..Request::default() };
        let ended = world.migrate(key, &request).await;
        assert_eq!(ended.tally.migrated, 1, "{ended:?}");
        let entries = world.here.log().entries();
        let first = |wanted: &dyn Fn(&Entry) -> bool| entries.iter().position(wanted).unwrap();
        let there = first(&|entry| entry.call.bucket == "arrivals" && entry.call.operation == "HeadObject");
        let here = first(&|entry| entry.call.bucket == "departures" && entry.call.operation == look);
        let written = first(&|entry| entry.call.bucket == "arrivals" && entry.call.operation == write);
        assert!(there < here && here < written, "{key}: {there}, {here}, {written}");
        let condition = entries[written].call.if_match.clone().unwrap_or_default();
        assert_eq!(condition.trim_matches('"'), older.trim_matches('"'), "{key}");
    }
    // Where nothing stands, the condition says so.
    world.put("new", 2, 100);
    let request = Request { route: Some(world.route.clone()), ..world.request(&["new"]) };
    world.migrate("new", &request).await;
    let entries = world.here.log().entries();
    let written =
        entries.iter().find(|entry| entry.call.key.as_deref() == Some("new") && entry.call.operation == "PutObject");
    assert_eq!(written.unwrap().call.if_none_match.as_deref(), Some("*"));
}

#[tokio::test]
async fn rule_12_what_cannot_be_read_goes_to_the_dead_letter_queue_with_its_reason() {
    let world = World::new().await;
    let event = |version: &str| {
        json!({"Records": [{"eventVersion": version, "eventName": "ObjectCreated:Put",
            "s3": {"bucket": {"name": "departures"}, "object": {"key": "a"}}}]})
        .to_string()
    };
    let poison = [
        ("{\"Records\": [".to_owned(), "JSON"),
        (String::new(), "JSON"),
        ("[]".to_owned(), "object"),
        (json!({"Src_bucket": "a", "Src_key": "b"}).to_string(), "original"),
        (json!({"version": 0, "objects": []}).to_string(), "version 0"),
        (json!({"objects": [{"bucket": "b"}]}).to_string(), "key"),
        (event("3.0"), "3.0"),
        (json!({"Type": "Notification", "Message": "{"}).to_string(), "SNS"),
    ];
    let mut messages: Vec<QueueMessage> =
        (0..).zip(&poison).map(|(id, (body, _))| QueueMessage { id: format!("p{id}"), body: body.clone() }).collect();
    messages.push(QueueMessage { id: "good".into(), body: event("2.1") });
    let report = intake(&world.clients, &world.context(), messages).await.unwrap();
    assert_eq!(
        (report.unreadable, report.executions, report.again.len()),
        (poison.len(), 1, 0),
        "at once, not after a hundred times"
    );
    let told = world.sent.unreadable.lock().unwrap().clone();
    for (body, word) in poison {
        let (_, reason) = told.iter().find(|(sent, _)| *sent == body).unwrap();
        assert!(reason.contains(word), "{body:?}: {reason}");
    }
}

#[tokio::test]
async fn rule_19_settling_leaves_an_upload_that_another_execution_works_on() {
    let world = World::new().await;
    world.put("film", 1, 20 * MIB);
    let first = large(&world, "film", "one").await;
    let second = large(&world, "film", "two").await;
    let settled = |object: &Large| {
        SettleInput::Settle(SettleItem {
            item: ItemState::CopyParts(Box::new(object.clone())),
            error: CaughtError { error: ErrorName::SourceChanged.as_str().into(), cause: "it did".into() },
        })
    };
    settle(&world.clients, &world.context(), settled(&first)).await.unwrap();
    assert_eq!(world.there.store().open_uploads().len(), 1, "another's work is not thrown away");
    copy_all(&world, &second).await;
    complete(&world.clients, &world.context(), second).await.unwrap();
    world.assert_equal("film");
    assert_eq!(world.record("film").await.unwrap().status, Status::Migrated);

    world.put("song", 2, 20 * MIB);
    let lonely = large(&world, "song", "one").await;
    settle(&world.clients, &world.context(), settled(&lonely)).await.unwrap();
    assert!(world.there.store().open_uploads().is_empty(), "nobody could ever resume it");
}

/// Complete takes its minutes, says 200 and means an error, or both.
#[test]
fn rule_20_only_silence_ends_the_wait_for_complete() {
    let minutes = Fault::DelayReply { ms: 240_000 };
    let inside = Fault::ErrorInBody { code: "InternalError".into() };
    for faults in [vec![minutes.clone()], vec![inside.clone()], vec![inside, minutes]] {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        runtime.enable_all().start_paused(true);
        runtime.build().unwrap().block_on(async {
            let world = World::over_tls().await;
            world.put("film", 1, 20 * MIB);
            let planned = large(&world, "film", "e").await;
            copy_all(&world, &planned).await;
            for (nth, fault) in (1..).zip(faults.clone()) {
                world.there.faults().add(Rule::on("CompleteMultipartUpload").nth(nth).fails(fault));
            }
            let mut state = ItemState::Complete(Box::new(planned));
            for _ in 0..5 {
                let ItemState::Complete(next) = state.clone() else { break };
                // An error is repeated by the state machine.
                if let Ok(next) =
                    complete(&world.clients, &world.context_for(std::time::Duration::from_secs(900)), *next).await
                {
                    state = next;
                }
            }
            let ItemState::Done(done) = state else { panic!("{faults:?}: {state:?}") };
            assert_eq!((done.tally.migrated, done.tally.failed), (1, 0), "{faults:?}");
            world.assert_equal("film");
            let completes = world.there.log().count("CompleteMultipartUpload");
            assert!(completes <= faults.len() + 1, "{faults:?}: {completes} times");
            assert!(world.there.store().open_uploads().is_empty());
        });
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_executions_at_once_make_one_upload_and_one_result() {
    let world = World::new().await;
    world.there.store().versioned_bucket("arrivals");
    world.put("film", 1, 40 * MIB);
    world.put("note", 2, 5_000);
    let request = world.request(&["film", "note"]);
    let (one, other, third) = futures::join!(
        world.migrate("one", &request),
        world.migrate("other", &request),
        world.migrate("third", &request)
    );
    for ended in [one, other, third] {
        assert!(ended.result.is_ok(), "{ended:?}");
        assert_eq!((ended.tally.failed, ended.tally.objects()), (0, 2));
    }
    for key in ["film", "note"] {
        world.assert_equal(key);
        assert_eq!(world.there.store().versions("arrivals", key).len(), 1, "{key}");
        // Whoever came last found it there.
        let status = world.record(key).await.unwrap().status;
        assert!(matches!(status, Status::Migrated | Status::Unchanged), "{status:?}");
    }
    assert!(world.there.store().open_uploads().is_empty());
    assert!(world.sent.failed.lock().unwrap().is_empty());
}

/// A backfill runs while the same objects change and their events arrive, twice and late.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backfill_and_events_at_once_end_with_what_is_current() {
    let world = World::new().await;
    let keys: Vec<String> = (0..60).map(|number| format!("{}/{number}", number % 5)).collect();
    for (seed, key) in (0..).zip(&keys) {
        let size = if seed % 20 == 0 { 9 * MIB + seed } else { 100 + seed };
        world.put(key, seed, size);
    }
    let events = async {
        for round in 1..4_u64 {
            for (seed, key) in (0..).zip(&keys).filter(|(seed, _)| seed % 4 == round) {
                let stale = world.offer(key);
                world.put(key, 1_000 * round + seed, if seed % 12 == 1 { 10 * MIB } else { 300 + round });
                let fresh = world.request(&[key.as_str()]);
                let late = Request { objects: vec![stale], ..Request::default() };
                for (name, request) in [("a", &fresh), ("b", &fresh), ("c", &late)] {
                    world.migrate(&format!("event-{round}-{seed}-{name}"), request).await;
                }
                tokio::task::yield_now().await;
            }
        }
    };
    let (ended, ()) = futures::join!(world.backfill("fill", json!({})), events);
    assert!(ended.result.is_ok(), "{:?}", ended.result);
    for key in &keys {
        world.assert_equal(key);
    }
    assert!(world.there.store().open_uploads().is_empty());
    let found = world.clients.work.find(&summary_key("fill"), 1 << 24).await.unwrap().unwrap();
    let summary: RunSummary = serde_json::from_slice(&found.body).unwrap();
    assert_eq!((summary.status, summary.accounted), (RunStatus::Succeeded, true), "{summary:?}");
    assert_eq!(summary.tally.failed, 0);
    assert_ne!(world.record(&keys[0]).await.map(|record| record.skipped), Some(Some(SkipReason::SourceGone)));
}

/// The offer's version is gone: nothing is copied from it, and nothing fails.
#[tokio::test]
async fn a_batch_that_finds_its_source_gone_skips_it() {
    let world = World::new().await;
    world.put("note", 1, 100);
    let request = serde_json::to_value(world.request(&["note"])).unwrap();
    let input = PlanInput::Plan(PlanRequest { request, execution: "e".into() });
    let PlanOutput::Work(mut work) = plan(&world.clients, &world.context(), input).await.unwrap() else { panic!() };
    world.here.store().delete("departures", "note");
    let Some(ItemState::CopyObjects(batch)) = work.work.pop() else { panic!() };
    let ItemState::Done(done) = copy_objects(&world.clients, &world.context(), batch).await.unwrap() else { panic!() };
    assert_eq!((done.tally.skipped, done.tally.objects()), (1, 1));
}
