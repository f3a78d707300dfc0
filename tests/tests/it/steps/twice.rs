//! What may run twice, or by two at once.

use super::*;

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
