//! The queue: what is due is delivered, and what was started runs.

use crate::others::Stop;
use crate::steps::invoke;
use crate::weather::{Message, locked};
use crate::world::World;
use longhaul_asl::TaskError;
use longhaul_aws::steps::{QueueMessage, intake};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

/// When everything must have come to its end.
const PATIENCE: Duration = Duration::from_secs(30 * 86_400);

impl World {
    /// Delivers messages and runs executions until there are none.
    pub(crate) async fn until_quiet(self: &Arc<Self>) {
        let weather = &self.weather;
        loop {
            let starts = std::mem::take(&mut *locked(&weather.starts));
            for (name, request) in starts {
                let stop = Arc::<Stop>::default();
                locked(&weather.running).insert(name.clone(), Some(stop.clone()));
                let world = self.clone();
                tokio::spawn(async move {
                    world.execution(&name, request, &stop).await;
                    locked(&world.weather.running).insert(name, None);
                    world.weather.changed.notify_one();
                });
            }
            let now = weather.now_ms();
            let batch = self.due(now);
            if !batch.is_empty() {
                self.deliver(batch).await;
                continue;
            }
            let next = locked(&weather.inbox).iter().map(|message| message.due_ms).min();
            let busy = locked(&weather.running).values().any(Option::is_some) || weather.afloat.load(Relaxed) > 0;
            if next.is_none() && !busy && locked(&weather.starts).is_empty() {
                return;
            }
            if Duration::from_millis(now) > PATIENCE {
                let running: Vec<String> = locked(&weather.running)
                    .iter()
                    .filter_map(|(name, stop)| stop.as_ref().map(|_| name.clone()))
                    .collect();
                weather.history().violated("it-ends", format!("after {now} ms these run: {running:?}"));
                return;
            }
            let wait = next.map_or(3_600_000, |due| due.saturating_sub(now)).max(1);
            // Whether it was woken or not, it looks again.
            let _ = tokio::time::timeout(Duration::from_millis(wait), weather.changed.notified()).await;
        }
    }

    /// Some of the messages that are due, in any order.
    fn due(&self, now: u64) -> Vec<Message> {
        let mut inbox = locked(&self.weather.inbox);
        let (mut due, later): (Vec<_>, Vec<_>) = inbox.drain(..).partition(|message| message.due_ms <= now);
        self.weather.dice.shuffle(&mut due);
        let rest = due.split_off(due.len().min(self.weather.scenario.batch));
        inbox.extend(rest.into_iter().chain(later));
        due
    }

    async fn deliver(&self, batch: Vec<Message>) {
        let weather = &self.weather;
        let ids: Vec<&str> = batch.iter().map(|message| message.id.as_str()).collect();
        weather.say(None, format!("messages {ids:?} are delivered"));
        let messages = batch.iter().map(|Message { id, body, .. }| QueueMessage { id: id.clone(), body: body.clone() });
        let (clients, context) = (self.runner.clients(), self.context());
        let messages = messages.collect();
        let called = async {
            intake(clients, &context, messages)
                .await
                .map_err(|error| TaskError::new(error.name.as_str(), error.message))
        };
        let report = invoke(weather, "Intake", called).await;
        let again = |message: &Message| report.as_ref().map_or(true, |report| report.again.contains(&message.id));
        let now = weather.now_ms();
        for message in batch.iter().filter(|message| again(message)) {
            // It becomes visible again.
            locked(&weather.inbox).push(Message { due_ms: now + 30_007, ..message.clone() });
        }
    }
}
