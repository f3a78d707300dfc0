//! A ledger that throttles and loses replies, and that watches what is written to it.

use crate::history::Version;
use crate::steps::Invocation;
use crate::weather::Weather;
use longhaul_aws::ledger::{EmbeddedLedger, Expected, Ledger, LedgerError};
use longhaul_core::job::JobRecord;
use longhaul_core::names::LedgerKey;
use longhaul_core::outcome::Status;
use longhaul_core::rate::{RateKey, Rates};
use std::fmt;
use std::sync::Arc;

/// See the module.
pub(crate) struct FaultyLedger {
    pub(crate) weather: Arc<Weather>,
    pub(crate) inner: EmbeddedLedger,
}

impl fmt::Debug for FaultyLedger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FaultyLedger")
    }
}

/// What goes wrong at the ledger.
enum Mishap {
    Before(LedgerError),
    After(LedgerError),
}

impl FaultyLedger {
    /// What goes wrong with this request. A function that dies here dies.
    async fn mishap(&self, what: &str) -> Option<Mishap> {
        let weather = &self.weather;
        if weather.strikes(weather.scenario.rates.kill)
            && let Some(invocation) = Invocation::current()
        {
            weather.say(Some(invocation.number), format!("ledger {what}: before it"));
            invocation.die(weather).await;
        }
        if !weather.strikes(weather.scenario.rates.ledger) {
            return None;
        }
        let mishap = match weather.dice.between(0, 3) {
            0 | 1 => Mishap::Before(LedgerError::Throttled("simulated".into())),
            2 => Mishap::Before(LedgerError::Transient("simulated".into())),
            _ => Mishap::After(LedgerError::Transient("the reply was lost".into())),
        };
        let told = match &mishap {
            Mishap::Before(error) | Mishap::After(error) => error.to_string(),
        };
        weather.say(Invocation::number(), format!("ledger {what}: {told}"));
        Some(mishap)
    }

    /// Notes what a record says that was written.
    fn watch(&self, record: &JobRecord) {
        let weather = &self.weather;
        let key = &record.source_key;
        let upload = record.upload.as_ref().map(|upload| upload.upload_id.as_str());
        weather.say(
            Invocation::number(),
            format!(
                "ledger {key:?} revision {} {} {}{}{} by {}",
                record.revision,
                record.status.as_str(),
                record.failure.as_ref().map_or("", |failure| failure.name.as_str()),
                upload.map_or(String::new(), |id| format!(" upload {}", crate::weather::short(id))),
                record.destination_etag.as_ref().map_or(String::new(), |etag| format!(" there {etag}")),
                record.execution,
            ),
        );
        let mut history = weather.history();
        if let Some(upload) = upload
            && let Some(known) = history.uploads.get_mut(upload)
        {
            known.known = true;
        }
        if let (Status::Migrated | Status::Unchanged, Some(source), Some(etag)) =
            (record.status, &record.source, &record.destination_etag)
        {
            let Some(known) = history.keys.get(key) else { return };
            // An ETag may stand for several versions, where they have the same bytes.
            let told = known.written.iter().any(|(written, content)| {
                let of = |version: &Version| version.etag == source.etag.as_str() && version.content == content;
                *written == etag.as_str() && known.versions.iter().any(of)
            });
            if !told {
                let said = format!(
                    "{key:?} is {} with source {} and destination {etag}, which was never written from it",
                    record.status.as_str(),
                    source.etag
                );
                history.violated("outcome-is-true", said);
            }
        }
    }
}

#[async_trait::async_trait]
impl Ledger for FaultyLedger {
    async fn get(&self, key: &LedgerKey) -> Result<Option<JobRecord>, LedgerError> {
        match self.mishap("get").await {
            Some(Mishap::Before(error) | Mishap::After(error)) => Err(error),
            None => self.inner.get(key).await,
        }
    }

    async fn get_many(&self, keys: &[LedgerKey]) -> Result<Vec<Option<JobRecord>>, LedgerError> {
        match self.mishap("get many").await {
            Some(Mishap::Before(error) | Mishap::After(error)) => Err(error),
            None => self.inner.get_many(keys).await,
        }
    }

    async fn put(&self, record: &JobRecord, expected: Expected) -> Result<JobRecord, LedgerError> {
        let mishap = self.mishap("put").await;
        if let Some(Mishap::Before(error)) = mishap {
            return Err(error);
        }
        let written = self.inner.put(record, expected).await;
        match &written {
            Ok(written) => self.watch(written),
            Err(error) => {
                self.weather.say(Invocation::number(), format!("ledger {:?}: {error}", record.source_key));
            }
        }
        if self.weather.strikes(self.weather.scenario.rates.kill)
            && let Some(invocation) = Invocation::current()
        {
            invocation.die(&self.weather).await;
        }
        match mishap {
            Some(Mishap::After(error)) => Err(error),
            _ => written,
        }
    }

    async fn rates(&self, key: &RateKey) -> Result<Rates, LedgerError> {
        match self.mishap("rates").await {
            Some(Mishap::Before(error) | Mishap::After(error)) => Err(error),
            None => self.inner.rates(key).await,
        }
    }

    async fn put_rates(&self, rates: &Rates) -> Result<(), LedgerError> {
        let mishap = self.mishap("put rates").await;
        if let Some(Mishap::Before(error)) = mishap {
            return Err(error);
        }
        let written = self.inner.put_rates(rates).await;
        match mishap {
            Some(Mishap::After(error)) => Err(error),
            _ => written,
        }
    }
}
