//! Runs one seed from its first message to the last check.

use crate::history::Violation;
use crate::invariants;
use crate::ledger::FaultyLedger;
use crate::outbox::Post;
use crate::scenario::Scenario;
use crate::steps::{Service, inputs, invoke};
use crate::weather::{EPOCH_MS, Message, SOURCE, Weather, locked};
use crate::wire::Wire;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_s3::config::{Credentials, SharedCredentialsProvider};
use aws_smithy_async::rt::sleep::{SharedAsyncSleep, TokioSleep};
use aws_smithy_async::time::{SharedTimeSource, TimeSource};
use aws_smithy_runtime_api::client::http::{SharedHttpConnector, http_client_fn};
use longhaul::in_process::{Ended, Local, Runner};
use longhaul_asl::TaskError;
use longhaul_aws::clients::{Io, Sides};
use longhaul_aws::context::{Clock, Context};
use longhaul_aws::credentials::Secrets;
use longhaul_aws::engine::Engine;
use longhaul_aws::ledger::{EmbeddedLedger, Ledger as _};
use longhaul_aws::outcomes::ledger_key;
use longhaul_aws::steps::{Ended as Lost, QueueMessage, intake, settle_ended};
use longhaul_core::backfill::summary::{RunStatus, RunSummary, summary_key};
use longhaul_core::contract::SettleOutput;
use longhaul_core::names::successor_name;
use longhaul_core::outcome::Outcome;
use longhaul_core::request::Request;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};
use tokio::sync::Notify;

/// What a seed came to.
#[derive(Clone, Debug)]
pub struct Report {
    /// The seed.
    pub seed: u64,
    /// What it decided at the beginning.
    pub scenario: Scenario,
    /// Promises that were not kept.
    pub violations: Vec<Violation>,
    /// Requests, steps and disasters in their order.
    pub lines: Vec<String>,
    /// Disasters that struck.
    pub disasters: u64,
    /// Uploads left open with an excuse, and parts stored again, by why.
    pub counted: BTreeMap<&'static str, u64>,
}

/// Runs a seed. The same seed gives the same report.
pub fn run(seed: u64) -> Report {
    fastrand::seed(seed);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => unreachable!("a runtime without I/O needs nothing of the machine: {error}"),
    };
    runtime.block_on(async {
        let world = World::new(Scenario::of(seed));
        world.live().await;
        world.report()
    })
}

/// When everything must have come to its end.
const PATIENCE: Duration = Duration::from_secs(30 * 86_400);
/// Times that the service gives an event of an execution's end to `settle`.
const SETTLES: u32 = 3;

/// A backfill's execution, and how it ended.
type Backfilled = (String, Result<(), String>);

struct World {
    weather: Arc<Weather>,
    runner: Arc<Runner>,
    ledger: Arc<FaultyLedger>,
    unsettled: Arc<Mutex<Vec<(String, Lost)>>>,
    backfills: Arc<Mutex<Vec<Backfilled>>>,
    excused: Mutex<BTreeMap<&'static str, u64>>,
    drawn: AtomicU64,
}

/// The clock of the simulation, for signatures.
#[derive(Debug)]
struct Time(Clock);

impl TimeSource for Time {
    fn now(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_millis(self.0.now_ms())
    }
}

