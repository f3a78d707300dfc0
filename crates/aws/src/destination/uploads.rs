//! Multipart uploads at the destination.

use super::{Destination, Written, conditions, in_time, longest};
use crate::denial::payer;
use crate::error::{Place, StepError, from_sdk};
use crate::metadata::{Metadata, encryption_of, with_metadata};
use aws_sdk_s3::config::{Builder as Override, RequestChecksumCalculation};
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{ChecksumAlgorithm, ChecksumType, CompletedMultipartUpload, CompletedPart};
use longhaul_core::config::Options;
use longhaul_core::contract::Seen;
use longhaul_core::error::ErrorName;
use longhaul_core::etag::{ETag, Encryption, Md5Digest};
use longhaul_core::layout::PartRange;
use std::time::Duration;

/// An upload that was begun.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Begun {
    /// Its id.
    pub upload_id: String,
    /// How its object will be encrypted.
    pub encryption: Encryption,
    /// Whether the store checks a CRC64NVME that trails each part.
    pub trailing_checksum: bool,
}

/// What a finished upload is to be.
#[derive(Clone, Copy, Debug)]
pub struct Whole<'a> {
    /// Its bytes.
    pub size: u64,
    /// Its CRC64NVME in base64, where it is known.
    pub crc64nvme: Option<&'a str>,
    /// Whether the upload was begun with checksums: then the store has to take this one.
    pub checksums_begun: bool,
}

/// A part on its way.
#[derive(Debug)]
pub struct PartSent {
    /// Its number.
    pub number: u32,
    /// Its bytes.
    pub body: ByteStream,
    /// How many.
    pub length: u64,
    /// Their MD5 where it is known ahead: the store checks it.
    pub md5: Option<Md5Digest>,
    /// Whether their CRC64NVME is taken on the way and follows them: the store checks it.
    pub trailing: bool,
}

/// A part that the destination holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldPart {
    /// Its number.
    pub number: u32,
    /// Its size in bytes.
    pub size: u64,
    /// Its ETag.
    pub etag: ETag,
    /// Its CRC64NVME in base64, where the upload carries them.
    pub crc64nvme: Option<String>,
}

/// Complete "could take several minutes", answering with white space meanwhile; only silence ends the wait.
/// <https://docs.aws.amazon.com/AmazonS3/latest/API/API_CompleteMultipartUpload.html>
const COMPLETE_TIMEOUT: Duration = Duration::from_secs(600);

impl Destination {
    /// Begins an upload, with checksums where the store knows them and they can travel.
    pub async fn create_upload(&self, key: &str, metadata: &Metadata, options: &Options) -> Result<Begun, StepError> {
        let what = self.what("beginning an upload to", key);
        let send = |checksums: bool| {
            with_metadata!(self.client.create_multipart_upload(), metadata, options)
                .bucket(&self.side.bucket)
                .key(key)
                .set_checksum_algorithm(checksums.then_some(ChecksumAlgorithm::Crc64Nvme))
                .set_checksum_type(checksums.then_some(ChecksumType::FullObject))
                .set_expected_bucket_owner(self.side.owner.clone())
                .set_request_payer(payer(&self.side))
                .send()
        };
        let named = |error| from_sdk(Place::Destination, &what, &error);
        let answer = match send(self.is_tls()).await.map_err(named) {
            // A store that does not know the algorithm says so, or ignores it.
            Err(error) if self.is_tls() && matches!(error.status, Some(400 | 501)) => {
                send(false).await.map_err(named)?
            }
            other => other?,
        };
        let trailing_checksum = self.is_tls()
            && answer.checksum_algorithm() == Some(&ChecksumAlgorithm::Crc64Nvme)
            && answer.checksum_type() == Some(&ChecksumType::FullObject);
        let encryption = encryption_of!(answer);
        let upload_id =
            answer.upload_id.ok_or_else(|| StepError::rejected(format!("{what}: no upload id came back")))?;
        Ok(Begun { upload_id, encryption, trailing_checksum })
    }

    /// Sends one part.
    pub async fn upload_part(&self, key: &str, upload_id: &str, part: PartSent) -> Result<Written, StepError> {
        let PartSent { number, body, length, md5, trailing } = part;
        let what = || self.what(&format!("sending part {number} of"), key);
        let streams = body.bytes().is_none();
        let mut request = self
            .writer
            .upload_part()
            .bucket(&self.side.bucket)
            .key(key)
            .upload_id(upload_id)
            .part_number(number as i32)
            .set_content_length((!trailing).then_some(length as i64))
            .set_content_md5(md5.map(|md5| md5.base64()))
            .set_checksum_algorithm(trailing.then_some(ChecksumAlgorithm::Crc64Nvme))
            .set_expected_bucket_owner(self.side.owner.clone())
            .set_request_payer(payer(&self.side))
            .body(body)
            .customize()
            .disable_payload_signing();
        if trailing {
            // The SDK takes the checksum on the way and sends it behind the body.
            request = request.config_override(
                Override::default().request_checksum_calculation(RequestChecksumCalculation::WhenSupported),
            );
        }
        let write = async { request.send().await.map_err(|error| from_sdk(Place::Destination, &what(), &error)) };
        // A body that streams is watched by whoever sends it: as long as it moves it may take its time.
        let answer = if streams { write.await? } else { in_time(length, what, write).await? };
        Ok(Written {
            etag: ETag::new(answer.e_tag().unwrap_or_default()),
            encryption: encryption_of!(answer),
            checksum: None,
        })
    }

