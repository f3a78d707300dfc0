//! Whole backfills through the real state machines, in one process.

use crate::world::{MIB, World};
use longhaul_core::backfill::run::{Control, ControlObject, control_key};
use longhaul_core::backfill::summary::{RunStatus, RunSummary, summary_key};
use longhaul_testing::{Fault, Rule};
use serde_json::{Value, json};

/// Runs a backfill to its end; its error and cause if it failed, and its summary if it came so far.
async fn backfill(world: &World, execution: &str, request: Value) -> (Result<(), String>, Option<RunSummary>) {
    let run = request["resume"].as_str().unwrap_or(execution).to_owned();
    let outcome = world.backfill(execution, request).await;
    let summary = world.clients.work.find(&summary_key(&run), 1 << 24).await.unwrap();
    let summary = summary.map(|found| serde_json::from_slice(&found.body).unwrap());
    (outcome.result.map(drop).map_err(|error| format!("{}: {}", error.error, error.cause)), summary)
}

/// Small and large objects, of which some are there, some differ and some are to be left out.
fn fill(world: &World) {
    for number in 0..1_200_u64 {
        let key = format!("{}/{number:04}{}", number % 7, if number % 20 == 19 { ".tmp" } else { "" });
        world.put(&key, number, number % 5 * 100);
        match number % 10 {
            3 => world.there.store().put("arrivals", &key, World::bytes(number, number % 5 * 100)),
            4 => world.there.store().put("arrivals", &key, "something else"),
            _ => continue,
        };
    }
    for number in 0..5 {
        world.put(&format!("large/{number}"), number, 9 * MIB + number);
    }
}

fn requests(world: &World, operation: &str) -> usize {
    world.here.log().count(operation) + world.there.log().count(operation)
}

