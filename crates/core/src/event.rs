//! Reads what arrives on the queue: S3 notifications, EventBridge events, Longhaul's own requests.

use crate::etag::ETag;
use crate::request::{ObjectRef, Request, RequestError, Sequencer};
use percent_encoding::percent_decode_str;
use serde::Deserialize;
use serde_json::Value;

/// What a message asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// Objects that appeared at a source.
    Objects(Vec<ObjectRef>),
    /// Longhaul's own request.
    Request(Box<Request>),
    /// Nothing to do; why.
    Ignored(String),
}

/// A message that nobody can carry out; the text says why.
pub type Unreadable = RequestError;

/// Reads the body of a message. An SNS envelope is opened.
///
/// Every record of an S3 notification counts; records of other events (removals, lifecycle) offer nothing. One record
/// that cannot be read makes the whole message unreadable, so that nothing of it is dropped in silence.
pub fn parse(body: &str) -> Result<Message, Unreadable> {
    let value: Value = serde_json::from_str(body).map_err(|error| RequestError(format!("no JSON: {error}")))?;
    if let (Some("Notification"), Some(message)) = (text(&value, "Type"), text(&value, "Message")) {
        let inner = serde_json::from_str(message).map_err(|error| RequestError(format!("no JSON in SNS: {error}")))?;
        return parse_value(&inner);
    }
    parse_value(&value)
}

fn parse_value(value: &Value) -> Result<Message, Unreadable> {
    if text(value, "Event") == Some("s3:TestEvent") {
        return Ok(Message::Ignored("s3:TestEvent".into()));
    }
    if let Some(records) = value.get("Records") {
        return notification(records);
    }
    if value.get("detail-type").is_some() {
        return event_bridge(value);
    }
    Request::from_value(value).map(|request| Message::Request(Box::new(request)))
}

fn text<'a>(value: &'a Value, field: &str) -> Option<&'a str> {
    value.get(field).and_then(Value::as_str)
}

