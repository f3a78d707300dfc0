//! Objects: GET, HEAD, PUT and DELETE.

use crate::call::Call;
use crate::receive::{CRC64, receive};
use crate::reply::{Answer, Reply, empty, error, with};
use crate::server::Server;
use crate::store::{Bucket, State, Stored, crc64_text};
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Response, StatusCode};
use hyper::body::Incoming;
use std::sync::Arc;

/// Time of change of every object.
const WHEN: &str = "Sun, 01 Nov 2026 00:00:00 GMT";

/// Whether a condition names this ETag.
fn names(condition: &str, etag: &str) -> bool {
    condition.split(',').any(|one| one.trim() == "*" || one.trim().trim_matches('"') == etag.trim_matches('"'))
}

/// The first byte and the number of bytes that a request wants of an object.
fn wanted(call: &Call, object: &Stored) -> Result<(u64, u64, StatusCode), Box<Answer>> {
    let refused = |code| Box::new(error(StatusCode::RANGE_NOT_SATISFIABLE, code));
    if let Some(number) = call.query.get("partNumber") {
        let number: usize = number.parse().unwrap_or(0);
        let part = object.parts.get(number.wrapping_sub(1)).ok_or_else(|| refused("InvalidPartNumber"))?;
        let first = object.parts[..number - 1].iter().map(|part| part.size).sum();
        return Ok((first, part.size, StatusCode::PARTIAL_CONTENT));
    }
    let Some(range) = call.header("range").and_then(|range| range.strip_prefix("bytes=")) else {
        return Ok((0, object.size, StatusCode::OK));
    };
    let (first, last) = range.split_once('-').unwrap_or((range, ""));
    let (first, end) = match (first.parse::<u64>(), last.parse::<u64>()) {
        (Ok(first), Ok(last)) => (first, object.size.min(last.saturating_add(1))),
        (Ok(first), Err(_)) => (first, object.size),
        (Err(_), Ok(count)) => (object.size.saturating_sub(count), object.size),
        (Err(_), Err(_)) => return Ok((0, object.size, StatusCode::OK)),
    };
    if first >= end { Err(refused("InvalidRange")) } else { Ok((first, end - first, StatusCode::PARTIAL_CONTENT)) }
}

/// GET and HEAD.
pub(crate) fn read(server: &Arc<Server>, call: &Call) -> Answer {
    let mut state = server.state();
    let own = state.buckets.get(&call.bucket).and_then(|bucket| bucket.get(&call.key));
    let found = server.offered.get(&call.bucket).and_then(|bucket| bucket.get(&call.key)).or(own);
    let Some(object) = found else {
        return error(StatusCode::NOT_FOUND, "NoSuchKey");
    };
    if call.header("if-match").is_some_and(|condition| !names(condition, &object.etag)) {
        return error(StatusCode::PRECONDITION_FAILED, "PreconditionFailed");
    }
    if call.header("if-none-match").is_some_and(|condition| names(condition, &object.etag)) {
        return empty(StatusCode::NOT_MODIFIED);
    }
    let (first, count, status) = match wanted(call, object) {
        Ok(wanted) => wanted,
        Err(refusal) => return *refusal,
    };
    let left = if call.method == Method::HEAD { 0 } else { count };
    let reply = match object.place(&server.pattern) {
        _ if left == 0 => Reply::Text(Bytes::new()),
        Some(place) => Reply::Cut { pattern: Arc::clone(&server.pattern), place: place + first as usize, left },
        // Of other bytes only the digests were kept.
        None => return error(StatusCode::NOT_IMPLEMENTED, "NotImplemented"),
    };
    let mut answer = Response::new(reply);
    *answer.status_mut() = status;
    answer.headers_mut().extend(object.headers.iter().cloned());
    if !answer.headers().contains_key("content-type") {
        answer = with(answer, "content-type", "binary/octet-stream");
    }
    answer = with(answer, "etag", &object.etag);
    answer = with(answer, "last-modified", WHEN);
    answer = with(answer, "accept-ranges", "bytes");
    answer = with(answer, "content-length", &count.to_string());
    if status == StatusCode::PARTIAL_CONTENT && count > 0 {
        answer = with(answer, "content-range", &format!("bytes {first}-{}/{}", first + count - 1, object.size));
    }
    if object.multipart && call.query.contains_key("partNumber") && server.options.part_counts {
        answer = with(answer, "x-amz-mp-parts-count", &object.parts.len().to_string());
    }
    let mode = call.header("x-amz-checksum-mode").is_some_and(|mode| mode.eq_ignore_ascii_case("enabled"));
    if mode && server.options.checksums && count == object.size {
        answer = with(answer, CRC64, &crc64_text(object.crc64));
        answer = with(answer, "x-amz-checksum-type", "FULL_OBJECT");
    }
    state.bytes_out += left;
    server.sealed(answer)
}

