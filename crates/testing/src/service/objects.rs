//! Operations on whole objects.

use std::ops::Range as Bytes;
use std::sync::Arc;

use http::{HeaderMap, HeaderValue, StatusCode};
use s3s::dto::*;
use s3s::{S3Error, S3Request, S3Response, S3Result, s3_error};

use super::Service;
use super::fields::*;
use super::receive::Incoming;
use crate::digest::{Digests, Sums};
use crate::store::{Attributes, Found, Object as Stored, Versioning, WriteCondition};

/// The largest single PUT, 5 GiB: <https://docs.aws.amazon.com/AmazonS3/latest/userguide/upload-objects.html>
pub(super) const MAX_PUT: u64 = 5 * 1024 * 1024 * 1024;

/// What a GET or HEAD names besides bucket and key.
#[derive(Default)]
struct Asked {
    version_id: Option<String>,
    part_number: Option<i32>,
    range: Option<Range>,
    if_match: Option<IfMatch>,
    if_none_match: Option<IfNoneMatch>,
    if_modified_since: Option<Timestamp>,
    if_unmodified_since: Option<Timestamp>,
    checksum_mode: Option<ChecksumMode>,
}

macro_rules! asked {
    ($input:expr) => {
        Asked {
            version_id: $input.version_id.clone(),
            part_number: $input.part_number,
            range: $input.range,
            if_match: $input.if_match.clone(),
            if_none_match: $input.if_none_match.clone(),
            if_modified_since: $input.if_modified_since.clone(),
            if_unmodified_since: $input.if_unmodified_since.clone(),
            checksum_mode: $input.checksum_mode.clone(),
        }
    };
}

/// What both GET and HEAD report.
macro_rules! described {
    ($output:ident, $service:expr, $bucket:expr, $seen:expr) => {{
        let (object, range) = (&$seen.object, &$seen.range);
        let attributes = object.attributes.clone();
        let mut output = $output {
            accept_ranges: Some("bytes".to_owned()),
            cache_control: attributes.cache_control,
            content_disposition: attributes.content_disposition,
            content_encoding: attributes.content_encoding,
            content_language: attributes.content_language,
            content_length: Some((range.end - range.start) as i64),
            content_range: $seen
                .partial
                .then(|| format!("bytes {}-{}/{}", range.start, range.end - 1, object.body.len())),
            content_type: Some(attributes.content_type.unwrap_or_else(|| "binary/octet-stream".to_owned())),
            e_tag: Some(strong(&object.etag)),
            expires: attributes.expires,
            last_modified: Some(Timestamp::from(object.last_modified)),
            metadata: Some(attributes.metadata.into_iter().collect()),
            parts_count: $seen.parts_count,
            storage_class: attributes.storage_class.filter(|c| c != "STANDARD").map(Into::into),
            version_id: $service.shown_version($bucket, object),
            website_redirect_location: attributes.website_redirect_location,
            ..Default::default()
        };
        set_encryption!(output, object.encryption);
        if $seen.with_sums {
            set_sums!(output, object.sums);
            output.checksum_type = Some(ChecksumType::from(object.sum_type.name().to_owned()));
        }
        output
    }};
}

struct Seen {
    object: Arc<Stored>,
    range: Bytes<u64>,
    partial: bool,
    parts_count: Option<i32>,
    with_sums: bool,
}

fn no_such_key() -> S3Error {
    s3_error!(NoSuchKey, "The specified key does not exist.")
}

fn precondition(name: &str) -> S3Error {
    s3_error!(PreconditionFailed, "At least one of the pre-conditions you specified did not hold: {name}")
}

/// An error that tells of a delete marker in its headers.
fn marker_error(mut error: S3Error, version_id: &str) -> S3Error {
    let mut headers = HeaderMap::new();
    headers.insert("x-amz-delete-marker", HeaderValue::from_static("true"));
    if let Ok(id) = HeaderValue::from_str(version_id) {
        headers.insert("x-amz-version-id", id);
    }
    error.set_headers(headers);
    error
}

/// HTTP dates have whole seconds.
fn seconds(time: std::time::SystemTime) -> u64 {
    time.duration_since(std::time::UNIX_EPOCH).map(|d| d.as_secs()).unwrap_or_default()
}

