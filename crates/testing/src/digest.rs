//! MD5 and the checksums of S3: taken while bytes pass, combined over parts.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use crc_fast::{CrcAlgorithm, checksum_combine};
use md5::{Digest as _, Md5};
use s3s::checksum::ChecksumHasher;
use s3s::crypto::{Checksum as _, Crc32, Crc32c, Crc64Nvme, Sha1, Sha256};

/// The checksum algorithms of S3.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Algorithm {
    /// CRC-32.
    Crc32,
    /// CRC-32C.
    Crc32c,
    /// CRC-64/NVME, the default of S3.
    Crc64Nvme,
    /// SHA-1.
    Sha1,
    /// SHA-256.
    Sha256,
}

impl Algorithm {
    /// Every algorithm.
    pub const ALL: [Algorithm; 5] = [Self::Crc32, Self::Crc32c, Self::Crc64Nvme, Self::Sha1, Self::Sha256];

    /// The name in `x-amz-checksum-algorithm`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Crc32 => "CRC32",
            Self::Crc32c => "CRC32C",
            Self::Crc64Nvme => "CRC64NVME",
            Self::Sha1 => "SHA1",
            Self::Sha256 => "SHA256",
        }
    }

    /// The algorithm of this name, whatever its case.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|a| a.name().eq_ignore_ascii_case(name))
    }

    /// The algorithm whose value this header or trailer carries.
    pub fn of_header(name: &str) -> Option<Self> {
        Self::named(name.trim().to_ascii_lowercase().strip_prefix("x-amz-checksum-")?)
    }

    fn crc(self) -> Option<CrcAlgorithm> {
        match self {
            Self::Crc32 => Some(CrcAlgorithm::Crc32IsoHdlc),
            Self::Crc32c => Some(CrcAlgorithm::Crc32Iscsi),
            Self::Crc64Nvme => Some(CrcAlgorithm::Crc64Nvme),
            Self::Sha1 | Self::Sha256 => None,
        }
    }

    /// Whether a checksum of the whole can be computed from those of the parts.
    pub fn combines(self) -> bool {
        self.crc().is_some()
    }
}

/// Checksums in base64, as they stand in headers.
pub type Sums = BTreeMap<Algorithm, String>;

/// What the checksum of a multipart object covers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SumType {
    /// All bytes, whatever the parts.
    #[default]
    FullObject,
    /// The checksums of the parts, with their number behind a dash.
    Composite,
}

impl SumType {
    /// The name in `x-amz-checksum-type`.
    pub fn name(self) -> &'static str {
        match self {
            Self::FullObject => "FULL_OBJECT",
            Self::Composite => "COMPOSITE",
        }
    }
}

/// What is known of bytes that have passed.
#[derive(Clone, Debug)]
pub struct Digested {
    /// MD5 of all bytes.
    pub md5: [u8; 16],
    /// CRC64NVME always, and whichever else was asked for.
    pub sums: Sums,
    /// Length in bytes.
    pub len: u64,
}

impl Digested {
    /// The CRC64NVME as a number.
    pub fn crc64(&self) -> u64 {
        self.sums.get(&Algorithm::Crc64Nvme).and_then(|sum| number(sum)).unwrap_or_default()
    }
}

/// Digests that are being taken.
pub(crate) struct Digests {
    md5: Md5,
    sums: ChecksumHasher,
    len: u64,
}

impl Digests {
    /// Takes MD5, CRC64NVME and these.
    pub(crate) fn new(wanted: impl IntoIterator<Item = Algorithm>) -> Self {
        let mut sums = ChecksumHasher { crc64nvme: Some(Crc64Nvme::new()), ..ChecksumHasher::default() };
        for algorithm in wanted {
            match algorithm {
                Algorithm::Crc32 => sums.crc32 = Some(Crc32::new()),
                Algorithm::Crc32c => sums.crc32c = Some(Crc32c::new()),
                Algorithm::Crc64Nvme => {}
                Algorithm::Sha1 => sums.sha1 = Some(Sha1::new()),
                Algorithm::Sha256 => sums.sha256 = Some(Sha256::new()),
            }
        }
        Self { md5: Md5::new(), sums, len: 0 }
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.md5.update(bytes);
        self.sums.update(bytes);
        self.len += bytes.len() as u64;
    }