/// The estimate is within a twentieth of the requests that each side saw.
fn assert_estimated(world: &World, summary: &RunSummary) {
    let estimate = summary.estimate.as_ref().unwrap();
    for (side, s3) in [("source", &world.here), ("destination", &world.there)] {
        let foretold: u64 = estimate[side].as_object().unwrap().values().filter_map(Value::as_u64).sum();
        let actual = s3.log().entries().len() as u64;
        assert!(foretold.abs_diff(actual) * 20 <= actual, "{side}: {foretold} foretold, {actual} seen: {estimate}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_is_brought_up_to_date_and_a_second_run_moves_nothing() {
    let world = World::new().await;
    fill(&world);
    let request = json!({"filters": {"exclude": ["*.tmp"]}});
    let (ended, summary) = backfill(&world, "first", request.clone()).await;
    assert_eq!(ended, Ok(()));
    let summary = summary.unwrap();
    let (counts, tally) = (&summary.counts, &summary.tally);
    assert_eq!((summary.status, summary.accounted), (RunStatus::Succeeded, true), "{summary:?}");
    assert_eq!((counts.listed, counts.excluded, counts.unchanged), (1_205, 60, 120));
    assert_eq!((tally.migrated, tally.objects(), counts.offered), (1_025, 1_025, 1_025));
    for key in world.here.store().keys("departures") {
        if !key.ends_with(".tmp") {
            world.assert_equal(&key);
        }
    }
    assert_eq!(world.there.store().keys("arrivals").len(), 1_145);
    assert_estimated(&world, &summary);
    assert!(world.there.store().open_uploads().is_empty());
    let notified = world.sent.notified.lock().unwrap().clone();
    assert!(notified.iter().any(|(subject, _)| subject.contains("first")), "{notified:?}");

    world.here.log().reset();
    world.there.log().reset();
    let (ended, summary) = backfill(&world, "second", request).await;
    assert_eq!(ended, Ok(()));
    let summary = summary.unwrap();
    assert_eq!((summary.counts.unchanged, summary.counts.offered), (1_145, 0));
    assert_eq!(requests(&world, "GetObject"), 0);
    let writes = world.there.log().count_if(|entry| {
        // The preflight tries a conditional write that cannot succeed.
        let probe = entry.call.key.as_deref().is_some_and(|key| key.contains(".longhaul-check-"));
        entry.call.operation == "PutObject" && !probe
    });
    assert_eq!(writes, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_says_what_it_would_do() {
    let world = World::new().await;
    fill(&world);
    let (ended, summary) = backfill(&world, "dry", json!({"dryRun": true})).await;
    assert_eq!(ended, Ok(()));
    let summary = summary.unwrap();
    assert_eq!((summary.status, summary.counts.offered), (RunStatus::DryRun, 1_085));
    assert!(summary.estimate.as_ref().is_some_and(|estimate| estimate["total"].as_f64() > Some(0.0)), "{summary:?}");
    assert_eq!(world.there.store().keys("arrivals").len(), 240);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_cannot_be_read_fails_the_run_which_goes_on_from_there() {
    let world = World::new().await;
    fill(&world);
    // The last page that a whole run asks for.
    let (ended, _) = backfill(&world, "whole", json!({"scans": 1, "dryRun": true})).await;
    assert_eq!(ended, Ok(()));
    let last = world.here.log().count("ListObjectsV2") as u64;
    let fault = Fault::Status { status: 403, code: None };
    world.here.faults().add(Rule::on("ListObjectsV2").nth(last).times(0).fails(fault));
    let (ended, summary) = backfill(&world, "broken", json!({"scans": 1})).await;
    let told = ended.unwrap_err();
    assert!(told.contains("listing s3://departures") && told.contains("source"), "{told}");
    assert_eq!(summary.unwrap().status, RunStatus::Failed);
    assert_eq!(world.there.log().count("CompleteMultipartUpload"), 0, "nothing is copied after half a listing");
    world.here.faults().clear();
    let (ended, summary) = backfill(&world, "again", json!({"resume": "broken"})).await;
    assert_eq!(ended, Ok(()));
    let summary = summary.unwrap();
    assert_eq!((summary.attempt, summary.status, summary.accounted), (2, RunStatus::Succeeded, true));
    assert_eq!(summary.tally.migrated, 1_085);
}

#[tokio::test(flavor = "multi_thread")]
async fn rule_17_a_failed_object_is_named_and_brought_by_the_next_attempt() {
    let world = World::new().await;
    fill(&world);
    world
        .there
        .faults()
        .add(Rule::on("PutObject").key("0/0000").times(0).fails(Fault::Status { status: 403, code: None }));
    let (ended, summary) = backfill(&world, "first", json!({})).await;
    assert!(ended.unwrap_err().contains("ObjectsFailed"));
    let summary = summary.unwrap();
    assert_eq!((summary.tally.failed, summary.accounted), (1, true), "{summary:?}");
    assert_eq!(summary.failures.first.first().map(|failed| failed.key.as_str()), Some("0/0000"));
    world.there.faults().clear();
    let (ended, summary) = backfill(&world, "second", json!({"resume": "first"})).await;
    assert_eq!(ended, Ok(()));
    let summary = summary.unwrap();
    assert_eq!((summary.tally.failed, summary.accounted, summary.status), (0, true, RunStatus::Succeeded));
    world.assert_equal("0/0000");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_run_begins_nothing_and_a_resumed_one_ends_it() {
    let world = World::new().await;
    fill(&world);
    let set = async |control| {
        let body = serde_json::to_vec(&ControlObject { control }).unwrap();
        world.clients.work.put(&control_key("run"), body.into()).await.unwrap();
    };
    set(Some(Control::Paused)).await;
    let (ended, summary) = backfill(&world, "run", json!({})).await;
    assert_eq!(ended, Ok(()));
    assert_eq!(summary.unwrap().status, RunStatus::Paused);
    assert_eq!(world.there.store().keys("arrivals").len(), 240);
    let (ended, summary) = backfill(&world, "more", json!({"resume": "run"})).await;
    assert_eq!(ended, Ok(()));
    assert_eq!(summary.unwrap().status, RunStatus::Succeeded);
    set(Some(Control::Stopped)).await;
    let (ended, _) = backfill(&world, "late", json!({"resume": "run"})).await;
    assert!(ended.unwrap_err().contains("stopped"));
}

#[tokio::test(flavor = "multi_thread")]
async fn deletions_keep_to_their_bounds() {
    let world = World::new().await;
    world.put("kept", 1, 10);
    for key in ["gone 1", "gone 2"] {
        world.there.store().put("arrivals", key, "old");
    }
    let (ended, summary) = backfill(&world, "refused", json!({"delete": {"max": 1}})).await;
    assert!(ended.unwrap_err().contains("more than"));
    assert_eq!(summary.unwrap().status, RunStatus::Failed);
    assert_eq!(world.there.store().keys("arrivals").len(), 3);
    let (ended, summary) = backfill(&world, "done", json!({"delete": {"max": 2}})).await;
    assert_eq!(ended, Ok(()));
    assert_eq!(summary.unwrap().deletions.map(|deleted| deleted.removed), Some(2));
    assert_eq!(world.there.store().keys("arrivals"), ["kept"]);
}
