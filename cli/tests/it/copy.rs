use std::process::Stdio;

use longhaul_testing::{Fault, FaultPlan, Rule};
use serde_json::{Value, json};

use crate::world::{Ran, World};

const MIB: u64 = 1 << 20;
const AWKWARD: [&str; 12] = [
    "in/",
    "in/empty",
    "in/a b+c%20d&e=f",
    "in//double//slash",
    "in/../up/./here",
    "in/folder/",
    "in/\u{fc}\u{1F980}",
    "in/\u{1}control\ntab\t",
    "in/\"quoted\" <xml> & 'more'",
    "in/~!*()[]{}|\\^`#?",
    "in//",
    "inside",
];

fn counts(ran: &Ran) -> [Value; 4] {
    let summary = ran.json();
    ["migrated", "unchanged", "skipped", "failed"].map(|field| summary[field].clone())
}

fn mixed(world: &World) {
    let store = world.source.store();
    for (number, key) in AWKWARD.into_iter().enumerate() {
        let empty = key.ends_with('/') || key == "in/empty";
        store.put("from", key, if empty { String::new() } else { format!("{number} {key}").repeat(100) });
    }
    for number in 0..1_100 {
        store.put("from", &format!("in/many/{number}"), format!("small {number}"));
    }
    store.put_generated("from", "in/small-limit", 8 * MIB, None);
    store.put_generated("from", "in/large", 8 * MIB + 1, None);
    store.put_generated("from", "in/larger", 21 * MIB + 7, None);
    store.put_generated("from", "in/of parts", 14 * MIB, Some(6 * MIB));
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_arrives_once_and_a_second_run_writes_nothing() {
    let world = World::new().await;
    mixed(&world);
    let objects = 1_100 + 4 + AWKWARD.len() - 1;
    let ran = world.run("s3://from/in/", "s3://into/out/", &["--json"]).await;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert_eq!(counts(&ran), [json!(objects), json!(0), json!(0), json!(0)]);
    assert_eq!(ran.json()["objects"], json!(objects));
    world.assert_equal("in/", "out/");
    // Sizes and ETags come with the listing: no small object is looked at before it is read.
    assert_eq!(
        world.source.log().count_if(|e| e.call.operation == "HeadObject" && e.call.key.as_deref() == Some("in/many/7")),
        0
    );
    let etag = |s3: &longhaul_testing::TestS3, bucket, key| s3.store().object(bucket, key).unwrap().etag.clone();
    assert_eq!(etag(&world.source, "from", "in/of parts"), etag(&world.destination, "into", "out/of parts"));

    world.destination.log().reset();
    let again = world.run("s3://from/in/", "s3://into/out/", &["--json"]).await;
    assert_eq!(again.code, Some(0), "{again:?}");
    assert_eq!(counts(&again), [json!(0), json!(objects), json!(0), json!(0)]);
    assert_eq!(world.writes(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_its_ledger_nothing_is_sent_that_is_there() {
    let world = World::new().await;
    world.source.store().put_generated("from", "large", 9 * MIB, Some(5 * MIB));
    world.source.store().put("from", "small", "x");
    assert_eq!(world.run("s3://from", "s3://into", &[]).await.code, Some(0));
    world.destination.log().reset();
    let other = world.home.path().join("other.redb");
    let again = world.run("s3://from", "s3://into", &["--json", "--ledger", other.to_str().unwrap()]).await;
    assert_eq!(counts(&again), [json!(0), json!(2), json!(0), json!(0)]);
    assert_eq!(world.destination.log().count("UploadPart"), 0);
    // A small object is offered under the condition that none stands there, and refused.
    let refused = world.destination.log().count_if(|e| e.call.operation == "PutObject" && e.status == Some(412));
    assert_eq!(refused, world.destination.log().count("PutObject"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prefix_is_bytes() {
    let world = World::new().await;
    for key in ["a", "ab", "a/b", "b"] {
        world.source.store().put("from", key, key);
    }
    let ran = world.run("s3://from/a", "s3://into/x", &["--overwrite", "never"]).await;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert_eq!(world.destination.store().keys("into"), ["x", "x/b", "xb"]);
    assert!(ran.stdout.contains("migrated   3 (6 B)"), "{ran:?}");

    let nothing = world.run("s3://from/none", "s3://into", &[]).await;
    assert_eq!(nothing.code, Some(0));
    assert!(nothing.stderr.contains("there is no object under s3://from/none"), "{nothing:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_differs_is_replaced_unless_told_otherwise() {
    let world = World::new().await;
    world.source.store().put("from", "k", "new");
    world.destination.store().put("into", "k", "old");
    let never = world.run("s3://from", "s3://into", &["--json", "--overwrite", "never"]).await;
    assert_eq!((never.code, counts(&never)), (Some(0), [json!(0), json!(0), json!(1), json!(0)]));
    let differs = world.run("s3://from", "s3://into", &["--json"]).await;
    assert_eq!((differs.code, counts(&differs)), (Some(0), [json!(1), json!(0), json!(0), json!(0)]));
    world.destination.log().reset();
    let always = world.run("s3://from", "s3://into", &["--json", "--overwrite", "always"]).await;
    assert_eq!((always.code, counts(&always)), (Some(0), [json!(1), json!(0), json!(0), json!(0)]));
    assert_eq!(world.destination.log().count("PutObject"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_object_stops_nobody_and_can_be_sent_again() {
    let world = World::new().await;
    for key in ["a", "bad", "c"] {
        world.source.store().put("from", key, key);
    }
    world.source.store().put_generated("from", "large", 9 * MIB, None);
    let refuse = |operation: &str, key: &str| {
        let refused = Fault::Status { status: 403, code: Some("AccessDenied".into()) };
        Rule::on(operation).key(key).times(0).fails(refused)
    };
    let rules = vec![refuse("PutObject", "bad"), refuse("UploadPart", "large")];
    world.destination.faults().plan(FaultPlan { rules, ..FaultPlan::default() });
    let lines = world.home.path().join("failures.jsonl");
    let ran = world.run("s3://from", "s3://into", &["--json", "--failures", lines.to_str().unwrap()]).await;
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert_eq!(counts(&ran), [json!(2), json!(0), json!(0), json!(2)]);
    let mut failures: Vec<(String, String)> = ran.json()["failures"]
        .as_array()
        .unwrap()
        .iter()
        .map(|failure| (failure["key"].as_str().unwrap().to_owned(), failure["name"].as_str().unwrap().to_owned()))
        .collect();
    failures.sort();
    assert_eq!(failures, [("bad", "Rejected"), ("large", "Rejected")].map(|(k, n)| (k.to_owned(), n.to_owned())));
    let written = std::fs::read_to_string(&lines).unwrap();
    let mut keys: Vec<String> = written
        .lines()
        .map(|line| {
            let request: Value = serde_json::from_str(line).unwrap();
            longhaul_core::request::Request::from_value(&request).unwrap().objects[0].key.clone()
        })
        .collect();
    keys.sort();
    assert_eq!(keys, ["bad", "large"]);

    world.destination.faults().plan(FaultPlan::default());
    let again = world.run("s3://from", "s3://into", &["--json"]).await;
    assert_eq!((again.code, counts(&again)), (Some(0), [json!(2), json!(2), json!(0), json!(0)]));
    world.assert_equal("", "");
}

#[tokio::test(flavor = "multi_thread")]
async fn faults_on_the_way_are_survived() {
    let world = World::new().await;
    for number in 0..50 {
        world.source.store().put("from", &format!("{number}"), format!("{number}").repeat(1000));
    }
    world.source.store().put_generated("from", "large", 30 * MIB, None);
    let cut = Rule::on("GetObject").nth(3).every(9).times(4).fails(Fault::CutBody { after: 50 });
    let lost = Rule::on("UploadPart").nth(2).every(2).times(2).fails(Fault::LoseReply);
    let slow = Fault::Status { status: 503, code: None };
    let throttled = Rule::on("PutObject").nth(5).every(10).times(3).fails(slow);
    let reply = Rule::on("CompleteMultipartUpload").fails(Fault::LoseReply);
    world.source.faults().plan(FaultPlan { rules: vec![cut], ..FaultPlan::default() });
    world.destination.faults().plan(FaultPlan { rules: vec![lost, throttled, reply], ..FaultPlan::default() });
    let ran = world.run("s3://from", "s3://into", &["--json", "--part-size", "5MiB"]).await;
    assert_eq!((ran.code, counts(&ran)), (Some(0), [json!(51), json!(0), json!(0), json!(0)]), "{ran:?}");
    assert!(ran.json()["retries"].as_u64().unwrap() > 0);
    world.assert_equal("", "");
}

#[tokio::test(flavor = "multi_thread")]
async fn progress_is_lines_where_there_is_no_terminal_and_nothing_when_quiet() {
    let world = World::new().await;
    world.source.store().put("from", "k", "v");
    let quiet = world.run("s3://from", "s3://into", &["--quiet"]).await;
    assert_eq!((quiet.code, quiet.stderr.as_str()), (Some(0), ""));
    let verbose = world.run("s3://from", "s3://into", &["-v", "--overwrite", "always"]).await;
    assert!(verbose.stderr.contains("migrated"), "{verbose:?}");
    assert!(!verbose.stderr.contains("secret-of"), "{verbose:?}");
    // A reader that went away is no failure.
    let mut child = world.copy("s3://from", "s3://into", &["--json"]);
    let mut child = child.stdout(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    assert_eq!(child.wait().await.unwrap().code(), Some(0));
}
