//! A look whether the destination can be used at all.

use aws_sdk_s3::Client;
use aws_sdk_s3::error::ProvideErrorMetadata as _;
use aws_sdk_s3::types::RequestPayer;
use longhaul_aws::error::{Place, StepError, from_sdk};
use longhaul_core::config::Side;

/// Fails where no object can be written at all: no such bucket, no or wrong keys, no connection. Where the keys may not
/// list, the writes themselves will tell.
pub async fn preflight(client: &Client, side: &Side) -> Result<(), StepError> {
    let answer = client
        .list_objects_v2()
        .bucket(&side.bucket)
        .max_keys(1)
        .set_expected_bucket_owner(side.owner.clone())
        .set_request_payer(side.requester_pays.then_some(RequestPayer::Requester))
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