fn check_conditions(object: &Stored, asked: &Asked) -> S3Result<()> {
    let modified = seconds(object.last_modified);
    let as_seconds = |t: &Timestamp| {
        let mut text = Vec::new();
        t.format(TimestampFormat::EpochSeconds, &mut text).ok();
        String::from_utf8(text).ok().and_then(|text| text.parse::<f64>().ok()).unwrap_or_default() as u64
    };
    match &asked.if_match {
        Some(condition) if !names(condition, &object.etag) => return Err(precondition("If-Match")),
        Some(_) => {}
        None => {
            if asked.if_unmodified_since.as_ref().is_some_and(|t| modified > as_seconds(t)) {
                return Err(precondition("If-Unmodified-Since"));
            }
        }
    }
    let unchanged = match &asked.if_none_match {
        Some(condition) => names(condition, &object.etag),
        None => asked.if_modified_since.as_ref().is_some_and(|t| modified <= as_seconds(t)),
    };
    if unchanged {
        let mut error = s3_error!(NotModified, "Not Modified");
        let mut headers = HeaderMap::new();
        if let Ok(etag) = HeaderValue::from_str(&format!("\"{}\"", object.etag)) {
            headers.insert(http::header::ETAG, etag);
        }
        error.set_headers(headers);
        return Err(error);
    }
    Ok(())
}

/// The bytes asked for, whether they are a part of the object, and how many parts it has.
fn extent(object: &Stored, asked: &Asked) -> S3Result<(Bytes<u64>, bool, Option<i32>)> {
    let len = object.body.len();
    match (asked.part_number, &asked.range) {
        (Some(_), Some(_)) => Err(s3_error!(InvalidRequest, "Cannot specify both Range header and partNumber")),
        (None, None) => Ok((0..len, false, None)),
        (None, Some(range)) => Ok((range.check(len)?, true, None)),
        (Some(number), None) => {
            let parts = &object.parts;
            let index = usize::try_from(number - 1).unwrap_or(usize::MAX);
            if index >= parts.len().max(1) {
                return Err(super::fields::named(
                    "InvalidPartNumber",
                    StatusCode::RANGE_NOT_SATISFIABLE,
                    "The requested partnumber is not satisfiable",
                ));
            }
            let start: u64 = parts.iter().take(index).sum();
            let end = parts.get(index).map_or(len, |size| start + size);
            let count = (!parts.is_empty()).then_some(parts.len() as i32);
            Ok((start..end, end > start, count))
        }
    }
}

impl Service {
    /// Buckets that never kept versions name none.
    pub(super) fn shown_version(&self, bucket: &str, object: &Stored) -> Option<String> {
        let versioning = self.store.settings(bucket).map(|s| s.versioning).unwrap_or_default();
        (versioning != Versioning::Off).then(|| object.version_id.clone())
    }

    pub(super) fn existing(&self, bucket: &str, key: &str, version_id: Option<&str>) -> S3Result<Arc<Stored>> {
        match self.store.find(bucket, key, version_id)? {
            Found::Object(object) => Ok(object),
            Found::Marker { version_id: id } => {
                let error = match version_id {
                    Some(_) => s3_error!(MethodNotAllowed, "The version is a delete marker"),
                    None => no_such_key(),
                };
                Err(marker_error(error, &id))
            }
            Found::Nothing if version_id.is_some() => {
                Err(s3_error!(NoSuchVersion, "The specified version does not exist."))
            }
            Found::Nothing => Err(no_such_key()),
        }
    }

    fn look(&self, bucket: &str, key: &str, asked: &Asked) -> S3Result<Seen> {
        let object = self.existing(bucket, key, asked.version_id.as_deref())?;
        check_conditions(&object, asked)?;
        let (range, partial, parts_count) = extent(&object, asked)?;
        let enabled = asked.checksum_mode.as_ref().is_some_and(|mode| mode.as_str() == "ENABLED");
        Ok(Seen { object, range, partial, parts_count, with_sums: enabled && !partial })
    }

    pub(super) async fn get(&self, req: S3Request<GetObjectInput>) -> S3Result<S3Response<GetObjectOutput>> {
        let input = req.input;
        let seen = self.look(&input.bucket, &input.key, &asked!(input))?;
        if seen.object.body.is_discarded() {
            return Err(s3_error!(InternalError, "The bytes of this object were discarded"));
        }
        let mut output = described!(GetObjectOutput, self, &input.bucket, seen);
        output.tag_count = (!seen.object.tags.is_empty()).then_some(seen.object.tags.len() as i32);
        output.body = Some(StreamingBlob::new(seen.object.body.stream(seen.range)));
        Ok(S3Response::new(output))
    }

