//! Reads at the source.

use crate::clients::Clients;
use crate::denial::{explained, payer};
use crate::error::{Place, StepError, from_sdk};
use crate::metadata::{Metadata, encryption_of, metadata_of, tagging_query};
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::ChecksumMode;
use longhaul_core::config::Side;
use longhaul_core::error::ErrorName;
use longhaul_core::etag::ETag;
use longhaul_core::integrity::Facts;
use longhaul_core::job::SourceIdentity;

/// The source of a route.
#[derive(Clone, Debug)]
pub struct Source {
    client: aws_sdk_s3::Client,
    side: Side,
}

/// What a look at a source object found.
#[derive(Clone, Debug)]
pub struct SourceLook {
    /// Which version it is.
    pub identity: SourceIdentity,
    /// Headers and user metadata; tags are fetched apart.
    pub metadata: Metadata,
    /// Number of tags.
    pub tag_count: i32,
    /// Checksum of the whole object, `ALGORITHM:base64`, where it has one.
    pub checksum: Option<String>,
}

impl SourceLook {
    /// What the store says of the object.
    pub fn facts(&self) -> Facts {
        Facts {
            etag: self.identity.etag.clone(),
            encryption: self.identity.encryption,
            size: self.identity.size,
            checksum: self.checksum.clone(),
        }
    }
}

/// What a GET of a whole object gave.
#[derive(Debug)]
pub enum Whole {
    /// The object.
    Object(Box<SourceLook>, ByteStream),
    /// It still has the ETag that the caller knows.
    NotModified,
}

/// Reads the fields that HEAD and GET answers share.
macro_rules! look_of {
    ($answer:expr, $size:expr) => {
        SourceLook {
            identity: SourceIdentity {
                version_id: $answer.version_id().filter(|id| *id != "null").map(str::to_owned),
                etag: ETag::new($answer.e_tag().unwrap_or_default()),
                encryption: encryption_of!($answer),
                size: $size,
                last_modified: $answer.last_modified().map(|time| time.secs()),
            },
            metadata: metadata_of!($answer),
            tag_count: $answer.tag_count().unwrap_or(0),
            checksum: whole_checksum!($answer),
        }
    };
}

/// The checksum over the whole object, strongest useful first; composite ones depend on the layout and are left out.
macro_rules! whole_checksum {
    ($answer:expr) => {{
        let whole = $answer.checksum_type() == Some(&aws_sdk_s3::types::ChecksumType::FullObject);
        let named = [
            ("CRC64NVME", $answer.checksum_crc64_nvme()),
            ("CRC32C", $answer.checksum_crc32_c()),
            ("CRC32", $answer.checksum_crc32()),
            ("SHA256", $answer.checksum_sha256()),
        ];
        named.into_iter().find_map(|(name, value)| value.map(|value| format!("{name}:{value}"))).filter(|_| whole)
    }};
}
pub(crate) use whole_checksum;

impl Source {
    /// The source of a route, with its own keys.
    pub async fn connect(clients: &Clients, side: &Side) -> Result<Self, StepError> {
        Ok(Self { client: clients.sides.client(side).await?, side: side.clone() })
    }

    fn what(&self, verb: &str, key: &str) -> String {
        format!("{verb} s3://{}/{key} at the source", self.side.bucket)
    }

    /// The current version of `key`, or the given one. `SourceGone` if there is none.
    pub async fn head(&self, key: &str, version_id: Option<&str>) -> Result<SourceLook, StepError> {
        let answer = self
            .client
            .head_object()
            .bucket(&self.side.bucket)
            .key(key)
            .set_version_id(version_id.map(str::to_owned))
            .set_expected_bucket_owner(self.side.owner.clone())
            .set_request_payer(payer(&self.side))
            .checksum_mode(ChecksumMode::Enabled)
            .send()
            .await;
        match answer {
            Ok(answer) => Ok(look_of!(answer, answer.content_length().unwrap_or(0).max(0) as u64)),
            Err(error) => {
                let error = from_sdk(Place::Source, &self.what("looking at", key), &error);
                // A HEAD has no body to tell a missing key from a missing bucket.
                if error.name == ErrorName::SourceGone {
                    self.check_bucket().await?;
                }
                Err(explained(&self.client, &self.side, Place::Source, key, error).await)
            }
        }
    }

    /// Fails as `Rejected` if the bucket itself does not exist.
    async fn check_bucket(&self) -> Result<(), StepError> {
        let answer = self
            .client
            .head_bucket()
            .bucket(&self.side.bucket)
            .set_expected_bucket_owner(self.side.owner.clone())
            .send()
            .await;
        if let Err(error) = answer
            && error.raw_response().is_some_and(|response| response.status().as_u16() == 404)
        {
            return Err(StepError::rejected(format!("the source bucket {} does not exist", self.side.bucket)));
        }
        Ok(())
    }

