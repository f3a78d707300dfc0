use super::*;

fn map(with: Value, states: Value) -> Machine {
    let mut state = json!({
        "Type": "Map", "End": true,
        "ItemProcessor": {"ProcessorConfig": {"Mode": "INLINE"}, "StartAt": "I", "States": states}
    });
    state.as_object_mut().unwrap().extend(with.as_object().unwrap().clone());
    one(state)
}

fn task() -> Value {
    json!({"I": {"Type": "Task", "Resource": "r", "End": true}})
}

#[tokio::test(start_paused = true)]
async fn results_stand_in_the_order_of_the_items() {
    let machine = map(
        json!({"ItemsPath": "$.items", "ResultPath": "$.results", "ItemSelector": {
            "seconds.$": "$$.Map.Item.Value", "index.$": "$$.Map.Item.Index", "of.$": "$.of"
        }}),
        task(),
    );
    let outcome = run(&machine, json!({"items": [3, 1, 2], "of": "x"}), &echo()).await;
    let want: Vec<_> =
        [3, 1, 2].iter().enumerate().map(|(i, s)| json!({"seconds": s, "index": i, "of": "x"})).collect();
    let output = outcome.result.unwrap();
    assert_eq!(output["results"], json!(want));
    assert_eq!(output["of"], "x");
    // Two for the execution, four for the Map, and for each item two and five.
    assert_eq!(outcome.stats.history_events, 2 + 4 + 3 * 7);
}

#[tokio::test(start_paused = true)]
async fn runs_no_more_at_once_than_asked() {
    let start = tokio::time::Instant::now();
    let items = json!({"max": 2, "items": vec![json!({"seconds": 10}); 6]});
    let machine = map(json!({"ItemsPath": "$.items", "MaxConcurrencyPath": "$.max"}), task());
    run(&machine, items.clone(), &echo()).await.result.unwrap();
    assert_eq!(start.elapsed().as_secs(), 30);
    let machine = map(json!({"ItemsPath": "$.items"}), task());
    run(&machine, items.clone(), &echo()).await.result.unwrap();
    assert_eq!(start.elapsed().as_secs(), 40);
    let machine = map(json!({"ItemsPath": "$.items", "MaxConcurrency": 4}), task());
    run(&machine, items, &echo()).await.result.unwrap();
    assert_eq!(start.elapsed().as_secs(), 60);
}

#[tokio::test(start_paused = true)]
async fn an_error_that_leaves_an_iteration_cuts_its_siblings_off() {
    let machine = map(json!({"ItemsPath": "$.items"}), task());
    let tasks = failing();
    let items = json!({"items": [{"seconds": 100}, {"seconds": 5, "fail": "Mine"}, {"seconds": 1}, {"seconds": 100}]});
    let outcome = run(&machine, items, &tasks).await;
    assert_eq!(outcome.result.unwrap_err().to_string(), "Mine: because");
    tokio::time::sleep(Duration::from_secs(500)).await;
    assert_eq!((tasks.calls().len(), tasks.ended()), (4, 2));
    // Started; Map entered, started, failed; the one that failed writes started, four, failed; the
    // one that succeeded seven; each one cut off started, three, and aborted twice; failed.
    assert_eq!(outcome.stats.history_events, 1 + 3 + 6 + 7 + 2 * 6 + 1);
}

#[tokio::test(start_paused = true)]
async fn a_map_is_retried_and_caught_like_a_task() {
    let mut definition = json!({"StartAt": "M", "States": {
        "M": {"Type": "Map", "ItemProcessor": {"ProcessorConfig": {"Mode": "INLINE"}, "StartAt": "I", "States": task()},
              "Retry": [{"ErrorEquals": ["Mine"], "MaxAttempts": 1}],
              "Catch": [{"ErrorEquals": ["States.ALL"], "ResultPath": null, "Next": "C"}], "End": true},
        "C": {"Type": "Pass", "Result": "caught", "End": true}
    }});
    let tasks = failing();
    assert_eq!(run(&machine(&definition), json!([{"fail": "Mine"}]), &tasks).await.result.unwrap(), "caught");
    assert_eq!(tasks.calls().len(), 2);
    definition["States"]["M"]["ItemsPath"] = json!("$.none");
    assert_eq!(error_of(run(&machine(&definition), json!([]), &tasks).await), "States.Runtime");
    definition["States"]["M"]["ItemsPath"] = json!("$.one");
    assert_eq!(error_of(run(&machine(&definition), json!({"one": 1}), &tasks).await), "States.Runtime");
}

#[tokio::test(start_paused = true)]
async fn no_items_no_iterations() {
    let outcome = run(&map(json!({}), task()), json!([]), &echo()).await;
    assert_eq!(outcome.result.unwrap(), json!([]));
    assert_eq!(outcome.stats.history_events, 6);
}

#[tokio::test(start_paused = true)]
async fn maps_inside_maps_with_a_loop_in_each() {
    let looping = |resource: &str, task: &str, route: &str, done: &str| {
        json!({
            task: {"Type": "Task", "Resource": resource, "Next": route},
            route: {"Type": "Choice", "Choices": [{"Variable": "$.left", "NumericGreaterThan": 0, "Next": task}], "Default": done},
            done: {"Type": "Succeed"}
        })
    };
    let mut outer = looping("outer", "Outer", "OuterRoute", "OuterDone");
    outer["Inner"] = json!({
        "Type": "Map", "ItemsPath": "$.ranges", "MaxConcurrency": 2, "ResultPath": "$.ranges", "Next": "Outer",
        "ItemProcessor": {"ProcessorConfig": {"Mode": "INLINE"}, "StartAt": "Copy",
            "States": looping("inner", "Copy", "CopyRoute", "CopyDone")}
    });
    let machine = machine(&json!({"StartAt": "M", "States": {"M": {"Type": "Map", "End": true, "ItemProcessor": {
        "ProcessorConfig": {"Mode": "INLINE"}, "StartAt": "Inner", "States": outer
    }}}}));
    let tasks = Fake::new(|_, input, _| {
        let mut output = input.clone();
        output["left"] = (input["left"].as_u64().unwrap() - 1).into();
        Ok(output)
    });
    let item = json!({"left": 2, "ranges": [{"left": 3}, {"left": 1}, {"left": 2}]});
    let outcome = run(&machine, json!([item, item]), &tasks).await;
    let done = json!({"left": 0, "ranges": [{"left": 0}, {"left": 0}, {"left": 0}]});
    assert_eq!(outcome.result.unwrap(), json!([done, done]));
    assert_eq!(tasks.inputs_of("inner").len(), 12);
    assert_eq!(tasks.inputs_of("outer").len(), 4);
    // A turn of a loop is seven events, its end two; a Map four; an iteration two.
    let inner = 4 + 6 * 7 + 3 * (2 + 2);
    assert_eq!(outcome.stats.history_events, 2 + 4 + 2 * (2 + inner + 2 * 7 + 2));
}

#[tokio::test(start_paused = true)]
async fn the_item_of_the_innermost_map_is_seen_inside() {
    let machine = map(
        json!({}),
        json!({"I": {"Type": "Map", "End": true, "ItemProcessor": {"ProcessorConfig": {"Mode": "INLINE"}, "StartAt": "J",
            "States": {"J": {"Type": "Pass", "Parameters": {"v.$": "$$.Map.Item.Value"}, "End": true}}}}}),
    );
    let outcome = run(&machine, json!([[1, 2], [3]]), &echo()).await;
    assert_eq!(outcome.result.unwrap(), json!([[{"v": 1}, {"v": 2}], [{"v": 3}]]));
}
