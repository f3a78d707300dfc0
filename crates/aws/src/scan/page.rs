//! Reads a page of a listing from its XML.
//!
//! The SDK's own reading makes five strings of every entry and costs several times what the whole comparison does
//! (benches/README.md). This keeps what a scan looks at, in two allocations a page.

use percent_encoding::percent_decode_str;
use quick_xml::Reader;
use quick_xml::events::Event;
use std::borrow::Cow;
use std::ops::Range;

/// A page of a listing.
#[derive(Debug, Default)]
pub(crate) struct Page {
    /// Keys and ETags.
    text: String,
    entries: Vec<Entry>,
    /// What a delimiter has summed up.
    pub(crate) prefixes: Vec<String>,
    /// True if more follows.
    pub(crate) truncated: bool,
    /// How to ask for it.
    pub(crate) token: Option<String>,
}

/// An object of a page.
#[derive(Clone, Debug, Default)]
struct Entry {
    key: Range<usize>,
    etag: Range<usize>,
    size: Option<u64>,
    modified: Option<i64>,
    archived: bool,
}

/// What a page says of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Found<'a> {
    pub(crate) key: &'a str,
    /// Without quotes.
    pub(crate) etag: &'a str,
    pub(crate) size: u64,
    /// Seconds since 1970.
    pub(crate) modified: Option<i64>,
    /// In a class that has to be restored before a read.
    pub(crate) archived: bool,
}

impl Page {
    /// Number of objects.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Object `index`, where there is one.
    pub(crate) fn get(&self, index: usize) -> Option<Found<'_>> {
        let entry = self.entries.get(index)?;
        Some(Found {
            key: &self.text[entry.key.clone()],
            etag: &self.text[entry.etag.clone()],
            size: entry.size.unwrap_or_default(),
            modified: entry.modified,
            archived: entry.archived,
        })
    }

    /// All keys.
    pub(crate) fn keys(&self) -> impl Iterator<Item = &str> {
        self.entries.iter().map(|entry| &self.text[entry.key.clone()])
    }

    /// Forgets the objects from `index` on.
    pub(crate) fn truncate(&mut self, index: usize) {
        self.entries.truncate(index);
    }

    /// Reads the answer to ListObjectsV2. The error says why it is none.
    pub(crate) fn parse(body: &[u8]) -> Result<Self, String> {
        let text = std::str::from_utf8(body).map_err(|error| error.to_string())?;
        let mut reader = Reader::from_str(text);
        reader.config_mut().expand_empty_elements = true;
        let mut reading = Reading { page: Self::with_room_for(body.len()), ..Reading::default() };
        loop {
            match reader.read_event().map_err(|error| format!("no XML: {error}"))? {
                Event::Start(start) => reading.open(start.local_name().as_ref())?,
                Event::End(_) => reading.close()?,
                Event::Text(text) => reading.text(&text.decode().map_err(|error| error.to_string())?),
                Event::CData(text) => reading.text(&text.decode().map_err(|error| error.to_string())?),
                Event::GeneralRef(reference) => {
                    let char = reference.resolve_char_ref().map_err(|error| error.to_string())?;
                    let name = reference.decode().map_err(|error| error.to_string())?;
                    let char = char.or_else(|| named(&name)).ok_or_else(|| format!("no XML: &{name};"))?;
                    reading.text(char.encode_utf8(&mut [0; 4]));
                }
                Event::Eof => break,
                _ => {}
            }
        }
        reading.end()
    }

    fn with_room_for(length: usize) -> Self {
        // An entry takes about 300 bytes of XML, half of them key and ETag.
        Self { text: String::with_capacity(length / 2), entries: Vec::with_capacity(length / 256), ..Self::default() }
    }
}

fn named(reference: &str) -> Option<char> {
    match reference {
        "lt" => Some('<'),
        "gt" => Some('>'),
        "amp" => Some('&'),
        "apos" => Some('\''),
        "quot" => Some('"'),
        _ => None,
    }
}

/// A child of the document.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Section {
    Contents,
    CommonPrefixes,
    IsTruncated,
    Token,
    Encoding,
    #[default]
    Other,
}

/// A child of an entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Field {
    Key,
    ETag,
    Size,
    LastModified,
    StorageClass,
    Prefix,
    #[default]
    Other,
}

#[derive(Debug, Default)]
struct Reading {
    page: Page,
    depth: usize,
    section: Section,
    field: Field,
    /// Text of the element at hand.
    held: String,
    entry: Entry,
    truncated: Option<bool>,
    encoded: bool,
    ended: bool,
}

