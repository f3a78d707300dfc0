//! Each step by itself: done twice, interrupted, out of time, given bad input.

use crate::world::{MIB, World};
use longhaul_aws::clients::Clients;
use longhaul_aws::events::settle_event;
use longhaul_aws::outcomes::{Learnt, Offered, failed, record};
use longhaul_aws::steps::{QueueMessage, complete, copy_objects, copy_parts, intake, plan};
use longhaul_core::contract::{
    Batch, BatchObjects, ItemState, Large, PlanInput, PlanOutput, PlanRequest, RangeResult, RangeState, RangeWork, Work,
};
use longhaul_core::error::{ErrorName, Failure};
use longhaul_core::integrity::PartProof;
use longhaul_core::layout::PartRange;
use longhaul_core::outcome::{Outcome, Proof, SkipReason, Status};
use longhaul_core::request::Request;
use longhaul_testing::{Fault, Rule};
use serde_json::json;
use std::time::Duration;

/// Less than a step keeps for ending.
const NO_TIME: Duration = Duration::from_secs(9);

async fn planned(world: &World, request: &Request, execution: &str) -> Work {
    let request = PlanRequest { request: serde_json::to_value(request).unwrap(), execution: execution.into() };
    match plan(&world.clients, &world.context(), PlanInput::Plan(request)).await.unwrap() {
        PlanOutput::Work(work) => work,
        PlanOutput::Item(item) => panic!("{item:?}"),
    }
}

async fn large(world: &World, key: &str, execution: &str) -> Large {
    match planned(world, &world.request(&[key]), execution).await.work.pop() {
        Some(ItemState::CopyParts(large)) => *large,
        other => panic!("{other:?}"),
    }
}

fn ranges(large: &Large) -> Vec<RangeWork> {
    let work = |range: &PartRange| RangeWork {
        object: large.object.clone(),
        range: *range,
        rounds: 0,
        idle: 0,
        tally: Default::default(),
    };
    large.ranges.iter().map(work).collect()
}

async fn copy_all(world: &World, large: &Large) {
    for range in ranges(large) {
        let state = copy_parts(&world.clients, &world.context(), range).await.unwrap();
        assert!(matches!(state, RangeState::Done(_)), "{state:?}");
    }
}

fn batch(work: &Work) -> Batch {
    match &work.work[0] {
        ItemState::CopyObjects(batch) => batch.clone(),
        other => panic!("{other:?}"),
    }
}

fn sent_parts(world: &World) -> usize {
    world.there.log().count("UploadPart")
}

#[tokio::test]
async fn every_step_of_a_large_object_may_run_twice() {
    let world = World::new().await;
    world.put("film", 1, 40 * MIB);
    let first = large(&world, "film", "e").await;
    let second = large(&world, "film", "e").await;
    assert_eq!(first.object.upload_id, second.object.upload_id, "one upload");
    assert_eq!(world.there.store().open_uploads().len(), 1);

    copy_all(&world, &first).await;
    copy_all(&world, &first).await;
    assert_eq!(sent_parts(&world), 5, "what ListParts shows is not sent again");

    for _ in 0..2 {
        let end = complete(&world.clients, &world.context(), first.clone()).await.unwrap();
        let ItemState::Done(done) = end else { panic!("{end:?}") };
        assert_eq!((done.tally.migrated, done.tally.failed), (1, 0));
    }
    assert_eq!(world.there.log().count("CompleteMultipartUpload"), 1);
    world.assert_equal("film");
    let record = world.record("film").await.unwrap();
    assert_eq!((record.status, record.proof, record.upload), (Status::Migrated, Some(Proof::Checksum), None));
}