    pub(crate) fn finish(self) -> Digested {
        let sums = self.sums.finalize();
        let sums = [
            (Algorithm::Crc32, sums.checksum_crc32),
            (Algorithm::Crc32c, sums.checksum_crc32c),
            (Algorithm::Crc64Nvme, sums.checksum_crc64nvme),
            (Algorithm::Sha1, sums.checksum_sha1),
            (Algorithm::Sha256, sums.checksum_sha256),
        ];
        Digested {
            md5: self.md5.finalize().into(),
            sums: sums.into_iter().filter_map(|(a, sum)| Some((a, sum?))).collect(),
            len: self.len,
        }
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(crate) fn unbase64(text: &str) -> Option<Vec<u8>> {
    STANDARD.decode(text).ok()
}

/// A CRC in base64 as a number; nothing for a hash or a malformed value.
fn number(sum: &str) -> Option<u64> {
    let bytes = unbase64(sum)?;
    (bytes.len() <= 8).then(|| bytes.iter().fold(0, |n, byte| n << 8 | u64::from(*byte)))
}

/// The checksum of all bytes from those of consecutive ranges and their lengths. Nothing for a hash,
/// or where a value is missing.
pub(crate) fn combined<'a>(
    algorithm: Algorithm,
    ranges: impl IntoIterator<Item = (Option<&'a String>, u64)>,
) -> Option<String> {
    let crc = algorithm.crc()?;
    let mut whole: Option<u64> = None;
    for (sum, len) in ranges {
        let next = number(sum?)?;
        whole = Some(whole.map_or(next, |before| checksum_combine(crc, before, next, len)));
    }
    let bytes = whole?.to_be_bytes();
    let width = if algorithm == Algorithm::Crc64Nvme { 8 } else { 4 };
    Some(STANDARD.encode(&bytes[8 - width..]))
}

/// The checksum over the checksums of the parts. Nothing where a value is missing.
pub(crate) fn composite<'a>(
    algorithm: Algorithm,
    parts: impl IntoIterator<Item = Option<&'a String>>,
) -> Option<String> {
    let mut digests = Digests::new([algorithm]);
    let mut count = 0;
    for sum in parts {
        digests.update(&unbase64(sum?)?);
        count += 1;
    }
    Some(format!("{}-{count}", digests.finish().sums.get(&algorithm)?))
}

/// The ETag of a multipart object from the MD5s of its parts.
pub(crate) fn multipart_etag<'a>(parts: impl IntoIterator<Item = &'a [u8; 16]>) -> String {
    let mut md5 = Md5::new();
    let mut count = 0;
    for part in parts {
        md5.update(part);
        count += 1;
    }
    format!("{}-{count}", hex(&md5.finalize()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn digested(bytes: &[u8]) -> Digested {
        let mut digests = Digests::new(Algorithm::ALL);
        digests.update(bytes);
        digests.finish()
    }

    #[test]
    fn known_values() {
        let sums = digested(b"123456789").sums;
        for (algorithm, value) in [
            (Algorithm::Crc32, "y/Q5Jg=="),
            (Algorithm::Crc32c, "4waSgw=="),
            (Algorithm::Crc64Nvme, "rosUhgp5mIg="),
            (Algorithm::Sha1, "98O8HYCOBHMq32eZZczDTKeuNEE="),
            (Algorithm::Sha256, "FeKw08M4keuw8e9gnsQZQgwg4yDOlMZfvIwzEkSOsiU="),
        ] {
            assert_eq!(sums[&algorithm], value, "{}", algorithm.name());
        }
        assert_eq!(hex(&digested(b"123456789").md5), "25f9e794323b453885f5181f1b624d0b");
    }

    #[test]
    fn parts_combine_to_the_whole() {
        let whole = digested(b"hello, world");
        let (a, b) = (digested(b"hello"), digested(b", world"));
        for algorithm in Algorithm::ALL {
            let parts = [(a.sums.get(&algorithm), 5), (b.sums.get(&algorithm), 7)];
            assert_eq!(
                combined(algorithm, parts),
                algorithm.combines().then(|| whole.sums[&algorithm].clone()),
                "{}",
                algorithm.name()
            );
        }
        assert!(composite(Algorithm::Sha256, [a.sums.get(&Algorithm::Sha256)]).unwrap().ends_with("-1"));
        assert_eq!(combined(Algorithm::Crc32, [(None, 0)]), None);
    }
}
