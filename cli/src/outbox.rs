//! The outbox of one process: nothing leaves it but lines in a place that the user names.

use longhaul_aws::error::StepError;
use longhaul_aws::outbox::Outbox;
use longhaul_core::request::Request;
use std::fmt;
use std::io::Write;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Most messages kept in memory; all of them go to the writer.
const KEPT_MAX: usize = 1_000;

/// Takes the messages of failed objects: requests in JSON that can be sent again as they are.
///
/// A step that is repeated may send a message twice.
#[derive(Default)]
pub struct LocalOutbox {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    kept: Vec<String>,
    writer: Option<Box<dyn Write + Send>>,
}

impl LocalOutbox {
    /// Also writes each message as a line to `writer`.
    pub fn writing_to(writer: impl Write + Send + 'static) -> Self {
        Self { state: Mutex::new(State { kept: Vec::new(), writer: Some(Box::new(writer)) }) }
    }

    /// The first thousand messages.
    pub fn failed(&self) -> Vec<String> {
        self.locked().kept.clone()
    }

    fn locked(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for LocalOutbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalOutbox").finish_non_exhaustive()
    }
}

fn not_here<T>(what: &str) -> Result<T, StepError> {
    Err(StepError::rejected(format!("{what} is not possible in one process")))
}

#[async_trait::async_trait]
impl Outbox for LocalOutbox {
    async fn start(&self, _name: &str, _request: &Request) -> Result<(), StepError> {
        not_here("starting an execution by an event")
    }

    async fn send_failed(&self, body: &str) -> Result<(), StepError> {
        let mut state = self.locked();
        if state.kept.len() < KEPT_MAX {
            state.kept.push(body.to_owned());
        }
        if let Some(writer) = &mut state.writer {
            // One write a line, so that a kill leaves whole lines.
            writer
                .write_all(format!("{body}\n").as_bytes())
                .and_then(|()| writer.flush())
                .map_err(|error| StepError::rejected(format!("writing a failure: {error}")))?;
        }
        Ok(())
    }

    async fn send_unreadable(&self, _body: &str, _reason: &str) -> Result<(), StepError> {
        not_here("a queue of unreadable messages")
    }

    async fn input_of(&self, _execution: &str) -> Result<String, StepError> {
        not_here("looking up an execution")
    }

    async fn is_running(&self, _execution: &str) -> Result<bool, StepError> {
        not_here("looking up an execution")
    }

    async fn notify(&self, _subject: &str, _text: &str) -> Result<(), StepError> {
        Ok(())
    }
}