#[tokio::test]
async fn a_batch_may_run_twice() {
    let world = World::new().await;
    for (seed, key) in (1..).zip(["a", "b", "c"]) {
        world.put(key, seed, 1000 * seed);
    }
    let work = planned(&world, &world.request(&["a", "b", "c"]), "e").await;
    for _ in 0..2 {
        let end = copy_objects(&world.clients, &world.context(), batch(&work)).await.unwrap();
        let ItemState::Done(done) = end else { panic!("{end:?}") };
        assert_eq!((done.tally.migrated, done.tally.bytes), (3, 6000));
    }
    assert_eq!(world.there.log().count("PutObject"), 3);
    assert_eq!(world.here.log().count("GetObject"), 3);
    assert_eq!(world.here.log().entries().len() + world.there.log().entries().len(), 6, "two requests an object");
}

#[tokio::test]
async fn two_executions_share_one_upload() {
    let world = World::new().await;
    world.put("film", 1, 20 * MIB);
    let (one, other) = (large(&world, "film", "one").await, large(&world, "film", "other").await);
    assert_eq!(one.object.upload_id, other.object.upload_id);
    copy_all(&world, &one).await;
    for large in [one, other] {
        let end = complete(&world.clients, &world.context(), large).await.unwrap();
        let ItemState::Done(done) = end else { panic!("{end:?}") };
        assert_eq!(done.tally.migrated, 1);
    }
    world.assert_equal("film");
    assert!(world.there.store().open_uploads().is_empty());
}

#[tokio::test]
async fn rule_19_planners_at_the_same_time_agree_on_one_upload() {
    let world = World::new().await;
    world.put("film", 1, 20 * MIB);
    let (a, b, c) = futures::join!(large(&world, "film", "a"), large(&world, "film", "b"), large(&world, "film", "c"));
    assert_eq!(a.object.upload_id, b.object.upload_id);
    assert_eq!(b.object.upload_id, c.object.upload_id);
    assert_eq!(world.there.store().open_uploads().len(), 1, "the losers aborted theirs");
}

#[tokio::test]
async fn an_upload_that_the_ledger_does_not_know_is_left_alone() {
    let world = World::new().await;
    world.put("film", 1, 20 * MIB);
    let foreign = longhaul_testing::s3_client(&world.there);
    foreign.create_multipart_upload().bucket("arrivals").key("film").send().await.unwrap();
    let large = large(&world, "film", "e").await;
    assert_eq!(world.there.store().open_uploads().len(), 2);
    copy_all(&world, &large).await;
    complete(&world.clients, &world.context(), large).await.unwrap();
    world.assert_equal("film");
    assert_eq!(world.there.store().open_uploads().len(), 1);
}

#[tokio::test]
async fn the_layout_in_flight_outlives_a_changed_setting() {
    let mut world = World::over_tls().await;
    world.put("film", 1, 40 * MIB);
    let first = large(&world, "film", "one").await;
    let range = RangeWork { range: PartRange { first: 1, last: 2 }, ..ranges(&first).remove(0) };
    copy_parts(&world.clients, &world.context(), range).await.unwrap();

    world.route.options.part_size = Some(12 * MIB);
    let request = Request { route: Some(world.route.clone()), ..world.request(&["film"]) };
    let Some(ItemState::CopyParts(resumed)) = planned(&world, &request, "two").await.work.pop() else { panic!() };
    assert_eq!(resumed.object.layout, first.object.layout);
    assert_eq!(resumed.ranges, [PartRange { first: 3, last: 5 }]);
    copy_all(&world, &resumed).await;
    complete(&world.clients, &world.context(), *resumed).await.unwrap();
    world.assert_equal("film");
    assert_eq!(sent_parts(&world), 5);
}

#[tokio::test]
async fn rule_07_the_sources_layout_is_mirrored_and_both_etags_are_equal() {
    let world = World::new().await;
    let parts = [12, 12, 3].map(|mib| World::bytes(mib, mib * MIB).into()).to_vec();
    world.here.store().put_parts("departures", "film", parts);
    let large = large(&world, "film", "e").await;
    assert_eq!((large.object.layout.part_size(), large.object.layout.count()), (12 * MIB, 3));
    copy_all(&world, &large).await;
    complete(&world.clients, &world.context(), large).await.unwrap();
    let (here, there) =
        (world.here.store().object("departures", "film"), world.there.store().object("arrivals", "film"));
    assert_eq!(here.unwrap().etag, there.unwrap().etag);
    assert_eq!(world.record("film").await.unwrap().proof, Some(Proof::Checksum));
}

