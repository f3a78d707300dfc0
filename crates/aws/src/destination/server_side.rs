//! Copies that the store makes by itself: no byte of them passes through here.

use super::{Destination, Written, conditions, in_time};
use crate::clients::Clients;
use crate::denial::payer;
use crate::error::{Place, StepError, from_sdk};
use crate::metadata::{Metadata, encryption_of, with_metadata};
use crate::source::whole_checksum;
use aws_sdk_s3::types::{AnnotationDirective, MetadataDirective, RequestPayer, TaggingDirective};
use longhaul_core::config::{Options, Route, Side};
use longhaul_core::contract::Seen;
use longhaul_core::error::ErrorName;
use longhaul_core::etag::ETag;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The bucket that the store copies from, until it refuses once.
#[derive(Clone, Debug)]
pub(super) struct Origin {
    side: Side,
    refused: Arc<AtomicBool>,
}

/// Which object, or which bytes of it, the store copies.
#[derive(Clone, Copy, Debug)]
pub struct Copied<'a> {
    /// Its key at the source.
    pub key: &'a str,
    /// Its version; the current one where absent.
    pub version_id: Option<&'a str>,
    /// The ETag that it must have.
    pub etag: &'a ETag,
    /// First byte.
    pub offset: u64,
    /// Number of bytes.
    pub length: u64,
}

/// What stays as it is in a copy's source, which is a path and perhaps a query.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'/').remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// `bucket/key?versionId=id`, percent-encoded.
fn copy_source(bucket: &str, from: &Copied<'_>) -> String {
    let encoded = |text| utf8_percent_encode(text, PLAIN);
    let version = from.version_id.map(|id| format!("?versionId={}", encoded(id))).unwrap_or_default();
    format!("{}/{}{version}", encoded(bucket), encoded(from.key))
}

/// True if the store answered that it does not copy, or not from there: whoever reads and writes may fare better.
fn is_refusal(error: &StepError) -> bool {
    let told = matches!(error.status, Some(400 | 403 | 405 | 501)) || error.has_code("NotImplemented");
    told && error.name == ErrorName::Rejected && !error.keys_refused
}

/// True if the source that was named is not there.
fn is_gone(error: &StepError) -> bool {
    error.has_code("NoSuchKey") || error.has_code("NoSuchVersion")
}

impl Destination {
    /// The destination of a route, whose store copies by itself where the route says so.
    pub async fn of(clients: &Clients, route: &Route) -> Result<Self, StepError> {
        let origin = Origin { side: route.source.clone(), refused: Arc::default() };
        let origin = route.copies_server_side().then_some(origin);
        Ok(Self { origin, ..Self::connect(clients, &route.destination).await? })
    }

    /// True if the store is asked to copy by itself: the route allows it, and no copy was refused yet.
    pub fn copies(&self) -> bool {
        self.origin().is_some()
    }

    /// True if the store may ignore the condition of a copy: that came to AWS years after the one of a plain write.
    pub fn may_ignore_conditions(&self) -> bool {
        self.side.endpoint.is_some()
    }

    fn origin(&self) -> Option<&Side> {
        let origin = self.origin.as_ref()?;
        (!origin.refused.load(Ordering::Relaxed)).then_some(&origin.side)
    }

    /// Remembers a refusal; `None` is what the caller answers then.
    fn refused<T>(&self, error: &StepError) -> Option<T> {
        if let Some(origin) = &self.origin
            && !origin.refused.swap(true, Ordering::Relaxed)
        {
            tracing::warn!(%error, "the store does not copy by itself");
        }
        None
    }

    fn either_pays(&self, source: &Side) -> Option<RequestPayer> {
        payer(&self.side).or_else(|| payer(source))
    }

