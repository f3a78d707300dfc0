use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::SystemTime;

use aws_sdk_s3::Client;
use aws_sdk_s3::operation::get_object::GetObjectOutput;
use aws_sdk_s3::primitives::{ByteStream, DateTime};
use aws_sdk_s3::types::{
    ChecksumAlgorithm, ChecksumMode, MetadataDirective, ServerSideEncryption, StorageClass, Tag, Tagging,
    TaggingDirective,
};
use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::StreamBody;
use longhaul_testing::{Encryption, TestS3};

use crate::{both_ways, refused, says, summing};

both_ways!(
    writes_are_conditional,
    reads_are_conditional,
    bodies_are_verified,
    versions_are_kept,
    ranges_and_parts_are_read,
    headers_and_tags_are_kept,
    keys_are_opaque,
    copies_are_made,
    copies_carry_what_they_are_told,
    buckets_answer,
    kms_etags_are_no_md5,
);

/// MD5 of `hello`.
const HELLO: &str = "5d41402abc4b2a76b9719d911017c592";

async fn text(output: GetObjectOutput) -> String {
    String::from_utf8(output.body.collect().await.unwrap().to_vec()).unwrap()
}

fn body(text: &'static str) -> ByteStream {
    ByteStream::from_static(text.as_bytes())
}

fn streamed(pieces: &'static [&'static str]) -> ByteStream {
    let length = pieces.iter().map(|piece| piece.len() as u64).sum();
    let frames = pieces.iter().map(|piece| Ok::<_, std::io::Error>(Frame::data(Bytes::from(*piece))));
    let body = StreamBody::new(futures::stream::iter(frames));
    ByteStream::from_body_1_x(Sized { body, length })
}

/// A stream of known length, as a client that passes a body on has it.
struct Sized<B> {
    body: B,
    length: u64,
}

impl<B: HttpBody + Unpin> HttpBody for Sized<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.length)
    }
}

async fn writes_are_conditional(s3: &TestS3, client: &Client) {
    let put = |key: &str| client.put_object().bucket("bbb").key(key).body(body("hello"));
    let first = put("k").if_none_match("*").send().await.unwrap();
    assert_eq!(first.e_tag(), Some(format!("\"{HELLO}\"").as_str()));
    assert_eq!(refused(put("k").if_none_match("*").send().await), says(412, "PreconditionFailed"));
    assert_eq!(refused(put("k").if_match("\"0\"").send().await), says(412, "PreconditionFailed"));
    assert_eq!(refused(put("none").if_match(HELLO).send().await), says(404, "NoSuchKey"));
    put("k").if_match(first.e_tag().unwrap()).send().await.unwrap();
    assert_eq!(refused(put("k").if_none_match(HELLO).send().await), says(501, "NotImplemented"));
    assert_eq!(
        refused(client.put_object().bucket("none").key("k").body(body("x")).send().await),
        says(404, "NoSuchBucket")
    );
    let delete = client.delete_object().bucket("bbb").key("k").if_match("\"0\"").send().await;
    assert_eq!(refused(delete), says(412, "PreconditionFailed"));
    client.delete_object().bucket("bbb").key("k").send().await.unwrap();
    client.delete_object().bucket("bbb").key("k").send().await.unwrap();
    assert!(s3.store().keys("bbb").is_empty());
}

async fn reads_are_conditional(s3: &TestS3, client: &Client) {
    s3.store().put("bbb", "k", "hello");
    let get = || client.get_object().bucket("bbb").key("k");
    let head = || client.head_object().bucket("bbb").key("k");
    assert_eq!(text(get().if_match(HELLO).send().await.unwrap()).await, "hello");
    assert_eq!(refused(get().if_match("\"0\"").send().await), says(412, "PreconditionFailed"));
    assert_eq!(refused(get().if_none_match(HELLO).send().await).0, 304);
    assert_eq!(refused(head().if_match("\"0\"").send().await).0, 412);
    assert_eq!(refused(head().if_none_match(HELLO).send().await).0, 304);
    head().if_none_match("\"0\"").send().await.unwrap();
    let now = DateTime::from(SystemTime::now());
    let past = DateTime::from_secs(now.secs() - 3600);
    assert_eq!(refused(get().if_unmodified_since(past).send().await), says(412, "PreconditionFailed"));
    assert_eq!(refused(get().if_modified_since(now).send().await).0, 304);
    get().if_modified_since(past).send().await.unwrap();
    let none = client.head_object().bucket("bbb").key("none").send().await;
    assert_eq!(refused(none), says(404, "NotFound"));
    let none = client.get_object().bucket("bbb").key("none").send().await;
    assert_eq!(refused(none), says(404, "NoSuchKey"));
}