#[tokio::test]
async fn large_parts_are_streamed_and_still_proven() {
    let world = World::new().await;
    let parts = [72, 70].map(|mib| World::bytes(mib, mib * MIB).into()).to_vec();
    world.here.store().put_parts("departures", "film", parts);
    let large = large(&world, "film", "e").await;
    assert_eq!(large.object.layout.part_size(), 72 * MIB);
    let flip = Fault::FlipRequest { at: 5 * MIB };
    world.there.faults().add(Rule::on("UploadPart").part(1).times(1).fails(flip));
    world.here.faults().add(Rule::on("GetObject").nth(3).fails(Fault::CutBody { after: MIB }));
    copy_all(&world, &large).await;
    complete(&world.clients, &world.context(), large).await.unwrap();
    world.assert_equal("film");
    assert_eq!(world.there.faults().counts().get("flipRequest"), Some(&1));
}

#[tokio::test]
async fn rule_18_out_of_time_is_no_error_and_what_remains_is_returned() {
    let world = World::new().await;
    world.put("film", 1, 80 * MIB);
    let large = large(&world, "film", "e").await;
    let whole = RangeWork { range: PartRange { first: 1, last: 10 }, ..ranges(&large).remove(0) };
    // No time for work: the first part is begun all the same, nothing after it.
    let state = copy_parts(&world.clients, &world.context_for(NO_TIME), whole.clone()).await.unwrap();
    let RangeState::CopyParts(next) = state else { panic!("{state:?}") };
    assert_eq!((next.rounds, next.idle, next.tally.parts), (1, 0, 1));
    assert_eq!(next.range, PartRange { first: 2, last: 10 });
    let state = copy_parts(&world.clients, &world.context(), *next).await.unwrap();
    let RangeState::Done(done) = state else { panic!("{state:?}") };
    assert_eq!(done.tally.parts, 10);

    for key in ["a", "b"] {
        world.put(key, 1, 10);
    }
    let work = planned(&world, &world.request(&["a", "b"]), "e").await;
    let state = copy_objects(&world.clients, &world.context_for(NO_TIME), batch(&work)).await.unwrap();
    let ItemState::CopyObjects(next) = state else { panic!("{state:?}") };
    assert!(matches!(&next.objects, BatchObjects::Inline(objects) if objects.len() == 2));
    let error = copy_objects(&world.clients, &world.context_for(NO_TIME), next).await.unwrap_err();
    assert_eq!(error.name, ErrorName::TooSlow);
}

#[tokio::test]
async fn rule_04_a_source_without_versions_that_changes_is_planned_once_more() {
    let world = World::new().await;
    world.put("film", 1, 20 * MIB);
    let mut large = large(&world, "film", "e").await;
    copy_parts(&world.clients, &world.context(), ranges(&large).remove(0)).await.unwrap();
    world.put("film", 2, 30 * MIB);
    let state = complete(&world.clients, &world.context(), large.clone()).await.unwrap();
    let ItemState::PlanAgain(again) = state else { panic!("{state:?}") };
    assert!(world.there.store().open_uploads().is_empty(), "parts of the old version are worthless");
    let PlanOutput::Item(item) = plan(&world.clients, &world.context(), PlanInput::PlanAgain(*again)).await.unwrap()
    else {
        panic!()
    };
    let ItemState::CopyParts(next) = *item else { panic!("{item:?}") };
    large = *next;
    copy_all(&world, &large).await;
    complete(&world.clients, &world.context(), large.clone()).await.unwrap();
    world.assert_equal("film");

    // A second change in the same execution is one too many.
    world.put("film", 3, 30 * MIB);
    let mut third = self::large(&world, "film", "f").await;
    third.object.replans = 1;
    world.put("film", 4, 30 * MIB);
    let state = copy_parts(&world.clients, &world.context(), ranges(&third).remove(0)).await;
    assert_eq!(state.unwrap_err().name, ErrorName::SourceChanged);
    third.results = vec![serde_json::from_value(json!({"error": {"Error": "SourceChanged", "Cause": ""}})).unwrap()];
    let state = complete(&world.clients, &world.context(), third).await.unwrap();
    assert!(matches!(state, ItemState::Settle(_)), "{state:?}");
}

