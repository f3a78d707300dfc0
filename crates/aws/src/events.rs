//! The shapes in which services call a function, turned into what its step takes.

use crate::clients::Clients;
use crate::context::Context;
use crate::error::StepError;
use crate::steps::{Ended, QueueMessage, intake, settle, settle_ended};
use aws_lambda_events::sqs::{BatchItemFailure, SqsBatchResponse, SqsEvent};
use longhaul_core::contract::SettleOutput;
use serde::Deserialize;
use serde_json::Value;

/// Takes a batch of the queue and reports the messages that must come again.
///
/// A message without an id cannot be reported; then the whole batch comes again.
pub async fn take_batch(clients: &Clients, context: &Context, batch: SqsEvent) -> Result<SqsBatchResponse, StepError> {
    let messages = batch
        .records
        .into_iter()
        .map(|record| {
            let id = record.message_id.ok_or_else(|| StepError::rejected("a queue message without an id"))?;
            Ok(QueueMessage { id, body: record.body.unwrap_or_default() })
        })
        .collect::<Result<Vec<_>, StepError>>()?;
    let report = intake(clients, context, messages).await?;
    let mut response = SqsBatchResponse::default();
    response.batch_item_failures = report
        .again
        .into_iter()
        .map(|id| {
            let mut failure = BatchItemFailure::default();
            failure.item_identifier = id;
            failure
        })
        .collect();
    Ok(response)
}

/// EventBridge's `Step Functions Execution Status Change`:
/// <https://docs.aws.amazon.com/step-functions/latest/dg/eventbridge-integration.html>
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct StatusChange {
    execution_arn: String,
    status: String,
    #[serde(default)]
    start_date: u64,
    #[serde(default)]
    input: Option<String>,
    #[serde(default)]
    error: Option<String>,
    #[serde(default)]
    cause: Option<String>,
}

/// Settles what the state machine hands over, or an execution whose end EventBridge tells of.
pub async fn settle_event(clients: &Clients, context: &Context, event: Value) -> Result<SettleOutput, StepError> {
    let unreadable = |error: serde_json::Error| StepError::rejected(format!("the input cannot be read: {error}"));
    if event.get("detail-type").is_none() {
        return settle(clients, context, serde_json::from_value(event).map_err(unreadable)?).await;
    }
    let change = StatusChange::deserialize(&event["detail"]).map_err(unreadable)?;
    let reason = [change.error, change.cause].into_iter().flatten().filter(|text| !text.is_empty()).collect::<Vec<_>>();
    let ended = Ended {
        execution: change.execution_arn,
        started_ms: change.start_date,
        status: change.status,
        input: change.input,
        reason: (!reason.is_empty()).then(|| reason.join(": ")),
    };
    settle_ended(clients, context, ended).await
}
