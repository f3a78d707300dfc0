//! Records in a redb database.

use super::{LedgerError, json_of, next_rates};
use longhaul_core::job::JobRecord;
use longhaul_core::names::LedgerKey;
use longhaul_core::rate::{RateKey, Rates};
use redb::backends::InMemoryBackend;
use redb::{
    Builder, Database, DatabaseError, ReadableDatabase as _, ReadableTable as _, StorageBackend, TableDefinition,
};
use serde::de::DeserializeOwned;
use std::fmt;
use std::path::{Path, PathBuf};

/// Ledger key -> the record as JSON.
const RECORDS: TableDefinition<'static, &str, &[u8]> = TableDefinition::new("records");
/// Key of a route's rates -> the rates as JSON.
const RATES: TableDefinition<'static, &str, &[u8]> = TableDefinition::new("rates");

/// Memory for pages of the database, in bytes. redb's own default is 1 GiB.
const CACHE_BYTES: usize = 16 << 20;

/// Why an embedded ledger cannot be opened.
#[derive(Debug)]
pub enum OpenError {
    /// Another process, or this one, has the database open.
    InUse(PathBuf),
    /// It cannot be created, read or written.
    Unusable {
        /// Which database.
        database: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InUse(database) => {
                write!(f, "the ledger {} is in use by another run of these two sides", database.display())
            }
            Self::Unusable { database, reason } => write!(f, "the ledger {}: {reason}", database.display()),
        }
    }
}

impl std::error::Error for OpenError {}

/// A database of records. A commit is on the disk when [`Store::write`] returns.
pub(super) struct Store(Database);

impl Store {
    /// Opens or creates the database at `place`, with the directories above it. redb locks it against every other
    /// opening, in this process and in others, where the file system has locks.
    pub(super) fn open(place: &Path) -> Result<Self, OpenError> {
        let unusable = |reason: String| OpenError::Unusable { database: place.to_owned(), reason };
        if let Some(above) = place.parent() {
            std::fs::create_dir_all(above).map_err(|error| unusable(error.to_string()))?;
        }
        match Builder::new().set_cache_size(CACHE_BYTES).create(place) {
            Ok(database) => Self::prepared(database).map_err(unusable),
            Err(DatabaseError::DatabaseAlreadyOpen | DatabaseError::LockProtocolMismatch) => {
                Err(OpenError::InUse(place.to_owned()))
            }
            Err(error) => Err(unusable(error.to_string())),
        }
    }

    /// An empty database without a disk.
    pub(super) fn in_memory() -> Result<Self, String> {
        Self::over(InMemoryBackend::new())
    }

    /// A database on whatever keeps bytes.
    pub(super) fn over(backend: impl StorageBackend) -> Result<Self, String> {
        let database = Builder::new().set_cache_size(CACHE_BYTES).create_with_backend(backend);
        database.map_err(|error| error.to_string()).and_then(Self::prepared)
    }

    /// Creates the tables: a read of a table that no write has made is an error.
    fn prepared(database: Database) -> Result<Self, String> {
        let create = || {
            let transaction = database.begin_write().map_err(broken)?;
            transaction.open_table(RECORDS).map_err(broken)?;
            transaction.open_table(RATES).map_err(broken)?;
            transaction.commit().map_err(broken)
        };
        create().map_err(|error: LedgerError| error.to_string())?;
        Ok(Self(database))
    }

    /// The records of `keys`, in their order, all of one moment.
    pub(super) fn read<'a>(
        &self,
        keys: impl IntoIterator<Item = &'a LedgerKey>,
    ) -> Result<Vec<Option<JobRecord>>, LedgerError> {
        let table = self.0.begin_read().map_err(broken)?.open_table(RECORDS).map_err(broken)?;
        let read = |key: &LedgerKey| match table.get(key.as_str()).map_err(broken)? {
            Some(json) => decode(json.value()).map(Some),
            None => Ok(None),
        };
        keys.into_iter().map(read).collect()
    }

    /// Every record, sorted by its key.
    pub(super) fn all(&self) -> Result<Vec<JobRecord>, LedgerError> {
        let table = self.0.begin_read().map_err(broken)?.open_table(RECORDS).map_err(broken)?;
        let entries = table.iter().map_err(broken)?;
        entries.map(|entry| decode(entry.map_err(broken)?.1.value())).collect()
    }

    /// Writes all of `records` or none.
    pub(super) fn write<'a>(&self, records: impl IntoIterator<Item = &'a JobRecord>) -> Result<(), LedgerError> {
        let transaction = self.0.begin_write().map_err(broken)?;
        {
            let mut table = transaction.open_table(RECORDS).map_err(broken)?;
            for record in records {
                table.insert(record.destination.as_str(), json_of(record)?.as_bytes()).map_err(broken)?;
            }
        }
        transaction.commit().map_err(broken)
    }

    /// The rates of a route.
    pub(super) fn rates(&self, key: &RateKey) -> Result<Rates, LedgerError> {
        let table = self.0.begin_read().map_err(broken)?.open_table(RATES).map_err(broken)?;
        let found = table.get(key.as_str()).map_err(broken)?;
        found.map_or_else(|| Ok(Rates::none(key.clone())), |json| decode(json.value()))
    }

    /// Writes the rates of a route, if the revision held is the one they were made from. One writer at a time: redb
    /// lets no second begin.
    pub(super) fn write_rates(&self, rates: &Rates) -> Result<(), LedgerError> {
        let json = json_of(&next_rates(rates))?;
        let transaction = self.0.begin_write().map_err(broken)?;
        {
            let mut table = transaction.open_table(RATES).map_err(broken)?;
            let held = match table.get(rates.key.as_str()).map_err(broken)? {
                Some(json) => decode::<Rates>(json.value())?.revision,
                None => 0,
            };
            if held != rates.revision {
                return Err(LedgerError::Conflict);
            }
            table.insert(rates.key.as_str(), json.as_bytes()).map_err(broken)?;
        }
        transaction.commit().map_err(broken)
    }
}

fn decode<T: DeserializeOwned>(json: &[u8]) -> Result<T, LedgerError> {
    serde_json::from_slice(json).map_err(|error| LedgerError::Rejected(format!("a record cannot be read: {error}")))
}

/// Rejected, whatever it is: after an error of the disk redb refuses everything until the database is opened again.
fn broken(error: impl Into<redb::Error>) -> LedgerError {
    LedgerError::Rejected(format!("the embedded database: {}", error.into()))
}