#[tokio::test]
async fn rule_04_a_superseded_version_is_given_up() {
    let world = World::new().await;
    world.here.store().versioned_bucket("departures");
    world.put("film", 1, 20 * MIB);
    let mut large = large(&world, "film", "e").await;
    assert!(large.object.source.version_id.is_some());
    // An event offered it, so the newer version has an event of its own.
    large.object.offer.sequencer = Some(longhaul_core::request::Sequencer("01".into()));
    world.put("film", 2, 20 * MIB);
    let error = copy_parts(&world.clients, &world.context(), ranges(&large).remove(0)).await.unwrap_err();
    assert_eq!(error.name, ErrorName::SourceChanged);
    large.results = vec![serde_json::from_value(json!({"error": {"Error": "SourceChanged", "Cause": "x"}})).unwrap()];
    let state = complete(&world.clients, &world.context(), large).await.unwrap();
    let ItemState::Done(done) = state else { panic!("{state:?}") };
    assert_eq!(done.tally.skipped, 1);
    assert_eq!(world.record("film").await.unwrap().skipped, Some(SkipReason::Superseded));
    assert!(world.there.store().open_uploads().is_empty());
    assert_eq!(world.there.store().get("arrivals", "film"), None);
}

#[tokio::test]
async fn a_lost_reply_to_complete_is_no_second_object_and_no_failure() {
    let world = World::new().await;
    world.put("film", 1, 20 * MIB);
    let large = large(&world, "film", "e").await;
    copy_all(&world, &large).await;
    world.there.faults().add(Rule::on("CompleteMultipartUpload").times(1).fails(Fault::LoseReply));
    let state = complete(&world.clients, &world.context(), large).await.unwrap();
    let ItemState::Done(done) = state else { panic!("{state:?}") };
    assert_eq!((done.tally.migrated, done.tally.failed), (1, 0));
    world.assert_equal("film");
}

#[tokio::test]
async fn an_upload_aborted_behind_our_back_is_begun_anew() {
    let world = World::new().await;
    world.put("film", 1, 20 * MIB);
    let large = large(&world, "film", "e").await;
    let other = longhaul_testing::s3_client(&world.there);
    let id = &large.object.upload_id;
    other.abort_multipart_upload().bucket("arrivals").key("film").upload_id(id).send().await.unwrap();
    let error = copy_parts(&world.clients, &world.context(), ranges(&large).remove(0)).await.unwrap_err();
    assert_eq!(error.name, ErrorName::UploadGone);
    let state = complete(&world.clients, &world.context(), large).await.unwrap();
    let ItemState::PlanAgain(again) = state else { panic!("{state:?}") };
    assert_eq!(again.replans, 1);
}

