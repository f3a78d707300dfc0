//! The reason behind a denial that came without one.

use crate::error::{Place, StepError, from_sdk};
use aws_sdk_s3::types::RequestPayer;
use longhaul_core::config::Side;

/// Asks by a listing why a HEAD was denied: the answer to a HEAD has no body, that to a listing says whether the keys
/// themselves are refused. Any other answer leaves `denied` as it is.
pub(crate) async fn explained(
    client: &aws_sdk_s3::Client,
    side: &Side,
    place: Place,
    key: &str,
    denied: StepError,
) -> StepError {
    if !denied.is_mute_denial() {
        return denied;
    }
    let listing = client
        .list_objects_v2()
        .bucket(&side.bucket)
        .prefix(key)
        .max_keys(1)
        .set_expected_bucket_owner(side.owner.clone())
        .set_request_payer(payer(side))
        .send()
        .await;
    let what = format!("looking for s3://{}/{key}", side.bucket);
    match listing.map_err(|error| from_sdk(place, &what, &error)) {
        Err(told) if told.keys_refused => told,
        _ => denied,
    }
}

/// Who pays for a request to this side, where it is not the bucket's owner.
pub(crate) fn payer(side: &Side) -> Option<RequestPayer> {
    side.requester_pays.then_some(RequestPayer::Requester)
}
