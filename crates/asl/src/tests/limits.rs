use super::*;

fn caught(state: Value) -> Machine {
    let mut state = state;
    state["Catch"] = json!([{"ErrorEquals": ["States.ALL"], "Next": "C"}]);
    state["End"] = true.into();
    machine(&json!({"StartAt": "S", "States": {"S": state, "C": {"Type": "Succeed"}}}))
}

async fn limited(machine: &Machine, limits: Limits, input: Value, tasks: &dyn Tasks) -> Outcome {
    machine.run(&RunOptions { limits, ..options() }, input, tasks, &TokioSleep).await
}

#[tokio::test(start_paused = true)]
async fn payloads_are_limited_everywhere_and_states_all_does_not_catch_it() {
    let limits = Limits { max_payload_bytes: 100, ..Limits::default() };
    let long = "x".repeat(90);
    let machines = [
        (caught(json!({"Type": "Task", "Resource": "r"})), json!({"a": "x".repeat(100)})),
        (caught(json!({"Type": "Task", "Resource": "r", "Parameters": {"a.$": "$", "b.$": "$"}})), json!(long)),
        (caught(json!({"Type": "Task", "Resource": "long"})), json!({})),
        (caught(json!({"Type": "Task", "Resource": "r", "ResultPath": "$.again"})), json!({"a": "x".repeat(60)})),
    ];
    let tasks = Fake::new(|resource, input, _| match resource {
        "long" => Ok(json!("x".repeat(100))),
        _ => Ok(input.clone()),
    });
    for (machine, input) in machines {
        let outcome = limited(&machine, limits, input, &tasks).await;
        assert!(outcome.stats.largest_payload > 100);
        assert_eq!(error_of(outcome), "States.DataLimitExceeded");
    }
    let fits = caught(json!({"Type": "Task", "Resource": "r"}));
    let outcome = limited(&fits, limits, json!("x".repeat(98)), &tasks).await;
    assert_eq!(outcome.stats.largest_payload, 100);
    outcome.result.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_limit_can_be_caught_by_its_name() {
    let machine = machine(&json!({"StartAt": "S", "States": {
        "S": {"Type": "Task", "Resource": "r", "End": true,
              "Catch": [{"ErrorEquals": ["States.DataLimitExceeded"], "Next": "C"}]},
        "C": {"Type": "Pass", "Result": "caught", "End": true}
    }}));
    let tasks = Fake::new(|_, _, _| Ok(json!("x".repeat(300_000))));
    assert_eq!(run(&machine, json!({}), &tasks).await.result.unwrap(), "caught");
}

#[tokio::test(start_paused = true)]
async fn a_maps_outputs_together_are_limited() {
    let machine = caught(json!({"Type": "Map", "ItemProcessor": {
        "ProcessorConfig": {"Mode": "INLINE"}, "StartAt": "I",
        "States": {"I": {"Type": "Pass", "Result": "x".repeat(1000), "End": true}}
    }}));
    let items = |count: usize| Value::from(vec![0; count]);
    run(&machine, items(261), &echo()).await.result.unwrap();
    assert_eq!(error_of(run(&machine, items(262), &echo()).await), "States.DataLimitExceeded");
}

#[tokio::test(start_paused = true)]
async fn an_endless_loop_ends_with_the_history() {
    let machine = machine(&json!({"StartAt": "M", "States": {
        "M": {"Type": "Map", "Catch": [{"ErrorEquals": ["States.ALL"], "Next": "C"}], "End": true,
              "ItemProcessor": {"ProcessorConfig": {"Mode": "INLINE"}, "StartAt": "A", "States": {
                  "A": {"Type": "Task", "Resource": "r", "Catch": [{"ErrorEquals": ["States.ALL"], "Next": "B"}], "Next": "B"},
                  "B": {"Type": "Choice", "Choices": [{"Variable": "$.end", "IsPresent": true, "Next": "E"}], "Default": "A"},
                  "E": {"Type": "Succeed"}
              }}},
        "C": {"Type": "Succeed"}
    }}));
    let outcome = run(&machine, json!([{}, {}]), &echo()).await;
    assert_eq!(outcome.stats.history_events, 25_000);
    let error = outcome.result.unwrap_err();
    assert_eq!(error.error, "States.Runtime");
    assert!(error.cause.contains("25000"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_childs_history_is_its_own() {
    let machine = caught(json!({"Type": "Map", "ToleratedFailurePercentage": 50, "ItemProcessor": {
        "ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"}, "StartAt": "A",
        "States": {
            "A": {"Type": "Pass", "Next": "B"},
            "B": {"Type": "Choice", "Choices": [{"Variable": "$.end", "IsPresent": true, "Next": "E"}], "Default": "A"},
            "E": {"Type": "Succeed"}
        }
    }}));
    let limits = Limits { max_history_events: 100, ..Limits::default() };
    let outcome = limited(&machine, limits, json!([{"end": 1}, {}]), &echo()).await;
    assert_eq!(outcome.result.unwrap()[1]["Error"], "States.Runtime");
    assert_eq!((outcome.stats.history_events, outcome.stats.largest_child_history), (8, 100));
}
