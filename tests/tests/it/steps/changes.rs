//! What others do to either side meanwhile.

use super::*;

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
