//! Executions of `migrate` that carry out a manifest of a backfill.

use crate::world::{MIB, World};
use longhaul_aws::steps::{Ended, settle_ended};
use longhaul_core::backfill::counts::Counts;
use longhaul_core::backfill::manifest::{Deletion, Header, HeaderLine, Progress, manifest_key};
use longhaul_core::backfill::run::{
    Control, ControlObject, RunItem, control_key, item_of_outcome, item_outcomes_prefix, outcomes_prefix,
};
use longhaul_core::contract::ExecutionOutcome;
use longhaul_core::etag::ETag;
use longhaul_core::outcome::Status;
use longhaul_core::request::{ManifestRef, ObjectRef, Request};
use longhaul_testing::{Fault, Rule};

/// Writes a manifest of these keys, with a deletion behind them, as a scan does.
async fn manifest(world: &World, run: &str, keys: &[&str]) -> String {
    let mut body = Vec::new();
    let offers: Vec<_> = keys.iter().map(|key| world.offer(key)).collect();
    for offer in &offers {
        serde_json::to_writer(&mut body, offer).unwrap();
        body.push(b'\n');
    }
    let mut header = Header {
        run: run.into(),
        shard: 0,
        number: 0,
        route: world.route.clone(),
        objects: offers.len() as u32,
        bytes: offers.iter().filter_map(|offer| offer.size).sum(),
        deletions: 1,
        // Six digits, so that the number does not change its own place.
        deletions_at: 100_000,
        progress: Progress { counts: Counts::default(), done: true, ..Progress::default() },
    };
    let line = |header: &Header| serde_json::to_string(&HeaderLine { manifest: header.clone() }).unwrap() + "\n";
    let head = line(&header).len() + body.len();
    header.deletions_at = head as u64;
    let shorter = 6 - header.deletions_at.to_string().len() as u64;
    header.deletions_at -= shorter;
    let gone = Deletion { delete: "gone".into(), source_key: "gone".into(), etag: ETag::new("e"), size: 1 };
    let text = line(&header) + std::str::from_utf8(&body).unwrap() + &serde_json::to_string(&gone).unwrap() + "\n";
    assert!(text[header.deletions_at as usize..].starts_with("{\"delete\""));
    let key = manifest_key(run, 0, 0);
    world.clients.work.put(&key, text.into()).await.unwrap();
    key
}

fn request(world: &World, key: &str, attempt: u32) -> Request {
    let bucket = world.clients.work.bucket().to_owned();
    let run = RunItem { name: "run".into(), attempt, manifest: key.into() };
    let manifests = vec![ManifestRef { bucket, key: key.into(), offset: 0, end: None }];
    Request { manifests, run: Some(run), ..Request::default() }
}

/// The outcomes of the run by attempt.
async fn outcomes(world: &World) -> Vec<(u32, ExecutionOutcome)> {
    let work = &world.clients.work;
    let mut found = Vec::new();
    for key in work.list(&outcomes_prefix("run")).await.unwrap() {
        let body = work.get(work.bucket(), &key, 0, None).await.unwrap();
        found.push((item_of_outcome("run", &key).unwrap().1, serde_json::from_slice(&body).unwrap()));
    }
    found
}

#[tokio::test]
async fn a_manifest_brings_its_route_and_its_outcome_lies_under_it() {
    let mut world = World::new().await;
    world.put("small", 1, 5_000);
    world.put("large", 2, 20 * MIB);
    // Not the configured route: the manifest's own decides.
    world.route.destination.prefix = "by manifest/".into();
    let key = manifest(&world, "run", &["small", "large"]).await;
    let request = request(&world, &key, 1);
    for execution in ["first", "second"] {
        let ended = world.migrate(execution, &request).await;
        assert!(ended.result.is_ok(), "{:?}", ended.result);
    }
    for (from, to) in [("small", "by manifest/small"), ("large", "by manifest/large")] {
        assert_eq!(world.here.store().get("departures", from), world.there.store().get("arrivals", to));
    }
    let found = outcomes(&world).await;
    assert_eq!(world.clients.work.list(&item_outcomes_prefix("run", &key)).await.unwrap().len(), 2);
    let first = &found.iter().find(|(_, outcome)| outcome.execution == "first").unwrap().1;
    assert_eq!((first.tally.migrated, first.tally.objects(), first.tally.bytes), (2, 2, 5_000 + 20 * MIB));
    assert!(first.slowest.iter().any(|slowest| slowest.key == "large" && slowest.bytes == 20 * MIB), "{first:?}");
    assert!(first.started_ms > 0 && first.ended_ms >= first.started_ms);
    assert_eq!(world.sent.failed.lock().unwrap().len(), 0);
}

