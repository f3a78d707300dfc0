//! What travels with an object besides its bytes.

use std::collections::HashMap;

/// Headers, user metadata and tags of a source object, as they are written to the destination.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Metadata {
    /// `Content-Type`.
    pub content_type: Option<String>,
    /// `Content-Encoding`.
    pub content_encoding: Option<String>,
    /// `Content-Disposition`.
    pub content_disposition: Option<String>,
    /// `Content-Language`.
    pub content_language: Option<String>,
    /// `Cache-Control`.
    pub cache_control: Option<String>,
    /// `Expires`, as it was stored; not always a date.
    pub expires: Option<String>,
    /// `x-amz-website-redirect-location`.
    pub website_redirect: Option<String>,
    /// `x-amz-meta-*`.
    pub user: HashMap<String, String>,
    /// Tags in the form of a query; fetched only where the source counts some.
    pub tags: Option<String>,
}

/// Reads the fields that HEAD and GET answers share.
macro_rules! metadata_of {
    ($answer:expr) => {
        $crate::metadata::Metadata {
            content_type: $answer.content_type().map(str::to_owned),
            content_encoding: $answer
                .content_encoding()
                // A transfer's own framing is no property of the object.
                .map(|encoding| encoding.trim_start_matches("aws-chunked").trim_start_matches(',').trim().to_owned())
                .filter(|encoding| !encoding.is_empty()),
            content_disposition: $answer.content_disposition().map(str::to_owned),
            content_language: $answer.content_language().map(str::to_owned),
            cache_control: $answer.cache_control().map(str::to_owned),
            expires: $answer.expires_string().map(str::to_owned),
            website_redirect: $answer.website_redirect_location().map(str::to_owned),
            user: $answer.metadata().cloned().unwrap_or_default(),
            tags: None,
        }
    };
}
pub(crate) use metadata_of;

/// Writes the fields into a request that begins an object.
macro_rules! with_metadata {
    ($request:expr, $metadata:expr, $options:expr) => {{
        let metadata: &$crate::metadata::Metadata = $metadata;
        let options: &longhaul_core::config::Options = $options;
        $request
            .set_content_type(metadata.content_type.clone())
            .set_content_encoding(metadata.content_encoding.clone())
            .set_content_disposition(metadata.content_disposition.clone())
            .set_content_language(metadata.content_language.clone())
            .set_cache_control(metadata.cache_control.clone())
            .set_expires($crate::metadata::expires(metadata))
            .set_website_redirect_location(metadata.website_redirect.clone())
            .set_metadata((!metadata.user.is_empty()).then(|| metadata.user.clone()))
            .set_tagging(metadata.tags.clone())
            .set_storage_class(
                options.storage_class.as_deref().map(|class| aws_sdk_s3::types::StorageClass::from(class)),
            )
    }};
}
pub(crate) use with_metadata;

/// What the encryption headers of an answer say of its ETag.
macro_rules! encryption_of {
    ($answer:expr) => {
        longhaul_core::etag::Encryption::from_headers(
            $answer.server_side_encryption().map(|encryption| encryption.as_str()),
            $answer.sse_customer_algorithm().is_some(),
        )
    };
}
pub(crate) use encryption_of;

/// The date of `Expires`; text that is no date cannot be sent by the SDK and is left out.
pub(crate) fn expires(metadata: &Metadata) -> Option<aws_sdk_s3::primitives::DateTime> {
    use aws_sdk_s3::primitives::{DateTime, DateTimeFormat};
    DateTime::from_str(metadata.expires.as_deref()?, DateTimeFormat::HttpDate).ok()
}

/// Tags as `x-amz-tagging` takes them: a query, percent-encoded.
pub(crate) fn tagging_query(tags: &[aws_sdk_s3::types::Tag]) -> String {
    use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
    let encoded = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    tags.iter().map(|tag| format!("{}={}", encoded(tag.key()), encoded(tag.value()))).collect::<Vec<_>>().join("&")
}
