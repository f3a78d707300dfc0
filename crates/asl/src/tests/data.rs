use super::*;

#[tokio::test(start_paused = true)]
async fn paths_and_templates_in_their_order() {
    let tasks = echo();
    let outcome = run(
        &one(json!({
            "Type": "Task", "Resource": "${F}", "InputPath": "$.in", "End": true,
            "Parameters": {"a.$": "$.x", "id.$": "$$.Execution.Id", "all.$": "$$.Execution.Input.keep"},
            "ResultSelector": {"picked.$": "$.a", "me.$": "$$.State.Name"},
            "ResultPath": "$.out.here", "OutputPath": "$.out"
        })),
        json!({"in": {"x": 1}, "keep": 2}),
        &tasks,
    )
    .await;
    assert_eq!(outcome.result.unwrap(), json!({"here": {"picked": 1, "me": "S"}}));
    assert_eq!(tasks.calls(), [("${F}".to_owned(), json!({"a": 1, "id": "arn:e", "all": 2}))]);
    // Started, entered, scheduled, started, succeeded, exited, succeeded.
    assert_eq!(outcome.stats.history_events, 7);
    assert_eq!(outcome.stats.task_calls, 1);
}

#[tokio::test(start_paused = true)]
async fn a_result_and_a_caught_error_are_put_into_the_raw_input() {
    let machine = machine(&json!({"StartAt": "S", "States": {
        "S": {"Type": "Task", "Resource": "r", "InputPath": "$.in", "ResultPath": "$.out", "End": true,
              "Catch": [{"ErrorEquals": ["Mine"], "ResultPath": "$.error", "Next": "C"}]},
        "C": {"Type": "Succeed"}
    }}));
    let output = run(&machine, json!({"in": {}, "keep": 1}), &failing()).await.result.unwrap();
    assert_eq!(output, json!({"in": {}, "keep": 1, "out": {}}));
    let output = run(&machine, json!({"in": {"fail": "Mine"}, "keep": 1}), &failing()).await.result.unwrap();
    assert_eq!((&output["keep"], &output["error"]["Error"]), (&json!(1), &json!("Mine")));
}

#[tokio::test(start_paused = true)]
async fn null_paths() {
    let input = json!({"a": 1});
    let pass = |with: Value| {
        let mut state = json!({"Type": "Pass", "End": true});
        state.as_object_mut().unwrap().extend(with.as_object().unwrap().clone());
        one(state)
    };
    for (with, want) in [
        (json!({}), json!({"a": 1})),
        (json!({"Result": 5, "ResultPath": null}), json!({"a": 1})),
        (json!({"Result": null}), json!(null)),
        (json!({"InputPath": null}), json!({})),
        (json!({"OutputPath": null}), json!({})),
        (json!({"InputPath": "$.a", "ResultPath": "$.b"}), json!({"a": 1, "b": 1})),
        (json!({"Parameters": {"b.$": "$.a"}}), json!({"b": 1})),
        (json!({"InputPath": "$$.State.Name"}), json!("S")),
    ] {
        let outcome = run(&pass(with.clone()), input.clone(), &echo()).await;
        assert_eq!(outcome.result.unwrap(), want, "{with}");
    }
    for (with, want) in [
        (json!({"InputPath": "$.b"}), "States.Runtime"),
        (json!({"OutputPath": "$.b"}), "States.Runtime"),
        (json!({"Parameters": {"b.$": "$.b"}}), "States.ParameterPathFailure"),
        (json!({"ResultPath": "$.a.b"}), "States.ResultPathMatchFailure"),
    ] {
        assert_eq!(error_of(run(&pass(with.clone()), input.clone(), &echo()).await), want, "{with}");
    }
}

#[tokio::test(start_paused = true)]
async fn choice_wait_and_fail() {
    let machine = machine(&json!({"StartAt": "Route", "States": {
        "Route": {"Type": "Choice", "Choices": [
            {"Variable": "$.n", "NumericGreaterThan": 5, "Next": "Later"},
            {"Variable": "$.n", "NumericEquals": 5, "Next": "Never"}
        ], "Default": "Done"},
        "Later": {"Type": "Wait", "SecondsPath": "$.n", "OutputPath": "$.n", "Next": "Done"},
        "Never": {"Type": "Fail", "ErrorPath": "$.e", "Cause": "no"},
        "Done": {"Type": "Succeed"}
    }}));
    let sleep = Recorded::default();
    let outcome = machine.run(&options(), json!({"n": 6}), &echo(), &sleep).await;
    assert_eq!(outcome.result.unwrap(), json!(6));
    assert_eq!(outcome.stats.history_events, 8);
    assert_eq!(sleep.slept(), [Duration::from_secs(6)]);
    let outcome = run(&machine, json!({"n": 5, "e": "Mine"}), &echo()).await;
    assert_eq!(outcome.result.unwrap_err().to_string(), "Mine: no");
    assert_eq!(outcome.stats.history_events, 5);
    assert_eq!(run(&machine, json!({"n": 1}), &echo()).await.stats.history_events, 6);
    assert_eq!(error_of(run(&machine, json!({}), &echo()).await), "States.Runtime");
    assert_eq!(error_of(run(&machine, json!({"n": 5, "e": 1}), &echo()).await), "States.Runtime");
    assert_eq!(error_of(run(&machine, json!({"n": 6.5}), &echo()).await), "States.Runtime");
}

#[tokio::test(start_paused = true)]
async fn no_choice_matches() {
    let machine = machine(&json!({"StartAt": "R", "States": {
        "R": {"Type": "Choice", "Choices": [{"Variable": "$.n", "StringEquals": "a", "Next": "D"}]},
        "D": {"Type": "Succeed"}
    }}));
    assert_eq!(error_of(run(&machine, json!({"n": "b"}), &echo()).await), "States.NoChoiceMatched");
}

#[tokio::test(start_paused = true)]
async fn a_submitted_integration_writes_one_more_event() {
    for resource in
        ["${StartExecutionSync}", "arn:aws:states:::states:startExecution.sync:2", "x:glue:startJobRun.sync"]
    {
        let state = json!({"Type": "Task", "Resource": resource, "End": true});
        assert_eq!(run(&one(state), json!({}), &echo()).await.stats.history_events, 8, "{resource}");
    }
}

#[tokio::test(start_paused = true)]
async fn runs_on_any_thread_and_stops_when_dropped() {
    fn send<T: Send>(future: T) -> T {
        future
    }
    let machine = one(json!({"Type": "Task", "Resource": "r", "End": true}));
    let tasks = echo();
    let options = options();
    {
        let future = send(machine.run(&options, json!({"seconds": 100}), &tasks, &TokioSleep));
        let cut = tokio::time::timeout(Duration::from_secs(1), future).await;
        assert!(cut.is_err());
    }
    tokio::time::sleep(Duration::from_secs(200)).await;
    assert_eq!((tasks.calls().len(), tasks.ended()), (1, 0));
}
