#![allow(clippy::unwrap_used)]
use super::super::queues::{Answers, Received};
use super::*;
use longhaul_aws::work::MemoryWork;
use longhaul_core::backfill::manifest::{manifest_key, manifest_name};
use longhaul_core::backfill::request::BackfillRequest;
use longhaul_core::backfill::run::{RunItem, Shard, item_outcome_key};
use longhaul_core::config::{Route, Side};
use longhaul_core::contract::Exception;
use longhaul_core::error::Failure;
use longhaul_core::names::successor_name;
use longhaul_core::outcome::SkipReason;
use longhaul_core::tally::Tally;
use std::sync::Mutex;

/// A queue that may refuse everything.
#[derive(Default)]
struct Fake {
    refuses: bool,
    queue: Mutex<Vec<Request>>,
}

#[async_trait::async_trait]
impl Queues for Fake {
    async fn receive(&self) -> Result<Vec<Received>, String> {
        panic!("nothing is received")
    }

    async fn send(&self, bodies: &[&str]) -> Answers {
        if self.refuses {
            return vec![Err("refused".into()); bodies.len()];
        }
        let requests = bodies.iter().map(|body| Request::from_value(&serde_json::from_str(body).unwrap()).unwrap());
        self.queue.lock().unwrap().extend(requests);
        vec![Ok(()); bodies.len()]
    }

    async fn delete(&self, _: &[&str]) -> Answers {
        panic!("nothing is deleted")
    }

    async fn release(&self, _: &[&str]) -> Answers {
        panic!("nothing is released")
    }
}

fn run() -> Run {
    let side = |bucket: &str| Side { bucket: bucket.into(), ..Side::default() };
    let route = |name: &str| Route {
        name: name.into(),
        source: side("from"),
        destination: side(name),
        options: Default::default(),
    };
    Run {
        name: "r".into(),
        attempt: 2,
        execution: "e".into(),
        started_ms: 0,
        request: BackfillRequest::default(),
        routes: vec![route("one"), route("two")],
        shards: vec![Shard::default(), Shard { route: 1, ..Shard::default() }],
    }
}

fn failed(key: &str, name: &str) -> Exception {
    let object = ObjectRef { bucket: "from".into(), key: key.into(), ..ObjectRef::default() };
    Exception { object, outcome: Outcome::Failed { failure: Failure::new(name, "why") } }
}

fn arn(name: &str) -> String {
    format!("arn:aws:states:eu-west-1:1:execution:m:{name}")
}

async fn outcome(work: &MemoryWork, place: (u32, u32), attempt: u32, execution: &str, exceptions: Vec<Exception>) {
    let item = RunItem { name: "r".into(), attempt, manifest: manifest_key("r", place.0, place.1) };
    let outcome = ExecutionOutcome {
        execution: execution.into(),
        tally: Tally::default(),
        continued: execution.ends_with("first"),
        started_ms: 0,
        ended_ms: 1,
        slowest: Vec::new(),
        exceptions,
    };
    work.put(&item_outcome_key(&item, execution), serde_json::to_vec(&outcome).unwrap().into()).await.unwrap();
}

async fn redriven(work: &MemoryWork, choice: &Choice, dry_run: bool) -> (Vec<Request>, Redriven) {
    let fake = Fake::default();
    let (done, ended) = redrive_run(&fake, work, &run(), choice, dry_run).await;
    ended.unwrap();
    (fake.queue.into_inner().unwrap(), done)
}

fn keys(requests: &[Request]) -> Vec<(String, String)> {
    let route = |request: &Request| request.route.as_ref().unwrap().name.clone();
    let all = |request: &Request| {
        request.objects.iter().map(|object| (route(request), object.key.clone())).collect::<Vec<_>>()
    };
    let mut keys: Vec<_> = requests.iter().flat_map(all).collect();
    keys.sort();
    keys
}

