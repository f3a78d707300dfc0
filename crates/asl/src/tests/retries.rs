use super::*;

fn retried(retry: Value, catch: Value) -> Machine {
    machine(&json!({"StartAt": "S", "States": {
        "S": {"Type": "Task", "Resource": "r", "Parameters": {"count.$": "$$.State.RetryCount", "in.$": "$"},
              "Retry": retry, "Catch": catch, "End": true},
        "Caught": {"Type": "Succeed"}
    }}))
}

fn catch_all() -> Value {
    json!([{"ErrorEquals": ["States.ALL"], "ResultPath": "$.error", "Next": "Caught"}])
}

#[tokio::test(start_paused = true)]
async fn waits_longer_each_time_then_succeeds() {
    let tasks =
        Fake::new(
            |_, input, _| {
                if input["count"] == 3 { Ok(json!("done")) } else { Err(TaskError::new("Transient", "again")) }
            },
        );
    let machine = retried(
        json!([{"ErrorEquals": ["Transient"], "IntervalSeconds": 2, "MaxDelaySeconds": 5, "MaxAttempts": 6}]),
        catch_all(),
    );
    let sleep = Recorded::default();
    let outcome = machine.run(&options(), json!({}), &tasks, &sleep).await;
    assert_eq!(outcome.result.unwrap(), json!("done"));
    assert_eq!(sleep.slept(), [2, 4, 5].map(Duration::from_secs));
    // Four attempts of three events, entered, exited, and the execution's two.
    assert_eq!(outcome.stats.history_events, 16);
    assert_eq!((outcome.stats.task_calls, outcome.stats.retries), (4, 3));
}

#[tokio::test(start_paused = true)]
async fn catches_only_when_the_retries_are_spent() {
    let tasks = Fake::new(|_, _, _| Err(TaskError::new("Transient", "again")));
    let machine = retried(json!([{"ErrorEquals": ["Transient"], "MaxAttempts": 2}]), catch_all());
    let outcome = run(&machine, json!({"a": 1}), &tasks).await;
    assert_eq!(outcome.result.unwrap(), json!({"a": 1, "error": {"Error": "Transient", "Cause": "again"}}));
    assert_eq!(tasks.calls().len(), 3);
    // The state is exited after a Catch, and `Caught` adds two.
    assert_eq!(outcome.stats.history_events, 2 + 2 + 9 + 2);
}

#[tokio::test(start_paused = true)]
async fn an_error_that_nothing_names_fails_the_execution() {
    let tasks = Fake::new(|_, _, _| Err(TaskError::new("Other", "why")));
    let machine =
        retried(json!([{"ErrorEquals": ["Transient"]}]), json!([{"ErrorEquals": ["Othe"], "Next": "Caught"}]));
    let outcome = run(&machine, json!({}), &tasks).await;
    assert_eq!(outcome.result.unwrap_err().to_string(), "Other: why");
    assert_eq!((tasks.calls().len(), outcome.stats.history_events), (1, 6));
}

#[tokio::test(start_paused = true)]
async fn each_visit_begins_with_fresh_retries() {
    let tasks = Fake::new(|_, _, earlier| match earlier {
        0 | 2 => Err(TaskError::new("Transient", "")),
        _ => Ok(json!({"again": earlier < 2})),
    });
    let machine = machine(&json!({"StartAt": "S", "States": {
        "S": {"Type": "Task", "Resource": "r", "ResultPath": "$", "Parameters": {},
              "Retry": [{"ErrorEquals": ["Transient"], "MaxAttempts": 1}], "Next": "Again"},
        "Again": {"Type": "Choice", "Choices": [{"Variable": "$.again", "BooleanEquals": true, "Next": "S"}], "Default": "D"},
        "D": {"Type": "Succeed"}
    }}));
    run(&machine, json!({}), &tasks).await.result.unwrap();
    assert_eq!(tasks.calls().len(), 4);
}