impl Reading {
    fn open(&mut self, name: &[u8]) -> Result<(), String> {
        self.depth += 1;
        match self.depth {
            1 if name != b"ListBucketResult" => {
                return Err(format!("not a listing: {}", String::from_utf8_lossy(name)));
            }
            2 => {
                self.section = match name {
                    b"Contents" => Section::Contents,
                    b"CommonPrefixes" => Section::CommonPrefixes,
                    b"IsTruncated" => Section::IsTruncated,
                    b"NextContinuationToken" => Section::Token,
                    b"EncodingType" => Section::Encoding,
                    _ => Section::Other,
                };
                self.entry = Entry::default();
                self.held.clear();
            }
            3 => {
                self.field = match (self.section, name) {
                    (Section::Contents, b"Key") => Field::Key,
                    (Section::Contents, b"ETag") => Field::ETag,
                    (Section::Contents, b"Size") => Field::Size,
                    (Section::Contents, b"LastModified") => Field::LastModified,
                    (Section::Contents, b"StorageClass") => Field::StorageClass,
                    (Section::CommonPrefixes, b"Prefix") => Field::Prefix,
                    _ => Field::Other,
                };
                self.held.clear();
            }
            _ => {}
        }
        Ok(())
    }

    fn text(&mut self, text: &str) {
        if matches!(self.depth, 2 | 3) {
            self.held.push_str(text);
        }
    }

    fn close(&mut self) -> Result<(), String> {
        let depth = self.depth;
        self.depth = depth.saturating_sub(1);
        let held = self.held.as_str();
        match (depth, self.section, self.field) {
            (3, _, Field::Key) => self.entry.key = kept(&mut self.page.text, held),
            (3, _, Field::ETag) => self.entry.etag = kept(&mut self.page.text, held.trim_matches('"')),
            (3, _, Field::Size) => self.entry.size = Some(held.parse().map_err(|_| format!("no size: {held:?}"))?),
            (3, _, Field::LastModified) => {
                self.entry.modified = Some(seconds(held).ok_or_else(|| format!("no time: {held:?}"))?);
            }
            (3, _, Field::StorageClass) => self.entry.archived = is_archive(held),
            (3, _, Field::Prefix) => self.page.prefixes.push(held.to_owned()),
            (2, Section::Contents, _) => {
                if self.entry.key.is_empty() || self.entry.size.is_none() {
                    return Err("an entry without key or size".to_owned());
                }
                self.page.entries.push(std::mem::take(&mut self.entry));
            }
            (2, Section::IsTruncated, _) => self.truncated = Some(held == "true"),
            (2, Section::Token, _) => self.page.token = Some(held.to_owned()),
            (2, Section::Encoding, _) => self.encoded = held == "url",
            (1, _, _) => self.ended = true,
            _ => {}
        }
        Ok(())
    }

    fn end(mut self) -> Result<Page, String> {
        if !self.ended {
            return Err("it ends in the middle".to_owned());
        }
        self.page.truncated = self.truncated.ok_or("it does not say whether more follows")?;
        if self.encoded {
            let mut text = String::with_capacity(self.page.text.len());
            for entry in &mut self.page.entries {
                entry.key = kept(&mut text, &decoded(&self.page.text[entry.key.clone()])?);
                entry.etag = kept(&mut text, &self.page.text[entry.etag.clone()]);
            }
            self.page.text = text;
            for prefix in &mut self.page.prefixes {
                *prefix = decoded(prefix)?.into_owned();
            }
        }
        Ok(self.page)
    }
}

/// True for the classes of which an object has to be restored before a read. Glacier Instant Retrieval is none.
pub(crate) fn is_archive(storage_class: &str) -> bool {
    matches!(storage_class, "GLACIER" | "DEEP_ARCHIVE")
}

fn kept(text: &mut String, piece: &str) -> Range<usize> {
    let from = text.len();
    text.push_str(piece);
    from..text.len()
}

/// Undoes `EncodingType=url`: form encoding, in which a space is a plus.
fn decoded(text: &str) -> Result<Cow<'_, str>, String> {
    if !text.bytes().any(|byte| matches!(byte, b'%' | b'+')) {
        return Ok(Cow::Borrowed(text));
    }
    let spaced = text.replace('+', " ");
    let key = percent_decode_str(&spaced).decode_utf8().map_err(|_| format!("a key that is no UTF-8: {text:?}"))?;
    Ok(Cow::Owned(key.into_owned()))
}

