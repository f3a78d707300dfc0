//! Multipart uploads.

use std::collections::BTreeMap;
use std::sync::Arc;

use s3s::{S3Error, S3Result, s3_error};

use super::{Attributes, Encryption, Object, Part, State, Store, Upload, WriteCondition};
use crate::body::Body;
use crate::digest::{Algorithm, Digested, SumType, Sums, combined, composite, multipart_etag};

/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html>
pub(crate) const MAX_PART_NUMBER: i32 = 10_000;

/// A part as `CompleteMultipartUpload` names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) number: i32,
    pub(crate) etag: String,
    pub(crate) sums: Sums,
}

/// What `CompleteMultipartUpload` asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Completion {
    pub(crate) bucket: String,
    pub(crate) key: String,
    pub(crate) upload_id: String,
    pub(crate) parts: Vec<Asked>,
    pub(crate) condition: WriteCondition,
    pub(crate) size: Option<u64>,
    pub(crate) sums: Sums,
    pub(crate) sum_type: Option<String>,
}

/// What `CreateMultipartUpload` asks for.
pub(crate) struct NewUpload {
    pub(crate) attributes: Attributes,
    pub(crate) tags: BTreeMap<String, String>,
    pub(crate) algorithm: Option<String>,
    pub(crate) sum_type: Option<String>,
}

fn no_such_upload() -> S3Error {
    s3_error!(
        NoSuchUpload,
        "The specified upload does not exist. The upload ID may be invalid, or the upload may have \
         been aborted or completed."
    )
}

fn checksum(new: &NewUpload) -> S3Result<Option<(Algorithm, SumType)>> {
    let Some(name) = &new.algorithm else {
        return match new.sum_type {
            Some(_) => Err(s3_error!(InvalidRequest, "A checksum type needs an algorithm")),
            None => Ok(None),
        };
    };
    let algorithm = Algorithm::named(name)
        .ok_or_else(|| s3_error!(InvalidRequest, "Checksum algorithm provided is unsupported"))?;
    let sum_type = match new.sum_type.as_deref() {
        Some("FULL_OBJECT") => SumType::FullObject,
        Some("COMPOSITE") => SumType::Composite,
        Some(_) => return Err(s3_error!(InvalidRequest, "Value for x-amz-checksum-type header is invalid.")),
        None if algorithm == Algorithm::Crc64Nvme => SumType::FullObject,
        None => SumType::Composite,
    };
    let possible = match sum_type {
        SumType::FullObject => algorithm.combines(),
        SumType::Composite => algorithm != Algorithm::Crc64Nvme,
    };
    if possible {
        Ok(Some((algorithm, sum_type)))
    } else {
        Err(s3_error!(
            InvalidRequest,
            "The {} checksum type cannot be used with the {} checksum algorithm.",
            sum_type.name(),
            algorithm.name()
        ))
    }
}

impl State {
    fn upload(&mut self, bucket: &str, key: &str, id: &str) -> S3Result<&mut Upload> {
        self.bucket(bucket)?;
        let upload = self.uploads.get_mut(id);
        upload.filter(|u| u.bucket == bucket && u.key == key).ok_or_else(no_such_upload)
    }
}

/// The parts named, in the order of the request, if they are what the upload holds.
fn chosen<'a>(upload: &'a Upload, completion: &Completion, min_part_size: u64) -> S3Result<Vec<&'a Part>> {
    if completion.parts.is_empty() {
        return Err(s3_error!(MalformedXML, "You must specify at least one part"));
    }
    if !completion.parts.is_sorted_by(|a, b| a.number < b.number) {
        return Err(s3_error!(InvalidPartOrder, "The list of parts was not in ascending order."));
    }
    let mut parts = Vec::with_capacity(completion.parts.len());
    for asked in &completion.parts {
        let held = u32::try_from(asked.number).ok().and_then(|number| upload.parts.get(&number));
        let part = held
            .filter(|part| part.etag == asked.etag)
            .ok_or_else(|| s3_error!(InvalidPart, "Part {} was not found or its ETag differs", asked.number))?;
        for (algorithm, sum) in &asked.sums {
            if part.digested.sums.get(algorithm) != Some(sum) {
                return Err(s3_error!(InvalidPart, "The checksum of part {} differs", asked.number));
            }
        }
        if let Some((algorithm, SumType::Composite)) = upload.checksum
            && !asked.sums.contains_key(&algorithm)
        {
            return Err(s3_error!(
                InvalidRequest,
                "The upload was created using a {} checksum. The complete request must include the \
                 checksum for each part. It was missing for part {} in the request.",
                algorithm.name().to_ascii_lowercase(),
                asked.number
            ));
        }
        parts.push(part);
    }
    let but_last = &parts[..parts.len() - 1];
    if but_last.iter().any(|part| part.digested.len < min_part_size) {
        return Err(s3_error!(EntityTooSmall, "Your proposed upload is smaller than the minimum allowed size"));
    }
    Ok(parts)
}

