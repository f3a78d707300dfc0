//! Removals, and everything that keeps an object.

use super::*;
use bytes::Bytes;
use longhaul_aws::clients::Clients;
use longhaul_aws::context::Context;
use longhaul_aws::work::{Found, Page, Work};
use longhaul_core::backfill::deletions::Deleted;
use longhaul_core::backfill::run::deleted_key;
use longhaul_core::backfill::states::{ShardState, ShardWork};
use longhaul_core::error::ErrorName;
use longhaul_core::etag::ETag;
use longhaul_testing::{Fault, Rule};
use serde_json::json;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A run whose manifests tell these objects of the destination to be removed, so many to a manifest.
async fn to_remove(world: &World, keys: &[&str], a_manifest: usize) -> ShardWork {
    let begun = begun(world, json!({"delete": {"max": 1_000}})).await;
    let run = run_of(world, &begun.run.name).await;
    let deletion = |key: &&str| {
        let object = world.there.store().object("arrivals", key).unwrap();
        let (etag, size) = (ETag::new(&object.etag), object.body.len());
        Deletion { delete: (*key).into(), source_key: (*key).into(), etag, size }
    };
    let groups: Vec<Vec<Deletion>> = keys.chunks(a_manifest).map(|keys| keys.iter().map(deletion).collect()).collect();
    for (number, gone) in (0..).zip(&groups) {
        let deletions = gone.len() as u64;
        let counts = Counts { extra: deletions, deletions, ..Counts::default() };
        manifest(world, &run, 0, number, counts, gone, number as usize + 1 == groups.len()).await;
    }
    ShardWork { run: begun.run, shard: 0 }
}

fn there(world: &World, keys: &[&str]) {
    for key in keys {
        world.there.store().put("arrivals", key, (*key).to_owned());
    }
}

async fn delete_in(world: &World, context: &Context, work: &ShardWork) -> Result<ShardState, StepError> {
    match scan(&world.clients, context, ScanInput::Delete(work.clone())).await? {
        ScanOutput::Shard(state) => Ok(state),
        other => panic!("{other:?}"),
    }
}

async fn delete(world: &World, work: &ShardWork) {
    let state = delete_in(world, &world.context(), work).await.unwrap();
    assert!(matches!(state, ShardState::Done(_)), "{state:?}");
}

async fn deleted(world: &World) -> Deleted {
    let found = world.clients.work.find(&deleted_key("monday", 0), 1 << 20).await.unwrap().unwrap();
    serde_json::from_slice(&found.body).unwrap()
}

#[tokio::test]
async fn what_the_source_lacks_is_removed_once() {
    let world = World::new().await;
    world.put("kept", 1, 5);
    there(&world, &["kept", "x/a", "x/b", "x//c", "é"]);
    let work = to_remove(&world, &["x/a", "x/b", "x//c", "é"], 2).await;
    for _ in 0..2 {
        delete(&world, &work).await;
        let record = deleted(&world).await;
        assert_eq!((record.removed, record.removed_bytes, record.total()), (4, 12, 4));
        assert!(record.done && !record.under_way);
    }
    assert_eq!(world.there.store().keys("arrivals"), ["kept"]);
    let conditional = |entry: &longhaul_testing::Entry| entry.call.operation == "DeleteObject";
    assert_eq!(world.there.log().count_if(|entry| conditional(entry) && entry.call.key.as_deref() == Some("x/a")), 1);
    assert_eq!(world.there.log().count_if(|entry| conditional(entry) && entry.call.if_match.is_none()), 0);
}

#[tokio::test]
async fn manifests_without_deletions_are_passed_over() {
    let world = World::new().await;
    there(&world, &["a"]);
    let work = to_remove(&world, &["a"], 1).await;
    let run = run_of(&world, "monday").await;
    let etag = ETag::new(&world.there.store().object("arrivals", "a").unwrap().etag);
    let gone = [Deletion { delete: "a".into(), source_key: "a".into(), etag, size: 1 }];
    for number in 0..5 {
        let gone: &[Deletion] = if number == 2 { &gone } else { &[] };
        manifest(&world, &run, 0, number, Counts::default(), gone, number == 4).await;
    }
    for _ in 0..2 {
        delete(&world, &work).await;
        let record = deleted(&world).await;
        assert_eq!((record.removed, record.next_manifest, record.done), (1, 5, true));
    }
}

