//! What each function of a deployment asks of AWS: the template's policies hold exactly this, a test says so.
//!
//! Whoever adds a call to this crate adds it here, under every function that comes to make it.

use Resource::*;

/// What an action is done to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Resource {
    /// The function's own log group.
    Log,
    /// The queue of events and requests.
    Queue,
    /// What nobody can read.
    DeadLetterQueue,
    /// Requests of objects that failed.
    FailedQueue,
    /// The state machine `migrate`.
    Migrate,
    /// Its executions.
    MigrateExecutions,
    /// Executions of the state machine `backfill`.
    BackfillExecutions,
    /// The SSM parameter with the routes.
    Routes,
    /// The secret with the source's keys.
    SourceSecret,
    /// The secret with the destination's keys.
    DestinationSecret,
    /// The role that reads the source.
    SourceRole,
    /// The role that writes the destination.
    DestinationRole,
    /// The ledger's table.
    Ledger,
    /// The bucket of manifests and outcomes.
    WorkBucket,
    /// Its objects.
    WorkObjects,
    /// The source bucket, where the function's own role reads it.
    SourceBucket,
    /// Its objects.
    SourceObjects,
    /// The KMS key of the user's own that the source is under, where the function's own role reads it.
    SourceKey,
    /// The destination bucket, where the function's own role writes it.
    DestinationBucket,
    /// Its objects.
    DestinationObjects,
    /// Its objects, where the deployment allows to remove them.
    RemovableObjects,
    /// The KMS key of the user's own that the destination is under, where the function's own role writes it.
    DestinationKey,
    /// The topic of notifications.
    Topic,
}

/// Actions that a function may do on one resource.
#[derive(Clone, Copy, Debug)]
pub struct Grant {
    /// What they are done to.
    pub on: Resource,
    /// IAM's names of the actions.
    pub actions: &'static [&'static str],
    /// The calls that need them, as the SDK names them; or [`LAMBDA`].
    pub calls: &'static [&'static str],
}

/// In place of a call: Lambda itself does it under the function's role.
pub const LAMBDA: &str = "Lambda";

const fn grant(on: Resource, actions: &'static [&'static str], calls: &'static [&'static str]) -> Grant {
    Grant { on, actions, calls }
}

const LOG: Grant = grant(Log, &["logs:CreateLogStream", "logs:PutLogEvents"], &[LAMBDA]);
const ROUTES: Grant = grant(Routes, &["ssm:GetParameter"], &["get_parameter"]);
const SOURCE_KEYS: Grant = grant(SourceSecret, &["secretsmanager:GetSecretValue"], &["get_secret_value"]);
const SOURCE_ROLE: Grant = grant(SourceRole, &["sts:AssumeRole"], &["assume_role"]);
const DESTINATION_KEYS: Grant = grant(DestinationSecret, &["secretsmanager:GetSecretValue"], &["get_secret_value"]);
const DESTINATION_ROLE: Grant = grant(DestinationRole, &["sts:AssumeRole"], &["assume_role"]);
const WORK: Grant = grant(WorkObjects, &["s3:GetObject", "s3:PutObject"], &["get_object", "put_object"]);
const WORK_LISTED: Grant = grant(WorkBucket, &["s3:ListBucket"], &["list_objects_v2", "get_object"]);
const FAILED: Grant = grant(FailedQueue, &["sqs:SendMessage"], &["send_message"]);
/// Without it a missing object answers 403, and nothing says why a HEAD was denied.
const SOURCE_FOUND: Grant = grant(SourceBucket, &["s3:ListBucket"], &["head_object", "list_objects_v2", "head_bucket"]);
const DESTINATION_FOUND: Grant = grant(DestinationBucket, &["s3:ListBucket"], &["head_object", "list_objects_v2"]);
/// S3 decrypts under the caller's permissions: bodies, and the checksums that a HEAD asks for.
/// <https://docs.aws.amazon.com/AmazonS3/latest/API/API_HeadObject.html>
const SOURCE_READ: Grant = grant(SourceKey, &["kms:Decrypt"], &["get_object", "head_object"]);
const SOURCE_LOOKED_AT: Grant = grant(SourceKey, &["kms:Decrypt"], &["head_object"]);
/// What is written in parts is encrypted with a data key that each request decrypts.
/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/mpuoverview.html#mpuAndPermissions>
const WRITTEN: &[&str] = &["kms:GenerateDataKey", "kms:Decrypt"];

