//! Names that are made from their input, so that doing a thing twice gives one thing.

use crate::config::Side;
use crate::etag::Md5Digest;
use serde::{Deserialize, Serialize};
use std::fmt;

/// The ledger's key of one destination object.
///
/// Bucket and key, behind the endpoint where there is one: buckets of two stores may share a name. At most 1,024 bytes
/// of key, 63 of bucket and the endpoint, well under DynamoDB's 2,048 for a partition key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LedgerKey(String);

impl LedgerKey {
    /// The key of `key` at `destination`.
    pub fn new(destination: &Side, key: &str) -> Self {
        let bucket = &destination.bucket;
        match destination.store() {
            None => Self(format!("s3://{bucket}/{key}")),
            Some(store) => Self(format!("{store}/{bucket}/{key}")),
        }
    }

    /// As it is stored.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for LedgerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The name of the execution for chunk `number` of these messages, whatever their order.
///
/// Names have 1 to 80 letters, digits, `-` and `_`:
/// <https://docs.aws.amazon.com/step-functions/latest/apireference/API_StartExecution.html>
pub fn execution_name(message_ids: &[&str], number: usize) -> String {
    let mut ids = message_ids.to_vec();
    ids.sort_unstable();
    format!("s3-{}-{number}", Md5Digest::of(ids.join("\n").as_bytes()).hex())
}

/// The name of the successor of `execution`.
pub fn successor_name(execution: &str) -> String {
    format!("next-{}", Md5Digest::of(execution.as_bytes()).hex())
}

/// The last part of an execution's ARN; the whole text where it is no ARN.
pub fn short_execution(execution: &str) -> &str {
    execution.rsplit(':').next().unwrap_or(execution)
}

/// What the keys of all manifests that the steps write begin with.
pub const PLANS_PREFIX: &str = "plans/";

/// The prefix of the manifests that `plan` writes for `execution`. A hash comes first, so that many spread over the key
/// space of the work bucket.
pub fn plan_prefix(execution: &str) -> String {
    let hash = Md5Digest::of(execution.as_bytes()).hex();
    format!("{PLANS_PREFIX}{}/{}/", &hash[..4], short_execution(execution))
}

/// The key of a manifest that `plan` writes for `execution`, made from its lines: a late twin of the step, which may
/// have seen something else, does not replace what this one's offsets point into.
pub fn plan_key(execution: &str, lines: &[u8]) -> String {
    format!("{}{}.jsonl", plan_prefix(execution), Md5Digest::of(lines).hex())
}

/// The key of a manifest of objects that a successor takes, made from its lines.
pub fn rest_key(lines: &[u8]) -> String {
    let hash = Md5Digest::of(lines).hex();
    format!("{PLANS_PREFIX}{}/rest-{hash}.jsonl", &hash[..4])
}

/// The key of the outcome object of `execution`.
pub fn outcome_key(execution: &str) -> String {
    let hash = Md5Digest::of(execution.as_bytes()).hex();
    format!("outcomes/{}/{}.json", &hash[..4], short_execution(execution))
}

/// The prefix of the objects of `execution` that were not migrated, one small object each.
pub fn exception_prefix(execution: &str) -> String {
    let hash = Md5Digest::of(execution.as_bytes()).hex();
    format!("exceptions/{}/{}/", &hash[..4], short_execution(execution))
}

/// The key under [`exception_prefix`] for one destination object.
pub fn exception_key(execution: &str, object: &LedgerKey) -> String {
    format!("{}{}.json", exception_prefix(execution), Md5Digest::of(object.as_str().as_bytes()).hex())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_of_messages_does_not_change_a_name() {
        assert_eq!(execution_name(&["b", "a"], 1), execution_name(&["a", "b"], 1));
        assert_ne!(execution_name(&["a"], 1), execution_name(&["a"], 2));
        assert!(execution_name(&["a"], 999).len() <= 80);
        assert!(successor_name(&"x".repeat(200)).len() <= 80);
    }

    #[test]
    fn two_stores_with_one_bucket_name_do_not_meet() {
        let here = Side { bucket: "b".into(), ..Side::default() };
        let there = Side { endpoint: Some("https://store.example".into()), ..here.clone() };
        assert_ne!(LedgerKey::new(&here, "k"), LedgerKey::new(&there, "k"));
    }
}
