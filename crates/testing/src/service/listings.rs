//! Listings of objects and versions.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use s3s::dto::*;
use s3s::{S3Request, S3Response, S3Result, s3_error};

use super::Service;
use super::fields::strong;
use crate::digest::unbase64;
use crate::store::{After, Version};

/// <https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectsV2.html>
const MAX_KEYS: i32 = 1000;

/// What S3 escapes in listings; a space becomes `+`.
const ESCAPED: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'*').remove(b'/').remove(b' ');

pub(super) fn encoded(text: String, url: bool) -> String {
    if url { utf8_percent_encode(&text, ESCAPED).to_string().replace(' ', "+") } else { text }
}

fn token(after: &After) -> String {
    let text = match after {
        After::Key(key) => format!("k{key}"),
        After::Prefix(prefix) => format!("p{prefix}"),
    };
    URL_SAFE_NO_PAD.encode(text)
}

fn after(token: &str) -> S3Result<After> {
    let wrong = || s3_error!(InvalidArgument, "The continuation token provided is incorrect");
    let bytes = URL_SAFE_NO_PAD.decode(token).ok().or_else(|| unbase64(token)).ok_or_else(wrong)?;
    let text = String::from_utf8(bytes).map_err(|_| wrong())?;
    match text.split_at_checked(1) {
        Some(("k", key)) => Ok(After::Key(key.to_owned())),
        Some(("p", prefix)) => Ok(After::Prefix(prefix.to_owned())),
        _ => Err(wrong()),
    }
}

fn page_size(asked: Option<i32>) -> S3Result<i32> {
    match asked.unwrap_or(MAX_KEYS) {
        ..0 => Err(s3_error!(InvalidArgument, "max-keys cannot be negative")),
        n => Ok(n.min(MAX_KEYS)),
    }
}

impl Service {
    pub(super) async fn list(&self, req: S3Request<ListObjectsV2Input>) -> S3Result<S3Response<ListObjectsV2Output>> {
        let input = req.input;
        let max = page_size(input.max_keys)?;
        let prefix = input.prefix.clone().unwrap_or_default();
        let delimiter = input.delimiter.clone().unwrap_or_default();
        let from = match (&input.continuation_token, &input.start_after) {
            (Some(token), _) => Some(after(token)?),
            (None, Some(key)) => Some(After::Key(key.clone())),
            (None, None) => None,
        };
        let page = self.store.list(&input.bucket, &prefix, &delimiter, from, max as usize)?;
        let url = input.encoding_type.is_some();
        let count = page.objects.len() + page.prefixes.len();
        let contents = page.objects.into_iter().map(|(key, object)| Object {
            checksum_algorithm: Some(
                object.sums.keys().map(|a| ChecksumAlgorithm::from(a.name().to_owned())).collect(),
            ),
            checksum_type: Some(ChecksumType::from(object.sum_type.name().to_owned())),
            e_tag: Some(strong(&object.etag)),
            key: Some(encoded(key, url)),
            last_modified: Some(Timestamp::from(object.last_modified)),
            size: Some(object.body.len() as i64),
            storage_class: Some(
                object.attributes.storage_class.clone().unwrap_or_else(|| "STANDARD".to_owned()).into(),
            ),
            ..Default::default()
        });
        let prefixes = page.prefixes.into_iter().map(|p| CommonPrefix { prefix: Some(encoded(p, url)) });
        Ok(S3Response::new(ListObjectsV2Output {
            name: Some(input.bucket),
            prefix: Some(encoded(prefix, url)),
            max_keys: Some(max),
            key_count: Some(count as i32),
            continuation_token: input.continuation_token,
            is_truncated: Some(page.next.is_some()),
            next_continuation_token: page.next.as_ref().map(token),
            contents: Some(contents.collect()),
            common_prefixes: Some(prefixes.collect()),
            delimiter: input.delimiter.map(|delimiter| encoded(delimiter, url)),
            encoding_type: input.encoding_type,
            start_after: input.start_after.map(|key| encoded(key, url)),
            ..Default::default()
        }))
    }

    pub(super) async fn list_versions(
        &self,
        req: S3Request<ListObjectVersionsInput>,
    ) -> S3Result<S3Response<ListObjectVersionsOutput>> {
        let input = req.input;
        if input.delimiter.as_ref().is_some_and(|delimiter| !delimiter.is_empty()) {
            return Err(s3_error!(NotImplemented, "Versions are listed without a delimiter only"));
        }
        let max = page_size(input.max_keys)?;
        let markers =
            (input.key_marker.as_deref().unwrap_or_default(), input.version_id_marker.as_deref().unwrap_or_default());
        let prefix = input.prefix.as_deref().unwrap_or_default();
        let page = self.store.list_versions(&input.bucket, prefix, markers, max as usize)?;
        let url = input.encoding_type.is_some();
        let next = page.versions.last().filter(|_| page.truncated);
        let next = next.map(|(key, version, _)| (encoded(key.clone(), url), version.id().to_owned()));
        let (mut versions, mut delete_markers) = (Vec::new(), Vec::new());
        for (key, version, newest) in page.versions {
            let key = Some(encoded(key, url));
            match version {
                Version::Object(object) => versions.push(ObjectVersion {
                    e_tag: Some(strong(&object.etag)),
                    is_latest: Some(newest),
                    key,
                    last_modified: Some(Timestamp::from(object.last_modified)),
                    size: Some(object.body.len() as i64),
                    version_id: Some(object.version_id.clone()),
                    ..Default::default()
                }),
                Version::Marker { version_id, last_modified } => {
                    delete_markers.push(DeleteMarkerEntry {
                        is_latest: Some(newest),
                        key,
                        last_modified: Some(Timestamp::from(last_modified)),
                        version_id: Some(version_id),
                        ..Default::default()
                    });
                }
            }
        }
        Ok(S3Response::new(ListObjectVersionsOutput {
            is_truncated: Some(page.truncated),
            next_key_marker: next.as_ref().map(|(key, _)| key.clone()),
            next_version_id_marker: next.map(|(_, id)| id),
            versions: Some(versions),
            delete_markers: Some(delete_markers),
            max_keys: Some(max),
            name: Some(input.bucket),
            prefix: input.prefix.map(|prefix| encoded(prefix, url)),
            encoding_type: input.encoding_type,
            ..Default::default()
        }))
    }
}
