//! The ledger of one process, in a database on its disk or in its memory.

use super::store::{OpenError, Store};
use super::{Expected, Ledger, LedgerError, next_revision};
use futures::channel::oneshot;
use longhaul_core::job::JobRecord;
use longhaul_core::names::LedgerKey;
use longhaul_core::rate::{RateKey, Rates};
use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Records of one commit, unless more arrive while another commit runs.
const GROUP_RECORDS: usize = 256;
/// How long the first record of a group waits for others.
const GROUP_WAIT: Duration = Duration::from_millis(50);

type Records = BTreeMap<LedgerKey, JobRecord>;
/// Who waits for a commit.
type Flush = oneshot::Sender<Result<(), LedgerError>>;

/// The ledger of one process, in a redb database.
///
/// On disk, writes are committed in groups by a thread. A `put` returns before its group is committed; every read of
/// this process sees it at once. A kill loses at most the last group or two, which costs a look at the destination for
/// each object of it. A record that names an upload is committed before its `put` returns: nothing else knows the id.
/// [`EmbeddedLedger::flush`] and a drop commit what waits. After a commit has failed, every call returns its error.
pub struct EmbeddedLedger {
    shared: Arc<Shared>,
    /// None in memory, where each `put` writes through.
    committer: Option<JoinHandle<()>>,
}

struct Shared {
    store: Store,
    overlay: Mutex<Overlay>,
    /// Something waits for the committer.
    wake: Condvar,
}

/// What was accepted and is not in the store yet. A newer record of a key is in `waiting`.
#[derive(Default)]
struct Overlay {
    waiting: Records,
    committing: Arc<Records>,
    flushes: Vec<Flush>,
    failed: Option<LedgerError>,
    closing: bool,
}

impl EmbeddedLedger {
    /// Opens or creates the database at `path`, with the directories above it.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        Self::grouped(Store::open(path)?)
            .map_err(|error| OpenError::Unusable { database: path.to_owned(), reason: error.to_string() })
    }

    fn grouped(store: Store) -> std::io::Result<Self> {
        let shared = Arc::new(Shared::new(store));
        let committing = Committing(Arc::clone(&shared));
        let committer = std::thread::Builder::new().name("ledger".into()).spawn(move || committing.run())?;
        Ok(Self { shared, committer: Some(committer) })
    }

    /// An empty ledger that ends with the process. It has no thread and needs no runtime, so that a simulation decides
    /// on every step.
    pub fn in_memory() -> Result<Self, OpenError> {
        let store =
            Store::in_memory().map_err(|reason| OpenError::Unusable { database: "(in memory)".into(), reason })?;
        Ok(Self { shared: Arc::new(Shared::new(store)), committer: None })
    }

    /// Returns when everything that was put before is on the disk.
    pub async fn flush(&self) -> Result<(), LedgerError> {
        if self.committer.is_none() {
            return Ok(());
        }
        let (answer, committed) = oneshot::channel();
        self.shared.usable()?.flushes.push(answer);
        self.shared.wake.notify_one();
        committed.await.unwrap_or_else(|_| Err(ended()))
    }

    /// Every record, sorted by its key.
    pub fn all(&self) -> Result<Vec<JobRecord>, LedgerError> {
        let overlay = self.shared.usable()?;
        let stored = self.shared.store.all()?;
        let mut records: Records = stored.into_iter().map(|record| (record.destination.clone(), record)).collect();
        for newer in [&*overlay.committing, &overlay.waiting] {
            records.extend(newer.iter().map(|(key, record)| (key.clone(), record.clone())));
        }
        Ok(records.into_values().collect())
    }
}

impl EmbeddedLedger {
    /// Takes the record for the next group; in memory, writes it.
    fn accept(&self, record: &JobRecord, expected: Expected) -> Result<JobRecord, LedgerError> {
        // Held from the look to the write, so that of two puts that expect the same only one succeeds.
        let mut overlay = self.shared.usable()?;
        if expected != Expected::Any {
            let held = self.shared.read(&overlay, &record.destination)?;
            if !expected.allows(held.map(|held| held.revision)) {
                return Err(LedgerError::Conflict);
            }
        }
        let written = next_revision(record);
        if self.committer.is_none() {
            self.shared.store.write([&written])?;
        } else {
            overlay.waiting.insert(written.destination.clone(), written.clone());
            self.shared.wake.notify_one();
        }
        Ok(written)
    }
}

impl Drop for EmbeddedLedger {
    fn drop(&mut self) {
        self.shared.locked().closing = true;
        self.shared.wake.notify_one();
        if let Some(committer) = self.committer.take() {
            let joined = committer.join();
            match (joined, &self.shared.locked().failed) {
                (Ok(()), None) => {}
                (Ok(()), Some(error)) => tracing::warn!(%error, "the ledger's last records were not committed"),
                (Err(_), _) => tracing::warn!("the ledger's writer panicked; its last records were not committed"),
            }
        }
    }
}

