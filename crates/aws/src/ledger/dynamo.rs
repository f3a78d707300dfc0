//! The ledger in a DynamoDB table.

use super::item::{self, Item};
use super::refusal::classify;
use super::{Expected, Ledger, LedgerError, next_rates, next_revision};
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::types::{AttributeValue, KeysAndAttributes, ReturnValuesOnConditionCheckFailure};
use futures::{StreamExt as _, TryStreamExt as _};
use longhaul_core::job::JobRecord;
use longhaul_core::names::LedgerKey;
use longhaul_core::rate::{RateKey, Rates};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

/// Most keys of one `BatchGetItem`:
/// <https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchGetItem.html>
const KEYS_PER_READ: usize = 100;
/// Reads of 100 keys that are in flight at once.
const READS_AT_ONCE: usize = 4;
/// How often one read is sent while the table leaves keys unprocessed; with the pauses about six seconds.
const READ_ATTEMPTS: u32 = 8;
/// The first pause between two of them; each next one is twice as long, up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// The longest pause between two of them.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// The ledger in a DynamoDB table whose partition key is the text attribute `destination`. Every read is consistent.
pub struct DynamoLedger {
    client: Client,
    table: String,
    first_pause: Duration,
}

impl DynamoLedger {
    /// A ledger in `table`, which must exist.
    pub fn new(client: Client, table: String) -> Self {
        Self { client, table, first_pause: FIRST_PAUSE }
    }

    /// A ledger in `table`, in the account and Region of `shared`.
    pub fn connect(shared: &aws_config::SdkConfig, table: String) -> Self {
        Self::new(Client::new(shared), table)
    }

    /// The records of at most [`KEYS_PER_READ`] different keys.
    async fn read(&self, keys: Vec<&LedgerKey>) -> Result<Vec<JobRecord>, LedgerError> {
        let mut wanted = keys.into_iter().map(item::key_of).collect::<Vec<_>>();
        let mut records = Vec::new();
        let mut pause = self.first_pause;
        for attempt in 1..=READ_ATTEMPTS {
            let asked = KeysAndAttributes::builder().set_keys(Some(wanted)).consistent_read(true).build();
            let asked = asked.map_err(|error| LedgerError::Rejected(error.to_string()))?;
            let read = self.client.batch_get_item().request_items(&self.table, asked);
            let answer = read.send().await.map_err(|error| classify(&error))?;
            for item in answer.responses.unwrap_or_default().into_values().flatten() {
                records.push(item::decode(&item)?);
            }
            wanted = answer.unprocessed_keys.unwrap_or_default().into_values().flat_map(|left| left.keys).collect();
            if wanted.is_empty() {
                return Ok(records);
            }
            if attempt < READ_ATTEMPTS {
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
        Err(LedgerError::Throttled(format!("{} keys were left unprocessed", wanted.len())))
    }

    async fn item(&self, key: Item) -> Result<Option<Item>, LedgerError> {
        let read = self.client.get_item().table_name(&self.table).set_key(Some(key));
        let answer = read.consistent_read(true).send().await.map_err(|error| classify(&error))?;
        Ok(answer.item)
    }
}

impl fmt::Debug for DynamoLedger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DynamoLedger").field("table", &self.table).finish_non_exhaustive()
    }
}

#[async_trait::async_trait]
impl Ledger for DynamoLedger {
    async fn get(&self, key: &LedgerKey) -> Result<Option<JobRecord>, LedgerError> {
        self.item(item::key_of(key)).await?.as_ref().map(item::decode).transpose()
    }

    async fn get_many(&self, keys: &[LedgerKey]) -> Result<Vec<Option<JobRecord>>, LedgerError> {
        // BatchGetItem refuses a key that comes twice.
        let different = keys.iter().collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>();
        let reads = different.chunks(KEYS_PER_READ).map(|some| self.read(some.to_vec())).collect::<Vec<_>>();
        let read: Vec<_> = futures::stream::iter(reads).buffered(READS_AT_ONCE).try_collect().await?;
        let found = read.into_iter().flatten().map(|record| (record.destination.clone(), record));
        let found = found.collect::<BTreeMap<_, _>>();
        Ok(keys.iter().map(|key| found.get(key).cloned()).collect())
    }

    async fn put(&self, record: &JobRecord, expected: Expected) -> Result<JobRecord, LedgerError> {
        let written = next_revision(record);
        let item = item::encode(&written)?;
        let mut write = self.client.put_item().table_name(&self.table).set_item(Some(item.clone()));
        match expected {
            Expected::Any => {}
            Expected::Absent => {
                write = write.condition_expression("attribute_not_exists(#key)");
                write = write.expression_attribute_names("#key", item::KEY);
            }
            Expected::Revision(revision) => {
                write = write.condition_expression("#revision = :revision");
                write = write.expression_attribute_names("#revision", item::REVISION);
                write = write.expression_attribute_values(":revision", AttributeValue::N(revision.to_string()));
            }
        }
        let write = write.return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        let Err(error) = write.send().await else { return Ok(written) };
        let Some(PutItemError::ConditionalCheckFailedException(refusal)) = error.as_service_error() else {
            return Err(classify(&error));
        };
        // After a lost reply the SDK sends the write again, and the write itself then breaks its condition. An item
        // that is byte for byte ours is our success.
        let held = match refusal.item() {
            Some(held) => Some(held.clone()),
            None => self.item(item::key_of(&written.destination)).await?,
        };
        match held {
            Some(held) if item::json(&held) == item::json(&item) => Ok(written),
            _ => Err(LedgerError::Conflict),
        }
    }

    async fn rates(&self, key: &RateKey) -> Result<Rates, LedgerError> {
        match self.item(item::rate_key_of(key)).await? {
            Some(item) => item::decode_rates(&item),
            None => Ok(Rates::none(key.clone())),
        }
    }

    async fn put_rates(&self, rates: &Rates) -> Result<(), LedgerError> {
        let item = item::encode_rates(&next_rates(rates))?;
        let write = self.client.put_item().table_name(&self.table).set_item(Some(item));
        let write = match rates.revision {
            0 => write.condition_expression("attribute_not_exists(#key)").expression_attribute_names("#key", item::KEY),
            revision => write
                .condition_expression("#revision = :revision")
                .expression_attribute_names("#revision", item::REVISION)
                .expression_attribute_values(":revision", AttributeValue::N(revision.to_string())),
        };
        let Err(error) = write.send().await else { return Ok(()) };
        match error.as_service_error() {
            Some(PutItemError::ConditionalCheckFailedException(_)) => Err(LedgerError::Conflict),
            _ => Err(classify(&error)),
        }
    }
}

#[cfg(test)]
#[path = "dynamo_tests.rs"]
mod tests;