#[tokio::test]
async fn what_changed_since_the_listing_stays() {
    let world = World::new().await;
    there(&world, &["back", "changed", "gone", "late", "lost"]);
    let work = to_remove(&world, &["back", "changed", "gone", "late", "lost"], 10).await;
    world.put("back", 1, 5);
    world.there.store().put("arrivals", "changed", "anew");
    world.there.store().delete("arrivals", "gone");
    // Somebody writes between the look and the removal.
    world.there.faults().before(Rule::on("DeleteObject").key("late"), |store, _| {
        store.put("arrivals", "late", "anew");
    });
    world.there.faults().add(Rule::on("DeleteObject").key("lost").fails(Fault::LoseReply));
    delete(&world, &work).await;
    let record = deleted(&world).await;
    assert_eq!((record.kept_source_has_it, record.kept_changed, record.already_gone, record.removed), (1, 2, 1, 1));
    assert_eq!(world.there.store().keys("arrivals"), ["back", "changed", "late"]);
}

#[tokio::test]
async fn only_a_clear_answer_removes() {
    let world = World::new().await;
    there(&world, &["denied", "faulty", "plain"]);
    let work = to_remove(&world, &["denied", "faulty", "plain"], 10).await;
    let refuse = |key: &str, status: u16| {
        let rule = Rule::on("HeadObject").key(key).times(0);
        world.here.faults().add(rule.fails(Fault::Status { status, code: None }));
    };
    refuse("denied", 403);
    refuse("faulty", 405);
    delete(&world, &work).await;
    let record = deleted(&world).await;
    assert_eq!((record.failed, record.removed), (2, 1));
    assert!(record.failures.iter().any(|failed| failed.key == "denied" && failed.reason.contains("s3:ListBucket")));
    assert_eq!(world.there.store().keys("arrivals"), ["denied", "faulty"]);
}

#[tokio::test]
async fn a_source_bucket_that_is_gone_removes_nothing() {
    let world = World::new().await;
    let keys: Vec<String> = (0..20).map(|number| format!("k{number:02}")).collect();
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    there(&world, &keys);
    let work = to_remove(&world, &keys, 100).await;
    let gone = Fault::Status { status: 404, code: Some("NoSuchBucket".into()) };
    world.here.faults().add(Rule { bucket: Some("departures".into()), times: 0, what: Some(gone), ..Rule::default() });
    let failed = delete_in(&world, &world.context(), &work).await.unwrap_err();
    assert!(failed.name == ErrorName::Rejected && failed.message.contains("does not exist"), "{failed}");
    assert_eq!(world.there.store().keys("arrivals").len(), 20);
}

