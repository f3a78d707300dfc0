//! The states of `backfill.asl.json`: what `scan` and `report` take and what they return.

use super::counts::Counts;
use super::run::RunRef;
use crate::error::{CaughtError, Failure};
use crate::tally::Tally;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What `scan` takes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "next", rename_all = "camelCase")]
pub enum ScanInput {
    /// An execution begins.
    Begin(Begin),
    /// A shard goes on.
    Scan(ShardWork),
    /// Every shard has ended.
    Gather(Gather),
    /// The deletions of a shard go on.
    Delete(ShardWork),
}

/// What `scan` returns.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum ScanOutput {
    /// For [`ScanInput::Begin`].
    Begun(Begun),
    /// For [`ScanInput::Scan`] and [`ScanInput::Delete`].
    Shard(ShardState),
    /// For [`ScanInput::Gather`].
    Gathered(Gathered),
}

/// The beginning of an execution.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Begin {
    /// The execution's input. Kept as JSON, so that a bad one fails with a reason.
    pub request: Value,
    /// The execution's id.
    pub execution: String,
}

/// What [`Begin`] leads to: the state of the Map over shards.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Begun {
    /// Always `scan`.
    pub next: ScanTag,
    /// The run.
    pub run: RunRef,
    /// Its shards, those that a former attempt scanned to their end left out.
    pub shards: Vec<ShardState>,
    /// Shards at once.
    pub max_concurrency: u32,
}

/// The tag of [`Begun`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ScanTag {
    /// The only one.
    Scan,
}

/// A shard at work.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ShardWork {
    /// The run.
    pub run: RunRef,
    /// The shard's number.
    pub shard: u32,
}

/// The state of a shard, tagged with what it needs next.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "next", rename_all = "camelCase")]
pub enum ShardState {
    /// Keys are left to scan.
    Scan(ShardWork),
    /// Deletions are left.
    Delete(ShardWork),
    /// The end of the shard.
    Done(ShardEnd),
}

impl ShardState {
    /// Every tag, for the contract test.
    pub const TAGS: [&str; 3] = ["scan", "delete", "done"];
}

/// How a shard ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ShardEnd {
    /// What stopped it, where something did; written by the state machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<CaughtError>,
}

/// What comes after the scan, or after the copies.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Gather {
    /// The run.
    pub run: RunRef,
    /// How the shards ended.
    #[serde(default)]
    pub results: Vec<ShardEnd>,
    /// True once the copies are over.
    #[serde(default)]
    pub copied: bool,
    /// What broke the copies off, where something did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<CaughtError>,
}

/// What comes after [`Gather`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "next", rename_all = "camelCase")]
pub enum Gathered {
    /// The manifests are carried out.
    Copy(CopyAll),
    /// The deletions are carried out, shard by shard.
    Delete(DeleteAll),
    /// The run is over, for better or worse.
    Report(ReportInput),
}

impl Gathered {
    /// Every tag, for the contract test.
    pub const TAGS: [&str; 3] = ["copy", "delete", "report"];
}

/// The state of the distributed Map.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CopyAll {
    /// The run.
    pub run: RunRef,
    /// The work bucket.
    pub bucket: String,
    /// What its manifests' keys begin with.
    pub prefix: String,
    /// Where the Map writes how each execution ended: [`super::run::map_results_prefix`].
    pub results_prefix: String,
    /// Executions of `migrate` at once.
    pub max_concurrency: u32,
    /// The share of failed executions that ends the Map, in percent; 100 never does.
    pub tolerated_failure_percentage: f64,
}

/// The state of the Map over deletions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeleteAll {
    /// The run.
    pub run: RunRef,
    /// Its shards.
    pub shards: Vec<ShardState>,
    /// Shards at once.
    pub max_concurrency: u32,
}

/// What `report` takes. Large reports are made in several rounds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReportInput {
    /// The run.
    pub run: RunRef,
    /// Why the run could not be carried out to its end, where that is so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
    /// What a `Catch` of the state machine caught where it could ask `scan` no more: stands for `failure`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<CaughtError>,
    /// How the deletions of the shards ended.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub results: Vec<ShardEnd>,
    /// How often `report` ran out of time.
    #[serde(default)]
    pub rounds: u32,
}

impl ReportInput {
    /// Why the run could not be carried out to its end, whoever said so.
    pub fn stopped_by(&self) -> Option<Failure> {
        self.failure.clone().or_else(|| self.error.as_ref().map(CaughtError::failure))
    }
}

/// How a run ended, tagged with what comes next.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "next", rename_all = "camelCase")]
pub enum Reported {
    /// `report` goes on.
    Report(ReportInput),
    /// Everything listed is migrated, unchanged, skipped or excluded; or it was a dry run; or the user ended the run.
    Succeeded(RunEnd),
    /// Something failed, or the counts do not add up.
    Failed(RunEnd),
}

impl Reported {
    /// Every tag, for the contract test.
    pub const TAGS: [&str; 3] = ["report", "succeeded", "failed"];
}

/// The end of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RunEnd {
    /// The run.
    pub run: RunRef,
    /// Name of the error of a failed run, else empty.
    #[serde(default)]
    pub error: String,
    /// In one line, what became of it.
    pub cause: String,
    /// What was listed.
    pub counts: Counts,
    /// What became of what was offered.
    pub tally: Tally,
    /// Where the report lies: keys in the work bucket.
    pub report: Vec<String>,
}
