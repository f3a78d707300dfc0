//! Every request that arrived, in order of arrival.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Serialize;

use crate::call::Call;

/// One request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    /// From 1, in order of arrival. A reset does not start it again.
    pub seq: u64,
    /// What was asked.
    #[serde(flatten)]
    pub call: Call,
    /// The status answered; none while the request runs, and where the reply was lost.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// The names of the faults injected into it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<&'static str>,
}

#[derive(Default)]
struct Inner {
    entries: Vec<Entry>,
    before: u64,
}

/// The requests seen. Clones share one log.
#[derive(Clone, Default)]
pub struct RequestLog(Arc<Mutex<Inner>>);

impl RequestLog {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn begin(&self, call: Call, faults: Vec<&'static str>) -> u64 {
        let mut inner = self.lock();
        let seq = inner.before + inner.entries.len() as u64 + 1;
        inner.entries.push(Entry { seq, call, status: None, faults });
        seq
    }

    pub(crate) fn end(&self, seq: u64, status: u16) {
        let mut inner = self.lock();
        let before = inner.before;
        let index = seq.checked_sub(before + 1).map(|i| i as usize);
        if let Some(entry) = index.and_then(|i| inner.entries.get_mut(i)) {
            entry.status = Some(status);
        }
    }

    /// A copy of all entries.
    pub fn entries(&self) -> Vec<Entry> {
        self.lock().entries.clone()
    }

    /// How many requests of this operation arrived.
    pub fn count(&self, operation: &str) -> usize {
        self.count_if(|entry| entry.call.operation == operation)
    }

    /// How many requests satisfy `wanted`.
    pub fn count_if(&self, wanted: impl Fn(&Entry) -> bool) -> usize {
        self.lock().entries.iter().filter(|entry| wanted(entry)).count()
    }

    /// Forgets all entries.
    pub fn reset(&self) {
        let mut inner = self.lock();
        inner.before += inner.entries.len() as u64;
        inner.entries.clear();
    }
}