    pub(super) async fn head(&self, req: S3Request<HeadObjectInput>) -> S3Result<S3Response<HeadObjectOutput>> {
        let input = req.input;
        let seen = self.look(&input.bucket, &input.key, &asked!(input))?;
        let status = if seen.partial { StatusCode::PARTIAL_CONTENT } else { StatusCode::OK };
        let mut output = described!(HeadObjectOutput, self, &input.bucket, seen);
        if let Some(class @ ("GLACIER" | "DEEP_ARCHIVE")) = seen.object.attributes.storage_class.as_deref() {
            output.storage_class = Some(class.to_owned().into());
        }
        let tags = seen.object.tags.len();
        let mut response = S3Response::with_status(output, status);
        // S3 counts the tags here too; the service library's output has no field for it.
        if tags > 0 {
            response.headers.insert("x-amz-tagging-count", tags.into());
        }
        Ok(response)
    }

    pub(super) async fn put(&self, req: S3Request<PutObjectInput>) -> S3Result<S3Response<PutObjectOutput>> {
        let (headers, trailers, input) = (req.headers, req.trailing_headers, req.input);
        let condition = write_condition(input.if_match.as_ref(), input.if_none_match.as_ref())?;
        self.store.checked_settings(&input.bucket)?;
        let attributes = attributes!(input);
        check_metadata(&attributes.metadata)?;
        let tags = header_tags(input.tagging.as_deref())?;
        let given: Sums = given_sums!(input);
        let mut received = self
            .receive(Incoming {
                body: input.body,
                length: input.content_length,
                content_md5: input.content_md5.as_deref(),
                given,
                headers: &headers,
                trailers,
                needed: None,
            })
            .await?;
        if received.digested.len > MAX_PUT {
            return Err(s3_error!(EntityTooLarge, "Your proposed upload exceeds the maximum size"));
        }
        if let Some(discard) = self.store.discard() {
            received.body = discard.resolved(&input.key, received.body);
        }
        let mut digested = received.digested;
        if !received.given.is_empty() {
            digested.sums.retain(|algorithm, _| received.given.contains(algorithm));
        }
        let object = self.store.put_object(
            (&input.bucket, &input.key),
            received.body,
            digested,
            attributes,
            tags,
            &condition,
        )?;
        let mut output = PutObjectOutput {
            e_tag: Some(strong(&object.etag)),
            checksum_type: Some(ChecksumType::from_static(ChecksumType::FULL_OBJECT)),
            version_id: self.shown_version(&input.bucket, &object),
            ..Default::default()
        };
        set_sums!(output, object.sums);
        set_encryption!(output, object.encryption);
        Ok(S3Response::new(output))
    }

    pub(super) async fn delete(&self, req: S3Request<DeleteObjectInput>) -> S3Result<S3Response<DeleteObjectOutput>> {
        let input = req.input;
        let condition = write_condition(input.if_match.as_ref(), None)?;
        let deleted = self.store.delete_object(&input.bucket, &input.key, input.version_id.as_deref(), &condition)?;
        let output = DeleteObjectOutput {
            delete_marker: deleted.marker.then_some(true),
            version_id: deleted.version_id,
            ..Default::default()
        };
        Ok(S3Response::with_status(output, StatusCode::NO_CONTENT))
    }

    pub(super) async fn delete_many(
        &self,
        req: S3Request<DeleteObjectsInput>,
    ) -> S3Result<S3Response<DeleteObjectsOutput>> {
        let input = req.input;
        let mut done = Vec::new();
        for object in input.delete.objects {
            let id = object.version_id.as_deref();
            let deleted = self.store.delete_object(&input.bucket, &object.key, id, &WriteCondition::Always)?;
            done.push(DeletedObject {
                delete_marker: deleted.marker.then_some(true),
                delete_marker_version_id: deleted.version_id.filter(|_| deleted.marker),
                key: Some(object.key),
                version_id: object.version_id,
            });
        }
        let deleted = (!input.delete.quiet.unwrap_or_default()).then_some(done);
        Ok(S3Response::new(DeleteObjectsOutput { deleted, ..Default::default() }))
    }

