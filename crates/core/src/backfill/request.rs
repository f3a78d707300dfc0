//! What a user asks of a backfill.

use super::filters::Filters;
use crate::config::{ConfigError, Route};
use crate::request::RequestError;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The version of [`BackfillRequest`] that this code writes and reads.
pub const BACKFILL_VERSION: u32 = 1;
/// Executions of `migrate` at once, where the request does not say.
pub const CONCURRENCY_DEFAULT: u32 = 20;
/// Children of a distributed Map that run at once at most.
/// <https://docs.aws.amazon.com/step-functions/latest/dg/service-quotas.html>
pub const CONCURRENCY_MAX: u32 = 10_000;
/// Scans at once, where the request does not say.
pub const SCANS_DEFAULT: u32 = 8;
/// Most scans at once: an inline Map runs at most 40 iterations.
pub const SCANS_MAX: u32 = 40;

/// The input of an execution of `backfill`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BackfillRequest {
    /// [`BACKFILL_VERSION`]; absent means 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<u32>,
    /// Goes on with this run, which was paused or broke off. Everything else is as it was then, so nothing else may be
    /// given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resume: Option<String>,
    /// Which routes: names of the configuration, or whole routes; every route of the configuration where absent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub routes: Vec<RouteChoice>,
    /// What makes two objects the same.
    #[serde(default)]
    pub compare: Compare,
    /// Which objects.
    #[serde(default, skip_serializing_if = "Filters::is_empty")]
    pub filters: Filters,
    /// A list of keys instead of the source's listing. Needs a single route.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keys: Option<KeysFrom>,
    /// Scans, estimates and reports, and copies nothing.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub dry_run: bool,
    /// Removes destination objects that the source lacks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delete: Option<Deletions>,
    /// Executions of `migrate` at once, 1 to [`CONCURRENCY_MAX`]; [`CONCURRENCY_DEFAULT`] where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<u32>,
    /// Scans at once, 1 to [`SCANS_MAX`]; [`SCANS_DEFAULT`] where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scans: Option<u32>,
    /// Ends the copying once more than this share of the executions failed, in percent. Never where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_failed_percent: Option<f64>,
}

/// A route of the configuration, or one of the request's own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum RouteChoice {
    /// The name of a route of the configuration.
    Named(String),
    /// A whole route.
    Given(Box<Route>),
}

/// What makes a destination object the same as the source's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Compare {
    /// Equal sizes. Proves nothing: such objects are counted as unproven.
    Size,
    /// Equal sizes and ETags, or a ledger record that pairs both ETags (SEMANTICS.md, rule 10).
    #[default]
    Etag,
    /// Equal sizes and equal checksums over the whole object; costs a HEAD on each side.
    Checksum,
    /// Nothing: every object is offered, and `migrate` looks at each.
    Always,
}

/// A list of keys in an S3 object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct KeysFrom {
    /// How it is written.
    pub format: KeysFormat,
    /// The bucket that holds it: the work bucket, or one that the source's credentials read.
    pub bucket: String,
    /// Its key.
    pub key: String,
}

/// How a list of keys is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum KeysFormat {
    /// One key a line, or CSV whose first column is the key; a quoted field may hold anything.
    Csv,
    /// One JSON document a line: a string, or an object with `key` and perhaps `bucket`, `size`, `etag`.
    JsonLines,
    /// The `manifest.json` of an S3 Inventory in CSV.
    /// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/storage-inventory-location.html>
    Inventory,
}

/// Which destination objects are removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Deletions {
    /// Where more than this many would be removed, none is, and the run fails.
    pub max: u64,
}

impl BackfillRequest {
    /// Reads and checks a request; the error says what is wrong with it.
    pub fn from_value(value: &Value) -> Result<Self, RequestError> {
        if let Some(version) = value.get("version")
            && version.as_u64() != Some(u64::from(BACKFILL_VERSION))
        {
            let told = format!("version {version} of a backfill's request; this release reads {BACKFILL_VERSION}");
            return Err(RequestError(told));
        }
        let request = Self::deserialize(value).map_err(|error| RequestError(format!("no backfill: {error}")))?;
        request.check()?;
        Ok(request)
    }

