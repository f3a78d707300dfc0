use longhaul_testing::{Fault, FaultPlan, Rule};

use crate::world::{Ran, World, until};

async fn world() -> World {
    let world = World::new().await;
    world.source.store().put("from", "k", "v");
    world
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_bucket_is_named_before_anything_is_begun() {
    let world = world().await;
    world.run("s3://nowhere", "s3://into", &[]).await.refused(&["source", "NoSuchBucket", "nowhere"]);
    world.run("s3://from", "s3://nowhere", &[]).await.refused(&["destination bucket nowhere does not exist"]);
    assert_eq!(world.source.log().count("GetObject"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_keys_are_told_apart() {
    let world = world().await;
    let with = async |option: &str, profile: &str| world.run("s3://from", "s3://into", &[option, profile]).await;
    with("--source-profile", "stranger").await.refused(&["source", "InvalidAccessKeyId"]);
    with("--destination-profile", "stranger").await.refused(&["destination", "InvalidAccessKeyId"]);
    with("--destination-profile", "liar").await.refused(&["destination", "SignatureDoesNotMatch"]);
    with("--source-profile", "unheard-of").await.refused(&["source", "unheard-of"]);
    with("--destination-profile", "unheard-of").await.refused(&["destination", "unheard-of"]);
    assert_eq!(world.destination.store().keys("into"), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_keys_are_told() {
    let world = world().await;
    let [from, to] = world.at.map(|at| format!("http://{at}"));
    let args = ["copy", "s3://from", "s3://into", "--source-endpoint-url", &from, "--destination-endpoint-url", &to];
    let mut command = world.command(&args);
    command.env_remove("AWS_ACCESS_KEY_ID").env_remove("AWS_SECRET_ACCESS_KEY");
    Ran::from(command.output().await.unwrap()).refused(&["destination", "credentials"]);
    // The keys of the environment serve a side that names no profile: here they are wrong.
    Ran::from(world.command(&args).output().await.unwrap()).refused(&["InvalidAccessKeyId"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_does_not_answer_is_told() {
    let world = world().await;
    let mut command = world.command(&["copy", "s3://from", "s3://into", "--source-endpoint-url", "http://127.0.0.1:1"]);
    let to = format!("http://{}", world.at[1]);
    command.args(["--destination-endpoint-url", &to, "--destination-profile", "destination"]);
    command.args(["--destination-force-path-style", "--source-profile", "source"]);
    Ran::from(command.output().await.unwrap()).refused(&["source", "listing s3://from/"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listing_that_breaks_fails_the_run() {
    let world = World::new().await;
    for number in 0..1_500 {
        world.source.store().put("from", &format!("{number:05}"), "x");
    }
    let broken = Fault::Status { status: 403, code: Some("AccessDenied".into()) };
    let rule = Rule::on("ListObjectsV2").nth(2).times(0).fails(broken);
    world.source.faults().plan(FaultPlan { rules: vec![rule], ..FaultPlan::default() });
    let ran = world.run("s3://from", "s3://into", &["--json"]).await;
    ran.refused(&["listing s3://from/", "AccessDenied"]);
    // What was begun has ended, and the summary does not pretend that this was all.
    let summary = ran.json();
    assert!(summary["error"].as_str().unwrap().contains("AccessDenied"));
    assert_eq!(summary["objects"], 1_000);
    assert!(summary["migrated"].as_u64().unwrap() >= 500);

    world.source.faults().plan(FaultPlan::default());
    let again = world.run("s3://from", "s3://into", &["--json"]).await;
    assert_eq!((again.code, &again.json()["objects"]), (Some(0), &1_500.into()));
    world.assert_equal("", "");
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_usage_ends_with_2() {
    let world = world().await;
    let run = async |args: &[&str]| Ran::from(world.command(args).output().await.unwrap());
    for args in [
        &["copy"][..],
        &["copy", "s3://from", "into"],
        &["copy", "s3://from", "s3://from/in"],
        &["copy", "s3://from", "s3://into", "--part-size", "3 elephants"],
        &["copy", "s3://from", "s3://into", "--source-endpoint-url", "nonsense"],
        &["steal"],
    ] {
        let ran = run(args).await;
        assert_eq!(ran.code, Some(2), "{args:?} {ran:?}");
    }
    let help = run(&["copy", "--help"]).await;
    assert_eq!(help.code, Some(0));
    assert!(help.stdout.contains("--destination-force-path-style") && help.stdout.contains("bytes, not folders"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ledger_serves_one_run_at_a_time() {
    let world = world().await;
    let ledger = world.home.path().join("one.redb");
    let ledger = ledger.to_str().unwrap();
    // The first run waits for its object.
    let slow = Rule::on("GetObject").times(0).fails(Fault::Delay { ms: 600_000 });
    world.source.faults().plan(FaultPlan { rules: vec![slow], ..FaultPlan::default() });
    let mut first = world.start("s3://from", "s3://into", &["--ledger", ledger]);
    until(|| world.source.log().count("GetObject") > 0).await;
    world.run("s3://from", "s3://into", &["--ledger", ledger]).await.refused(&["in use", ledger]);
    first.kill().await.unwrap();
    world.source.faults().plan(FaultPlan::default());
    assert_eq!(world.run("s3://from", "s3://into", &["--ledger", ledger]).await.code, Some(0));
}
