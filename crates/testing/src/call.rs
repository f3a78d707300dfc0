//! Which S3 operation an HTTP request is.

use http::{HeaderMap, Method, Uri};
use percent_encoding::percent_decode_str;
use serde::Serialize;

/// What the log and the fault rules know of a request.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Call {
    /// The operation's name in the S3 API, or the HTTP method where it is none that is known here.
    pub operation: String,
    /// Empty for `ListBuckets`.
    pub bucket: String,
    /// As it is stored: decoded, nothing normalised.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// The upload id of the query.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upload_id: Option<String>,
    /// The part number of the query.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub part_number: Option<u32>,
    /// The version id of the query.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version_id: Option<String>,
    /// The `Range` header as sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub range: Option<String>,
    /// The `If-Match` header as sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub if_match: Option<String>,
    /// The `If-None-Match` header as sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub if_none_match: Option<String>,
}

fn decoded(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

impl Call {
    /// Reads method, address and headers; the body is left alone.
    pub fn of(method: &Method, uri: &Uri, headers: &HeaderMap) -> Self {
        let rest = uri.path().strip_prefix('/').unwrap_or(uri.path());
        let (bucket, key) = match rest.split_once('/') {
            Some((bucket, "")) => (bucket, None),
            Some((bucket, key)) => (bucket, Some(decoded(key))),
            None => (rest, None),
        };
        let pairs: Vec<(&str, &str)> =
            uri.query().unwrap_or_default().split('&').map(|pair| pair.split_once('=').unwrap_or((pair, ""))).collect();
        let query = |name: &str| pairs.iter().find(|(n, _)| *n == name).map(|(_, v)| decoded(v));
        let header = |name: &str| Some(headers.get(name)?.to_str().ok()?.to_owned());
        let place = if bucket.is_empty() {
            Place::Root
        } else if key.is_none() {
            Place::Bucket
        } else {
            Place::Object
        };
        let copies = headers.contains_key("x-amz-copy-source");
        let operation = operation(method, place, copies, |name| query(name).is_some()).unwrap_or(method.as_str());
        Self {
            operation: operation.to_owned(),
            bucket: decoded(bucket),
            key,
            upload_id: query("uploadId"),
            part_number: query("partNumber").and_then(|n| n.parse().ok()),
            version_id: query("versionId"),
            range: header("range"),
            if_match: header("if-match"),
            if_none_match: header("if-none-match"),
        }
    }
}

#[derive(Clone, Copy)]
enum Place {
    Root,
    Bucket,
    Object,
}

fn operation(method: &Method, place: Place, copies: bool, has: impl Fn(&str) -> bool) -> Option<&'static str> {
    let name = match (method.as_str(), place) {
        ("GET", Place::Root) => "ListBuckets",
        ("HEAD", Place::Bucket) => "HeadBucket",
        ("GET", Place::Bucket) if has("versioning") => "GetBucketVersioning",
        ("GET", Place::Bucket) if has("location") => "GetBucketLocation",
        ("GET", Place::Bucket) if has("lifecycle") => "GetBucketLifecycleConfiguration",
        ("GET", Place::Bucket) if has("uploads") => "ListMultipartUploads",
        ("GET", Place::Bucket) if has("versions") => "ListObjectVersions",
        ("GET", Place::Bucket) if has("list-type") => "ListObjectsV2",
        ("GET", Place::Bucket) => "ListObjects",
        ("PUT", Place::Bucket) if has("versioning") => "PutBucketVersioning",
        ("PUT", Place::Bucket) => "CreateBucket",
        ("POST", Place::Bucket) if has("delete") => "DeleteObjects",
        ("DELETE", Place::Bucket) => "DeleteBucket",
        ("HEAD", Place::Object) => "HeadObject",
        ("GET", Place::Object) if has("attributes") => "GetObjectAttributes",
        ("GET", Place::Object) if has("tagging") => "GetObjectTagging",
        ("GET", Place::Object) if has("uploadId") => "ListParts",
        ("GET", Place::Object) => "GetObject",
        ("POST", Place::Object) if has("uploads") => "CreateMultipartUpload",
        ("POST", Place::Object) if has("uploadId") => "CompleteMultipartUpload",
        ("PUT", Place::Object) if has("tagging") => "PutObjectTagging",
        ("PUT", Place::Object) if has("uploadId") && copies => "UploadPartCopy",
        ("PUT", Place::Object) if has("uploadId") => "UploadPart",
        ("PUT", Place::Object) if copies => "CopyObject",
        ("PUT", Place::Object) => "PutObject",
        ("DELETE", Place::Object) if has("tagging") => "DeleteObjectTagging",
        ("DELETE", Place::Object) if has("uploadId") => "AbortMultipartUpload",
        ("DELETE", Place::Object) => "DeleteObject",
        _ => return None,
    };
    Some(name)
}
