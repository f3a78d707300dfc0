//! The objects of the two stores: what is put there, and what is remembered of it.

use crate::history::Version;
use crate::scenario::Stands;
use crate::weather::{DESTINATION, SOURCE, Weather};
use bytes::Bytes;
use longhaul_testing::Generated;
use serde_json::Value;
use std::sync::atomic::Ordering::Relaxed;

impl Weather {
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
        for extra in &self.scenario.extras {
            let content = self.content(700);
            self.there.store().put(DESTINATION, &self.there_key(extra), content.clone());
            self.history().keys.entry(extra.clone()).or_default();
            self.foreign(extra, content);
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
    pub(crate) fn foreign(&self, key: &str, content: Bytes) {
        let stands = self.there.store().object(DESTINATION, &self.there_key(key));
        let mut history = self.history();
        let Some(known) = history.keys.get_mut(key) else { return };
        if let Some(object) = &stands {
            known.written.push((object.etag.clone(), content.clone()));
        }
        known.stands = stands;
        known.foreign.push(content);
    }

    pub(crate) fn content(&self, size: u64) -> Bytes {
        let number = self.made.fetch_add(1, Relaxed);
        let seed = self.scenario.seed.wrapping_mul(0x1_0001).wrapping_add(number);
        let mut bytes = vec![0; usize::try_from(size).unwrap_or(0)];
        Generated { seed, len: size }.fill(0, &mut bytes);
        bytes.into()
    }

    /// Puts a new version of a source object; returns the record of its event.
    pub(crate) fn put(&self, key: &str, size: u64) -> Value {
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
        let version = Version { content, etag: object.etag.clone(), sequencer, version_id: object.version_id.clone() };
        let record = Self::record(key, &version);
        let mut history = self.history();
        let moment = history.moment();
        let known = history.keys.entry(key.to_owned()).or_default();
        known.versions.push(version);
        known.since.get_or_insert(moment);
        drop(history);
        self.say(None, format!("put {key:?}: {size} bytes, {}", object.etag));
        record
    }
}
