//! Cuts a text that arrives in pieces into rows.

use super::{ROW_MAX_BYTES, WrongRow};
use csv_core::{ReadRecordResult, Reader};

/// Most columns of a row that are kept.
const COLUMNS_MAX: usize = 64;
/// The mark that some editors put before a text in UTF-8.
const BOM: &[u8] = b"\xef\xbb\xbf";

/// Rows of CSV: a quoted field may hold commas, quotes (doubled) and line ends. Lines without anything are no rows.
pub(super) struct Table {
    reader: Reader,
    input: Vec<u8>,
    /// Bytes of `input` that were read.
    read: usize,
    fields: Vec<u8>,
    filled: usize,
    ends: [usize; COLUMNS_MAX],
    columns: usize,
    /// Line ends read.
    lines: u64,
    /// Rows read.
    rows: u64,
    /// The first bytes were seen.
    begun: bool,
    ended: bool,
}

impl std::fmt::Debug for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Table").field("lines", &self.lines).finish_non_exhaustive()
    }
}

impl Default for Table {
    fn default() -> Self {
        Self {
            reader: Reader::new(),
            input: Vec::new(),
            read: 0,
            fields: vec![0; ROW_MAX_BYTES],
            filled: 0,
            ends: [0; COLUMNS_MAX],
            columns: 0,
            lines: 0,
            rows: 0,
            begun: false,
            ended: false,
        }
    }
}

/// A row of CSV.
pub(super) struct TableRow<'a> {
    /// The line it begins on, from 1.
    pub(super) line: u64,
    /// Its place among the rows, from 0.
    pub(super) number: u64,
    fields: &'a [u8],
    ends: &'a [usize],
}

impl TableRow<'_> {
    /// A field as text, from 0.
    pub(super) fn field(&self, index: usize) -> Result<&str, String> {
        let Some(end) = self.ends.get(index) else {
            return Err(format!("it has {} columns, and column {} is needed", self.ends.len(), index + 1));
        };
        let begin = index.checked_sub(1).map_or(0, |before| self.ends[before]);
        std::str::from_utf8(&self.fields[begin..*end]).map_err(|_| format!("column {} is not UTF-8", index + 1))
    }
}

impl Table {
    pub(super) fn feed(&mut self, bytes: &[u8]) {
        self.input.drain(..self.read);
        self.read = 0;
        self.input.extend_from_slice(bytes);
    }

    /// A row that lacks its line end gets one; a quote that lacks its end is found by it.
    pub(super) fn end(&mut self) {
        if !self.ended {
            self.ended = true;
            self.feed(b"\n");
        }
    }

    pub(super) fn next(&mut self) -> Result<Option<TableRow<'_>>, WrongRow> {
        if !self.begun {
            if self.input.len() < BOM.len() && !self.ended {
                return Ok(None);
            }
            self.begun = true;
            self.read = if self.input.starts_with(BOM) { BOM.len() } else { 0 };
        }
        let (result, read, filled, columns) = self.reader.read_record(
            &self.input[self.read..],
            &mut self.fields[self.filled..],
            &mut self.ends[self.columns..],
        );
        let consumed = &self.input[self.read..self.read + read];
        self.lines += consumed.iter().filter(|byte| **byte == b'\n').count() as u64;
        let ends_line = consumed.last() == Some(&b'\n');
        self.read += read;
        self.filled += filled;
        self.columns += columns;
        match result {
            ReadRecordResult::Record => {}
            ReadRecordResult::OutputFull | ReadRecordResult::OutputEndsFull => {
                let line = self.line_of_row(false);
                let told = format!(
                    "a row of more than {ROW_MAX_BYTES} bytes or {COLUMNS_MAX} columns: does a quote lack its end?"
                );
                return Err(WrongRow { line, told });
            }
            ReadRecordResult::InputEmpty | ReadRecordResult::End if self.ended && self.filled + self.columns > 0 => {
                let line = self.line_of_row(false);
                self.filled = 0;
                self.columns = 0;
                return Err(WrongRow { line, told: "a quote lacks its end".into() });
            }
            ReadRecordResult::InputEmpty | ReadRecordResult::End => return Ok(None),
        }
        let line = self.line_of_row(ends_line);
        let (filled, columns) = (std::mem::take(&mut self.filled), std::mem::take(&mut self.columns));
        self.rows += 1;
        let (fields, ends) = (&self.fields[..filled], &self.ends[..columns]);
        Ok(Some(TableRow { line, number: self.rows - 1, fields, ends }))
    }

    /// The line on which the row in `fields` begins, its own line end counted already if `ends_line`.
    fn line_of_row(&self, ends_line: bool) -> u64 {
        let inside = self.fields[..self.filled].iter().filter(|byte| **byte == b'\n').count() as u64;
        (self.lines + 1).saturating_sub(inside + u64::from(ends_line))
    }
}

/// Lines of a text; those of nothing but spaces are left out.
#[derive(Debug, Default)]
pub(super) struct Lines {
    input: Vec<u8>,
    read: usize,
    lines: u64,
    ended: bool,
}

impl Lines {
    pub(super) fn feed(&mut self, bytes: &[u8]) {
        self.input.drain(..self.read);
        self.read = 0;
        self.input.extend_from_slice(bytes);
    }

    pub(super) fn end(&mut self) {
        if !self.ended {
            self.ended = true;
            self.feed(b"\n");
        }
    }

    /// The next line and its number, from 1.
    pub(super) fn next(&mut self) -> Result<Option<(u64, &[u8])>, WrongRow> {
        loop {
            let left = &self.input[self.read..];
            let Some(length) = left.iter().position(|byte| *byte == b'\n') else {
                if left.len() > ROW_MAX_BYTES {
                    let told = format!("a line of more than {ROW_MAX_BYTES} bytes");
                    return Err(WrongRow { line: self.lines + 1, told });
                }
                return Ok(None);
            };
            let from = self.read;
            self.read += length + 1;
            self.lines += 1;
            let is_first = self.lines == 1;
            let line = &self.input[from..from + length];
            let begin = if is_first && line.starts_with(BOM) { BOM.len() } else { 0 };
            if !line[begin..].iter().all(u8::is_ascii_whitespace) {
                return Ok(Some((self.lines, &self.input[from + begin..from + length])));
            }
        }
    }
}
