//! Steps that are late, executions that are on the same object, and what either leaves behind.

use crate::by_hand::{copy_all, large, planned};
use crate::world::{MIB, World};
use longhaul::in_process::{Around, Step};
use longhaul_asl::TaskError;
use longhaul_aws::outcomes::{Learnt, Offered, record};
use longhaul_aws::steps::complete;
use longhaul_core::contract::ItemState;
use longhaul_core::error::Failure;
use longhaul_core::names::successor_name;
use longhaul_core::outcome::{Outcome, Proof, SkipReason, Status};
use longhaul_core::request::{ObjectRef, Request};
use longhaul_testing::{Fault, Rule};
use serde_json::Value;
use std::sync::Arc;

/// A planner waits for the reply to its Create while another one, of its own execution or not, brings the object.
#[tokio::test(start_paused = true)]
async fn rule_19_a_planner_that_comes_too_late_begins_no_upload() {
    for late in ["one", "other"] {
        let world = World::over_tls().await;
        world.put("film", 1, 9 * MIB);
        world.there.faults().add(Rule::on("CreateMultipartUpload").times(1).fails(Fault::DelayReply { ms: 20_000 }));
        let request = world.request(&["film"]);
        let (work, ended) = futures::join!(planned(&world, &request, late), world.migrate("one", &request));
        assert_eq!((ended.tally.migrated, work.tally.objects(), work.work.len()), (1, 1, 0), "{late}");
        assert!(world.there.store().open_uploads().is_empty(), "{late}");
        assert!(world.record("film").await.unwrap().status.is_final(), "{late}");
        let outcome = if late == "one" { Status::Migrated } else { Status::Unchanged };
        assert_eq!(world.record("film").await.unwrap().status, outcome);
        world.assert_equal("film");
    }
}

/// A store may say too early that an upload is gone. Once the ledger has forgotten it, nobody can abort it.
#[tokio::test]
async fn rule_19_an_upload_that_was_said_to_be_gone_is_aborted_before_it_is_forgotten() {
    let world = World::new().await;
    world.put("film", 1, 9 * MIB);
    let film = large(&world, "film", "e").await;
    world.here.store().delete("departures", "film");
    let gone = Fault::Status { status: 404, code: Some("NoSuchUpload".into()) };
    world.there.faults().add(Rule::on("ListParts").times(1).fails(gone));
    let ended = complete(&world.clients, &world.context(), film).await.unwrap();
    assert!(matches!(&ended, ItemState::Done(done) if done.tally.skipped == 1), "{ended:?}");
    assert_eq!(world.record("film").await.unwrap().skipped, Some(SkipReason::SourceGone));
    assert!(world.there.store().open_uploads().is_empty());

    // A planner puts its own in the ledger's place.
    world.put("film", 2, 9 * MIB);
    let first = large(&world, "film", "one").await.object.upload_id;
    let gone = Fault::Status { status: 404, code: Some("NoSuchUpload".into()) };
    world.there.faults().add(Rule::on("ListParts").times(1).fails(gone));
    let second = large(&world, "film", "two").await.object.upload_id;
    assert_ne!(first, second);
    let open: Vec<String> = world.there.store().open_uploads().into_iter().map(|upload| upload.id).collect();
    assert_eq!(open, [second]);
}

/// The ledger alone knows the upload of an execution that is still copying.
#[tokio::test]
async fn rule_19_an_outcome_does_not_forget_the_upload_of_another_execution() {
    let world = World::new().await;
    world.put("film", 1, 9 * MIB);
    let first = large(&world, "film", "one").await;
    world.there.store().abort_upload(&first.object.upload_id);
    let second = large(&world, "film", "two").await;
    assert_ne!(first.object.upload_id, second.object.upload_id);
    let offered = Offered { offer: &first.object.offer, route: Some(&world.route), execution: "one", run: None };
    let outcome = Outcome::Migrated { bytes: 9 * MIB, proof: Proof::Parts };
    let upload_id = Some(first.object.upload_id.clone());
    let learnt = Learnt { source: Some(first.object.source.clone()), upload_id, ..Learnt::default() };
    record(&world.clients, &world.context(), offered, &outcome, learnt, None).await.unwrap();
    let kept = world.record("film").await.unwrap();
    assert_eq!((kept.status, kept.execution.as_str()), (Status::Copying, "two"));
    assert_eq!(kept.upload.map(|upload| upload.upload_id), Some(second.object.upload_id.clone()));

    // It comes to its end as if nothing had happened.
    copy_all(&world, &second).await;
    let ended = complete(&world.clients, &world.context(), second).await.unwrap();
    assert!(matches!(&ended, ItemState::Done(done) if done.tally.migrated == 1), "{ended:?}");
    world.assert_equal("film");
    assert!(world.there.store().open_uploads().is_empty());
}

/// A settled failure keeps its upload, for whoever sends the object again. A late outcome that takes its place in the
/// ledger takes the upload along.
#[tokio::test]
async fn rule_19_an_outcome_aborts_the_upload_that_the_ledger_forgets_by_it() {
    let world = World::new().await;
    world.put("film", 1, 9 * MIB);
    let first = large(&world, "film", "one").await;
    let offer = &first.object.offer;
    let offered = |execution| Offered { offer, route: Some(&world.route), execution, run: None };
    let failure = Failure::new("States.Timeout", "late");
    let of_first = Learnt { upload_id: Some(first.object.upload_id.clone()), ..Learnt::default() };
    let (clients, context) = (&world.clients, world.context());
    record(clients, &context, offered("one"), &Outcome::Failed { failure }, of_first, None).await.unwrap();
    assert_eq!(world.there.store().open_uploads().len(), 1, "it can be resumed");

    let outcome = Outcome::Migrated { bytes: 10, proof: Proof::Etag };
    for _ in 0..2 {
        record(clients, &context, offered("two"), &outcome, Learnt::default(), None).await.unwrap();
        let kept = world.record("film").await.unwrap();
        assert_eq!((kept.status, kept.upload), (Status::Migrated, None));
        assert!(world.there.store().open_uploads().is_empty());
    }
}

/// Ends one execution by an error that no state catches.
struct Breaks(String);

#[async_trait::async_trait]
impl Around for Breaks {
    async fn call(&self, _: &str, input: Value, step: Step) -> Result<Value, TaskError> {
        if input["execution"] == self.0.as_str() {
            return Err(TaskError::new("States.DataLimitExceeded", "the answer is larger than a state may hold"));
        }
        step().await
    }
}

#[tokio::test]
async fn rule_11_a_successor_that_breaks_off_is_settled_in_one_process_too() {
    let world = World::around(Arc::new(Breaks(successor_name("e")))).await;
    world.put("film", 1, 9 * MIB);
    world.put("note", 2, 500);
    // It was small when it was offered, so a successor takes it.
    let film = ObjectRef { size: Some(500), ..world.offer("film") };
    let request = Request { objects: vec![film, world.offer("note")], ..Request::default() };
    let ended = world.migrate("e", &request).await;
    assert!(ended.result.is_err(), "{ended:?}");
    assert_eq!((ended.tally.migrated, ended.tally.failed), (1, 1), "{:?}", ended.tally);
    assert_eq!(ended.exceptions.len(), 1);
    assert_eq!(world.record("film").await.unwrap().status, Status::Failed);
    let sent = world.sent.failed.lock().unwrap().clone();
    assert_eq!(sent.len(), 1, "{sent:?}");
    assert!(sent[0].contains("film"));
}
