#![allow(clippy::unwrap_used)]
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn parse(definition: &Value) -> Result<Machine, DefinitionError> {
    Machine::parse(&definition.to_string())
}

/// A machine of one state `S`.
fn one(state: Value) -> Value {
    json!({"StartAt": "S", "States": {"S": state}})
}

fn refused(definition: &Value) -> (String, String) {
    let error = parse(definition).map(|_| ()).unwrap_err();
    (error.state, error.field)
}

#[test]
fn refuses_at_the_top() {
    for (definition, field) in [
        (json!([]), ""),
        (json!({"States": {}}), "StartAt"),
        (json!({"StartAt": "S"}), "States"),
        (json!({"StartAt": "S", "States": {}}), "StartAt"),
        (json!({"StartAt": "X", "States": {"S": {"Type": "Succeed"}}}), "StartAt"),
        (json!({"StartAt": "S", "States": {"S": {"Type": "Succeed"}}, "TimeoutSeconds": 0}), "TimeoutSeconds"),
        (json!({"StartAt": "S", "States": {"S": {"Type": "Succeed"}}, "QueryLanguage": "JSONata"}), "QueryLanguage"),
        (json!({"StartAt": "S", "States": {"S": {"Type": "Pass", "Next": "S"}}}), "States"),
    ] {
        assert_eq!(refused(&definition), (String::new(), field.to_owned()), "{definition}");
    }
    let error = Machine::parse("{").unwrap_err();
    assert!(error.message.contains("JSON"), "{error}");
    let twice = r#"{"StartAt":"S","States":{"S":{"Type":"Succeed"},"S":{"Type":"Succeed"}}}"#;
    assert!(Machine::parse(twice).unwrap_err().message.contains("twice"));
}

#[test]
fn refuses_in_a_state() {
    for (state, field) in [
        (json!(1), ""),
        (json!({}), "Type"),
        (json!({"Type": "Parallel", "Branches": [], "End": true}), "Type"),
        (json!({"Type": "Succeed", "Comment": 1}), "Comment"),
        (json!({"Type": "Succeed", "Output": "{% 1 %}"}), "Output"),
        (json!({"Type": "Succeed", "InputPath": "$..a"}), "InputPath"),
        (json!({"Type": "Succeed", "OutputPath": "$$.Task.Token"}), "OutputPath"),
        (json!({"Type": "Succeed", "End": true}), "End"),
        (json!({"Type": "Pass"}), "Next"),
        (json!({"Type": "Pass", "End": false}), "Next"),
        (json!({"Type": "Pass", "End": 1}), "End"),
        (json!({"Type": "Pass", "End": true, "Next": "S"}), "End"),
        (json!({"Type": "Pass", "End": true, "ResultPath": "$$.State.Name"}), "ResultPath"),
        (json!({"Type": "Pass", "End": true, "Result": 1, "Parameters": {}}), "Result"),
        (json!({"Type": "Pass", "End": true, "Assign": {}}), "Assign"),
        (json!({"Type": "Pass", "End": true, "Parameters": {"x.$": "States.UUID()"}}), "Parameters"),
        (json!({"Type": "Pass", "End": true, "Parameters": {"x.$": "$$.Map.Item.Value"}}), "Parameters"),
        (json!({"Type": "Task", "End": true}), "Resource"),
        (json!({"Type": "Task", "End": true, "Resource": ""}), "Resource"),
        (json!({"Type": "Task", "End": true, "Resource": "arn:${Partition}:x"}), "Resource"),
        (json!({"Type": "Task", "End": true, "Resource": "${A}${B}"}), "Resource"),
        (json!({"Type": "Task", "End": true, "Resource": "r", "HeartbeatSeconds": 1}), "HeartbeatSeconds"),
        (json!({"Type": "Task", "End": true, "Resource": "r", "TimeoutSeconds": 1.5}), "TimeoutSeconds"),
        (json!({"Type": "Task", "End": true, "Resource": "r", "Catch": {}}), "Catch"),
        (json!({"Type": "Task", "End": true, "Resource": "r", "Catch": [1]}), "Catch[0]"),
        (
            json!({"Type": "Task", "End": true, "Resource": "r", "Catch": [{"ErrorEquals": ["A"], "Next": "X"}]}),
            "Catch[0].Next",
        ),
        (
            json!({"Type": "Task", "End": true, "Resource": "r", "Catch": [
                {"ErrorEquals": ["States.ALL"], "Next": "S"}, {"ErrorEquals": ["A"], "Next": "S"}
            ]}),
            "Catch[0].ErrorEquals",
        ),
        (json!({"Type": "Choice"}), "Choices"),
        (json!({"Type": "Choice", "Choices": []}), "Choices"),
        (json!({"Type": "Choice", "Choices": [{"Variable": "$.a", "IsNull": true, "Next": "X"}]}), "Choices[0].Next"),
        (
            json!({"Type": "Choice", "Choices": [{"Variable": "$.a", "IsNull": true, "Next": "S"}], "Default": "X"}),
            "Default",
        ),
        (json!({"Type": "Wait", "End": true}), "Seconds"),
        (json!({"Type": "Wait", "End": true, "Seconds": 1, "SecondsPath": "$.s"}), "SecondsPath"),
        (json!({"Type": "Wait", "End": true, "Timestamp": "2026-01-01T00:00:00Z"}), "Timestamp"),
        (json!({"Type": "Fail", "Error": "A", "ErrorPath": "$.e"}), "ErrorPath"),
        (json!({"Type": "Fail", "Next": "S"}), "Next"),
    ] {
        assert_eq!(refused(&one(state.clone())), ("S".to_owned(), field.to_owned()), "{state}");
    }
}