#[tokio::test]
async fn rule_08_a_corrupted_body_is_refused_and_sent_again() {
    let world = World::new().await;
    world.put("film", 1, 20 * MIB);
    world.put("note", 2, 5_000);
    world.there.faults().add(Rule::on("UploadPart").part(2).times(1).fails(Fault::FlipRequest { at: 77 }));
    world.there.faults().add(Rule::on("PutObject").times(1).fails(Fault::FlipRequest { at: 77 }));
    world.here.faults().add(Rule::on("GetObject").key("note").nth(2).fails(Fault::FlipResponse { at: 9 }));
    let work = planned(&world, &world.request(&["film", "note"]), "e").await;
    for item in work.work {
        match item {
            ItemState::CopyParts(large) => {
                copy_all(&world, &large).await;
                complete(&world.clients, &world.context(), *large).await.unwrap();
            }
            ItemState::CopyObjects(batch) => {
                let state = copy_objects(&world.clients, &world.context(), batch).await.unwrap();
                assert!(matches!(state, ItemState::Done(_)), "{state:?}");
            }
            other => panic!("{other:?}"),
        }
    }
    world.assert_equal("film");
    world.assert_equal("note");
    assert_eq!(world.there.faults().total() + world.here.faults().total(), 3);
}

#[tokio::test]
async fn rule_09_a_wrong_part_is_found_before_the_object_is_visible() {
    let world = World::new().await;
    let parts = [12, 12].map(|mib| World::bytes(mib, mib * MIB).into()).to_vec();
    world.here.store().put_parts("departures", "film", parts);
    let large = large(&world, "film", "e").await;
    copy_all(&world, &large).await;
    assert!(world.there.store().corrupt_part(&large.object.upload_id, 2, 100));
    let state = complete(&world.clients, &world.context(), large).await.unwrap();
    let ItemState::PlanAgain(again) = state else { panic!("{state:?}") };
    assert_eq!(again.replans, 1);
    assert_eq!(world.there.store().get("arrivals", "film"), None);
    assert!(world.there.store().open_uploads().is_empty());
}

#[tokio::test]
async fn rule_03_a_refused_condition_repeats_both_looks() {
    let world = World::new().await;
    world.put("note", 1, 5_000);
    // Somebody writes just before our first PUT, and the source changes at the same moment.
    let newer = World::bytes(2, 6_000);
    let here = world.here.clone();
    world.there.faults().before(Rule::on("PutObject").times(1), move |store, _| {
        store.put("arrivals", "note", "somebody else's");
        here.store().put("departures", "note", newer.clone());
    });
    let work = planned(&world, &world.request(&["note"]), "e").await;
    let state = copy_objects(&world.clients, &world.context(), batch(&work)).await.unwrap();
    let ItemState::Done(done) = state else { panic!("{state:?}") };
    assert_eq!(done.tally.migrated, 1);
    world.assert_equal("note");
    assert_eq!(world.there.store().get("arrivals", "note").unwrap().len(), 6_000);
}

#[tokio::test]
async fn rule_05_never_means_never() {
    let mut world = World::new().await;
    world.route.options.overwrite = longhaul_core::config::Overwrite::Never;
    for (key, size) in [("note", 5_000), ("film", 20 * MIB)] {
        world.put(key, 1, size);
        world.there.store().put("arrivals", key, "theirs");
    }
    let request = Request { route: Some(world.route.clone()), ..world.request(&["note", "film"]) };
    let work = planned(&world, &request, "e").await;
    assert_eq!(work.tally.skipped, 1, "no terabyte is sent to be refused");
    let state = copy_objects(&world.clients, &world.context(), batch(&work)).await.unwrap();
    let ItemState::Done(done) = state else { panic!("{state:?}") };
    assert_eq!(done.tally.skipped, 1);
    for key in ["note", "film"] {
        assert_eq!(world.there.store().get("arrivals", key).unwrap(), "theirs");
        assert_eq!(world.record(key).await.unwrap().skipped, Some(SkipReason::Exists));
    }
    assert_eq!(sent_parts(&world), 0);
}

