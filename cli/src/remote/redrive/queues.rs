//! The failed queue and the queue, as far as a redrive needs them.

use crate::remote::deployment::told;
use aws_sdk_sqs::types::{
    BatchResultErrorEntry, ChangeMessageVisibilityBatchRequestEntry, DeleteMessageBatchRequestEntry,
    MessageSystemAttributeName, SendMessageBatchRequestEntry,
};
use std::collections::BTreeMap;

/// Messages of one request:
/// <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-messages.html>
pub const BATCH_MAX: usize = 10;
/// Bytes of the messages of one request, unless it is one message: what SQS has always taken.
pub const BATCH_MAX_BYTES: usize = 256 * 1024;
/// How long a message that was looked at stays out of sight, so that a look at the whole queue sees it once. It comes
/// back by itself if this process dies.
const UNSEEN_SECONDS: i32 = 600;
/// A request that waits asks every server of the queue; one that does not may find a full queue empty.
const WAIT_SECONDS: i32 = 2;

/// A message of the failed queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// Its id.
    pub id: String,
    /// What deletes it.
    pub receipt: String,
    /// Its body.
    pub body: String,
    /// When it was sent, seconds since 1970.
    pub sent: Option<i64>,
}

/// What became of each message of a batch, in its order.
pub type Answers = Vec<Result<(), String>>;

/// Both queues. Each request may be repeated: a message that is sent twice is carried out once and found unchanged once.
#[async_trait::async_trait]
pub trait Queues: Send + Sync {
    /// At most [`BATCH_MAX`] messages of the failed queue, which then stay out of sight for a while; none does not mean
    /// that there are none.
    async fn receive(&self) -> Result<Vec<Received>, String>;
    /// Puts a batch on the queue.
    async fn send(&self, bodies: &[&str]) -> Answers;
    /// Removes a batch from the failed queue.
    async fn delete(&self, receipts: &[&str]) -> Answers;
    /// Makes a batch of the failed queue visible again.
    async fn release(&self, receipts: &[&str]) -> Answers;
}

/// Those of SQS.
#[derive(Clone, Debug)]
pub struct SqsQueues {
    /// SQS.
    pub sqs: aws_sdk_sqs::Client,
    /// URL of the queue.
    pub queue: String,
    /// URL of the failed queue.
    pub failed: String,
}

/// One request in two forms: entries that are numbered from 0, and what is told of those that were refused.
macro_rules! batch {
    ($what:literal, $request:expr, $texts:expr, $entry:ty, |$builder:ident, $text:ident| $filled:expr) => {{
        let mut request = $request;
        for (number, $text) in $texts.iter().enumerate() {
            let $builder = <$entry>::builder().id(number.to_string());
            match $filled.build() {
                Ok(entry) => request = request.entries(entry),
                Err(error) => return vec![Err(error.to_string()); $texts.len()],
            }
        }
        match request.send().await {
            Ok(answer) => by_entry($texts.len(), &answer.failed),
            Err(error) => vec![Err(told($what, &error)); $texts.len()],
        }
    }};
}

#[async_trait::async_trait]
impl Queues for SqsQueues {
    async fn receive(&self) -> Result<Vec<Received>, String> {
        let request = self
            .sqs
            .receive_message()
            .queue_url(&self.failed)
            .max_number_of_messages(BATCH_MAX as i32)
            .visibility_timeout(UNSEEN_SECONDS)
            .wait_time_seconds(WAIT_SECONDS)
            .message_system_attribute_names(MessageSystemAttributeName::SentTimestamp);
        let answer = request.send().await.map_err(|error| told("receiving from the failed queue", &error))?;
        let messages = answer.messages.unwrap_or_default().into_iter();
        let received = messages.filter_map(|message| {
            let attributes = message.attributes.unwrap_or_default();
            let sent_ms = attributes.get(&MessageSystemAttributeName::SentTimestamp);
            let sent = sent_ms.and_then(|ms| ms.parse::<i64>().ok()).map(|ms| ms / 1_000);
            let body = message.body.unwrap_or_default();
            Some(Received { id: message.message_id?, receipt: message.receipt_handle?, body, sent })
        });
        Ok(received.collect())
    }

    async fn send(&self, bodies: &[&str]) -> Answers {
        let request = self.sqs.send_message_batch().queue_url(&self.queue);
        batch!("sending to the queue", request, bodies, SendMessageBatchRequestEntry, |entry, body| entry
            .message_body(*body))
    }

    async fn delete(&self, receipts: &[&str]) -> Answers {
        let request = self.sqs.delete_message_batch().queue_url(&self.failed);
        batch!("deleting from the failed queue", request, receipts, DeleteMessageBatchRequestEntry, |entry, receipt| {
            entry.receipt_handle(*receipt)
        })
    }

    async fn release(&self, receipts: &[&str]) -> Answers {
        let request = self.sqs.change_message_visibility_batch().queue_url(&self.failed);
        batch!(
            "giving messages back to the failed queue",
            request,
            receipts,
            ChangeMessageVisibilityBatchRequestEntry,
            |entry, receipt| entry.receipt_handle(*receipt).visibility_timeout(0)
        )
    }
}

/// The answers to `count` entries of which these were refused.
fn by_entry(count: usize, refused: &[BatchResultErrorEntry]) -> Answers {
    let refused: BTreeMap<&str, &BatchResultErrorEntry> = refused.iter().map(|entry| (entry.id(), entry)).collect();
    let told = |entry: &BatchResultErrorEntry| match entry.message() {
        Some(message) => format!("{}: {message}", entry.code()),
        None => entry.code().to_owned(),
    };
    let answer = |number: usize| refused.get(number.to_string().as_str()).map_or(Ok(()), |entry| Err(told(entry)));
    (0..count).map(answer).collect()
}

/// Cuts texts into batches that one request takes: where each begins and ends.
pub fn batches(lengths: impl IntoIterator<Item = usize>) -> Vec<std::ops::Range<usize>> {
    let mut batches: Vec<std::ops::Range<usize>> = Vec::new();
    let mut bytes = 0;
    for (number, length) in lengths.into_iter().enumerate() {
        match batches.last_mut() {
            Some(last) if last.len() < BATCH_MAX && bytes + length <= BATCH_MAX_BYTES => {
                last.end = number + 1;
                bytes += length;
            }
            _ => {
                batches.push(number..number + 1);
                bytes = length;
            }
        }
    }
    batches
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn batches_hold_what_one_request_takes() {
        assert!(batches([]).is_empty());
        assert_eq!(batches([1; 25]), [0..10, 10..20, 20..25]);
        let large = BATCH_MAX_BYTES / 2;
        assert_eq!(batches([large, large, 1, 3 * large, 1]), [0..2, 2..3, 3..4, 4..5]);
    }

    #[test]
    fn refused_entries_are_told_by_their_number() {
        let entry = BatchResultErrorEntry::builder().id("1").sender_fault(true).code("TooLong").build().unwrap();
        assert_eq!(by_entry(3, &[entry]), [Ok(()), Err("TooLong".into()), Ok(())]);
    }
}
