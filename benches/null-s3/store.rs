//! What the server holds, and what it has counted.

use crate::check::Part;
use crate::data::{Offer, offers};
use crate::pattern::{Digests, Pattern};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use crc_fast::CrcAlgorithm;
use http::{HeaderName, HeaderValue};
use md5::{Digest as _, Md5};
use std::collections::BTreeMap;

/// Source objects above this were uploaded in parts.
const WHOLE_MAX: u64 = 16 << 20;
/// Size of the source's parts.
const PART_SIZE: u64 = 8 << 20;

/// An object.
#[derive(Clone, Debug)]
pub(crate) struct Stored {
    /// Its parts; a single one if it was put whole.
    pub(crate) parts: Vec<Part>,
    pub(crate) size: u64,
    /// In quotation marks.
    pub(crate) etag: String,
    /// Whether it was uploaded in parts.
    pub(crate) multipart: bool,
    /// CRC64NVME of the whole.
    pub(crate) crc64: u64,
    /// User metadata and content type.
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
}

/// An upload that is not complete.
#[derive(Debug)]
pub(crate) struct Upload {
    pub(crate) bucket: String,
    pub(crate) key: String,
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
    pub(crate) parts: BTreeMap<u32, Part>,
    /// Whether it was begun with CRC64NVME as its checksum.
    pub(crate) crc64: bool,
}

/// Objects by key.
pub(crate) type Bucket = BTreeMap<String, Stored>;

/// Everything that changes.
#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) buckets: BTreeMap<String, Bucket>,
    pub(crate) uploads: BTreeMap<String, Upload>,
    pub(crate) uploads_begun: u64,
    pub(crate) counts: BTreeMap<String, u64>,
    pub(crate) connections: u64,
    pub(crate) in_flight: u64,
    pub(crate) in_flight_peak: u64,
    pub(crate) bytes_in: u64,
    pub(crate) bytes_out: u64,
}

impl Stored {
    /// An object made of `parts`.
    pub(crate) fn new(parts: Vec<Part>, multipart: bool, kms: bool, headers: Vec<(HeaderName, HeaderValue)>) -> Self {
        let etag = match parts.as_slice() {
            [part] if !multipart => part_etag(&part.digests, kms),
            parts => {
                let mut md5 = Md5::new();
                parts.iter().for_each(|part| md5.update(part.digests.md5));
                format!("\"{}-{}\"", hex(md5.finalize().into(), kms), parts.len())
            }
        };
        let crc64 = parts.iter().fold(0, |crc, part| {
            crc_fast::checksum_combine(CrcAlgorithm::Crc64Nvme, crc, part.digests.crc64, part.size)
        });
        Self { size: parts.iter().map(|part| part.size).sum(), parts, etag, multipart, crc64, headers }
    }

    /// Where its bytes run through the pattern, if they do without a break.
    pub(crate) fn place(&self, pattern: &Pattern) -> Option<usize> {
        let first = match self.parts.first() {
            Some(part) if self.size > 0 => part.place?,
            _ => return Some(0),
        };
        self.runs_from(pattern, first).then_some(first)
    }

    /// Whether it holds the pattern's bytes from `place` on.
    pub(crate) fn runs_from(&self, pattern: &Pattern, place: usize) -> bool {
        let mut next = place as u64;
        self.parts.iter().all(|part| {
            let here = next as usize;
            next += part.size;
            part.digests == pattern.digests(here, part.size)
        })
    }
}

/// The source's object of this offer.
pub(crate) fn offered(pattern: &Pattern, offer: &Offer) -> Stored {
    let multipart = offer.size > WHOLE_MAX;
    let step = if multipart { PART_SIZE } else { offer.size.max(1) };
    let parts = (0..offer.size.div_ceil(step).max(1)).map(|number| {
        let place = offer.place + (number * step) as usize;
        let size = step.min(offer.size - number * step);
        Part { place: Some(place), size, digests: pattern.digests(place, size) }
    });
    Stored::new(parts.collect(), multipart, false, Vec::new())
}