#[tokio::test]
async fn rule_06_a_kms_etag_is_no_md5() {
    use longhaul_testing::{BucketSettings, Encryption};
    let world = World::new().await;
    let kms = BucketSettings { encryption: Encryption::Kms, ..BucketSettings::default() };
    world.here.store().set_bucket("departures", kms.clone());
    world.there.store().set_bucket("arrivals", kms);
    world.put("note", 1, 5_000);
    world.put("film", 2, 20 * MIB);
    let work = planned(&world, &world.request(&["film", "note"]), "e").await;
    for item in work.work {
        match item {
            ItemState::CopyParts(large) => {
                copy_all(&world, &large).await;
                complete(&world.clients, &world.context(), *large).await.unwrap();
            }
            ItemState::CopyObjects(batch) => {
                copy_objects(&world.clients, &world.context(), batch).await.unwrap();
            }
            other => panic!("{other:?}"),
        }
    }
    for key in ["film", "note"] {
        world.assert_equal(key);
        assert_eq!(world.record(key).await.unwrap().status, Status::Migrated);
        assert_ne!(world.record(key).await.unwrap().proof, Some(Proof::Etag));
    }
}

#[tokio::test]
async fn intake_starts_each_batch_once_and_reports_only_what_must_come_again() {
    let world = World::new().await;
    let event = |key: &str| {
        json!({"Records": [{"eventVersion": "2.1", "eventName": "ObjectCreated:Put",
            "s3": {"bucket": {"name": "departures"}, "object": {"key": key, "size": 1}}}]})
        .to_string()
    };
    let messages = || {
        vec![
            QueueMessage { id: "1".into(), body: event("a") },
            QueueMessage { id: "2".into(), body: "{".into() },
            QueueMessage { id: "3".into(), body: json!({"Event": "s3:TestEvent"}).to_string() },
            QueueMessage {
                id: "4".into(),
                body: json!({"objects": [{"bucket": "departures", "key": "b"}]}).to_string(),
            },
        ]
    };
    for _ in 0..2 {
        let report = intake(&world.clients, &world.context(), messages()).await.unwrap();
        assert_eq!((report.executions, report.unreadable, report.ignored, report.again.len()), (2, 1, 1, 0));
    }
    let names: Vec<String> = world.sent.started.lock().unwrap().keys().cloned().collect();
    assert_eq!(names.len(), 2, "the same names again");
    assert!(world.sent.unreadable.lock().unwrap()[0].1.contains("no JSON"));

    world.sent.refused.lock().unwrap().push(names[0].clone());
    let report = intake(&world.clients, &world.context(), messages()).await.unwrap();
    assert_eq!(report.again.len(), 1, "only the message of the execution that did not start");
}

#[tokio::test]
async fn rule_11_an_execution_that_ended_badly_is_settled() {
    let world = World::new().await;
    world.put("done", 1, 10);
    world.put("film", 2, 20 * MIB);
    world.put("later", 3, 10);
    let request = world.request(&["done", "film", "later"]);
    let arn = "arn:aws:states:us-east-1:1:execution:m:e";
    let work = planned(&world, &request, arn).await;
    let ItemState::CopyObjects(mut batch) = work.work.last().unwrap().clone() else { panic!() };
    if let BatchObjects::Inline(objects) = &mut batch.objects {
        objects.retain(|object| object.key == "done");
    }
    copy_objects(&world.clients, &world.context(), batch).await.unwrap();

    let event = json!({"detail-type": "Step Functions Execution Status Change", "source": "aws.states", "detail": {
        "executionArn": arn, "status": "ABORTED", "startDate": 1,
        "input": serde_json::to_string(&request).unwrap()}});
    for _ in 0..2 {
        settle_event(&world.clients, &world.context(), event.clone()).await.unwrap();
    }
    let failed = world.sent.failed.lock().unwrap().clone();
    assert_eq!(failed.len(), 2, "each object without an outcome, once");
    for message in &failed {
        let again = Request::from_value(&serde_json::from_str(message).unwrap()).unwrap();
        assert_eq!(again.failure.unwrap().name, "ExecutionABORTED");
    }
    let record = world.record("film").await.unwrap();
    assert_eq!(record.status, Status::Failed);
    assert!(record.upload.is_some(), "what was copied can be resumed");
    assert!(matches!(world.record("done").await.unwrap().outcome_of(arn), Some(Outcome::Migrated { .. })));
}