async fn bodies_are_verified(s3: &TestS3, client: &Client) {
    let put = || client.put_object().bucket("bbb").key("k").body(body("hello"));
    let summing = summing(client);
    let md5 = "XUFAKrxLKna5cZ2REBfFkg==";
    put().content_md5(md5).send().await.unwrap();
    let bad = put().content_md5("XUFAKrxLKna5cZ2REBfFkA==").send().await;
    assert_eq!(refused(bad), says(400, "BadDigest"));
    assert_eq!(refused(put().content_md5("x").send().await), says(400, "InvalidDigest"));
    for algorithm in
        [ChecksumAlgorithm::Crc32, ChecksumAlgorithm::Crc32C, ChecksumAlgorithm::Crc64Nvme, ChecksumAlgorithm::Sha256]
    {
        let bare = put().checksum_algorithm(algorithm.clone()).send().await;
        assert_eq!(refused(bare), says(400, "InvalidRequest"));
        let sent = summing.put_object().bucket("bbb").key("k").body(body("hello"));
        let done = sent.checksum_algorithm(algorithm.clone()).send().await.unwrap();
        let head = client.head_object().bucket("bbb").key("k").checksum_mode(ChecksumMode::Enabled);
        let head = head.send().await.unwrap();
        let sums = (head.checksum_crc32(), head.checksum_crc32_c(), head.checksum_crc64_nvme(), head.checksum_sha256());
        let given =
            (done.checksum_crc32(), done.checksum_crc32_c(), done.checksum_crc64_nvme(), done.checksum_sha256());
        assert_eq!(sums, given);
        let named = [sums.0, sums.1, sums.2, sums.3].map(|sum| sum.is_some());
        let expected = ["CRC32", "CRC32C", "CRC64NVME", "SHA256"].map(|a| a == algorithm.as_str());
        assert_eq!(named, expected, "{algorithm}");
    }
    // A streamed body carries its checksum behind it.
    let sent = summing.put_object().bucket("bbb").key("k").body(streamed(&["hel", "lo"]));
    let done = sent.checksum_algorithm(ChecksumAlgorithm::Crc64Nvme).send().await.unwrap();
    assert!(done.checksum_crc64_nvme().is_some());
    assert_eq!(s3.store().object("bbb", "k").unwrap().etag, HELLO);
    // A value in a header that is wrong, and the same key unchanged afterwards.
    let before = s3.store().object("bbb", "k").unwrap();
    for put in [put().checksum_crc32("AAAAAA=="), put().checksum_crc64_nvme("AAAAAAAAAAA=")] {
        assert_eq!(refused(put.send().await), says(400, "BadDigest"));
    }
    assert_eq!(s3.store().object("bbb", "k").unwrap().last_modified, before.last_modified);
    // Without any, S3 takes a CRC64NVME itself.
    let done = put().send().await.unwrap();
    assert!(done.checksum_crc64_nvme().is_some());
    let get = client.get_object().bucket("bbb").key("k").checksum_mode(ChecksumMode::Enabled);
    assert_eq!(get.send().await.unwrap().checksum_crc64_nvme(), done.checksum_crc64_nvme());
}

async fn versions_are_kept(s3: &TestS3, client: &Client) {
    let put = |text| client.put_object().bucket("vvv").key("k").body(body(text)).send();
    let one = put("one").await.unwrap().version_id.unwrap();
    let two = put("two").await.unwrap().version_id.unwrap();
    let get = |id: &str| client.get_object().bucket("vvv").key("k").version_id(id).send();
    assert_eq!(text(get(&one).await.unwrap()).await, "one");
    assert_eq!(text(get(&two).await.unwrap()).await, "two");
    let range = client.get_object().bucket("vvv").key("k").version_id(&one).range("bytes=1-1");
    assert_eq!(text(range.send().await.unwrap()).await, "n");
    assert_eq!(refused(get("none").await), says(404, "NoSuchVersion"));

    let marker = client.delete_object().bucket("vvv").key("k").send().await.unwrap();
    assert_eq!(marker.delete_marker(), Some(true));
    let gone = client.get_object().bucket("vvv").key("k").send().await;
    let raw = gone.as_ref().unwrap_err().raw_response().unwrap();
    assert_eq!(raw.headers().get("x-amz-delete-marker"), Some("true"));
    assert_eq!(refused(gone), says(404, "NoSuchKey"));
    let marker = marker.version_id.unwrap();
    assert_eq!(refused(get(&marker).await), says(405, "MethodNotAllowed"));
    // A delete marker is nothing to a conditional write.
    let put = client.put_object().bucket("vvv").key("k").body(body("three"));
    let three = put.if_none_match("*").send().await.unwrap().version_id.unwrap();
    assert_eq!(s3.store().versions("vvv", "k").len(), 3);

    for id in [&three, &marker] {
        client.delete_object().bucket("vvv").key("k").version_id(id).send().await.unwrap();
    }
    let head = client.head_object().bucket("vvv").key("k").send().await.unwrap();
    assert_eq!(head.version_id(), Some(two.as_str()));
    let plain = client.put_object().bucket("bbb").key("k").body(body("x")).send().await.unwrap();
    assert_eq!(plain.version_id(), None);
}

