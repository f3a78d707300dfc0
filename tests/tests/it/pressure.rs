//! Back-pressure: far more events than there is room for. What waits neither fails nor is lost.

use crate::world::World;
use longhaul::in_process::{Around, Step};
use longhaul_asl::TaskError;
use longhaul_aws::clients::Clients;
use longhaul_aws::error::StepError;
use longhaul_aws::outbox::Outbox;
use longhaul_aws::steps::{QueueMessage, intake};
use longhaul_core::error::ErrorName;
use longhaul_core::request::Request;
use serde_json::{Value, json};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

const EVENTS: usize = 5_000;
/// Functions at once.
const ROOM: usize = 10;
/// `MaxReceiveCount` of the template.
const RECEIVES_MAX: u32 = 100;

/// As many functions at once as there is room for; one more is refused, as Lambda does.
#[derive(Debug, Default)]
struct Room {
    running: AtomicUsize,
    most: AtomicUsize,
    refused: AtomicUsize,
}

#[async_trait::async_trait]
impl Around for Room {
    async fn call(&self, _: &str, _: Value, step: Step) -> Result<Value, TaskError> {
        let running = self.running.fetch_add(1, SeqCst) + 1;
        if running > ROOM {
            self.running.fetch_sub(1, SeqCst);
            self.refused.fetch_add(1, SeqCst);
            return Err(TaskError::new("Lambda.TooManyRequestsException", "Rate Exceeded."));
        }
        self.most.fetch_max(running, SeqCst);
        // A cold start, so that there is something to wait for.
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
        let answer = step().await;
        self.running.fetch_sub(1, SeqCst);
        answer
    }
}

/// Starts one execution of three that it is asked for.
#[derive(Debug)]
struct Throttled {
    inner: Arc<dyn Outbox>,
    asked: AtomicUsize,
}

#[async_trait::async_trait]
impl Outbox for Throttled {
    async fn start(&self, name: &str, request: &Request) -> Result<(), StepError> {
        match self.asked.fetch_add(1, SeqCst) % 3 {
            0 => self.inner.start(name, request).await,
            1 => Err(StepError::new(ErrorName::Throttled, "Rate exceeded")),
            // It was started, and nobody heard of it.
            _ => {
                self.inner.start(name, request).await?;
                Err(StepError::new(ErrorName::Transient, "the reply was lost"))
            }
        }
    }

    async fn send_failed(&self, body: &str) -> Result<(), StepError> {
        self.inner.send_failed(body).await
    }

    async fn send_unreadable(&self, body: &str, reason: &str) -> Result<(), StepError> {
        self.inner.send_unreadable(body, reason).await
    }

    async fn input_of(&self, execution: &str) -> Result<String, StepError> {
        self.inner.input_of(execution).await
    }

    async fn is_running(&self, execution: &str) -> Result<bool, StepError> {
        self.inner.is_running(execution).await
    }

    async fn notify(&self, subject: &str, text: &str) -> Result<(), StepError> {
        self.inner.notify(subject, text).await
    }
}

fn key(number: usize) -> String {
    format!("{}/{number:05}", number % 13)
}

/// Takes every message through intake in batches of `size`, as the queue delivers them again; most receives of one.
async fn take_in(world: &World, size: usize) -> u32 {
    let outbox = Arc::new(Throttled { inner: world.sent.clone(), asked: AtomicUsize::new(0) });
    let clients = Clients { outbox, ..(*world.clients).clone() };
    let mut queue: VecDeque<(QueueMessage, u32)> = (0..EVENTS)
        .map(|number| {
            let body = json!({"Records": [{"eventVersion": "2.1", "eventName": "ObjectCreated:Put",
                "s3": {"bucket": {"name": "departures"}, "object": {"key": key(number), "size": 100}}}]});
            (QueueMessage { id: format!("m{number:05}"), body: body.to_string() }, 0)
        })
        .collect();
    let mut most = 0;
    while !queue.is_empty() {
        let batch: Vec<(QueueMessage, u32)> = (0..size).filter_map(|_| queue.pop_front()).collect();
        let messages = batch.iter().map(|(message, _)| message.clone()).collect();
        let report = intake(&clients, &world.context(), messages).await.unwrap();
        for (message, receives) in batch {
            most = most.max(receives + 1);
            if report.again.contains(&message.id) {
                queue.push_back((message, receives + 1));
            }
        }
    }
    most
}

/// Every object of every event is in some execution that was started.
fn assert_taken_in(world: &World) {
    let started = world.sent.started.lock().unwrap();
    let mut offered = BTreeMap::<&str, usize>::new();
    for object in started.values().flat_map(|request| &request.objects) {
        *offered.entry(&object.key).or_default() += 1;
    }
    assert_eq!(offered.len(), EVENTS);
    assert!(world.sent.unreadable.lock().unwrap().is_empty(), "nothing reaches the dead-letter queue");
}

#[tokio::test]
async fn starts_that_are_throttled_lose_no_event() {
    for size in [10, 500] {
        let world = World::over_tls().await;
        let most = take_in(&world, size).await;
        assert_taken_in(&world);
        assert!(most < RECEIVES_MAX, "a message was received {most} times");
    }
}

#[test]
fn five_thousand_events_with_room_for_ten_functions_all_arrive() {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_all().start_paused(true);
    runtime.build().unwrap().block_on(async {
        let room = Arc::new(Room::default());
        let world = World::around(room.clone()).await;
        for number in 0..EVENTS {
            world.put(&key(number), number as u64, 100);
        }
        // The least that a batch is: five hundred executions at once.
        take_in(&world, 10).await;
        assert_taken_in(&world);
        let started: Vec<(String, Request)> = world.sent.started.lock().unwrap().clone().into_iter().collect();
        let runs = started.iter().map(|(name, request)| world.migrate(name, request));
        for ended in futures::future::join_all(runs).await {
            assert!(ended.result.is_ok(), "{ended:?}");
            assert_eq!(ended.tally.failed + ended.tally.unsettled, 0);
        }
        assert_eq!(world.there.store().keys("arrivals").len(), EVENTS);
        assert!(world.sent.failed.lock().unwrap().is_empty(), "nothing reaches the failed queue");
        assert_eq!(room.most.load(SeqCst), ROOM);
        assert!(room.refused.load(SeqCst) > EVENTS / 10, "{} refused", room.refused.load(SeqCst));
    });
}
