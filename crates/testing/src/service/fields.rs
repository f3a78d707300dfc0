//! Groups of fields that many inputs and outputs share.

use std::collections::BTreeMap;

use http::{HeaderMap, StatusCode};
use s3s::dto::{CopySource, ETag, ETagCondition, IfMatch, IfNoneMatch, ServerSideEncryption, Tag};
use s3s::{S3Error, S3ErrorCode, S3Result, s3_error};

use crate::store::{Encryption, WriteCondition};

/// 2 KiB: <https://docs.aws.amazon.com/AmazonS3/latest/userguide/UsingMetadata.html>
const MAX_METADATA: usize = 2048;

/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-tagging.html>
const MAX_TAGS: usize = 10;

/// The checksums that an input carries.
macro_rules! given_sums {
    ($input:expr) => {
        [
            ($crate::digest::Algorithm::Crc32, $input.checksum_crc32.clone()),
            ($crate::digest::Algorithm::Crc32c, $input.checksum_crc32c.clone()),
            ($crate::digest::Algorithm::Crc64Nvme, $input.checksum_crc64nvme.clone()),
            ($crate::digest::Algorithm::Sha1, $input.checksum_sha1.clone()),
            ($crate::digest::Algorithm::Sha256, $input.checksum_sha256.clone()),
        ]
        .into_iter()
        .filter_map(|(algorithm, sum)| Some((algorithm, sum?)))
        .collect::<$crate::digest::Sums>()
    };
}

/// Writes checksums into an output.
macro_rules! set_sums {
    ($output:expr, $sums:expr) => {{
        let sums = &$sums;
        $output.checksum_crc32 = sums.get(&$crate::digest::Algorithm::Crc32).cloned();
        $output.checksum_crc32c = sums.get(&$crate::digest::Algorithm::Crc32c).cloned();
        $output.checksum_crc64nvme = sums.get(&$crate::digest::Algorithm::Crc64Nvme).cloned();
        $output.checksum_sha1 = sums.get(&$crate::digest::Algorithm::Sha1).cloned();
        $output.checksum_sha256 = sums.get(&$crate::digest::Algorithm::Sha256).cloned();
    }};
}

/// The headers that an input gives an object.
macro_rules! attributes {
    ($input:expr) => {
        $crate::store::Attributes {
            content_type: $input.content_type.clone(),
            cache_control: $input.cache_control.clone(),
            content_disposition: $input.content_disposition.clone(),
            content_encoding: $crate::service::fields::stored_encoding($input.content_encoding.as_deref()),
            content_language: $input.content_language.clone(),
            expires: $input.expires.clone(),
            storage_class: $input.storage_class.as_ref().map(|class| class.as_str().to_owned()),
            website_redirect_location: $input.website_redirect_location.clone(),
            metadata: $input.metadata.clone().unwrap_or_default().into_iter().collect(),
        }
    };
}

/// Reports a bucket's encryption in an output.
macro_rules! set_encryption {
    ($output:expr, $encryption:expr) => {{
        let encryption = $encryption;
        $output.server_side_encryption = $crate::service::fields::encryption_header(encryption);
        $output.ssekms_key_id = $crate::service::fields::kms_key(encryption);
    }};
}

pub(super) use {attributes, given_sums, set_encryption, set_sums};

/// S3 keeps the encodings of the content and drops that of the transfer.
pub(super) fn stored_encoding(value: Option<&str>) -> Option<String> {
    let kept: Vec<&str> = value?
        .split(',')
        .map(str::trim)
        .filter(|encoding| !encoding.is_empty() && *encoding != "aws-chunked")
        .collect();
    (!kept.is_empty()).then(|| kept.join(","))
}

pub(super) fn encryption_header(encryption: Encryption) -> Option<ServerSideEncryption> {
    match encryption {
        Encryption::None => None,
        Encryption::Aes256 => Some(ServerSideEncryption::from_static(ServerSideEncryption::AES256)),
        Encryption::Kms => Some(ServerSideEncryption::from_static(ServerSideEncryption::AWS_KMS)),
    }
}

