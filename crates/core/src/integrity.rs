//! When two objects count as the same (SEMANTICS.md, rules 6 to 10).

use crate::etag::{ETag, Encryption};
use crate::outcome::Proof;

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
    fn a_checksum_overrules_everything_else() {
        let with = |checksum: &str| Facts { checksum: Some(checksum.into()), ..facts(MD5) };
        assert_eq!(proof(&with("CRC64NVME:a"), &with("CRC64NVME:a"), false), Some(Proof::Checksum));
        assert_eq!(proof(&with("CRC64NVME:a"), &with("CRC64NVME:b"), true), None);
        assert_eq!(proof(&with("CRC64NVME:a"), &with("CRC32:a"), false), Some(Proof::Etag));
        assert_eq!(proof(&Facts { size: 6, ..with("CRC64NVME:a") }, &with("CRC64NVME:a"), true), None);
    }
}
