#![allow(clippy::unwrap_used)]
use super::*;
use aws_sdk_dynamodb::config::retry::RetryConfig;
use aws_sdk_dynamodb::config::{BehaviorVersion, Config, Credentials, Region};
use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector, http_client_fn,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_types::body::SdkBody;
use longhaul_core::config::Side;
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};

type Answer = Result<(u16, Value), ConnectorError>;
type Script = Box<dyn FnMut(&Value) -> Answer + Send>;

/// Stands below the SDK: a request's body goes in, an answer comes out.
#[derive(Clone)]
struct Wire(Arc<Mutex<Script>>);

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Wire")
    }
}

impl HttpConnector for Wire {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let body = serde_json::from_slice(request.body().bytes().unwrap()).unwrap();
        let answer = (self.0.lock().unwrap())(&body);
        HttpConnectorFuture::ready(
            answer.map(|(status, body)| HttpResponse::new(status.try_into().unwrap(), SdkBody::from(body.to_string()))),
        )
    }
}

fn ledger(attempts: u32, script: impl FnMut(&Value) -> Answer + Send + 'static) -> DynamoLedger {
    let wire = SharedHttpConnector::new(Wire(Arc::new(Mutex::new(Box::new(script)))));
    let retries = RetryConfig::standard().with_max_attempts(attempts).with_initial_backoff(Duration::from_millis(1));
    let config = Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .credentials_provider(Credentials::new("test", "test", None, None, "test"))
        .retry_config(retries)
        .http_client(http_client_fn(move |_: &HttpConnectorSettings, _| wire.clone()))
        .build();
    let mut ledger = DynamoLedger::new(Client::from_conf(config), "table".into());
    ledger.first_pause = Duration::from_millis(1);
    ledger
}

fn key(name: &str) -> LedgerKey {
    LedgerKey::new(&Side { bucket: "b".into(), ..Side::default() }, name)
}

fn record(execution: &str) -> JobRecord {
    JobRecord::new(key("k"), "from", "k", execution, 1)
}

fn refusal(status: u16, code: &str) -> Answer {
    Ok((status, json!({"__type": format!("com.amazonaws.dynamodb.v20120810#{code}"), "message": "the reason"})))
}

fn condition_failed(item: &Value) -> Answer {
    let (status, mut body) = refusal(400, "ConditionalCheckFailedException")?;
    body["Item"] = item.clone();
    Ok((status, body))
}

#[tokio::test]
async fn errors_say_what_the_caller_can_do() {
    type Class = fn(String) -> LedgerError;
    let cases: [(u16, &str, Class); 9] = [
        (400, "ProvisionedThroughputExceededException", LedgerError::Throttled),
        (400, "ThrottlingException", LedgerError::Throttled),
        (400, "RequestLimitExceeded", LedgerError::Throttled),
        (500, "InternalServerError", LedgerError::Transient),
        (503, "ServiceUnavailable", LedgerError::Transient),
        (400, "ExpiredTokenException", LedgerError::Transient),
        (400, "ResourceNotFoundException", LedgerError::Rejected),
        (400, "AccessDeniedException", LedgerError::Rejected),
        (400, "ValidationException", LedgerError::Rejected),
    ];
    for (status, code, class) in cases {
        let ledger = ledger(1, move |_| refusal(status, code));
        let expected = class(format!("{code}: the reason"));
        assert_eq!(ledger.get(&key("k")).await, Err(expected.clone()));
        assert_eq!(ledger.get_many(&[key("k")]).await, Err(expected.clone()));
        assert_eq!(ledger.put(&record("e"), Expected::Absent).await, Err(expected));
    }
}

#[tokio::test]
async fn a_broken_connection_is_transient() {
    let timeout = ledger(1, |_| Err(ConnectorError::timeout("no answer in time".into())));
    assert_eq!(timeout.get(&key("k")).await, Err(LedgerError::Transient("no answer in time".into())));
    let reset = ledger(1, |_| Err(ConnectorError::io("connection reset".into())));
    let put = reset.put(&record("e"), Expected::Any).await;
    assert_eq!(put, Err(LedgerError::Transient("connection reset".into())));
}

