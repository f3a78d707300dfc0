//! What all parts of a simulation share, and what others do to the two stores meanwhile.

use crate::dice::Dice;
use crate::history::{History, Version};
use crate::scenario::{Scenario, Stands};
use bytes::Bytes;
use longhaul_aws::context::Clock;
use longhaul_core::config::{Config, Options, Route, Side};
use longhaul_core::layout::MIB;
use longhaul_core::request::Request;
use longhaul_testing::{Generated, Keys, Store, StoreConfig, TestS3};
use serde_json::{Value, json};
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
/// Most times that somebody overwrites a source object.
const OVERWRITES_MAX: u64 = 5;

/// How long an event is on its way.
const DELAYS_MS: [u64; 5] = [0, 0, 300, 7_000, 61_000];

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
    pub(crate) dice: Dice,
    pub(crate) clock: Clock,
    pub(crate) here: TestS3,
    pub(crate) there: TestS3,
    history: Mutex<History>,
    calm: AtomicBool,
    struck: AtomicU64,
    made: AtomicU64,
    overwritten: AtomicU64,
    setting: AtomicUsize,
    messages: AtomicU64,
    pub(crate) inbox: Mutex<Vec<Message>>,
    pub(crate) starts: Mutex<Vec<(String, Request)>>,
    pub(crate) failed: Mutex<Vec<String>>,
    /// Every execution whose first step was called.
    pub(crate) begun: Mutex<BTreeMap<String, Begun>>,
    /// Every execution that was started, and how to stop it while it runs.
    pub(crate) running: Mutex<BTreeMap<String, Option<Arc<Notify>>>>,
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
        let store = || Store::new(StoreConfig { epoch: Some(epoch), ..StoreConfig::default() });
        let (here, there) = (TestS3::new(store(), Keys::default()), TestS3::new(store(), Keys::default()));
        here.store().set_bucket(SOURCE, scenario.source.clone());
        there.store().set_bucket(DESTINATION, scenario.destination.clone());
        Self {
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
        let side = |bucket: &str, host: &str, prefix: &str| Side {
            bucket: bucket.into(),
            prefix: prefix.into(),
            region: Some("us-east-1".into()),
            endpoint: Some(format!("https://{host}")),
            path_style: true,
            ..Side::default()
        };
        Route {
            name: "simulated".into(),
            source: side(SOURCE, HOSTS[0], ""),
            destination: side(DESTINATION, HOSTS[1], &self.scenario.prefix),
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

    pub(crate) fn there_key(&self, key: &str) -> String {
        format!("{}{key}", self.scenario.prefix)
    }

    /// Puts everything that is there at the beginning, and the messages about it.
    pub(crate) fn begin(&self) {
        let mut events = Vec::new();
        for planned in &self.scenario.objects.clone() {
            self.history().keys.entry(planned.key.clone()).or_default().parts = planned.parts;
            events.push(self.put(&planned.key, planned.size));
            let there = self.there_key(&planned.key);
            let content = match planned.stands {
                Stands::Nothing => continue,
                Stands::Another => self.content(planned.size.min(4_000)),
                Stands::Same => self.here.store().get(SOURCE, &planned.key).unwrap_or_default(),
            };
            self.there.store().put(DESTINATION, &there, content.clone());
            self.foreign(&planned.key, content);
        }
        let mut repeated = events.clone();
        repeated.retain(|_| self.dice.chance(0.3));
        events.extend(repeated);
        self.dice.shuffle(&mut events);
        while !events.is_empty() {
            let records = usize::try_from(self.dice.between(1, 3)).unwrap_or(1).min(events.len());
            let group: Vec<Value> = events.drain(..records).collect();
            self.announce(group);
        }
    }

    /// Somebody else's object stands at the destination now.
    fn foreign(&self, key: &str, content: Bytes) {
        let stands = self.there.store().object(DESTINATION, &self.there_key(key));
        let mut history = self.history();
        let Some(known) = history.keys.get_mut(key) else { return };
        if let Some(object) = &stands {
            known.written.push((object.etag.clone(), content.clone()));
        }
        known.stands = stands;
        known.foreign.push(content);
    }

    fn content(&self, size: u64) -> Bytes {
        let number = self.made.fetch_add(1, Relaxed);
        let seed = self.scenario.seed.wrapping_mul(0x1_0001).wrapping_add(number);
        let mut bytes = vec![0; usize::try_from(size).unwrap_or(0)];
        Generated { seed, len: size }.fill(0, &mut bytes);
        bytes.into()
    }

    /// Puts a new version of a source object; returns the record of its event.
    fn put(&self, key: &str, size: u64) -> Value {
        let content = self.content(size);
        let parts = self.history().keys.get(key).and_then(|known| known.parts).filter(|part| size > *part);
        let store = self.here.store();
        let object = match parts {
            Some(part) => {
                let step = usize::try_from(part).unwrap_or(usize::MAX);
                let parts = (0..content.len()).step_by(step);
                store.put_parts(SOURCE, key, parts.map(|at| content.slice(at..content.len().min(at + step))).collect())
            }
            None => store.put(SOURCE, key, content.clone()),
        };
        let sequencer = format!("{:016X}", self.made.load(Relaxed));
        let record = json!({
            "eventVersion": "2.1", "eventSource": "aws:s3", "eventName": "ObjectCreated:Put",
            "s3": {"bucket": {"name": SOURCE}, "object": {
                "key": form_encoded(key), "size": size, "eTag": object.etag,
                "versionId": if object.version_id == "null" { "" } else { &object.version_id },
                "sequencer": sequencer,
            }},
        });
        let version = Version { content, etag: object.etag.clone(), sequencer, version_id: object.version_id.clone() };
        let mut history = self.history();
        history.keys.entry(key.to_owned()).or_default().versions.push(version);
        drop(history);
        self.say(None, format!("put {key:?}: {size} bytes, {}", object.etag));
        record
    }

    /// Sends a message about these records to the queue, if events are sent at all.
    fn announce(&self, records: Vec<Value>) {
        self.announce_after(records, *self.dice.one(&DELAYS_MS));
    }

    fn announce_after(&self, records: Vec<Value>, after_ms: u64) {
        if !self.scenario.events {
            return;
        }
        // Events of a single record also come by EventBridge.
        let body = match records.as_slice() {
            [record] if self.dice.chance(0.2) => {
                let object = &record["s3"]["object"];
                let key = form_decoded(object["key"].as_str().unwrap_or_default());
                json!({"source": "aws.s3", "detail-type": "Object Created", "detail": {
                    "bucket": {"name": SOURCE},
                    "object": {"key": key, "size": object["size"], "etag": object["eTag"],
                        "version-id": object["versionId"], "sequencer": object["sequencer"]},
                }})
            }
            _ => json!({"Records": records}),
        };
        self.send(body.to_string(), after_ms);
    }

    /// Sends a message to the queue, to arrive after so many milliseconds.
    pub(crate) fn send(&self, body: String, after_ms: u64) {
        let id = format!("m{:03}", self.messages.fetch_add(1, Relaxed));
        locked(&self.inbox).push(Message { id, due_ms: self.now_ms() + after_ms, body });
        self.changed.notify_one();
    }

    /// Somebody does something between two requests.
    pub(crate) fn others(&self) {
        let key = self.dice.one(&self.scenario.objects).key.clone();
        let there = self.there_key(&key);
        match *self.dice.weighted(&[(6, 0), (2, 1), (2, 2), (2, 3), (3, 4), (2, 5), (2, 6), (3, 7)]) {
            0 => self.overwrite(&key, *self.dice.one(&DELAYS_MS)),
            1 => {
                self.say(None, format!("delete {key:?} at the source"));
                self.here.store().delete(SOURCE, &key);
            }
            2 => {
                let content = self.content(self.dice.between(1, 3_000));
                self.say(None, format!("another object is written over {there:?}"));
                self.there.store().put(DESTINATION, &there, content.clone());
                self.foreign(&key, content);
                self.tampered(&key);
            }
            3 => {
                self.say(None, format!("{there:?} is deleted at the destination"));
                self.there.store().delete(DESTINATION, &there);
                if let Some(known) = self.history().keys.get_mut(&key) {
                    known.stands = None;
                }
                self.tampered(&key);
            }
            4 => {
                let open = self.there.store().open_uploads();
                if !open.is_empty() {
                    let upload = self.dice.one(&open);
                    self.say(None, format!("upload {} is aborted behind our back", short(&upload.id)));
                    self.there.store().abort_upload(&upload.id);
                }
            }
            5 => {
                let history = self.history();
                let version =
                    history.keys.get(&key).and_then(|known| Some(self.dice.one(known.versions.get(..)?).clone()));
                drop(history);
                if let Some(version) = version {
                    let record = self.record(&key, &version);
                    self.announce(vec![record]);
                }
            }
            6 => {
                let objects: Vec<Value> = self
                    .scenario
                    .objects
                    .iter()
                    .filter(|_| self.dice.chance(0.5))
                    .map(|planned| json!({"bucket": SOURCE, "key": planned.key}))
                    .collect();
                if self.scenario.events && !objects.is_empty() {
                    self.send(json!({"objects": objects}).to_string(), 0);
                }
            }
            _ => {
                self.setting.fetch_add(1, Relaxed);
            }
        }
    }

    /// Somebody overwrites a source object, and its event arrives after so many milliseconds.
    pub(crate) fn overwrite(&self, key: &str, after_ms: u64) {
        if self.overwritten.fetch_add(1, Relaxed) >= OVERWRITES_MAX {
            return;
        }
        let stood = self.here.store().object(SOURCE, key).map_or(700, |object| object.body.len());
        let size = *self.dice.weighted(&[(6, stood), (3, 900), (1, 0), (1, 8 * MIB + 1)]);
        let record = self.put(key, size);
        self.announce_after(vec![record], after_ms);
    }

    fn record(&self, key: &str, version: &Version) -> Value {
        json!({
            "eventVersion": "2.1", "eventSource": "aws:s3", "eventName": "ObjectCreated:Put",
            "s3": {"bucket": {"name": SOURCE}, "object": {
                "key": form_encoded(key), "size": version.content.len(), "eTag": version.etag,
                "versionId": if version.version_id == "null" { "" } else { &version.version_id },
                "sequencer": version.sequencer,
            }},
        })
    }

    fn tampered(&self, key: &str) {
        if let Some(known) = self.history().keys.get_mut(key) {
            known.tampered = true;
        }
    }

    /// Stops an execution that runs, if there is one.
    pub(crate) fn stop_one(&self) {
        let running = locked(&self.running);
        let live: Vec<(&String, &Arc<Notify>)> =
            running.iter().filter_map(|(name, stop)| Some((name, stop.as_ref()?))).collect();
        if !live.is_empty() {
            let (name, stop) = self.dice.one(&live);
            stop.notify_one();
            self.say(None, format!("execution {name} is stopped"));
        }
    }
}

pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The beginning of an id.
pub(crate) fn short(id: &str) -> &str {
    id.get(..6).unwrap_or(id)
}

fn form_encoded(key: &str) -> String {
    let encode = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'-' | b'_' | b'.' => char::from(byte).to_string(),
        b' ' => "+".to_owned(),
        other => format!("%{other:02X}"),
    };
    key.bytes().map(encode).collect()
}

fn form_decoded(text: &str) -> String {
    let bytes = text.replace('+', " ").into_bytes();
    let mut out = Vec::new();
    let mut rest = bytes.as_slice();
    while let [first, more @ ..] = rest {
        let hex = more.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        match (first, hex.and_then(|digits| u8::from_str_radix(digits, 16).ok())) {
            (b'%', Some(byte)) => {
                out.push(byte);
                rest = &more[2..];
            }
            _ => {
                out.push(*first);
                rest = more;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}
