//! Moves messages from the failed queue to the queue.
//!
//! A message is deleted only after its copy was acknowledged. Whatever happens in between, a lost reply or the end of
//! this process, can only repeat it, and an object that is offered twice is copied once.

use super::choice::{Choice, Verdict};
use super::queues::{Answers, BATCH_MAX, Queues, Received, batches};
use futures::future::join_all;
use futures::stream::{self, StreamExt as _};
use serde::Serialize;
use std::collections::{BTreeMap, HashSet};

/// Requests at once.
const AT_ONCE: usize = 8;
/// Rounds without a new message after which the queue counts as seen to its end.
const QUIET_ROUNDS: u32 = 2;
/// Messages that may be held without being moved: a queue lends out no more than 120,000.
const HELD_MAX: usize = 100_000;
/// Reasons that are told one by one.
const TOLD_MAX: usize = 5;

/// What a redrive came to. Counts messages of the failed queue, or objects of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Redriven {
    /// True if nothing was sent.
    pub dry_run: bool,
    /// Sent again and acknowledged; in a dry run, what would be sent.
    pub sent: u64,
    /// The same by the name of the failure.
    pub by_name: BTreeMap<String, u64>,
    /// Not asked for, or beyond the most that were.
    pub left: u64,
    /// Nothing that could be carried out; they stay where they are.
    pub unreadable: u64,
    /// Sent, but still on the failed queue: they will be sent once more.
    pub undeleted: u64,
    /// Not sent, as the queue did not take them.
    pub unsent: u64,
    /// True if the failed queue was not read to its end, because a request failed.
    pub broken_off: bool,
    /// Why, the first few reasons.
    pub reasons: Vec<String>,
}

impl Redriven {
    /// Counts a failure that was sent, or would be.
    pub fn count(&mut self, name: &str, count: u64) {
        self.sent += count;
        *self.by_name.entry(name.to_owned()).or_default() += count;
    }

    /// Remembers why something went wrong.
    pub fn because(&mut self, reason: String) {
        if self.reasons.len() < TOLD_MAX && !self.reasons.contains(&reason) {
            self.reasons.push(reason);
        }
    }
}

/// A message that is to be moved.
struct Chosen {
    message: Received,
    name: String,
}

/// Moves the chosen messages, or in a dry run counts them. What is not moved is visible again afterwards.
pub async fn move_messages(queues: &dyn Queues, choice: &Choice, dry_run: bool) -> Redriven {
    let mut done = Redriven { dry_run, ..Redriven::default() };
    let mut seen = HashSet::new();
    let mut moved = HashSet::new();
    // Receipts of what stays, and of what was sent and has to go.
    let (mut kept, mut stale): (Vec<String>, Vec<String>) = (Vec::new(), Vec::new());
    let mut quiet = 0;
    let mut chosen_count = 0;
    let full = |count| choice.most.is_some_and(|most| count >= most);
    while quiet < QUIET_ROUNDS && kept.len() < HELD_MAX && !full(chosen_count) && !done.broken_off {
        let mut chosen = Vec::new();
        let mut fresh = 0;
        for answer in join_all((0..AT_ONCE).map(|_| queues.receive())).await {
            let messages = answer.unwrap_or_else(|reason| {
                done.because(reason);
                done.broken_off = true;
                Vec::new()
            });
            for message in messages {
                if !seen.insert(message.id.clone()) {
                    // The queue delivers at least once: it is known what is to be done with this one.
                    if moved.contains(&message.id) { &mut stale } else { &mut kept }.push(message.receipt);
                    continue;
                }
                fresh += 1;
                match choice.verdict(&message.body, message.sent) {
                    Verdict::Taken(name) if !full(chosen_count) => {
                        chosen_count += 1;
                        chosen.push(Chosen { message, name });
                        continue;
                    }
                    Verdict::Taken(_) | Verdict::Left => done.left += 1,
                    Verdict::Unreadable(reason) => {
                        done.unreadable += 1;
                        done.because(format!("message {}: {reason}", message.id));
                    }
                }
                kept.push(message.receipt);
            }
        }
        quiet = if fresh == 0 { quiet + 1 } else { 0 };
        if dry_run {
            for Chosen { message, name } in chosen {
                done.count(&name, 1);
                kept.push(message.receipt);
            }
            continue;
        }
        let answers = send(queues, &chosen).await;
        for (Chosen { message, name }, answer) in chosen.into_iter().zip(answers) {
            match answer {
                Ok(()) => {
                    done.count(&name, 1);
                    moved.insert(message.id);
                    stale.push(message.receipt);
                }
                Err(reason) => {
                    done.unsent += 1;
                    done.because(reason);
                    kept.push(message.receipt);
                    done.broken_off = true;
                }
            }
        }
        stale = delete(queues, stale).await.into_iter().map(|(receipt, _)| receipt).collect();
    }
    for (_, reason) in delete(queues, stale).await {
        done.undeleted += 1;
        done.because(reason);
    }
    // What is not given back comes back by itself.
    each(queues, Act::Release, &kept).await;
    done
}

async fn send(queues: &dyn Queues, chosen: &[Chosen]) -> Answers {
    let bodies: Vec<&str> = chosen.iter().map(|chosen| chosen.message.body.as_str()).collect();
    send_bodies(queues, &bodies).await
}

/// Puts messages on the queue, whatever their number and size; the answers in their order.
pub async fn send_bodies(queues: &dyn Queues, bodies: &[&str]) -> Answers {
    let batches = batches(bodies.iter().map(|body| body.len()));
    let answers: Vec<_> =
        stream::iter(batches).map(|batch| queues.send(&bodies[batch])).buffered(AT_ONCE).collect().await;
    answers.concat()
}

/// What is done with messages of the failed queue.
#[derive(Clone, Copy)]
enum Act {
    Delete,
    Release,
}

/// Does it with all of these; the answers in their order.
async fn each(queues: &dyn Queues, act: Act, receipts: &[String]) -> Answers {
    let receipts: Vec<&str> = receipts.iter().map(String::as_str).collect();
    let batches = receipts.chunks(BATCH_MAX).map(|batch| match act {
        Act::Delete => queues.delete(batch),
        Act::Release => queues.release(batch),
    });
    stream::iter(batches).buffered(AT_ONCE).collect::<Vec<_>>().await.concat()
}

/// Deletes messages; returns those that the failed queue still has, and why.
async fn delete(queues: &dyn Queues, receipts: Vec<String>) -> Vec<(String, String)> {
    let answers = each(queues, Act::Delete, &receipts).await;
    let failed = receipts.into_iter().zip(answers);
    failed.filter_map(|(receipt, answer)| answer.err().map(|reason| (receipt, reason))).collect()
}

#[cfg(test)]
#[path = "moving_tests.rs"]
mod tests;
