//! What two listings do not tell: asked of the ledger, or of both sides, many at once.

use super::compare::Offer;
use crate::clients::Clients;
use crate::destination::Destination;
use crate::error::StepError;
use crate::ledger::LedgerError;
use crate::outcomes::ledger_key;
use crate::source::Source;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use longhaul_core::backfill::counts::Counts;
use longhaul_core::config::Route;
use longhaul_core::etag::ETag;
use longhaul_core::integrity::proof;
use longhaul_core::job::JobRecord;
use longhaul_core::names::LedgerKey;
use std::time::Duration;
use tokio::sync::OnceCell;
use tokio::time::sleep;

/// Objects whose checksums are asked for at once.
const HEADS_AT_ONCE: usize = 32;
/// Tries of a question to the ledger.
const TRIES: u32 = 5;

/// A source object that is migrated unless the answer is yes.
pub(super) struct Ask {
    pub(super) offer: Offer,
    pub(super) size: u64,
    pub(super) question: Question,
}

/// Whether both sides hold the same.
pub(super) enum Question {
    /// Does the ledger pair the source's ETag with this one of the destination?
    Ledger(ETag),
    /// Are the checksums equal?
    Checksums,
}

/// Answers questions of one route.
pub(super) struct Answers<'a> {
    clients: &'a Clients,
    route: &'a Route,
    sides: OnceCell<(Source, Destination)>,
}

impl<'a> Answers<'a> {
    /// Most questions at once: what two reads of the ledger take.
    pub(super) const MOST: usize = 200;

    pub(super) fn new(clients: &'a Clients, route: &'a Route) -> Self {
        Self { clients, route, sides: OnceCell::new() }
    }

    /// The answers, in the order of the questions; true if both sides hold the same.
    pub(super) async fn of(
        &self,
        asks: impl Iterator<Item = &Ask>,
        counts: &mut Counts,
    ) -> Result<Vec<bool>, StepError> {
        let asks: Vec<&Ask> = asks.collect();
        let mut keys = Vec::new();
        for ask in &asks {
            if let Question::Ledger(_) = ask.question {
                keys.push(ledger_key(self.route, &ask.offer.object.key)?);
            }
        }
        let mut records = Vec::new();
        if !keys.is_empty() {
            records = self.records(&keys).await?;
            counts.ledger_reads += keys.len() as u64;
        }
        let mut records = records.into_iter();
        let mut looks = Vec::new();
        let mut answers = Vec::with_capacity(asks.len());
        for (index, ask) in asks.iter().enumerate() {
            answers.push(match &ask.question {
                Question::Ledger(etag) => {
                    let record = records.next().flatten();
                    let source = ask.offer.object.etag.as_ref();
                    record.zip(source).is_some_and(|(record, source)| record.pairs(source, etag))
                }
                Question::Checksums => {
                    looks.push((index, ask.offer.object.key.as_str()));
                    false
                }
            });
        }
        counts.heads += 2 * looks.len() as u64;
        let looks: Vec<_> = looks
            .into_iter()
            .map(|(index, key)| async move { Ok::<_, StepError>((index, self.same(key).await?)) })
            .collect();
        let looked: Vec<(usize, bool)> = stream::iter(looks).buffer_unordered(HEADS_AT_ONCE).try_collect().await?;
        for (index, same) in looked {
            answers[index] = same;
        }
        Ok(answers)
    }

    async fn records(&self, keys: &[LedgerKey]) -> Result<Vec<Option<JobRecord>>, StepError> {
        let mut tries = 1;
        loop {
            match self.clients.ledger.get_many(keys).await {
                Err(LedgerError::Throttled(_) | LedgerError::Transient(_)) if tries < TRIES => {
                    sleep(Duration::from_millis(250 << tries)).await;
                    tries += 1;
                }
                other => return Ok(other?),
            }
        }
    }

    /// Looks at both sides, at the destination first (SEMANTICS.md, rule 2).
    async fn same(&self, key: &str) -> Result<bool, StepError> {
        let (source, destination) = self.sides.get_or_try_init(|| self.connect()).await?;
        let stands = destination.head(&self.route.destination_key(key)?).await;
        let looked = match stands {
            Ok(None) => return Ok(false),
            Ok(Some(stands)) => source.head(key, None).await.map(|look| proof(&look.facts(), &stands, false)),
            Err(error) => Err(error),
        };
        match looked {
            Ok(proof) => Ok(proof.is_some()),
            Err(error) if error.name.is_retryable() || error.keys_refused => Err(error),
            Err(error) => {
                // What a look at one object says is for `migrate` to find and to report.
                tracing::debug!(%error, key, "not compared");
                Ok(false)
            }
        }
    }

    async fn connect(&self) -> Result<(Source, Destination), StepError> {
        let source = Source::connect(self.clients, &self.route.source).await?;
        Ok((source, Destination::connect(self.clients, &self.route.destination).await?))
    }
}
