//! What users and events ask for.

use crate::backfill::run::RunItem;
use crate::config::Route;
use crate::error::Failure;
use crate::etag::ETag;
use crate::names::PLANS_PREFIX;
use serde::{Deserialize, Serialize};
use std::cmp::Ordering;

/// The version of [`Request`] that this code writes and reads.
pub const REQUEST_VERSION: u32 = 1;

/// Most manifests of one request: with keys of 1,024 bytes they still fit a payload, beside what `plan` makes of them.
pub const MANIFESTS_MAX: usize = 50;

/// An object of the source, as it was offered. Everything but bucket and key is a hint that saves work.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ObjectRef {
    /// The bucket of the source.
    pub bucket: String,
    /// The key, not encoded.
    pub key: String,
    /// The version that the event was about. What is copied is what is current.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version_id: Option<String>,
    /// Size in bytes at the time of the offer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// ETag at the time of the offer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub etag: Option<ETag>,
    /// Order of the events of one key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sequencer: Option<Sequencer>,
    /// Whether the destination held something under its key when both sides were listed; absent where nobody looked. If
    /// so, a write on condition that nothing stands there would be refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stands: Option<bool>,
}

/// S3's event sequencer: hex digits that compare, padded on the right with zeros, within one key only.
/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-content-structure.html>
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Sequencer(pub String);

impl Ord for Sequencer {
    fn cmp(&self, other: &Self) -> Ordering {
        let width = self.0.len().max(other.0.len());
        let padded = |text: &str| format!("{:0<width$}", text.to_ascii_uppercase());
        padded(&self.0).cmp(&padded(&other.0))
    }
}

impl PartialOrd for Sequencer {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Sequencer {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Sequencer {}

/// Lines of an object in the work bucket, one [`ObjectRef`] in JSON each.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ManifestRef {
    /// The bucket that holds the manifest.
    pub bucket: String,
    /// Its key.
    pub key: String,
    /// First byte to read; the beginning of a line.
    #[serde(default)]
    pub offset: u64,
    /// The byte after the last to read; the end of the object where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<u64>,
}

/// The input of an execution of `migrate`, and Longhaul's own message on its queues.
///
/// Names its objects inline or by manifests. Fields that it does not know are refused, but for those that the failed
/// queue adds, so that its messages can be sent again as they are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Request {
    /// [`REQUEST_VERSION`]; absent means 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<u32>,
    /// The objects.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub objects: Vec<ObjectRef>,
    /// More objects, by reference.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub manifests: Vec<ManifestRef>,
    /// The route for all of them; looked up in the configuration by bucket and key where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub route: Option<Route>,
    /// The manifest of a backfill that this request carries out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<RunItem>,
    /// On the failed queue: why. Not read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
    /// On the failed queue: which execution failed. Not read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub execution: Option<String>,
}

/// A request that cannot be carried out; the text says why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestError(pub String);

impl std::fmt::Display for RequestError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for RequestError {}

impl Request {
    /// Reads and checks a request.
    pub fn from_value(value: &serde_json::Value) -> Result<Self, RequestError> {
        if !value.is_object() {
            return Err(RequestError("no request: not a JSON object".into()));
        }
        // The version is looked at first: another version's fields would only give a misleading error.
        if let Some(version) = value.get("version")
            && version.as_u64() != Some(u64::from(REQUEST_VERSION))
        {
            return Err(RequestError(format!("version {version} of a request; this release reads {REQUEST_VERSION}")));
        }
        if value.get("Src_bucket").is_some() {
            return Err(RequestError(
                "a job of the Python original; send {\"objects\":[{\"bucket\":…,\"key\":…}]} instead".into(),
            ));
        }
        let request = Self::deserialize(value).map_err(|error| RequestError(format!("no request: {error}")))?;
        request.check()?;
        Ok(request)
    }

    /// Refuses a request that names nothing, or an object without bucket or key.
    pub fn check(&self) -> Result<(), RequestError> {
        if self.objects.is_empty() && self.manifests.is_empty() {
            return Err(RequestError("the request names no objects and no manifests".into()));
        }
        // Those that a predecessor wrote have short keys, and there are only so many of them.
        if self.manifests.iter().filter(|manifest| !manifest.key.starts_with(PLANS_PREFIX)).count() > MANIFESTS_MAX {
            return Err(RequestError(format!("the request names more than {MANIFESTS_MAX} manifests")));
        }
        if let Some(bad) = self.manifests.iter().find(|manifest| manifest.end.is_some_and(|end| end < manifest.offset))
        {
            return Err(RequestError(format!("manifest {} ends before it begins", bad.key)));
        }
        if let Some(index) = self.objects.iter().position(|object| object.bucket.is_empty() || object.key.is_empty()) {
            return Err(RequestError(format!("objects[{index}] has no bucket or no key")));
        }
        if let Some(route) = &self.route {
            route.check().map_err(|error| RequestError(error.to_string()))?;
        }
        Ok(())
    }
}

