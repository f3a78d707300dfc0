use std::fmt;

use crate::seams::TaskError;

pub(crate) const ALL: &str = "States.ALL";
pub(crate) const TASK_FAILED: &str = "States.TaskFailed";
pub(crate) const TIMEOUT: &str = "States.Timeout";
pub(crate) const RUNTIME: &str = "States.Runtime";
pub(crate) const DATA_LIMIT: &str = "States.DataLimitExceeded";
pub(crate) const PARAMETER_PATH: &str = "States.ParameterPathFailure";
pub(crate) const RESULT_PATH: &str = "States.ResultPathMatchFailure";
pub(crate) const NO_CHOICE: &str = "States.NoChoiceMatched";
pub(crate) const TOLERANCE: &str = "States.ExceedToleratedFailureThreshold";
pub(crate) const ITEM_READER: &str = "States.ItemReaderFailed";
pub(crate) const RESULT_WRITER: &str = "States.ResultWriterFailed";
pub(crate) const INTRINSIC: &str = "States.IntrinsicFailure";

/// The names under `States.` that `ErrorEquals` may hold.
///
/// Source: <https://docs.aws.amazon.com/step-functions/latest/dg/concepts-error-handling.html>
pub(crate) const RESERVED: [&str; 16] = [
    ALL,
    TASK_FAILED,
    TIMEOUT,
    RUNTIME,
    DATA_LIMIT,
    PARAMETER_PATH,
    RESULT_PATH,
    NO_CHOICE,
    TOLERANCE,
    ITEM_READER,
    RESULT_WRITER,
    INTRINSIC,
    "States.BranchFailed",
    "States.HeartbeatTimeout",
    "States.Http.Socket",
    "States.Permissions",
];

/// Why an execution failed: the name and the cause that `DescribeExecution` would show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExecutionError {
    /// The error name, such as `States.Timeout`, a task's own, or that of a `Fail` state.
    pub error: String,
    /// Why, for people.
    pub cause: String,
}

impl ExecutionError {
    pub(crate) fn new(error: &str, cause: impl Into<String>) -> Self {
        Self { error: error.to_owned(), cause: cause.into() }
    }

    pub(crate) fn runtime(cause: impl Into<String>) -> Self {
        Self::new(RUNTIME, cause)
    }
}

impl From<TaskError> for ExecutionError {
    fn from(failure: TaskError) -> Self {
        Self { error: failure.error, cause: failure.cause }
    }
}

impl fmt::Display for ExecutionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.error, self.cause)
    }
}

impl std::error::Error for ExecutionError {}

/// Why a definition is refused, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DefinitionError {
    /// The state, with the Maps around it (`Work/CopyRanges/CopyParts`); empty at the top level.
    pub state: String,
    /// The field, with its place inside an array (`Retry[0].ErrorEquals`); empty if none is to blame.
    pub field: String,
    /// What is wrong with it.
    pub message: String,
}

impl fmt::Display for DefinitionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.state.is_empty() {
            write!(f, "state {:?}: ", self.state)?;
        }
        if !self.field.is_empty() {
            write!(f, "field {:?}: ", self.field)?;
        }
        f.write_str(&self.message)
    }
}

impl std::error::Error for DefinitionError {}
