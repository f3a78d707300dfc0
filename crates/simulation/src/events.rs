//! Messages about the source's objects, as the services write them, on their way to the queue.

use crate::history::Version;
use crate::weather::{Message, SOURCE, Weather, locked};
use serde_json::{Value, json};
use std::sync::atomic::Ordering::Relaxed;

/// How long an event is on its way, in milliseconds.
pub(crate) const DELAYS_MS: [u64; 5] = [0, 0, 300, 7_000, 61_000];

impl Weather {
    /// Sends a message about these records to the queue, if events are sent at all.
    pub(crate) fn announce(&self, records: Vec<Value>) {
        self.announce_after(records, *self.dice.one(&DELAYS_MS));
    }

    pub(crate) fn announce_after(&self, records: Vec<Value>, after_ms: u64) {
        if !self.scenario.events {
            return;
        }
        // Events of a single record also come by EventBridge.
        let body = match records.as_slice() {
            [record] if self.dice.chance(0.2) => {
                let object = &record["s3"]["object"];
                let key = form_decoded(object["key"].as_str().unwrap_or_default());
                json!({"source": "aws.s3", "detail-type": "Object Created", "detail": {
                    "bucket": {"name": SOURCE},
                    "object": {"key": key, "size": object["size"], "etag": object["eTag"],
                        "version-id": object["versionId"], "sequencer": object["sequencer"]},
                }})
            }
            _ => json!({"Records": records}),
        };
        self.send(body.to_string(), after_ms);
    }

    /// Sends a message to the queue, to arrive after so many milliseconds.
    pub(crate) fn send(&self, body: String, after_ms: u64) {
        let id = format!("m{:03}", self.messages.fetch_add(1, Relaxed));
        locked(&self.inbox).push(Message { id, due_ms: self.now_ms() + after_ms, body });
        self.changed.notify_one();
    }

    pub(crate) fn record(key: &str, version: &Version) -> Value {
        json!({
            "eventVersion": "2.1", "eventSource": "aws:s3", "eventName": "ObjectCreated:Put",
            "s3": {"bucket": {"name": SOURCE}, "object": {
                "key": form_encoded(key), "size": version.content.len(), "eTag": version.etag,
                "versionId": if version.version_id == "null" { "" } else { &version.version_id },
                "sequencer": version.sequencer,
            }},
        })
    }
}

fn form_encoded(key: &str) -> String {
    let encode = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'-' | b'_' | b'.' => char::from(byte).to_string(),
        b' ' => "+".to_owned(),
        other => format!("%{other:02X}"),
    };
    key.bytes().map(encode).collect()
}

fn form_decoded(text: &str) -> String {
    let bytes = text.replace('+', " ").into_bytes();
    let mut out = Vec::new();
    let mut rest = bytes.as_slice();
    while let [first, more @ ..] = rest {
        let hex = more.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        match (first, hex.and_then(|digits| u8::from_str_radix(digits, 16).ok())) {
            (b'%', Some(byte)) => {
                out.push(byte);
                rest = &more[2..];
            }
            _ => {
                out.push(*first);
                rest = more;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}
