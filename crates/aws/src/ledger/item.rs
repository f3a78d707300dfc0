//! A record as a DynamoDB item, and back.

use super::{LedgerError, json_of};
use aws_sdk_dynamodb::types::AttributeValue;
use longhaul_core::job::JobRecord;
use longhaul_core::names::LedgerKey;
use longhaul_core::rate::{RateKey, Rates};
use serde::de::DeserializeOwned;
use std::collections::HashMap;

/// The partition key.
pub(super) const KEY: &str = "destination";
/// The condition of the next write.
pub(super) const REVISION: &str = "revision";
/// The whole record as JSON: the truth. Every other attribute is for people and queries.
pub(super) const RECORD: &str = "record";

/// How long a final record is kept after its last write, in seconds: 400 days, longer than a yearly repetition.
const KEPT_SECONDS: u64 = 400 * 24 * 60 * 60;
/// How long the rates of a route are kept after the last measure, in seconds: twice as long as they say anything.
const RATES_KEPT_SECONDS: u64 = 2 * 24 * 60 * 60;

/// The attributes of an item.
pub(super) type Item = HashMap<String, AttributeValue>;

/// `record` as an item. At most a few KiB: the longest key has 1,024 bytes and a failure's message 1,024.
pub(super) fn encode(record: &JobRecord) -> Result<Item, LedgerError> {
    let json = json_of(record)?;
    let text = |value: &str| AttributeValue::S(value.to_owned());
    let number = |value: u64| AttributeValue::N(value.to_string());
    let mut item = Item::from([
        (KEY.to_owned(), text(record.destination.as_str())),
        ("status".to_owned(), text(record.status.as_str())),
        ("execution".to_owned(), text(&record.execution)),
        ("bytes".to_owned(), number(record.bytes)),
        ("updatedMs".to_owned(), number(record.updated_ms)),
        (REVISION.to_owned(), number(record.revision)),
        ("attempts".to_owned(), number(record.attempts.into())),
        (RECORD.to_owned(), AttributeValue::S(json)),
    ]);
    if record.status.is_final() {
        item.insert("expires".to_owned(), number(record.updated_ms / 1000 + KEPT_SECONDS));
    }
    if let Some(failure) = &record.failure {
        item.insert("failure".to_owned(), text(&failure.name));
    }
    Ok(item)
}

/// The rates of a route as an item: a few hundred bytes.
pub(super) fn encode_rates(rates: &Rates) -> Result<Item, LedgerError> {
    let json = json_of(rates)?;
    let newest_ms = rates.measures.iter().map(|measure| measure.at_ms).max().unwrap_or(0);
    let number = |value: u64| AttributeValue::N(value.to_string());
    Ok(Item::from([
        (KEY.to_owned(), AttributeValue::S(rates.key.as_str().to_owned())),
        (REVISION.to_owned(), number(rates.revision)),
        ("updatedMs".to_owned(), number(newest_ms)),
        ("expires".to_owned(), number(newest_ms / 1000 + RATES_KEPT_SECONDS)),
        (RECORD.to_owned(), AttributeValue::S(json)),
    ]))
}

/// The record of an item.
pub(super) fn decode(item: &Item) -> Result<JobRecord, LedgerError> {
    read(item)
}

/// The rates of an item.
pub(super) fn decode_rates(item: &Item) -> Result<Rates, LedgerError> {
    read(item)
}

fn read<T: DeserializeOwned>(item: &Item) -> Result<T, LedgerError> {
    let Some(json) = json(item) else {
        return Err(LedgerError::Rejected(format!("an item has no text under {RECORD}")));
    };
    serde_json::from_str(json)
        .map_err(|error| LedgerError::Rejected(format!("an item's {RECORD} cannot be read: {error}")))
}

/// The record's JSON.
pub(super) fn json(item: &Item) -> Option<&str> {
    item.get(RECORD).and_then(|value| value.as_s().ok()).map(String::as_str)
}

/// The key as DynamoDB takes it.
pub(super) fn key_of(key: &LedgerKey) -> Item {
    named(key.as_str())
}

/// The key of a route's rates as DynamoDB takes it.
pub(super) fn rate_key_of(key: &RateKey) -> Item {
    named(key.as_str())
}

fn named(key: &str) -> Item {
    Item::from([(KEY.to_owned(), AttributeValue::S(key.to_owned()))])
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use longhaul_core::config::Side;
    use longhaul_core::error::{Failure, MESSAGE_MAX_BYTES};
    use longhaul_core::outcome::{Outcome, Proof};

    fn copying() -> JobRecord {
        let side = Side { bucket: "bucket".into(), ..Side::default() };
        JobRecord::new(LedgerKey::new(&side, "a//ü"), "from", "a//ü", "run", 5_999)
    }

    #[test]
    fn only_final_records_expire() {
        let open = encode(&copying()).unwrap();
        assert_eq!(open["status"], AttributeValue::S("copying".into()));
        assert!(!open.contains_key("expires") && !open.contains_key("failure"));
        let ended = copying().ended(&Outcome::Migrated { bytes: 7, proof: Proof::Etag }, "run", 5_999);
        let ended = encode(&ended).unwrap();
        assert_eq!(ended["expires"], AttributeValue::N((5 + 400 * 86_400).to_string()));
        assert_eq!(ended["bytes"], AttributeValue::N("7".into()));
    }

    #[test]
    fn the_largest_record_is_small_and_survives_a_round_trip() {
        let side = Side { bucket: "b".repeat(63), ..Side::default() };
        let key = "\u{1}".repeat(1024);
        let failure = Failure::new("Rejected", "\u{1}".repeat(MESSAGE_MAX_BYTES));
        let record = JobRecord::new(LedgerKey::new(&side, &key), "from", &key, &"e".repeat(300), 1).ended(
            &Outcome::Failed { failure },
            "run",
            2,
        );
        let item = encode(&record).unwrap();
        assert_eq!(item["failure"], AttributeValue::S("Rejected".into()));
        // 400 KiB is the limit of an item:
        // https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html
        assert!(json(&item).unwrap().len() < 24 * 1024);
        assert_eq!(decode(&item).unwrap(), record);
    }

    #[test]
    fn an_item_that_is_no_record_is_refused() {
        assert!(matches!(decode(&Item::new()), Err(LedgerError::Rejected(_))));
        let broken = Item::from([(RECORD.to_owned(), AttributeValue::S("{}".into()))]);
        assert!(matches!(decode(&broken), Err(LedgerError::Rejected(_))));
    }
}
