//! What `plan` takes and returns, and the items of the outer Map.

use super::end::Done;
use super::large::Large;
use super::objects::{Batch, Rest};
use crate::backfill::run::{RunItem, RunRef};
use crate::config::Route;
use crate::request::ObjectRef;
use crate::tally::Tally;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What `plan` takes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "next", rename_all = "camelCase")]
pub enum PlanInput {
    /// A whole request, as it was given to the execution. Kept as JSON, so that a bad one fails with a reason.
    Plan(PlanRequest),
    /// One object whose source or upload changed under the transfer.
    PlanAgain(Again),
}

/// A request to plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PlanRequest {
    /// See [`Request`].
    pub request: Value,
    /// The execution's id.
    pub execution: String,
}

/// One object to look at again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Again {
    /// As it was offered.
    pub offer: ObjectRef,
    /// Its route.
    pub route: Route,
    /// The execution's id.
    pub execution: String,
    /// The run of a backfill that it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<RunRef>,
    /// Most ranges at once.
    pub most_ranges: u32,
    /// How often it was planned again, this time included.
    pub replans: u32,
    /// Counts so far.
    #[serde(default)]
    pub tally: Tally,
}

/// What `plan` returns for a request: the state of the outer Map.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Work {
    /// Always `work`.
    pub next: WorkTag,
    /// The items.
    pub work: Vec<ItemState>,
    /// Items at once.
    pub max_concurrency: u32,
    /// Objects that already have an outcome.
    pub tally: Tally,
    /// What a successor goes on with.
    pub rest: Rest,
    /// The request's own route, for the successor.
    pub route: Option<Route>,
    /// The request's manifest of a backfill, for the outcome and the successor.
    pub run: Option<RunItem>,
}

/// The tag of [`Work`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum WorkTag {
    /// The only one.
    Work,
}

/// What `plan` returns.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum PlanOutput {
    /// For [`PlanInput::Plan`].
    Work(Work),
    /// For [`PlanInput::PlanAgain`].
    Item(Box<ItemState>),
}

/// One item of the outer Map, tagged with the state that it needs next.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "next", rename_all = "camelCase")]
pub enum ItemState {
    /// Small objects to copy.
    CopyObjects(Batch),
    /// A large object whose ranges are to be copied.
    CopyParts(Box<Large>),
    /// A large object all of whose parts are held already.
    Complete(Box<Large>),
    /// See [`Again`].
    PlanAgain(Box<Again>),
    /// A large object that failed; `error` says why.
    Settle(Box<Large>),
    /// The end of the item.
    Done(Done),
}

impl ItemState {
    /// Every tag, for the contract test.
    pub const TAGS: [&str; 6] = ["copyObjects", "copyParts", "complete", "planAgain", "settle", "done"];
}
