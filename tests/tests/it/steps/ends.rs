//! How messages begin, and how executions end.

use super::*;

#[tokio::test]
async fn intake_starts_each_batch_once_and_reports_only_what_must_come_again() {
    let world = World::new().await;
    let event = |key: &str| {
        json!({"Records": [{"eventVersion": "2.1", "eventName": "ObjectCreated:Put",
            "s3": {"bucket": {"name": "departures"}, "object": {"key": key, "size": 1}}}]})
        .to_string()
    };
    let messages = || {
        vec![
            QueueMessage { id: "1".into(), body: event("a") },
            QueueMessage { id: "2".into(), body: "{".into() },
            QueueMessage { id: "3".into(), body: json!({"Event": "s3:TestEvent"}).to_string() },
            QueueMessage {
                id: "4".into(),
                body: json!({"objects": [{"bucket": "departures", "key": "b"}]}).to_string(),
            },
        ]
    };
    for _ in 0..2 {
        let report = intake(&world.clients, &world.context(), messages()).await.unwrap();
        assert_eq!((report.executions, report.unreadable, report.ignored, report.again.len()), (2, 1, 1, 0));
    }
    let names: Vec<String> = world.sent.started.lock().unwrap().keys().cloned().collect();
    assert_eq!(names.len(), 2, "the same names again");
    assert!(world.sent.unreadable.lock().unwrap()[0].1.contains("no JSON"));

    world.sent.refused.lock().unwrap().push(names[0].clone());
    let report = intake(&world.clients, &world.context(), messages()).await.unwrap();
    assert_eq!(report.again.len(), 1, "only the message of the execution that did not start");
}

#[tokio::test]
async fn rule_11_an_execution_that_ended_badly_is_settled() {
    let world = World::new().await;
    world.put("done", 1, 10);
    world.put("film", 2, 20 * MIB);
    world.put("later", 3, 10);
    let request = world.request(&["done", "film", "later"]);
    let arn = "arn:aws:states:us-east-1:1:execution:m:e";
    let work = planned(&world, &request, arn).await;
    let ItemState::CopyObjects(mut batch) = work.work.last().unwrap().clone() else { panic!() };
    if let BatchObjects::Inline(objects) = &mut batch.objects {
        objects.retain(|object| object.key == "done");
    }
    copy_objects(&world.clients, &world.context(), batch).await.unwrap();

    let event = json!({"detail-type": "Step Functions Execution Status Change", "source": "aws.states", "detail": {
        "executionArn": arn, "status": "ABORTED", "startDate": 1,
        "input": serde_json::to_string(&request).unwrap()}});
    for _ in 0..2 {
        settle_event(&world.clients, &world.context(), event.clone()).await.unwrap();
    }
    let failed = world.sent.failed.lock().unwrap().clone();
    assert_eq!(failed.len(), 2, "each object without an outcome, once");
    for message in &failed {
        let again = Request::from_value(&serde_json::from_str(message).unwrap()).unwrap();
        assert_eq!(again.failure.unwrap().name, "ExecutionABORTED");
    }
    let record = world.record("film").await.unwrap();
    assert_eq!(record.status, Status::Failed);
    assert!(record.upload.is_some(), "what was copied can be resumed");
    assert!(matches!(world.record("done").await.unwrap().outcome_of(arn), Some(Outcome::Migrated { .. })));
}

#[tokio::test]
async fn a_failure_that_is_recorded_late_undoes_nothing() {
    let world = World::new().await;
    world.put("film", 1, 20 * MIB);
    let first = large(&world, "film", "one").await;
    let looked = world.record("film").await;
    // Its message was sent again, and another execution has brought the object, before the failure is written.
    let second = large(&world, "film", "two").await;
    copy_all(&world, &second).await;
    complete(&world.clients, &world.context(), second).await.unwrap();
    let offered = Offered { offer: &first.object.offer, route: Some(&world.route), execution: "one", run: None };
    let outcome = failed(Failure::new("ExecutionABORTED", "stopped"));
    record(&world.clients, &world.context(), offered, &outcome, Learnt::default(), Some(looked)).await.unwrap();
    let kept = world.record("film").await.unwrap();
    assert_eq!((kept.status, kept.execution.as_str()), (Status::Migrated, "two"));
    world.assert_equal("film");
}