#[tokio::test(start_paused = true)]
async fn jitter_repeats_itself_by_seed() {
    let tasks = Fake::new(|_, _, _| Err(TaskError::new("Throttled", "")));
    let machine = retried(
        json!([{"ErrorEquals": ["Throttled"], "IntervalSeconds": 30, "MaxAttempts": 5, "JitterStrategy": "FULL"}]),
        catch_all(),
    );
    let mut all = Vec::new();
    for seed in [4, 4, 5] {
        let sleep = Recorded::default();
        let options = RunOptions { seed, ..options() };
        machine.run(&options, json!({}), &tasks, &sleep).await.result.unwrap();
        let slept = sleep.slept();
        for (delay, most) in slept.iter().zip([30, 60, 120, 240, 480]) {
            assert!(*delay <= Duration::from_secs(most));
        }
        all.push(slept);
    }
    assert_eq!(all[0].len(), 5);
    assert_eq!(all[0], all[1]);
    assert_ne!(all[0], all[2]);
}

#[tokio::test(start_paused = true)]
async fn a_task_that_outlasts_its_timeout_is_cut_off_and_retried() {
    let tasks = echo();
    let machine = one(json!({
        "Type": "Task", "Resource": "r", "TimeoutSeconds": 10, "End": true,
        "Retry": [{"ErrorEquals": ["States.Timeout"], "MaxAttempts": 1}]
    }));
    let outcome = run(&machine, json!({"seconds": 11}), &tasks).await;
    assert_eq!(error_of(outcome.clone()), "States.Timeout");
    assert_eq!((tasks.calls().len(), tasks.ended()), (2, 0));
    assert_eq!(outcome.stats.history_events, 1 + 1 + 6 + 1);
    run(&machine, json!({"seconds": 9}), &tasks).await.result.unwrap();
}

#[tokio::test(start_paused = true)]
async fn task_failed_is_not_a_timeout() {
    let machine = machine(&json!({"StartAt": "S", "States": {
        "S": {"Type": "Task", "Resource": "r", "TimeoutSeconds": 10, "End": true,
              "Catch": [{"ErrorEquals": ["States.TaskFailed"], "Next": "C"}]},
        "C": {"Type": "Succeed"}
    }}));
    assert_eq!(error_of(run(&machine, json!({"seconds": 11}), &failing()).await), "States.Timeout");
    let caught = run(&machine, json!({"fail": "Any"}), &failing()).await;
    assert_eq!(caught.result.unwrap(), json!({"Error": "Any", "Cause": "because"}));
}

#[tokio::test(start_paused = true)]
async fn a_missing_parameter_can_be_caught_and_a_missing_input_cannot() {
    let with = |field: &str, value: Value| {
        let mut definition = json!({"StartAt": "S", "States": {
            "S": {"Type": "Task", "Resource": "r", "End": true, "Catch": catch_all()},
            "Caught": {"Type": "Succeed"}
        }});
        definition["States"]["S"][field] = value;
        machine(&definition)
    };
    let caught = run(&with("Parameters", json!({"a.$": "$.x"})), json!({}), &echo()).await.result.unwrap();
    assert_eq!(caught["error"]["Error"], "States.ParameterPathFailure");
    assert_eq!(error_of(run(&with("InputPath", json!("$.x")), json!({}), &echo()).await), "States.Runtime");
    let caught = run(&with("ResultPath", json!("$.a.b")), json!({"a": 1}), &echo()).await.result.unwrap();
    assert_eq!(caught["error"]["Error"], "States.ResultPathMatchFailure");
}

#[tokio::test(start_paused = true)]
async fn the_whole_execution_has_a_timeout() {
    let machine = machine(&json!({"StartAt": "S", "TimeoutSeconds": 60, "States": {
        "S": {"Type": "Task", "Resource": "r", "Next": "T", "Catch": catch_all()},
        "T": {"Type": "Wait", "Seconds": 50, "End": true},
        "Caught": {"Type": "Succeed"}
    }}));
    run(&machine, json!({"seconds": 5}), &echo()).await.result.unwrap();
    assert_eq!(error_of(run(&machine, json!({"seconds": 11}), &echo()).await), "States.Timeout");
}
