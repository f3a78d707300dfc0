//! What an S3 Inventory in CSV says.
//! <https://docs.aws.amazon.com/AmazonS3/latest/userguide/storage-inventory-location.html>

use super::rows::TableRow;
use super::{Listed, known_key};
use crate::etag::ETag;
use crate::request::ObjectRef;
use percent_encoding::percent_decode_str;
use serde::Deserialize;

/// Longest `manifest.json` that is read, in bytes: two hundred thousand data objects, each of a million rows or so.
pub const MANIFEST_MAX_BYTES: usize = 64 * 1024 * 1024;

/// The `manifest.json` of an inventory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inventory {
    /// The columns of its data objects.
    pub columns: Columns,
    /// The keys of its data objects, in the bucket that holds the manifest.
    pub objects: Vec<String>,
}

/// Where the columns stand that are read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Columns {
    key: usize,
    bucket: Option<usize>,
    is_latest: Option<usize>,
    is_delete_marker: Option<usize>,
    size: Option<usize>,
    modified: Option<usize>,
    etag: Option<usize>,
    storage_class: Option<usize>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Manifest {
    source_bucket: String,
    file_format: String,
    file_schema: String,
    files: Vec<DataObject>,
}

#[derive(Deserialize)]
struct DataObject {
    key: String,
}

impl Inventory {
    /// Reads a `manifest.json`. The error says why it is none of `bucket` in CSV.
    pub fn parse(json: &[u8], bucket: &str) -> Result<Self, String> {
        let manifest: Manifest =
            serde_json::from_slice(json).map_err(|error| format!("no manifest.json of an S3 Inventory: {error}"))?;
        let Manifest { source_bucket, file_format, file_schema, files } = manifest;
        if source_bucket != bucket {
            return Err(format!("an inventory of bucket {source_bucket:?}, and the route's source is {bucket:?}"));
        }
        if !file_format.eq_ignore_ascii_case("CSV") {
            return Err(format!(
                "an inventory in {file_format}: ORC and Parquet are not read. Set the output format of the bucket's \
                 inventory configuration to CSV and take the next report, or write the keys as CSV with a query"
            ));
        }
        let names: Vec<&str> = file_schema.split(',').map(str::trim).collect();
        let place = |name: &str| names.iter().position(|found| found.eq_ignore_ascii_case(name));
        let key = place("Key").ok_or_else(|| format!("an inventory without the column Key: {file_schema:?}"))?;
        let columns = Columns {
            key,
            bucket: place("Bucket"),
            is_latest: place("IsLatest"),
            is_delete_marker: place("IsDeleteMarker"),
            size: place("Size"),
            modified: place("LastModifiedDate"),
            etag: place("ETag"),
            storage_class: place("StorageClass"),
        };
        Ok(Self { columns, objects: files.into_iter().map(|object| object.key).collect() })
    }
}

impl Columns {
    /// The object of a row; `None` for what is not current.
    pub(super) fn read(&self, row: &TableRow<'_>, bucket: &str) -> Result<Option<Listed>, String> {
        let field = |column: Option<usize>| column.map(|index| row.field(index)).transpose();
        if let Some(found) = field(self.bucket)?
            && found != bucket
        {
            return Err(format!("bucket {found:?} is not the route's source {bucket:?}"));
        }
        let says = |column, wanted: bool| -> Result<bool, String> {
            match field(column)? {
                // Empty, or no such column: every row is current.
                None | Some("") => Ok(false),
                Some(text) if text.eq_ignore_ascii_case("true") => Ok(wanted),
                Some(text) if text.eq_ignore_ascii_case("false") => Ok(!wanted),
                Some(other) => Err(format!("{other:?} is neither true nor false")),
            }
        };
        if says(self.is_latest, false)? || says(self.is_delete_marker, true)? {
            return Ok(None);
        }
        let text = |column| Ok::<_, String>(field(column)?.filter(|text| !text.is_empty()));
        let size = |text: &str| text.parse::<u64>().map_err(|_| format!("{text:?} is no size"));
        let object = ObjectRef {
            bucket: bucket.to_owned(),
            key: decoded(row.field(self.key)?)?,
            size: text(self.size)?.map(size).transpose()?,
            etag: text(self.etag)?.map(ETag::new),
            ..ObjectRef::default()
        };
        let modified = text(self.modified)?.map(seconds_of).transpose()?;
        Ok(Some(Listed { object, modified, storage_class: text(self.storage_class)?.map(str::to_owned) }))
    }
}

/// A key as an inventory in CSV writes it: encoded as in a form, so that a plus sign is a space.
fn decoded(text: &str) -> Result<String, String> {
    let plain = text.replace('+', " ");
    let key =
        percent_decode_str(&plain).decode_utf8().map_err(|_| format!("key {text:?} is not UTF-8 once decoded"))?;
    known_key(&key)
}

/// Seconds since 1970 of a time such as `2021-03-04T05:06:07.000Z` or `2021-03-04T05:06:07+00:00`.
pub(super) fn seconds_of(text: &str) -> Result<i64, String> {
    parsed(text).ok_or_else(|| format!("{text:?} is no time such as 2021-03-04T05:06:07Z"))
}

fn parsed(text: &str) -> Option<i64> {
    let (date, rest) = (text.get(..10)?, text.get(10..)?);
    let clock = rest.strip_prefix(['T', 't', ' '])?;
    let (clock, zone) = clock.split_at(clock.find(['Z', 'z', '+', '-'])?);
    let whole = clock.split_once('.').map_or(clock, |(whole, _)| whole);
    let [year, month, day] = numbers(date, '-')?;
    let [hour, minute, second] = numbers(whole, ':')?;
    let within = (1..=12).contains(&month) && (1..=31).contains(&day) && hour < 24 && minute < 60 && second <= 60;
    let offset = match zone {
        "Z" | "z" => 0,
        _ => {
            let [hours, minutes] = numbers(zone.get(1..)?, ':')?;
            let seconds = hours * 3_600 + minutes * 60;
            if zone.starts_with('-') { -seconds } else { seconds }
        }
    };
    within.then(|| days_since_1970(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second - offset)
}

fn numbers<const N: usize>(text: &str, separator: char) -> Option<[i64; N]> {
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten();
    let all: Vec<i64> = text.split(separator).map(digits).collect::<Option<_>>()?;
    all.try_into().ok()
}

/// Days of the Gregorian calendar. The year is taken to begin in March, so that the leap day is its last.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let before = 365 * year + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    // 719,469 days lie between the first of March of the year 0 and 1970.
    before + (153 * month + 2) / 5 + day - 719_469
}
