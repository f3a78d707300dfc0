//! Multipart uploads.

use http::StatusCode;
use s3s::dto::*;
use s3s::{S3Request, S3Response, S3Result, s3_error};

use super::Service;
use super::fields::*;
use super::objects::MAX_PUT;
use super::receive::Incoming;
use crate::digest::{Algorithm, Digests, Sums};
use crate::store::{Asked, Completion, NewUpload, Upload};

/// <https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListParts.html>
const MAX_PARTS: i32 = 1000;

/// <https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListMultipartUploads.html>
const MAX_UPLOADS: i32 = 1000;

fn algorithm(upload: &Upload) -> Option<ChecksumAlgorithm> {
    upload.checksum.map(|(algorithm, _)| ChecksumAlgorithm::from(algorithm.name().to_owned()))
}

fn sum_type(upload: &Upload) -> Option<ChecksumType> {
    upload.checksum.map(|(_, sum_type)| ChecksumType::from(sum_type.name().to_owned()))
}

/// The checksums of a part that its upload or its client asked for.
fn shown(sums: &Sums, needed: Option<Algorithm>, given: &[Algorithm]) -> Sums {
    let wanted = |algorithm: &Algorithm| Some(*algorithm) == needed || given.contains(algorithm);
    sums.iter().filter(|(a, _)| wanted(a)).map(|(a, sum)| (*a, sum.clone())).collect()
}

impl Service {
    pub(super) async fn create(
        &self,
        req: S3Request<CreateMultipartUploadInput>,
    ) -> S3Result<S3Response<CreateMultipartUploadOutput>> {
        let input = req.input;
        let attributes = attributes!(input);
        check_metadata(&attributes.metadata)?;
        let new = NewUpload {
            attributes,
            tags: header_tags(input.tagging.as_deref())?,
            algorithm: input.checksum_algorithm.map(|a| a.as_str().to_owned()),
            sum_type: input.checksum_type.map(|t| t.as_str().to_owned()),
        };
        let upload = self.store.create_upload(&input.bucket, &input.key, new)?;
        let mut output = CreateMultipartUploadOutput {
            checksum_algorithm: algorithm(&upload),
            checksum_type: sum_type(&upload),
            upload_id: Some(upload.id),
            bucket: Some(input.bucket.clone()),
            key: Some(input.key),
            ..Default::default()
        };
        set_encryption!(output, self.store.checked_settings(&input.bucket)?.encryption);
        Ok(S3Response::new(output))
    }

    pub(super) async fn part(&self, req: S3Request<UploadPartInput>) -> S3Result<S3Response<UploadPartOutput>> {
        let (headers, trailers, input) = (req.headers, req.trailing_headers, req.input);
        let place = (input.bucket.as_str(), input.key.as_str(), input.upload_id.as_str());
        let needed = self.store.upload_checksum(place.0, place.1, place.2, input.part_number)?;
        let needed = needed.map(|(algorithm, _)| algorithm);
        let received = self
            .receive(Incoming {
                given: given_sums!(input),
                body: input.body,
                length: input.content_length,
                content_md5: input.content_md5.as_deref(),
                headers: &headers,
                trailers,
                needed,
            })
            .await?;
        if received.digested.len > MAX_PUT {
            return Err(s3_error!(EntityTooLarge, "Your proposed upload exceeds the maximum size"));
        }
        let part = self.store.put_part(place, input.part_number, received.body, received.digested, received.given)?;
        let mut output = UploadPartOutput { e_tag: Some(strong(&part.etag)), ..Default::default() };
        set_sums!(output, shown(&part.digested.sums, needed, &part.given));
        set_encryption!(output, self.store.checked_settings(&input.bucket)?.encryption);
        Ok(S3Response::new(output))
    }

    pub(super) async fn part_copy(
        &self,
        req: S3Request<UploadPartCopyInput>,
    ) -> S3Result<S3Response<UploadPartCopyOutput>> {
        let input = req.input;
        let place = (input.bucket.as_str(), input.key.as_str(), input.upload_id.as_str());
        let needed = self.store.upload_checksum(place.0, place.1, place.2, input.part_number)?;
        let needed = needed.map(|(algorithm, _)| algorithm);
        let (bucket, key, version_id) = bucket_source(&input.copy_source)?;
        let source = self.copied(bucket, key, version_id, input.copy_source_if_match.as_ref())?;
        let range = match &input.copy_source_range {
            Some(text) => Range::parse(text)
                .map_err(|_| s3_error!(InvalidArgument, "x-amz-copy-source-range is malformed"))?
                .check(source.body.len())?,
            None => 0..source.body.len(),
        };
        let mut digests = Digests::new(needed);
        let mut bytes = Vec::new();
        for piece in source.body.pieces(range) {
            digests.update(&piece);
            bytes.extend_from_slice(&piece);
        }
        let body = crate::body::Body::Bytes(bytes.into());
        let part = self.store.put_part(place, input.part_number, body, digests.finish(), Vec::new())?;
        let mut result = CopyPartResult {
            e_tag: Some(strong(&part.etag)),
            last_modified: Some(Timestamp::from(part.last_modified)),
            ..Default::default()
        };
        set_sums!(result, shown(&part.digested.sums, needed, &[]));
        let mut output = UploadPartCopyOutput {
            copy_part_result: Some(result),
            copy_source_version_id: self.shown_version(bucket, &source),
            ..Default::default()
        };
        set_encryption!(output, self.store.checked_settings(&input.bucket)?.encryption);
        Ok(S3Response::new(output))
    }

