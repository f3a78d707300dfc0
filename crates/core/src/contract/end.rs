//! How items and executions end, and what they leave behind.

use super::objects::Rest;
use crate::backfill::run::RunItem;
use crate::config::Route;
use crate::request::{ObjectRef, Request};
use crate::tally::Tally;
use serde::{Deserialize, Serialize};

/// The end of an item: of a fixed size, but for objects that a successor goes on with.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Done {
    /// Counts.
    #[serde(default)]
    pub tally: Tally,
    /// Objects for the successor.
    #[serde(default, skip_serializing_if = "Rest::is_empty")]
    pub remaining: Rest,
    /// The slowest copy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slowest: Option<Slowest>,
}

/// The end of an execution.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    /// The execution's id.
    pub execution: String,
    /// When it began, as Step Functions writes times.
    #[serde(default)]
    pub started: Option<String>,
    /// What `plan` counted.
    pub tally: Tally,
    /// What the items counted.
    pub results: Vec<Done>,
    /// What `plan` left for a successor.
    #[serde(default)]
    pub rest: Rest,
    /// The request's own route.
    #[serde(default)]
    pub route: Option<Route>,
    /// The request's manifest of a backfill.
    #[serde(default)]
    pub run: Option<RunItem>,
}

/// How an execution ends, tagged with what comes next.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "next", rename_all = "camelCase")]
pub enum End {
    /// Every object is migrated, unchanged or skipped.
    Succeeded(EndCounts),
    /// Something failed.
    Failed(EndCounts),
    /// A successor goes on.
    Continue(Box<Successor>),
}

impl End {
    /// Every tag, for the contract test.
    pub const TAGS: [&str; 3] = ["succeeded", "failed", "continue"];
}

/// The counts of an execution.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EndCounts {
    /// Counts.
    pub tally: Tally,
}

/// What a successor is started with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Successor {
    /// Its name.
    pub name: String,
    /// Its input.
    pub request: Request,
    /// How this execution ends when the successor succeeds: `succeeded` or `failed`.
    pub then: Verdict,
    /// Counts of this execution.
    pub tally: Tally,
}

/// How an execution's own objects ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Verdict {
    /// None failed.
    Succeeded,
    /// At least one failed.
    Failed,
}

impl Verdict {
    /// The verdict on a tally.
    pub fn of(tally: &Tally) -> Self {
        if tally.all_well() { Self::Succeeded } else { Self::Failed }
    }
}

/// The outcome object of an execution, in the work bucket: what `report` adds up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ExecutionOutcome {
    /// The execution's id.
    pub execution: String,
    /// Counts.
    pub tally: Tally,
    /// True if a successor went on with some of the objects.
    #[serde(default)]
    pub continued: bool,
    /// When the execution began and when it wrote this, milliseconds since 1970.
    #[serde(default)]
    pub started_ms: u64,
    /// See above.
    #[serde(default)]
    pub ended_ms: u64,
    /// The slowest object of each of its items, at most [`SLOWEST_MAX`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub slowest: Vec<Slowest>,
    /// Every object that is not migrated or unchanged, as it was offered, with the reason.
    pub exceptions: Vec<Exception>,
}

/// Most objects of [`ExecutionOutcome::slowest`].
pub const SLOWEST_MAX: usize = 5;

/// An object, and how long its copy took.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Slowest {
    /// Its key at the source.
    pub key: String,
    /// Its size in bytes.
    pub bytes: u64,
    /// Milliseconds from its beginning to its outcome.
    pub ms: u64,
}

impl Slowest {
    /// The slower of two.
    pub fn of(one: Option<Self>, other: Option<Self>) -> Option<Self> {
        [one, other].into_iter().flatten().max_by_key(|slowest| slowest.ms)
    }
}

/// An object that was not migrated.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Exception {
    /// The object.
    pub object: ObjectRef,
    /// Its outcome.
    #[serde(flatten)]
    pub outcome: crate::outcome::Outcome,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::large::RangeState;
    use super::*;
    use serde_json::json;

    #[test]
    fn fields_of_the_state_machine_do_not_disturb() {
        let done: RangeState =
            serde_json::from_value(json!({"next": "done", "error": {"Error": "Transient", "Cause": "x"}, "more": 1}))
                .unwrap();
        let RangeState::Done(result) = done else { panic!() };
        assert_eq!(result.error.unwrap().error, "Transient");
        let unsettled: Done = serde_json::from_value(json!({"next": "done", "tally": {"unsettled": 1}})).unwrap();
        assert_eq!(Verdict::of(&unsettled.tally), Verdict::Failed);
    }
}