    /// The number of parts the object was uploaded in and the length of the first, where the store says.
    pub async fn first_part(&self, key: &str, identity: &SourceIdentity) -> Result<(Option<u32>, u64), StepError> {
        let answer = self
            .client
            .head_object()
            .bucket(&self.side.bucket)
            .key(key)
            .part_number(1)
            .set_version_id(identity.version_id.clone())
            .if_match(identity.etag.quoted())
            .set_expected_bucket_owner(self.side.owner.clone())
            .set_request_payer(payer(&self.side))
            .send()
            .await
            .map_err(|error| from_sdk(Place::Source, &self.what("looking at the first part of", key), &error))?;
        let parts = answer.parts_count().and_then(|parts| u32::try_from(parts).ok());
        Ok((parts, answer.content_length().unwrap_or(0).max(0) as u64))
    }

    /// The identity by which later reads pin the version: without the version id where reading by it is not allowed.
    pub async fn pinned(&self, key: &str, identity: &SourceIdentity) -> Result<SourceIdentity, StepError> {
        let Some(version_id) = &identity.version_id else { return Ok(identity.clone()) };
        match self.head(key, Some(version_id)).await {
            Ok(_) => Ok(identity.clone()),
            Err(error) if error.status == Some(403) => Ok(SourceIdentity { version_id: None, ..identity.clone() }),
            Err(error) => Err(error),
        }
    }

    /// `length` bytes from `offset` of exactly this version: `SourceChanged` if it is another by now.
    pub async fn get_range(
        &self,
        key: &str,
        identity: &SourceIdentity,
        offset: u64,
        length: u64,
    ) -> Result<ByteStream, StepError> {
        let answer = self
            .client
            .get_object()
            .bucket(&self.side.bucket)
            .key(key)
            .set_version_id(identity.version_id.clone())
            .if_match(identity.etag.quoted())
            .range(format!("bytes={offset}-{}", offset + length - 1))
            .set_expected_bucket_owner(self.side.owner.clone())
            .set_request_payer(payer(&self.side))
            .send()
            .await
            .map_err(|error| from_sdk(Place::Source, &self.what("reading a part of", key), &error))?;
        // A store that ignores the range must not pass the wrong bytes for the right ones.
        let whole = offset == 0 && length == identity.size;
        let begins = format!("bytes {offset}-{}/", offset + length - 1);
        let fits = answer.content_range().map_or(whole, |range| range.starts_with(&begins));
        if !fits || answer.content_length().is_some_and(|given| given != length as i64) {
            return Err(StepError::rejected(format!(
                "{}: {length} bytes from {offset} were asked for, {:?} bytes came, as range {:?}",
                self.what("reading a part of", key),
                answer.content_length(),
                answer.content_range()
            )));
        }
        // A store that ignores If-Match must not slip another version in.
        let etag = ETag::new(answer.e_tag().unwrap_or_default());
        if etag != identity.etag {
            return Err(StepError::new(
                ErrorName::SourceChanged,
                format!("{}: the ETag is {etag}, not {}", self.what("reading a part of", key), identity.etag),
            ));
        }
        Ok(answer.body)
    }

    /// The whole current object, unless it still has the ETag `known`.
    pub async fn get_whole(&self, key: &str, known: Option<&ETag>) -> Result<Whole, StepError> {
        let answer = self
            .client
            .get_object()
            .bucket(&self.side.bucket)
            .key(key)
            .set_if_none_match(known.map(ETag::quoted))
            .set_expected_bucket_owner(self.side.owner.clone())
            .set_request_payer(payer(&self.side))
            .checksum_mode(ChecksumMode::Enabled)
            .send()
            .await;
        match answer {
            Ok(answer) => {
                let look = look_of!(answer, answer.content_length().unwrap_or(0).max(0) as u64);
                Ok(Whole::Object(Box::new(look), answer.body))
            }
            Err(error) if error.raw_response().is_some_and(|response| response.status().as_u16() == 304) => {
                Ok(Whole::NotModified)
            }
            Err(error) => Err(from_sdk(Place::Source, &self.what("reading", key), &error)),
        }
    }

    /// The look's metadata with the object's tags.
    pub async fn metadata(&self, key: &str, look: &SourceLook) -> Result<Metadata, StepError> {
        let mut metadata = look.metadata.clone();
        if look.tag_count > 0 {
            let answer = self
                .client
                .get_object_tagging()
                .bucket(&self.side.bucket)
                .key(key)
                .set_version_id(look.identity.version_id.clone())
                .set_expected_bucket_owner(self.side.owner.clone())
                .set_request_payer(payer(&self.side))
                .send()
                .await
                .map_err(|error| from_sdk(Place::Source, &self.what("reading the tags of", key), &error))?;
            metadata.tags = Some(tagging_query(answer.tag_set()));
        }
        Ok(metadata)
    }
}
