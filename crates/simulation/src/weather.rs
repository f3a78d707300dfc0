//! What all parts of a simulation share.

use crate::dice::Dice;
use crate::history::History;
use crate::others::Stop;
use crate::scenario::Scenario;
use longhaul_aws::context::Clock;
use longhaul_core::backfill::filters::Matcher;
use longhaul_core::config::{Config, Options, Route, Side};
use longhaul_core::request::Request;
use longhaul_testing::{Keys, Store, StoreConfig, TestS3};
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};
use tokio::sync::Notify;

pub(crate) const SOURCE: &str = "departures";
pub(crate) const DESTINATION: &str = "arrivals";
/// Hosts of the two stores.
pub(crate) const HOSTS: [&str; 2] = ["here.invalid", "there.invalid"];
/// When every simulation begins, milliseconds since 1970.
pub(crate) const EPOCH_MS: u64 = 1_800_000_000_000;
/// A message on its way to the queue.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    pub(crate) id: String,
    pub(crate) due_ms: u64,
    pub(crate) body: String,
}

/// An execution that was begun.
#[derive(Clone, Debug)]
pub(crate) struct Begun {
    pub(crate) input: Value,
    pub(crate) started_ms: u64,
}

/// See the module.
pub(crate) struct Weather {
    pub(crate) scenario: Scenario,
    filters: Matcher,
    pub(crate) dice: Dice,
    pub(crate) clock: Clock,
    pub(crate) here: TestS3,
    pub(crate) there: TestS3,
    history: Mutex<History>,
    calm: AtomicBool,
    struck: AtomicU64,
    pub(crate) made: AtomicU64,
    pub(crate) overwritten: AtomicU64,
    pub(crate) setting: AtomicUsize,
    pub(crate) messages: AtomicU64,
    pub(crate) inbox: Mutex<Vec<Message>>,
    pub(crate) starts: Mutex<Vec<(String, Request)>>,
    pub(crate) failed: Mutex<Vec<String>>,
    /// Every execution whose first step was called.
    pub(crate) begun: Mutex<BTreeMap<String, Begun>>,
    /// Every execution that was started, and how to stop it while it runs.
    pub(crate) running: Mutex<BTreeMap<String, Option<Arc<Stop>>>>,
    /// Requests and steps that nobody waits for any more.
    pub(crate) afloat: AtomicU64,
    pub(crate) invocations: AtomicU64,
    pub(crate) changed: Notify,
    /// A payload was said to be too large.
    pub(crate) outgrown: AtomicBool,
}

impl Weather {
    pub(crate) fn of(scenario: Scenario) -> Self {
        let epoch = SystemTime::UNIX_EPOCH + Duration::from_millis(EPOCH_MS);
        let store = |salt| Store::new(StoreConfig { epoch: Some(epoch), salt, ..StoreConfig::default() });
        let (here, there) = (TestS3::new(store(1), Keys::default()), TestS3::new(store(2), Keys::default()));
        here.store().set_bucket(SOURCE, scenario.source.clone());
        there.store().set_bucket(DESTINATION, scenario.destination.clone());
        let filters = match Matcher::new(&scenario.filters) {
            Ok(filters) => filters,
            Err(error) => unreachable!("the patterns are those of the scenario: {error}"),
        };
        Self {
            filters,
            dice: Dice::new(scenario.seed ^ 0x5eed_0fda),
            clock: Clock::starting_at(EPOCH_MS),
            scenario,
            here,
            there,
            history: Mutex::default(),
            calm: AtomicBool::new(false),
            struck: AtomicU64::new(0),
            made: AtomicU64::new(0),
            overwritten: AtomicU64::new(0),
            setting: AtomicUsize::new(0),
            messages: AtomicU64::new(0),
            inbox: Mutex::default(),
            starts: Mutex::default(),
            failed: Mutex::default(),
            begun: Mutex::default(),
            running: Mutex::default(),
            afloat: AtomicU64::new(0),
            invocations: AtomicU64::new(0),
            changed: Notify::new(),
            outgrown: AtomicBool::new(false),
        }
    }

    pub(crate) fn history(&self) -> MutexGuard<'_, History> {
        locked(&self.history)
    }

    pub(crate) fn now_ms(&self) -> u64 {
        self.clock.now_ms() - EPOCH_MS
    }

    pub(crate) fn say(&self, invocation: Option<u64>, text: String) -> usize {
        let now = self.now_ms();
        self.history().say(now, invocation, text)
    }

    /// True if a disaster of this rate strikes now.
    pub(crate) fn strikes(&self, rate: f64) -> bool {
        if rate <= 0.0 || self.calm.load(Relaxed) || self.struck.load(Relaxed) >= self.scenario.rates.most {
            return false;
        }
        let strikes = self.dice.chance(rate);
        self.struck.fetch_add(u64::from(strikes), Relaxed);
        strikes
    }

    pub(crate) fn struck(&self) -> u64 {
        self.struck.load(Relaxed)
    }

    /// No disaster strikes any more.
    pub(crate) fn calm_down(&self) {
        self.calm.store(true, Relaxed);
        self.here.faults().clear();
        self.there.faults().clear();
        self.say(None, "--- calm".into());
    }

    /// The route as it is configured now.
    pub(crate) fn route(&self) -> Route {
        let sizes = &self.scenario.part_sizes;
        let side = |number: usize, bucket: &str, prefix: &str| Side {
            bucket: bucket.into(),
            prefix: prefix.into(),
            region: Some("us-east-1".into()),
            endpoint: Some(format!(
                "{}://{}",
                if self.scenario.plain[number] { "http" } else { "https" },
                HOSTS[number]
            )),
            path_style: true,
            ..Side::default()
        };
        Route {
            name: "simulated".into(),
            source: side(0, SOURCE, ""),
            destination: side(1, DESTINATION, &self.scenario.prefix),
            options: Options {
                overwrite: self.scenario.overwrite,
                part_size: sizes[self.setting.load(Relaxed) % sizes.len()],
                ..Options::default()
            },
        }
    }

    pub(crate) fn config(&self) -> Config {
        Config { routes: vec![self.route()] }
    }

    /// True if the filters of the backfills leave out an object of this key and size.
    pub(crate) fn leaves_out(&self, key: &str, size: usize) -> bool {
        !self.filters.passes(key, Some(size as u64), None)
    }

    pub(crate) fn there_key(&self, key: &str) -> String {
        format!("{}{key}", self.scenario.prefix)
    }
}

pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The beginning of an id.
pub(crate) fn short(id: &str) -> &str {
    id.get(..6).unwrap_or(id)
}
