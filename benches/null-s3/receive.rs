//! Takes a body in and checks what came with it.

use crate::call::Call;
use crate::check::{Check, Part};
use crate::frames::Frames;
use crate::pattern::Pattern;
use crate::reply::{Answer, error};
use crate::store::{crc64_text, md5_text};
use http::StatusCode;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;

/// The checksum that is checked; others are let through.
pub(crate) const CRC64: &str = "x-amz-checksum-crc64nvme";

/// A body, and the bytes that it took on the wire.
pub(crate) struct Received {
    pub(crate) part: Part,
    pub(crate) wire: u64,
}

/// Reads a body. Refuses it if it is cut off, or differs from a digest sent with it, ahead or behind.
pub(crate) async fn receive(pattern: &Pattern, call: &Call, mut body: Incoming) -> Result<Received, Box<Answer>> {
    let refused = |code| Box::new(error(StatusCode::BAD_REQUEST, code));
    let coded = call.header("x-amz-content-sha256").is_some_and(|kind| kind.starts_with("STREAMING-"))
        || call.header("content-encoding").is_some_and(|coding| coding.contains("aws-chunked"));
    let mut check = Check::new(pattern);
    let mut frames = coded.then(Frames::new);
    let mut wire = 0;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| refused("IncompleteBody"))?;
        let Some(bytes) = frame.data_ref() else { continue };
        wire += bytes.len() as u64;
        match &mut frames {
            None => check.feed(bytes),
            Some(frames) => {
                frames.feed(bytes, |payload| check.feed(payload)).map_err(|_| refused("InvalidChunk"))?;
            }
        }
    }
    let part = check.end();
    let trailers = match frames {
        None => Vec::new(),
        Some(frames) => frames.end().map_err(|_| refused("IncompleteBody"))?,
    };
    if call.header("x-amz-decoded-content-length").is_some_and(|length| length.parse() != Ok(part.size)) {
        return Err(refused("IncompleteBody"));
    }
    let promised = call.header("x-amz-trailer").unwrap_or_default();
    if !promised.is_empty() && !trailers.iter().any(|(name, _)| name.eq_ignore_ascii_case(promised)) {
        return Err(refused("MalformedTrailerError"));
    }
    if call.header("content-md5").is_some_and(|md5| md5 != md5_text(&part.digests)) {
        return Err(refused("BadDigest"));
    }
    let behind = trailers.iter().find(|(name, _)| name == CRC64).map(|(_, value)| value.as_str());
    let crc64 = crc64_text(part.digests.crc64);
    if [call.header(CRC64), behind].into_iter().flatten().any(|sent| sent != crc64) {
        return Err(refused("BadDigest"));
    }
    Ok(Received { part, wire })
}
