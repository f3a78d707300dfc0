//! Who may ask.

use s3s::access::{S3Access, S3AccessContext};
use s3s::auth::{S3Auth, SecretKey, SimpleAuth};
use s3s::{S3Result, s3_error};

use crate::endpoint::Keys;
use crate::store::Store;

/// One pair of keys, refused under the name that S3 uses.
pub(crate) struct Auth(pub(crate) Keys);

#[async_trait::async_trait]
impl S3Auth for Auth {
    async fn get_secret_key(&self, access_key: &str) -> S3Result<SecretKey> {
        SimpleAuth::from_single(self.0.access_key.as_str(), self.0.secret_key.as_str())
            .get_secret_key(access_key)
            .await
            .map_err(|_| s3_error!(InvalidAccessKeyId, "The access key id does not exist"))
    }
}

/// Signed requests may do everything, others read public buckets.
pub(crate) struct PublicReads(pub(crate) Store);

#[async_trait::async_trait]
impl S3Access for PublicReads {
    async fn check(&self, cx: &mut S3AccessContext<'_>) -> S3Result<()> {
        let reads = matches!(
            cx.s3_op().name(),
            "GetObject" | "HeadObject" | "ListObjectsV2" | "HeadBucket" | "GetObjectTagging"
        );
        let public = || {
            let bucket = cx.s3_path().get_bucket_name().unwrap_or_default();
            self.0.settings(bucket).is_some_and(|settings| settings.public_read)
        };
        if cx.credentials().is_some() || (reads && public()) {
            Ok(())
        } else {
            Err(s3_error!(AccessDenied, "Access Denied"))
        }
    }
}
