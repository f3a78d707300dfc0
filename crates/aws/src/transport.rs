//! The connections below the S3 clients: HTTP/1.1 by hyper, TLS by rustls.
//!
//! The SDK's own client would do, but for one thing that it cannot set: how much a kernel takes before it has sent it.
//! It takes megabytes, so that on a slow link a part seems to have left long before it has, and nobody can tell which
//! part is a straggler.

use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorFuture, SharedHttpClient, SharedHttpConnector, http_client_fn,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::retry::ErrorKind;
use futures::future::BoxFuture;
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::connect::HttpConnector as TcpConnector;
use hyper_util::client::legacy::{Client, Error as ClientError};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use std::error::Error as StdError;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::net::TcpStream;
use tower_service::Service;

/// Longest wait for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes that the kernel takes ahead of what it has sent.
pub(crate) const UNSENT_MAX: u64 = 128 * 1024;

/// Connections that trust the authorities of the machine and `more` besides.
///
/// The error says which of `more` cannot be trusted. Without any, the authorities are read when first needed: never,
/// where everything travels in the clear.
pub(crate) fn http_client(more: Vec<CertificateDer<'static>>) -> Result<SharedHttpClient, String> {
    let secure = OnceLock::new();
    if !more.is_empty() {
        let _ = secure.set(Ok(over_tls(more)?));
    }
    let connector = SharedHttpConnector::new(Transport { plain: client().build(tcp()), secure });
    Ok(http_client_fn(move |_, _| connector.clone()))
}

fn client() -> hyper_util::client::legacy::Builder {
    let mut builder = Client::builder(TokioExecutor::new());
    builder.pool_timer(TokioTimer::new());
    builder
}

fn tcp() -> Tcp {
    let mut tcp = TcpConnector::new();
    tcp.set_nodelay(true);
    tcp.enforce_http(false);
    tcp.set_connect_timeout(Some(CONNECT_TIMEOUT));
    Tcp(tcp)
}

fn over_tls(more: Vec<CertificateDer<'static>>) -> Result<Secure, String> {
    let mut roots = RootCertStore::empty();
    // Some machines hold certificates that rustls does not read; one of a user's own has to be read.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    for certificate in more {
        roots.add(certificate).map_err(|error| error.to_string())?;
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let tls = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let https = hyper_rustls::HttpsConnectorBuilder::new().with_tls_config(tls).https_only().enable_http1();
    Ok(client().build(https.wrap_connector(tcp())))
}

/// TCP connections whose writers see soon what is not sent.
#[derive(Clone, Debug)]
struct Tcp(TcpConnector);

impl Service<http::Uri> for Tcp {
    type Response = TokioIo<TcpStream>;
    type Error = <TcpConnector as Service<http::Uri>>::Error;
    type Future = BoxFuture<'static, Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, uri: http::Uri) -> Self::Future {
        let connecting = self.0.call(uri);
        Box::pin(async move {
            let stream = connecting.await?;
            // A kernel without the option only makes stragglers harder to see.
            #[cfg(target_os = "linux")]
            if let Err(error) = socket2::SockRef::from(stream.inner()).set_tcp_notsent_lowat(UNSENT_MAX as u32) {
                tracing::debug!(%error, "TCP_NOTSENT_LOWAT not set");
            }
            Ok(stream)
        })
    }
}

type Secure = Client<HttpsConnector<Tcp>, SdkBody>;

#[derive(Debug)]
struct Transport {
    plain: Client<Tcp, SdkBody>,
    secure: OnceLock<Result<Secure, String>>,
}

impl HttpConnector for Transport {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let request = match request.try_into_http1x() {
            Ok(request) => request,
            Err(error) => return HttpConnectorFuture::ready(Err(ConnectorError::user(error.into()))),
        };
        let answer = if request.uri().scheme() == Some(&http::uri::Scheme::HTTP) {
            self.plain.request(request)
        } else {
            match self.secure.get_or_init(|| over_tls(Vec::new())) {
                Ok(secure) => secure.request(request),
                Err(error) => return HttpConnectorFuture::ready(Err(ConnectorError::user(error.clone().into()))),
            }
        };
        HttpConnectorFuture::new(async move {
            let answer = answer.await.map_err(named)?;
            HttpResponse::try_from(answer.map(SdkBody::from_body_1_x))
                .map_err(|error| ConnectorError::other(error.into(), None))
        })
    }
}

/// Names an error for the SDK's retries: a connection that could not be had, broke or fell silent is worth another.
fn named(error: ClientError) -> ConnectorError {
    let connecting = error.is_connect();
    let mut cause: Option<&(dyn StdError + 'static)> = Some(&error);
    let (mut io, mut kind) = (false, None);
    while let Some(this) = cause {
        io |= this.is::<std::io::Error>();
        kind = kind.or_else(|| this.downcast_ref::<hyper::Error>());
        cause = this.source();
    }
    match kind {
        Some(hyper) if hyper.is_timeout() => ConnectorError::timeout(error.into()),
        Some(hyper) if hyper.is_user() => ConnectorError::user(error.into()),
        Some(hyper) if hyper.is_incomplete_message() => {
            ConnectorError::other(error.into(), Some(ErrorKind::TransientError))
        }
        Some(hyper) if hyper.is_closed() || hyper.is_canceled() => ConnectorError::io(error.into()),
        _ if connecting || io => ConnectorError::io(error.into()),
        _ => ConnectorError::other(error.into(), None),
    }
}