async fn ranges_and_parts_are_read(s3: &TestS3, client: &Client) {
    s3.store().put("bbb", "k", "0123456789");
    let parts = ["abcdefghijklmnopqrst", "uvw"].map(|part| part.into()).to_vec();
    s3.store().put_parts("bbb", "p", parts);
    let get = |range: &str| client.get_object().bucket("bbb").key("k").range(range).send();
    for (range, bytes, header) in [
        ("bytes=0-3", "0123", "bytes 0-3/10"),
        ("bytes=8-99", "89", "bytes 8-9/10"),
        ("bytes=7-", "789", "bytes 7-9/10"),
        ("bytes=-2", "89", "bytes 8-9/10"),
    ] {
        let output = get(range).await.unwrap();
        assert_eq!(output.content_range(), Some(header));
        assert_eq!(output.content_length(), Some(bytes.len() as i64));
        assert_eq!(text(output).await, bytes);
    }
    assert_eq!(refused(get("bytes=10-").await), says(416, "InvalidRange"));
    let head = |key: &str, n| client.head_object().bucket("bbb").key(key).part_number(n).send();
    for (key, number, length, count) in [("p", 1, 20, Some(2)), ("p", 2, 3, Some(2)), ("k", 1, 10, None)] {
        let output = head(key, number).await.unwrap();
        assert_eq!((output.content_length(), output.parts_count()), (Some(length), count));
    }
    assert_eq!(refused(head("p", 3).await).0, 416);
    let second = client.get_object().bucket("bbb").key("p").part_number(2).send().await.unwrap();
    assert_eq!(text(second).await, "uvw");
    s3.store().put_generated("bbb", "g", 1_000_000, Some(300_000));
    let generated = client.get_object().bucket("bbb").key("g").range("bytes=299999-700000");
    let bytes = generated.send().await.unwrap().body.collect().await.unwrap().into_bytes();
    assert_eq!(bytes, s3.store().get("bbb", "g").unwrap().slice(299_999..700_001));
    assert!(s3.store().object("bbb", "g").unwrap().etag.ends_with("-4"));
}

async fn headers_and_tags_are_kept(s3: &TestS3, client: &Client) {
    let date = DateTime::from_secs(1_900_000_000);
    let streams = summing(client);
    streams
        .put_object()
        .bucket("bbb")
        .key("k")
        .body(streamed(&["hel", "lo"]))
        .content_type("text/plain")
        .cache_control("no-cache")
        .content_encoding("gzip")
        .content_disposition("attachment")
        .content_language("de")
        .expires(date)
        .storage_class(StorageClass::StandardIa)
        .metadata("one", "1")
        .metadata("two", "2 2")
        .tagging("a=1&b%20b=x%2By+z")
        .checksum_algorithm(ChecksumAlgorithm::Crc32)
        .send()
        .await
        .unwrap();
    let head = client.head_object().bucket("bbb").key("k").send().await.unwrap();
    assert_eq!(head.content_type(), Some("text/plain"));
    assert_eq!(head.cache_control(), Some("no-cache"));
    assert_eq!(head.content_encoding(), Some("gzip"));
    assert_eq!(head.content_disposition(), Some("attachment"));
    assert_eq!(head.content_language(), Some("de"));
    assert_eq!(head.expires_string(), Some("Sun, 17 Mar 2030 17:46:40 GMT"));
    assert_eq!(head.storage_class(), Some(&StorageClass::StandardIa));
    assert_eq!(head.server_side_encryption(), Some(&ServerSideEncryption::Aes256));
    let metadata = head.metadata().unwrap();
    assert_eq!((metadata["one"].as_str(), metadata["two"].as_str()), ("1", "2 2"));

    let tags = || async {
        let tags = client.get_object_tagging().bucket("bbb").key("k").send().await.unwrap();
        tags.tag_set.into_iter().map(|tag| (tag.key, tag.value)).collect::<Vec<_>>()
    };
    let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
    assert_eq!(tags().await, [pair("a", "1"), pair("b b", "x+y z")]);
    let tag = Tag::builder().key("c").value("3").build().unwrap();
    let tagging = Tagging::builder().tag_set(tag).build().unwrap();
    client.put_object_tagging().bucket("bbb").key("k").tagging(tagging).send().await.unwrap();
    assert_eq!(tags().await, [pair("c", "3")]);
    client.delete_object_tagging().bucket("bbb").key("k").send().await.unwrap();
    assert!(tags().await.is_empty());
    let many: String = (0..11).map(|n| format!("t{n}=x&")).collect();
    let put = client.put_object().bucket("bbb").key("t").body(body("x"));
    assert_eq!(refused(put.tagging(many).send().await), says(400, "BadRequest"));
    let put = client.put_object().bucket("bbb").key("t").body(body("x"));
    let large = put.metadata("m", "x".repeat(2048)).send().await;
    assert_eq!(refused(large), says(400, "MetadataTooLarge"));
    assert_eq!(s3.store().keys("bbb"), ["k"]);
}

