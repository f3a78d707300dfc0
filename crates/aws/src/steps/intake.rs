//! From queue messages to executions.

use crate::clients::Clients;
use crate::context::Context;
use crate::error::StepError;
use futures::stream::{self, StreamExt as _};
use longhaul_core::event::{Message, parse};
use longhaul_core::intake::starts;
use std::collections::BTreeSet;

/// A message of the queue.
#[derive(Clone, Debug)]
pub struct QueueMessage {
    /// Its id, unique in the queue.
    pub id: String,
    /// Its body.
    pub body: String,
}

/// What became of a batch of messages.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IntakeReport {
    /// Ids of the messages that must come again.
    pub again: BTreeSet<String>,
    /// Executions started, or found started.
    pub executions: usize,
    /// Messages that nobody can read, now on the dead-letter queue.
    pub unreadable: usize,
    /// Messages that offer nothing.
    pub ignored: usize,
}

/// Executions started at once.
const STARTS_AT_ONCE: usize = 8;

/// Starts the executions for a batch. Every message is either reported to come again, or in executions that exist, or
/// on the dead-letter queue with a reason, or offers nothing.
pub async fn intake(
    clients: &Clients,
    _context: &Context,
    messages: Vec<QueueMessage>,
) -> Result<IntakeReport, StepError> {
    let mut report = IntakeReport::default();
    let mut events = Vec::new();
    let mut requests = Vec::new();
    for message in messages {
        match parse(&message.body) {
            Ok(Message::Objects(objects)) => events.push((message.id, objects)),
            Ok(Message::Request(request)) => requests.push((message.id, *request)),
            Ok(Message::Ignored(what)) => {
                tracing::info!(message_id = message.id, what, "offers nothing");
                report.ignored += 1;
            }
            Err(unreadable) => {
                tracing::error!(message_id = message.id, reason = %unreadable, "unreadable");
                match clients.outbox.send_unreadable(&message.body, &unreadable.to_string()).await {
                    Ok(()) => report.unreadable += 1,
                    Err(error) => {
                        tracing::warn!(message_id = message.id, %error, "not sent to the dead-letter queue");
                        report.again.insert(message.id);
                    }
                }
            }
        }
    }
    let started = stream::iter(starts(events, requests))
        .map(|start| async move { (clients.outbox.start(&start.name, &start.request).await, start) })
        .buffered(STARTS_AT_ONCE)
        .collect::<Vec<_>>()
        .await;
    for (result, start) in started {
        match result {
            Ok(()) => report.executions += 1,
            Err(error) => {
                tracing::warn!(execution = start.name, %error, "not started");
                report.again.extend(start.message_ids);
            }
        }
    }
    Ok(report)
}