#[tokio::test]
async fn a_paused_run_leaves_the_manifest_alone_and_a_resumed_one_takes_it() {
    let world = World::new().await;
    world.put("a", 1, 10);
    let key = manifest(&world, "run", &["a"]).await;
    for control in [Control::Paused, Control::Stopped] {
        let body = serde_json::to_vec(&ControlObject { control: Some(control) }).unwrap();
        world.clients.work.put(&control_key("run"), body.into()).await.unwrap();
        let ended = world.migrate(&format!("{control:?}"), &request(&world, &key, 1)).await;
        assert!(ended.result.is_ok(), "{:?}", ended.result);
        assert_eq!(ended.tally.held, 1);
    }
    assert!(outcomes(&world).await.is_empty());
    assert_eq!(world.here.log().count("GetObject") + world.there.log().count("PutObject"), 0);
    let body = serde_json::to_vec(&ControlObject { control: None }).unwrap();
    world.clients.work.put(&control_key("run"), body.into()).await.unwrap();
    assert!(world.migrate("resumed", &request(&world, &key, 2)).await.result.is_ok());
    assert_eq!(outcomes(&world).await[0].1.tally.migrated, 1);
}

#[tokio::test]
async fn an_attempt_repeats_what_failed_and_nothing_else() {
    let world = World::new().await;
    world.put("good", 1, 10);
    world.put("bad", 2, 20);
    let key = manifest(&world, "run", &["good", "bad"]).await;
    world
        .there
        .faults()
        .add(Rule::on("PutObject").key("bad").times(0).fails(Fault::Status { status: 403, code: None }));
    let ended = world.migrate("first", &request(&world, &key, 1)).await;
    assert!(ended.result.is_err());
    world.there.faults().clear();
    assert!(world.migrate("second", &request(&world, &key, 2)).await.result.is_ok());
    assert_eq!(world.record("bad").await.unwrap().status, Status::Migrated);
    let second = outcomes(&world).await.pop().unwrap();
    assert_eq!((second.0, second.1.tally.migrated, second.1.tally.unchanged), (2, 1, 1));
    // All is well: a third attempt begins nothing, and the second one's outcome stands.
    world.there.log().reset();
    world.here.log().reset();
    assert!(world.migrate("third", &request(&world, &key, 3)).await.result.is_ok());
    assert!(world.there.log().entries().is_empty() && world.here.log().entries().is_empty());
    assert_eq!(outcomes(&world).await.len(), 2);
}

#[tokio::test]
async fn a_manifest_of_another_run_is_refused() {
    let world = World::new().await;
    world.put("a", 1, 10);
    let key = manifest(&world, "other", &["a"]).await;
    let ended = world.migrate("e", &request(&world, &key, 1)).await;
    assert!(ended.result.is_err());
    assert_eq!(world.there.log().count("PutObject"), 0);
    assert_eq!(world.sent.failed.lock().unwrap().len(), 1, "the manifest as a whole");
}

#[tokio::test]
async fn what_arrived_under_a_lost_reply_counts_as_migrated_where_nothing_stood() {
    for (stands, migrated) in [(Some(false), 1), (None, 0)] {
        let world = World::new().await;
        world.put("a", 1, 10);
        world.there.faults().add(Rule::on("PutObject").times(1).fails(Fault::LoseReply));
        let offer = ObjectRef { stands, ..world.offer("a") };
        let request = Request { objects: vec![offer], ..Request::default() };
        let ended = world.migrate("e", &request).await;
        assert_eq!((ended.tally.migrated, ended.tally.unchanged), (migrated, 1 - migrated), "{stands:?}");
        world.assert_equal("a");
    }
}

#[tokio::test]
async fn a_key_that_a_list_names_twice_is_accounted_for_twice() {
    let world = World::new().await;
    world.put("a", 1, 10);
    let key = manifest(&world, "run", &["a", "a"]).await;
    assert!(world.migrate("first", &request(&world, &key, 1)).await.result.is_ok());
    let tally = outcomes(&world).await[0].1.tally;
    assert_eq!((tally.migrated, tally.unchanged, tally.objects()), (1, 1, 2));
    assert!(world.migrate("second", &request(&world, &key, 2)).await.result.is_ok());
    assert_eq!(outcomes(&world).await.len(), 1, "nothing was left to do");
}

#[tokio::test]
async fn an_execution_that_is_aborted_before_it_finds_nothing_to_do_fails_nothing() {
    let world = World::new().await;
    world.put("a", 1, 10);
    let key = manifest(&world, "run", &["a"]).await;
    assert!(world.migrate("first", &request(&world, &key, 1)).await.result.is_ok());
    let aborted = |attempt| Ended {
        execution: "arn:aws:states:eu-west-1:1:execution:m:aborted".into(),
        started_ms: world.context().clock.now_ms() + 1_000,
        status: "ABORTED".into(),
        input: Some(serde_json::to_string(&request(&world, &key, attempt)).unwrap()),
        reason: None,
    };
    settle_ended(&world.clients, &world.context(), aborted(2)).await.unwrap();
    assert_eq!(outcomes(&world).await.len(), 1, "the first attempt's outcome stands");
    assert!(world.sent.failed.lock().unwrap().is_empty());
    // An execution of the first attempt itself is settled as any other.
    let other = manifest(&world, "run", &["a"]).await;
    world.put("a", 2, 20);
    assert_eq!(other, key);
    settle_ended(&world.clients, &world.context(), aborted(1)).await.unwrap();
    assert_eq!(world.sent.failed.lock().unwrap().len(), 1);
}
