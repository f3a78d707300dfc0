//! Whole executions of the real state machine over the real steps, between two endpoints.

use crate::world::{MIB, Wire, World};
use bytes::Bytes;
use longhaul_core::names::exception_prefix;
use longhaul_core::outcome::{Outcome, Proof, SkipReason, Status};
use longhaul_core::request::{ManifestRef, ObjectRef, Request};
use longhaul_testing::{Fault, Keys, Rule, s3_client};
use std::collections::BTreeMap;

const AWKWARD: [&str; 9] =
    ["a//b", "/leading", "trailing/", "../up", "a b+c%20d", "ünd 船 🚢", "{\"json\": 1}", "&=?#'<x>", "."];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mixed_objects_arrive_and_a_second_run_moves_nothing() {
    let world = World::new().await;
    for (seed, key) in (1..).zip(AWKWARD) {
        world.put(key, seed, seed * 1000);
    }
    let sizes = BTreeMap::from([("zero", 0), ("edge", 8 * MIB), ("edge and one", 8 * MIB + 1), ("film", 70 * MIB)]);
    for (seed, (key, size)) in (50..).zip(&sizes) {
        world.put(key, seed, *size);
    }
    let long = "k".repeat(1024);
    world.put(&long, 99, 10);
    let keys: Vec<&str> = AWKWARD.iter().copied().chain(sizes.keys().copied()).chain([long.as_str()]).collect();

    let ended = world.migrate("one", &world.request(&keys)).await;
    assert!(ended.result.is_ok(), "{ended:?}");
    assert_eq!((ended.tally.migrated, ended.tally.objects()), (keys.len() as u64, keys.len() as u64));
    assert!(ended.stats.history_events < 25_000 && ended.stats.largest_payload < 256 * 1024);
    for key in &keys {
        world.assert_equal(key);
        let record = world.record(key).await.unwrap();
        assert_eq!((record.status, record.execution.as_str()), (Status::Migrated, "one"), "{key:?}");
    }

    world.here.log().reset();
    world.there.log().reset();
    let again = world.migrate("two", &world.request(&keys)).await;
    assert_eq!((again.tally.unchanged, again.tally.migrated), (keys.len() as u64, 0), "{again:?}");
    let bodies = world.here.log().count_if(|entry| entry.call.operation == "GetObject" && entry.status == Some(200));
    let writes = world.there.log().count_if(|entry| entry.call.operation != "HeadObject");
    assert_eq!((bodies, writes), (0, 0));
    assert!(world.there.store().open_uploads().is_empty());
}

#[tokio::test]
async fn headers_metadata_tags_and_storage_class_travel() {
    let mut world = World::new().await;
    world.route.options.storage_class = Some("STANDARD_IA".into());
    let client = s3_client(&world.here);
    for (key, size) in [("note", 5_000), ("film", 20 * MIB)] {
        client
            .put_object()
            .bucket("departures")
            .key(key)
            .content_type("text/x-long")
            .cache_control("max-age=7")
            .content_disposition("attachment")
            .content_language("de")
            .content_encoding("gzip")
            .metadata("colour", "blue")
            .tagging("a=1&b%20c=x%2By")
            .body(World::bytes(9, size).into())
            .send()
            .await
            .unwrap();
    }
    let request = Request { route: Some(world.route.clone()), ..world.request(&["note", "film"]) };
    let ended = world.migrate("e", &request).await;
    assert_eq!(ended.tally.migrated, 2, "{ended:?}");
    for key in ["note", "film"] {
        world.assert_equal(key);
        let (here, there) = (
            world.here.store().object("departures", key).unwrap(),
            world.there.store().object("arrivals", key).unwrap(),
        );
        let expected =
            longhaul_testing::Attributes { storage_class: Some("STANDARD_IA".into()), ..here.attributes.clone() };
        assert_eq!(there.attributes, expected, "{key}");
        assert_eq!(there.tags, here.tags, "{key}");
        assert_eq!(there.tags.len(), 2);
    }
}