    /// Lets the store copy a whole object, if source and destination still are as they were seen; `None` where it does
    /// not copy, and will not be asked again.
    ///
    /// The answers to the two conditions are the same: `DestinationChanged` says that one of them was refused. The copy
    /// carries what a streamed one would: the metadata given, no ACL, no annotations.
    pub async fn copy_object(
        &self,
        from: Copied<'_>,
        key: &str,
        seen: &Seen,
        metadata: &Metadata,
        options: &Options,
    ) -> Result<Option<Written>, StepError> {
        let Some(source) = self.origin() else { return Ok(None) };
        let (none_match, if_match) = conditions(Some(seen));
        // Other stores have no annotations, and may refuse a header that they do not know.
        let without_annotations = self.side.endpoint.is_none().then_some(AnnotationDirective::Exclude);
        let what = || self.what("copying to", key);
        let copy = with_metadata!(self.writer.copy_object(), metadata, options)
            .bucket(&self.side.bucket)
            .key(key)
            .copy_source(copy_source(&source.bucket, &from))
            .copy_source_if_match(from.etag.quoted())
            .set_if_none_match(none_match)
            .set_if_match(if_match)
            .metadata_directive(MetadataDirective::Replace)
            .tagging_directive(TaggingDirective::Replace)
            .set_annotation_directive(without_annotations)
            .set_expected_bucket_owner(self.side.owner.clone())
            .set_expected_source_bucket_owner(source.owner.clone())
            .set_request_payer(self.either_pays(source));
        let copy = async { copy.send().await.map_err(|error| from_sdk(Place::Destination, &what(), &error)) };
        let answer = match in_time(from.length, what, copy).await {
            Ok(answer) => answer,
            Err(error) if is_refusal(&error) => return Ok(self.refused(&error)),
            Err(error) if is_gone(&error) => return Err(StepError { name: ErrorName::DestinationChanged, ..error }),
            Err(error) => return Err(error),
        };
        let encryption = encryption_of!(answer);
        let result = answer.copy_object_result.ok_or_else(|| without_result(&what()))?;
        let etag = ETag::new(result.e_tag().unwrap_or_default());
        Ok(Some(Written { etag, encryption, checksum: whole_checksum!(result) }))
    }

    /// Lets the store copy one part, if the source still has its ETag: `SourceChanged` or `SourceGone` otherwise. `None`
    /// where it does not copy, and will not be asked again.
    pub async fn copy_part(
        &self,
        from: Copied<'_>,
        key: &str,
        upload_id: &str,
        number: u32,
    ) -> Result<Option<Written>, StepError> {
        let Some(source) = self.origin() else { return Ok(None) };
        let what = || self.what(&format!("copying part {number} of"), key);
        let copy = self
            .writer
            .upload_part_copy()
            .bucket(&self.side.bucket)
            .key(key)
            .upload_id(upload_id)
            .part_number(number as i32)
            .copy_source(copy_source(&source.bucket, &from))
            .copy_source_if_match(from.etag.quoted())
            .copy_source_range(format!("bytes={}-{}", from.offset, from.offset + from.length - 1))
            .set_expected_bucket_owner(self.side.owner.clone())
            .set_expected_source_bucket_owner(source.owner.clone())
            .set_request_payer(self.either_pays(source));
        let copy = async { copy.send().await.map_err(|error| from_sdk(Place::Destination, &what(), &error)) };
        let answer = match in_time(from.length, what, copy).await {
            Ok(answer) => answer,
            Err(error) if is_refusal(&error) => return Ok(self.refused(&error)),
            Err(error) if is_gone(&error) => return Err(StepError { name: ErrorName::SourceGone, ..error }),
            // A part of an upload knows no other condition.
            Err(error) if error.status == Some(412) || error.has_code("PreconditionFailed") => {
                return Err(StepError { name: ErrorName::SourceChanged, ..error });
            }
            Err(error) => return Err(error),
        };
        let encryption = encryption_of!(answer);
        let result = answer.copy_part_result.ok_or_else(|| without_result(&what()))?;
        Ok(Some(Written { etag: ETag::new(result.e_tag().unwrap_or_default()), encryption, checksum: None }))
    }
}

fn without_result(what: &str) -> StepError {
    StepError::new(ErrorName::Transient, format!("{what}: the answer tells of no copy"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copys_source_is_encoded_once() {
        let etag = ETag::new("e");
        let source =
            |key, version_id| copy_source("from", &Copied { key, version_id, etag: &etag, offset: 0, length: 1 });
        let cases = [
            ("a/b-c_d.e~f", "from/a/b-c_d.e~f"),
            ("a b+c%20", "from/a%20b%2Bc%2520"),
            ("/abs//x", "from//abs//x"),
            ("k?versionId=v", "from/k%3FversionId%3Dv"),
            ("\u{1F980}", "from/%F0%9F%A6%80"),
        ];
        for (key, encoded) in cases {
            assert_eq!(source(key, None), encoded);
        }
        assert_eq!(source("k", Some("a.b+c")), "from/k?versionId=a.b%2Bc");
    }

    #[test]
    fn refused_keys_are_no_refusal_to_copy() {
        let error = |status, keys_refused| StepError { status: Some(status), keys_refused, ..StepError::rejected("x") };
        assert!(is_refusal(&error(403, false)) && is_refusal(&error(501, false)) && is_refusal(&error(405, false)));
        assert!(!is_refusal(&error(403, true)) && !is_refusal(&error(404, false)));
        assert!(!is_refusal(&StepError { status: Some(400), ..StepError::new(ErrorName::Transient, "x") }));
    }
}