/// The functions of a deployment, by the folder of `functions/`, each with what it may do.
pub const FUNCTIONS: [(&str, &[Grant]); 8] = [
    (
        "intake",
        &[
            LOG,
            grant(Queue, &["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"], &[LAMBDA]),
            grant(DeadLetterQueue, &["sqs:SendMessage"], &["send_message"]),
            grant(Migrate, &["states:StartExecution"], &["start_execution"]),
        ],
    ),
    (
        "plan",
        &[
            LOG,
            ROUTES,
            SOURCE_KEYS,
            SOURCE_ROLE,
            DESTINATION_KEYS,
            DESTINATION_ROLE,
            grant(Ledger, &["dynamodb:GetItem", "dynamodb:PutItem"], &["get_item", "put_item"]),
            WORK,
            WORK_LISTED,
            grant(
                SourceObjects,
                &["s3:GetObject", "s3:GetObjectVersion", "s3:GetObjectTagging", "s3:GetObjectVersionTagging"],
                &["head_object", "get_object_tagging"],
            ),
            SOURCE_FOUND,
            SOURCE_LOOKED_AT,
            grant(
                DestinationObjects,
                &[
                    "s3:GetObject",
                    "s3:PutObject",
                    "s3:PutObjectTagging",
                    "s3:AbortMultipartUpload",
                    "s3:ListMultipartUploadParts",
                ],
                &["head_object", "create_multipart_upload", "abort_multipart_upload", "list_parts"],
            ),
            DESTINATION_FOUND,
            grant(DestinationKey, WRITTEN, &["head_object", "create_multipart_upload"]),
            FAILED,
        ],
    ),
    (
        "copy-objects",
        &[
            LOG,
            SOURCE_KEYS,
            SOURCE_ROLE,
            DESTINATION_KEYS,
            DESTINATION_ROLE,
            grant(
                Ledger,
                &["dynamodb:GetItem", "dynamodb:BatchGetItem", "dynamodb:PutItem"],
                &["get_item", "batch_get_item", "put_item"],
            ),
            WORK,
            grant(
                SourceObjects,
                &["s3:GetObject", "s3:GetObjectTagging", "s3:GetObjectVersionTagging"],
                &["get_object", "get_object_tagging", "copy_object"],
            ),
            SOURCE_FOUND,
            SOURCE_READ,
            grant(
                DestinationObjects,
                &["s3:GetObject", "s3:PutObject", "s3:PutObjectTagging", "s3:AbortMultipartUpload"],
                &["head_object", "put_object", "copy_object", "abort_multipart_upload"],
            ),
            DESTINATION_FOUND,
            grant(DestinationKey, WRITTEN, &["head_object", "put_object", "copy_object"]),
            FAILED,
        ],
    ),
    (
        "copy-parts",
        &[
            LOG,
            SOURCE_KEYS,
            SOURCE_ROLE,
            DESTINATION_KEYS,
            DESTINATION_ROLE,
            grant(Ledger, &["dynamodb:GetItem", "dynamodb:PutItem"], &["get_item", "put_item"]),
            grant(SourceObjects, &["s3:GetObject", "s3:GetObjectVersion"], &["get_object", "upload_part_copy"]),
            SOURCE_FOUND,
            grant(SourceKey, &["kms:Decrypt"], &["get_object", "upload_part_copy"]),
            grant(
                DestinationObjects,
                &["s3:PutObject", "s3:ListMultipartUploadParts"],
                &["upload_part", "upload_part_copy", "list_parts"],
            ),
            grant(DestinationKey, WRITTEN, &["upload_part", "upload_part_copy"]),
        ],
    ),
    (
        "complete",
        &[
            LOG,
            SOURCE_KEYS,
            SOURCE_ROLE,
            DESTINATION_KEYS,
            DESTINATION_ROLE,
            grant(Ledger, &["dynamodb:GetItem", "dynamodb:PutItem"], &["get_item", "put_item"]),
            grant(WorkObjects, &["s3:PutObject"], &["put_object"]),
            grant(SourceObjects, &["s3:GetObject"], &["head_object"]),
            SOURCE_FOUND,
            SOURCE_LOOKED_AT,
            grant(
                DestinationObjects,
                &["s3:GetObject", "s3:PutObject", "s3:ListMultipartUploadParts", "s3:AbortMultipartUpload"],
                &["head_object", "complete_multipart_upload", "list_parts", "abort_multipart_upload"],
            ),
            DESTINATION_FOUND,
            grant(DestinationKey, &["kms:Decrypt"], &["head_object", "complete_multipart_upload"]),
        ],
    ),
    (
        "settle",
        &[
            LOG,
            ROUTES,
            DESTINATION_KEYS,
            DESTINATION_ROLE,
            grant(
                Ledger,
                &["dynamodb:GetItem", "dynamodb:BatchGetItem", "dynamodb:PutItem"],
                &["get_item", "batch_get_item", "put_item"],
            ),
            WORK,
            WORK_LISTED,
            grant(
                DestinationObjects,
                &["s3:AbortMultipartUpload", "s3:ListMultipartUploadParts"],
                &["abort_multipart_upload", "list_parts"],
            ),
            grant(DestinationKey, &["kms:Decrypt"], &["list_parts"]),
            FAILED,
            grant(MigrateExecutions, &["states:DescribeExecution"], &["describe_execution"]),
            // The destination of an event that fails three times.
            grant(DeadLetterQueue, &["sqs:SendMessage"], &[LAMBDA]),
        ],
    ),
    (
        "scan",
        &[
            LOG,
            ROUTES,
            SOURCE_KEYS,
            SOURCE_ROLE,
            DESTINATION_KEYS,
            DESTINATION_ROLE,
            grant(Ledger, &["dynamodb:BatchGetItem"], &["batch_get_item"]),
            WORK,
            WORK_LISTED,
            grant(BackfillExecutions, &["states:DescribeExecution"], &["describe_execution"]),
            grant(
                SourceObjects,
                &["s3:GetObject", "s3:GetObjectTagging"],
                &["get_object", "head_object", "get_object_tagging"],
            ),
            SOURCE_FOUND,
            SOURCE_READ,
            grant(
                DestinationObjects,
                &["s3:GetObject", "s3:PutObject", "s3:PutObjectTagging", "s3:AbortMultipartUpload"],
                &["head_object", "put_object", "create_multipart_upload", "abort_multipart_upload"],
            ),
            grant(
                DestinationBucket,
                &["s3:ListBucket", "s3:GetLifecycleConfiguration"],
                &["list_objects_v2", "head_bucket", "get_bucket_lifecycle_configuration"],
            ),
            grant(DestinationKey, WRITTEN, &["head_object", "put_object", "create_multipart_upload"]),
            grant(RemovableObjects, &["s3:DeleteObject"], &["delete_object"]),
        ],
    ),
    (
        "report",
        &[
            LOG,
            DESTINATION_KEYS,
            DESTINATION_ROLE,
            grant(Ledger, &["dynamodb:BatchGetItem"], &["batch_get_item"]),
            WORK,
            WORK_LISTED,
            grant(DestinationBucket, &["s3:ListBucketMultipartUploads"], &["list_multipart_uploads"]),
            grant(Topic, &["sns:Publish"], &["publish"]),
        ],
    ),
];