#[tokio::test]
async fn rule_06_a_kms_destination_takes_what_a_plain_source_has_in_parts() {
    use longhaul_testing::{BucketSettings, Encryption};
    let world = World::new().await;
    world.there.store().set_bucket("arrivals", BucketSettings { encryption: Encryption::Kms, ..Default::default() });
    let parts = [12, 12].map(|mib| World::bytes(mib, mib * MIB).into()).to_vec();
    world.here.store().put_parts("departures", "film", parts);
    let large = large(&world, "film", "e").await;
    copy_all(&world, &large).await;
    let state = complete(&world.clients, &world.context(), large).await.unwrap();
    assert!(matches!(state, ItemState::Done(_)), "{state:?}");
    world.assert_equal("film");
    assert_eq!(sent_parts(&world), 3, "of 8 MiB: the source's layout cannot make ETags equal that are no MD5s");
}

#[tokio::test]
async fn rule_08_over_tls_every_part_carries_its_checksum_and_complete_that_of_the_whole() {
    use longhaul_testing::{BucketSettings, Encryption};
    for encryption in [Encryption::None, Encryption::Kms] {
        let world = World::over_tls().await;
        world.there.store().set_bucket("arrivals", BucketSettings { encryption, ..Default::default() });
        world.put("film", 1, 20 * MIB + 5);
        let large = large(&world, "film", "e").await;
        assert_eq!(large.object.part_proof(), PartProof::Trailer);
        copy_all(&world, &large).await;
        let held = world.there.store().open_uploads();
        assert_eq!(held.len(), 1);
        complete(&world.clients, &world.context(), large).await.unwrap();
        world.assert_equal("film");
        let record = world.record("film").await.unwrap();
        // The source told a checksum of the whole, and the destination computed the same from the parts.
        assert_eq!((record.status, record.proof), (Status::Migrated, Some(Proof::Checksum)));
        assert!(record.checksum.unwrap().starts_with("CRC64NVME:"));
    }
}

#[tokio::test]
async fn rule_08_parts_that_nobody_lived_to_compare_are_read_again_and_only_wrong_ones_sent_again() {
    let world = World::new().await;
    world.put("film", 1, 40 * MIB);
    let first = large(&world, "film", "one").await;
    assert!(first.object.leaves_unproven());
    copy_all(&world, &first).await;
    assert_eq!(sent_parts(&world), 5);
    // A function that died between an upload and its comparison left this behind.
    let client = longhaul_testing::s3_client(&world.there);
    let wrong = World::bytes(99, 8 * MIB);
    let upload = client.upload_part().bucket("arrivals").key("film").upload_id(&first.object.upload_id);
    upload.part_number(2).body(wrong.into()).send().await.unwrap();

    let again = large(&world, "film", "two").await;
    assert_eq!(again.object.upload_id, first.object.upload_id);
    let before = sent_parts(&world);
    copy_all(&world, &again).await;
    assert_eq!(sent_parts(&world) - before, 1, "only the wrong one");
    complete(&world.clients, &world.context(), again).await.unwrap();
    world.assert_equal("film");
}

#[tokio::test]
async fn rule_08_a_part_that_differed_is_never_completed() {
    let mut world = World::new().await;
    world.put("film", 1, 150 * MIB);
    world.route.options.part_size = Some(80 * MIB);
    let request = Request { route: Some(world.route.clone()), ..world.request(&["film"]) };
    let Some(ItemState::CopyParts(large)) = planned(&world, &request, "e").await.work.pop() else { panic!() };
    // A streamed part travels without an MD5, so the store keeps the wrong one, and says so by its ETag.
    world.there.faults().add(Rule::on("UploadPart").part(2).times(3).fails(Fault::FlipRequest { at: 9 }));
    let mut results = Vec::new();
    for range in ranges(&large) {
        let copied = copy_parts(&world.clients, &world.context(), range).await;
        results.push(RangeResult { error: copied.err().map(|error| error.caught()), ..RangeResult::default() });
    }
    let names: Vec<_> = results.iter().flat_map(|result| &result.error).map(|error| error.error.as_str()).collect();
    assert_eq!(names, ["ChecksumMismatch"]);
    assert_eq!(world.there.store().parts(&large.object.upload_id).len(), 2, "all parts stand there, one of them wrong");
    let state = complete(&world.clients, &world.context(), Large { results, ..*large }).await.unwrap();
    assert!(matches!(state, ItemState::PlanAgain(_)), "one fresh upload: {state:?}");
    assert!(world.there.store().open_uploads().is_empty());
    assert_eq!(world.there.store().get("arrivals", "film"), None);
}

