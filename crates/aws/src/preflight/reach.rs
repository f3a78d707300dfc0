//! Whether a side can be reached: credentials, bucket, Region, listing.

use super::Look;
use crate::clients::Clients;
use crate::denial::payer;
use crate::error::{Place, StepError, from_sdk};
use aws_sdk_s3::types::Object;
use longhaul_core::backfill::check::{Check, CheckedSide};
use longhaul_core::config::Side;
use std::time::Duration;
use tokio::time::{sleep, timeout};

/// Times that a side is asked which does not answer.
const TRIES: u32 = 3;
/// Longest wait for a first answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

/// A side that answers.
pub(super) struct Reached {
    pub(super) client: aws_sdk_s3::Client,
    /// The first object under the prefix, if any.
    pub(super) first: Option<Object>,
    pub(super) checks: Vec<Check>,
}

/// Connects and lists one key. The error is the one check that failed.
pub(super) async fn reach(clients: &Clients, side: &Side, look: Look) -> Result<Reached, Box<Check>> {
    let failed = |name: &str, told: String| Box::new(look.failed(name, told));
    let client = match clients.sides.client(side).await {
        Ok(client) => client,
        Err(error) => return Err(failed("credentials", error.message)),
    };
    let region = region_of(&client, side).await;
    let asked = client.config().region().map(|region| region.as_ref().to_owned());
    if let (Some(is), Some(asked), None) = (&region, &asked, &side.endpoint)
        && is != asked
    {
        return Err(failed("Region", format!("bucket {} lies in {is}, but {asked} is asked for it", side.bucket)));
    }
    let first = match listed(&client, side, look).await {
        Ok(first) => first,
        Err(error) if error.keys_refused => return Err(failed("credentials", error.message)),
        Err(error) if error.has_code("NoSuchBucket") || error.has_code("InvalidBucketName") => {
            return Err(failed("bucket", error.message));
        }
        Err(error) => return Err(failed("list", error.message)),
    };
    let mut checks = vec![look.ok("list", format!("bucket {} can be listed", side.bucket))];
    checks.push(match (region, &side.endpoint) {
        (Some(region), None) => look.ok("Region", region),
        (Some(region), Some(endpoint)) => look.ok("Region", format!("{endpoint} calls it {region}")),
        (None, Some(endpoint)) => look.ok("Region", format!("{endpoint} tells none")),
        (None, None) => look.unknown("Region", "S3 does not tell it"),
    });
    Ok(Reached { client, first, checks })
}

/// The bucket's Region as the store tells it. S3 tells it in a header even where it denies the rest, or redirects.
async fn region_of(client: &aws_sdk_s3::Client, side: &Side) -> Option<String> {
    let request = client.head_bucket().bucket(&side.bucket).set_expected_bucket_owner(side.owner.clone());
    match timeout(ANSWER_TIMEOUT, request.send()).await.ok()? {
        Ok(answer) => answer.bucket_region,
        Err(error) => error.raw_response()?.headers().get("x-amz-bucket-region").map(str::to_owned),
    }
}

/// The first object under the side's prefix.
async fn listed(client: &aws_sdk_s3::Client, side: &Side, look: Look) -> Result<Option<Object>, StepError> {
    let place = if look.side == CheckedSide::Source { Place::Source } else { Place::Destination };
    let what = format!("listing s3://{}/{}", side.bucket, side.prefix);
    let mut attempt = 1;
    loop {
        let request = client
            .list_objects_v2()
            .bucket(&side.bucket)
            .prefix(&side.prefix)
            .max_keys(1)
            .set_expected_bucket_owner(side.owner.clone())
            .set_request_payer(payer(side));
        let answer = match timeout(ANSWER_TIMEOUT, request.send()).await {
            Ok(answer) => answer.map_err(|error| from_sdk(place, &what, &error)),
            Err(_) => Err(StepError::stalled(format!("{what}: no answer in {} s", ANSWER_TIMEOUT.as_secs()))),
        };
        match answer {
            Ok(answer) => return Ok(answer.contents.unwrap_or_default().into_iter().next()),
            Err(error) if error.name.is_retryable() && attempt < TRIES => sleep(Duration::from_secs(1)).await,
            Err(error) => return Err(error),
        }
        attempt += 1;
    }
}