async fn keys_are_opaque(s3: &TestS3, client: &Client) {
    let long = "k".repeat(1024);
    let keys = [
        "a//b",
        "/lead",
        "//lead",
        "trail/",
        "..",
        "../up",
        "a/../b",
        "./a",
        "a b",
        " a ",
        "a+b",
        "a%2Fb",
        "a%b",
        "a?b#c&d=e",
        "ümläut/日本/🦀",
        "a\"b<c>'d",
        "a\\b",
        "~a*(b)!",
        "a:b@c;d,e$",
        "=",
        &long,
    ];
    for key in keys {
        let put = client.put_object().bucket("bbb").key(key).body(ByteStream::from(key.as_bytes().to_vec()));
        put.send().await.unwrap_or_else(|error| panic!("{key}: {error:?}"));
        assert_eq!(s3.store().get("bbb", key).as_deref(), Some(key.as_bytes()), "{key}");
        let get = client.get_object().bucket("bbb").key(key).send().await.unwrap();
        assert_eq!(text(get).await, key);
        assert_eq!(s3.log().entries().last().unwrap().call.key.as_deref(), Some(key));
    }
    let mut sorted: Vec<&str> = keys.to_vec();
    sorted.sort_unstable();
    assert_eq!(s3.store().keys("bbb"), sorted);
    let listed = client.list_objects_v2().bucket("bbb").send().await.unwrap();
    assert_eq!(listed.contents().iter().filter_map(|o| o.key()).collect::<Vec<_>>(), sorted);
    let longer = "k".repeat(1025);
    let put = client.put_object().bucket("bbb").key(&longer).body(body("x")).send().await;
    assert_eq!(refused(put), says(400, "KeyTooLongError"));
}

async fn copies_are_made(s3: &TestS3, client: &Client) {
    let put = client.put_object().bucket("vvv").key("a b").body(body("hello")).metadata("m", "1");
    let version = put.tagging("t=1").send().await.unwrap().version_id.unwrap();
    s3.store().overwrite("vvv", "a b", "other");
    let copy = |source: &str| client.copy_object().bucket("bbb").key("k").copy_source(source);
    let source = format!("vvv/a%20b?versionId={version}");
    copy(&source).copy_source_if_match(HELLO).send().await.unwrap();
    let object = s3.store().object("bbb", "k").unwrap();
    assert_eq!(object.etag, HELLO);
    assert_eq!((object.attributes.metadata["m"].as_str(), object.tags["t"].as_str()), ("1", "1"));
    let changed = copy("vvv/a%20b").copy_source_if_match(HELLO).send().await;
    assert_eq!(refused(changed), says(412, "PreconditionFailed"));
    assert_eq!(refused(copy("vvv/none").send().await), says(404, "NoSuchKey"));

    // Conditions at the destination.
    assert_eq!(refused(copy("vvv/a%20b").if_none_match("*").send().await), says(412, "PreconditionFailed"));
    assert_eq!(refused(copy("vvv/a%20b").if_match("\"other\"").send().await), says(412, "PreconditionFailed"));
    copy("vvv/a%20b").if_match(format!("\"{HELLO}\"")).send().await.unwrap();
    assert_eq!(s3.store().get("bbb", "k").unwrap(), "other");
    let elsewhere = || client.copy_object().bucket("bbb").key("new").copy_source("vvv/a%20b");
    assert_eq!(refused(elsewhere().if_match("\"other\"").send().await), says(404, "NoSuchKey"));
    let made = elsewhere().if_none_match("*").send().await.unwrap().copy_object_result.unwrap();
    assert_eq!(made.checksum_type().map(|of| of.as_str()), Some("FULL_OBJECT"));
    assert!(made.checksum_crc64_nvme().is_some());
    s3.store().delete("bbb", "new");
}