/// The checksum of the object, compared with what the request says of it.
fn whole_sum(upload: &Upload, parts: &[&Part], completion: &Completion) -> S3Result<(Algorithm, SumType, String)> {
    let (algorithm, sum_type) = upload.checksum.unwrap_or((Algorithm::Crc64Nvme, SumType::FullObject));
    if completion.sum_type.as_deref().is_some_and(|asked| asked != sum_type.name()) {
        return Err(s3_error!(InvalidRequest, "The upload was created using the {} checksum type.", sum_type.name()));
    }
    let sums = parts.iter().map(|part| part.digested.sums.get(&algorithm));
    let sum = match sum_type {
        SumType::FullObject => combined(algorithm, sums.zip(parts.iter().map(|p| p.digested.len))),
        SumType::Composite => composite(algorithm, sums),
    };
    let sum = sum.ok_or_else(|| s3_error!(InternalError, "A part has no {}", algorithm.name()))?;
    for (asked, value) in &completion.sums {
        if *asked != algorithm {
            return Err(s3_error!(
                InvalidRequest,
                "Checksum Type mismatch occurred, expected checksum Type: {}, actual checksum Type: {}",
                algorithm.name(),
                asked.name()
            ));
        }
        // A composite value may come without the number of parts behind it.
        if sum != *value && sum.split('-').next() != Some(value) {
            return Err(s3_error!(
                BadDigest,
                "The {} you specified did not match the calculated checksum.",
                algorithm.name()
            ));
        }
    }
    Ok((algorithm, sum_type, sum))
}

impl Store {
    pub(crate) fn create_upload(&self, bucket: &str, key: &str, new: NewUpload) -> S3Result<Upload> {
        let mut state = self.lock();
        state.bucket(bucket)?;
        let upload = Upload {
            id: state.id(3),
            bucket: bucket.to_owned(),
            key: key.to_owned(),
            initiated: state.now(),
            checksum: checksum(&new)?,
            attributes: new.attributes,
            tags: new.tags,
            parts: BTreeMap::new(),
        };
        state.uploads.insert(upload.id.clone(), upload.clone());
        Ok(upload)
    }

    /// The upload as it stands.
    pub(crate) fn checked_upload(&self, bucket: &str, key: &str, id: &str) -> S3Result<Upload> {
        Ok(self.lock().upload(bucket, key, id)?.clone())
    }

    /// The algorithm that the parts of an upload need, before a byte is read.
    pub(crate) fn upload_checksum(
        &self,
        bucket: &str,
        key: &str,
        id: &str,
        number: i32,
    ) -> S3Result<Option<(Algorithm, SumType)>> {
        if !(1..=MAX_PART_NUMBER).contains(&number) {
            return Err(s3_error!(
                InvalidArgument,
                "Part number must be an integer between 1 and {MAX_PART_NUMBER}, inclusive"
            ));
        }
        Ok(self.lock().upload(bucket, key, id)?.checksum)
    }

    pub(crate) fn put_part(
        &self,
        (bucket, key, id): (&str, &str, &str),
        number: i32,
        body: Body,
        digested: Digested,
        given: Vec<Algorithm>,
    ) -> S3Result<Part> {
        let mut state = self.lock();
        let needed = state.upload(bucket, key, id)?.checksum;
        if let (Some((needed, _)), Some(other)) = (needed, given.first())
            && !given.contains(&needed)
        {
            return Err(s3_error!(
                InvalidRequest,
                "Checksum Type mismatch occurred, expected checksum Type: {}, actual checksum Type: {}",
                needed.name(),
                other.name()
            ));
        }
        let encryption = state.bucket(bucket)?.settings.encryption;
        let etag = state.etag(encryption, &digested.md5);
        let part = Part { body, etag, digested, given, last_modified: state.now() };
        let upload = state.upload(bucket, key, id)?;
        upload.parts.insert(number.unsigned_abs(), part.clone());
        Ok(part)
    }

    pub(crate) fn abort(&self, bucket: &str, key: &str, id: &str) -> S3Result<()> {
        let mut state = self.lock();
        state.upload(bucket, key, id)?;
        state.uploads.remove(id);
        Ok(())
    }

    pub(crate) fn complete(&self, completion: Completion) -> S3Result<Arc<Object>> {
        let mut state = self.lock();
        let (bucket, key) = (completion.bucket.as_str(), completion.key.as_str());
        if state.config.complete_again
            && let Some((before, object)) = state.completed.get(&completion.upload_id)
            && (&before.bucket, &before.key, &before.parts) == (&completion.bucket, &completion.key, &completion.parts)
        {
            return Ok(object.clone());
        }
        let min_part_size = state.config.min_part_size;
        let discard = state.config.discard.clone();
        let upload = state.upload(bucket, key, &completion.upload_id)?.clone();
        let parts = chosen(&upload, &completion, min_part_size)?;
        let len: u64 = parts.iter().map(|part| part.digested.len).sum();
        if completion.size.is_some_and(|size| size != len) {
            return Err(s3_error!(
                InvalidRequest,
                "The provided 'x-amz-mp-object-size' header value does not match what was computed: {len}"
            ));
        }
        let (algorithm, sum_type, sum) = whole_sum(&upload, &parts, &completion)?;
        condition_holds(&state, &completion)?;
        let mut body = Body::Parts(parts.iter().map(|part| part.body.clone()).collect());
        if let Some(discard) = discard {
            body = discard.resolved(key, body);
        }
        let mut etag = multipart_etag(parts.iter().map(|part| &part.digested.md5));
        if state.bucket(bucket)?.settings.encryption == Encryption::Kms {
            etag = format!("{}-{}", state.id(4), parts.len());
        }
        let object = Object {
            version_id: String::new(),
            body,
            etag,
            last_modified: state.now(),
            attributes: upload.attributes.clone(),
            tags: upload.tags.clone(),
            parts: parts.iter().map(|part| part.digested.len).collect(),
            sums: Sums::from([(algorithm, sum)]),
            sum_type,
            encryption: Encryption::None,
        };
        let object = state.place(bucket, key, object)?;
        state.uploads.remove(&completion.upload_id);
        if state.config.complete_again {
            let id = completion.upload_id.clone();
            state.completed.insert(id, (completion, object.clone()));
        }
        Ok(object)
    }
}

fn condition_holds(state: &State, completion: &Completion) -> S3Result<()> {
    completion.condition.check(state.bucket(&completion.bucket)?.current(&completion.key))
}