pub(super) fn kms_key(encryption: Encryption) -> Option<String> {
    let arn = "arn:aws:kms:us-east-1:000000000000:key/00000000-0000-0000-0000-000000000000";
    (encryption == Encryption::Kms).then(|| arn.to_owned())
}

pub(super) fn strong(etag: &str) -> ETag {
    ETag::Strong(etag.to_owned())
}

/// Whether a read condition names this ETag.
pub(super) fn names(condition: &ETagCondition, etag: &str) -> bool {
    condition.as_etag().is_none_or(|named| named.value() == etag)
}

pub(super) fn write_condition(
    if_match: Option<&IfMatch>,
    if_none_match: Option<&IfNoneMatch>,
) -> S3Result<WriteCondition> {
    match (if_match, if_none_match) {
        (None, None) => Ok(WriteCondition::Always),
        (None, Some(none)) if none.is_any() => Ok(WriteCondition::Absent),
        (Some(one), None) => Ok(match one.as_etag() {
            Some(etag) => WriteCondition::Is(etag.value().to_owned()),
            None => WriteCondition::Present,
        }),
        _ => Err(s3_error!(NotImplemented, "A header you provided implies functionality that is not implemented")),
    }
}

/// The same of an operation whose conditions the service library does not know.
pub(super) fn header_condition(headers: &HeaderMap) -> S3Result<WriteCondition> {
    let named = |name: &str| {
        let value = headers.get(name).map(|value| ETagCondition::parse_http_header(value.as_bytes()));
        value.transpose().map_err(|_| s3_error!(InvalidArgument, "{name} is malformed"))
    };
    write_condition(named("if-match")?.as_ref(), named("if-none-match")?.as_ref())
}

pub(super) fn check_metadata(metadata: &BTreeMap<String, String>) -> S3Result<()> {
    if metadata.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>() > MAX_METADATA {
        return Err(s3_error!(MetadataTooLarge, "Your metadata headers exceed the maximum allowed metadata size"));
    }
    Ok(())
}

/// Tags as the header `x-amz-tagging` has them.
pub(super) fn header_tags(header: Option<&str>) -> S3Result<BTreeMap<String, String>> {
    let text = |part: &str| {
        let part = part.replace('+', " ");
        let decoded = percent_encoding::percent_decode_str(&part).decode_utf8();
        decoded.map(|text| text.into_owned()).map_err(|_| s3_error!(InvalidArgument, "tagging"))
    };
    let pairs = header.unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
    let tags = pairs.map(|pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        Ok((text(key)?, text(value)?))
    });
    checked_tags(tags.collect::<S3Result<Vec<_>>>()?)
}

pub(super) fn tags_of(set: Vec<Tag>) -> S3Result<BTreeMap<String, String>> {
    checked_tags(set.into_iter().map(|tag| (tag.key.unwrap_or_default(), tag.value.unwrap_or_default())).collect())
}

fn checked_tags(pairs: Vec<(String, String)>) -> S3Result<BTreeMap<String, String>> {
    let count = pairs.len();
    if count > MAX_TAGS {
        return Err(named(
            "BadRequest",
            StatusCode::BAD_REQUEST,
            format!("Object tags cannot be greater than {MAX_TAGS}"),
        ));
    }
    let tags: BTreeMap<String, String> = pairs.into_iter().collect();
    if tags.len() != count || tags.keys().any(String::is_empty) {
        return Err(s3_error!(InvalidTag, "Tag keys must be unique and not empty"));
    }
    Ok(tags)
}

/// Bucket, key and version id of a copy's source.
pub(super) fn bucket_source(source: &CopySource) -> S3Result<(&str, &str, Option<&str>)> {
    match source {
        CopySource::Bucket { bucket, key, version_id } => Ok((bucket, key, version_id.as_deref())),
        _ => Err(s3_error!(NotImplemented, "Access points are not supported")),
    }
}

/// An error whose code the service library does not know.
pub(super) fn named(code: &str, status: StatusCode, message: impl Into<String>) -> S3Error {
    let mut error = S3Error::new(S3ErrorCode::Custom(code.into()));
    error.set_message(message.into());
    error.set_status_code(status);
    error
}