/// `2026-11-01T00:00:00.000Z` as seconds since 1970.
fn seconds(text: &str) -> Option<i64> {
    let bytes = text.as_bytes();
    let digits = |from: usize, to: usize| {
        bytes
            .get(from..to)?
            .iter()
            .try_fold(0_i64, |sum, byte| byte.is_ascii_digit().then(|| sum * 10 + i64::from(byte - b'0')))
    };
    let marked = [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':')];
    let simple = bytes.last() == Some(&b'Z') && marked.iter().all(|(at, mark)| bytes.get(*at) == Some(mark));
    if !simple {
        use aws_smithy_types::date_time::{DateTime, Format};
        return DateTime::from_str(text, Format::DateTimeWithOffset).ok().map(|time| time.secs());
    }
    let (year, month, day) = (digits(0, 4)?, digits(5, 7)?, digits(8, 10)?);
    // Days of the proleptic Gregorian calendar, with years that begin in March, so that a leap day is the last.
    let (year, month) = if month <= 2 { (year - 1, month + 9) } else { (year, month - 3) };
    let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1 - 719_468;
    Some(days * 86_400 + digits(11, 13)? * 3_600 + digits(14, 16)? * 60 + digits(17, 19)?)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const HEAD: &str =
        r#"<?xml version="1.0" encoding="UTF-8"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">"#;

    fn page(inner: &str) -> Result<Page, String> {
        Page::parse(format!("{HEAD}{inner}</ListBucketResult>").as_bytes())
    }

    #[test]
    fn a_page_is_read_whatever_the_order_of_its_elements() {
        let page = page(
            "<Name>b</Name><Contents><Owner><ID>x</ID><DisplayName>Key</DisplayName></Owner><Key>a%2Fb+%C3%A9&#37;2B\
             </Key><LastModified>2026-11-01T00:00:00.000Z</LastModified><ETag>&quot;d41d&quot;</ETag><Size>5</Size>\
             <StorageClass>DEEP_ARCHIVE</StorageClass><RestoreStatus><IsRestoreInProgress>false</IsRestoreInProgress>\
             </RestoreStatus></Contents><Contents><Key>c</Key><Size>0</Size></Contents><CommonPrefixes>\
             <Prefix>x%20y/</Prefix></CommonPrefixes><EncodingType>url</EncodingType><IsTruncated>true</IsTruncated>\
             <NextContinuationToken>a+b%2F==</NextContinuationToken>",
        )
        .unwrap();
        let first = Found { key: "a/b \u{e9}+", etag: "d41d", size: 5, modified: Some(1_793_491_200), archived: true };
        assert_eq!(page.get(0), Some(first));
        assert_eq!(page.get(1), Some(Found { key: "c", etag: "", size: 0, modified: None, archived: false }));
        assert_eq!((page.get(2), page.len()), (None, 2));
        assert_eq!(page.prefixes, ["x y/"]);
        assert_eq!((page.truncated, page.token.as_deref()), (true, Some("a+b%2F==")));
    }

    #[test]
    fn keys_are_left_alone_where_the_store_does_not_encode_them() {
        let page = page(
            "<Contents><Key>a+b%20&lt;<![CDATA[&amp;]]></Key><Size>1</Size></Contents><IsTruncated>false</IsTruncated>",
        )
        .unwrap();
        assert_eq!(page.keys().collect::<Vec<_>>(), ["a+b%20<&amp;"]);
    }

    #[test]
    fn what_is_no_whole_listing_is_never_an_empty_one() {
        let end = "<IsTruncated>false</IsTruncated>";
        assert!(page(end).is_ok());
        assert!(page("").unwrap_err().contains("more follows"));
        assert!(page(&format!("<Contents><Key>k</Key></Contents>{end}")).unwrap_err().contains("size"));
        assert!(page(&format!("<Contents><Size>1</Size></Contents>{end}")).unwrap_err().contains("key"));
        assert!(page(&format!("<Contents><Key>k</Key><Size>-1</Size></Contents>{end}")).is_err());
        assert!(
            page(&format!("<EncodingType>url</EncodingType><Contents><Key>%FF</Key><Size>1</Size></Contents>{end}"))
                .is_err()
        );
        for body in ["", "<Error><Code>x</Code></Error>", "<html>", HEAD] {
            assert!(Page::parse(body.as_bytes()).is_err(), "{body:?}");
        }
        let whole = format!("{HEAD}<Contents><Key>k</Key><Size>1</Size></Contents>{end}</ListBucketResult>");
        for cut in 0..whole.len() {
            assert!(Page::parse(&whole.as_bytes()[..cut]).is_err(), "cut at {cut}");
        }
    }

    #[test]
    fn times_are_seconds() {
        for (text, time) in [
            ("1970-01-01T00:00:00.000Z", 0),
            ("1969-12-31T23:59:59Z", -1),
            ("2000-02-29T12:30:15.999Z", 951_827_415),
            ("2100-03-01T00:00:00Z", 4_107_542_400),
            ("2000-02-29T13:30:15+01:00", 951_827_415),
        ] {
            assert_eq!(seconds(text), Some(time), "{text}");
        }
        for text in ["", "yesterday", "2000-02-29", "20x0-02-29T12:30:15Z"] {
            assert_eq!(seconds(text), None, "{text}");
        }
    }
}
