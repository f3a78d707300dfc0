//! What leaves a step besides its answer: executions and messages.

use crate::error::{Place, StepError, from_sdk};
use aws_sdk_sfn::types::ExecutionStatus;
use aws_sdk_sqs::types::MessageAttributeValue;
use longhaul_core::request::{NO_XML, Request, queue_text};
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

    /// True if an execution exists and has not ended.
    async fn is_running(&self, execution: &str) -> Result<bool, StepError>;

    /// Tells whoever subscribed to the notifications. Without a topic, nobody.
    async fn notify(&self, subject: &str, text: &str) -> Result<(), StepError>;
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
    /// SNS.
    pub sns: aws_sdk_sns::Client,
    /// ARN of the topic for notifications.
    pub topic: Option<String>,
}

/// Longest subject of a notification: ASCII without control characters.
/// <https://docs.aws.amazon.com/sns/latest/api/API_Publish.html>
const SUBJECT_MAX: usize = 99;
/// Longest reason in a message attribute, in characters.
const REASON_MAX: usize = 512;
/// Largest message with its attributes, in bytes: their names, types and values count.
/// <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-messages.html>
const MESSAGE_MAX_BYTES: usize = 1024 * 1024;
/// Name of the attribute with the reason.
const REASON: &str = "reason";
/// Its type.
const TEXT: &str = "String";

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
            .message_body(queue_text(body.to_owned()))
            .send()
            .await
            .map_err(|error| from_sdk(Place::Own, "sending to the failed queue", &error))?;
        Ok(())
    }

    async fn send_unreadable(&self, body: &str, reason: &str) -> Result<(), StepError> {
        let url = configured(self.dead_letter_queue.as_ref(), "LONGHAUL_DEAD_LETTER_QUEUE_URL")?;
        // An attribute allows only XML characters, and an empty one is refused.
        let mut reason: String =
            reason.chars().filter(|c| !c.is_control() && !NO_XML.contains(c)).take(REASON_MAX).collect();
        if reason.is_empty() {
            reason.push('-');
        }
        let body = if body.is_empty() { "-" } else { body };
        let mut request = self.sqs.send_message().queue_url(url).message_body(body);
        // Beside the largest message nothing has room: then the log alone tells why.
        let room = MESSAGE_MAX_BYTES.saturating_sub(body.len() + REASON.len() + TEXT.len());
        let mut end = reason.len().min(room);
        while !reason.is_char_boundary(end) {
            end -= 1;
        }
        reason.truncate(end);
        if !reason.is_empty() {
            let attribute = MessageAttributeValue::builder()
                .data_type(TEXT)
                .string_value(reason)
                .build()
                .map_err(|error| StepError::bug(error.to_string()))?;
            request = request.message_attributes(REASON, attribute);
        }
        let sent = request.send().await;
        sent.map_err(|error| from_sdk(Place::Own, "sending to the dead-letter queue", &error))?;
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

    async fn is_running(&self, execution: &str) -> Result<bool, StepError> {
        match self.sfn.describe_execution().execution_arn(execution).send().await {
            Ok(answer) => Ok(matches!(answer.status, ExecutionStatus::Running | ExecutionStatus::PendingRedrive)),
            Err(error) => {
                let error = from_sdk(Place::Own, &format!("describing {execution}"), &error);
                // Executions are forgotten 90 days after their end.
                if error.has_code("ExecutionDoesNotExist") { Ok(false) } else { Err(error) }
            }
        }
    }

    async fn notify(&self, subject: &str, text: &str) -> Result<(), StepError> {
        let Some(topic) = &self.topic else { return Ok(()) };
        let plain = |c: &char| c.is_ascii() && !c.is_ascii_control();
        let subject: String = subject.chars().filter(plain).take(SUBJECT_MAX).collect();
        self.sns
            .publish()
            .topic_arn(topic)
            .subject(subject)
            .message(text)
            .send()
            .await
            .map_err(|error| from_sdk(Place::Own, "sending a notification", &error))?;
        Ok(())
    }
}

#[cfg(test)]
#[path = "outbox_tests.rs"]
mod tests;
