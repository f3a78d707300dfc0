//! What is selected, and the commands that look at both sides and copy nothing.

use longhaul_testing::{Fault, FaultPlan, Rule};
use serde_json::{Value, json};

use crate::world::World;

const MIB: u64 = 1 << 20;

fn counts(document: &Value, fields: &[&str]) -> Vec<u64> {
    fields.iter().map(|field| document[*field].as_u64().unwrap_or(0)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_is_selected_is_copied() {
    let world = World::new().await;
    for (key, size) in [("a/1.jpg", 10), ("a/2.jpg", 2_000), ("b/3.jpg.tmp", 10), ("c.txt", 10)] {
        world.source.store().put("from", key, "x".repeat(size));
    }
    let list = world.home.path().join("ignored");
    std::fs::write(&list, "# left out\n\n*.tmp\n").unwrap();
    let more = ["--include", "*.jpg*", "--ignore-list", list.to_str().unwrap(), "--max-size", "1K", "--json"];
    let ran = world.run("s3://from", "s3://into", &more).await;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert_eq!(world.destination.store().keys("into"), ["a/1.jpg"]);
    assert_eq!(counts(&ran.json(), &["objects", "excluded", "migrated"]), [4, 3, 1]);

    let later = world.run("s3://from", "s3://into", &["--modified-before", "1d", "--json"]).await;
    assert_eq!(counts(&later.json(), &["excluded", "migrated", "unchanged"]), [4, 0, 0]);
    let bad = world.run("s3://from", "s3://into", &["--include", "[a"]).await;
    bad.refused(&["[a"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_counts_as_the_same_is_chosen() {
    let world = World::new().await;
    world.source.store().put("from", "k", "one");
    world.destination.store().put("into", "k", "two");
    let by_size = world.run("s3://from", "s3://into", &["--compare", "size", "--json"]).await;
    assert_eq!(counts(&by_size.json(), &["unchanged", "unproven", "migrated"]), [1, 1, 0]);
    assert!(world.run("s3://from", "s3://into", &["--compare", "size"]).await.stdout.contains("by their size alone"));
    let by_etag = world.run("s3://from", "s3://into", &["--json"]).await;
    assert_eq!(counts(&by_etag.json(), &["unchanged", "unproven", "migrated"]), [0, 0, 1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_audit_finds_whatever_is_wrong() {
    let world = World::new().await;
    let (here, there) = (world.source.store(), world.destination.store());
    for key in ["same", "missing", "shorter", "other", "left/out"] {
        here.put("from", key, format!("the bytes of {key}"));
    }
    // The same bytes in other parts: the ETags say nothing.
    here.put_generated("from", "parts", 12 * MIB, None);
    there.put("into", "same", "the bytes of same".to_owned());
    there.put("into", "shorter", "the bytes".to_owned());
    there.put("into", "other", "the bytes of OTHER".to_owned());
    there.put("into", "extra", "x".to_owned());
    let copied = world.run("s3://from/parts", "s3://into/parts", &["--part-size", "5MiB", "--json"]).await;
    assert_eq!(copied.code, Some(0), "{copied:?}");

    let findings = world.home.path().join("findings");
    let more = ["--exclude", "left/*", "--findings", findings.to_str().unwrap(), "--json"];
    let ran = world.look("verify", &more).await;
    assert_eq!(ran.code, Some(1), "{ran:?}");
    let document = ran.json();
    assert_eq!(document["proven"], json!(false));
    let fields = ["listed", "excluded", "byEtag", "missing", "different", "extra"];
    let found = counts(&document["counts"], &fields);
    assert_eq!(found, [6, 1, 1, 1, 2, 1], "{document}");
    let lines = std::fs::read_to_string(&findings).unwrap();
    for said in ["\"missing\"", "\"extra\"", "\"different\"", "bytes at the destination"] {
        assert!(lines.contains(said), "{said} in {lines}");
    }

    for key in ["missing", "shorter", "other"] {
        there.put("into", key, format!("the bytes of {key}"));
    }
    let deep = world.look("verify", &["--exclude", "left/*", "--deep", "--json"]).await;
    assert_eq!(deep.code, Some(0), "{deep:?}");
    assert_eq!(counts(&deep.json()["counts"], &["byReading", "unproven"]), [5, 0]);
    let bad = here.object("from", "parts").unwrap().body.len();
    assert_eq!(bad, 12 * MIB);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_audit_that_cannot_list_proves_nothing() {
    let world = World::new().await;
    world.source.store().put("from", "k", "x");
    let fault = Rule::on("ListObjectsV2").times(0).fails(Fault::Status { status: 403, code: None });
    world.destination.faults().plan(FaultPlan { rules: vec![fault], ..FaultPlan::default() });
    let ran = world.look("verify", &[]).await;
    ran.refused(&["destination"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_says_what_can_be_used_and_leaves_nothing() {
    let world = World::new().await;
    world.source.store().put("from", "k", "x");
    let ran = world.look("check", &[]).await;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(ran.stdout.contains("source") && ran.stdout.contains("destination"), "{ran:?}");
    assert!(world.destination.store().keys("into").is_empty());
    assert!(world.destination.store().open_uploads().is_empty());
    let wrong = world.look("check", &["--destination-profile", "stranger", "--json"]).await;
    assert_eq!(wrong.code, Some(1), "{wrong:?}");
    let failed = wrong.json().as_array().unwrap().iter().filter(|check| check["verdict"] == "failed").count();
    assert!(failed >= 1, "{wrong:?}");
    assert!(!wrong.stdout.contains("secret-of"));
}

#[tokio::test(flavor = "multi_thread")]
async fn orphans_are_aborted_when_told_and_uploads_of_unknown_objects_when_told_twice() {
    let world = World::new().await;
    let client = longhaul_testing::s3_client(&world.destination);
    for key in ["film", "stray"] {
        client.create_multipart_upload().bucket("into").key(key).send().await.unwrap();
    }
    // One more of `film`, which the ledger keeps.
    world.source.store().put_generated("from", "film", 12 * MIB, None);
    let refused = Rule::on("UploadPart").times(0).fails(Fault::Status { status: 400, code: None });
    world.destination.faults().add(refused);
    let failed = world.run("s3://from", "s3://into", &[]).await;
    assert_eq!(failed.code, Some(1), "{failed:?}");
    let open = || world.destination.store().open_uploads().len();
    let kept = open() - 2;

    let listed = world.look("uploads", &[]).await;
    assert_eq!(listed.code, Some(0), "{listed:?}");
    assert!(listed.stdout.contains("2 of them in no ledger, the oldest of 20"), "{listed:?}");
    for (fate, key) in [("orphan", "film"), ("known", "film"), ("unknown", "stray")] {
        let told = |line: &str| line.starts_with(&format!("{fate} ")) && line.contains(&format!("{key:?}"));
        assert!(listed.stdout.lines().any(told), "{fate} {key}: {listed:?}");
    }
    let unsure = world.look("uploads", &["--abort"]).await;
    assert_eq!((unsure.code, open()), (Some(2), kept + 2), "{unsure:?}");
    let young = world.look("uploads", &["--abort", "--no-table"]).await;
    assert_eq!((young.code, open()), (Some(0), kept + 2), "{young:?}");
    let aborted = world.look("uploads", &["--abort", "--no-table", "--older-than", "2100-01-01"]).await;
    assert_eq!((aborted.code, open()), (Some(0), kept + 1), "{aborted:?}");
    assert!(aborted.stdout.contains("1 aborted"), "{aborted:?}");
    let all = ["--abort", "--unknown", "--no-table", "--older-than", "2100-01-01"];
    let aborted = world.look("uploads", &all).await;
    assert_eq!((aborted.code, open()), (Some(0), kept), "{aborted:?}");
    world.destination.faults().clear();
    let check = world.look("check", &["--json"]).await;
    assert!(check.json().as_array().unwrap().iter().any(|check| check["name"] == "open uploads"), "{check:?}");
}
