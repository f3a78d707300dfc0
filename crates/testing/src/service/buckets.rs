//! Operations on buckets.

use s3s::dto::*;
use s3s::{S3Request, S3Response, S3Result};

use super::Service;
use super::fields::named;
use crate::store::{BucketSettings, Versioning};

impl Service {
    pub(super) async fn all_buckets(&self, _: S3Request<ListBucketsInput>) -> S3Result<S3Response<ListBucketsOutput>> {
        let names = self.store.bucket_names();
        let buckets = names.into_iter().map(|name| Bucket { name: Some(name), ..Default::default() });
        Ok(S3Response::new(ListBucketsOutput { buckets: Some(buckets.collect()), ..Default::default() }))
    }

    pub(super) async fn make_bucket(
        &self,
        req: S3Request<CreateBucketInput>,
    ) -> S3Result<S3Response<CreateBucketOutput>> {
        let mut settings = BucketSettings::default();
        let constraint = req.input.create_bucket_configuration.and_then(|c| c.location_constraint);
        if let Some(region) = constraint {
            settings.region = region.as_str().to_owned();
        }
        self.store.create(&req.input.bucket, settings)?;
        let location = Some(format!("/{}", req.input.bucket));
        Ok(S3Response::new(CreateBucketOutput { location }))
    }

    pub(super) async fn drop_bucket(
        &self,
        req: S3Request<DeleteBucketInput>,
    ) -> S3Result<S3Response<DeleteBucketOutput>> {
        self.store.remove_bucket(&req.input.bucket)?;
        Ok(S3Response::with_status(DeleteBucketOutput::default(), http::StatusCode::NO_CONTENT))
    }

    pub(super) async fn look_at_bucket(
        &self,
        req: S3Request<HeadBucketInput>,
    ) -> S3Result<S3Response<HeadBucketOutput>> {
        let settings = self.store.checked_settings(&req.input.bucket)?;
        Ok(S3Response::new(HeadBucketOutput { bucket_region: Some(settings.region), ..Default::default() }))
    }

    pub(super) async fn location(
        &self,
        req: S3Request<GetBucketLocationInput>,
    ) -> S3Result<S3Response<GetBucketLocationOutput>> {
        let region = self.store.checked_settings(&req.input.bucket)?.region;
        // The oldest region has no name here.
        let location_constraint = (region != "us-east-1").then(|| BucketLocationConstraint::from(region));
        Ok(S3Response::new(GetBucketLocationOutput { location_constraint }))
    }

    pub(super) async fn versioning(
        &self,
        req: S3Request<GetBucketVersioningInput>,
    ) -> S3Result<S3Response<GetBucketVersioningOutput>> {
        let status = match self.store.checked_settings(&req.input.bucket)?.versioning {
            Versioning::Off => None,
            Versioning::Enabled => Some(BucketVersioningStatus::ENABLED),
            Versioning::Suspended => Some(BucketVersioningStatus::SUSPENDED),
        };
        Ok(S3Response::new(GetBucketVersioningOutput {
            status: status.map(BucketVersioningStatus::from_static),
            ..Default::default()
        }))
    }

    pub(super) async fn set_versioning(
        &self,
        req: S3Request<PutBucketVersioningInput>,
    ) -> S3Result<S3Response<PutBucketVersioningOutput>> {
        let mut settings = self.store.checked_settings(&req.input.bucket)?;
        let status = req.input.versioning_configuration.status;
        settings.versioning = match status.as_ref().map(|status| status.as_str()) {
            Some(BucketVersioningStatus::ENABLED) => Versioning::Enabled,
            Some(_) => Versioning::Suspended,
            None => settings.versioning,
        };
        self.store.set_bucket(&req.input.bucket, settings);
        Ok(S3Response::new(PutBucketVersioningOutput::default()))
    }
    pub(super) async fn lifecycle(
        &self,
        req: S3Request<GetBucketLifecycleConfigurationInput>,
    ) -> S3Result<S3Response<GetBucketLifecycleConfigurationOutput>> {
        let Some(days) = self.store.checked_settings(&req.input.bucket)?.abort_days else {
            let told = "The lifecycle configuration does not exist";
            return Err(named("NoSuchLifecycleConfiguration", http::StatusCode::NOT_FOUND, told));
        };
        let rule = LifecycleRule {
            abort_incomplete_multipart_upload: Some(AbortIncompleteMultipartUpload {
                days_after_initiation: Some(days),
            }),
            expiration: None,
            filter: Some(LifecycleRuleFilter { prefix: Some(String::new()), ..Default::default() }),
            id: Some("uploads".to_owned()),
            noncurrent_version_expiration: None,
            noncurrent_version_transitions: None,
            prefix: None,
            status: ExpirationStatus::from_static(ExpirationStatus::ENABLED),
            transitions: None,
        };
        Ok(S3Response::new(GetBucketLifecycleConfigurationOutput { rules: Some(vec![rule]), ..Default::default() }))
    }
}
