//! Removals at the destination.

use super::Destination;
use crate::denial::payer;
use crate::error::{Place, StepError, from_sdk};
use aws_sdk_s3::config::Builder as Override;
use aws_sdk_s3::config::retry::RetryConfig;
use longhaul_core::backfill::deletions::Removal;
use longhaul_core::etag::ETag;

/// The answer to a conditional removal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Conditional {
    /// It was carried out, or there was nothing to do and the store looks at no condition.
    Done,
    /// The condition did not hold, or nothing stands there.
    Refused,
}

impl Destination {
    /// Removes the object under `key`, if it is still the one with this ETag. Never another: not even where a store
    /// takes no notice of the condition, except for a write in the instant between the look and the removal.
    ///
    /// A removal whose reply was lost counts as carried out once nothing stands there.
    pub async fn remove(&self, key: &str, etag: &ETag) -> Result<Removal, StepError> {
        match self.head(key).await? {
            None => return Ok(Removal::Gone),
            Some(facts) if facts.etag != *etag => return Ok(Removal::Changed),
            Some(_) => {}
        }
        let unanswered = match self.remove_if(key, etag).await {
            Ok(Conditional::Done) => return Ok(Removal::Removed),
            Ok(Conditional::Refused) => None,
            Err(error) if error.name.is_retryable() => Some(error),
            Err(error) => return Err(error),
        };
        match (self.head(key).await?, unanswered) {
            (None, _) => Ok(Removal::Removed),
            (Some(facts), Some(error)) if facts.etag == *etag => Err(error),
            (Some(_), _) => Ok(Removal::Changed),
        }
    }

    /// Sends one removal under the condition that the object has this ETag. It is sent once: whoever repeats it looks
    /// at both sides again before.
    pub async fn remove_if(&self, key: &str, etag: &ETag) -> Result<Conditional, StepError> {
        let answer = self
            .client
            .delete_object()
            .bucket(&self.side.bucket)
            .key(key)
            .if_match(etag.quoted())
            .set_expected_bucket_owner(self.side.owner.clone())
            .set_request_payer(payer(&self.side))
            .customize()
            .config_override(Override::default().retry_config(RetryConfig::disabled()))
            .send()
            .await;
        let Err(error) = answer else { return Ok(Conditional::Done) };
        let error = from_sdk(Place::Destination, &self.what("removing", key), &error);
        let refused = matches!(error.status, Some(404 | 409 | 412)) && !error.has_code("NoSuchBucket");
        if refused { Ok(Conditional::Refused) } else { Err(error) }
    }
}
