//! An endpoint on loopback, with plain addresses under `/_test/` to look in from other processes.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;

use http::{Method, Request, Response, StatusCode};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use s3s::Body;
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

use crate::endpoint::{Lost, TestS3};
use crate::faults::FaultPlan;

/// A running server. Dropping it closes the port and every connection.
#[derive(Debug)]
pub struct Served {
    accepting: JoinHandle<()>,
}

impl Served {
    /// Closes the port and every connection.
    pub fn stop(self) {}

    /// Waits until the server ends, which it does only when stopped.
    pub async fn ended(mut self) {
        // It was cancelled or it panicked; in both cases it has ended.
        let _ = (&mut self.accepting).await;
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// Serves `s3` at `addr` (port 0: any that is free) until the handle is dropped. Besides S3 it
/// answers `GET /_test/requests`, `GET /_test/state`, `GET /_test/faults` (how many were injected),
/// `POST /_test/reset-log` and `POST /_test/faults` with a [`FaultPlan`] that replaces the last one.
///
/// # Errors
/// Where the address cannot be had.
pub async fn serve(s3: &TestS3, addr: SocketAddr) -> io::Result<(SocketAddr, Served)> {
    let listener = TcpListener::bind(addr).await?;
    let addr = listener.local_addr()?;
    let s3 = s3.clone();
    let accepting = tokio::spawn(async move {
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                accepted = listener.accept() => if let Ok((stream, _)) = accepted {
                    connections.spawn(connection(s3.clone(), stream));
                },
                Some(_) = connections.join_next() => {}
            }
        }
    });
    Ok((addr, Served { accepting }))
}

async fn connection(s3: TestS3, stream: TcpStream) {
    // Without it small replies wait for the acknowledgement of the last one.
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request| answer(s3.clone(), request));
    // Idle connections stay, since a client that reuses one must not meet a close of ours. An error
    // is a client that went away, or a fault that closed the connection.
    let _ = http1::Builder::new().header_read_timeout(None).serve_connection(TokioIo::new(stream), service).await;
}

async fn answer(s3: TestS3, request: Request<Incoming>) -> Result<Response<Body>, Lost> {
    match request.uri().path().strip_prefix("/_test/").map(str::to_owned) {
        Some(what) => {
            let Ok(response) = admin(&s3, &what, request).await;
            Ok(response)
        }
        None => s3.call(request.map(Body::from)).await,
    }
}

async fn admin(s3: &TestS3, what: &str, request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
    let (status, value) = match (request.method(), what) {
        (&Method::GET, "requests") => (StatusCode::OK, json!(s3.log().entries())),
        (&Method::GET, "state") => (StatusCode::OK, s3.store().summary()),
        (&Method::GET, "faults") => (StatusCode::OK, json!(s3.faults().counts())),
        (&Method::POST, "reset-log") => {
            s3.log().reset();
            (StatusCode::OK, json!({}))
        }
        (&Method::POST, "faults") => {
            let bytes = request.into_body().collect().await.map(|body| body.to_bytes());
            match serde_json::from_slice::<FaultPlan>(&bytes.unwrap_or_default()) {
                Ok(plan) => {
                    s3.faults().plan(plan);
                    (StatusCode::OK, json!({}))
                }
                Err(error) => (StatusCode::BAD_REQUEST, json!({"error": error.to_string()})),
            }
        }
        _ => (StatusCode::NOT_FOUND, json!({"error": "no such address"})),
    };
    let mut response = Response::new(Body::from(value.to_string()));
    *response.status_mut() = status;
    Ok(response)
}