async fn copies_carry_what_they_are_told(s3: &TestS3, client: &Client) {
    let put = client.put_object().bucket("vvv").key("s").body(body("x")).metadata("m", "1").content_type("text/x");
    let put = put.storage_class(StorageClass::StandardIa).website_redirect_location("/there").tagging("t=1");
    put.send().await.unwrap();
    let copy = || client.copy_object().bucket("bbb").key("t").copy_source("vvv/s");
    copy().send().await.unwrap();
    let object = s3.store().object("bbb", "t").unwrap();
    assert_eq!((object.attributes.metadata["m"].as_str(), object.tags["t"].as_str()), ("1", "1"));
    assert_eq!(object.attributes.content_type.as_deref(), Some("text/x"));
    assert_eq!((&object.attributes.storage_class, &object.attributes.website_redirect_location), (&None, &None));

    let replaced = copy().metadata_directive(MetadataDirective::Replace).tagging_directive(TaggingDirective::Replace);
    replaced.metadata("n", "2").website_redirect_location("/here").tagging("u=2").send().await.unwrap();
    let object = s3.store().object("bbb", "t").unwrap();
    assert_eq!((object.attributes.metadata.len(), object.attributes.metadata["n"].as_str()), (1, "2"));
    assert_eq!((object.tags.len(), object.tags["u"].as_str()), (1, "2"));
    assert_eq!(object.attributes.content_type, None);
    assert_eq!(object.attributes.website_redirect_location.as_deref(), Some("/here"));
    s3.store().delete("bbb", "t");
}

async fn buckets_answer(s3: &TestS3, client: &Client) {
    client.create_bucket().bucket("new").send().await.unwrap();
    let again = client.create_bucket().bucket("new").send().await;
    assert_eq!(refused(again), says(409, "BucketAlreadyOwnedByYou"));
    client.head_bucket().bucket("new").send().await.unwrap();
    assert_eq!(refused(client.head_bucket().bucket("none").send().await).0, 404);
    let mut settings = s3.store().settings("vvv").unwrap();
    settings.region = "cn-north-1".to_owned();
    s3.store().set_bucket("vvv", settings);
    let versioning = client.get_bucket_versioning().bucket("vvv").send().await.unwrap();
    assert_eq!(versioning.status().map(|s| s.as_str()), Some("Enabled"));
    let location = client.get_bucket_location().bucket("vvv").send().await.unwrap();
    assert_eq!(location.location_constraint().map(|l| l.as_str()), Some("cn-north-1"));
    assert_eq!(client.get_bucket_versioning().bucket("bbb").send().await.unwrap().status(), None);
    s3.store().put("new", "k", "x");
    assert_eq!(refused(client.delete_bucket().bucket("new").send().await), says(409, "BucketNotEmpty"));
    s3.store().delete("new", "k");
    client.delete_bucket().bucket("new").send().await.unwrap();
    assert_eq!(client.list_buckets().send().await.unwrap().buckets().len(), 2);
}

async fn kms_etags_are_no_md5(s3: &TestS3, client: &Client) {
    let mut settings = s3.store().settings("bbb").unwrap();
    settings.encryption = Encryption::Kms;
    s3.store().set_bucket("bbb", settings);
    let put = client.put_object().bucket("bbb").key("k").body(body("hello")).send().await.unwrap();
    let etag = put.e_tag().unwrap().trim_matches('"');
    assert_eq!(etag.len(), 32);
    assert_ne!(etag, HELLO);
    assert_eq!(put.server_side_encryption(), Some(&ServerSideEncryption::AwsKms));
    let head = client.head_object().bucket("bbb").key("k").send().await.unwrap();
    assert_eq!((head.e_tag(), head.server_side_encryption()), (put.e_tag(), put.server_side_encryption()));
}
