//! Runs the subset of Amazon States Language that Longhaul's state machines use, in one process,
//! over tasks given to it. What lies outside the subset is refused when a definition is read, so
//! that a machine that runs here means the same on AWS Step Functions.
//!
//! The subset, JSONPath flavour: `Task`, `Choice`, `Map` (INLINE and DISTRIBUTED), `Pass`, `Wait`,
//! `Succeed` and `Fail`; reference paths without filters; payload templates whose only intrinsic
//! functions are `States.Format` and `States.Hash` with SHA-256; `Retry` and `Catch`.
//!
//! Nothing here asks a global clock or generator: an execution sleeps through [`Sleep`] and draws
//! its jitter from a seed, so that it repeats itself exactly on a current-thread runtime. Dropping
//! the future of [`Machine::run`] stops the execution with everything in it.

mod check;
mod choice;
mod context;
mod definition;
mod error;
mod fields;
mod history;
mod intrinsic;
mod json;
mod map;
mod parse;
mod path;
mod retry;
mod run;
mod seams;
mod template;
mod view;

#[cfg(test)]
mod tests;

pub use choice::{Condition, Operator, Rule};
pub use definition::{Machine, Mode, State};
pub use error::{DefinitionError, ExecutionError};
pub use history::{Limits, Stats};
pub use path::{Path, PathError};
pub use retry::{Catcher, Jitter, Retrier};
pub use run::{Outcome, RunOptions};
pub use seams::{Sleep, TaskError, Tasks, TokioSleep};
pub use view::Placed;
