//! Uploads in parts.

use crate::call::Call;
use crate::check::Part;
use crate::listing::WHEN;
use crate::objects::{condition, kept, place};
use crate::receive::{CRC64, receive};
use crate::reply::{Answer, document, empty, error, escaped, with};
use crate::server::Server;
use crate::store::{Stored, Upload, crc64_text, part_etag};
use http::StatusCode;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// Bytes that every part but the last must have: <https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html>
const PART_MIN: u64 = 5 << 20;
/// Most parts of a page: <https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListParts.html>
const PAGE_MAX: usize = 1_000;

fn gone() -> Answer {
    error(StatusCode::NOT_FOUND, "NoSuchUpload")
}

/// CreateMultipartUpload.
pub(crate) fn create(server: &Server, call: &Call) -> Answer {
    let crc64 = call.header("x-amz-checksum-algorithm") == Some("CRC64NVME");
    let mut state = server.state();
    state.uploads_begun += 1;
    let id = format!("upload{:08}", state.uploads_begun);
    let (bucket, key) = (call.bucket.clone(), call.key.clone());
    state.uploads.insert(id.clone(), Upload { bucket, key, headers: kept(call), parts: BTreeMap::new(), crc64 });
    let (bucket, key) = (&call.bucket, escaped(&call.key));
    let inner = format!("<Bucket>{bucket}</Bucket><Key>{key}</Key><UploadId>{id}</UploadId>");
    let mut answer = document("InitiateMultipartUploadResult", &inner);
    if crc64 {
        answer = with(answer, "x-amz-checksum-algorithm", "CRC64NVME");
        answer = with(answer, "x-amz-checksum-type", "FULL_OBJECT");
    }
    server.sealed(answer)
}

/// UploadPart. Of a number sent twice, the last stands.
pub(crate) async fn part(server: &Server, call: &Call, body: Incoming) -> Answer {
    let id = call.asked("uploadId");
    if !server.state().uploads.contains_key(id) {
        return gone();
    }
    let Some(number) = call.asked("partNumber").parse().ok().filter(|number| (1..=10_000).contains(number)) else {
        return error(StatusCode::BAD_REQUEST, "InvalidArgument");
    };
    let received = match receive(&server.pattern, call, body).await {
        Ok(received) => received,
        Err(refusal) => return *refusal,
    };
    let mut state = server.state();
    state.bytes_in += received.wire;
    let Some(upload) = state.uploads.get_mut(id) else { return gone() };
    upload.parts.insert(number, received.part);
    let digests = received.part.digests;
    let mut answer = with(empty(StatusCode::OK), "etag", &part_etag(&digests, server.options.kms));
    if upload.crc64 {
        answer = with(answer, CRC64, &crc64_text(digests.crc64));
    }
    server.sealed(answer)
}

/// ListParts.
pub(crate) fn list(server: &Server, call: &Call) -> Answer {
    let state = server.state();
    let id = call.asked("uploadId");
    let Some(upload) = state.uploads.get(id) else { return gone() };
    let marker: u32 = call.asked("part-number-marker").parse().unwrap_or(0);
    let most = call.asked("max-parts").parse().unwrap_or(PAGE_MAX).min(PAGE_MAX);
    let mut behind = upload.parts.range(marker.saturating_add(1)..);
    let (mut parts, mut next) = (String::new(), 0);
    for (number, part) in behind.by_ref().take(most) {
        let etag = escaped(&part_etag(&part.digests, server.options.kms));
        let checksum = match upload.crc64 {
            true => format!("<ChecksumCRC64NVME>{}</ChecksumCRC64NVME>", crc64_text(part.digests.crc64)),
            false => String::new(),
        };
        let _ = write!(
            parts,
            "<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag><Size>{}</Size>{checksum}\
             <LastModified>{WHEN}</LastModified></Part>",
            part.size
        );
        next = *number;
    }
    let more = behind.next().is_some();
    let algorithm = match upload.crc64 {
        true => "<ChecksumAlgorithm>CRC64NVME</ChecksumAlgorithm><ChecksumType>FULL_OBJECT</ChecksumType>",
        false => "",
    };
    let (bucket, key) = (&upload.bucket, escaped(&upload.key));
    let inner = format!(
        "<Bucket>{bucket}</Bucket><Key>{key}</Key><UploadId>{id}</UploadId>{algorithm}\
         <PartNumberMarker>{marker}</PartNumberMarker><NextPartNumberMarker>{next}</NextPartNumberMarker>\
         <MaxParts>{most}</MaxParts><IsTruncated>{more}</IsTruncated>{parts}"
    );
    document("ListPartsResult", &inner)
}

