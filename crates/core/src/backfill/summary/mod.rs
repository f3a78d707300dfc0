//! The summary of a run: what it listed, what became of it, and whether the two agree.

mod adder;
mod throughput;
mod verdict;
pub mod words;

pub use adder::{
    Adder, Chain, FAILURES_KEPT, FailedObject, Failures, SLOWEST_KEPT, SlowObject, UNFINISHED_KEPT, Unfinished, chains,
    skip_name,
};
pub use throughput::{BUCKETS_MAX, Throughput};
pub use verdict::{Facts, summarize};

use super::check::RouteChecks;
use super::counts::Counts;
use super::deletions::Deleted;
use super::request::BackfillRequest;
use super::run::report_prefix;
use crate::config::{Route, Side};
use crate::tally::Tally;
use crate::uploads::OpenUploads;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// How a run stands at the end of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum RunStatus {
    /// Everything listed is migrated, unchanged, skipped or excluded.
    Succeeded,
    /// Something failed, is missing, or does not add up.
    Failed,
    /// The user paused it, and something is left to do.
    Paused,
    /// The user stopped it, and something was left to do.
    Stopped,
    /// Nothing was to be copied.
    DryRun,
}

impl RunStatus {
    /// As people read it.
    pub fn words(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Paused => "paused",
            Self::Stopped => "stopped",
            Self::DryRun => "dry run",
        }
    }
}

/// The report of a run, as `summary.json` holds it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RunSummary {
    /// The run.
    pub run: String,
    /// Its attempt.
    pub attempt: u32,
    /// How it stands.
    pub status: RunStatus,
    /// Name of the error of a failed run, else empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub error: String,
    /// What became of it, in one line.
    pub cause: String,
    /// What to do next, in one line.
    pub advice: String,
    /// When its first attempt began, milliseconds since 1970.
    pub started_ms: u64,
    /// When it was reported, milliseconds since 1970.
    pub ended_ms: u64,
    /// Its routes.
    pub routes: Vec<RouteBrief>,
    /// What was asked for, without the routes.
    pub request: BackfillRequest,
    /// What was listed.
    pub counts: Counts,
    /// What became of what was offered.
    pub tally: Tally,
    /// What earlier executions did of manifests that were carried out again; not part of `tally`.
    pub superseded: Tally,
    /// Offered objects that a paused or stopped run left alone.
    pub held: u64,
    /// Offered objects without an outcome that should have one.
    pub missing: u64,
    /// True if listed = excluded + unchanged + exists + offered, and, where something was to be copied,
    /// offered = migrated + unchanged + skipped + failed + held + missing.
    pub accounted: bool,
    /// Shards that were not scanned to their end.
    pub unscanned: u32,
    /// Manifests found.
    pub manifests: u64,
    /// Outcomes of executions found, the superseded ones included.
    pub executions: u64,
    /// Manifests whose objects do not all have an outcome.
    pub unfinished: Unfinished,
    /// What became of the deletions, where some were asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deletions: Option<Deleted>,
    /// Uploads that stood open at the destinations before the run began.
    #[serde(default)]
    pub uploads: OpenUploads,
    /// Skipped objects by reason.
    pub skipped: BTreeMap<String, u64>,
    /// The failed objects.
    pub failures: Failures,
    /// The slowest objects.
    pub slowest: Vec<SlowObject>,
    /// Bytes of migrated objects over time.
    pub throughput: Throughput,
    /// What preflight found.
    pub checks: Vec<RouteChecks>,
    /// What else the reader has to know.
    pub notes: Vec<String>,
    /// What the run was expected to take and cost: an [`Estimate`](crate::backfill::estimate::Estimate) of what was
    /// offered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub estimate: Option<Value>,
    /// The work bucket.
    pub bucket: String,
    /// Keys of the report's objects in it.
    pub report: Vec<String>,
}

/// A route, as a reader has to know it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RouteBrief {
    /// Its name.
    pub name: String,
    /// `s3://bucket/prefix`, behind the endpoint where there is one.
    pub source: String,
    /// The same of the destination.
    pub destination: String,
}

impl RouteBrief {
    /// Of a whole route.
    pub fn of(route: &Route) -> Self {
        Self { name: route.name.clone(), source: place(&route.source), destination: place(&route.destination) }
    }
}

fn place(side: &Side) -> String {
    let at = side.endpoint.as_ref().map(|endpoint| format!(" at {endpoint}")).unwrap_or_default();
    format!("s3://{}/{}{at}", side.bucket, side.prefix)
}

/// The key of the [`RunSummary`].
pub fn summary_key(run: &str) -> String {
    format!("{}summary.json", report_prefix(run))
}

/// The key of the page.
pub fn page_key(run: &str) -> String {
    format!("{}report.html", report_prefix(run))
}