impl World {
    fn new(scenario: Scenario) -> Arc<Self> {
        let seed = scenario.seed;
        let weather = Arc::new(Weather::of(scenario));
        let connector = SharedHttpConnector::new(Wire::new(weather.clone()));
        let io = Io {
            http: Some(http_client_fn(move |_, _| connector.clone())),
            time: SharedTimeSource::new(Time(weather.clock)),
            sleep: SharedAsyncSleep::new(TokioSleep::new()),
        };
        let keys = weather.here.keys();
        let credentials = Credentials::new(&keys.access_key, &keys.secret_key, None, None, "simulation");
        let shared = SdkConfig::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::from_static("us-east-1"))
            .credentials_provider(SharedCredentialsProvider::new(credentials))
            .build();
        let inner = match EmbeddedLedger::in_memory() {
            Ok(inner) => inner,
            Err(error) => unreachable!("a ledger in memory needs nothing of the machine: {error}"),
        };
        let ledger = Arc::new(FaultyLedger { weather: weather.clone(), inner });
        let local = Local {
            sides: Sides::new(io, shared, Secrets::none()),
            ledger: ledger.clone(),
            outbox: Arc::new(Post(weather.clone())),
            config: weather.config(),
            engine: Engine::new(8, 256 << 20),
        };
        let service = Arc::new(Service(weather.clone()));
        let runner = match Runner::with_around(local, weather.clock, seed, Some(service)) {
            Ok(runner) => Arc::new(runner),
            Err(error) => unreachable!("the state machines are those of the product: {error}"),
        };
        Arc::new(Self {
            weather,
            runner,
            ledger,
            unsettled: Arc::default(),
            backfills: Arc::default(),
            excused: Mutex::default(),
            drawn: AtomicU64::new(0),
        })
    }

    async fn live(self: &Arc<Self>) {
        let weather = &self.weather;
        weather.begin();
        if weather.scenario.backfill {
            self.begin_backfill("backfill-1", json!({"scans": 2}));
        }
        self.until_quiet().await;
        weather.calm_down();
        self.settle_the_rest().await;
        self.end_backfill().await;
        self.until_quiet().await;
        self.check_outcomes("before anything is sent again").await;
        let failed: BTreeSet<String> = std::mem::take(&mut *locked(&weather.failed)).into_iter().collect();
        weather.say(None, format!("--- {} messages are sent again", failed.len()));
        for body in failed {
            weather.send(body, 0);
        }
        self.until_quiet().await;
        self.settle_the_rest().await;
        for body in locked(&weather.failed).iter() {
            weather.history().violated("redrive-succeeds", body.clone());
        }
        self.check_outcomes("at the end").await;
        *locked(&self.excused) = invariants::check(weather);
    }

    fn report(&self) -> Report {
        let history = self.weather.history();
        let mut counted = locked(&self.excused).clone();
        counted.extend(history.again.iter().map(|(why, count)| (*why, *count)));
        Report {
            seed: self.weather.scenario.seed,
            scenario: self.weather.scenario.clone(),
            violations: history.violations.clone(),
            lines: history.lines(),
            disasters: self.weather.struck(),
            counted,
        }
    }

    fn context(&self) -> Context {
        let seed = self.weather.scenario.seed ^ (self.drawn.fetch_add(1, Relaxed) << 32);
        Context::new(self.weather.clock, Duration::from_secs(300), 1, seed)
    }

    /// Delivers messages and runs executions until there are none.
    async fn until_quiet(self: &Arc<Self>) {
        let weather = &self.weather;
        loop {
            let starts = std::mem::take(&mut *locked(&weather.starts));
            for (name, request) in starts {
                let stop = Arc::<Notify>::default();
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

    async fn execution(&self, name: &str, request: Request, stop: &Notify) {
        let weather = &self.weather;
        let started_ms = weather.clock.now_ms();
        // What the configuration says now; requests that name a route keep it.
        let request = match &request.route {
            None if weather.scenario.part_sizes.len() > 1 => Request { route: Some(weather.route()), ..request },
            _ => request,
        };
        weather.say(None, format!("execution {name} begins with {} objects", request.objects.len()));
        let ended = tokio::select! {
            biased;
            () = stop.notified() => None,
            ended = self.runner.run_migrate(name, &request, Arc::default()) => Some(ended),
        };
        let lost = Lost {
            execution: name.to_owned(),
            started_ms,
            status: "ABORTED".into(),
            input: serde_json::to_value(&request).ok().map(|input| input.to_string()),
            reason: None,
        };
        match ended {
            None => self.settle_all(lost).await,
            Some(ended) => {
                self.check_ended(name, &request, &ended);
                if ended.unsettled.is_some() || ended.tally.unsettled > 0 {
                    self.settle_all(Lost { status: "FAILED".into(), ..lost }).await;
                } else if ended.result.as_ref().is_err_and(|error| error.error != "ObjectsFailed") {
                    self.settle_successors(&lost).await;
                }
            }
        }
    }

    /// What the rule on executions that ended badly does, for one and whatever it started.
    async fn settle_all(&self, lost: Lost) {
        self.settle(lost.clone()).await;
        self.settle_successors(&lost).await;
    }

    /// Whoever stops a backfill stops what it started, and each of these has its own event.
    async fn settle_children(&self, name: &str) {
        for (execution, begun) in inputs(&self.weather) {
            if execution.starts_with(&format!("{name}-")) {
                let lost = Lost {
                    execution,
                    started_ms: begun.started_ms,
                    status: "ABORTED".into(),
                    input: Some(begun.input.to_string()),
                    reason: None,
                };
                self.settle_all(lost).await;
            }
        }
    }

    async fn settle_successors(&self, lost: &Lost) {
        let mut name = successor_name(&lost.execution);
        while let Some(begun) = inputs(&self.weather).get(&name) {
            let successor = Lost {
                execution: name.clone(),
                started_ms: begun.started_ms,
                input: Some(begun.input.to_string()),
                ..lost.clone()
            };
            self.settle(successor).await;
            name = successor_name(&name);
        }
    }

    async fn settle(&self, lost: Lost) {
        for _ in 0..SETTLES {
            if self.settle_once(&lost).await.is_ok() {
                return;
            }
            tokio::time::sleep(Duration::from_secs(60)).await;
        }
        self.weather.say(None, format!("execution {} is not settled", lost.execution));
        locked(&self.unsettled).push((lost.execution.clone(), lost));
    }

    async fn settle_once(&self, lost: &Lost) -> Result<(), TaskError> {
        let (clients, context) = (self.runner.clients(), self.context());
        let called = async {
            let settled = settle_ended(clients, &context, lost.clone()).await;
            settled.map_err(|error| TaskError::new(error.name.as_str(), error.message))
        };
        let settled = invoke(&self.weather, &format!("Settle {} {}", lost.execution, lost.status), called).await?;
        let request = lost.input.as_ref().and_then(|input| serde_json::from_str::<Request>(input).ok());
        let continued = inputs(&self.weather).contains_key(&successor_name(&lost.execution));
        if let (SettleOutput::Settled(settled), Some(request)) = (&settled, request)
            && !continued
            && request.manifests.is_empty()
        {
            let (offered, counted) = (offered(&request), settled.tally.objects());
            if offered != counted {
                let told = format!(
                    "{} was offered {offered} objects, settle counts {counted}: {:?}",
                    lost.execution, settled.tally
                );
                self.weather.history().violated("counts-add-up", told);
            }
        }
        Ok(())
    }

    async fn settle_the_rest(&self) {
        let unsettled = std::mem::take(&mut *locked(&self.unsettled));
        for (name, lost) in unsettled {
            if let Err(error) = self.settle_once(&lost).await {
                self.weather.history().violated("exactly-one-outcome", format!("{name} cannot be settled: {error}"));
            }
        }
    }

    fn check_ended(&self, name: &str, request: &Request, ended: &Ended) {
        let weather = &self.weather;
        let result = match &ended.result {
            Ok(_) => "succeeded".to_owned(),
            Err(error) => format!("failed: {error}"),
        };
        let tally = serde_json::to_string(&ended.tally).unwrap_or_default();
        weather.say(None, format!("execution {name} {} {tally}", result.chars().take(200).collect::<String>()));
        let mut history = weather.history();
        if let Err(error) = &ended.result
            && !weather.outgrown.load(Relaxed)
            && matches!(
                error.error.as_str(),
                "States.DataLimitExceeded" | "States.Runtime" | "States.ExceedToleratedFailureThreshold"
            )
        {
            history.violated("within-quotas", format!("{name}: {error}"));
        }
        if ended.stats.history_events >= 25_000 || ended.stats.largest_payload > 262_144 {
            history.violated("within-quotas", format!("{name}: {:?}", ended.stats));
        }
        let whole = ended.unsettled.is_none() && ended.tally.unsettled == 0;
        let (offered, counted) = (offered(request), ended.tally.objects());
        if whole && offered != counted {
            history.violated(
                "counts-add-up",
                format!("{name} was offered {offered} objects and counts {counted}: {tally}"),
            );
        }
        let sent = locked(&weather.failed).clone();
        for exception in &ended.exceptions {
            let key = &exception.object.key;
            let named = |body: &String| {
                serde_json::from_str::<Request>(body)
                    .is_ok_and(|sent| sent.objects.iter().any(|object| object.key == *key))
            };
            if matches!(exception.outcome, Outcome::Failed { .. }) && !sent.iter().any(named) {
                history.violated("failed-is-queued", format!("{name} failed {key:?} and sent no message"));
            }
        }
    }

    /// Every object that an event offered has its final outcome, or is on the failed queue.
    async fn check_outcomes(&self, when: &str) {
        let weather = &self.weather;
        if !weather.scenario.events {
            return;
        }
        let keys: Vec<String> = weather.history().keys.keys().cloned().collect();
        let route = weather.route();
        for key in keys {
            let Ok(at) = ledger_key(&route, &key) else { continue };
            let record = self.ledger.inner.get(&at).await.ok().flatten();
            let ended = record.as_ref().is_some_and(|record| record.status.is_final());
            let queued = locked(&weather.failed).iter().any(|body| {
                serde_json::from_str::<Request>(body)
                    .is_ok_and(|sent| sent.objects.iter().any(|object| object.key == key))
            });
            if !ended && !queued {
                let told = format!(
                    "{when}: s3://{SOURCE}/{key} has {:?}",
                    record.map(|record| (record.status, record.execution))
                );
                weather.history().violated("exactly-one-outcome", told);
            }
        }
    }

    /// Starts an execution of `backfill`, which may be stopped as any other.
    fn begin_backfill(self: &Arc<Self>, name: &str, request: Value) {
        let stop = Arc::<Notify>::default();
        locked(&self.weather.running).insert(name.to_owned(), Some(stop.clone()));
        let (world, name) = (self.clone(), name.to_owned());
        tokio::spawn(async move {
            world.weather.say(None, format!("backfill {name} begins: {request}"));
            let ended = tokio::select! {
                biased;
                () = stop.notified() => Err("stopped".to_owned()),
                outcome = world.runner.run_backfill(&name, request, Arc::default()) => {
                    outcome.result.map(drop).map_err(|error| error.to_string())
                }
            };
            world.weather.say(None, format!("backfill {name} ended: {ended:?}"));
            if ended.as_ref().is_err_and(|told| told == "stopped") {
                world.settle_children(&name).await;
            }
            locked(&world.backfills).push((name.clone(), ended));
            locked(&world.weather.running).insert(name, None);
            world.weather.changed.notify_one();
        });
    }

    /// Resumes a backfill that did not come to its end, and checks what it says.
    async fn end_backfill(self: &Arc<Self>) {
        if !self.weather.scenario.backfill {
            return;
        }
        let mut run = "backfill-1".to_owned();
        let failed = locked(&self.backfills).iter().any(|(_, ended)| ended.is_err());
        if failed {
            self.begin_backfill("backfill-2", json!({"resume": run}));
            self.until_quiet().await;
        }
        let broken = locked(&self.backfills).last().and_then(|(_, ended)| ended.clone().err());
        if let Some(told) = broken {
            if !told.contains("no run") {
                self.weather.history().violated("redrive-succeeds", format!("the resumed backfill failed: {told}"));
            }
            run = "backfill-3".to_owned();
            self.begin_backfill(&run, json!({}));
            self.until_quiet().await;
        }
        self.check_summary(&run).await;
        if !self.weather.scenario.events {
            // What changed meanwhile has no event: the next run brings it.
            self.begin_backfill("backfill-4", json!({"compare": "always"}));
            self.until_quiet().await;
            self.check_summary("backfill-4").await;
        }
    }

    async fn check_summary(&self, run: &str) {
        let found = self.runner.clients().work.find(&summary_key(run), 1 << 24).await;
        let summary = found.ok().flatten().and_then(|found| serde_json::from_slice::<RunSummary>(&found.body).ok());
        let told = match summary {
            None => format!("{run} has no summary"),
            Some(summary) if summary.accounted && summary.missing == 0 && summary.status == RunStatus::Succeeded => {
                return;
            }
            Some(summary) => {
                format!("{run}: {:?} {} {:?} {:?}", summary.status, summary.cause, summary.counts, summary.tally)
            }
        };
        self.weather.history().violated("counts-add-up", told);
    }
}

/// The objects that a request offers, each once.
fn offered(request: &Request) -> u64 {
    let keys: BTreeSet<(&str, &str)> =
        request.objects.iter().map(|object| (object.bucket.as_str(), object.key.as_str())).collect();
    keys.len() as u64
}

const _: () = assert!(EPOCH_MS > 0, "zero means unknown in the ledger");
