//! Executions and queues of a simulation.

use crate::weather::{Weather, locked};
use longhaul_aws::error::StepError;
use longhaul_aws::outbox::Outbox;
use longhaul_core::error::ErrorName;
use longhaul_core::names::short_execution;
use longhaul_core::request::Request;
use std::fmt;
use std::sync::Arc;

/// See the module.
pub(crate) struct Post(pub(crate) Arc<Weather>);

impl fmt::Debug for Post {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Post")
    }
}

impl Post {
    fn mishap(&self, what: &str) -> Result<(), StepError> {
        if self.0.strikes(self.0.scenario.rates.ledger) {
            self.0.say(None, format!("{what}: throttled"));
            return Err(StepError::new(ErrorName::Throttled, "simulated"));
        }
        Ok(())
    }
}

#[async_trait::async_trait]
impl Outbox for Post {
    async fn start(&self, name: &str, request: &Request) -> Result<(), StepError> {
        self.mishap("start")?;
        let mut running = locked(&self.0.running);
        if running.insert(name.to_owned(), None).is_none() {
            locked(&self.0.starts).push((name.to_owned(), request.clone()));
            self.0.changed.notify_one();
        }
        Ok(())
    }

    async fn send_failed(&self, body: &str) -> Result<(), StepError> {
        self.mishap("failed queue")?;
        locked(&self.0.failed).push(body.to_owned());
        Ok(())
    }

    async fn send_unreadable(&self, body: &str, reason: &str) -> Result<(), StepError> {
        self.0.history().violated("every-message-is-read", format!("{reason}: {body}"));
        Ok(())
    }

    async fn input_of(&self, execution: &str) -> Result<String, StepError> {
        match locked(&self.0.begun).get(short_execution(execution)) {
            Some(begun) => Ok(begun.input.to_string()),
            None => Err(StepError {
                code: Some("ExecutionDoesNotExist".into()),
                ..StepError::rejected(format!("{execution} is not known"))
            }),
        }
    }

    async fn is_running(&self, execution: &str) -> Result<bool, StepError> {
        Ok(locked(&self.0.running).get(execution).is_some_and(Option::is_some))
    }

    async fn notify(&self, _subject: &str, _text: &str) -> Result<(), StepError> {
        Ok(())
    }
}
