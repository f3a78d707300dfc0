//! The ledger: one record for each destination object, and one for the rates of each route.
//!
//! It saves work; no guarantee about the destination rests on it. Losing it costs looks and copies, never an object.

mod dynamo;
mod embedded;
mod item;
mod place;
mod refusal;
mod store;

pub use dynamo::DynamoLedger;
pub use embedded::EmbeddedLedger;
pub use place::default_path;
pub use store::OpenError;

use longhaul_core::job::JobRecord;
use longhaul_core::names::LedgerKey;
use longhaul_core::rate::{RateKey, Rates};
use serde::Serialize;
use std::fmt;

/// Why the ledger did not do what was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LedgerError {
    /// The record is not the one that the write expected: somebody else was faster.
    Conflict,
    /// The table asks for fewer requests.
    Throttled(String),
    /// The same request may succeed later.
    Transient(String),
    /// Repeating the request cannot help.
    Rejected(String),
}

impl fmt::Display for LedgerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Conflict => f.write_str("the ledger's record was changed by somebody else"),
            Self::Throttled(text) => write!(f, "the ledger is throttled: {text}"),
            Self::Transient(text) => write!(f, "the ledger did not answer: {text}"),
            Self::Rejected(text) => write!(f, "the ledger refused: {text}"),
        }
    }
}

impl std::error::Error for LedgerError {}

/// What a write expects to find.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// Anything or nothing. The revision written is still the given record's plus one, so that a write upon it that
    /// expects a [`Expected::Revision`] of an older record may pass.
    Any,
    /// No record.
    Absent,
    /// The record of this revision.
    Revision(u64),
}

impl Expected {
    /// True if a store that holds a record of revision `held` is what the write expected.
    fn allows(self, held: Option<u64>) -> bool {
        match self {
            Self::Any => true,
            Self::Absent => held.is_none(),
            Self::Revision(revision) => held == Some(revision),
        }
    }
}

/// `record` as the next write stores it.
fn next_revision(record: &JobRecord) -> JobRecord {
    JobRecord { revision: record.revision + 1, ..record.clone() }
}

fn next_rates(rates: &Rates) -> Rates {
    Rates { revision: rates.revision + 1, ..rates.clone() }
}

/// A record, or rates, as they are stored.
fn json_of(stored: &impl Serialize) -> Result<String, LedgerError> {
    serde_json::to_string(stored)
        .map_err(|error| LedgerError::Rejected(format!("a record cannot be written as JSON: {error}")))
}

/// The store of records. Reads see every write that was acknowledged before.
#[async_trait::async_trait]
pub trait Ledger: Send + Sync + fmt::Debug {
    /// The record of `key`.
    async fn get(&self, key: &LedgerKey) -> Result<Option<JobRecord>, LedgerError>;

    /// The records of `keys`, in their order. Repeated keys are allowed.
    async fn get_many(&self, keys: &[LedgerKey]) -> Result<Vec<Option<JobRecord>>, LedgerError>;

    /// Writes `record` with its revision raised by one, if the store holds what is `expected`; returns the record as
    /// written. [`LedgerError::Conflict`] if it does not.
    ///
    /// Of two writers that expect the same, at most one succeeds, unless both write the very same record: then both may
    /// be told so, since a store cannot tell the second from a repetition of the first. Records name their execution.
    async fn put(&self, record: &JobRecord, expected: Expected) -> Result<JobRecord, LedgerError>;

    /// What connections of a route carried lately; [`Rates::none`] where nothing is known.
    async fn rates(&self, key: &RateKey) -> Result<Rates, LedgerError>;

    /// Writes `rates` with their revision raised by one, if the store still holds the revision that they were made
    /// from; [`LedgerError::Conflict`] if it does not. Of twins one is written, and nothing is lost by the other.
    async fn put_rates(&self, rates: &Rates) -> Result<(), LedgerError>;
}