/// The calls of this crate to AWS, each with every action that it may need.
pub const CALLS: [(&str, &[&str]); 26] = [
    ("abort_multipart_upload", &["s3:AbortMultipartUpload"]),
    ("assume_role", &["sts:AssumeRole"]),
    ("batch_get_item", &["dynamodb:BatchGetItem"]),
    ("complete_multipart_upload", &["s3:PutObject", "kms:Decrypt"]),
    (
        "copy_object",
        &[
            "s3:GetObject",
            "s3:GetObjectVersion",
            "s3:GetObjectTagging",
            "s3:GetObjectVersionTagging",
            "s3:PutObject",
            "s3:PutObjectTagging",
            "kms:GenerateDataKey",
            "kms:Decrypt",
        ],
    ),
    ("create_multipart_upload", &["s3:PutObject", "s3:PutObjectTagging", "kms:GenerateDataKey", "kms:Decrypt"]),
    ("delete_object", &["s3:DeleteObject"]),
    ("describe_execution", &["states:DescribeExecution"]),
    ("get_bucket_lifecycle_configuration", &["s3:GetLifecycleConfiguration"]),
    ("get_item", &["dynamodb:GetItem"]),
    ("get_object", &["s3:GetObject", "s3:GetObjectVersion", "s3:ListBucket", "kms:Decrypt"]),
    ("get_object_tagging", &["s3:GetObjectTagging", "s3:GetObjectVersionTagging"]),
    ("get_parameter", &["ssm:GetParameter"]),
    ("get_secret_value", &["secretsmanager:GetSecretValue"]),
    ("head_bucket", &["s3:ListBucket"]),
    ("head_object", &["s3:GetObject", "s3:GetObjectVersion", "s3:ListBucket", "kms:Decrypt"]),
    ("list_multipart_uploads", &["s3:ListBucketMultipartUploads"]),
    ("list_objects_v2", &["s3:ListBucket"]),
    ("list_parts", &["s3:ListMultipartUploadParts", "kms:Decrypt"]),
    ("publish", &["sns:Publish"]),
    ("put_item", &["dynamodb:PutItem"]),
    // A condition on what stands there needs GetObject.
    ("put_object", &["s3:PutObject", "s3:PutObjectTagging", "s3:GetObject", "kms:GenerateDataKey"]),
    ("send_message", &["sqs:SendMessage"]),
    ("start_execution", &["states:StartExecution"]),
    ("upload_part", &["s3:PutObject", "kms:GenerateDataKey", "kms:Decrypt"]),
    (
        "upload_part_copy",
        &["s3:PutObject", "s3:GetObject", "s3:GetObjectVersion", "kms:GenerateDataKey", "kms:Decrypt"],
    ),
];
