//! What is refused, and what is proven.

use super::*;

#[tokio::test]
async fn rule_08_a_corrupted_body_is_refused_and_sent_again() {
    let world = World::new().await;
    world.put("film", 1, 20 * MIB);
    world.put("note", 2, 5_000);
    world.there.faults().add(Rule::on("UploadPart").part(2).times(1).fails(Fault::FlipRequest { at: 77 }));
    world.there.faults().add(Rule::on("PutObject").times(1).fails(Fault::FlipRequest { at: 77 }));
    world.here.faults().add(Rule::on("GetObject").key("note").nth(2).fails(Fault::FlipResponse { at: 9 }));
    let work = planned(&world, &world.request(&["film", "note"]), "e").await;
    carry_out(&world, work).await;
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
async fn rule_06_a_kms_etag_is_no_md5() {
    use longhaul_testing::{BucketSettings, Encryption};
    let world = World::new().await;
    let kms = BucketSettings { encryption: Encryption::Kms, ..BucketSettings::default() };
    world.here.store().set_bucket("departures", kms.clone());
    world.there.store().set_bucket("arrivals", kms);
    world.put("note", 1, 5_000);
    world.put("film", 2, 20 * MIB);
    let work = planned(&world, &world.request(&["film", "note"]), "e").await;
    carry_out(&world, work).await;
    for key in ["film", "note"] {
        world.assert_equal(key);
        assert_eq!(world.record(key).await.unwrap().status, Status::Migrated);
        assert_ne!(world.record(key).await.unwrap().proof, Some(Proof::Etag));
    }
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