#[tokio::test]
async fn what_failed_in_the_newest_attempt_is_sent_on_its_route() {
    let work = MemoryWork::default();
    let skipped = Exception { outcome: Outcome::Skipped { reason: SkipReason::Superseded }, ..failed("skipped", "x") };
    outcome(&work, (0, 0), 1, &arn("a"), vec![failed("healed", "TooSlow"), failed("still", "TooSlow")]).await;
    outcome(&work, (0, 0), 2, &arn("b"), vec![failed("still", "Rejected"), skipped]).await;
    // An execution and its successor, of another route.
    outcome(&work, (1, 0), 1, &arn("first"), vec![failed("two/1", "Rejected")]).await;
    outcome(&work, (1, 0), 1, &arn(&successor_name(&arn("first"))), vec![failed("two/2", "TooSlow")]).await;
    outcome(&work, (1, 1), 1, &arn("c"), vec![]).await;
    let expected = |all: &[(&str, &str)]| all.iter().map(|(r, k)| (r.to_string(), k.to_string())).collect::<Vec<_>>();

    let (sent, done) = redriven(&work, &Choice::default(), false).await;
    assert_eq!(keys(&sent), expected(&[("one", "still"), ("two", "two/1"), ("two", "two/2")]));
    assert_eq!((done.sent, done.by_name["Rejected"], done.by_name["TooSlow"], done.left), (3, 2, 1, 0));

    let only = Choice { only: vec!["TooSlow".into()], prefix: "two/".into(), ..Choice::default() };
    let (sent, done) = redriven(&work, &only, false).await;
    assert_eq!((keys(&sent), done.left), (expected(&[("two", "two/2")]), 2));

    let (sent, done) = redriven(&work, &Choice { most: Some(2), ..Choice::default() }, true).await;
    assert_eq!((sent.len(), done.sent, done.left, done.dry_run), (0, 2, 1, true));
}

#[tokio::test]
async fn messages_hold_a_hundred_objects_and_fit() {
    let work = MemoryWork::default();
    let long = "k".repeat(1_000);
    for number in 0..30 {
        let exceptions = (0..70).map(|object| failed(&format!("{number}/{object}"), "Bug")).collect();
        outcome(&work, (0, number), 1, &arn(&format!("e{number}")), exceptions).await;
        let exceptions = (0..20).map(|object| failed(&format!("{number}/{object}/{long}"), "Bug")).collect();
        outcome(&work, (1, number), 1, &arn(&format!("f{number}")), exceptions).await;
    }
    let (sent, done) = redriven(&work, &Choice::default(), false).await;
    assert_eq!((done.sent, keys(&sent).len()), (2_700, 2_700));
    assert_eq!(sent.iter().filter(|request| request.route.as_ref().unwrap().name == "one").count(), 21);
    for request in &sent {
        assert!(request.objects.len() <= OBJECTS_MAX);
        assert!(serde_json::to_string(request).unwrap().len() < 256 * 1024);
    }
}

#[tokio::test]
async fn what_the_queue_refuses_is_told() {
    let work = MemoryWork::default();
    outcome(&work, (0, 0), 1, &arn("a"), vec![failed("x", "Bug"), failed("y", "Bug")]).await;
    let fake = Fake { refuses: true, ..Fake::default() };
    let (done, ended) = redrive_run(&fake, &work, &run(), &Choice::default(), false).await;
    assert_eq!((ended, done.sent, done.unsent, done.reasons), (Ok(()), 0, 2, vec!["refused".to_owned()]));
}

#[tokio::test]
async fn a_record_that_cannot_be_read_is_an_error_and_the_others_are_sent() {
    let work = MemoryWork::default();
    outcome(&work, (0, 0), 1, &arn("a"), vec![failed("x", "Bug")]).await;
    let bad = outcomes_prefix("r") + "zz-00000-0000009/000001-b.json";
    work.put(&bad, "{".into()).await.unwrap();
    let fake = Fake::default();
    let (done, ended) = redrive_run(&fake, &work, &run(), &Choice::default(), false).await;
    assert!(ended.unwrap_err().contains("zz-00000"));
    assert_eq!((done.sent, fake.queue.into_inner().unwrap().len()), (1, 1));
}

#[test]
fn the_shard_stands_in_a_manifests_name() {
    assert_eq!(shard_of(manifest_name(&manifest_key("a-1-2", 39, 14))), Some(39));
    assert_eq!(shard_of("x"), None);
}
