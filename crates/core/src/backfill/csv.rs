//! The tables of a report, as CSV (RFC 4180), in objects of a bounded size.
//!
//! Keys are written as they are. A cell that begins with `=` may be taken for a formula by a spreadsheet; a mark before
//! it would make the key another one, and these tables are read by programs as well. So nothing is added: who opens
//! one in a spreadsheet imports its columns as text.

use super::manifest::Deletion;
use super::run::report_prefix;
use super::summary::skip_name;
use super::summary::words::time;
use crate::contract::Exception;
use crate::names::short_execution;
use crate::outcome::Outcome;
use crate::uploads::OpenUpload;
use serde::{Deserialize, Serialize};

/// Most lines of one object: what spreadsheets open at once.
pub const LINES_MAX: u64 = 50_000;
/// No line begins behind so many bytes of one object: it is kept in memory until it is full.
pub const BYTES_MAX: usize = 16 * 1024 * 1024;

/// Which table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Table {
    /// Objects that failed or were skipped.
    Failures,
    /// Destination objects to remove.
    Deletions,
    /// Open uploads that the ledger does not know.
    Uploads,
}

impl Table {
    /// Its first line.
    pub fn header(self) -> String {
        match self {
            Self::Failures => line(&["key", "bucket", "size", "outcome", "reason", "message", "execution"]),
            Self::Deletions => line(&["key", "bucket", "sourceKey", "size", "etag"]),
            Self::Uploads => line(&["key", "bucket", "uploadId", "initiated"]),
        }
    }

    /// The key of one of its objects, from 1.
    pub fn key(self, run: &str, part: u32) -> String {
        let name = match self {
            Self::Failures => "failures",
            Self::Deletions => "deletions",
            Self::Uploads => "uploads",
        };
        match part {
            1 => format!("{}{name}.csv", report_prefix(run)),
            _ => format!("{}{name}-{part}.csv", report_prefix(run)),
        }
    }
}

/// A table that is being written: its unfinished object. It is parked as JSON between two rounds of a long report, so
/// that its objects do not depend on where a round ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Sheet {
    table: Table,
    part: u32,
    lines: u64,
    text: String,
}

impl Sheet {
    /// An empty one.
    pub fn new(table: Table) -> Self {
        Self { table, part: 1, lines: 0, text: table.header() }
    }

    /// Adds a line; returns the number and the text of the object that it did not fit into any more.
    pub fn push(&mut self, line: &str) -> Option<(u32, String)> {
        let full = self.lines >= LINES_MAX || self.text.len() >= BYTES_MAX;
        let written = full.then(|| {
            let text = std::mem::replace(&mut self.text, self.table.header());
            self.lines = 0;
            self.part += 1;
            (self.part - 1, text)
        });
        self.lines += 1;
        self.text.push_str(line);
        written
    }

    /// The number and the text of the last object, perhaps without a line.
    pub fn last(&self) -> (u32, &str) {
        (self.part, &self.text)
    }

    /// Which table it is.
    pub fn table(&self) -> Table {
        self.table
    }
}

/// The line of an object that failed or was skipped; `None` for one that did not.
pub fn exception_line(exception: &Exception, execution: &str) -> Option<String> {
    let (outcome, reason, message) = match &exception.outcome {
        Outcome::Failed { failure } => ("failed", failure.name.as_str(), failure.message.as_str()),
        Outcome::Skipped { reason } => ("skipped", skip_name(*reason), ""),
        Outcome::Migrated { .. } | Outcome::Unchanged { .. } => return None,
    };
    let object = &exception.object;
    let size = object.size.map(|size| size.to_string()).unwrap_or_default();
    Some(line(&[&object.key, &object.bucket, &size, outcome, reason, message, short_execution(execution)]))
}

/// The line of a destination object to remove.
pub fn deletion_line(deletion: &Deletion, bucket: &str) -> String {
    line(&[&deletion.delete, bucket, &deletion.source_key, &deletion.size.to_string(), deletion.etag.as_str()])
}

/// The line of an open upload.
pub fn upload_line(upload: &OpenUpload, bucket: &str) -> String {
    line(&[&upload.key, bucket, &upload.upload_id, &time(upload.initiated_ms)])
}

fn line(fields: &[&str]) -> String {
    let mut writer = ::csv::WriterBuilder::new().terminator(::csv::Terminator::CRLF).from_writer(Vec::new());
    // Writing into memory does not fail, and what came in as text goes out as text.
    let written = writer.write_record(fields).ok().and_then(|()| writer.into_inner().ok());
    written.and_then(|bytes| String::from_utf8(bytes).ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::error::Failure;
    use crate::etag::ETag;
    use crate::outcome::{Proof, SkipReason};
    use crate::request::ObjectRef;
    use proptest::prelude::*;

    fn exception(key: &str, outcome: Outcome) -> Exception {
        Exception { object: ObjectRef { bucket: "b".into(), key: key.into(), ..ObjectRef::default() }, outcome }
    }

    #[test]
    fn lines_are_quoted_where_they_must_be() {
        let failed = Outcome::Failed { failure: Failure::new("Rejected", "a \"b\",\r\nc") };
        let told = exception_line(&exception("=x", failed), "arn:aws:states:eu-west-1:1:execution:m:n").unwrap();
        assert_eq!(told, "=x,b,,failed,Rejected,\"a \"\"b\"\",\r\nc\",n\r\n");
        let skipped = exception("k", Outcome::Skipped { reason: SkipReason::Superseded });
        assert_eq!(exception_line(&skipped, "n").unwrap(), "k,b,,skipped,superseded,,n\r\n");
        assert_eq!(exception_line(&exception("k", Outcome::Unchanged { proof: Proof::Etag }), "n"), None);
        let deletion = Deletion { delete: "p/k".into(), source_key: "k".into(), etag: ETag::new("e"), size: 3 };
        assert_eq!(deletion_line(&deletion, "b"), "p/k,b,k,3,e\r\n");
        let upload = OpenUpload { key: "a,b".into(), upload_id: "u".into(), initiated_ms: 951_782_400_000 };
        assert_eq!(upload_line(&upload, "b"), "\"a,b\",b,u,2000-02-29 00:00:00 UTC\r\n");
    }

    #[test]
    fn a_full_object_is_handed_out() {
        let mut sheet = Sheet::new(Table::Deletions);
        for _ in 0..LINES_MAX {
            assert_eq!(sheet.push("x\r\n"), None);
        }
        let (part, text) = sheet.push("y\r\n").unwrap();
        assert_eq!((part, text.lines().count() as u64), (1, LINES_MAX + 1));
        assert_eq!(sheet.last(), (2, "key,bucket,sourceKey,size,etag\r\ny\r\n"));
        assert_eq!(Table::Deletions.key("r", 2), "runs/r/report/deletions-2.csv");
        assert_eq!(Table::Failures.key("r", 1), "runs/r/report/failures.csv");
    }

    proptest! {
        #[test]
        fn whatever_goes_in_comes_out(key in any::<String>(), message in any::<String>()) {
            let failed = Outcome::Failed { failure: Failure { name: "Bug".into(), message: message.clone() } };
            let text = Table::Failures.header() + &exception_line(&exception(&key, failed), "n").unwrap();
            let mut reader = ::csv::Reader::from_reader(text.as_bytes());
            let record = reader.records().next().unwrap().unwrap();
            prop_assert_eq!(&record[0], key);
            prop_assert_eq!(&record[5], message);
        }
    }
}
