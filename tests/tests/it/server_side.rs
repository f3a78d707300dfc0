//! Copies that the store makes by itself, where both buckets lie in one store.

use crate::world::{MIB, Wire, World};
use aws_sdk_s3::config::{Builder, RequestChecksumCalculation};
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart};
use longhaul::in_process::Ended;
use longhaul_aws::steps::{complete, copy_parts, plan};
use longhaul_core::config::{Overwrite, ServerSideCopy};
use longhaul_core::contract::{ItemState, PlanInput, PlanOutput, PlanRequest, RangeState, RangeWork};
use longhaul_core::error::ErrorName;
use longhaul_core::outcome::{Proof, SkipReason, Status};
use longhaul_core::request::Request;
use longhaul_core::tally::Tally;
use longhaul_testing::{Attributes, BucketSettings, Encryption, Fault, Rule, s3_client};
use std::collections::BTreeMap;

/// What moves bytes.
const MOVES: [&str; 3] = ["GetObject", "PutObject", "UploadPart"];

/// What an object carries besides its bytes.
type Carried = (Attributes, BTreeMap<String, String>);

fn request(world: &World, keys: &[&str]) -> Request {
    Request { route: Some(world.route.clone()), ..world.request(keys) }
}

async fn migrated(world: &World, execution: &str, keys: &[&str]) -> (Ended, Tally) {
    let (ended, counted) = world.migrate_counted(execution, &request(world, keys)).await;
    assert!(ended.result.is_ok(), "{ended:?}");
    (ended, counted)
}

/// Operations that arrived, and how often.
fn asked(world: &World) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for entry in world.here.log().entries() {
        *counts.entry(entry.call.operation).or_default() += 1;
    }
    counts
}