fn map(mut with: Value, config: Value, inner: Value) -> Value {
    with["Type"] = "Map".into();
    with["End"] = true.into();
    with["ItemProcessor"] = json!({"ProcessorConfig": config, "StartAt": "I", "States": {"I": inner}});
    one(with)
}

#[test]
fn refuses_in_a_map() {
    let inline = json!({"Mode": "INLINE"});
    let distributed = json!({"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"});
    let end = json!({"Type": "Succeed"});
    let item = json!({"Type": "Pass", "End": true, "Parameters": {"x.$": "$$.Map.Item.Value"}});
    for (definition, state, field) in [
        (one(json!({"Type": "Map", "End": true})), "S", "ItemProcessor"),
        (one(json!({"Type": "Map", "End": true, "Iterator": {}})), "S", "ItemProcessor"),
        (map(json!({}), json!({}), end.clone()), "S", "ItemProcessor.ProcessorConfig.Mode"),
        (
            map(json!({}), json!({"Mode": "DISTRIBUTED"}), end.clone()),
            "S",
            "ItemProcessor.ProcessorConfig.ExecutionType",
        ),
        (
            map(json!({}), json!({"Mode": "DISTRIBUTED", "ExecutionType": "EXPRESS"}), end.clone()),
            "S",
            "ItemProcessor.ProcessorConfig.ExecutionType",
        ),
        (map(json!({"ItemReader": {"Resource": "r"}}), inline.clone(), end.clone()), "S", "ItemReader"),
        (
            map(json!({"ItemReader": {"Resource": "r"}, "ItemsPath": "$.a"}), distributed.clone(), end.clone()),
            "S",
            "ItemsPath",
        ),
        (map(json!({"ItemReader": {"Parameters": {}}}), distributed.clone(), end.clone()), "S", "ItemReader.Resource"),
        (map(json!({"ItemBatcher": {}}), distributed.clone(), end.clone()), "S", "ItemBatcher"),
        (map(json!({"MaxConcurrency": -1}), inline.clone(), end.clone()), "S", "MaxConcurrency"),
        (
            map(json!({"MaxConcurrency": 1, "MaxConcurrencyPath": "$.m"}), inline.clone(), end.clone()),
            "S",
            "MaxConcurrencyPath",
        ),
        (
            map(json!({"ToleratedFailurePercentage": 101}), distributed.clone(), end.clone()),
            "S",
            "ToleratedFailurePercentage",
        ),
        (map(json!({"Parameters": {}}), inline.clone(), end.clone()), "S", "Parameters"),
        (map(json!({}), inline.clone(), json!({"Type": "Pass", "Next": "S"})), "S/I", "Next"),
        (map(json!({}), inline.clone(), json!({"Type": "Pass", "Next": "I"})), "S", "States"),
        (map(json!({}), distributed.clone(), item.clone()), "S/I", "Parameters"),
    ] {
        assert_eq!(refused(&definition), (state.to_owned(), field.to_owned()), "{definition}");
    }
    parse(&map(json!({}), inline, item)).unwrap();
    parse(&map(json!({"ItemSelector": {"x.$": "$$.Map.Item.Value"}}), distributed, end)).unwrap();
}

#[test]
fn refuses_what_is_never_reached_and_names_that_stand_twice() {
    let unreached = json!({"StartAt": "S", "States": {"S": {"Type": "Succeed"}, "T": {"Type": "Succeed"}}});
    assert_eq!(refused(&unreached), ("T".to_owned(), String::new()));
    let mut twice = map(json!({}), json!({"Mode": "INLINE"}), json!({"Type": "Succeed"}));
    twice["States"]["S"]["ItemProcessor"] =
        json!({"ProcessorConfig": {"Mode": "INLINE"}, "StartAt": "S", "States": {"S": {"Type": "Succeed"}}});
    assert_eq!(refused(&twice), ("S/S".to_owned(), String::new()));
}