/// Whether a write may go on: `If-None-Match: *` where nothing stands, `If-Match` over this ETag.
pub(crate) fn condition(call: &Call, bucket: Option<&Bucket>, key: &str) -> Result<(), Box<Answer>> {
    let there = bucket.and_then(|bucket| bucket.get(key));
    let failed = || Err(Box::new(error(StatusCode::PRECONDITION_FAILED, "PreconditionFailed")));
    match (call.header("if-none-match"), call.header("if-match"), there) {
        (Some(_), _, Some(_)) => failed(),
        (_, Some(_), None) => Err(Box::new(error(StatusCode::NOT_FOUND, "NoSuchKey"))),
        (_, Some(condition), Some(object)) if !names(condition, &object.etag) => failed(),
        _ => Ok(()),
    }
}

/// The headers that an object keeps.
pub(crate) fn kept(call: &Call) -> Vec<(HeaderName, HeaderValue)> {
    let kept = |name: &HeaderName| name == "content-type" || name.as_str().starts_with("x-amz-meta-");
    call.headers.iter().filter(|(name, _)| kept(name)).map(|(name, value)| (name.clone(), value.clone())).collect()
}

/// Puts an object in its place.
pub(crate) fn place(state: &mut State, bucket: &str, key: &str, object: Stored) {
    state.buckets.entry(bucket.to_owned()).or_default().insert(key.to_owned(), object);
}

/// PUT of a whole object.
pub(crate) async fn put(server: &Server, call: &Call, body: Incoming) -> Answer {
    let received = match receive(&server.pattern, call, body).await {
        Ok(received) => received,
        Err(refusal) => return *refusal,
    };
    let mut state = server.state();
    state.bytes_in += received.wire;
    if let Err(refusal) = condition(call, state.buckets.get(&call.bucket), &call.key) {
        return *refusal;
    }
    let object = Stored::new(vec![received.part], false, server.options.kms, kept(call));
    let answer = with(empty(StatusCode::OK), "etag", &object.etag);
    let answer = with(answer, CRC64, &crc64_text(object.crc64));
    let answer = with(answer, "x-amz-checksum-type", "FULL_OBJECT");
    place(&mut state, &call.bucket, &call.key, object);
    server.sealed(answer)
}

/// DELETE of an object.
pub(crate) fn delete(server: &Server, call: &Call) -> Answer {
    if let Some(bucket) = server.state().buckets.get_mut(&call.bucket) {
        bucket.remove(&call.key);
    }
    empty(StatusCode::NO_CONTENT)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::call;
    use crate::data::offers;
    use crate::pattern::Pattern;
    use crate::store::offered;

    #[test]
    fn ranges_and_parts_are_cut() {
        let pattern = Pattern::new();
        let object = offered(&pattern, &offers("one-64mib")[0]);
        let asked = |query: &str, range: &str| {
            wanted(&call("GET", &format!("/b/k{query}"), &[("range", range)]), &object)
                .map(|(first, count, status)| (first, count, status.as_u16()))
                .map_err(|refusal| refusal.status().as_u16())
        };
        assert_eq!(asked("", ""), Ok((0, 64 << 20, 200)));
        assert_eq!(asked("", "bytes=5-9"), Ok((5, 5, 206)));
        assert_eq!(asked("", "bytes=5-"), Ok((5, (64 << 20) - 5, 206)));
        assert_eq!(asked("", "bytes=-5"), Ok(((64 << 20) - 5, 5, 206)));
        assert_eq!(asked("", "bytes=67108864-"), Err(416));
        assert_eq!(asked("?partNumber=2", ""), Ok((8 << 20, 8 << 20, 206)));
        assert_eq!(asked("?partNumber=9", ""), Err(416));
        assert_eq!(asked("?partNumber=0", ""), Err(416));
    }

    #[test]
    fn conditions_hold() {
        let pattern = Pattern::new();
        let object = offered(&pattern, &offers("5-tiny")[0]);
        let etag = object.etag.clone();
        let bucket: Bucket = [("there".to_owned(), object)].into();
        let status = |key: &str, header: &str, value: &str| {
            condition(&call("PUT", "/b/k", &[(header, value)]), Some(&bucket), key)
                .map_err(|refusal| refusal.status().as_u16())
        };
        assert_eq!(status("there", "if-none-match", "*"), Err(412));
        assert_eq!(status("absent", "if-none-match", "*"), Ok(()));
        assert_eq!(status("there", "if-match", &etag), Ok(()));
        assert_eq!(status("there", "if-match", "\"other\""), Err(412));
        assert_eq!(status("absent", "if-match", &etag), Err(404));
        assert_eq!(status("there", "x-none", ""), Ok(()));
    }
}
