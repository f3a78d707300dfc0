use std::collections::BTreeMap;

use serde_json::Value;

use crate::choice::Rule;
use crate::path::Path;
use crate::retry::{Catcher, Retrier};
use crate::template::Template;

/// A state machine that was read and checked.
#[derive(Clone, Debug)]
pub struct Machine {
    pub(crate) comment: Option<String>,
    pub(crate) timeout_seconds: Option<u64>,
    pub(crate) scope: Scope,
}

/// States that lead to each other: a machine's own, or those of one Map's iterations.
#[derive(Clone, Debug)]
pub(crate) struct Scope {
    pub(crate) start_at: String,
    /// In reading order.
    pub(crate) states: Vec<State>,
    pub(crate) places: BTreeMap<String, usize>,
}

impl Scope {
    pub(crate) fn state(&self, name: &str) -> Option<&State> {
        self.places.get(name).and_then(|place| self.states.get(*place))
    }
}

/// One state of a [`Machine`].
#[derive(Clone, Debug)]
pub struct State {
    pub(crate) name: String,
    pub(crate) comment: Option<String>,
    pub(crate) fields: Vec<String>,
    /// `None` stands for `null`: the input is `{}`.
    pub(crate) input_path: Option<Path>,
    /// `None` stands for `null`: the output is `{}`.
    pub(crate) output_path: Option<Path>,
    pub(crate) kind: Kind,
}

#[derive(Clone, Debug)]
pub(crate) enum Kind {
    Task(TaskState),
    Map(Box<MapState>),
    Choice { rules: Vec<Rule>, default: Option<String> },
    Pass(PassState),
    Wait { duration: Given<u64>, then: Then },
    Succeed,
    Fail { error: Option<Given<String>>, cause: Option<Given<String>> },
}

/// A value that stands in the definition, or at a path of the input.
#[derive(Clone, Debug)]
pub(crate) enum Given<T> {
    Here(T),
    At(Path),
}

/// What follows a state.
#[derive(Clone, Debug)]
pub(crate) enum Then {
    Next(String),
    End,
}

/// What `Task` and `Map` share: both do work that can fail.
#[derive(Clone, Debug)]
pub(crate) struct Work {
    /// `Parameters` of a Task, `ItemSelector` of a Map.
    pub(crate) template: Option<Template>,
    pub(crate) result_selector: Option<Template>,
    /// `None` stands for `null`: the result is dropped.
    pub(crate) result_path: Option<Path>,
    pub(crate) retry: Vec<Retrier>,
    pub(crate) catch: Vec<Catcher>,
    pub(crate) then: Then,
}

#[derive(Clone, Debug)]
pub(crate) struct TaskState {
    pub(crate) resource: String,
    pub(crate) timeout_seconds: Option<u64>,
    pub(crate) work: Work,
}

#[derive(Clone, Debug)]
pub(crate) struct MapState {
    pub(crate) mode: Mode,
    pub(crate) items: Items,
    pub(crate) max_concurrency: Given<u64>,
    pub(crate) tolerated_percentage: Given<f64>,
    pub(crate) result_writer: Option<Integration>,
    pub(crate) label: Option<String>,
    pub(crate) scope: Scope,
    pub(crate) work: Work,
}

/// `ProcessorConfig.Mode` of a Map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Iterations run inside the execution and write into its history.
    Inline,
    /// Every iteration is an execution of its own.
    Distributed,
}

#[derive(Clone, Debug)]
pub(crate) enum Items {
    At(Path),
    Read(Integration),
}

/// `ItemReader` or `ResultWriter`.
#[derive(Clone, Debug)]
pub(crate) struct Integration {
    pub(crate) resource: String,
    pub(crate) parameters: Option<Template>,
}

#[derive(Clone, Debug)]
pub(crate) struct PassState {
    pub(crate) parameters: Option<Template>,
    pub(crate) result: Option<Value>,
    pub(crate) result_path: Option<Path>,
    pub(crate) then: Then,
}
