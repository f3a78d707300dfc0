//! SDK clients of an endpoint.

use std::net::SocketAddr;
use std::time::Duration;

use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::{
    BehaviorVersion, Builder, Credentials, Region, RequestChecksumCalculation, ResponseChecksumValidation,
    StalledStreamProtectionConfig,
};
use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorFuture, SharedHttpClient, SharedHttpConnector, http_client_fn,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_types::body::SdkBody;
use http::header::HOST;
use http::{HeaderValue, Request};
use s3s::Body;

use crate::endpoint::{Keys, TestS3};

/// Any other address would do too: nothing is resolved below this client.
const IN_PROCESS: &str = "https://s3.invalid";

/// Endpoints without sockets, by the host of their URL.
#[derive(Clone)]
struct Hosts(Vec<(String, TestS3)>);

impl std::fmt::Debug for Hosts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(host, _)| host)).finish()
    }
}

impl HttpConnector for Hosts {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let host = request.uri().parse::<http::Uri>().ok().and_then(|uri| uri.host().map(str::to_owned));
        match self.0.iter().find(|(name, _)| Some(name) == host.as_ref()) {
            Some((_, s3)) => Connector(s3.clone()).call(request),
            None => HttpConnectorFuture::ready(Err(ConnectorError::user(format!("no endpoint at {host:?}").into()))),
        }
    }
}

/// What carries requests to several endpoints without sockets, each under the host of its URL.
pub fn connector_for(endpoints: impl IntoIterator<Item = (String, TestS3)>) -> SharedHttpConnector {
    SharedHttpConnector::new(Hosts(endpoints.into_iter().collect()))
}

/// Carries the requests of SDK clients to several endpoints without sockets, each under the host of its URL.
pub fn http_client_for(endpoints: impl IntoIterator<Item = (String, TestS3)>) -> SharedHttpClient {
    let connector = connector_for(endpoints);
    http_client_fn(move |_, _| connector.clone())
}

#[derive(Clone)]
struct Connector(TestS3);

impl std::fmt::Debug for Connector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Connector")
    }
}

impl HttpConnector for Connector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let s3 = self.0.clone();
        HttpConnectorFuture::new(async move {
            let mut request = request.try_into_http1x().map_err(|error| ConnectorError::user(error.into()))?;
            add_host(&mut request);
            let response = s3.call(request.map(Body::http_body)).await;
            // A real connection that breaks is an I/O error to the SDK, which retries it.
            let response = response.map_err(|lost| ConnectorError::io(lost.into()))?;
            HttpResponse::try_from(response.map(SdkBody::from_body_1_x))
                .map_err(|error| ConnectorError::user(error.into()))
        })
    }
}

/// The signature covers this header, which is otherwise written by the HTTP client.
fn add_host<B>(request: &mut Request<B>) {
    let authority = request.uri().authority().map(|authority| authority.as_str());
    if let Some(host) = authority.and_then(|host| HeaderValue::from_str(host).ok()) {
        request.headers_mut().entry(HOST).or_insert(host);
    }
}

/// Carries the requests of an SDK client to `s3` without sockets, whatever its endpoint. The body of
/// a request is read as `s3` needs it; a broken connection is an I/O error.
pub fn http_client(s3: &TestS3) -> SharedHttpClient {
    let connector = SharedHttpConnector::new(Connector(s3.clone()));
    http_client_fn(move |_, _| connector.clone())
}

/// The part that both clients share: path style, three attempts with hardly a pause between them,
/// checksums only as values that the caller gives. A client that is to compute them needs
/// `RequestChecksumCalculation::WhenSupported`: the SDK otherwise sends the name of an algorithm
/// without a value, which S3 refuses.
pub fn sdk_config(keys: &Keys) -> Builder {
    let credentials = Credentials::new(&keys.access_key, &keys.secret_key, None, None, "longhaul-testing");
    let retries = RetryConfig::standard()
        .with_max_attempts(3)
        .with_initial_backoff(Duration::from_millis(1))
        .with_max_backoff(Duration::from_millis(5));
    aws_sdk_s3::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::from_static("us-east-1"))
        .credentials_provider(credentials)
        .force_path_style(true)
        .retry_config(retries)
        .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
        .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
}

/// A client of `s3` without sockets, as over TLS.
pub fn s3_client(s3: &TestS3) -> aws_sdk_s3::Client {
    let config = sdk_config(s3.keys()).http_client(http_client(s3)).endpoint_url(IN_PROCESS);
    aws_sdk_s3::Client::from_conf(config.build())
}

/// A client of the endpoint at this address, over plain HTTP.
pub fn s3_client_at(addr: SocketAddr, keys: &Keys) -> aws_sdk_s3::Client {
    let config = sdk_config(keys).endpoint_url(format!("http://{addr}"));
    aws_sdk_s3::Client::from_conf(config.build())
}