#[tokio::test]
async fn a_write_whose_reply_was_lost_is_a_success() {
    for expected in [Expected::Absent, Expected::Revision(0)] {
        let mut calls = 0;
        let ledger = ledger(3, move |body| {
            calls += 1;
            if calls == 1 { Err(ConnectorError::io("reset".into())) } else { condition_failed(&body["Item"]) }
        });
        assert_eq!(ledger.put(&record("e"), expected).await.unwrap().revision, 1);
    }
}

#[tokio::test]
async fn a_refusal_without_an_item_is_settled_by_a_read() {
    // The read of an item has no Item in its request: what was held is remembered from the write.
    let mut held = Value::Null;
    let own = ledger(1, move |body| match body.get("Item") {
        Some(item) => {
            held = item.clone();
            refusal(400, "ConditionalCheckFailedException")
        }
        None => Ok((200, json!({ "Item": held }))),
    });
    assert_eq!(own.put(&record("e"), Expected::Absent).await.unwrap().revision, 1);
    let gone = ledger(1, |body| match body.get("Item") {
        Some(_) => refusal(400, "ConditionalCheckFailedException"),
        None => Ok((200, json!({}))),
    });
    assert_eq!(gone.put(&record("e"), Expected::Revision(3)).await, Err(LedgerError::Conflict));
}

#[tokio::test]
async fn another_writers_record_is_a_conflict() {
    let ledger = ledger(3, |body| {
        let mut other = body["Item"].clone();
        let json = other["record"]["S"].as_str().unwrap().replace("\"mine\"", "\"other\"");
        other["record"]["S"] = json.into();
        condition_failed(&other)
    });
    assert_eq!(ledger.put(&record("mine"), Expected::Absent).await, Err(LedgerError::Conflict));
}

fn asked(body: &Value) -> Vec<Value> {
    body["RequestItems"]["table"]["Keys"].as_array().unwrap().clone()
}

fn stored(key: &Value) -> Value {
    let name = key["destination"]["S"].as_str().unwrap().strip_prefix("s3://b/").unwrap().to_owned();
    let record = JobRecord::new(self::key(&name), "from", &name, "e", 1);
    json!({"destination": key["destination"], "record": {"S": serde_json::to_string(&record).unwrap()}})
}

#[tokio::test]
async fn unprocessed_keys_are_asked_for_again() {
    let ledger = ledger(1, |body| {
        assert_eq!(body["RequestItems"]["table"]["ConsistentRead"], true);
        let keys = asked(body);
        let different: BTreeSet<_> = keys.iter().map(Value::to_string).collect();
        assert_eq!(different.len(), keys.len(), "a key comes twice");
        let (now, later) = keys.split_at(keys.len().min(40));
        let left = if later.is_empty() { json!({}) } else { json!({"table": {"Keys": later}}) };
        let found: Vec<_> = now.iter().map(stored).collect();
        Ok((200, json!({"Responses": {"table": found}, "UnprocessedKeys": left})))
    });
    let keys: Vec<_> = (0..250).map(|number| key(&format!("{}", number / 2))).collect();
    let found = ledger.get_many(&keys).await.unwrap();
    assert_eq!(found.len(), keys.len());
    for (key, record) in keys.iter().zip(found) {
        assert_eq!(record.unwrap().destination, *key);
    }
}

#[tokio::test]
async fn keys_that_stay_unprocessed_are_throttling() {
    let ledger = ledger(1, |body| {
        Ok((200, json!({"Responses": {"table": []}, "UnprocessedKeys": {"table": {"Keys": asked(body)}}})))
    });
    let refused = ledger.get_many(&[key("a"), key("b")]).await;
    assert_eq!(refused, Err(LedgerError::Throttled("2 keys were left unprocessed".into())));
}