/// True if an event of this name offers an object. `ObjectCreated:*` and a finished restore do.
fn offers(event_name: &str) -> bool {
    let name = event_name.strip_prefix("s3:").unwrap_or(event_name);
    name.starts_with("ObjectCreated:") || name == "ObjectRestore:Completed"
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Record {
    event_version: String,
    event_name: String,
    s3: Option<RecordS3>,
}

#[derive(Deserialize)]
struct RecordS3 {
    bucket: Bucket,
    object: RecordObject,
}

#[derive(Deserialize)]
struct Bucket {
    name: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RecordObject {
    key: String,
    size: Option<u64>,
    e_tag: Option<String>,
    version_id: Option<String>,
    sequencer: Option<String>,
}

/// S3's notification form: <https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-content-structure.html>
/// "Compare the major version and ignore minor ones"; keys are form-encoded.
fn notification(records: &Value) -> Result<Message, Unreadable> {
    let records =
        Vec::<Record>::deserialize(records).map_err(|error| RequestError(format!("no S3 notification: {error}")))?;
    if records.is_empty() {
        return Err(RequestError("an S3 notification without records".into()));
    }
    let mut objects = Vec::with_capacity(records.len());
    let mut ignored = Vec::new();
    for record in records {
        if !record.event_version.starts_with("2.") {
            return Err(RequestError(format!("S3 event version {}; 2.x is read", record.event_version)));
        }
        if !offers(&record.event_name) {
            ignored.push(record.event_name);
            continue;
        }
        let s3 = record.s3.ok_or_else(|| RequestError(format!("{} without s3", record.event_name)))?;
        objects.push(ObjectRef {
            bucket: s3.bucket.name,
            key: form_decoded(&s3.object.key)?,
            version_id: given(s3.object.version_id),
            size: s3.object.size,
            etag: given(s3.object.e_tag).map(|etag| ETag::new(&etag)),
            sequencer: given(s3.object.sequencer).map(Sequencer),
            stands: None,
        });
    }
    named(objects, &ignored.join(", "))
}

#[derive(Deserialize)]
struct Detail {
    bucket: Bucket,
    object: DetailObject,
}

#[derive(Deserialize)]
struct DetailObject {
    key: String,
    size: Option<u64>,
    etag: Option<String>,
    #[serde(rename = "version-id")]
    version_id: Option<String>,
    sequencer: Option<String>,
}

/// EventBridge's form; its keys are not encoded:
/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/ev-events.html>
fn event_bridge(value: &Value) -> Result<Message, Unreadable> {
    let kind = text(value, "detail-type").unwrap_or_default();
    if text(value, "source") != Some("aws.s3") {
        return Err(RequestError(format!(
            "an event of {:?}, not of aws.s3",
            text(value, "source").unwrap_or_default()
        )));
    }
    if kind != "Object Created" && kind != "Object Restore Completed" {
        return Ok(Message::Ignored(kind.to_owned()));
    }
    let detail = Detail::deserialize(&value["detail"])
        .map_err(|error| RequestError(format!("no S3 event in detail: {error}")))?;
    let object = ObjectRef {
        bucket: detail.bucket.name,
        key: detail.object.key,
        version_id: given(detail.object.version_id),
        size: detail.object.size,
        etag: given(detail.object.etag).map(|etag| ETag::new(&etag)),
        sequencer: given(detail.object.sequencer).map(Sequencer),
        stands: None,
    };
    named(vec![object], "")
}

fn named(objects: Vec<ObjectRef>, ignored: &str) -> Result<Message, Unreadable> {
    if objects.is_empty() {
        return Ok(Message::Ignored(ignored.to_owned()));
    }
    let request = Request { objects, ..Request::default() };
    request.check()?;
    Ok(Message::Objects(request.objects))
}

fn given(text: Option<String>) -> Option<String> {
    text.filter(|text| !text.is_empty())
}

fn form_decoded(key: &str) -> Result<String, Unreadable> {
    percent_decode_str(&key.replace('+', " "))
        .decode_utf8()
        .map(std::borrow::Cow::into_owned)
        .map_err(|_| RequestError(format!("key {key:?} is not UTF-8")))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn record(name: &str, version: &str, key: &str) -> Value {
        json!({"eventVersion": version, "eventSource": "aws:s3", "eventName": name,
            "s3": {"bucket": {"name": "in"}, "object": {"key": key, "size": 5, "eTag": "abc", "versionId": "v", "sequencer": "0A"}}})
    }

    fn keys(message: Message) -> Vec<String> {
        match message {
            Message::Objects(objects) => objects.into_iter().map(|object| object.key).collect(),
            other => panic!("{other:?}"),
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(body in "\\PC{0,300}") {
            let _ = parse(&body);
        }

        #[test]
        fn form_encoded_keys_come_back(key in "\\PC{1,60}") {
            let encoded: String = percent_encoding::utf8_percent_encode(&key, percent_encoding::NON_ALPHANUMERIC)
                .to_string().replace("%20", "+");
            let body = json!({"Records": [record("ObjectCreated:Put", "2.1", &encoded)]}).to_string();
            prop_assert_eq!(keys(parse(&body).unwrap()), vec![key]);
        }
    }

    #[test]
    fn every_record_of_a_message_counts() {
        let body = json!({"Records": [
            record("ObjectCreated:Put", "2.1", "a+b%2Bc//d"),
            record("ObjectRemoved:Delete", "2.1", "gone"),
            record("ObjectCreated:CompleteMultipartUpload", "2.3", "%C3%BC"),
            record("s3:ObjectCreated:Copy", "2.0", "x"),
        ]});
        assert_eq!(keys(parse(&body.to_string()).unwrap()), ["a b+c//d", "ü", "x"]);
        let through_sns = json!({"Type": "Notification", "Message": body.to_string()}).to_string();
        assert_eq!(keys(parse(&through_sns).unwrap()).len(), 3);
    }

    #[test]
    fn event_bridge_keys_are_not_encoded() {
        let body = json!({"source": "aws.s3", "detail-type": "Object Created", "detail": {
            "bucket": {"name": "in"}, "object": {"key": "a+b%20c", "size": 1, "etag": "e", "version-id": "", "sequencer": "1"}}});
        let Message::Objects(objects) = parse(&body.to_string()).unwrap() else { panic!() };
        assert_eq!((objects[0].key.as_str(), &objects[0].version_id), ("a+b%20c", &None));
        let deleted = json!({"source": "aws.s3", "detail-type": "Object Deleted", "detail": {}});
        assert_eq!(parse(&deleted.to_string()).unwrap(), Message::Ignored("Object Deleted".into()));
    }

    #[test]
    fn what_offers_nothing_is_ignored_with_its_name() {
        let test = json!({"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": "in"});
        assert_eq!(parse(&test.to_string()).unwrap(), Message::Ignored("s3:TestEvent".into()));
        let removal = json!({"Records": [record("ObjectRemoved:Delete", "2.1", "k")]});
        assert_eq!(parse(&removal.to_string()).unwrap(), Message::Ignored("ObjectRemoved:Delete".into()));
    }

    #[test]
    fn what_cannot_be_read_says_why() {
        let why = |body: &str| parse(body).unwrap_err().0;
        assert!(why("{").contains("no JSON"));
        assert!(why(r#"{"Records":[]}"#).contains("without records"));
        assert!(
            why(&json!({"Records": [record("ObjectCreated:Put", "3.0", "k")]}).to_string()).contains("version 3.0")
        );
        assert!(why(&json!({"Records": [record("ObjectCreated:Put", "2.1", "%FF")]}).to_string()).contains("UTF-8"));
        assert!(why(r#"{"hello":"world"}"#).contains("hello"));
        assert!(why(r#"{"source":"aws.ec2","detail-type":"x"}"#).contains("aws.ec2"));
        assert!(why(r#"{"objects":[]}"#).contains("no objects"));
    }
}
