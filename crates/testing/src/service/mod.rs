//! The S3 API over a store.

mod buckets;
mod fields;
mod listings;
mod objects;
mod receive;
mod uploads;

use s3s::dto::*;
use s3s::{S3, S3Request, S3Response, S3Result};

use crate::store::Store;

pub(crate) struct Service {
    store: Store,
}

impl Service {
    pub(crate) fn new(store: Store) -> Self {
        Self { store }
    }
}

/// Delegates each operation to the method of the same name in the module that owns it.
macro_rules! operations {
    ($($name:ident => $method:ident: $input:ident -> $output:ident;)*) => {
        #[async_trait::async_trait]
        impl S3 for Service {
            $(async fn $name(&self, req: S3Request<$input>) -> S3Result<S3Response<$output>> {
                self.$method(req).await
            })*
        }
    };
}

operations! {
    list_buckets => all_buckets: ListBucketsInput -> ListBucketsOutput;
    create_bucket => make_bucket: CreateBucketInput -> CreateBucketOutput;
    delete_bucket => drop_bucket: DeleteBucketInput -> DeleteBucketOutput;
    head_bucket => look_at_bucket: HeadBucketInput -> HeadBucketOutput;
    get_bucket_location => location: GetBucketLocationInput -> GetBucketLocationOutput;
    get_bucket_versioning => versioning: GetBucketVersioningInput -> GetBucketVersioningOutput;
    put_bucket_versioning => set_versioning: PutBucketVersioningInput -> PutBucketVersioningOutput;
    get_bucket_lifecycle_configuration => lifecycle:
        GetBucketLifecycleConfigurationInput -> GetBucketLifecycleConfigurationOutput;
    put_object => put: PutObjectInput -> PutObjectOutput;
    get_object => get: GetObjectInput -> GetObjectOutput;
    head_object => head: HeadObjectInput -> HeadObjectOutput;
    delete_object => delete: DeleteObjectInput -> DeleteObjectOutput;
    delete_objects => delete_many: DeleteObjectsInput -> DeleteObjectsOutput;
    copy_object => copy: CopyObjectInput -> CopyObjectOutput;
    get_object_tagging => tags: GetObjectTaggingInput -> GetObjectTaggingOutput;
    put_object_tagging => set_tags: PutObjectTaggingInput -> PutObjectTaggingOutput;
    delete_object_tagging => drop_tags: DeleteObjectTaggingInput -> DeleteObjectTaggingOutput;
    create_multipart_upload => create: CreateMultipartUploadInput -> CreateMultipartUploadOutput;
    upload_part => part: UploadPartInput -> UploadPartOutput;
    upload_part_copy => part_copy: UploadPartCopyInput -> UploadPartCopyOutput;
    complete_multipart_upload => complete: CompleteMultipartUploadInput -> CompleteMultipartUploadOutput;
    abort_multipart_upload => abort: AbortMultipartUploadInput -> AbortMultipartUploadOutput;
    list_parts => parts: ListPartsInput -> ListPartsOutput;
    list_multipart_uploads => uploads: ListMultipartUploadsInput -> ListMultipartUploadsOutput;
    list_objects_v2 => list: ListObjectsV2Input -> ListObjectsV2Output;
    list_object_versions => list_versions: ListObjectVersionsInput -> ListObjectVersionsOutput;
}
