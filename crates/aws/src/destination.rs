//! Looks and writes at the destination.

use crate::clients::{Clients, request_timeout};
use crate::denial::{explained, payer};
use crate::error::{Place, StepError, from_sdk};
use crate::metadata::{Metadata, with_metadata};
use crate::source::whole_checksum;
use aws_sdk_s3::config::Builder as Override;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{ChecksumMode, CompletedMultipartUpload, CompletedPart};
use longhaul_core::config::{Options, Side};
use longhaul_core::contract::Seen;
use longhaul_core::error::ErrorName;
use longhaul_core::etag::{ETag, Encryption, Md5Digest};
use longhaul_core::integrity::Facts;
use longhaul_core::layout::PartRange;
use std::time::Duration;

/// The destination of a route.
#[derive(Clone, Debug)]
pub struct Destination {
    client: aws_sdk_s3::Client,
    side: Side,
}

/// What the destination answered to a write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// The ETag of the object or part.
    pub etag: ETag,
    /// Whether it is made of MD5s.
    pub encryption: Encryption,
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
}

/// A write of `length` bytes may take this long before it counts as lost: half a minute, and a rate of 32 KiB/s.
pub fn write_timeout(length: u64) -> Duration {
    Duration::from_secs(30 + length / (32 * 1024))
}

/// Complete "could take several minutes", answering with white space meanwhile; only silence ends the wait.
/// <https://docs.aws.amazon.com/AmazonS3/latest/API/API_CompleteMultipartUpload.html>
const COMPLETE_TIMEOUT: Duration = Duration::from_secs(600);

fn longest(time: Duration) -> Override {
    Override::default().timeout_config(request_timeout(time))
}

impl Destination {
    /// The destination of a route, with its own keys.
    pub async fn connect(clients: &Clients, side: &Side) -> Result<Self, StepError> {
        Ok(Self { client: clients.sides.client(side).await?, side: side.clone() })
    }

    /// The side it stands on.
    pub fn side(&self) -> &Side {
        &self.side
    }

    /// True if what is written travels in the clear, where no trailing checksum can prove it.
    pub fn is_plain_http(&self) -> bool {
        self.side.endpoint.as_deref().is_some_and(|endpoint| endpoint.starts_with("http://"))
    }

    fn what(&self, verb: &str, key: &str) -> String {
        format!("{verb} s3://{}/{key} at the destination", self.side.bucket)
    }

    /// What stands under `key`.
    pub async fn head(&self, key: &str) -> Result<Option<Facts>, StepError> {
        let answer = self
            .client
            .head_object()
            .bucket(&self.side.bucket)
            .key(key)
            .set_expected_bucket_owner(self.side.owner.clone())
            .set_request_payer(payer(&self.side))
            .checksum_mode(ChecksumMode::Enabled)
            .send()
            .await;
        match answer {
            Ok(answer) => Ok(Some(Facts {
                etag: ETag::new(answer.e_tag().unwrap_or_default()),
                encryption: Encryption::from_headers(
                    answer.server_side_encryption().map(|encryption| encryption.as_str()),
                    answer.sse_customer_algorithm().is_some(),
                ),
                size: answer.content_length().unwrap_or(0).max(0) as u64,
                checksum: whole_checksum!(answer),
            })),
            // A missing bucket looks the same; the write that follows tells them apart.
            Err(error) if error.raw_response().is_some_and(|response| response.status().as_u16() == 404) => Ok(None),
            Err(error) => {
                let error = from_sdk(Place::Destination, &self.what("looking at", key), &error);
                Err(explained(&self.client, &self.side, Place::Destination, key, error).await)
            }
        }
    }

    /// Writes a whole object, if the destination still is as it was `seen`; `DestinationChanged` otherwise.
    ///
    /// The store checks the bytes against `md5`.
    pub async fn put(
        &self,
        key: &str,
        body: bytes::Bytes,
        md5: Md5Digest,
        seen: &Seen,
        metadata: &Metadata,
        options: &Options,
    ) -> Result<Written, StepError> {
        let send = |condition: Option<&Seen>| {
            let (none_match, if_match) = conditions(condition);
            with_metadata!(self.client.put_object(), metadata, options)
                .bucket(&self.side.bucket)
                .key(key)
                .content_md5(md5.base64())
                .set_if_none_match(none_match)
                .set_if_match(if_match)
                .set_expected_bucket_owner(self.side.owner.clone())
                .set_request_payer(payer(&self.side))
                .body(ByteStream::from(body.clone()))
                .customize()
                .disable_payload_signing()
                .config_override(longest(write_timeout(body.len() as u64)))
                .send()
        };
        let named = |error| self.conditional(from_sdk(Place::Destination, &self.what("writing", key), &error), seen);
        let answer = match send(Some(seen)).await.map_err(named) {
            Err(error) if error.has_code("NotImplemented") => {
                self.check_unchanged(key, seen).await?;
                send(None).await.map_err(named)?
            }
            other => other?,
        };
        Ok(Written {
            etag: ETag::new(answer.e_tag().unwrap_or_default()),
            encryption: Encryption::from_headers(
                answer.server_side_encryption().map(|encryption| encryption.as_str()),
                answer.sse_customer_algorithm().is_some(),
            ),
        })
    }