    pub(super) async fn complete(
        &self,
        req: S3Request<CompleteMultipartUploadInput>,
    ) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
        let input = req.input;
        let asked = |part: CompletedPart| Asked {
            number: part.part_number.unwrap_or_default(),
            sums: given_sums!(part),
            etag: part.e_tag.map(ETag::into_value).unwrap_or_default(),
        };
        let completion = Completion {
            bucket: input.bucket.clone(),
            key: input.key.clone(),
            condition: write_condition(input.if_match.as_ref(), input.if_none_match.as_ref())?,
            size: input.mpu_object_size.and_then(|size| u64::try_from(size).ok()),
            sums: given_sums!(input),
            sum_type: input.checksum_type.map(|sum_type| sum_type.as_str().to_owned()),
            parts: input
                .multipart_upload
                .and_then(|upload| upload.parts)
                .unwrap_or_default()
                .into_iter()
                .map(asked)
                .collect(),
            upload_id: input.upload_id,
        };
        let object = self.store.complete(completion)?;
        let mut output = CompleteMultipartUploadOutput {
            location: Some(format!("/{}/{}", input.bucket, input.key)),
            checksum_type: Some(ChecksumType::from(object.sum_type.name().to_owned())),
            e_tag: Some(strong(&object.etag)),
            version_id: self.shown_version(&input.bucket, &object),
            bucket: Some(input.bucket),
            key: Some(input.key),
            ..Default::default()
        };
        set_sums!(output, object.sums);
        set_encryption!(output, object.encryption);
        Ok(S3Response::new(output))
    }

    pub(super) async fn abort(
        &self,
        req: S3Request<AbortMultipartUploadInput>,
    ) -> S3Result<S3Response<AbortMultipartUploadOutput>> {
        self.store.abort(&req.input.bucket, &req.input.key, &req.input.upload_id)?;
        let output = AbortMultipartUploadOutput::default();
        Ok(S3Response::with_status(output, StatusCode::NO_CONTENT))
    }

    pub(super) async fn parts(&self, req: S3Request<ListPartsInput>) -> S3Result<S3Response<ListPartsOutput>> {
        let input = req.input;
        let upload = self.store.checked_upload(&input.bucket, &input.key, &input.upload_id)?;
        let max = input.max_parts.unwrap_or(MAX_PARTS).clamp(0, MAX_PARTS);
        let marker = input.part_number_marker.unwrap_or_default();
        let after = u32::try_from(marker).unwrap_or_default();
        let needed = upload.checksum.map(|(algorithm, _)| algorithm);
        let mut parts = Vec::new();
        for (number, held) in upload.parts.range(after + 1..).take(max as usize) {
            let mut part = Part {
                e_tag: Some(strong(&held.etag)),
                last_modified: Some(Timestamp::from(held.last_modified)),
                part_number: Some(*number as i32),
                size: Some(held.digested.len as i64),
                ..Default::default()
            };
            set_sums!(part, shown(&held.digested.sums, needed, &held.given));
            parts.push(part);
        }
        let truncated = upload.parts.range(after + 1..).count() > parts.len();
        Ok(S3Response::new(ListPartsOutput {
            checksum_algorithm: algorithm(&upload),
            checksum_type: sum_type(&upload),
            is_truncated: Some(truncated),
            next_part_number_marker: parts.last().and_then(|part| part.part_number),
            parts: Some(parts),
            max_parts: Some(max),
            part_number_marker: Some(marker),
            storage_class: Some(upload.attributes.storage_class.unwrap_or_else(|| "STANDARD".to_owned()).into()),
            bucket: Some(input.bucket),
            key: Some(input.key),
            upload_id: Some(input.upload_id),
            ..Default::default()
        }))
    }

    pub(super) async fn uploads(
        &self,
        req: S3Request<ListMultipartUploadsInput>,
    ) -> S3Result<S3Response<ListMultipartUploadsOutput>> {
        let input = req.input;
        if input.delimiter.as_ref().is_some_and(|delimiter| !delimiter.is_empty()) {
            return Err(s3_error!(NotImplemented, "Uploads are listed without a delimiter only"));
        }
        let max = input.max_uploads.unwrap_or(MAX_UPLOADS).clamp(0, MAX_UPLOADS);
        let markers =
            (input.key_marker.as_deref().unwrap_or_default(), input.upload_id_marker.as_deref().unwrap_or_default());
        let prefix = input.prefix.as_deref().unwrap_or_default();
        let listed = self.store.list_uploads(&input.bucket, prefix, markers, max as usize)?;
        let url = input.encoding_type.is_some();
        let next = listed.uploads.last().filter(|_| listed.truncated).cloned();
        let uploads = listed.uploads.into_iter().map(|upload| MultipartUpload {
            checksum_algorithm: algorithm(&upload),
            checksum_type: sum_type(&upload),
            initiated: Some(Timestamp::from(upload.initiated)),
            key: Some(super::listings::encoded(upload.key, url)),
            upload_id: Some(upload.id),
            ..Default::default()
        });
        Ok(S3Response::new(ListMultipartUploadsOutput {
            uploads: Some(uploads.collect()),
            is_truncated: Some(listed.truncated),
            next_key_marker: next.as_ref().map(|u| super::listings::encoded(u.key.clone(), url)),
            next_upload_id_marker: next.map(|u| u.id),
            max_uploads: Some(max),
            encoding_type: input.encoding_type,
            key_marker: input.key_marker.map(|key| super::listings::encoded(key, url)),
            upload_id_marker: input.upload_id_marker,
            prefix: input.prefix.map(|prefix| super::listings::encoded(prefix, url)),
            bucket: Some(input.bucket),
            ..Default::default()
        }))
    }
}