#[tokio::test]
async fn a_step_that_died_is_counted_once() {
    let world = World::new().await;
    there(&world, &["a", "b", "c", "d"]);
    let work = to_remove(&world, &["a", "b", "c", "d"], 2).await;
    // The step dies in its second manifest: one of its objects is removed, the record does not know yet.
    let hang = Fault::Delay { ms: 3_600_000 };
    world.there.faults().add(Rule::on("DeleteObject").key("d").fails(hang));
    let context = world.context();
    let step = delete_in(&world, &context, &work);
    let watch = async {
        while world.there.store().object("arrivals", "c").is_some() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::select! {
        ended = step => panic!("{ended:?}"),
        () = watch => {}
    }
    assert!(deleted(&world).await.under_way);
    world.there.faults().clear();
    delete(&world, &work).await;
    let record = deleted(&world).await;
    assert_eq!((record.removed, record.already_gone, record.total()), (4, 0, 4));
    assert!(world.there.store().keys("arrivals").is_empty());
}

#[tokio::test]
async fn many_go_in_groups_and_twice_at_once() {
    let world = World::new().await;
    let keys: Vec<String> = (0..150).map(|number| format!("k{number:03}")).collect();
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    there(&world, &keys);
    let work = to_remove(&world, &keys, 100).await;
    let contexts = (world.context(), world.context());
    let (one, other) = tokio::join!(delete_in(&world, &contexts.0, &work), delete_in(&world, &contexts.1, &work));
    assert!(matches!((one.unwrap(), other.unwrap()), (ShardState::Done(_), ShardState::Done(_))));
    assert_eq!(deleted(&world).await.total(), 150);
    assert!(world.there.store().keys("arrivals").is_empty());
}

#[tokio::test]
async fn out_of_time_or_paused_nothing_is_removed() {
    let world = World::new().await;
    there(&world, &["a"]);
    let work = to_remove(&world, &["a"], 1).await;
    let context = world.context_for(Duration::from_secs(9));
    let state = delete_in(&world, &context, &work).await.unwrap();
    assert_eq!(state, ShardState::Delete(work.clone()));
    want(&world, "monday", Some(Control::Paused)).await;
    delete(&world, &work).await;
    assert_eq!(world.there.store().keys("arrivals"), ["a"]);
    want(&world, "monday", None).await;
    delete(&world, &work).await;
    assert!(world.there.store().keys("arrivals").is_empty());
}

#[tokio::test]
async fn what_is_not_of_the_route_is_a_bug() {
    let world = World::new().await;
    there(&world, &["a", "b"]);
    let work = to_remove(&world, &["a"], 1).await;
    let run = run_of(&world, "monday").await;
    let etag = |key: &str| ETag::new(&world.there.store().object("arrivals", key).unwrap().etag);
    let odd = |key: &str, source_key: &str| Deletion {
        delete: key.into(),
        source_key: source_key.into(),
        etag: etag(key),
        size: 1,
    };
    let gone = [odd("a", "a"), odd("b", "elsewhere")];
    manifest(&world, &run, 0, 0, Counts { deletions: 2, ..Counts::default() }, &gone, true).await;
    let failed = delete_in(&world, &world.context(), &work).await.unwrap_err();
    assert_eq!(failed.name, ErrorName::Bug);
    assert_eq!(world.there.store().keys("arrivals"), ["a", "b"]);
}

/// The next attempt at the run.
async fn resumed(world: &World, number: u32) -> ShardWork {
    let execution = format!("{EXECUTION}-{number}");
    let run = begin(world, json!({"resume": "monday"}), &execution).await.unwrap().run;
    assert_eq!(run.attempt, number);
    ShardWork { run, shard: 0 }
}

#[tokio::test]
async fn what_failed_is_tried_again_by_the_next_attempt() {
    let world = World::new().await;
    let keys = ["changed", "denied", "else", "gone", "kept", "plain"];
    there(&world, &keys);
    let work = to_remove(&world, &keys, 2).await;
    world.there.store().put("arrivals", "changed", "anew");
    world.there.store().delete("arrivals", "gone");
    world.put("kept", 1, 5);
    for key in ["denied", "else"] {
        let rule = Rule::on("HeadObject").key(key).times(0);
        world.here.faults().add(rule.fails(Fault::Status { status: 405, code: None }));
    }
    delete(&world, &work).await;
    let first = deleted(&world).await;
    assert_eq!((first.attempt, first.failed, first.removed, first.done), (1, 2, 1, true));
    // The attempt's own steps do not try it again.
    delete(&world, &work).await;
    assert_eq!(deleted(&world).await, first);

    // Somebody else removes one of the two meanwhile.
    world.here.faults().clear();
    world.there.store().delete("arrivals", "else");
    for attempt in [2, 3] {
        delete(&world, &resumed(&world, attempt).await).await;
        let record = deleted(&world).await;
        assert_eq!((record.attempt, record.failed, record.failures.len(), record.done), (2, 0, 0, true));
        assert_eq!((record.removed, record.removed_bytes, record.already_gone), (2, 11, 2));
        assert_eq!((record.kept_changed, record.kept_source_has_it, record.total()), (1, 1, 6));
    }
    assert_eq!(world.there.store().keys("arrivals"), ["changed", "kept"]);
}

#[tokio::test]
async fn a_paused_shard_goes_on_where_it_was() {
    let world = World::new().await;
    there(&world, &["a", "b"]);
    let work = to_remove(&world, &["a", "b"], 1).await;
    world.there.faults().add(Rule::on("DeleteObject").key("b").times(0).fails(Fault::Delay { ms: 3_600_000 }));
    let context = world.context();
    tokio::select! {
        ended = delete_in(&world, &context, &work) => panic!("{ended:?}"),
        () = async {
            while world.there.log().count_if(|entry| entry.call.key.as_deref() == Some("b")) < 2 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        } => {}
    }
    world.there.faults().clear();
    let looks = || world.here.log().count_if(|entry| entry.call.key.as_deref() == Some("a"));
    let before = looks();
    delete(&world, &resumed(&world, 2).await).await;
    let record = deleted(&world).await;
    assert_eq!((record.attempt, record.removed, record.already_gone, record.total()), (2, 2, 0, 2));
    assert_eq!(looks(), before, "nothing failed, so nothing is gone through again");
}

#[tokio::test]
async fn what_comes_back_during_its_removal_fails_until_it_is_brought() {
    let world = World::new().await;
    there(&world, &["a", "b"]);
    let work = to_remove(&world, &["a", "b"], 10).await;
    // An event finds the same bytes at the destination still, and migrates nothing.
    let here = world.here.store().clone();
    world.there.faults().before(Rule::on("DeleteObject").key("a"), move |_, _| {
        here.put("departures", "a", "a");
    });
    delete(&world, &work).await;
    let told = |record: &Deleted| record.failures[0].reason.contains("source has it again");
    let record = deleted(&world).await;
    assert_eq!((record.removed, record.failed, told(&record)), (1, 1, true));
    delete(&world, &resumed(&world, 2).await).await;
    let record = deleted(&world).await;
    assert_eq!((record.removed, record.failed, told(&record)), (1, 1, true), "it still lacks at the destination");
    there(&world, &["a"]);
    delete(&world, &resumed(&world, 3).await).await;
    let record = deleted(&world).await;
    assert_eq!((record.removed, record.kept_source_has_it, record.total()), (1, 1, 2));
}

#[tokio::test]
async fn a_removal_is_not_repeated_without_a_look_at_the_source() {
    let world = World::new().await;
    there(&world, &["a"]);
    let work = to_remove(&world, &["a"], 10).await;
    let here = world.here.store().clone();
    let refusal = Fault::Status { status: 503, code: None };
    world.there.faults().add(Rule::on("DeleteObject").key("a").fails(refusal));
    // The look behind the removal that had no answer.
    world.there.faults().before(Rule::on("HeadObject").key("a").nth(2), move |_, _| {
        here.put("departures", "a", "a");
    });
    delete(&world, &work).await;
    assert_eq!(deleted(&world).await.kept_source_has_it, 1);
    assert_eq!(world.there.store().keys("arrivals"), ["a"]);
    let removal = |entry: &longhaul_testing::Entry| entry.call.operation == "DeleteObject";
    assert_eq!(world.there.log().count_if(|entry| removal(entry) && entry.call.key.as_deref() == Some("a")), 1);
}

/// A work bucket that remembers which objects were read.
#[derive(Debug)]
struct Watched {
    inner: Arc<dyn Work>,
    read: Mutex<Vec<String>>,
}

#[async_trait::async_trait]
impl Work for Watched {
    fn bucket(&self) -> &str {
        self.inner.bucket()
    }
    async fn put(&self, key: &str, body: Bytes) -> Result<(), StepError> {
        self.inner.put(key, body).await
    }
    async fn get(&self, bucket: &str, key: &str, from: u64, end: Option<u64>) -> Result<Bytes, StepError> {
        self.read.lock().unwrap().push(key.to_owned());
        self.inner.get(bucket, key, from, end).await
    }
    async fn put_new(&self, key: &str, body: Bytes) -> Result<bool, StepError> {
        self.inner.put_new(key, body).await
    }
    async fn replace(&self, key: &str, body: Bytes, etag: &str) -> Result<bool, StepError> {
        self.inner.replace(key, body, etag).await
    }
    async fn find(&self, key: &str, most: u64) -> Result<Option<Found>, StepError> {
        self.read.lock().unwrap().push(key.to_owned());
        self.inner.find(key, most).await
    }
    async fn list(&self, prefix: &str) -> Result<Vec<String>, StepError> {
        self.inner.list(prefix).await
    }
    async fn page(&self, prefix: &str, after: Option<&str>) -> Result<Page, StepError> {
        self.inner.page(prefix, after).await
    }
}

#[tokio::test]
async fn a_manifest_is_read_once_however_many_groups_it_has() {
    let world = World::new().await;
    let keys: Vec<String> = (0..200).map(|number| format!("k{number:03}")).collect();
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    there(&world, &keys);
    let work = to_remove(&world, &keys, 150).await;
    let watched = Arc::new(Watched { inner: world.clients.work.clone(), read: Mutex::default() });
    let clients = Clients { work: watched.clone(), ..(*world.clients).clone() };
    scan(&clients, &world.context(), ScanInput::Delete(work)).await.unwrap();
    assert_eq!(deleted(&world).await.removed, 200);
    for number in 0..2 {
        let key = manifest_key("monday", 0, number);
        // The header, and the deletions.
        assert_eq!(watched.read.lock().unwrap().iter().filter(|read| **read == key).count(), 2, "{key}");
    }
}

#[tokio::test]
async fn a_header_may_be_long() {
    let world = World::new().await;
    there(&world, &["a"]);
    let work = to_remove(&world, &["a"], 1).await;
    let mut run = run_of(&world, "monday").await;
    run.routes[0].name = "r".repeat(100_000);
    let etag = ETag::new(&world.there.store().object("arrivals", "a").unwrap().etag);
    let gone = [Deletion { delete: "a".into(), source_key: "a".into(), etag, size: 1 }];
    manifest(&world, &run, 0, 0, Counts { deletions: 1, ..Counts::default() }, &gone, true).await;
    delete(&world, &work).await;
    assert_eq!(deleted(&world).await.removed, 1);
}
