//! A run of a backfill: what was fixed when it began, and where its objects lie in the work bucket.

use super::manifest::manifest_name;
use super::request::BackfillRequest;
use crate::config::Route;
use crate::etag::Md5Digest;
use crate::names::short_execution;
use serde::{Deserialize, Serialize};

/// Which attempt at which run. A run that is resumed is the same run, in its next attempt.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RunRef {
    /// The name of the execution that began the run.
    pub name: String,
    /// From 1.
    pub attempt: u32,
}

/// Which manifest of which run an execution of `migrate` carries out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RunItem {
    /// The run.
    pub name: String,
    /// Its attempt.
    pub attempt: u32,
    /// The key of the manifest.
    pub manifest: String,
}

impl From<&RunItem> for RunRef {
    fn from(item: &RunItem) -> Self {
        Self { name: item.name.clone(), attempt: item.attempt }
    }
}

/// What was fixed when a run began. It lies at [`run_key`], and is written once an attempt.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Run {
    /// Its name.
    pub name: String,
    /// The attempt that goes on.
    pub attempt: u32,
    /// The id of the execution that carries this attempt out.
    pub execution: String,
    /// When the first attempt began, milliseconds since 1970.
    pub started_ms: u64,
    /// As it was asked for.
    pub request: BackfillRequest,
    /// Its routes.
    pub routes: Vec<Route>,
    /// Its shards, in the order of their numbers.
    pub shards: Vec<Shard>,
}

/// A part of the key space of a route, or a list of keys.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Shard {
    /// Index into the run's routes.
    pub route: u32,
    /// Source keys after this one, exclusive; from the beginning where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// Up to this one, inclusive; to the end where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub through: Option<String>,
}

/// What the user wants of a run, at [`control_key`]; absent means that it goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Control {
    /// What is in flight ends, nothing new begins, the run can be resumed.
    Paused,
    /// What is in flight ends, nothing new begins, the run is over.
    Stopped,
}

/// The object at [`control_key`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ControlObject {
    /// Absent if the run goes on.
    pub control: Option<Control>,
}

/// Who runs a route: the object at [`lock_key`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Lock {
    /// The run.
    pub run: String,
    /// The id of the execution that holds the lock until it is closed.
    pub execution: String,
}

/// What the keys of everything that belongs to a run begin with.
pub fn run_prefix(run: &str) -> String {
    format!("runs/{run}/")
}

/// The key of the [`Run`].
pub fn run_key(run: &str) -> String {
    format!("{}run.json", run_prefix(run))
}

/// The key of the [`ControlObject`].
pub fn control_key(run: &str) -> String {
    format!("{}control.json", run_prefix(run))
}

/// The key of a hint how far a shard has come behind its last manifest: a [`Hint`].
pub fn hint_key(run: &str, shard: u32) -> String {
    format!("{}scan/{shard:05}.json", run_prefix(run))
}

/// How far a shard has come without anything to write. It saves work; the manifests are the truth.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Hint {
    /// Number of the next manifest: the hint is void once that one exists.
    pub number: u32,
    /// How far.
    pub progress: super::manifest::Progress,
}

/// What the keys of the outcomes of all manifests begin with.
pub fn outcomes_prefix(run: &str) -> String {
    format!("{}outcomes/", run_prefix(run))
}

/// What the keys of the outcomes of one manifest begin with. They sort as the manifests do.
pub fn item_outcomes_prefix(run: &str, manifest: &str) -> String {
    format!("{}{}/", outcomes_prefix(run), manifest_name(manifest))
}

/// The key of the outcome object of an execution that carries out a manifest, or of its successors. Those of an older
/// attempt sort first and are void where a newer one has any.
pub fn item_outcome_key(item: &RunItem, execution: &str) -> String {
    let prefix = item_outcomes_prefix(&item.name, &item.manifest);
    format!("{prefix}{:06}-{}.json", item.attempt, short_execution(execution))
}

/// The manifest's name and the attempt, from the key of an outcome of [`item_outcome_key`].
pub fn item_of_outcome<'a>(run: &str, key: &'a str) -> Option<(&'a str, u32)> {
    let (manifest, rest) = key.strip_prefix(&outcomes_prefix(run))?.split_once('/')?;
    Some((manifest, rest.split_once('-')?.0.parse().ok()?))
}

/// What the keys begin with under which the distributed Map writes how each execution ended. Step Functions adds the
/// slash.
pub fn map_results_prefix(run: &str) -> String {
    format!("{}map", run_prefix(run))
}

/// The key of the record of a shard's deletions.
pub fn deleted_key(run: &str, shard: u32) -> String {
    format!("{}deleted/{shard:05}.json", run_prefix(run))
}

/// What the keys of a run's report begin with.
pub fn report_prefix(run: &str) -> String {
    format!("{}report/", run_prefix(run))
}

/// The key of what preflight found, route by route: [`super::check::RouteChecks`].
pub fn checks_key(run: &str) -> String {
    format!("{}checks.json", report_prefix(run))
}

/// The key of a route's [`Lock`]: one for each pair of source and destination.
pub fn lock_key(route: &Route) -> String {
    let side =
        |side: &crate::config::Side| format!("{}\n{}\n{}", side.store().unwrap_or_default(), side.bucket, side.prefix);
    let name = format!("{}\n{}", side(&route.source), side(&route.destination));
    format!("locks/{}.json", Md5Digest::of(name.as_bytes()).hex())
}

#[cfg(test)]
mod tests {
    use super::super::manifest::manifest_key;
    use super::*;

    #[test]
    fn outcomes_are_filed_under_their_manifest() {
        let manifest = manifest_key("r", 1, 2);
        let item = RunItem { name: "r".into(), attempt: 3, manifest: manifest.clone() };
        let key = item_outcome_key(&item, "arn:aws:states:eu-west-1:1:execution:m:child");
        assert_eq!(item_of_outcome("r", &key), Some((manifest_name(&manifest), 3)));
        assert_eq!(item_of_outcome("s", &key), None);
        assert_eq!(item_of_outcome("r", "runs/r/outcomes/x"), None);
    }
}
