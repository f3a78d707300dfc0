use std::time::Duration;

use async_trait::async_trait;
use serde_json::Value;

/// What an execution calls: functions, nested executions, item readers and result writers.
#[async_trait]
pub trait Tasks: Send + Sync {
    /// Calls `resource` as it stands in the definition, placeholders included.
    ///
    /// The future is dropped when the task times out or its execution stops.
    ///
    /// # Errors
    /// A [`TaskError`], whose name `Retry` and `Catch` match exactly.
    async fn call(&self, resource: &str, input: Value) -> Result<Value, TaskError>;
}

/// The error of a task, as Step Functions sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskError {
    /// The error name that `ErrorEquals` matches.
    pub error: String,
    /// Why, for people.
    pub cause: String,
}

impl TaskError {
    /// An error of this name and cause.
    #[must_use]
    pub fn new(error: impl Into<String>, cause: impl Into<String>) -> Self {
        Self { error: error.into(), cause: cause.into() }
    }
}

impl std::fmt::Display for TaskError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.error, self.cause)
    }
}

impl std::error::Error for TaskError {}

/// How an execution waits: between retries, in `Wait` states and for timeouts.
#[async_trait]
pub trait Sleep: Send + Sync {
    /// Returns after `duration`.
    async fn sleep(&self, duration: Duration);
}

/// Tokio's clock, which a test may pause.
#[derive(Clone, Copy, Debug, Default)]
pub struct TokioSleep;

#[async_trait]
impl Sleep for TokioSleep {
    async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }
}