#[test]
fn an_error_names_its_place() {
    let error = parse(&one(json!({"Type": "Succeed", "End": true}))).unwrap_err();
    assert_eq!(error.to_string(), r#"state "S": field "End": outside the subset"#);
}

#[test]
fn shows_what_it_read() {
    let text = r#"{"Comment": "c", "StartAt": "Z", "TimeoutSeconds": 9, "States": {
        "Z": {"Comment": "z", "Type": "Map", "MaxConcurrency": 2, "ItemSelector": {"a": 1}, "ItemProcessor": {
            "ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"}, "StartAt": "I",
            "States": {"I": {"Type": "Task", "Resource": "${F}", "TimeoutSeconds": 5, "End": true,
                "Retry": [{"ErrorEquals": ["A"], "JitterStrategy": "FULL"}]}}},
            "ItemReader": {"Resource": "read"}, "ResultWriter": {"Resource": "write"},
            "Catch": [{"ErrorEquals": ["States.ALL"], "ResultPath": "$.e", "Next": "A"}], "Next": "A"},
        "A": {"Type": "Choice", "Choices": [{"Variable": "$.n", "StringEquals": "x", "Next": "P"}], "Default": "F"},
        "P": {"Type": "Pass", "Result": 1, "Next": "F"},
        "F": {"Type": "Fail"}}}"#;
    let machine = Machine::parse(text).unwrap();
    assert_eq!((machine.comment(), machine.timeout_seconds(), machine.start_at()), (Some("c"), Some(9), "Z"));
    let states = machine.states();
    let paths: Vec<_> = states.iter().map(|placed| placed.path()).collect();
    assert_eq!(paths, ["Z", "Z/I", "A", "P", "F"]);
    let kinds: Vec<_> = states.iter().map(|placed| placed.state.kind()).collect();
    assert_eq!(kinds, ["Map", "Task", "Choice", "Pass", "Fail"]);
    let starts: Vec<_> = states.iter().map(|placed| placed.is_start).collect();
    assert_eq!(starts, [true, true, false, false, false]);
    let map = machine.state("Z").unwrap();
    assert_eq!((map.comment(), map.mode(), map.iterations_start_at()), (Some("z"), Some(Mode::Distributed), Some("I")));
    assert_eq!(map.resources(), ["read", "write"]);
    assert_eq!(map.template(), Some(&json!({"a": 1})));
    assert_eq!(map.fields()[..3], ["Comment", "Type", "MaxConcurrency"]);
    assert_eq!(map.edges(), [("Next".to_owned(), "A"), ("Catch[0].Next".to_owned(), "A")]);
    assert_eq!(map.catch()[0].result_path.as_ref().unwrap().as_str(), "$.e");
    let task = machine.state("I").unwrap();
    assert_eq!((task.resource(), task.timeout_seconds(), task.is_terminal()), (Some("${F}"), Some(5), true));
    assert_eq!(task.retry()[0].jitter, crate::Jitter::Full);
    let choice = machine.state("A").unwrap();
    assert_eq!((choice.rules()[0].next.as_str(), choice.default()), ("P", Some("F")));
    assert_eq!(choice.edges().len(), 2);
    assert_eq!(machine.state("P").unwrap().result(), Some(&json!(1)));
    assert!(machine.state("F").unwrap().is_terminal());
    assert!(machine.state("X").is_none());
}

/// JSON whose keys and strings are mostly words of the language.
fn near_definitions() -> impl Strategy<Value = Value> {
    let word = prop::sample::select(vec![
        "Type",
        "StartAt",
        "States",
        "S",
        "Task",
        "Map",
        "Choice",
        "Pass",
        "Wait",
        "Fail",
        "Succeed",
        "Next",
        "End",
        "Choices",
        "Variable",
        "And",
        "Not",
        "IsNull",
        "Retry",
        "Catch",
        "ErrorEquals",
        "States.ALL",
        "ItemProcessor",
        "ProcessorConfig",
        "Mode",
        "INLINE",
        "Parameters",
        "x.$",
        ".$",
        "$.a",
        "$$",
        "ResultPath",
        "Resource",
        "",
        "MaxConcurrencyPath",
        "ItemReader",
        "Seconds",
    ]);
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        word.clone().prop_map(Value::from),
        ".{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 64, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((word.clone().prop_map(str::to_owned), inner), 0..6)
                .prop_map(|entries| Value::Object(entries.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn never_panics_on_any_text(text in ".*") {
        let _ = Machine::parse(&text);
    }

    #[test]
    fn never_panics_on_any_json(value in near_definitions()) {
        let _ = parse(&value);
        let _ = parse(&one(value.clone()));
        for kind in ["Task", "Map", "Choice", "Pass", "Wait", "Succeed", "Fail"] {
            let mut state = value.clone();
            if let Value::Object(fields) = &mut state {
                fields.insert("Type".to_owned(), kind.into());
            }
            let _ = parse(&one(state));
        }
    }
}