    /// Refuses what cannot be carried out.
    pub fn check(&self) -> Result<(), RequestError> {
        let refuse = |what: &str| Err(RequestError(what.to_owned()));
        if let Some(run) = &self.resume {
            let others = Self { resume: None, version: None, ..self.clone() } != Self::default();
            return match (run.is_empty(), others) {
                (true, _) => refuse("resume names no run"),
                (_, true) => refuse("a run is resumed as it was begun: resume stands alone"),
                _ => Ok(()),
            };
        }
        for route in &self.routes {
            if let RouteChoice::Given(route) = route {
                route.check().map_err(|ConfigError(told)| RequestError(told))?;
            }
        }
        if self.keys.is_some() && self.routes.len() != 1 {
            return refuse("a list of keys needs the one route that it is of");
        }
        if self.keys.is_some() && self.delete.is_some() {
            return refuse("delete needs the whole listing of the source, not a list of keys");
        }
        if self.delete.is_some() && !self.filters.is_empty() {
            return refuse("delete with filters: what is filtered out would look as if the source lacked it");
        }
        if self.concurrency.is_some_and(|count| !(1..=CONCURRENCY_MAX).contains(&count)) {
            return refuse("concurrency is 1 to 10,000");
        }
        if self.scans.is_some_and(|count| !(1..=SCANS_MAX).contains(&count)) {
            return refuse("scans is 1 to 40");
        }
        if self.max_failed_percent.is_some_and(|percent| !(0.0..=100.0).contains(&percent)) {
            return refuse("maxFailedPercent is 0 to 100");
        }
        self.filters.check().map_err(RequestError)
    }

    /// The routes that are meant, of those configured.
    pub fn chosen(&self, configured: &[Route]) -> Result<Vec<Route>, RequestError> {
        let named = |name: &String| {
            let found = configured.iter().find(|route| route.name == *name).cloned();
            found.ok_or_else(|| RequestError(format!("no route is named {name:?}")))
        };
        let chosen: Vec<Route> = match self.routes.as_slice() {
            [] => configured.to_vec(),
            choices => choices
                .iter()
                .map(|choice| match choice {
                    RouteChoice::Named(name) => named(name),
                    RouteChoice::Given(route) => Ok((**route).clone()),
                })
                .collect::<Result<_, _>>()?,
        };
        if chosen.is_empty() {
            return Err(RequestError("no route is configured, and the request names none".into()));
        }
        Ok(chosen)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::json;

    fn refused(value: Value) -> String {
        BackfillRequest::from_value(&value).unwrap_err().0
    }

    #[test]
    fn what_makes_no_sense_together_is_refused() {
        assert!(refused(json!({"resume": "r", "dryRun": true})).contains("stands alone"));
        assert!(refused(json!({"version": 2})).contains("version 2"));
        assert!(refused(json!({"scans": 0})).contains("scans"));
        assert!(refused(json!({"concurrency": 10_001})).contains("concurrency"));
        assert!(refused(json!({"maxFailedPercent": 101})).contains("maxFailedPercent"));
        let keys = json!({"format": "csv", "bucket": "b", "key": "k"});
        assert!(refused(json!({"keys": keys})).contains("one route"));
        assert!(refused(json!({"routes": ["a"], "keys": keys, "delete": {"max": 1}})).contains("whole listing"));
        assert!(refused(json!({"delete": {"max": 1}, "filters": {"include": ["*"]}})).contains("filtered out"));
        assert!(refused(json!({"rout": 1})).contains("rout"));
    }

    #[test]
    fn routes_are_named_or_given() {
        let route = |name: &str| {
            let side = |bucket: &str| json!({"bucket": bucket});
            serde_json::from_value::<Route>(json!({"name": name, "source": side("a"), "destination": side("b")}))
                .unwrap()
        };
        let configured = [route("x"), route("y")];
        let chosen = |value: Value| BackfillRequest::from_value(&value).unwrap().chosen(&configured);
        assert_eq!(chosen(json!({})).unwrap(), configured);
        assert_eq!(chosen(json!({"routes": ["y"]})).unwrap(), configured[1..]);
        assert_eq!(chosen(json!({"routes": [route("z"), "x"]})).unwrap(), [route("z"), route("x")]);
        assert!(chosen(json!({"routes": ["w"]})).unwrap_err().0.contains("\"w\""));
        assert!(BackfillRequest::default().chosen(&[]).is_err());
    }
}