/// ListMultipartUploads.
pub(crate) fn list_uploads(server: &Server, call: &Call) -> Answer {
    let mut uploads = String::new();
    for (id, upload) in &server.state().uploads {
        if upload.bucket == call.bucket && upload.key.starts_with(call.asked("prefix")) {
            let key = escaped(&upload.key);
            let _ = write!(
                uploads,
                "<Upload><Key>{key}</Key><UploadId>{id}</UploadId><Initiated>{WHEN}</Initiated></Upload>"
            );
        }
    }
    let inner = format!("<Bucket>{}</Bucket><IsTruncated>false</IsTruncated>{uploads}", call.bucket);
    document("ListMultipartUploadsResult", &inner)
}

/// AbortMultipartUpload.
pub(crate) fn abort(server: &Server, call: &Call) -> Answer {
    match server.state().uploads.remove(call.asked("uploadId")) {
        Some(_) => empty(StatusCode::NO_CONTENT),
        None => gone(),
    }
}

/// A part as the body of a Complete names it.
#[derive(Debug, PartialEq, Eq)]
struct Named<'a> {
    number: u32,
    etag: String,
    crc64: Option<&'a str>,
}

/// The parts that the body of a Complete names.
fn named(body: &str) -> Option<Vec<Named<'_>>> {
    fn field<'a>(part: &'a str, name: &str) -> Option<&'a str> {
        let (_, rest) = part.split_once(&format!("<{name}>"))?;
        Some(rest.split_once("</")?.0.trim())
    }
    let parts = body.split("<Part>").skip(1).map(|part| {
        Some(Named {
            number: field(part, "PartNumber")?.parse().ok()?,
            etag: field(part, "ETag")?.replace("&quot;", "\"").replace("&#34;", "\"").trim_matches('"').to_owned(),
            crc64: field(part, "ChecksumCRC64NVME"),
        })
    });
    parts.collect()
}