#[tokio::test]
async fn without_an_event_a_newer_version_is_planned_once_more() {
    let world = World::new().await;
    world.here.store().versioned_bucket("departures");
    world.put("film", 1, 20 * MIB);
    let mut large = large(&world, "film", "e").await;
    world.put("film", 2, 20 * MIB);
    large.results = vec![serde_json::from_value(json!({"error": {"Error": "SourceChanged", "Cause": "x"}})).unwrap()];
    let state = complete(&world.clients, &world.context(), large).await.unwrap();
    assert!(matches!(state, ItemState::PlanAgain(_)), "{state:?}");
}

#[tokio::test]
async fn rule_19_an_upload_that_nobody_goes_on_with_is_aborted() {
    let world = World::new().await;
    world.put("film", 1, 20 * MIB);
    large(&world, "film", "dead").await;
    assert_eq!(world.there.store().open_uploads().len(), 1);
    // It is small by now.
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    world.put("film", 2, 500);
    let work = planned(&world, &world.request(&["film"]), "e").await;
    copy_objects(&world.clients, &world.context(), batch(&work)).await.unwrap();
    world.assert_equal("film");
    assert!(world.there.store().open_uploads().is_empty());
    let record = world.record("film").await.unwrap();
    assert_eq!((record.status, record.execution.as_str()), (Status::Migrated, "e"));
}

#[tokio::test]
async fn a_failure_that_is_recorded_late_undoes_nothing() {
    let world = World::new().await;
    world.put("film", 1, 20 * MIB);
    let first = large(&world, "film", "one").await;
    let looked = world.record("film").await;
    // Its message was sent again, and another execution has brought the object, before the failure is written.
    let second = large(&world, "film", "two").await;
    copy_all(&world, &second).await;
    complete(&world.clients, &world.context(), second).await.unwrap();
    let offered = Offered { offer: &first.object.offer, route: Some(&world.route), execution: "one", run: None };
    let outcome = failed(Failure::new("ExecutionABORTED", "stopped"));
    record(&world.clients, &world.context(), offered, &outcome, Learnt::default(), Some(looked)).await.unwrap();
    let kept = world.record("film").await.unwrap();
    assert_eq!((kept.status, kept.execution.as_str()), (Status::Migrated, "two"));
    world.assert_equal("film");
}

#[tokio::test]
async fn an_object_has_no_more_ranges_than_functions_may_run() {
    let world = World::new().await;
    world.here.store().put_generated("departures", "film", 2_000 * MIB, None);
    let request =
        PlanRequest { request: serde_json::to_value(world.request(&["film"])).unwrap(), execution: "e".into() };
    for (copy_functions, most) in [(None, 40), (Some(3), 3)] {
        let clients = Clients { copy_functions, ..(*world.clients).clone() };
        let planned = plan(&clients, &world.context(), PlanInput::Plan(request.clone())).await.unwrap();
        let PlanOutput::Work(work) = planned else { panic!() };
        let ItemState::CopyParts(large) = &work.work[0] else { panic!("{work:?}") };
        assert!(large.ranges.len() <= most && large.ranges.len() > most / 2, "{} of {most}", large.ranges.len());
    }
}
