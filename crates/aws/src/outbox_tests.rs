#![allow(clippy::unwrap_used)]
use super::*;
use aws_sdk_sqs::config::{BehaviorVersion, Config, Credentials, Region};
use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector, http_client_fn,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_types::body::SdkBody;
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};

/// Stands below the SDK, keeps what was sent, and answers that all is well.
#[derive(Clone, Debug, Default)]
struct Wire(Arc<Mutex<Vec<Value>>>);

impl HttpConnector for Wire {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let body = serde_json::from_slice(request.body().bytes().unwrap()).unwrap();
        self.0.lock().unwrap().push(body);
        let answer = SdkBody::from(json!({"MessageId": "m"}).to_string());
        HttpConnectorFuture::ready(Ok(HttpResponse::new(200.try_into().unwrap(), answer)))
    }
}

fn outbox() -> (AwsOutbox, Wire) {
    let wire = Wire::default();
    let connector = SharedHttpConnector::new(wire.clone());
    let config = Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .credentials_provider(Credentials::new("test", "test", None, None, "test"))
        .http_client(http_client_fn(move |_: &HttpConnectorSettings, _| connector.clone()))
        .build();
    let shared = aws_config::SdkConfig::builder().behavior_version(BehaviorVersion::latest()).build();
    let outbox = AwsOutbox {
        sfn: aws_sdk_sfn::Client::new(&shared),
        sqs: aws_sdk_sqs::Client::from_conf(config),
        sns: aws_sdk_sns::Client::new(&shared),
        state_machine: None,
        failed_queue: Some("https://sqs.us-east-1.amazonaws.com/1/failed".into()),
        dead_letter_queue: Some("https://sqs.us-east-1.amazonaws.com/1/dead".into()),
        topic: None,
    };
    (outbox, wire)
}

#[tokio::test]
async fn rule_12_a_message_that_nobody_can_read_carries_its_reason() {
    let (outbox, wire) = outbox();
    let long = "x".repeat(2 * REASON_MAX);
    let cases = [
        ("{\"Records\": [", "no JSON: EOF", "no JSON: EOF"),
        // What an attribute cannot hold is left out; nothing at all is refused too.
        ("body", "a\u{0}\n\u{fffe}\u{ffff}b", "ab"),
        ("", "", "-"),
        ("body", &long, &long[..REASON_MAX]),
    ];
    for (body, reason, expected) in cases {
        outbox.send_unreadable(body, reason).await.unwrap();
        let sent = wire.0.lock().unwrap().pop().unwrap();
        assert_eq!(sent["QueueUrl"], "https://sqs.us-east-1.amazonaws.com/1/dead");
        assert_eq!(sent["MessageBody"], if body.is_empty() { "-" } else { body });
        assert_eq!(sent["MessageAttributes"]["reason"], json!({"DataType": "String", "StringValue": expected}));
    }
}

/// A message of the largest size goes to the dead-letter queue too, where its attribute has no room beside it.
#[tokio::test]
async fn rule_12_the_largest_message_arrives_with_as_much_reason_as_fits() {
    let (outbox, wire) = outbox();
    for (left, expected) in [(0, None), (12, None), (13, None), (14, Some("ü")), (17, Some("üb")), (40, Some("übel"))]
    {
        let body = "x".repeat(MESSAGE_MAX_BYTES - left);
        outbox.send_unreadable(&body, "übel").await.unwrap();
        let sent = wire.0.lock().unwrap().pop().unwrap();
        assert_eq!(sent["MessageBody"].as_str().map(str::len), Some(body.len()));
        let told = sent["MessageAttributes"]["reason"]["StringValue"].as_str();
        let told = told.map(|told| if left == 17 { &told[..3] } else { told });
        assert_eq!(told, expected, "{left}");
        assert!(body.len() + told.map_or(0, |told| 12 + told.len()) <= MESSAGE_MAX_BYTES);
    }
}

#[tokio::test]
async fn a_failed_object_of_any_key_can_be_told() {
    let (outbox, wire) = outbox();
    let body = json!({"objects": [{"bucket": "b", "key": "a\u{fffe}b"}]});
    outbox.send_failed(&body.to_string()).await.unwrap();
    let sent = wire.0.lock().unwrap().pop().unwrap();
    let text = sent["MessageBody"].as_str().unwrap();
    assert!(!text.contains(NO_XML));
    assert_eq!(serde_json::from_str::<Value>(text).unwrap(), body);
}