/// The parts of the object to be; what is wrong otherwise.
fn chosen(upload: &Upload, named: &[Named<'_>], kms: bool) -> Result<Vec<Part>, &'static str> {
    if named.is_empty() {
        return Err("MalformedXML");
    }
    if !named.is_sorted_by(|one, next| one.number < next.number) {
        return Err("InvalidPartOrder");
    }
    let parts = named.iter().map(|named| {
        let part = upload.parts.get(&named.number).ok_or("InvalidPart")?;
        let crc64 = crc64_text(part.digests.crc64);
        let same = part_etag(&part.digests, kms).trim_matches('"') == named.etag;
        if same && named.crc64.is_none_or(|sent| sent == crc64) { Ok(*part) } else { Err("InvalidPart") }
    });
    let parts = parts.collect::<Result<Vec<Part>, _>>()?;
    let small = parts.iter().rev().skip(1).any(|part| part.size < PART_MIN);
    if small { Err("EntityTooSmall") } else { Ok(parts) }
}

/// CompleteMultipartUpload.
pub(crate) async fn complete(server: &Server, call: &Call, body: Incoming) -> Answer {
    let refused = |code| error(StatusCode::BAD_REQUEST, code);
    let Ok(body) = body.collect().await else { return refused("IncompleteBody") };
    let body = body.to_bytes();
    let Some(named) = std::str::from_utf8(&body).ok().and_then(named) else { return refused("MalformedXML") };
    let mut state = server.state();
    let id = call.asked("uploadId");
    let Some(upload) = state.uploads.get(id) else { return gone() };
    if let Err(refusal) = condition(call, state.buckets.get(&upload.bucket), &upload.key) {
        return *refusal;
    }
    let parts = match chosen(upload, &named, server.options.kms) {
        Ok(parts) => parts,
        Err(code) => return refused(code),
    };
    let (crc64, declared) = (upload.crc64, upload.headers.clone());
    let object = Stored::new(parts, true, server.options.kms, declared);
    if call.header("x-amz-mp-object-size").is_some_and(|size| size.parse() != Ok(object.size)) {
        return refused("InvalidRequest");
    }
    let whole = crc64_text(object.crc64);
    if call.header(CRC64).is_some_and(|sent| sent != whole) {
        return refused("BadDigest");
    }
    let checksum = match crc64 {
        true => {
            format!("<ChecksumCRC64NVME>{whole}</ChecksumCRC64NVME><ChecksumType>FULL_OBJECT</ChecksumType>")
        }
        false => String::new(),
    };
    let inner = format!(
        "<Location>/</Location><Bucket>{}</Bucket><Key>{}</Key><ETag>{}</ETag>{checksum}",
        call.bucket,
        escaped(&call.key),
        escaped(&object.etag)
    );
    state.uploads.remove(id);
    place(&mut state, &call.bucket, &call.key, object);
    server.sealed(document("CompleteMultipartUploadResult", &inner))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::pattern::Pattern;

    #[test]
    fn bodies_of_a_complete_are_read() {
        let body = "<CompleteMultipartUpload><Part><ETag>&quot;ab&quot;</ETag><PartNumber>1</PartNumber></Part>\
                    <Part><PartNumber>2</PartNumber><ChecksumCRC64NVME>x=</ChecksumCRC64NVME><ETag>\"cd\"</ETag></Part>";
        let expected = vec![
            Named { number: 1, etag: "ab".into(), crc64: None },
            Named { number: 2, etag: "cd".into(), crc64: Some("x=") },
        ];
        assert_eq!(named(body), Some(expected));
        assert_eq!(named("<Part><PartNumber>1</PartNumber></Part>"), None);
    }

    #[test]
    fn parts_must_be_as_named() {
        let pattern = Pattern::new();
        let made = |size| Part { place: Some(0), size, digests: pattern.digests(0, size) };
        let parts: BTreeMap<u32, Part> = [(1, made(PART_MIN)), (2, made(100)), (3, made(50))].into();
        let upload = Upload { bucket: "b".into(), key: "k".into(), headers: vec![], parts, crc64: true };
        let name = |number: u32| Named {
            number,
            etag: part_etag(&upload.parts[&number].digests, false).trim_matches('"').to_owned(),
            crc64: None,
        };
        let codes = |named: &[Named<'_>]| chosen(&upload, named, false).map(|parts| parts.len());
        assert_eq!(codes(&[name(1), name(2)]), Ok(2));
        assert_eq!(codes(&[name(2), name(1)]), Err("InvalidPartOrder"));
        assert_eq!(codes(&[name(2), name(3)]), Err("EntityTooSmall"));
        assert_eq!(codes(&[Named { crc64: Some("AAAA"), ..name(1) }]), Err("InvalidPart"));
        assert_eq!(codes(&[Named { number: 9, ..name(1) }]), Err("InvalidPart"));
        assert_eq!(codes(&[Named { number: 2, ..name(1) }]), Err("InvalidPart"));
        assert_eq!(codes(&[]), Err("MalformedXML"));
        assert_eq!(chosen(&upload, &[name(1)], true), Err("InvalidPart"));
    }
}