    /// A 404 to `If-Match` means that the object is gone, not the bucket.
    fn conditional(&self, error: StepError, seen: &Seen) -> StepError {
        let gone = error.has_code("NoSuchKey") && matches!(seen, Seen::Present(_));
        if gone { StepError { name: ErrorName::DestinationChanged, ..error } } else { error }
    }

    /// For a store without conditional writes: the last look before an unconditional one.
    async fn check_unchanged(&self, key: &str, seen: &Seen) -> Result<(), StepError> {
        let now = self.head(key).await?.map_or(Seen::Absent, |look| Seen::Present(look.etag));
        if now == *seen {
            return Ok(());
        }
        Err(StepError::new(ErrorName::DestinationChanged, self.what("another object stands at", key)))
    }

    /// Begins an upload; returns its id, and how its object will be encrypted.
    pub async fn create_upload(
        &self,
        key: &str,
        metadata: &Metadata,
        options: &Options,
    ) -> Result<(String, Encryption), StepError> {
        let what = self.what("beginning an upload to", key);
        let answer = with_metadata!(self.client.create_multipart_upload(), metadata, options)
            .bucket(&self.side.bucket)
            .key(key)
            .set_expected_bucket_owner(self.side.owner.clone())
            .set_request_payer(payer(&self.side))
            .send()
            .await
            .map_err(|error| from_sdk(Place::Destination, &what, &error))?;
        let encryption = Encryption::from_headers(
            answer.server_side_encryption().map(|encryption| encryption.as_str()),
            answer.sse_customer_algorithm().is_some(),
        );
        let id = answer.upload_id.ok_or_else(|| StepError::rejected(format!("{what}: no upload id came back")))?;
        Ok((id, encryption))
    }

    /// Sends one part of `length` bytes; the store checks it against `md5` where one is known ahead.
    pub async fn upload_part(
        &self,
        key: &str,
        upload_id: &str,
        number: u32,
        body: ByteStream,
        length: u64,
        md5: Option<Md5Digest>,
    ) -> Result<Written, StepError> {
        let answer = self
            .client
            .upload_part()
            .bucket(&self.side.bucket)
            .key(key)
            .upload_id(upload_id)
            .part_number(number as i32)
            .content_length(length as i64)
            .set_content_md5(md5.map(|md5| md5.base64()))
            .set_expected_bucket_owner(self.side.owner.clone())
            .set_request_payer(payer(&self.side))
            .body(body)
            .customize()
            .disable_payload_signing()
            .config_override(longest(write_timeout(length)))
            .send()
            .await
            .map_err(|error| {
                from_sdk(Place::Destination, &self.what(&format!("sending part {number} of"), key), &error)
            })?;
        Ok(Written {
            etag: ETag::new(answer.e_tag().unwrap_or_default()),
            encryption: Encryption::from_headers(
                answer.server_side_encryption().map(|encryption| encryption.as_str()),
                answer.sse_customer_algorithm().is_some(),
            ),
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
    pub async fn complete(
        &self,
        key: &str,
        upload_id: &str,
        parts: &[HeldPart],
        size: u64,
        seen: &Seen,
    ) -> Result<ETag, StepError> {
        let list: Vec<CompletedPart> = parts
            .iter()
            .map(|part| CompletedPart::builder().part_number(part.number as i32).e_tag(part.etag.quoted()).build())
            .collect();
        let list = CompletedMultipartUpload::builder().set_parts(Some(list)).build();
        let send = |condition: Option<&Seen>| {
            let (none_match, if_match) = conditions(condition);
            self.client
                .complete_multipart_upload()
                .bucket(&self.side.bucket)
                .key(key)
                .upload_id(upload_id)
                .multipart_upload(list.clone())
                .mpu_object_size(size as i64)
                .set_if_none_match(none_match)
                .set_if_match(if_match)
                .set_expected_bucket_owner(self.side.owner.clone())
                .set_request_payer(payer(&self.side))
                .customize()
                .config_override(longest(COMPLETE_TIMEOUT))
                .send()
        };
        let named = |error| self.conditional(from_sdk(Place::Destination, &self.what("completing", key), &error), seen);
        let answer = match send(Some(seen)).await.map_err(named) {
            Err(error) if error.has_code("NotImplemented") => {
                self.check_unchanged(key, seen).await?;
                send(None).await.map_err(named)?
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

/// The headers of a condition: `If-None-Match: *`, or `If-Match`.
fn conditions(seen: Option<&Seen>) -> (Option<String>, Option<String>) {
    match seen {
        None => (None, None),
        Some(Seen::Absent) => (Some("*".to_owned()), None),
        Some(Seen::Present(etag)) => (None, Some(etag.quoted())),
    }
}
