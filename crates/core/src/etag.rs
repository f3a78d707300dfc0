//! ETags, and when one is an MD5.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use md5::{Digest as _, Md5};
use serde::{Deserialize, Serialize};
use std::fmt;

/// An entity tag without its quotes, as S3 listed or answered it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ETag(String);

impl ETag {
    /// An ETag from a header or a listing; surrounding quotes are dropped.
    pub fn new(text: &str) -> Self {
        Self(text.trim_matches('"').to_owned())
    }

    /// The ETag as `If-Match` and its kin need it.
    pub fn quoted(&self) -> String {
        format!("\"{}\"", self.0)
    }

    /// Without quotes.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The 16 bytes, if the ETag has the form of a single MD5 (32 hex digits).
    ///
    /// The form alone proves nothing: ETags of SSE-KMS and SSE-C objects look the same. See [`Encryption`].
    pub fn md5_form(&self) -> Option<Md5Digest> {
        Md5Digest::from_hex(&self.0)
    }

    /// The number of parts in a multipart ETag (`<32 hex>-<parts>`).
    pub fn parts_suffix(&self) -> Option<u32> {
        let (digest, parts) = self.0.split_once('-')?;
        Md5Digest::from_hex(digest)?;
        parts.parse().ok().filter(|parts| *parts > 0)
    }
}

impl fmt::Display for ETag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What the encryption headers of a response say about its ETag.
///
/// "Objects encrypted by SSE-C or SSE-KMS have ETags that are not an MD5 digest of their object data":
/// <https://docs.aws.amazon.com/AmazonS3/latest/API/API_Object.html>
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Encryption {
    /// None or `AES256`: an ETag is made of MD5s.
    #[default]
    Plain,
    /// `aws:kms`, `aws:kms:dsse`, SSE-C or anything unknown: an ETag is opaque.
    Opaque,
}

impl Encryption {
    /// From `x-amz-server-side-encryption` and the presence of an SSE-C algorithm header.
    pub fn from_headers(server_side: Option<&str>, customer_key: bool) -> Self {
        match server_side {
            None | Some("AES256") if !customer_key => Self::Plain,
            _ => Self::Opaque,
        }
    }
}

/// An MD5.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Md5Digest([u8; 16]);

impl Md5Digest {
    /// The MD5 of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Md5::digest(bytes).into())
    }

    /// A digest computed elsewhere.
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// From 32 hex digits of either case.
    pub fn from_hex(text: &str) -> Option<Self> {
        let text = text.as_bytes();
        if text.len() != 32 {
            return None;
        }
        let mut bytes = [0; 16];
        for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
            let high = (pair[0] as char).to_digit(16)?;
            let low = (pair[1] as char).to_digit(16)?;
            *byte = (high * 16 + low) as u8;
        }
        Some(Self(bytes))
    }

    /// For `Content-MD5`.
    pub fn base64(&self) -> String {
        BASE64.encode(self.0)
    }

    /// 32 lower-case hex digits.
    pub fn hex(&self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// The ETag of an object uploaded in a single part.
    pub fn etag(&self) -> ETag {
        ETag(self.hex())
    }
}

impl fmt::Debug for Md5Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.hex())
    }
}

/// The ETag of a multipart object: the MD5 of its parts' MD5s, a dash, their number.
///
/// `None` if any part's ETag is not of MD5 form, or there is no part.
pub fn composed<'a>(parts: impl IntoIterator<Item = &'a ETag>) -> Option<ETag> {
    let mut hash = Md5::new();
    let mut count = 0u32;
    for part in parts {
        hash.update(part.md5_form()?.0);
        count += 1;
    }
    let digest: [u8; 16] = hash.finalize().into();
    (count > 0).then(|| ETag(format!("{}-{count}", Md5Digest(digest).hex())))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn rule_06_an_etag_is_an_md5_only_by_form_and_encryption() {
        let etag = ETag::new("\"d41d8cd98f00b204e9800998ecf8427e\"");
        assert_eq!(etag.md5_form(), Some(Md5Digest::of(b"")));
        assert_eq!(ETag::new("d41d8cd98f00b204e9800998ecf8427e-1").md5_form(), None);
        assert_eq!(Encryption::from_headers(None, false), Encryption::Plain);
        assert_eq!(Encryption::from_headers(Some("AES256"), false), Encryption::Plain);
        assert_eq!(Encryption::from_headers(Some("AES256"), true), Encryption::Opaque);
        assert_eq!(Encryption::from_headers(Some("aws:kms"), false), Encryption::Opaque);
        assert_eq!(Encryption::from_headers(Some("aws:kms:dsse"), false), Encryption::Opaque);
    }

    #[test]
    fn composed_etag_is_the_md5_of_the_md5s() {
        let parts = [Md5Digest::of(b"a").etag(), Md5Digest::of(b"b").etag()];
        // Computed with another MD5 implementation.
        assert_eq!(composed(&parts).unwrap().as_str(), "96e024ba2074fe77e8e965ba43a704be-2");
        assert_eq!(composed(&parts).unwrap().parts_suffix(), Some(2));
        assert_eq!(composed(&[]), None);
        assert_eq!(composed(&[ETag::new("opaque")]), None);
    }
}
