use super::*;

fn distributed(with: Value) -> Machine {
    let mut state = json!({
        "Type": "Map", "End": true, "Label": "Each",
        "ItemReader": {"Resource": "read", "Parameters": {"prefix.$": "$.prefix"}},
        "ItemSelector": {"fail.$": "$$.Map.Item.Value.fail", "seconds.$": "$$.Map.Item.Value.seconds"},
        "ItemProcessor": {
            "ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"}, "StartAt": "I",
            "States": {"I": {"Type": "Task", "Resource": "work", "ResultPath": "$.by", "Next": "D", "Parameters": {
                "fail.$": "$.fail", "seconds.$": "$.seconds", "id.$": "$$.Execution.Id"
            }}, "D": {"Type": "Succeed"}}
        }
    });
    state.as_object_mut().unwrap().extend(with.as_object().unwrap().clone());
    one(state)
}

fn reading(fails: &'static [bool]) -> Fake<impl Fn(&str, &Value, usize) -> Answer + Send + Sync> {
    Fake::new(move |resource, input, _| match (resource, input["fail"].as_bool()) {
        ("read", _) => Ok(fails.iter().enumerate().map(|(i, fail)| json!({"fail": fail, "seconds": i})).collect()),
        ("write", _) => Ok(json!({"written": input["results"].as_array().unwrap().len()})),
        (_, Some(true)) => Err(TaskError::new("Mine", "because")),
        _ => Ok(input["id"].clone()),
    })
}

#[tokio::test(start_paused = true)]
async fn children_are_executions_of_their_own() {
    let tasks = reading(&[false, false]);
    let outcome = run(&distributed(json!({})), json!({"prefix": "p/"}), &tasks).await;
    let output = outcome.result.unwrap();
    assert_eq!(output[0], json!({"fail": false, "seconds": 0, "by": "arn:e/Each:0"}));
    assert_eq!(output[1]["by"], "arn:e/Each:1");
    assert_eq!(tasks.inputs_of("read"), [json!({"prefix": "p/"})]);
    // Two for the execution, entered, exited, and the two pairs of Map and Map Run.
    assert_eq!(outcome.stats.history_events, 8);
    assert_eq!((outcome.stats.children, outcome.stats.largest_child_history), (2, 9));
}

#[tokio::test(start_paused = true)]
async fn a_child_sees_itself_as_the_execution() {
    let machine = distributed(json!({"ItemProcessor": {
        "ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"}, "StartAt": "P",
        "States": {"P": {"Type": "Pass", "Next": "D", "Parameters": {
            "name.$": "$$.Execution.Name", "input.$": "$$.Execution.Input", "machine.$": "$$.StateMachine.Id"
        }}, "D": {"Type": "Succeed"}}
    }}));
    let outcome = run(&machine, json!({"prefix": ""}), &reading(&[false, true])).await;
    let output = outcome.result.unwrap();
    assert_ne!(output[0]["name"], output[1]["name"]);
    let parent = options();
    for (index, child) in output.as_array().unwrap().iter().enumerate() {
        // The name of the parent is in it: another execution's children have other names.
        assert_eq!(child["name"], format!("{}-{index}", parent.name));
        assert_eq!(child["input"], json!({"fail": index == 1, "seconds": index}));
        assert_eq!(child["machine"], format!("{}/Each", parent.state_machine_id));
    }
}

#[tokio::test(start_paused = true)]
async fn a_failed_child_fails_the_map_unless_tolerated() {
    let tasks = reading(&[false, true, false, false]);
    let outcome = run(&distributed(json!({})), json!({"prefix": ""}), &tasks).await;
    assert_eq!(error_of(outcome), "States.ExceedToleratedFailureThreshold");
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(tasks.ended(), 3);

    let outcome = run(&distributed(json!({"ToleratedFailurePercentage": 25})), json!({"prefix": ""}), &tasks).await;
    let output = outcome.result.unwrap();
    assert_eq!(output.as_array().unwrap().len(), 4);
    assert_eq!((&output[1]["Status"], &output[1]["Error"]), (&json!("FAILED"), &json!("Mine")));
    assert_eq!(output[2]["by"], "arn:e/Each:2");
    assert_eq!(outcome.stats.children, 4);

    let path = distributed(json!({"ToleratedFailurePercentagePath": "$.most"}));
    let outcome = run(&path, json!({"prefix": "", "most": 24.9}), &tasks).await;
    assert_eq!(error_of(outcome), "States.ExceedToleratedFailureThreshold");
    assert!(run(&path, json!({"prefix": "", "most": 100}), &tasks).await.result.is_ok());
    assert_eq!(error_of(run(&path, json!({"prefix": "", "most": 101}), &tasks).await), "States.Runtime");
}

#[tokio::test(start_paused = true)]
async fn results_are_written_with_every_verdict() {
    let tasks = reading(&[true, false]);
    let machine = distributed(json!({
        "ToleratedFailurePercentage": 100,
        "ResultWriter": {"Resource": "write", "Parameters": {"to.$": "$.prefix"}}
    }));
    let outcome = run(&machine, json!({"prefix": "p/"}), &tasks).await;
    assert_eq!(outcome.result.unwrap(), json!({"written": 2}));
    let written = &tasks.inputs_of("write")[0];
    assert_eq!(written["parameters"], json!({"to": "p/"}));
    assert_eq!(written["results"][0]["Status"], "FAILED");
    assert_eq!(written["results"][1]["Status"], "SUCCEEDED");
    assert_eq!(written["results"][1]["Input"], r#"{"fail":false,"seconds":1}"#);
    assert!(written["results"][1]["Output"].as_str().unwrap().contains("arn:e/Each:1"));
}

#[tokio::test(start_paused = true)]
async fn errors_of_reader_and_writer_have_their_names() {
    let broken = |broken: &'static str| {
        Fake::new(move |resource, _, _| match resource {
            _ if resource == broken => Err(TaskError::new("S3.NoSuchBucket", "gone")),
            "read" => Ok(json!([])),
            _ => Ok(json!({})),
        })
    };
    let machine = distributed(json!({"ResultWriter": {"Resource": "write"}}));
    for (resource, want) in [("read", "States.ItemReaderFailed"), ("write", "States.ResultWriterFailed")] {
        let outcome = run(&machine, json!({"prefix": ""}), &broken(resource)).await;
        let error = outcome.result.unwrap_err();
        assert_eq!((error.error.as_str(), error.cause.as_str()), (want, "S3.NoSuchBucket: gone"));
    }
    let none = Fake::new(|_, _, _| Ok(json!({"not": "a list"})));
    assert_eq!(error_of(run(&machine, json!({"prefix": ""}), &none).await), "States.ItemReaderFailed");
}

#[tokio::test(start_paused = true)]
async fn a_long_list_and_long_results_may_pass_beside_the_state() {
    let tasks = Fake::new(|resource, _, _| match resource {
        "read" => Ok((0..3).map(|_| json!({"fail": "x".repeat(100), "seconds": null})).collect()),
        _ => Ok(json!("y".repeat(100))),
    });
    let machine = distributed(json!({"ResultWriter": {"Resource": "write"}, "ResultPath": null}));
    let limits = Limits { max_payload_bytes: 300, ..Limits::default() };
    let outcome = machine.run(&RunOptions { limits, ..options() }, json!({"prefix": ""}), &tasks, &TokioSleep).await;
    outcome.result.unwrap();
}
