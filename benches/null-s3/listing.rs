//! Listings of buckets.

use crate::call::Call;
use crate::generated::Generated;
use crate::reply::{Answer, document, escaped};
use crate::server::Server;
use crate::store::Bucket;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use std::borrow::Cow;
use std::fmt::Write as _;
use std::ops::Bound;

/// Time of change of everything, as documents have it.
pub(crate) const WHEN: &str = "2026-11-01T00:00:00.000Z";

/// What `encoding-type=url` leaves as it is.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'/').remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// Most keys of a page: <https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectsV2.html>
const PAGE_MAX: usize = 1_000;

/// A page of a listing.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Page<'a> {
    pub(crate) lines: Vec<Line<'a>>,
    pub(crate) prefixes: Vec<Cow<'a, str>>,
    /// The last key that this page has dealt with, if there are more.
    pub(crate) next: Option<Cow<'a, str>>,
}

/// An object of a page.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Line<'a> {
    pub(crate) key: Cow<'a, str>,
    pub(crate) when: Cow<'a, str>,
    /// In quotation marks.
    pub(crate) etag: Cow<'a, str>,
    pub(crate) size: u64,
}

fn page<'a>(bucket: &'a Bucket, prefix: &str, delimiter: &str, after: &str, most: usize) -> Page<'a> {
    let mut page = Page::default();
    let from = if after < prefix { Bound::Included(prefix) } else { Bound::Excluded(after) };
    let mut last = None;
    for (key, object) in bucket.range::<str, _>((from, Bound::Unbounded)) {
        let Some(rest) = key.strip_prefix(prefix) else { break };
        let group = rest.find(delimiter).filter(|_| !delimiter.is_empty());
        let group = group.map(|at| &key[..prefix.len() + at + delimiter.len()]);
        // A group that an earlier page has named, or this one.
        if group.is_some_and(|group| after.starts_with(group) || page.prefixes.last().is_some_and(|last| last == group))
        {
            last = Some(key.as_str());
            continue;
        }
        if page.lines.len() + page.prefixes.len() == most {
            page.next = last.map(Cow::Borrowed);
            break;
        }
        match group {
            Some(group) => page.prefixes.push(group.into()),
            None => page.lines.push(Line {
                key: key.into(),
                when: WHEN.into(),
                etag: object.etag.as_str().into(),
                size: object.size,
            }),
        }
        last = Some(key);
    }
    page
}

/// ListObjects, ListObjectsV2.
pub(crate) fn list(server: &Server, call: &Call) -> Answer {
    let after = ["continuation-token", "marker", "start-after"].map(|name| call.asked(name));
    let after = after.into_iter().find(|after| !after.is_empty()).unwrap_or_default();
    let most = call.asked("max-keys").parse().unwrap_or(PAGE_MAX).min(PAGE_MAX);
    let (prefix, delimiter) = (call.asked("prefix"), call.asked("delimiter"));
    if let Some(generated) = Generated::of(&call.bucket) {
        return shown(call, most, generated.page(prefix, delimiter, after, most));
    }
    let state = server.state();
    let none = Bucket::new();
    let own = || state.buckets.get(&call.bucket).unwrap_or(&none);
    let bucket = server.offered.get(&call.bucket).unwrap_or_else(own);
    shown(call, most, page(bucket, prefix, delimiter, after, most))
}

fn shown(call: &Call, most: usize, page: Page<'_>) -> Answer {
    let second = call.asked("list-type") == "2";
    let url = call.asked("encoding-type") == "url";
    let shown = |key: &str| match url {
        true => utf8_percent_encode(key, PLAIN).to_string(),
        false => escaped(key),
    };
    let mut inner = String::with_capacity(256 + 320 * page.lines.len());
    let _ = write!(
        inner,
        "<Name>{}</Name><Prefix>{}</Prefix><KeyCount>{}</KeyCount><MaxKeys>{most}</MaxKeys><IsTruncated>{}</IsTruncated>",
        call.bucket,
        shown(call.asked("prefix")),
        page.lines.len() + page.prefixes.len(),
        page.next.is_some()
    );
    if url {
        inner.push_str("<EncodingType>url</EncodingType>");
    }
    if let Some(next) = page.next {
        let _ = match second {
            true => write!(inner, "<NextContinuationToken>{}</NextContinuationToken>", escaped(&next)),
            false => write!(inner, "<NextMarker>{}</NextMarker>", shown(&next)),
        };
    }
    for Line { key, when, etag, size } in page.lines {
        let _ = write!(
            inner,
            "<Contents><Key>{}</Key><LastModified>{when}</LastModified><ETag>{}</ETag><Size>{size}</Size>\
             <StorageClass>STANDARD</StorageClass></Contents>",
            shown(&key),
            escaped(&etag),
        );
    }
    for prefix in page.prefixes {
        let _ = write!(inner, "<CommonPrefixes><Prefix>{}</Prefix></CommonPrefixes>", shown(&prefix));
    }
    document("ListBucketResult", &inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Stored;

    #[test]
    fn pages_miss_nothing_and_repeat_nothing() {
        let object = Stored::new(vec![], true, false, vec![]);
        let names = ["a", "b/1", "b/2", "b/3", "c", "d/1", "e"];
        let bucket: Bucket = names.iter().map(|name| ((*name).to_owned(), object.clone())).collect();
        for most in 1..9 {
            let named = |page: &Page| page.lines.iter().map(|line| line.key.to_string()).collect::<Vec<_>>();
            let (mut keys, mut groups, mut flat, mut after) = (vec![], vec![], vec![], String::new());
            loop {
                let page = page(&bucket, "", "/", &after, most);
                assert!(page.lines.len() + page.prefixes.len() <= most);
                keys.extend(named(&page));
                groups.extend(page.prefixes.iter().map(ToString::to_string));
                let Some(next) = page.next else { break };
                after = next.into_owned();
            }
            after = String::new();
            loop {
                let page = page(&bucket, "", "", &after, most);
                flat.extend(named(&page));
                let Some(next) = page.next else { break };
                after = next.into_owned();
            }
            assert_eq!(keys, ["a", "c", "e"], "{most}");
            assert_eq!(groups, ["b/", "d/"], "{most}");
            assert_eq!(flat, names, "{most}");
        }
        let keys = |page: Page| page.lines.iter().map(|line| line.key.to_string()).collect::<Vec<_>>();
        assert_eq!(keys(page(&bucket, "b/", "", "", 9)), ["b/1", "b/2", "b/3"]);
        assert_eq!(keys(page(&bucket, "b", "", "b/1", 9)), ["b/2", "b/3"]);
        assert_eq!(page(&bucket, "x", "", "", 9), Page::default());
    }
}