    /// The parts of `range` that the upload holds, ascending. `UploadGone` if there is no such upload.
    pub async fn list_parts(&self, key: &str, upload_id: &str, range: PartRange) -> Result<Vec<HeldPart>, StepError> {
        let mut held = Vec::new();
        let mut marker = range.first - 1;
        loop {
            let answer = self
                .client
                .list_parts()
                .bucket(&self.side.bucket)
                .key(key)
                .upload_id(upload_id)
                .part_number_marker(marker.to_string())
                // Most parts of a page: <https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListParts.html>
                .max_parts((range.last - marker).min(1_000) as i32)
                .set_expected_bucket_owner(self.side.owner.clone())
                .set_request_payer(payer(&self.side))
                .send()
                .await
                .map_err(|error| from_sdk(Place::Destination, &self.what("listing the parts of", key), &error))?;
            let parts = answer.parts();
            for part in parts {
                let number = part.part_number().unwrap_or(0).max(0) as u32;
                if (range.first..=range.last).contains(&number) {
                    held.push(HeldPart {
                        number,
                        size: part.size().unwrap_or(0).max(0) as u64,
                        etag: ETag::new(part.e_tag().unwrap_or_default()),
                        crc64nvme: part.checksum_crc64_nvme().map(str::to_owned),
                    });
                }
            }
            let last = parts.last().and_then(|part| part.part_number()).unwrap_or(0).max(0) as u32;
            let more = answer.is_truncated() == Some(true) && last > marker && last < range.last;
            if !more {
                return Ok(held);
            }
            marker = last;
        }
    }

    /// Completes an upload, if the destination still is as it was `seen`; returns the object's ETag.
    ///
    /// With the CRC64NVME of the whole object, in base64, the store refuses any other bytes: `ChecksumMismatch`.
    pub async fn complete(
        &self,
        key: &str,
        upload_id: &str,
        parts: &[HeldPart],
        whole: Whole<'_>,
        seen: &Seen,
    ) -> Result<ETag, StepError> {
        let Whole { size, crc64nvme, checksums_begun } = whole;
        let list: Vec<CompletedPart> = parts
            .iter()
            .map(|part| CompletedPart::builder().part_number(part.number as i32).e_tag(part.etag.quoted()).build())
            .collect();
        let list = CompletedMultipartUpload::builder().set_parts(Some(list)).build();
        let send = |condition: Option<&Seen>, crc64nvme: Option<&str>| {
            let (none_match, if_match) = conditions(condition);
            self.client
                .complete_multipart_upload()
                .bucket(&self.side.bucket)
                .key(key)
                .upload_id(upload_id)
                .multipart_upload(list.clone())
                .mpu_object_size(size as i64)
                .set_checksum_crc64_nvme(crc64nvme.map(str::to_owned))
                .set_checksum_type(crc64nvme.map(|_| ChecksumType::FullObject))
                .set_if_none_match(none_match)
                .set_if_match(if_match)
                .set_expected_bucket_owner(self.side.owner.clone())
                .set_request_payer(payer(&self.side))
                .customize()
                .config_override(longest(COMPLETE_TIMEOUT))
                .send()
        };
        let named = |error| self.conditional(from_sdk(Place::Destination, &self.what("completing", key), &error), seen);
        let answer = match send(Some(seen), crc64nvme).await.map_err(named) {
            Err(error) if error.has_code("NotImplemented") => {
                self.check_unchanged(key, seen).await?;
                send(None, None).await.map_err(named)?
            }
            // A store may refuse to be told a checksum of an upload that was begun without; a wrong one it calls so.
            Err(error)
                if crc64nvme.is_some()
                    && !checksums_begun
                    && error.name == ErrorName::Rejected
                    && error.status == Some(400) =>
            {
                send(Some(seen), None).await.map_err(named)?
            }
            other => other?,
        };
        Ok(ETag::new(answer.e_tag().unwrap_or_default()))
    }

    /// Aborts an upload; one that is gone is success.
    pub async fn abort(&self, key: &str, upload_id: &str) -> Result<(), StepError> {
        let answer = self
            .client
            .abort_multipart_upload()
            .bucket(&self.side.bucket)
            .key(key)
            .upload_id(upload_id)
            .set_expected_bucket_owner(self.side.owner.clone())
            .set_request_payer(payer(&self.side))
            .send()
            .await;
        match answer {
            Ok(_) => Ok(()),
            Err(error) => {
                let error = from_sdk(Place::Destination, &self.what("aborting the upload to", key), &error);
                if error.name == ErrorName::UploadGone || error.status == Some(404) { Ok(()) } else { Err(error) }
            }
        }
    }

    /// Aborts an upload that nobody will go on with. Best effort, as nothing depends on it: the lifecycle rule of the bucket
    /// removes what is left, and reports name it.
    pub async fn forsake(&self, key: &str, upload_id: &str) {
        if let Err(error) = self.abort(key, upload_id).await {
            let (destination_bucket, destination_key) = (self.side.bucket.as_str(), key);
            tracing::warn!(destination_bucket, destination_key, upload_id, %error, "old upload not aborted");
        }
    }

    /// Aborts an upload until it is gone: parts in flight can outlive an abort.
    /// <https://docs.aws.amazon.com/AmazonS3/latest/API/API_AbortMultipartUpload.html>
    pub async fn abort_until_gone(&self, key: &str, upload_id: &str) -> Result<(), StepError> {
        const TRIES: u32 = 5;
        for attempt in 1..=TRIES {
            self.abort(key, upload_id).await?;
            match self.list_parts(key, upload_id, PartRange { first: 1, last: 1 }).await {
                Err(error) if error.name == ErrorName::UploadGone => return Ok(()),
                Err(error) => return Err(error),
                Ok(_) => tokio::time::sleep(Duration::from_millis(200 << attempt)).await,
            }
        }
        Err(StepError::new(ErrorName::Transient, self.what("the upload survives its aborts, to", key)))
    }
}
