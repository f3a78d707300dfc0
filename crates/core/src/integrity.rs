//! When two objects count as the same (SEMANTICS.md, rules 6 to 10).

use crate::etag::{ETag, Encryption};
use crate::outcome::Proof;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use crc_fast::{CrcAlgorithm, checksum_combine};

/// What a store says of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Its ETag.
    pub etag: ETag,
    /// Whether the ETag is made of MD5s.
    pub encryption: Encryption,
    /// Size in bytes.
    pub size: u64,
    /// Checksum of the whole object, `ALGORITHM:base64`, where it has one.
    pub checksum: Option<String>,
}

/// How each part of an upload is proven (SEMANTICS.md, rule 8), unless the store copied it by itself: that it did so on
/// condition of the source's ETag is proof.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PartProof {
    /// A CRC64NVME trails it, so that the store refuses a wrong one.
    Trailer,
    /// The ETag that comes back is compared with its MD5. One that nobody lived to compare is unproven.
    Compared,
    /// Its MD5 goes ahead, so that the store refuses a wrong one: the part has to be held in memory.
    Ahead,
}

impl PartProof {
    /// For an upload whose parts carry a trailing checksum or not, and whose ETags are MD5s or not.
    pub fn of(trailing_checksum: bool, encryption: Encryption) -> Self {
        match (trailing_checksum, encryption) {
            (true, _) => Self::Trailer,
            (false, Encryption::Plain) => Self::Compared,
            (false, Encryption::Opaque) => Self::Ahead,
        }
    }
}

/// The base64 of a whole-object CRC64NVME, of a checksum that is one.
pub fn crc64nvme_of(checksum: Option<&str>) -> Option<&str> {
    checksum?.strip_prefix("CRC64NVME:")
}

/// The CRC64NVME of a whole object, in base64, from those of its parts and their lengths; `None` where one is missing.
pub fn combined<'a>(parts: impl IntoIterator<Item = (Option<&'a str>, u64)>) -> Option<String> {
    let mut whole = None;
    for (crc, length) in parts {
        let bytes: [u8; 8] = BASE64.decode(crc?).ok()?.try_into().ok()?;
        let crc = u64::from_be_bytes(bytes);
        whole = Some(whole.map_or(crc, |before| checksum_combine(CrcAlgorithm::Crc64Nvme, before, crc, length)));
    }
    whole.map(|crc| BASE64.encode(crc.to_be_bytes()))
}

/// What two checksums of whole objects say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checksums {
    /// Of the same algorithm, and equal.
    Equal,
    /// Of the same algorithm, and different.
    Different,
    /// One is missing, or the algorithms differ.
    Unknown,
}

/// Compares the whole-object checksums of two objects.
pub fn checksums(one: &Facts, other: &Facts) -> Checksums {
    let (Some(one), Some(other)) = (&one.checksum, &other.checksum) else { return Checksums::Unknown };
    let algorithm = |checksum: &str| checksum.split(':').next().map(str::to_owned);
    match (algorithm(one) == algorithm(other), one == other) {
        (false, _) => Checksums::Unknown,
        (true, true) => Checksums::Equal,
        (true, false) => Checksums::Different,
    }
}

/// What proves that two objects hold the same bytes; `None` if nothing does. Equal sizes prove nothing.
///
/// `paired` says that the ledger pairs the two ETags.
pub fn proof(source: &Facts, destination: &Facts, paired: bool) -> Option<Proof> {
    if source.size != destination.size {
        return None;
    }
    match checksums(source, destination) {
        Checksums::Equal => return Some(Proof::Checksum),
        Checksums::Different => return None,
        Checksums::Unknown => {}
    }
    let made_of_md5s = source.encryption == Encryption::Plain
        && destination.encryption == Encryption::Plain
        && (source.etag.md5_form().is_some() || source.etag.parts_suffix().is_some());
    if made_of_md5s && source.etag == destination.etag {
        return Some(Proof::Etag);
    }
    paired.then_some(Proof::Ledger)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(etag: &str) -> Facts {
        Facts { etag: ETag::new(etag), encryption: Encryption::Plain, size: 5, checksum: None }
    }

    const MD5: &str = "d41d8cd98f00b204e9800998ecf8427e";

    #[test]
    fn rule_10_equal_sizes_prove_nothing() {
        let other = facts("00000000000000000000000000000000");
        assert_eq!(proof(&facts(MD5), &other, false), None);
        assert_eq!(proof(&facts(MD5), &other, true), Some(Proof::Ledger));
        assert_eq!(proof(&facts(MD5), &facts(MD5), false), Some(Proof::Etag));
        let multipart = format!("{MD5}-3");
        assert_eq!(proof(&facts(&multipart), &facts(&multipart), false), Some(Proof::Etag));
    }

    #[test]
    fn rule_06_a_kms_etag_proves_nothing() {
        let kms = Facts { encryption: Encryption::Opaque, ..facts(MD5) };
        assert_eq!(proof(&kms, &facts(MD5), false), None);
        assert_eq!(proof(&facts(MD5), &kms, false), None);
        assert_eq!(proof(&facts("opaque"), &facts("opaque"), false), None);
    }

    #[test]
    fn checksums_of_parts_make_that_of_the_whole() {
        let crc = |bytes: &[u8]| BASE64.encode(crc_fast::checksum(CrcAlgorithm::Crc64Nvme, bytes).to_be_bytes());
        // The check value of the algorithm: <https://reveng.sourceforge.io/crc-catalogue/all.htm>
        assert_eq!(crc(b"123456789"), "rosUhgp5mIg=");
        let (one, two, three) = (crc(b"12"), crc(b"3456"), crc(b"789"));
        let parts = [(Some(one.as_str()), 2), (Some(two.as_str()), 4), (Some(three.as_str()), 3)];
        assert_eq!(combined(parts).as_deref(), Some("rosUhgp5mIg="));
        assert_eq!(combined([(Some(one.as_str()), 2), (None, 4)]), None);
        assert_eq!(combined([(Some("short"), 2)]), None);
        assert_eq!(combined([]), None);
    }

    #[test]
    fn rule_08_every_part_has_a_proof() {
        assert_eq!(PartProof::of(true, Encryption::Opaque), PartProof::Trailer);
        assert_eq!(PartProof::of(true, Encryption::Plain), PartProof::Trailer);
        assert_eq!(PartProof::of(false, Encryption::Plain), PartProof::Compared);
        assert_eq!(PartProof::of(false, Encryption::Opaque), PartProof::Ahead);
    }

    #[test]
    fn a_checksum_overrules_everything_else() {
        let with = |checksum: &str| Facts { checksum: Some(checksum.into()), ..facts(MD5) };
        assert_eq!(proof(&with("CRC64NVME:a"), &with("CRC64NVME:a"), false), Some(Proof::Checksum));
        assert_eq!(proof(&with("CRC64NVME:a"), &with("CRC64NVME:b"), true), None);
        assert_eq!(proof(&with("CRC64NVME:a"), &with("CRC32:a"), false), Some(Proof::Etag));
        assert_eq!(proof(&Facts { size: 6, ..with("CRC64NVME:a") }, &with("CRC64NVME:a"), true), None);
    }
}
