//! What leaves a step besides its answer: executions and messages.

use crate::error::{Place, StepError, from_sdk};
use aws_sdk_sqs::types::MessageAttributeValue;
use longhaul_core::request::Request;
use std::fmt;

/// Starts executions and sends messages. Everything may be done twice.
#[async_trait::async_trait]
pub trait Outbox: Send + Sync + fmt::Debug {
    /// Starts `migrate` under `name`. An execution of that name that exists already is success: the rule on executions
    /// that ended badly takes care of it (SEMANTICS.md, rule 11).
    async fn start(&self, name: &str, request: &Request) -> Result<(), StepError>;

    /// Puts a message on the failed queue.
    async fn send_failed(&self, body: &str) -> Result<(), StepError>;

    /// Puts a message that nobody can read on the dead-letter queue, with the reason beside it.
    async fn send_unreadable(&self, body: &str, reason: &str) -> Result<(), StepError>;

    /// The input of an execution.
    async fn input_of(&self, execution: &str) -> Result<String, StepError>;
}

/// Step Functions and SQS.
#[derive(Clone, Debug)]
pub struct AwsOutbox {
    /// Step Functions.
    pub sfn: aws_sdk_sfn::Client,
    /// SQS.
    pub sqs: aws_sdk_sqs::Client,
    /// ARN of `migrate`.
    pub state_machine: Option<String>,
    /// URL of the failed queue.
    pub failed_queue: Option<String>,
    /// URL of the dead-letter queue.
    pub dead_letter_queue: Option<String>,
}

/// Longest reason in a message attribute, in characters.
const REASON_MAX: usize = 512;

fn configured<'a>(value: Option<&'a String>, variable: &str) -> Result<&'a String, StepError> {
    value.ok_or_else(|| StepError::rejected(format!("environment variable {variable} is not set")))
}

#[async_trait::async_trait]
impl Outbox for AwsOutbox {
    async fn start(&self, name: &str, request: &Request) -> Result<(), StepError> {
        let arn = configured(self.state_machine.as_ref(), "LONGHAUL_STATE_MACHINE_ARN")?;
        let input = serde_json::to_string(request).map_err(|error| StepError::bug(error.to_string()))?;
        let started = self.sfn.start_execution().state_machine_arn(arn).name(name).input(input).send().await;
        match started {
            Ok(_) => Ok(()),
            Err(error) => {
                let error = from_sdk(Place::Own, &format!("starting execution {name}"), &error);
                if error.has_code("ExecutionAlreadyExists") { Ok(()) } else { Err(error) }
            }
        }
    }

    async fn send_failed(&self, body: &str) -> Result<(), StepError> {
        let url = configured(self.failed_queue.as_ref(), "LONGHAUL_FAILED_QUEUE_URL")?;
        self.sqs
            .send_message()
            .queue_url(url)
            .message_body(body)
            .send()
            .await
            .map_err(|error| from_sdk(Place::Own, "sending to the failed queue", &error))?;
        Ok(())
    }

    async fn send_unreadable(&self, body: &str, reason: &str) -> Result<(), StepError> {
        let url = configured(self.dead_letter_queue.as_ref(), "LONGHAUL_DEAD_LETTER_QUEUE_URL")?;
        // An attribute allows only XML characters, and an empty one is refused.
        let mut reason: String = reason.chars().filter(|c| !c.is_control()).take(REASON_MAX).collect();
        if reason.is_empty() {
            reason.push('-');
        }
        let attribute = MessageAttributeValue::builder()
            .data_type("String")
            .string_value(reason)
            .build()
            .map_err(|error| StepError::bug(error.to_string()))?;
        self.sqs
            .send_message()
            .queue_url(url)
            .message_body(if body.is_empty() { "-" } else { body })
            .message_attributes("reason", attribute)
            .send()
            .await
            .map_err(|error| from_sdk(Place::Own, "sending to the dead-letter queue", &error))?;
        Ok(())
    }

    async fn input_of(&self, execution: &str) -> Result<String, StepError> {
        let answer = self
            .sfn
            .describe_execution()
            .execution_arn(execution)
            .send()
            .await
            .map_err(|error| from_sdk(Place::Own, &format!("describing {execution}"), &error))?;
        answer.input.ok_or_else(|| StepError::rejected(format!("{execution} has no input")))
    }
}
