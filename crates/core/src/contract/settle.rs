//! What `settle` takes and returns.

use super::end::{Done, End, Record};
use super::objects::Rest;
use super::plan::ItemState;
use crate::backfill::run::RunItem;
use crate::config::Route;
use crate::error::{CaughtError, Failure};
use crate::request::{ObjectRef, Request};
use crate::tally::Tally;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What `settle` takes from the state machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "next", rename_all = "camelCase")]
pub enum SettleInput {
    /// An item failed.
    Settle(SettleItem),
    /// The whole request failed, or an iteration was lost.
    SettleRequest(SettleRequest),
    /// The execution comes to its end.
    Record(Record),
}

/// A failed item.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SettleItem {
    /// Its state when it failed.
    pub item: ItemState,
    /// Why.
    pub error: CaughtError,
}

/// A failed request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SettleRequest {
    /// The execution's input, whatever it was.
    pub request: Value,
    /// The execution's id.
    pub execution: String,
    /// Why.
    pub error: CaughtError,
}

/// What [`SettleRequest`] leads to: the input of `Record` but for the tag.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Settled {
    /// Counts.
    pub tally: Tally,
    /// Always empty.
    pub results: Vec<Done>,
    /// Always empty: a failed request has no successor.
    pub rest: Rest,
    /// Always absent.
    pub route: Option<Route>,
    /// The request's manifest of a backfill.
    pub run: Option<RunItem>,
}

/// What `settle` returns.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum SettleOutput {
    /// For [`SettleInput::Settle`].
    Item(Box<ItemState>),
    /// For [`SettleInput::SettleRequest`] and for an execution that ended without settling.
    Settled(Settled),
    /// For [`SettleInput::Record`].
    End(End),
}

/// A message on the failed queue is a [`Request`] of one object that can be sent again as it is.
pub fn failed_request(object: &ObjectRef, route: Option<&Route>, failure: &Failure, execution: &str) -> Request {
    Request {
        version: Some(crate::request::REQUEST_VERSION),
        objects: vec![object.clone()],
        manifests: Vec::new(),
        route: route.cloned(),
        run: None,
        failure: Some(failure.clone()),
        execution: Some(execution.to_owned()),
    }
}
