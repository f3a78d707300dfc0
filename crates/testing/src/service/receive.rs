//! Takes a request's body in, and refuses it where it is not what the request says.

use bytes::BytesMut;
use futures::StreamExt as _;
use s3s::dto::StreamingBlob;
use s3s::{S3Error, S3Result, StdError, TrailingHeaders, s3_error};

use super::Service;
use super::fields::named;
use crate::body::Body;
use crate::digest::{Algorithm, Digested, Digests, Sums, unbase64};

/// Reserving more at once would let a header decide about memory.
const MAX_RESERVED: usize = 64 * 1024 * 1024;

/// A body and what the request says of it.
pub(super) struct Incoming<'a> {
    pub(super) body: Option<StreamingBlob>,
    pub(super) length: Option<i64>,
    pub(super) content_md5: Option<&'a str>,
    pub(super) given: Sums,
    pub(super) headers: &'a http::HeaderMap,
    pub(super) trailers: Option<TrailingHeaders>,
    /// To be taken in any case.
    pub(super) needed: Option<Algorithm>,
}

/// A body that is what the request said.
pub(super) struct Received {
    pub(super) body: Body,
    pub(super) digested: Digested,
    /// The algorithms that the request named a value for.
    pub(super) given: Vec<Algorithm>,
}

impl Service {
    pub(super) async fn receive(&self, mut incoming: Incoming<'_>) -> S3Result<Received> {
        let keep = self.store.discard().is_none();
        let announced = incoming.headers.get_all("x-amz-trailer");
        let announced: Vec<Algorithm> = announced
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .filter_map(Algorithm::of_header)
            .collect();
        check_announced(incoming.headers, &incoming.given, &announced)?;
        let wanted = incoming.given.keys().copied().chain(announced.iter().copied());
        let mut digests = Digests::new(wanted.chain(incoming.needed));
        let length = incoming.length.and_then(|n| u64::try_from(n).ok());
        let reserve = if keep { length.unwrap_or_default() as usize } else { 0 };
        let mut kept = BytesMut::with_capacity(reserve.min(MAX_RESERVED));
        if let Some(body) = &mut incoming.body {
            while let Some(bytes) = body.next().await {
                let bytes = bytes.map_err(broken)?;
                digests.update(&bytes);
                if keep {
                    kept.extend_from_slice(&bytes);
                }
            }
        }
        let digested = digests.finish();
        if length.is_some_and(|length| length != digested.len) {
            return Err(incomplete());
        }
        if let Some(trailers) = incoming.trailers.and_then(|trailers| trailers.take()) {
            for (name, value) in &trailers {
                if let (Some(algorithm), Ok(value)) = (Algorithm::of_header(name.as_str()), value.to_str()) {
                    incoming.given.insert(algorithm, value.trim().to_owned());
                }
            }
        }
        if announced.iter().any(|algorithm| !incoming.given.contains_key(algorithm)) {
            return Err(s3_error!(InvalidRequest, "An announced trailer did not arrive"));
        }
        verify(&digested, incoming.content_md5, &incoming.given)?;
        let body = if keep {
            Body::Bytes(kept.freeze())
        } else {
            Body::Discarded { len: digested.len, crc64: digested.crc64() }
        };
        Ok(Received { body, digested, given: incoming.given.into_keys().collect() })
    }
}

/// A client can name an algorithm and send no value, which S3 refuses.
fn check_announced(headers: &http::HeaderMap, given: &Sums, announced: &[Algorithm]) -> S3Result<()> {
    let named = headers.get("x-amz-sdk-checksum-algorithm").and_then(|name| name.to_str().ok());
    let Some(named) = named.and_then(Algorithm::named) else { return Ok(()) };
    if given.contains_key(&named) || announced.contains(&named) {
        return Ok(());
    }
    Err(s3_error!(
        InvalidRequest,
        "x-amz-sdk-checksum-algorithm specified, but no corresponding x-amz-checksum-* or \
         x-amz-trailer headers were found."
    ))
}

fn verify(digested: &Digested, content_md5: Option<&str>, given: &Sums) -> S3Result<()> {
    if let Some(text) = content_md5 {
        let md5 = unbase64(text).filter(|bytes| bytes.len() == 16);
        let md5 = md5.ok_or_else(|| s3_error!(InvalidDigest, "The Content-MD5 you specified was invalid."))?;
        if md5 != digested.md5 {
            return Err(s3_error!(BadDigest, "The Content-MD5 you specified did not match what we received."));
        }
    }
    for (algorithm, value) in given {
        if digested.sums.get(algorithm) != Some(value) {
            return Err(s3_error!(
                BadDigest,
                "The {} you specified did not match the calculated checksum.",
                algorithm.name()
            ));
        }
    }
    Ok(())
}

fn incomplete() -> S3Error {
    s3_error!(IncompleteBody, "You did not provide the number of bytes specified by the Content-Length HTTP header")
}

/// The stream's error types are private, so that only their text tells them apart.
fn broken(error: StdError) -> S3Error {
    let text = error.to_string();
    if text.contains("Sha256Mismatch") {
        named(
            "XAmzContentSHA256Mismatch",
            http::StatusCode::BAD_REQUEST,
            "The provided 'x-amz-content-sha256' header does not match what was computed.",
        )
    } else if text.contains("SignatureMismatch") {
        s3_error!(SignatureDoesNotMatch, "The signature of a chunk does not match")
    } else {
        incomplete()
    }
}
