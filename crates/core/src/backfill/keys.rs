//! Lists of keys: the entries of a text that arrives in pieces.
//!
//! A row that cannot be read is an error with its line, never left out. A key that a list names twice is offered twice,
//! which is harmless: what is copied is what is current, and the second finds it unchanged.

pub mod inventory;
mod rows;

use self::inventory::Columns;
use self::rows::{Lines, Table};
use crate::config::{KEY_MAX_BYTES, Route};
use crate::etag::ETag;
use crate::request::ObjectRef;
use serde::Deserialize;

/// Longest row, in bytes: a key of 1,024 bytes, every one of them escaped, and what stands beside it.
pub const ROW_MAX_BYTES: usize = 64 * 1024;

/// An entry of a list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listed {
    /// The object, in the bucket of the route's source.
    pub object: ObjectRef,
    /// When it was last modified, in seconds since 1970, where the list says.
    pub modified: Option<i64>,
    /// Its storage class, where the list says.
    pub storage_class: Option<String>,
}

/// A row of a list, or that there is none yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Row {
    /// An object.
    Entry(Box<Listed>),
    /// A row of an inventory that is none of the route's: another prefix, an older version, a delete marker.
    Passed,
    /// More of the text is needed, or it has ended.
    More,
}

/// A row that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrongRow {
    /// Its line in the text, from 1.
    pub line: u64,
    /// What is wrong with it.
    pub told: String,
}

impl std::fmt::Display for WrongRow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "line {}: {}", self.line, self.told)
    }
}

impl std::error::Error for WrongRow {}

/// Reads the rows of one text. Holds one piece of it and one row.
#[derive(Debug)]
pub struct Rows {
    form: Form,
    bucket: String,
    prefix: String,
}

#[derive(Debug)]
enum Form {
    /// The key is the first column. A first row that says `key` there is a header.
    Csv(Box<Table>),
    JsonLines(Lines),
    Inventory(Box<Table>, Columns),
}

impl Rows {
    /// Keys of the route's source, one a line, or the first column of CSV. Percent signs are characters as any other.
    pub fn csv(route: &Route) -> Self {
        Self::of(route, Form::Csv(Box::default()))
    }

    /// A JSON document a line: a key, or an object with `key` and perhaps `bucket`, `size`, `etag` and `lastModified`
    /// (or `Key`, `Size`, `ETag` and `LastModified`, as the AWS CLI writes them). Other fields are not read.
    pub fn json_lines(route: &Route) -> Self {
        Self::of(route, Form::JsonLines(Lines::default()))
    }

    /// A data object of an S3 Inventory.
    pub fn inventory(route: &Route, columns: Columns) -> Self {
        Self::of(route, Form::Inventory(Box::default(), columns))
    }

    fn of(route: &Route, form: Form) -> Self {
        Self { form, bucket: route.source.bucket.clone(), prefix: route.source.prefix.clone() }
    }

    /// The next piece of the text. To be called when [`Self::next`] answers [`Row::More`].
    pub fn feed(&mut self, bytes: &[u8]) {
        match &mut self.form {
            Form::Csv(table) | Form::Inventory(table, _) => table.feed(bytes),
            Form::JsonLines(lines) => lines.feed(bytes),
        }
    }

    /// The text has come to its end: a last row without a line's end is one, too.
    pub fn end(&mut self) {
        match &mut self.form {
            Form::Csv(table) | Form::Inventory(table, _) => table.end(),
            Form::JsonLines(lines) => lines.end(),
        }
    }

    /// The next row.
    #[expect(clippy::should_implement_trait, reason = "`More` is no end")]
    pub fn next(&mut self) -> Result<Row, WrongRow> {
        loop {
            let (line, listed) = match &mut self.form {
                Form::Csv(table) => {
                    let Some(row) = table.next()? else { return Ok(Row::More) };
                    let key = row.field(0).and_then(known_key);
                    let is_header = row.number == 0 && key.as_deref() == Ok("key");
                    if is_header {
                        continue;
                    }
                    (row.line, key.map(|key| Some(self.listed(key, None))))
                }
                Form::JsonLines(lines) => {
                    let Some((line, text)) = lines.next()? else { return Ok(Row::More) };
                    let object = json_line(text);
                    (line, object.and_then(|object| self.of_json(object).map(Some)))
                }
                Form::Inventory(table, columns) => {
                    let Some(row) = table.next()? else { return Ok(Row::More) };
                    (row.line, columns.read(&row, &self.bucket))
                }
            };
            let wrong = |told: String| WrongRow { line, told };
            let Some(listed) = listed.map_err(wrong)? else { return Ok(Row::Passed) };
            if listed.object.key.starts_with(&self.prefix) {
                return Ok(Row::Entry(Box::new(listed)));
            }
            if matches!(self.form, Form::Inventory(..)) {
                return Ok(Row::Passed);
            }
            let told = format!("key {:?} is not under the route's source prefix {:?}", listed.object.key, self.prefix);
            return Err(wrong(told));
        }
    }

    fn listed(&self, key: String, size: Option<u64>) -> Listed {
        let object = ObjectRef { bucket: self.bucket.clone(), key, size, ..ObjectRef::default() };
        Listed { object, ..Listed::default() }
    }

    fn of_json(&self, line: JsonLine) -> Result<Listed, String> {
        let JsonLine { key, bucket, size, etag, last_modified } = line;
        if let Some(bucket) = bucket.filter(|bucket| *bucket != self.bucket) {
            return Err(format!("bucket {bucket:?} is not the route's source {:?}", self.bucket));
        }
        let modified = last_modified.as_deref().map(inventory::seconds_of).transpose()?;
        let mut listed = self.listed(known_key(&key)?, size);
        listed.object.etag = etag.as_deref().map(ETag::new);
        Ok(Listed { modified, ..listed })
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct JsonLine {
    #[serde(alias = "Key")]
    key: String,
    #[serde(alias = "Bucket")]
    bucket: Option<String>,
    #[serde(alias = "Size")]
    size: Option<u64>,
    #[serde(alias = "ETag", alias = "eTag")]
    etag: Option<String>,
    #[serde(alias = "LastModified")]
    last_modified: Option<String>,
}

fn json_line(text: &[u8]) -> Result<JsonLine, String> {
    match text.trim_ascii_start().first() {
        Some(b'"') => {
            let key = serde_json::from_slice(text).map_err(|error| error.to_string())?;
            Ok(JsonLine { key, bucket: None, size: None, etag: None, last_modified: None })
        }
        Some(b'{') => serde_json::from_slice(text).map_err(|error| error.to_string()),
        _ => Err("neither a string nor an object of JSON".into()),
    }
}

/// A key as it is, if it can be one.
fn known_key(key: &str) -> Result<String, String> {
    match key.len() {
        0 => Err("the key is empty".into()),
        1..=KEY_MAX_BYTES => Ok(key.to_owned()),
        length => Err(format!("a key of {length} bytes; S3 allows {KEY_MAX_BYTES}")),
    }
}

#[cfg(test)]
#[path = "keys/tests.rs"]
mod tests;