/// How the objects of a case stand in a bucket.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub(crate) equal: usize,
    pub(crate) missing: usize,
    pub(crate) wrong: usize,
    /// Objects that the case does not have.
    pub(crate) foreign: usize,
}

/// Compares a bucket with a case, byte by byte: every received byte was compared, or hashed, when it came in.
pub(crate) fn verdict(pattern: &Pattern, bucket: Option<&Bucket>, case: &str) -> Verdict {
    let mut verdict = Verdict::default();
    for offer in offers(case) {
        match bucket.and_then(|bucket| bucket.get(&offer.key)) {
            None => verdict.missing += 1,
            Some(object) if object.size == offer.size && object.runs_from(pattern, offer.place) => verdict.equal += 1,
            Some(_) => verdict.wrong += 1,
        }
    }
    verdict.foreign = bucket.map_or(0, BTreeMap::len) - verdict.equal - verdict.wrong;
    verdict
}

/// The ETag of a part, or of an object put whole, in quotation marks.
pub(crate) fn part_etag(digests: &Digests, kms: bool) -> String {
    format!("\"{}\"", hex(digests.md5, kms))
}

/// Under KMS an ETag looks like an MD5 and is none.
fn hex(md5: [u8; 16], kms: bool) -> String {
    let veil = if kms { 0xa5 } else { 0 };
    md5.iter().map(|byte| format!("{:02x}", byte ^ veil)).collect()
}

/// A CRC64NVME as headers and documents have it.
pub(crate) fn crc64_text(crc64: u64) -> String {
    STANDARD.encode(crc64.to_be_bytes())
}

/// An MD5 as `Content-MD5` has it.
pub(crate) fn md5_text(digests: &Digests) -> String {
    STANDARD.encode(digests.md5)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn source_objects_are_those_of_a_real_store() {
        let pattern = Pattern::new();
        let small = offered(&pattern, &offers("20-64kib")[1]);
        let bytes = pattern.peek(64 << 10, 64 << 10);
        assert_eq!((small.multipart, small.parts.len()), (false, 1));
        assert_eq!(small.etag, format!("\"{}\"", hex(Md5::digest(bytes).into(), false)));
        assert_eq!(small.crc64, crc_fast::checksum(CrcAlgorithm::Crc64Nvme, bytes));
        let nothing = offered(&pattern, &offers("5-tiny")[0]);
        assert_eq!((nothing.size, nothing.etag.as_str()), (0, "\"d41d8cd98f00b204e9800998ecf8427e\""));
        let large = offered(&pattern, &offers("one-128mib")[0]);
        assert!(large.multipart && large.etag.ends_with("-16\""), "{}", large.etag);
        let whole = [pattern.peek(0, usize::MAX >> 1), pattern.peek(0, usize::MAX >> 1)].concat();
        assert_eq!(large.crc64, crc_fast::checksum(CrcAlgorithm::Crc64Nvme, &whole));
        assert_eq!(large.place(&pattern), Some(0));
    }

    #[test]
    fn a_wrong_a_missing_and_a_foreign_object_are_told() {
        let pattern = Pattern::new();
        let case = "20-64kib";
        let mut bucket: Bucket =
            offers(case).iter().map(|offer| (offer.key.clone(), offered(&pattern, offer))).collect();
        assert_eq!(verdict(&pattern, Some(&bucket), case), Verdict { equal: 20, ..Verdict::default() });
        let first = bucket.remove("d0/o000000").unwrap();
        bucket.insert("d0/o000001".into(), first.clone());
        bucket.insert("another".into(), first);
        let expected = Verdict { equal: 18, missing: 1, wrong: 1, foreign: 1 };
        assert_eq!(verdict(&pattern, Some(&bucket), case), expected);
        assert_eq!(verdict(&pattern, None, case).missing, 20);
    }

    #[test]
    fn under_kms_an_etag_is_no_md5() {
        let pattern = Pattern::new();
        let digests = pattern.digests(0, 100);
        assert_ne!(part_etag(&digests, true), part_etag(&digests, false));
        assert_eq!(part_etag(&digests, true).len(), 34);
    }
}
