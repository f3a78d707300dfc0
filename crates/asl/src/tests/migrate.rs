//! The real `migrate` machine over fakes.
use super::*;

const MIGRATE: &str = include_str!("../../../../statemachine/migrate.asl.json");

fn range(from: u64) -> Value {
    json!({"from": from, "to": from + 99})
}

/// Plans one batch and one large object of two ranges, then does what `broken` leaves whole.
fn functions(broken: &'static [&'static str]) -> Fake<impl Fn(&str, &Value, usize) -> Answer + Send + Sync> {
    Fake::new(move |resource, input, earlier| {
        if broken.contains(&resource) && !matches!(input["next"].as_str(), Some("record")) {
            return Err(TaskError::new("Rejected", "access denied"));
        }
        Ok(match (resource, input["next"].as_str()) {
            ("${PlanFunctionArn}", _) => json!({
                "next": "work", "maxConcurrency": 4, "tally": {"skipped": 1}, "rest": {}, "route": null, "run": null,
                "work": [
                    {"next": "copyObjects", "keys": ["a", "b"]},
                    {"next": "copyParts", "object": "big", "maxConcurrency": 2, "ranges": [range(1), range(101)]}
                ]
            }),
            ("${CopyObjectsFunctionArn}", _) if input["keys"][1].is_string() => {
                json!({"next": "copyObjects", "keys": ["b"]})
            }
            ("${CopyObjectsFunctionArn}", _) => json!({"next": "done", "tally": {"migrated": 2}}),
            ("${CopyPartsFunctionArn}", _) if earlier == 0 && input["range"]["from"] == 1 => {
                json!({"next": "copyParts", "object": "big", "range": {"from": 50, "to": 100}})
            }
            ("${CopyPartsFunctionArn}", _) => json!({"next": "done", "parts": 50}),
            ("${CompleteFunctionArn}", _) => {
                let failed = input["results"].as_array().unwrap().iter().any(|range| !range["error"].is_null());
                if failed {
                    json!({"next": "settle", "object": "big", "error": {"Error": "Rejected", "Cause": "a range"}})
                } else {
                    json!({"next": "done", "tally": {"migrated": 1}})
                }
            }
            ("${SettleFunctionArn}", Some("record")) => {
                let clean = input["results"].as_array().unwrap().iter().all(|item| item["tally"]["migrated"].is_u64());
                json!({"next": if clean { "succeeded" } else { "failed" }})
            }
            ("${SettleFunctionArn}", Some("settle")) => json!({"next": "done", "tally": {"failed": 1}}),
            ("${SettleFunctionArn}", Some("settleRequest")) => {
                json!({"tally": {"failed": 3}, "results": [{"tally": {"failed": 3}}], "rest": {}, "route": null, "run": null})
            }
            other => panic!("no answer for {other:?}"),
        })
    })
}

async fn migrate(tasks: &dyn Tasks) -> Outcome {
    let machine = Machine::parse(MIGRATE).unwrap();
    run(&machine, json!({"objects": ["a", "b", "big"]}), tasks).await
}

#[tokio::test(start_paused = true)]
async fn everything_arrives() {
    let tasks = functions(&[]);
    let outcome = migrate(&tasks).await;
    assert_eq!(outcome.result.unwrap(), json!({"next": "succeeded"}));
    assert_eq!(tasks.inputs_of("${CopyObjectsFunctionArn}").len(), 2);
    assert_eq!(tasks.inputs_of("${CopyPartsFunctionArn}").len(), 3);
    let plan = &tasks.inputs_of("${PlanFunctionArn}")[0];
    assert_eq!(*plan, json!({"next": "plan", "request": {"objects": ["a", "b", "big"]}, "execution": "arn:e"}));
    let record = &tasks.inputs_of("${SettleFunctionArn}")[0];
    assert_eq!(
        record["results"],
        json!([
            {"next": "done", "tally": {"migrated": 2}},
            {"next": "done", "tally": {"migrated": 1}}
        ])
    );
    assert_eq!(record["tally"], json!({"skipped": 1}));
    // Plan 5, Map 4; the batch: 2, two turns of 7, one Choice before, end 2; the object: 2, Choice 2,
    // Map 4 with two ranges of 2, three turns of 7 and end 2 each, Complete 5, Choice 2, end 2;
    // Record 5, Choice 2, Succeed 2, and the execution's 2.
    let batch = 2 + 2 + 2 * 7 + 2;
    let object = 2 + 2 + 4 + (2 * 2 + 3 * 7 + 2 * 2) + 5 + 2 + 2;
    assert_eq!(outcome.stats.history_events, 5 + 4 + batch + object + 5 + 2 + 2 + 2);
}

#[tokio::test(start_paused = true)]
async fn a_failed_range_does_not_stop_its_neighbours() {
    let tasks = functions(&["${CopyPartsFunctionArn}"]);
    let outcome = migrate(&tasks).await;
    assert_eq!(outcome.result.unwrap_err().error, "ObjectsFailed");
    let complete = &tasks.inputs_of("${CompleteFunctionArn}")[0];
    let failed = json!({"next": "done", "error": {"Error": "Rejected", "Cause": "access denied"}});
    assert_eq!(complete["results"], json!([failed, failed]));
    let settle = tasks.inputs_of("${SettleFunctionArn}");
    assert_eq!(settle[0]["next"], "settle");
    assert_eq!(settle[0]["error"]["Cause"], "a range");
    assert_eq!(settle[1]["results"][0], json!({"next": "done", "tally": {"migrated": 2}}));
    assert_eq!(settle[1]["results"][1], json!({"next": "done", "tally": {"failed": 1}}));
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_settled_is_counted_and_fails_the_execution() {
    let tasks = functions(&["${CopyObjectsFunctionArn}", "${SettleFunctionArn}"]);
    let outcome = migrate(&tasks).await;
    assert_eq!(outcome.result.unwrap_err().error, "ObjectsFailed");
    let record = tasks.inputs_of("${SettleFunctionArn}").pop().unwrap();
    assert_eq!(record["results"][0], json!({"next": "done", "tally": {"unsettled": 1}}));
    assert_eq!(record["results"][1], json!({"next": "done", "tally": {"migrated": 1}}));
}

#[tokio::test(start_paused = true)]
async fn without_a_plan_the_request_is_settled() {
    let tasks = functions(&["${PlanFunctionArn}"]);
    let outcome = migrate(&tasks).await;
    assert_eq!(outcome.result.unwrap_err().error, "ObjectsFailed");
    assert_eq!(
        tasks.inputs_of("${SettleFunctionArn}")[0],
        json!({
            "next": "settleRequest", "request": {"objects": ["a", "b", "big"]}, "execution": "arn:e",
            "error": {"Error": "Rejected", "Cause": "access denied"}
        })
    );
}

#[tokio::test(start_paused = true)]
async fn when_settling_and_planning_fail_the_execution_is_broken() {
    let tasks = functions(&["${PlanFunctionArn}", "${SettleFunctionArn}"]);
    assert_eq!(migrate(&tasks).await.result.unwrap_err().error, "Unsettled");
}
