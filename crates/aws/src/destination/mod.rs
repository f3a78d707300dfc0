//! Looks and writes at the destination.

mod removal;
mod server_side;
mod uploads;

pub use removal::Conditional;
pub use server_side::Copied;
pub use uploads::{Begun, HeldPart, PartSent, Whole};

use crate::clients::{Clients, Pair, request_timeout};
use crate::denial::{explained, payer};
use crate::error::{Place, StepError, from_sdk};
use crate::metadata::{Metadata, encryption_of, with_metadata};
use crate::source::whole_checksum;
use aws_sdk_s3::config::Builder as Override;
use aws_sdk_s3::primitives::{ByteStream, SdkBody};
use aws_sdk_s3::types::ChecksumMode;
use longhaul_core::config::{Options, Side};
use longhaul_core::contract::Seen;
use longhaul_core::error::ErrorName;
use longhaul_core::etag::{ETag, Encryption, Md5Digest};
use longhaul_core::integrity::Facts;
use std::future::Future;
use std::time::Duration;
use tokio::time::timeout;

/// The destination of a route.
#[derive(Clone, Debug)]
pub struct Destination {
    client: aws_sdk_s3::Client,
    writer: aws_sdk_s3::Client,
    side: Side,
    origin: Option<server_side::Origin>,
}

/// What the destination answered to a write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// The ETag of the object or part.
    pub etag: ETag,
    /// Whether it is made of MD5s.
    pub encryption: Encryption,
    /// Checksum of the whole object, `ALGORITHM:base64`, where the store told one.
    pub checksum: Option<String>,
}

/// A whole object on its way.
#[derive(Debug)]
pub struct ObjectSent {
    /// Its bytes.
    pub body: SdkBody,
    /// How many.
    pub length: u64,
    /// Their MD5.
    pub md5: Md5Digest,
    /// Their CRC64NVME in base64, where the source told it.
    pub crc64nvme: Option<String>,
}

/// A body up to this size is signed with its SHA-256, in bytes.
const SIGNED_MAX: u64 = 4 * 1024;

/// A write of `length` bytes may take this long before it counts as lost: half a minute, and a rate of 32 KiB/s.
pub fn write_timeout(length: u64) -> Duration {
    Duration::from_secs(30 + length / (32 * 1024))
}

fn longest(time: Duration) -> Override {
    Override::default().timeout_config(request_timeout(Some(time)))
}

/// Ends a write of `length` bytes that takes longer than [`write_timeout`].
async fn in_time<T>(
    length: u64,
    what: impl Fn() -> String,
    write: impl Future<Output = Result<T, StepError>>,
) -> Result<T, StepError> {
    let longest = write_timeout(length);
    match timeout(longest, write).await {
        Ok(answer) => answer,
        Err(_) => Err(StepError::stalled(format!("{}: no answer in {} s", what(), longest.as_secs()))),
    }
}

impl Destination {
    /// The destination of a route, with its own keys. What is written to it comes from here.
    pub async fn connect(clients: &Clients, side: &Side) -> Result<Self, StepError> {
        let Pair { client, writer } = clients.sides.pair(side).await?;
        Ok(Self { client, writer, side: side.clone(), origin: None })
    }

    /// True if what is written travels over TLS: only there may a checksum trail an unsigned body.
    /// <https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming-trailers.html>
    fn is_tls(&self) -> bool {
        self.side.endpoint.as_deref().is_none_or(|endpoint| endpoint.starts_with("https://"))
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
                encryption: encryption_of!(answer),
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
    /// The store checks the bytes against the digests that go ahead. A store that knows no conditions is asked without
    /// one after a last look, if the body can be sent again; else its refusal is the error.
    pub async fn put(
        &self,
        key: &str,
        sent: ObjectSent,
        seen: &Seen,
        metadata: &Metadata,
        options: &Options,
    ) -> Result<Written, StepError> {
        let ObjectSent { body, length, md5, crc64nvme } = sent;
        let again = body.try_clone();
        let send = |condition: Option<&Seen>, body: SdkBody| {
            let (none_match, if_match) = conditions(condition);
            let request = with_metadata!(self.writer.put_object(), metadata, options)
                .bucket(&self.side.bucket)
                .key(key)
                .content_length(length as i64)
                .content_md5(md5.base64())
                .set_checksum_crc64_nvme(crc64nvme.clone())
                .set_if_none_match(none_match)
                .set_if_match(if_match)
                .set_expected_bucket_owner(self.side.owner.clone())
                .set_request_payer(payer(&self.side))
                .body(ByteStream::new(body));
            async move {
                // To sign a few bytes takes less time than to ask for it not to be done.
                if length <= SIGNED_MAX {
                    request.send().await
                } else {
                    request.customize().disable_payload_signing().send().await
                }
            }
        };
        let named = |error| self.conditional(from_sdk(Place::Destination, &self.what("writing", key), &error), seen);
        let write = async {
            match (send(Some(seen), body).await.map_err(named), again) {
                (Err(error), Some(again)) if error.has_code("NotImplemented") => {
                    self.check_unchanged(key, seen).await?;
                    send(None, again).await.map_err(named)
                }
                (other, _) => other,
            }
        };
        let answer = in_time(length, || self.what("writing", key), write).await?;
        Ok(Written {
            etag: ETag::new(answer.e_tag().unwrap_or_default()),
            encryption: encryption_of!(answer),
            checksum: whole_checksum!(answer),
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
}

/// The headers of a condition: `If-None-Match: *`, or `If-Match`.
fn conditions(seen: Option<&Seen>) -> (Option<String>, Option<String>) {
    match seen {
        None => (None, None),
        Some(Seen::Absent) => (Some("*".to_owned()), None),
        Some(Seen::Present(etag)) => (None, Some(etag.quoted())),
    }
}