/// Every fault that passes ends in an equal object, with nothing left open.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn faults_at_the_wire_end_in_equal_objects() {
    let status = |status| Fault::Status { status, code: None };
    let both = [status(500), status(503), Fault::ResetBeforeRequest, Fault::LoseReply];
    let mut cases: Vec<(&str, bool, Fault)> = Vec::new();
    for operation in ["HeadObject", "GetObject"] {
        cases.extend(both.iter().map(|fault| (operation, true, fault.clone())));
    }
    for cut in [0, 1, 4_999, MIB] {
        cases.push(("GetObject", true, Fault::CutBody { after: cut }));
    }
    cases.push(("GetObject", true, Fault::FlipResponse { at: 300 }));
    for operation in
        ["PutObject", "CreateMultipartUpload", "UploadPart", "ListParts", "CompleteMultipartUpload", "HeadObject"]
    {
        cases.extend(both.iter().map(|fault| (operation, false, fault.clone())));
    }
    cases.push(("PutObject", false, Fault::FlipRequest { at: 300 }));
    cases.push(("UploadPart", false, Fault::FlipRequest { at: 300 }));
    cases.push(("CompleteMultipartUpload", false, Fault::ErrorInBody { code: "InternalError".into() }));

    for (operation, at_source, fault) in cases {
        let world = World::new().await;
        world.put("note", 1, 5_000);
        world.put("film", 2, 17 * MIB);
        let side = if at_source { &world.here } else { &world.there };
        side.faults().add(Rule::on(operation).times(1).fails(fault.clone()));
        let ended = world.migrate("e", &world.request(&["note", "film"])).await;
        let what = format!("{operation} {fault:?}");
        assert_eq!(side.faults().total(), 1, "{what}: never injected");
        assert!(ended.result.is_ok(), "{what}: {ended:?}");
        assert_eq!((ended.tally.objects(), ended.tally.failed), (2, 0), "{what}: {ended:?}");
        for key in ["note", "film"] {
            world.assert_equal(key);
            assert!(world.record(key).await.unwrap().status.is_final());
        }
        // Only an upload whose Create reply was lost is known to nobody.
        let known = operation == "CreateMultipartUpload" && fault == Fault::LoseReply;
        assert_eq!(world.there.store().open_uploads().len(), usize::from(known), "{what}");
    }
}

#[tokio::test]
async fn refused_keys_fail_every_object_with_a_message_that_works_later() {
    let keys = Keys { access_key: "other".into(), secret_key: "other".into() };
    let world = World::with(keys, Wire::Http).await;
    world.put("note", 1, 10);
    world.put("film", 2, 20 * MIB);
    let ended = world.migrate("e", &world.request(&["note", "film"])).await;
    assert_eq!(ended.result.unwrap_err().error, "ObjectsFailed");
    assert_eq!((ended.tally.failed, ended.exceptions.len()), (2, 2));
    let failed = world.sent.failed.lock().unwrap().clone();
    assert_eq!(failed.len(), 2);
    for message in failed {
        assert!(message.contains("InvalidAccessKeyId"), "{message}");
        let request = Request::from_value(&serde_json::from_str(&message).unwrap()).unwrap();
        assert_eq!(request.route, Some(world.route.clone()));
    }
}

#[tokio::test]
async fn rule_13_what_cannot_arrive_says_why_and_stops_nobody() {
    let world = World::new().await;
    world.put("good", 1, 10);
    world.put("denied", 2, 10);
    world.put("denied film", 3, 20 * MIB);
    world.put("good film", 4, 20 * MIB);
    let denied = || Fault::Status { status: 403, code: Some("AccessDenied".into()) };
    world.there.faults().add(Rule::on("PutObject").key("denied").fails(denied()));
    world.there.faults().add(Rule::on("UploadPart").key("denied film").fails(denied()));
    let mut request = world.request(&["good", "denied", "denied film", "good film", "gone"]);
    request.objects.push(ObjectRef { bucket: "nobody-knows".into(), key: "x".into(), ..ObjectRef::default() });

    let ended = world.migrate("e", &request).await;
    assert_eq!(ended.result.unwrap_err().error, "ObjectsFailed");
    let tally = ended.tally;
    assert_eq!((tally.migrated, tally.failed, tally.skipped, tally.unsettled), (2, 3, 1, 0));
    world.assert_equal("good");
    world.assert_equal("good film");
    let named: BTreeMap<String, Outcome> =
        ended.exceptions.into_iter().map(|exception| (exception.object.key, exception.outcome)).collect();
    assert_eq!(named["gone"], Outcome::Skipped { reason: SkipReason::SourceGone });
    for (key, told) in [("denied", "AccessDenied"), ("denied film", "AccessDenied"), ("x", "no route")] {
        let Outcome::Failed { failure } = &named[key] else { panic!("{key}") };
        assert!(failure.name == "Rejected" && failure.message.contains(told), "{failure:?}");
    }
    assert_eq!(world.sent.failed.lock().unwrap().len(), 3);
    // Access may be granted later: the parts that arrived are kept for then.
    assert!(world.record("denied film").await.unwrap().upload.is_some());

    world.there.faults().clear();
    let again = world.migrate("f", &world.request(&["denied", "denied film"])).await;
    assert_eq!(again.tally.migrated, 2, "{again:?}");
    world.assert_equal("denied film");
    assert!(world.there.store().open_uploads().is_empty());
}