    pub(super) async fn copy(&self, req: S3Request<CopyObjectInput>) -> S3Result<S3Response<CopyObjectOutput>> {
        let condition = header_condition(&req.headers)?;
        let input = req.input;
        let (bucket, key, version_id) = bucket_source(&input.copy_source)?;
        let source = self.copied(bucket, key, version_id, input.copy_source_if_match.as_ref())?;
        if source.body.len() > MAX_PUT {
            return Err(s3_error!(
                InvalidRequest,
                "The specified copy source is larger than the maximum allowable size"
            ));
        }
        let replaces = |directive: Option<&str>| directive == Some("REPLACE");
        let given = attributes!(input);
        check_metadata(&given.metadata)?;
        let attributes = if replaces(input.metadata_directive.as_ref().map(|d| d.as_str())) {
            given
        } else {
            // Neither is ever copied.
            let (storage_class, website_redirect_location) = (given.storage_class, given.website_redirect_location);
            Attributes { storage_class, website_redirect_location, ..source.attributes.clone() }
        };
        let tags = if replaces(input.tagging_directive.as_ref().map(|d| d.as_str())) {
            header_tags(input.tagging.as_deref())?
        } else {
            source.tags.clone()
        };
        // The copy has checksums of the source's algorithms, always over all bytes.
        let mut digests = Digests::new(source.sums.keys().copied());
        source.body.pieces(0..source.body.len()).for_each(|piece| digests.update(&piece));
        let mut digested = digests.finish();
        if !source.sums.is_empty() {
            digested.sums.retain(|algorithm, _| source.sums.contains_key(algorithm));
        }
        let place = (input.bucket.as_str(), input.key.as_str());
        let object = self.store.put_object(place, source.body.clone(), digested, attributes, tags, &condition)?;
        let mut result = CopyObjectResult {
            checksum_type: Some(ChecksumType::from(object.sum_type.name().to_owned())),
            e_tag: Some(strong(&object.etag)),
            last_modified: Some(Timestamp::from(object.last_modified)),
            ..Default::default()
        };
        set_sums!(result, object.sums);
        let mut output = CopyObjectOutput {
            copy_object_result: Some(result),
            copy_source_version_id: self.shown_version(bucket, &source),
            version_id: self.shown_version(&input.bucket, &object),
            ..Default::default()
        };
        set_encryption!(output, object.encryption);
        Ok(S3Response::new(output))
    }

    /// The source of a copy, if it is the one expected.
    pub(super) fn copied(
        &self,
        bucket: &str,
        key: &str,
        version_id: Option<&str>,
        if_match: Option<&ETagCondition>,
    ) -> S3Result<Arc<Stored>> {
        let source = self.existing(bucket, key, version_id)?;
        if if_match.is_some_and(|condition| !names(condition, &source.etag)) {
            return Err(precondition("x-amz-copy-source-If-Match"));
        }
        if source.body.is_discarded() {
            return Err(s3_error!(InternalError, "The bytes of this object were discarded"));
        }
        Ok(source)
    }

    pub(super) async fn tags(
        &self,
        req: S3Request<GetObjectTaggingInput>,
    ) -> S3Result<S3Response<GetObjectTaggingOutput>> {
        let input = req.input;
        let object = self.existing(&input.bucket, &input.key, input.version_id.as_deref())?;
        let tags = object.tags.iter();
        let tag_set = tags.map(|(k, v)| Tag { key: Some(k.clone()), value: Some(v.clone()) }).collect();
        let version_id = self.shown_version(&input.bucket, &object);
        Ok(S3Response::new(GetObjectTaggingOutput { tag_set, version_id }))
    }

    pub(super) async fn set_tags(
        &self,
        req: S3Request<PutObjectTaggingInput>,
    ) -> S3Result<S3Response<PutObjectTaggingOutput>> {
        let input = req.input;
        let tags = tags_of(input.tagging.tag_set)?;
        let id = self.store.set_tags(&input.bucket, &input.key, input.version_id.as_deref(), tags)?;
        Ok(S3Response::new(PutObjectTaggingOutput { version_id: Some(id) }))
    }

    pub(super) async fn drop_tags(
        &self,
        req: S3Request<DeleteObjectTaggingInput>,
    ) -> S3Result<S3Response<DeleteObjectTaggingOutput>> {
        let input = req.input;
        let id = input.version_id.as_deref();
        let id = self.store.set_tags(&input.bucket, &input.key, id, Default::default())?;
        let output = DeleteObjectTaggingOutput { version_id: Some(id) };
        Ok(S3Response::with_status(output, StatusCode::NO_CONTENT))
    }
}