fn moves(world: &World) -> usize {
    MOVES.iter().map(|operation| world.here.log().count(operation)).sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_byte_passes_through_and_a_second_run_copies_nothing() {
    for wire in [Wire::Http, Wire::Tls] {
        let world = World::in_one_store(wire).await;
        let sizes = [("note", 5_000), ("zero", 0), ("edge", 8 * MIB), ("film", 40 * MIB + 7)];
        for (seed, (key, size)) in (1..).zip(sizes) {
            world.put(key, seed, size);
        }
        let keys = sizes.map(|(key, _)| key);
        let (ended, counted) = migrated(&world, "one", &keys).await;
        assert_eq!((ended.tally.migrated, ended.tally.failed), (4, 0), "{ended:?}");
        for key in keys {
            world.assert_equal(key);
            let record = world.record(key).await.unwrap();
            assert_eq!((record.status, record.proof), (Status::Migrated, Some(Proof::Checksum)), "{key}");
        }
        assert_eq!((counted.server_side, counted.parts), (9, 6), "three objects and six parts");
        assert_eq!((counted.bytes_up, counted.bytes_down, counted.retries), (0, 0, 0));
        let asked = asked(&world);
        assert_eq!((asked["CopyObject"], asked["UploadPartCopy"]), (3, 6));
        assert_eq!((moves(&world), asked.get("GetObjectTagging")), (0, None), "{asked:?}");

        world.here.log().reset();
        let (again, _) = migrated(&world, "two", &keys).await;
        assert_eq!((again.tally.unchanged, again.tally.migrated), (4, 0));
        let others = world.here.log().count_if(|entry| entry.call.operation != "HeadObject");
        assert_eq!(others, 0, "looks alone");
    }
}

#[tokio::test]
async fn the_state_counts_what_the_store_copied() {
    let world = World::in_one_store(Wire::Http).await;
    world.put("film", 1, 40 * MIB);
    let input =
        PlanRequest { request: serde_json::to_value(request(&world, &["film"])).unwrap(), execution: "e".into() };
    let planned = plan(&world.clients, &world.context(), PlanInput::Plan(input)).await.unwrap();
    let PlanOutput::Work(mut work) = planned else { panic!("{planned:?}") };
    let Some(ItemState::CopyParts(large)) = work.work.pop() else { panic!("{work:?}") };
    let mut sum = Tally::default();
    for range in &large.ranges {
        let range =
            RangeWork { object: large.object.clone(), range: *range, rounds: 0, idle: 0, tally: Tally::default() };
        let state = copy_parts(&world.clients, &world.context(), range).await.unwrap();
        let RangeState::Done(done) = state else { panic!("{state:?}") };
        sum += done.tally;
    }
    assert_eq!(sum, Tally { parts: 5, server_side: 5, ..Tally::default() });
    complete(&world.clients, &world.context(), *large).await.unwrap();
    world.assert_equal("film");
}

#[tokio::test]
async fn keys_are_opaque() {
    let world = World::in_one_store(Wire::Http).await;
    let mut keys: Vec<String> = [
        "a//b",
        "/leading",
        "trailing/",
        "../up",
        "a b+c%20d",
        "ünd 船 🚢",
        "{\"json\": 1}",
        "&=?#'<x>",
        ".",
        "k?versionId=x",
    ]
    .map(str::to_owned)
    .to_vec();
    keys.push("k".repeat(1024));
    for (seed, key) in (1..).zip(&keys) {
        world.put(key, seed, seed * 1000);
    }
    world.put("large a+b?/é", 99, 9 * MIB);
    keys.push("large a+b?/é".into());
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    let (ended, counted) = migrated(&world, "e", &keys).await;
    assert_eq!(ended.tally.migrated, keys.len() as u64, "{ended:?}");
    assert_eq!((counted.server_side, moves(&world)), (keys.len() as u64 + 1, 0));
    keys.iter().for_each(|key| world.assert_equal(key));
}

#[tokio::test]
async fn metadata_and_tags_are_those_of_a_streamed_copy() {
    let mut seen: BTreeMap<&str, Vec<Carried>> = BTreeMap::new();
    for copying in [ServerSideCopy::Off, ServerSideCopy::Auto] {
        let mut world = World::in_one_store(Wire::Http).await;
        world.route.options.server_side_copy = copying;
        world.route.options.storage_class = Some("STANDARD_IA".into());
        let client = s3_client(&world.here);
        for (key, size) in [("note", 5_000), ("film", 20 * MIB)] {
            let put = client.put_object().bucket("departures").key(key).content_type("text/x-long");
            let put = put.cache_control("max-age=7").content_disposition("attachment").content_language("de");
            let put = put.content_encoding("gzip").metadata("colour", "blue").tagging("a=1&b%20c=x%2By");
            let put = put.website_redirect_location("/there").storage_class("ONEZONE_IA".into());
            put.body(World::bytes(9, size).into()).send().await.unwrap();
        }
        world.put("bare", 3, 100);
        let (_, counted) = migrated(&world, "e", &["note", "film", "bare"]).await;
        assert_eq!(counted.server_side, if copying == ServerSideCopy::Auto { 5 } else { 0 });
        for key in ["note", "film", "bare"] {
            world.assert_equal(key);
            let object = world.there.store().object("arrivals", key).unwrap();
            seen.entry(key).or_default().push((object.attributes.clone(), object.tags.clone()));
        }
    }
    for (key, both) in &seen {
        assert_eq!(both[0], both[1], "{key}");
    }
    let (attributes, tags) = &seen["note"][1];
    assert_eq!((attributes.metadata["colour"].as_str(), tags["b c"].as_str()), ("blue", "x+y"));
    assert_eq!(attributes.website_redirect_location.as_deref(), Some("/there"));
    assert_eq!(attributes.storage_class.as_deref(), Some("STANDARD_IA"));
}

#[tokio::test]
async fn a_copy_of_an_object_in_parts_is_proven_by_its_checksum_or_by_the_store() {
    let world = World::in_one_store(Wire::Http).await;
    let parts = || [3, 2].map(|mib| World::bytes(mib, mib * MIB).into()).to_vec();
    world.here.store().put_parts("departures", "in parts", parts());
    // Under KMS no two ETags are equal; an upload without checksums of the whole leaves nothing else to compare.
    let kms = BucketSettings { encryption: Encryption::Kms, ..BucketSettings::default() };
    world.here.store().set_bucket("arrivals", kms);
    let client = s3_client(&world.here);
    let put = client.create_multipart_upload().bucket("departures").key("composite");
    let put = put.checksum_algorithm("SHA1".into()).send().await.unwrap();
    let (id, body) = (put.upload_id.unwrap(), World::bytes(7, MIB));
    let part = client.upload_part().bucket("departures").key("composite").upload_id(&id).part_number(1);
    let summing = Builder::new().request_checksum_calculation(RequestChecksumCalculation::WhenSupported);
    let part = part.checksum_algorithm("SHA1".into()).body(body.into()).customize().config_override(summing);
    let part = part.send().await.unwrap();
    let part = CompletedPart::builder().part_number(1).set_e_tag(part.e_tag).set_checksum_sha1(part.checksum_sha1);
    let list = CompletedMultipartUpload::builder().parts(part.build()).build();
    let done = client.complete_multipart_upload().bucket("departures").key("composite").upload_id(&id);
    done.multipart_upload(list).send().await.unwrap();
    world.here.log().reset();

    let (_, counted) = migrated(&world, "e", &["in parts", "composite"]).await;
    assert_eq!((counted.server_side, moves(&world)), (2, 0));
    let proof = async |key| world.record(key).await.unwrap().proof;
    assert_eq!(proof("in parts").await, Some(Proof::Checksum));
    assert_eq!(proof("composite").await, Some(Proof::Store));
    for key in ["in parts", "composite"] {
        world.assert_equal(key);
    }
    // What the ledger pairs is left alone.
    let (again, _) = migrated(&world, "f", &["in parts", "composite"]).await;
    assert_eq!(again.tally.unchanged, 2);
}

#[tokio::test]
async fn rule_04_parts_are_copied_from_the_pinned_version() {
    let world = World::in_one_store(Wire::Http).await;
    world.here.store().versioned_bucket("departures");
    world.put("film", 1, 20 * MIB);
    let newer = World::bytes(2, 24 * MIB);
    // The version that is current while the last part is copied is another one: what was planned is not mixed with it.
    world.here.faults().before(Rule::on("UploadPartCopy").part(3), move |store, _| {
        store.put("departures", "film", newer.clone());
    });
    let (ended, counted) = migrated(&world, "e", &["film"]).await;
    assert_eq!(ended.tally.migrated, 1, "{ended:?}");
    assert_eq!((counted.server_side, moves(&world)), (6, 0), "three parts of either version");
    world.assert_equal("film");
    assert!(world.here.store().open_uploads().is_empty());
}

#[tokio::test]
async fn a_source_that_changes_under_its_parts_is_planned_once_more() {
    let world = World::in_one_store(Wire::Http).await;
    world.put("film", 1, 20 * MIB);
    let newer = World::bytes(2, 24 * MIB);
    world.here.faults().before(Rule::on("UploadPartCopy").nth(2), move |store, _| {
        store.put("departures", "film", newer.clone());
    });
    let (ended, _) = migrated(&world, "e", &["film"]).await;
    assert_eq!((ended.tally.migrated, moves(&world)), (1, 0), "{ended:?}");
    world.assert_equal("film");
}

#[tokio::test]
async fn a_small_source_that_changes_between_look_and_copy_is_looked_at_again() {
    let world = World::in_one_store(Wire::Http).await;
    world.put("note", 1, 5_000);
    world.put("gone", 2, 5_000);
    let newer = World::bytes(3, 6_000);
    world.here.faults().before(Rule::on("CopyObject").key("note"), move |store, _| {
        store.put("departures", "note", newer.clone());
    });
    world.here.faults().before(Rule::on("CopyObject").key("gone"), |store, _| store.delete("departures", "gone"));
    let (ended, _) = migrated(&world, "e", &["note", "gone"]).await;
    assert_eq!((ended.tally.migrated, ended.tally.skipped), (1, 1), "{ended:?}");
    world.assert_equal("note");
    assert_eq!(world.here.store().get("arrivals", "note").unwrap().len(), 6_000);
    assert_eq!(world.record("gone").await.unwrap().skipped, Some(SkipReason::SourceGone));
    assert_eq!((world.here.log().count("CopyObject"), moves(&world)), (3, 0));
}

#[tokio::test]
async fn a_source_that_never_holds_still_fails_by_its_name() {
    let world = World::in_one_store(Wire::Http).await;
    world.put("note", 1, 5_000);
    world.here.faults().before(Rule::on("CopyObject").times(0), |store, _| {
        let length = store.get("departures", "note").unwrap().len() as u64;
        store.put("departures", "note", World::bytes(1, length + 1));
    });
    let ended = world.migrate("e", &request(&world, &["note"])).await;
    assert_eq!((ended.tally.failed, ended.tally.migrated), (1, 0));
    assert_eq!(world.here.log().count("CopyObject"), 3);
    assert_eq!(world.record("note").await.unwrap().failure.unwrap().name, ErrorName::SourceChanged.as_str());
}

#[tokio::test]
async fn rule_03_a_refused_destination_repeats_both_looks() {
    let mut world = World::in_one_store(Wire::Http).await;
    world.put("note", 1, 5_000);
    let theirs = |store: &longhaul_testing::Store, _: &longhaul_testing::Call| {
        store.put("arrivals", "note", "somebody else's");
    };
    world.here.faults().before(Rule::on("CopyObject"), theirs);
    let (ended, _) = migrated(&world, "e", &["note"]).await;
    assert_eq!((ended.tally.migrated, moves(&world)), (1, 0), "{ended:?}");
    world.assert_equal("note");
    let copies: Vec<_> = world.here.log().entries();
    let copies: Vec<_> = copies.iter().map(|entry| &entry.call).filter(|call| call.operation == "CopyObject").collect();
    assert_eq!(copies.len(), 2);
    assert_eq!(copies[0].if_none_match.as_deref(), Some("*"));
    assert!(copies[1].if_match.is_some());

    // Where nothing may be overwritten, theirs stays.
    world.route.options.overwrite = Overwrite::Never;
    world.put("other", 2, 5_000);
    world.here.faults().before(Rule::on("CopyObject"), |store, _| {
        store.put("arrivals", "other", "theirs");
    });
    let (ended, _) = migrated(&world, "f", &["other"]).await;
    assert_eq!((ended.tally.skipped, ended.tally.migrated), (1, 0), "{ended:?}");
    assert_eq!(world.here.store().get("arrivals", "other").unwrap(), "theirs");

    // One that never holds still ends by its own name.
    world.route.options.overwrite = Overwrite::Differs;
    world.put("third", 3, 5_000);
    world.here.faults().before(Rule::on("CopyObject").times(0), |store, _| {
        let length = store.get("arrivals", "third").map_or(1, |bytes| bytes.len() as u64);
        store.put("arrivals", "third", World::bytes(1, length + 1));
    });
    let ended = world.migrate("g", &request(&world, &["third"])).await;
    assert_eq!(ended.tally.failed, 1);
    assert_eq!(world.record("third").await.unwrap().failure.unwrap().name, ErrorName::DestinationChanged.as_str());
}

#[tokio::test]
async fn what_the_store_refuses_is_streamed_and_it_is_asked_once() {
    for (status, code) in [(501, "NotImplemented"), (403, "AccessDenied"), (405, "MethodNotAllowed")] {
        let world = World::in_one_store(Wire::Http).await;
        let refusal = Fault::Status { status, code: Some(code.into()) };
        for operation in ["CopyObject", "UploadPartCopy"] {
            world.here.faults().add(Rule::on(operation).times(0).fails(refusal.clone()));
        }
        world.put("zero", 0, 0);
        world.put("film", 9, 40 * MIB);
        let (ended, counted) = migrated(&world, "e", &["zero", "film"]).await;
        assert_eq!(ended.tally.migrated, 2, "{code}: {ended:?}");
        assert_eq!((counted.server_side, counted.bytes_up, counted.parts), (0, 40 * MIB, 5), "{code}");
        for key in ["zero", "film"] {
            world.assert_equal(key);
        }
        // Those that were under way at once may each be refused.
        assert!(world.here.log().count("UploadPartCopy") <= 5, "{code}");
        assert_eq!(world.here.log().count("CopyObject"), 1, "{code}");
    }
}

#[tokio::test]
async fn a_store_that_refused_is_not_asked_again_in_the_same_step() {
    let refusal = Fault::Status { status: 501, code: Some("NotImplemented".into()) };
    let world = World::in_one_store(Wire::Http).await;
    world.here.faults().add(Rule::on("CopyObject").fails(refusal));
    let keys: Vec<String> = (0..60).map(|n| format!("note {n}")).collect();
    for (seed, key) in (1..).zip(&keys) {
        world.put(key, seed, 100);
    }
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    let (ended, counted) = migrated(&world, "e", &keys).await;
    assert_eq!(ended.tally.migrated, 60);
    keys.iter().for_each(|key| world.assert_equal(key));
    // At most as many as may be in flight at once.
    let copies = world.here.log().count("CopyObject");
    assert!(copies <= 16 && counted.server_side < 16, "{copies}, {}", counted.server_side);
}

#[tokio::test]
async fn a_copy_that_fails_inside_its_answer_is_repeated() {
    let world = World::in_one_store(Wire::Http).await;
    world.put("note", 1, 5_000);
    world.put("film", 2, 20 * MIB);
    for operation in ["CopyObject", "UploadPartCopy"] {
        let inside = Fault::ErrorInBody { code: "InternalError".into() };
        world.here.faults().add(Rule::on(operation).times(1).fails(inside));
        world.here.faults().add(Rule::on(operation).nth(2).times(1).fails(Fault::LoseReply));
    }
    let (ended, _) = migrated(&world, "e", &["note", "film"]).await;
    assert_eq!((ended.tally.migrated + ended.tally.unchanged, moves(&world)), (2, 0), "{ended:?}");
    world.assert_equal("note");
    world.assert_equal("film");
    assert_eq!(world.here.faults().total(), 4);
}

#[tokio::test]
async fn a_copy_that_turns_out_different_is_streamed() {
    let mut world = World::in_one_store(Wire::Http).await;
    // Otherwise the next look would find that both sides are equal all the same.
    world.route.options.overwrite = Overwrite::Always;
    world.put("note", 1, 5_000);
    // Inside the checksum of the answer.
    let at = "<?xml version=\"1.0\" encoding=\"UTF-8\"?><CopyObjectResult><ChecksumCRC64NVME>".len() as u64 + 1;
    world.here.faults().add(Rule::on("CopyObject").times(1).fails(Fault::FlipResponse { at }));
    let (ended, counted) = migrated(&world, "e", &["note"]).await;
    assert_eq!((counted.mismatches, counted.server_side, counted.bytes_down), (1, 0, 5_000), "{counted:?}");
    assert_eq!(world.here.log().count("CopyObject"), 1);
    assert_eq!(ended.tally.objects(), 1);
    world.assert_equal("note");
}

#[tokio::test]
async fn without_the_option_every_byte_is_read() {
    let mut world = World::in_one_store(Wire::Http).await;
    world.route.options.server_side_copy = ServerSideCopy::Off;
    world.put("note", 1, 5_000);
    world.put("film", 2, 20 * MIB);
    let (_, counted) = migrated(&world, "e", &["note", "film"]).await;
    assert_eq!((counted.server_side, counted.bytes_up), (0, 5_000 + 20 * MIB));
    assert_eq!(world.here.log().count("CopyObject") + world.here.log().count("UploadPartCopy"), 0);
}
