//! The SDK against the endpoint, without sockets and over loopback.
#![allow(clippy::unwrap_used)]

mod command;
mod faults;
mod listings;
mod objects;
mod uploads;

use std::fmt::Debug;
use std::net::{Ipv4Addr, SocketAddr};

use aws_sdk_s3::Client;
use aws_sdk_s3::config::RequestChecksumCalculation;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use longhaul_testing::{BucketSettings, Keys, Store, StoreConfig, TestS3, s3_client_at, serve};

pub(crate) const ANY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// An endpoint with the buckets `b` and `v` (versions), and parts from 16 bytes on.
pub(crate) fn endpoint() -> TestS3 {
    let store = Store::new(StoreConfig { min_part_size: 16, ..StoreConfig::default() });
    store.bucket("bbb");
    store.versioned_bucket("vvv");
    TestS3::new(store, Keys::default())
}

/// Runs each test without sockets and over loopback.
macro_rules! both_ways {
    ($($name:ident),* $(,)?) => {
        mod in_process { $(
            #[tokio::test]
            async fn $name() {
                let s3 = crate::endpoint();
                super::$name(&s3, &longhaul_testing::s3_client(&s3)).await;
            }
        )* }
        mod over_http { $(
            #[tokio::test]
            async fn $name() {
                let s3 = crate::endpoint();
                let (addr, served) = longhaul_testing::serve(&s3, crate::ANY).await.unwrap();
                super::$name(&s3, &longhaul_testing::s3_client_at(addr, s3.keys())).await;
                served.stop();
            }
        )* }
    };
}
pub(crate) use both_ways;

/// The same client, computing the checksums of what it sends.
pub(crate) fn summing(client: &Client) -> Client {
    let config = client.config().to_builder();
    let config = config.request_checksum_calculation(RequestChecksumCalculation::WhenSupported);
    Client::from_conf(config.build())
}

/// Status and error code of a refusal.
pub(crate) fn refused<T: Debug, E: ProvideErrorMetadata + Debug>(result: Result<T, SdkError<E>>) -> (u16, String) {
    let error = result.expect_err("a refusal was expected");
    let status = error.raw_response().map(|response| response.status().as_u16());
    (status.unwrap_or_default(), error.code().unwrap_or_default().to_owned())
}

pub(crate) fn says(status: u16, code: &str) -> (u16, String) {
    (status, code.to_owned())
}

#[tokio::test]
async fn keys_are_checked() {
    let s3 = endpoint();
    let (addr, _served) = serve(&s3, ANY).await.unwrap();
    let with = |access: &str, secret: &str| {
        let keys = Keys { access_key: access.to_owned(), secret_key: secret.to_owned() };
        s3_client_at(addr, &keys)
    };
    let list = |client: Client| async move { client.list_objects_v2().bucket("bbb").send().await };
    list(with("test", "test")).await.unwrap();
    assert_eq!(refused(list(with("tess", "test")).await), says(403, "InvalidAccessKeyId"));
    assert_eq!(refused(list(with("test", "tess")).await), says(403, "SignatureDoesNotMatch"));

    s3.store().put("bbb", "k", "x");
    let unsigned = |method: &str| {
        let request = http::Request::builder().method(method).uri("/bbb/k").header("host", "x");
        s3.call(request.body(s3s::Body::empty()).unwrap())
    };
    assert_eq!(unsigned("GET").await.unwrap().status(), 403);
    let settings = s3.store().settings("bbb").unwrap();
    s3.store().set_bucket("bbb", BucketSettings { public_read: true, ..settings });
    assert_eq!(unsigned("GET").await.unwrap().status(), 200);
    assert_eq!(unsigned("DELETE").await.unwrap().status(), 403);
}
