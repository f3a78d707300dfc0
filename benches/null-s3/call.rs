//! What a request asks for.

use http::{HeaderMap, Method, request::Parts};
use percent_encoding::percent_decode_str;
use std::collections::HashMap;

/// A request without its body.
pub(crate) struct Call {
    pub(crate) method: Method,
    pub(crate) bucket: String,
    pub(crate) key: String,
    pub(crate) query: HashMap<String, String>,
    pub(crate) headers: HeaderMap,
}

/// The operations, under S3's names for them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    Stats,
    Reset,
    Verify,
    ListBuckets,
    GetBucketLocation,
    GetBucketVersioning,
    ListMultipartUploads,
    ListObjects,
    HeadBucket,
    CreateBucket,
    ListParts,
    GetObjectTagging,
    GetObject,
    HeadObject,
    UploadPart,
    PutObject,
    CreateMultipartUpload,
    CompleteMultipartUpload,
    AbortMultipartUpload,
    DeleteObject,
    Unknown,
}

impl Call {
    pub(crate) fn new(parts: Parts) -> Self {
        let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
        let path = decoded(parts.uri.path());
        let path = path.strip_prefix('/').unwrap_or(&path);
        let (bucket, key) = path.split_once('/').unwrap_or((path, ""));
        let query = parts.uri.query().unwrap_or_default();
        Self {
            method: parts.method,
            bucket: bucket.to_owned(),
            key: key.to_owned(),
            query: query
                .split('&')
                .filter(|field| !field.is_empty())
                .map(|field| {
                    let (name, value) = field.split_once('=').unwrap_or((field, ""));
                    (name.to_owned(), decoded(&value.replace('+', " ")))
                })
                .collect(),
            headers: parts.headers,
        }
    }

    /// A field of the query; empty if it is not there.
    pub(crate) fn asked(&self, name: &str) -> &str {
        self.query.get(name).map(String::as_str).unwrap_or_default()
    }

    /// A header, if it is there and is text.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    fn has(&self, name: &str) -> bool {
        self.query.contains_key(name)
    }

    pub(crate) fn operation(&self) -> Operation {
        use Operation::*;
        match self.bucket.as_str() {
            "_stats" => return Stats,
            "_reset" => return Reset,
            "_verify" => return Verify,
            _ => {}
        }
        match (self.method.as_str(), self.key.is_empty()) {
            ("GET", true) if self.bucket.is_empty() => ListBuckets,
            ("GET", true) if self.has("location") => GetBucketLocation,
            ("GET", true) if self.has("uploads") => ListMultipartUploads,
            ("GET", true) if self.has("versioning") => GetBucketVersioning,
            ("GET", true) if self.has("versions") => Unknown,
            ("GET", true) => ListObjects,
            ("HEAD", true) => HeadBucket,
            ("PUT", true) => CreateBucket,
            ("GET", false) if self.has("uploadId") => ListParts,
            ("GET", false) if self.has("tagging") => GetObjectTagging,
            ("GET", false) if self.has("attributes") => Unknown,
            ("GET", false) => GetObject,
            ("HEAD", false) => HeadObject,
            ("PUT", false) if self.has("tagging") || self.headers.contains_key("x-amz-copy-source") => Unknown,
            ("PUT", false) if self.has("partNumber") => UploadPart,
            ("PUT", false) => PutObject,
            ("POST", false) if self.has("uploads") => CreateMultipartUpload,
            ("POST", false) if self.has("uploadId") => CompleteMultipartUpload,
            ("DELETE", false) if self.has("uploadId") => AbortMultipartUpload,
            ("DELETE", false) => DeleteObject,
            _ => Unknown,
        }
    }
}

#[cfg(test)]
pub(crate) fn call(method: &str, address: &str, headers: &[(&str, &str)]) -> Call {
    #![allow(clippy::unwrap_used)]
    let mut request = http::Request::builder().method(method).uri(address);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    Call::new(request.body(()).unwrap().into_parts().0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_bytes_and_queries_forms() {
        let call = call("GET", "/b/a//%2Bx%20y?prefix=a+b%2F&uploads", &[]);
        assert_eq!((call.bucket.as_str(), call.key.as_str()), ("b", "a//+x y"));
        assert_eq!((call.asked("prefix"), call.asked("none")), ("a b/", ""));
        assert!(call.has("uploads"));
    }

    #[test]
    fn operations_are_told_apart() {
        let operation = |method, address| call(method, address, &[]).operation();
        assert_eq!(operation("GET", "/b?list-type=2"), Operation::ListObjects);
        assert_eq!(operation("GET", "/b/k?uploadId=1"), Operation::ListParts);
        assert_eq!(operation("PUT", "/b/k?partNumber=1&uploadId=1"), Operation::UploadPart);
        assert_eq!(operation("PUT", "/b/k?x-id=PutObject"), Operation::PutObject);
        assert_eq!(operation("GET", "/_verify?bucket=b&case=c"), Operation::Verify);
        assert_eq!(operation("GET", "/b/k?attributes"), Operation::Unknown);
    }
}
