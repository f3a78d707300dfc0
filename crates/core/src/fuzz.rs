//! Whatever arrives from outside, nothing panics, and what is read is written as it was read.
#![allow(clippy::unwrap_used)]

use crate::backfill::request::BackfillRequest;
use crate::config::Config;
use crate::event::{Message, parse};
use crate::intake::{INPUT_MAX_BYTES, starts};
use crate::request::Request;
use proptest::prelude::*;
use serde_json::{Value, json};

/// Documents that are read without complaint.
fn sound() -> Vec<Value> {
    let side = |bucket: &str| {
        json!({"bucket": bucket, "prefix": "p/", "region": "eu-west-1", "endpoint": "https://x", "pathStyle": true,
        "credentials": {"kind": "secret", "secret": "s"}, "owner": "1", "requesterPays": true})
    };
    let route = json!({"name": "r", "source": side("b"), "destination": side("c"),
        "options": {"storageClass": "STANDARD", "overwrite": "never", "partSize": 8_388_608}});
    let record = json!({"eventVersion": "2.1", "eventName": "ObjectCreated:Put", "s3": {"bucket": {"name": "b"},
        "object": {"key": "a+b%20c", "size": 1, "eTag": "e", "versionId": "v", "sequencer": "0A"}}});
    let notification = json!({"Records": [record, record]});
    vec![
        notification.clone(),
        json!({"Type": "Notification", "Message": notification.to_string()}),
        json!({"Event": "s3:TestEvent"}),
        json!({"source": "aws.s3", "detail-type": "Object Created", "detail": {"bucket": {"name": "b"},
            "object": {"key": "k", "size": 1, "etag": "e", "version-id": "v", "sequencer": "1"}}}),
        json!({"version": 1, "objects": [{"bucket": "b", "key": "k", "size": 1}], "route": route,
            "manifests": [{"bucket": "w", "key": "m", "offset": 1, "end": 2}]}),
        json!({"routes": [route]}),
        json!({"routes": ["r", route], "compare": "etag", "filters": {"include": ["*.jpg"], "minSize": 1}, "dryRun": true,
            "concurrency": 5, "scans": 4, "maxFailedPercent": 5.0}),
    ]
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        prop_oneof![Just("%"), Just("%F"), Just("%ff%fe"), Just("[a-"), Just("\u{0}"), Just(""), Just("s3:")]
            .prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::hash_map("[a-zA-Z0-9-]{1,8}", inner, 0..4).prop_map(|fields| json!(fields)),
        ]
    })
}

/// Replaces the `place`th value of a walk through a document.
fn mutate(value: &mut Value, place: &mut usize, with: &Value) -> bool {
    if *place == 0 {
        *value = with.clone();
        return true;
    }
    *place -= 1;
    match value {
        Value::Array(items) => items.iter_mut().any(|item| mutate(item, place, with)),
        Value::Object(fields) => fields.values_mut().any(|field| mutate(field, place, with)),
        _ => false,
    }
}

/// Reads a text as everything that it could be.
fn read(text: &str) {
    if let Ok(config) = Config::parse(text) {
        let again = serde_json::to_string(&config).unwrap();
        assert_eq!(Config::parse(&again).unwrap(), config);
        for route in &config.routes {
            let _ = route.destination_key(text);
            let _ = config.route(&route.source.bucket, text);
        }
    }
    let value = serde_json::from_str::<Value>(text).unwrap_or_default();
    if let Ok(request) = Request::from_value(&value) {
        assert_eq!(Request::from_value(&serde_json::to_value(&request).unwrap()).unwrap(), request);
    }
    if let Ok(request) = serde_json::from_value::<BackfillRequest>(value) {
        let _ = request.check();
        let _ = serde_json::to_string(&request).unwrap();
    }
    let started = match parse(text) {
        Ok(Message::Objects(objects)) => starts(vec![("m".into(), objects)], Vec::new()),
        Ok(Message::Request(request)) => starts(Vec::new(), vec![("m".into(), *request)]),
        Ok(Message::Ignored(_)) | Err(_) => Vec::new(),
    };
    for start in started {
        assert!(serde_json::to_string(&start.request).unwrap().len() <= INPUT_MAX_BYTES + text.len() + 64);
    }
}

#[test]
fn what_is_sound_is_read() {
    for value in sound() {
        read(&value.to_string());
        let known = parse(&value.to_string()).is_ok()
            || Config::parse(&value.to_string()).is_ok()
            || serde_json::from_value::<BackfillRequest>(value.clone()).is_ok();
        assert!(known, "{value}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn no_text_panics(text in any::<String>(), value in any_json()) {
        read(&text);
        read(&value.to_string());
    }

    #[test]
    fn no_damage_to_a_sound_document_panics(
        which in 0..7usize,
        mutations in prop::collection::vec((0..60usize, any_json()), 1..4),
        cut in prop::option::of(0..600usize),
    ) {
        let mut value = sound().swap_remove(which);
        for (place, with) in mutations {
            mutate(&mut value, &mut { place }, &with);
        }
        let mut text = value.to_string();
        if let Some(cut) = cut {
            text = text.chars().take(cut).collect();
        }
        read(&text);
    }
}
