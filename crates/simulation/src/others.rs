//! What others do to the two stores, to the settings and to executions, between any two requests.

use crate::events::DELAYS_MS;
use crate::weather::{DESTINATION, SOURCE, Weather, locked, short};
use longhaul_core::layout::MIB;
use serde_json::{Value, json};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex};
use tokio::sync::Notify;

/// Most times that somebody overwrites a source object.
const OVERWRITES_MAX: u64 = 5;

impl Weather {
    /// Somebody does something between two requests.
    pub(crate) fn others(&self) {
        let key = self.dice.one(&self.scenario.objects).key.clone();
        let there = self.there_key(&key);
        match *self.dice.weighted(&[(6, 0), (2, 1), (2, 2), (2, 3), (3, 4), (2, 5), (2, 6), (3, 7)]) {
            0 => self.overwrite(&key, *self.dice.one(&DELAYS_MS)),
            1 => {
                self.say(None, format!("delete {key:?} at the source"));
                self.here.store().delete(SOURCE, &key);
                if let Some(known) = self.history().keys.get_mut(&key) {
                    known.since = None;
                }
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
                    let record = Self::record(&key, &version);
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

    fn tampered(&self, key: &str) {
        if let Some(known) = self.history().keys.get_mut(key) {
            known.tampered = true;
        }
    }

    /// Ends an execution that runs, if there is one: somebody stops it, or its time is up.
    pub(crate) fn end_one(&self) {
        let running = locked(&self.running);
        let live: Vec<(&String, &Arc<Stop>)> =
            running.iter().filter_map(|(name, stop)| Some((name, stop.as_ref()?))).collect();
        if !live.is_empty() {
            let (name, stop) = self.dice.one(&live);
            let status = *self.dice.one(&["ABORTED", "TIMED_OUT"]);
            stop.end(status);
            self.say(None, format!("execution {name} is ended: {status}"));
        }
    }
}

/// By which an execution is ended from outside.
#[derive(Debug, Default)]
pub(crate) struct Stop {
    status: Mutex<Option<&'static str>>,
    notify: Notify,
}

impl Stop {
    fn end(&self, status: &'static str) {
        *locked(&self.status) = Some(status);
        self.notify.notify_one();
    }

    /// The status of the end, once there is one.
    pub(crate) async fn ended(&self) -> &'static str {
        self.notify.notified().await;
        locked(&self.status).unwrap_or("ABORTED")
    }
}