/// JSON as a queue takes it: the two characters that XML has no place for, and that SQS refuses a message for, are
/// escaped. In JSON they stand inside strings only, so it says the same.
pub fn queue_text(json: String) -> String {
    if json.contains(NO_XML) { json.replace('\u{fffe}', "\\ufffe").replace('\u{ffff}', "\\uffff") } else { json }
}

/// Characters that SQS refuses and JSON does not escape:
/// <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessage.html>
pub const NO_XML: [char; 2] = ['\u{fffe}', '\u{ffff}'];

/// One [`ObjectRef`] for each bucket and key: the one with the newest sequencer, in order of first appearance.
///
/// What is copied is what is current, so a second event of the same key in the same batch is no second object.
pub fn deduplicated(objects: Vec<ObjectRef>) -> Vec<ObjectRef> {
    let mut place = std::collections::HashMap::new();
    let mut kept: Vec<ObjectRef> = Vec::with_capacity(objects.len());
    for object in objects {
        match place.entry((object.bucket.clone(), object.key.clone())) {
            std::collections::hash_map::Entry::Vacant(entry) => {
                entry.insert(kept.len());
                kept.push(object);
            }
            std::collections::hash_map::Entry::Occupied(entry) => {
                let known = &mut kept[*entry.get()];
                if object.sequencer >= known.sequencer {
                    *known = object;
                }
            }
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::json;

    #[test]
    fn sequencers_compare_padded_on_the_right() {
        let order = |a: &str, b: &str| Sequencer(a.into()).cmp(&Sequencer(b.into()));
        assert_eq!(order("0055AED6DCD90281E5", "0055aed6dcd90281e5"), Ordering::Equal);
        assert_eq!(order("00A", "00A0"), Ordering::Equal);
        assert_eq!(order("00A", "00A1"), Ordering::Less);
        assert_eq!(order("00B", "00A1"), Ordering::Greater);
    }

    #[test]
    fn bad_requests_are_told_what_is_wrong() {
        let error = |value: serde_json::Value| Request::from_value(&value).unwrap_err().0;
        assert!(error(json!({"objects": []})).contains("no objects"));
        assert!(error(json!({"version": 7, "objekte": []})).contains("version 7"));
        assert!(error(json!({"Src_bucket": "a", "Src_key": "b"})).contains("Python original"));
        assert!(error(json!({"objects": [{"bucket": "a", "key": ""}]})).contains("objects[0]"));
        assert!(error(json!({"objects": [{"bucket": "a"}]})).contains("key"));
        assert!(error(json!([])).contains("no request"));
        assert!(error(json!({"manifests": [{"bucket": "b", "key": "m", "offset": 9, "end": 8}]})).contains("before"));
        assert!(error(json!({"manifests": vec![json!({"bucket": "b", "key": "m"}); 51]})).contains("more than"));
        assert!(error(json!({"objects": [{"bucket": "a", "key": "b"}], "rout": {}})).contains("rout"));
    }

    #[test]
    fn a_failed_message_is_a_request_again() {
        let request = json!({"objects": [{"bucket": "a", "key": "b", "size": 3}],
            "failure": {"name": "Rejected", "message": "no"}, "execution": "e"});
        assert_eq!(Request::from_value(&request).unwrap().objects[0].size, Some(3));
    }

    #[test]
    fn every_key_can_be_sent_to_a_queue() {
        let key = "a\u{fffe}\u{ffff}\u{1}\\ufffe\"";
        let object = ObjectRef { bucket: "b".into(), key: key.into(), ..ObjectRef::default() };
        let request = Request { objects: vec![object], ..Request::default() };
        let text = queue_text(serde_json::to_string(&request).unwrap());
        assert!(!text.contains(NO_XML) && !text.contains(char::is_control), "{text:?}");
        assert_eq!(Request::from_value(&serde_json::from_str(&text).unwrap()).unwrap(), request);
    }

    #[test]
    fn the_newest_offer_of_a_key_stays() {
        let object = |key: &str, sequencer: &str| ObjectRef {
            bucket: "b".into(),
            key: key.into(),
            sequencer: Some(Sequencer(sequencer.into())),
            ..ObjectRef::default()
        };
        let kept = deduplicated(vec![object("x", "02"), object("y", "01"), object("x", "01"), object("y", "03")]);
        assert_eq!(kept, vec![object("x", "02"), object("y", "03")]);
    }
}