impl fmt::Debug for EmbeddedLedger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EmbeddedLedger").field("on_disk", &self.committer.is_some()).finish_non_exhaustive()
    }
}

#[async_trait::async_trait]
impl Ledger for EmbeddedLedger {
    async fn get(&self, key: &LedgerKey) -> Result<Option<JobRecord>, LedgerError> {
        self.shared.read(&*self.shared.usable()?, key)
    }

    async fn get_many(&self, keys: &[LedgerKey]) -> Result<Vec<Option<JobRecord>>, LedgerError> {
        let overlay = self.shared.usable()?;
        let mut records = self.shared.store.read(keys)?;
        for (key, record) in keys.iter().zip(&mut records) {
            if let Some(newer) = overlay.record(key) {
                *record = Some(newer.clone());
            }
        }
        Ok(records)
    }

    async fn put(&self, record: &JobRecord, expected: Expected) -> Result<JobRecord, LedgerError> {
        let written = self.accept(record, expected)?;
        if written.upload.is_some() {
            self.flush().await?;
        }
        Ok(written)
    }

    async fn rates(&self, key: &RateKey) -> Result<Rates, LedgerError> {
        self.shared.store.rates(key)
    }

    /// Committed at once: there are a few an hour.
    async fn put_rates(&self, rates: &Rates) -> Result<(), LedgerError> {
        drop(self.shared.usable()?);
        self.shared.store.write_rates(rates)
    }
}

impl Shared {
    fn new(store: Store) -> Self {
        Self { store, overlay: Mutex::default(), wake: Condvar::new() }
    }

    fn locked(&self) -> MutexGuard<'_, Overlay> {
        // No panic leaves the overlay half changed: each change of it is one assignment.
        self.overlay.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The overlay, unless a commit has failed.
    fn usable(&self) -> Result<MutexGuard<'_, Overlay>, LedgerError> {
        let overlay = self.locked();
        overlay.failed.clone().map_or(Ok(overlay), Err)
    }

    fn read(&self, overlay: &Overlay, key: &LedgerKey) -> Result<Option<JobRecord>, LedgerError> {
        match overlay.record(key) {
            Some(record) => Ok(Some(record.clone())),
            None => Ok(self.store.read([key])?.pop().flatten()),
        }
    }
}

impl Overlay {
    fn record(&self, key: &LedgerKey) -> Option<&JobRecord> {
        self.waiting.get(key).or_else(|| self.committing.get(key))
    }

    fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.flushes.is_empty() && !self.closing
    }

    fn is_group(&self) -> bool {
        self.waiting.len() >= GROUP_RECORDS || !self.flushes.is_empty() || self.closing
    }
}

/// The thread that commits.
struct Committing(Arc<Shared>);

impl Committing {
    /// Commits group after group, until the ledger is dropped or a commit fails.
    fn run(self) {
        while let Some((group, flushes)) = self.next_group() {
            let result = self.0.store.write(group.values());
            let mut overlay = self.0.locked();
            match &result {
                Ok(()) => overlay.committing = Arc::default(),
                Err(error) => overlay.failed = Some(error.clone()),
            }
            for flush in flushes {
                // Nobody listens if the flush was given up.
                let _ = flush.send(result.clone());
            }
            if result.is_err() {
                return;
            }
        }
    }

    /// Waits for records; `None` once the ledger is dropped and nothing waits.
    fn next_group(&self) -> Option<(Arc<Records>, Vec<Flush>)> {
        let mut overlay = self.0.locked();
        while overlay.is_idle() {
            overlay = self.0.wake.wait(overlay).unwrap_or_else(PoisonError::into_inner);
        }
        let until = Instant::now() + GROUP_WAIT;
        while !overlay.is_group() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            overlay = self.0.wake.wait_timeout(overlay, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        if overlay.waiting.is_empty() && overlay.flushes.is_empty() {
            return None;
        }
        overlay.committing = Arc::new(std::mem::take(&mut overlay.waiting));
        Some((Arc::clone(&overlay.committing), std::mem::take(&mut overlay.flushes)))
    }
}

impl Drop for Committing {
    /// However the thread ends, nobody waits for it, and no put is accepted that nobody would commit.
    fn drop(&mut self) {
        let mut overlay = self.0.locked();
        overlay.flushes.clear();
        if !overlay.closing {
            overlay.failed.get_or_insert_with(ended);
        }
    }
}

fn ended() -> LedgerError {
    LedgerError::Rejected("the embedded database's writer ended".into())
}

#[cfg(test)]
#[path = "embedded_tests.rs"]
mod tests;