#[tokio::test]
async fn a_missing_bucket_is_no_missing_object() {
    for missing in ["departures", "arrivals"] {
        let mut world = World::new().await;
        world.put("note", 1, 10);
        let request = world.request(&["note"]);
        let side = if missing == "departures" { &mut world.route.source } else { &mut world.route.destination };
        side.bucket = "never-made".into();
        let mut request = Request { route: Some(world.route.clone()), ..request };
        request.objects[0].bucket = world.route.source.bucket.clone();
        // Both ways to look: the batch's GET, and the HEAD of a request that tells no size.
        for (execution, size) in [("get", Some(10)), ("head", None)] {
            request.objects[0].size = size;
            let ended = world.migrate(execution, &request).await;
            assert_eq!((ended.tally.failed, ended.tally.skipped), (1, 0), "{missing} {execution}: {ended:?}");
            let Outcome::Failed { failure } = &ended.exceptions[0].outcome else { panic!() };
            assert_eq!(failure.name, "Rejected", "{failure:?}");
        }
    }
}

#[tokio::test]
async fn a_bad_request_fails_and_says_why() {
    let world = World::new().await;
    let ended = world.migrate("e", &Request::default()).await;
    assert_eq!(ended.result.unwrap_err().error, "ObjectsFailed");
    assert_eq!(ended.tally.failed, 1);
    assert!(world.sent.failed.lock().unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rule_15_what_outgrows_an_execution_goes_on_in_a_successor() {
    let world = World::new().await;
    let mut lines = String::new();
    for number in 0..2_300 {
        let key = format!("small/{number:04}");
        world.put(&key, number, number % 50);
        lines.push_str(&serde_json::to_string(&world.offer(&key)).unwrap());
        lines.push('\n');
    }
    // An event that lies about the size: the batch finds a large object and leaves it to the successor.
    world.put("larger than told", 7, 20 * MIB);
    let lying = ObjectRef { size: Some(10), ..world.offer("larger than told") };
    world.clients.work.put("list.jsonl", Bytes::from(lines)).await.unwrap();
    let manifest = ManifestRef { bucket: "memory".into(), key: "list.jsonl".into(), offset: 0, end: None };
    let request = Request { objects: vec![lying], manifests: vec![manifest], ..Request::default() };
    let ended = world.migrate("e", &request).await;
    assert!(ended.result.is_ok(), "{:?}", ended.result);
    assert_eq!((ended.tally.migrated, ended.tally.continued), (2_301, 1));
    assert!(ended.stats.largest_payload < 256 * 1024);
    assert_eq!(world.there.store().keys("arrivals").len(), 2_301);
    world.assert_equal("larger than told");
    assert_eq!(world.clients.work.list(&exception_prefix("e")).await.unwrap(), Vec::<String>::new());
}

#[tokio::test]
async fn what_stands_at_the_destination_and_equals_is_unchanged() {
    let world = World::new().await;
    world.put("note", 1, 5_000);
    let parts = [12, 3].map(|mib| World::bytes(mib, mib * MIB).into()).to_vec();
    world.here.store().put_parts("departures", "film", parts.clone());
    world.there.store().put("arrivals", "note", World::bytes(1, 5_000));
    world.there.store().put_parts("arrivals", "film", parts);
    world.put("other", 2, 5_000);
    world.there.store().put("arrivals", "other", World::bytes(3, 5_000));
    let ended = world.migrate("e", &world.request(&["note", "film", "other"])).await;
    assert_eq!((ended.tally.unchanged, ended.tally.migrated), (2, 1), "{ended:?}");
    assert_eq!(world.there.log().count("UploadPart"), 0);
    world.assert_equal("other");
    assert!(matches!(world.record("note").await.unwrap().proof, Some(Proof::Etag | Proof::Checksum)));
}
