//! Whatever comes in, nothing panics and nothing runs for ever.

use super::{Answer, Fake};
use crate::{Limits, Machine, RunOptions, Sleep, TaskError};
use async_trait::async_trait;
use proptest::prelude::*;
use serde_json::{Map, Value, json};
use std::time::Duration;

const REAL: [&str; 2] = [
    include_str!("../../../../statemachine/migrate.asl.json"),
    include_str!("../../../../statemachine/backfill.asl.json"),
];

/// Any time passes at once.
struct NoSleep;

#[async_trait]
impl Sleep for NoSleep {
    async fn sleep(&self, _: Duration) {
        tokio::task::yield_now().await;
    }
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "\\PC{0,12}".prop_map(Value::from),
        prop_oneof![
            Just("$"),
            Just("$."),
            Just("$$"),
            Just("$.a[*]"),
            Just("$[-1]"),
            Just("$.a[99999999999999999999]"),
            Just("$['x"),
            Just("States.ALL"),
            Just("States.Format('{}')"),
            Just("${X}"),
            Just("$$.Map.Item.Value"),
            Just("work"),
            Just("done"),
            Just("copyParts"),
            Just("scan"),
            Just("Plan"),
            Just("Begin"),
        ]
        .prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 48, 6, |inner| {
        let field = prop_oneof![
            "[A-Za-z$.]{1,8}",
            Just("next".to_owned()),
            Just("work".to_owned()),
            Just("StartAt".to_owned()),
            Just("States".to_owned()),
            Just("Type".to_owned()),
            Just("results".to_owned()),
            Just("shards".to_owned()),
        ];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::vec((field, inner), 0..6)
                .prop_map(|fields| Value::Object(fields.into_iter().collect::<Map<_, _>>())),
        ]
    })
}

/// What a step might answer, or any other value: with the tag of a next state, an execution goes further.
fn answer() -> impl Strategy<Value = Value> {
    let tag = prop_oneof![
        Just("work"),
        Just("copyObjects"),
        Just("copyParts"),
        Just("complete"),
        Just("planAgain"),
        Just("settle"),
        Just("done"),
        Just("settled"),
        Just("succeeded"),
        Just("failed"),
        Just("continue"),
        Just("scan"),
        Just("copy"),
        Just("delete"),
        Just("report"),
        Just("held"),
    ];
    let state = (tag, any_json(), 0..3usize).prop_map(|(next, any, items)| {
        json!({"next": next, "work": vec![json!({"next": next, "ranges": [any.clone()]}); items], "maxConcurrency": 1,
            "ranges": vec![json!({"next": next}); items], "shards": vec![json!({"next": next}); items], "tally": any,
            "rest": any, "run": {"name": "r", "attempt": 1}, "execution": "e", "concurrency": 2, "results": [any]})
    });
    prop_oneof![3 => state, 2 => any_json()]
}

/// Replaces, removes or repeats what stands at the `place`th value of a walk; true once it is done.
fn mutate(value: &mut Value, place: &mut usize, how: u8, with: &Value) -> bool {
    if *place == 0 {
        *value = match how % 4 {
            0 => with.clone(),
            1 => Value::Null,
            2 => json!([value.clone(), value.clone()]),
            _ => json!({ "States": value.clone(), "StartAt": with.clone() }),
        };
        return true;
    }
    *place -= 1;
    match value {
        Value::Array(items) => items.iter_mut().any(|item| mutate(item, place, how, with)),
        Value::Object(fields) => {
            if how >= 200 && *place < fields.len() {
                let name = fields.keys().nth(*place).cloned().unwrap_or_default();
                fields.remove(&name);
                return true;
            }
            fields.values_mut().any(|field| mutate(field, place, how, with))
        }
        _ => false,
    }
}

/// Runs a machine to its end under tight limits, its tasks answering with these values in turn, errors among them.
fn run(machine: &Machine, input: Value, answers: &[Value]) {
    let tasks = Fake::new(|resource: &str, input: &Value, earlier: usize| -> Answer {
        let at = resource.len() + earlier + input.to_string().len();
        match answers.get(at % answers.len().max(1)) {
            Some(Value::String(name)) => Err(TaskError::new(name.clone(), "because")),
            Some(answer) => Ok(answer.clone()),
            None => Ok(input.clone()),
        }
    });
    let options = RunOptions {
        id: "arn:e".into(),
        name: "e".into(),
        state_machine_id: "arn:m".into(),
        start_time: "2026-11-22T00:00:00Z".into(),
        limits: Limits { max_history_events: 300, max_payload_bytes: 20_000 },
        seed: 7,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    let outcome = runtime.block_on(machine.run(&options, input, &tasks, &NoSleep));
    assert!(outcome.stats.history_events <= 300 + 5, "{}", outcome.stats.history_events);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(384))]

    #[test]
    fn no_text_makes_the_parser_panic(text in "\\PC{0,200}", value in any_json()) {
        let _ = Machine::parse(&text);
        let _ = Machine::parse(&value.to_string());
        let _ = Machine::parse(&json!({"StartAt": "A", "States": {"A": value}}).to_string());
    }

    #[test]
    fn real_definitions_with_something_wrong_are_refused_or_run(
        which in 0..REAL.len(),
        mutations in prop::collection::vec((0..2_500usize, any::<u8>(), any_json()), 1..4),
        input in any_json(),
        answers in prop::collection::vec(answer(), 0..4),
    ) {
        let mut definition: Value = serde_json::from_str(REAL[which]).unwrap();
        for (place, how, with) in mutations {
            mutate(&mut definition, &mut { place }, how, &with);
        }
        if let Ok(machine) = Machine::parse(&definition.to_string()) {
            run(&machine, input, &answers);
        }
    }

    #[test]
    fn cut_definitions_are_refused(which in 0..REAL.len(), at in 0..20_000usize) {
        let text = REAL[which];
        let at = at.min(text.trim_end().len() - 1);
        prop_assert!(!text.is_char_boundary(at) || Machine::parse(&text[..at]).is_err());
    }

    #[test]
    fn real_definitions_run_on_whatever_they_are_given(
        which in 0..REAL.len(),
        input in any_json(),
        answers in prop::collection::vec(answer(), 0..6),
    ) {
        run(&Machine::parse(REAL[which]).unwrap(), input, &answers);
    }
}
