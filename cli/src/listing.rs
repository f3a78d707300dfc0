//! Lists the source in constant memory, and looks whether the destination can be written at all.

use crate::grouping::{Group, Grouper};
use crate::progress::Progress;
use aws_sdk_s3::Client;
use aws_sdk_s3::error::ProvideErrorMetadata as _;
use aws_sdk_s3::operation::list_objects_v2::ListObjectsV2Output;
use aws_sdk_s3::types::{EncodingType, Object, RequestPayer};
use longhaul_aws::error::{Place, StepError, from_sdk};
use longhaul_core::config::Side;
use longhaul_core::etag::ETag;
use longhaul_core::request::ObjectRef;
use percent_encoding::percent_decode_str;
use std::time::Duration;
use tokio::sync::mpsc;

/// Tries of one page, the SDK's own retries not counted.
const PAGE_TRIES: u32 = 3;

/// Sends every object under the side's prefix into `groups`, as one listing saw them.
///
/// An error of any page is the error of the whole listing: what was sent until then is not all there is. Ends early and
/// without one if nobody takes the groups any more.
pub async fn list(
    client: &Client,
    side: &Side,
    groups: mpsc::Sender<Group>,
    progress: &Progress,
) -> Result<(), StepError> {
    let mut grouper = Grouper::default();
    let mut token: Option<String> = None;
    loop {
        let page = page(client, side, token.clone()).await?;
        let encoded = page.encoding_type() == Some(&EncodingType::Url);
        let (truncated, next) = (page.is_truncated(), page.next_continuation_token);
        for object in page.contents.unwrap_or_default() {
            let object = offered(side, object, encoded)?;
            progress.listed(object.size.unwrap_or(0));
            if let Some(group) = grouper.push(object)
                && groups.send(group).await.is_err()
            {
                return Ok(());
            }
        }
        if truncated != Some(true) {
            break;
        }
        if next.is_none() || next == token {
            return Err(StepError::rejected(format!(
                "the listing of s3://{} does not say how it goes on",
                side.bucket
            )));
        }
        token = next;
    }
    progress.listing_done();
    for group in grouper.finish() {
        if groups.send(group).await.is_err() {
            break;
        }
    }
    Ok(())
}

async fn page(client: &Client, side: &Side, token: Option<String>) -> Result<ListObjectsV2Output, StepError> {
    let mut attempt = 1;
    loop {
        let answer = client
            .list_objects_v2()
            .bucket(&side.bucket)
            .set_prefix(Some(side.prefix.clone()).filter(|prefix| !prefix.is_empty()))
            .encoding_type(EncodingType::Url)
            .set_continuation_token(token.clone())
            .set_expected_bucket_owner(side.owner.clone())
            .set_request_payer(payer(side))
            .send()
            .await;
        let error = match answer {
            Ok(page) => return Ok(page),
            Err(error) => from_sdk(Place::Source, &format!("listing s3://{}/{}", side.bucket, side.prefix), &error),
        };
        if !error.name.is_retryable() || attempt == PAGE_TRIES {
            return Err(error);
        }
        tokio::time::sleep(Duration::from_secs(u64::from(attempt))).await;
        attempt += 1;
    }
}

fn payer(side: &Side) -> Option<RequestPayer> {
    side.requester_pays.then_some(RequestPayer::Requester)
}

/// A listed object as an offer. Size and ETag go along, so that nobody has to look again.
fn offered(side: &Side, object: Object, encoded: bool) -> Result<ObjectRef, StepError> {
    let listed = object.key.unwrap_or_default();
    let key = if encoded { decoded(&listed) } else { Some(listed.clone()) };
    let Some(key) = key.filter(|key| key.starts_with(&side.prefix) && !key.is_empty()) else {
        return Err(StepError::rejected(format!("the listing of s3://{} holds a wrong key: {listed:?}", side.bucket)));
    };
    Ok(ObjectRef {
        bucket: side.bucket.clone(),
        key,
        size: object.size.and_then(|size| u64::try_from(size).ok()),
        etag: object.e_tag.as_deref().map(ETag::new),
        ..ObjectRef::default()
    })
}

/// A key of a listing with `EncodingType=url`, in which a `+` is a space. `None` if it is no UTF-8.
fn decoded(text: &str) -> Option<String> {
    let spaced = text.replace('+', " ");
    percent_decode_str(&spaced).decode_utf8().ok().map(std::borrow::Cow::into_owned)
}

/// Fails where no object can be written at all: no such bucket, no or wrong keys, no connection. Where the keys may not
/// list, the writes themselves will tell.
pub async fn preflight(client: &Client, side: &Side) -> Result<(), StepError> {
    let answer = client
        .list_objects_v2()
        .bucket(&side.bucket)
        .max_keys(1)
        .set_expected_bucket_owner(side.owner.clone())
        .set_request_payer(payer(side))
        .send()
        .await;
    let Err(error) = answer else { return Ok(()) };
    let missing = error.code() == Some("NoSuchBucket");
    let error = from_sdk(Place::Destination, &format!("looking at s3://{}", side.bucket), &error);
    if missing {
        return Err(StepError::rejected(format!("the destination bucket {} does not exist", side.bucket)));
    }
    let may_still_write = error.has_code("AccessDenied") || matches!(error.status, Some(405 | 501));
    if may_still_write { Ok(()) } else { Err(error) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn side(prefix: &str) -> Side {
        Side { bucket: "b".into(), prefix: prefix.into(), ..Side::default() }
    }

    #[test]
    fn keys_are_decoded_as_s3_encodes_them() {
        assert_eq!(decoded("a+b%2Bc%2520/%2F%2F").unwrap(), "a b+c%20///");
        assert_eq!(decoded("%F0%9F%A6%80%0A%01").unwrap(), "\u{1F980}\n\u{1}");
        assert_eq!(decoded("%FF"), None);
    }

    #[test]
    fn an_offer_carries_what_the_listing_knows() {
        let object = Object::builder().key("in/a+b").size(7).e_tag("\"abc\"").build();
        let offer = offered(&side("in/"), object.clone(), true).unwrap();
        assert_eq!((offer.key.as_str(), offer.size, offer.etag), ("in/a b", Some(7), Some(ETag::new("abc"))));
        assert_eq!(offered(&side("in/"), object.clone(), false).unwrap().key, "in/a+b");
        assert!(offered(&side("out/"), object, true).is_err());
        assert!(offered(&side(""), Object::builder().build(), true).is_err());
    }
}
