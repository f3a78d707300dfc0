//! Runs one seed from its first message to the last check.

use crate::history::Violation;
use crate::invariants;
use crate::ledger::FaultyLedger;
use crate::outbox::Post;
use crate::scenario::Scenario;
use crate::steps::Service;
use crate::weather::{EPOCH_MS, SOURCE, Weather, locked};
use crate::wire::Wire;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_s3::config::{Credentials, SharedCredentialsProvider};
use aws_smithy_async::rt::sleep::{SharedAsyncSleep, TokioSleep};
use aws_smithy_async::time::{SharedTimeSource, TimeSource};
use aws_smithy_runtime_api::client::http::{SharedHttpConnector, http_client_fn};
use longhaul::in_process::{Local, Runner};
use longhaul_aws::clients::{Io, Sides};
use longhaul_aws::context::{Clock, Context};
use longhaul_aws::credentials::Secrets;
use longhaul_aws::engine::Engine;
use longhaul_aws::ledger::{EmbeddedLedger, Ledger as _};
use longhaul_aws::outcomes::ledger_key;
use longhaul_aws::steps::Ended as Lost;
use longhaul_core::request::Request;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

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

/// A backfill's execution, and how it ended.
type Backfilled = (String, Result<(), String>);

/// A seed's two stores, what runs between them, and what became of it.
pub(crate) struct World {
    pub(crate) weather: Arc<Weather>,
    pub(crate) runner: Arc<Runner>,
    ledger: Arc<FaultyLedger>,
    pub(crate) unsettled: Arc<Mutex<Vec<(String, Lost)>>>,
    pub(crate) backfills: Arc<Mutex<Vec<Backfilled>>>,
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
            self.begin_backfill("backfill-1", self.asked(json!({"scans": 2})));
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
        let named = invariants::named(self.runner.clients(), &weather.route()).await;
        *locked(&self.excused) = invariants::check(weather, &named);
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

    pub(crate) fn context(&self) -> Context {
        let seed = self.weather.scenario.seed ^ (self.drawn.fetch_add(1, Relaxed) << 32);
        Context::new(self.weather.clock, Duration::from_secs(300), 1, seed)
    }

    /// Every object that an event offered has its final outcome, or is on the failed queue.
    async fn check_outcomes(&self, when: &str) {
        let weather = &self.weather;
        if !weather.scenario.events {
            return;
        }
        // What has no version was never at the source, and nobody offered it.
        let keys: Vec<String> = weather
            .history()
            .keys
            .iter()
            .filter(|(_, known)| !known.versions.is_empty())
            .map(|(key, _)| key.clone())
            .collect();
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
}

const _: () = assert!(EPOCH_MS > 0, "zero means unknown in the ledger");
