use std::io;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

use serde_json::Value;

use crate::error::{self, ExecutionError};

/// The quotas of a Standard workflow.
///
/// Source: <https://docs.aws.amazon.com/step-functions/latest/dg/service-quotas.html>
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Events in one execution's history, the last of which says that it failed.
    pub max_history_events: u64,
    /// Bytes of an input or output, as compact JSON in UTF-8.
    pub max_payload_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_history_events: 25_000, max_payload_bytes: 262_144 }
    }
}

/// What an execution cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Events in its own history.
    pub history_events: u64,
    /// Bytes of the largest payload, children of distributed Maps included.
    pub largest_payload: usize,
    /// Task attempts begun, children included.
    pub task_calls: u64,
    /// Retries waited for, children included.
    pub retries: u64,
    /// Child executions of distributed Maps.
    pub children: u64,
    /// Events in the longest history of a child.
    pub largest_child_history: u64,
}

/// What adds up over an execution and its children.
#[derive(Debug, Default)]
pub(crate) struct Totals {
    largest_payload: AtomicUsize,
    pub(crate) task_calls: AtomicU64,
    pub(crate) retries: AtomicU64,
    children: AtomicU64,
    largest_child_history: AtomicU64,
}

impl Totals {
    pub(crate) fn add_child(&self, events: u64) {
        self.children.fetch_add(1, Relaxed);
        self.largest_child_history.fetch_max(events, Relaxed);
    }

    pub(crate) fn stats(&self, history_events: u64) -> Stats {
        Stats {
            history_events,
            largest_payload: self.largest_payload.load(Relaxed),
            task_calls: self.task_calls.load(Relaxed),
            retries: self.retries.load(Relaxed),
            children: self.children.load(Relaxed),
            largest_child_history: self.largest_child_history.load(Relaxed),
        }
    }

    /// Counts a payload.
    ///
    /// # Errors
    /// `States.DataLimitExceeded` if it is larger than `limits` allow.
    pub(crate) fn measure(&self, limits: &Limits, what: &str, payload: &Value) -> Result<(), ExecutionError> {
        let bytes = compact_bytes(payload);
        self.largest_payload.fetch_max(bytes, Relaxed);
        let most = limits.max_payload_bytes;
        if bytes > most {
            return Err(ExecutionError::new(error::DATA_LIMIT, format!("{what} has {bytes} bytes, more than {most}")));
        }
        Ok(())
    }
}

/// Bytes of the compact JSON, counted without building it.
fn compact_bytes(value: &Value) -> usize {
    struct Count(usize);
    impl io::Write for Count {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 += bytes.len();
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut count = Count(0);
    // Neither the counter nor a `Value` can fail; were it otherwise, the payload counts as too large.
    serde_json::to_writer(&mut count, value).map_or(usize::MAX, |()| count.0)
}

/// The length of one execution's history, counted as Step Functions writes it:
///
/// | what | events |
/// |---|---|
/// | execution | `ExecutionStarted`, then `ExecutionSucceeded`, `ExecutionFailed` or `ExecutionTimedOut` |
/// | `Pass`, `Choice`, `Wait`, `Succeed` | `…StateEntered`, `…StateExited` |
/// | `Fail` | `FailStateEntered` |
/// | `Task` | `TaskStateEntered`, its attempts, `TaskStateExited` (also after a Catch) |
/// | each attempt | scheduled, started, then succeeded, failed or timed out; `.sync` integrations add `TaskSubmitted` after started |
/// | `Map` | `MapStateEntered`, its attempts, `MapStateExited` (also after a Catch) |
/// | each attempt | `MapStateStarted`, the iterations, `MapStateSucceeded` or `MapStateFailed` |
/// | each inline iteration | `MapIterationStarted`, the events of its states, `MapIterationSucceeded`, `MapIterationFailed` or `MapIterationAborted` |
/// | a distributed attempt | in place of iterations `MapRunStarted`, then `MapRunSucceeded` or `MapRunFailed`; each child has a history of its own |
/// | a `Task`, `Map` or `Wait` cut off by a failed sibling | `…StateAborted` |
///
/// A state whose error nothing catches is not exited. Waiting for a retry writes no event.
///
/// Source of the names:
/// <https://docs.aws.amazon.com/step-functions/latest/apireference/API_HistoryEvent.html>
#[derive(Debug)]
pub(crate) struct History {
    events: AtomicU64,
    most: u64,
}

impl History {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self { events: AtomicU64::new(0), most: limits.max_history_events }
    }

    pub(crate) fn events(&self) -> u64 {
        self.events.load(Relaxed)
    }

    /// Writes `count` events. The last place is kept for the event that ends the execution.
    ///
    /// # Errors
    /// `States.Runtime`, which nothing catches, if the history is full.
    pub(crate) fn record(&self, count: u64) -> Result<(), ExecutionError> {
        for _ in 0..count {
            if !self.fits() {
                return Err(ExecutionError::runtime(format!(
                    "the execution reached the maximum number of history events ({})",
                    self.most
                )));
            }
            self.events.fetch_add(1, Relaxed);
        }
        Ok(())
    }

    fn fits(&self) -> bool {
        self.events() + 1 < self.most
    }

    /// Writes the event that ends the execution.
    pub(crate) fn end(&self) {
        self.events.fetch_add(1, Relaxed);
    }

    /// Guards something that writes one event if it is cut off.
    pub(crate) fn begin(&self) -> Unfinished<'_> {
        Unfinished { history: self, finished: false }
    }
}

/// Writes an `Aborted` event when dropped before [`Unfinished::finish`].
#[derive(Debug)]
pub(crate) struct Unfinished<'h> {
    history: &'h History,
    finished: bool,
}

impl Unfinished<'_> {
    pub(crate) fn finish(mut self) {
        self.finished = true;
    }
}

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        if !self.finished && self.history.fits() {
            self.history.events.fetch_add(1, Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;

    #[test]
    fn payloads_are_counted_in_bytes_of_utf8() {
        assert_eq!(compact_bytes(&json!({"a": ["ü", "\n", 1.5]})), r#"{"a":["ü","\n",1.5]}"#.len());
        let totals = Totals::default();
        let limits = Limits { max_payload_bytes: 6, ..Limits::default() };
        totals.measure(&limits, "the input", &json!("üü")).unwrap();
        let error = totals.measure(&limits, "the input", &json!("üüü")).unwrap_err();
        assert_eq!(error.error, "States.DataLimitExceeded");
        assert_eq!(totals.stats(0).largest_payload, 8);
    }

    #[test]
    fn the_last_event_is_kept_for_the_end() {
        let history = History::new(&Limits { max_history_events: 4, ..Limits::default() });
        history.record(3).unwrap();
        assert_eq!(history.record(1).unwrap_err().error, "States.Runtime");
        history.end();
        assert_eq!(history.events(), 4);
    }

    #[test]
    fn what_is_cut_off_counts_once() {
        let history = History::new(&Limits::default());
        history.begin().finish();
        drop(history.begin());
        assert_eq!(history.events(), 1);
    }
}
