//! The endpoint: store, service, log and faults behind one call.

use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response, StatusCode, header};
use http_body_util::BodyExt as _;
use s3s::Body;
use s3s::config::{S3Config, StaticConfigProvider};
use s3s::service::{S3Service, S3ServiceBuilder};

use crate::access::{Auth, PublicReads};
use crate::call::Call;
use crate::fault_body::{Break, broken};
use crate::faults::{Action, Fault, Faults};
use crate::log::RequestLog;
use crate::service::Service;
use crate::store::Store;

/// The connection ended without a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lost;

impl std::fmt::Display for Lost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("connection reset by a fault")
    }
}

impl std::error::Error for Lost {}

/// The only credentials that an endpoint admits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keys {
    /// Another one is refused with `InvalidAccessKeyId`.
    pub access_key: String,
    /// Another one is refused with `SignatureDoesNotMatch`.
    pub secret_key: String,
}

impl Default for Keys {
    fn default() -> Self {
        Self { access_key: "test".to_owned(), secret_key: "test".to_owned() }
    }
}

struct Inner {
    store: Store,
    log: RequestLog,
    faults: Faults,
    keys: Keys,
    service: S3Service,
}

/// One S3 endpoint. Clones share it.
#[derive(Clone)]
pub struct TestS3(Arc<Inner>);

impl Default for TestS3 {
    fn default() -> Self {
        Self::new(Store::default(), Keys::default())
    }
}

impl TestS3 {
    /// Answers from `store`, for requests signed with `keys`. Unsigned requests may read public
    /// buckets and nothing else.
    pub fn new(store: Store, keys: Keys) -> Self {
        let mut builder = S3ServiceBuilder::new(Service::new(store.clone()));
        let mut config = S3Config::default();
        // Simulations sign with a clock of their own.
        config.presigned_url_max_skew_time_secs = u32::MAX;
        builder.set_config(Arc::new(StaticConfigProvider::new(Arc::new(config))));
        builder.set_auth(Auth(keys.clone()));
        builder.set_access(PublicReads(store.clone()));
        let service = builder.build();
        let (log, faults) = (RequestLog::default(), Faults::default());
        Self(Arc::new(Inner { store, log, faults, keys, service }))
    }

    /// What it stores.
    pub fn store(&self) -> &Store {
        &self.0.store
    }

    /// What it was asked.
    pub fn log(&self) -> &RequestLog {
        &self.0.log
    }

    /// What shall go wrong.
    pub fn faults(&self) -> &Faults {
        &self.0.faults
    }

    /// The credentials that it admits.
    pub fn keys(&self) -> &Keys {
        &self.0.keys
    }

    /// Answers one request, with the faults that are due.
    ///
    /// # Errors
    /// [`Lost`] where a fault took the connection away.
    pub async fn call(&self, request: Request<Body>) -> Result<Response<Body>, Lost> {
        let call = Call::of(request.method(), request.uri(), request.headers());
        let actions = self.0.faults.decide(&call);
        let names = actions.iter().filter_map(|action| match action {
            Action::Fault(fault) => Some(fault.name()),
            Action::Run(_) => None,
        });
        let seq = self.0.log.begin(call.clone(), names.collect());
        let response = self.answer(&call, request, actions).await?;
        self.0.log.end(seq, response.status().as_u16());
        Ok(response)
    }

    async fn answer(
        &self,
        call: &Call,
        mut request: Request<Body>,
        actions: Vec<Action>,
    ) -> Result<Response<Body>, Lost> {
        // S3 sends no body with these, so that an SDK cannot read an error code from it.
        let head = request.method() == http::Method::HEAD;
        let mut after = Vec::new();
        for action in actions {
            match action {
                Action::Run(hook) => hook(&self.0.store, call),
                Action::Fault(Fault::Delay { ms }) => pause(ms).await,
                Action::Fault(Fault::ResetBeforeRequest) => return Err(Lost),
                Action::Fault(Fault::Status { status, code }) => {
                    let code = code.unwrap_or_else(|| usual_code(status).to_owned());
                    return Ok(refuse(request, status, &code).await);
                }
                Action::Fault(Fault::ErrorInBody { code }) => {
                    return Ok(refuse(request, 200, &code).await);
                }
                Action::Fault(Fault::FlipRequest { at }) => {
                    request = request.map(|body| broken(body, Break::Flip { at }));
                }
                Action::Fault(fault) => after.push(fault),
            }
        }
        join_encodings(request.headers_mut());
        let mut response = self.0.service.call(request).await.map_err(|_| Lost)?;
        if head || response.status() == StatusCode::NOT_MODIFIED {
            *response.body_mut() = Body::empty();
        }
        for fault in after {
            let what = match fault {
                Fault::LoseReply => return Err(Lost),
                Fault::DelayReply { ms } => {
                    pause(ms).await;
                    continue;
                }
                Fault::DropHeader { name } => {
                    response.headers_mut().remove(&name);
                    continue;
                }
                Fault::CutBody { after } => Break::Cut { after },
                Fault::StallBody { after, for_ms } => Break::Stall { after, pause: Duration::from_millis(for_ms) },
                Fault::FlipResponse { at } => Break::Flip { at },
                _ => continue,
            };
            response = response.map(|body| broken(body, what));
        }
        Ok(response)
    }
}

/// A client that streams an encoded object sends two of these headers. S3 takes them as one list,
/// which the signature does too; the service library would refuse them.
fn join_encodings(headers: &mut http::HeaderMap) {
    let values = headers.get_all(header::CONTENT_ENCODING).iter();
    let values: Vec<&[u8]> = values.map(header::HeaderValue::as_bytes).collect();
    if values.len() > 1
        && let Ok(joined) = header::HeaderValue::from_bytes(&values.join(&b','))
    {
        headers.insert(header::CONTENT_ENCODING, joined);
    }
}

async fn pause(ms: u64) {
    tokio::time::sleep(Duration::from_millis(ms)).await;
}

fn usual_code(status: u16) -> &'static str {
    match status {
        400 => "InvalidRequest",
        403 => "AccessDenied",
        404 => "NoSuchKey",
        409 => "ConditionalRequestConflict",
        412 => "PreconditionFailed",
        503 => "SlowDown",
        _ => "InternalError",
    }
}

/// Reads the request to its end first: a client that is still sending would see a broken pipe
/// instead of the answer.
async fn refuse(request: Request<Body>, status: u16, code: &str) -> Response<Body> {
    let head = request.method() == http::Method::HEAD;
    let mut body = request.into_body();
    while let Some(Ok(_)) = body.frame().await {}
    let text = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{code}</Code>\
         <Message>injected</Message><RequestId>injected</RequestId></Error>"
    );
    let body = if head { Body::empty() } else { Body::from(text) };
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let xml = header::HeaderValue::from_static("application/xml");
    response.headers_mut().insert(header::CONTENT_TYPE, xml);
    response
}
