//! What a look at both sides finds, and what it leaves behind: nothing.

use crate::world::{Wire, World};
use longhaul_aws::preflight::preflight;
use longhaul_core::backfill::check::{Check, CheckedSide, Verdict, fatal};
use longhaul_testing::{Attributes, BucketSettings, Encryption, Fault, Keys, Rule};

async fn looked(world: &World) -> Vec<Check> {
    let checks = preflight(&world.clients, &world.route, true).await;
    for (s3, bucket) in [(&world.here, "departures"), (&world.there, "arrivals")] {
        assert!(s3.store().open_uploads().is_empty());
        assert!(!s3.store().keys(bucket).iter().any(|key| key.contains("longhaul-check")));
    }
    checks
}

fn found<'a>(checks: &'a [Check], side: CheckedSide, name: &str) -> &'a Check {
    checks.iter().find(|check| check.side == side && check.name == name).unwrap_or_else(|| panic!("{checks:#?}"))
}

fn at_destination<'a>(checks: &'a [Check], name: &str) -> &'a Check {
    found(checks, CheckedSide::Destination, name)
}

#[tokio::test]
async fn good_sides_are_good() {
    for wire in [Wire::Http, Wire::Tls] {
        let world = World::with(Keys::default(), wire).await;
        world.put("a", 1, 10);
        let settings = BucketSettings { abort_days: Some(30), ..BucketSettings::default() };
        world.there.store().set_bucket("arrivals", settings);
        let checks = looked(&world).await;
        let odd: Vec<_> = checks.iter().filter(|check| check.verdict != Verdict::Ok).collect();
        assert!(odd.is_empty() && fatal(&checks).is_none(), "{odd:#?}");
        let proof = if wire == Wire::Tls { "checksum follows" } else { "compared with its MD5" };
        assert!(at_destination(&checks, "uploads in parts").told.contains(proof));
        assert!(found(&checks, CheckedSide::Source, "read").told.contains("\"a\""));
    }
}

#[tokio::test]
async fn an_empty_source_and_an_empty_object_are_no_fault() {
    let world = World::new().await;
    assert_eq!(found(&looked(&world).await, CheckedSide::Source, "read").verdict, Verdict::Unknown);
    world.put("a", 1, 0);
    assert_eq!(found(&looked(&world).await, CheckedSide::Source, "read").verdict, Verdict::Ok);
}

#[tokio::test]
async fn wrong_keys_are_one_fault() {
    let keys = Keys { access_key: "test".into(), secret_key: "other".into() };
    let world = World::with(keys, Wire::Http).await;
    let checks = looked(&world).await;
    assert_eq!(checks.iter().filter(|check| check.side == CheckedSide::Destination).count(), 1);
    let line = fatal(&checks).unwrap();
    assert!(line.contains("the destination (credentials)") && line.contains("SignatureDoesNotMatch"), "{line}");
}

#[tokio::test]
async fn a_missing_bucket_is_one_fault() {
    let mut world = World::new().await;
    world.route.source.bucket = "nowhere".into();
    let line = fatal(&looked(&world).await).unwrap();
    assert!(line.contains("the source (bucket)") && line.contains("nowhere"), "{line}");
}

#[tokio::test]
async fn a_store_without_conditions_is_a_warning() {
    let world = World::new().await;
    let settings = BucketSettings { ignores_conditions: true, ..BucketSettings::default() };
    world.there.store().set_bucket("arrivals", settings);
    let checks = looked(&world).await;
    for name in ["conditional writes", "removals"] {
        assert_eq!(at_destination(&checks, name).verdict, Verdict::Warning, "{checks:#?}");
    }
    world
        .there
        .faults()
        .add(Rule::on("PutObject").fails(Fault::Status { status: 501, code: Some("NotImplemented".into()) }));
    assert_eq!(at_destination(&looked(&world).await, "conditional writes").verdict, Verdict::Warning);
    assert_eq!(fatal(&checks), None);
}

#[tokio::test]
async fn denials_are_told_by_what_they_mean() {
    let cases = [
        ("HeadObject", "look", Verdict::Failed),
        ("PutObject", "conditional writes", Verdict::Failed),
        ("CreateMultipartUpload", "uploads in parts", Verdict::Failed),
        ("UploadPart", "uploads in parts", Verdict::Failed),
        ("DeleteObject", "removals", Verdict::Failed),
        ("GetBucketLifecycleConfiguration", "unfinished uploads", Verdict::Unknown),
    ];
    for (operation, name, verdict) in cases {
        let world = World::new().await;
        let denied = Fault::Status { status: 403, code: Some("AccessDenied".into()) };
        world.there.faults().add(Rule::on(operation).times(0).fails(denied));
        let checks = looked(&world).await;
        assert_eq!(at_destination(&checks, name).verdict, verdict, "{operation}");
        assert_eq!(fatal(&checks).is_some(), verdict == Verdict::Failed, "{operation}");
    }
    for (operation, name, verdict) in [
        ("ListObjectsV2", "list", Verdict::Failed),
        ("GetObject", "read", Verdict::Failed),
        ("GetObjectTagging", "tags", Verdict::Warning),
        ("HeadObject", "missing objects", Verdict::Failed),
    ] {
        let world = World::new().await;
        world.put("a", 1, 10);
        let denied = Fault::Status { status: 403, code: Some("AccessDenied".into()) };
        // The permission to read is also the permission to look.
        let looks = (operation == "GetObject").then_some("HeadObject");
        for operation in looks.into_iter().chain([operation]) {
            world.here.faults().add(Rule::on(operation).times(0).fails(denied.clone()));
        }
        assert_eq!(found(&looked(&world).await, CheckedSide::Source, name).verdict, verdict, "{operation}");
    }
}

#[tokio::test]
async fn lifecycle_encryption_and_archives_are_told() {
    let world = World::new().await;
    let archived = Attributes { storage_class: Some("GLACIER".into()), ..Attributes::default() };
    world.here.store().put_with("departures", "a", "x", archived, Default::default());
    let settings = BucketSettings { abort_days: Some(7), encryption: Encryption::Kms, ..BucketSettings::default() };
    world.there.store().set_bucket("arrivals", settings);
    let checks = looked(&world).await;
    assert!(at_destination(&checks, "unfinished uploads").told.contains("7 days"));
    assert!(at_destination(&checks, "uploads in parts").told.contains("no MD5s"));
    assert_eq!(found(&checks, CheckedSide::Source, "read").verdict, Verdict::Warning);
    world.there.store().set_bucket("arrivals", BucketSettings::default());
    assert_eq!(at_destination(&looked(&world).await, "unfinished uploads").verdict, Verdict::Warning);
}
