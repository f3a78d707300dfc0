use aws_sdk_s3::Client;
use aws_sdk_s3::operation::complete_multipart_upload::builders::CompleteMultipartUploadFluentBuilder;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{ChecksumAlgorithm, ChecksumMode, ChecksumType, CompletedMultipartUpload, CompletedPart};
use longhaul_testing::{Keys, Store, StoreConfig, TestS3, s3_client};

use crate::{both_ways, refused, says, summing};

both_ways!(
    an_upload_is_completed,
    part_rules_hold,
    conditions_hold_on_completion,
    whole_checksums_are_verified,
    composite_checksums_are_made,
    parts_and_uploads_are_paged,
    parts_are_copied,
);

const ONE: &str = "0123456789abcdef-one";
const TWO: &str = "two";

async fn create(client: &Client, key: &str) -> String {
    let upload = client.create_multipart_upload().bucket("bbb").key(key).send().await.unwrap();
    upload.upload_id.unwrap()
}

async fn send(client: &Client, key: &str, id: &str, number: i32, text: &str) -> CompletedPart {
    let body = ByteStream::from(text.as_bytes().to_vec());
    let part = client.upload_part().bucket("bbb").key(key).upload_id(id).part_number(number).body(body);
    let etag = part.send().await.unwrap().e_tag.unwrap();
    CompletedPart::builder().part_number(number).e_tag(etag).build()
}

fn complete(client: &Client, key: &str, id: &str, parts: &[CompletedPart]) -> CompleteMultipartUploadFluentBuilder {
    let parts = CompletedMultipartUpload::builder().set_parts(Some(parts.to_vec())).build();
    client.complete_multipart_upload().bucket("bbb").key(key).upload_id(id).multipart_upload(parts)
}

async fn two_parts(client: &Client, key: &str) -> (String, Vec<CompletedPart>) {
    let id = create(client, key).await;
    let two = send(client, key, &id, 7, TWO).await;
    let one = send(client, key, &id, 2, ONE).await;
    (id, vec![one, two])
}

async fn an_upload_is_completed(s3: &TestS3, client: &Client) {
    let upload = client
        .create_multipart_upload()
        .bucket("vvv")
        .key("k")
        .content_type("text/plain")
        .cache_control("no-cache")
        .metadata("m", "1")
        .tagging("t=1")
        .send()
        .await
        .unwrap();
    let id = upload.upload_id.unwrap();
    let mut parts = Vec::new();
    for (number, text) in [(1, ONE), (2, TWO)] {
        let part = client.upload_part().bucket("vvv").key("k").upload_id(&id).part_number(number);
        let part = part.body(ByteStream::from_static(text.as_bytes())).send().await.unwrap();
        parts.push(CompletedPart::builder().part_number(number).e_tag(part.e_tag.unwrap()).build());
    }
    assert!(s3.store().object("vvv", "k").is_none());
    assert_eq!(s3.store().parts(&id).len(), 2);
    let parts = CompletedMultipartUpload::builder().set_parts(Some(parts)).build();
    let done = client.complete_multipart_upload().bucket("vvv").key("k").upload_id(&id);
    let done = done.multipart_upload(parts).mpu_object_size(23).send().await.unwrap();
    // MD5 over the MD5s of the parts, computed elsewhere.
    assert_eq!(done.e_tag(), Some("\"e3eb8663e426a3574e03a618984fd2d7-2\""));
    assert!(done.version_id().is_some());
    let head = client.head_object().bucket("vvv").key("k").send().await.unwrap();
    assert_eq!((head.content_type(), head.cache_control()), (Some("text/plain"), Some("no-cache")));
    assert_eq!(head.metadata().unwrap()["m"], "1");
    assert_eq!(s3.store().object("vvv", "k").unwrap().tags["t"], "1");
    assert_eq!(s3.store().get("vvv", "k").unwrap(), format!("{ONE}{TWO}"));
    assert!(s3.store().open_uploads().is_empty());
}

async fn part_rules_hold(s3: &TestS3, client: &Client) {
    let (id, parts) = two_parts(client, "k").await;
    let reversed: Vec<_> = parts.iter().rev().cloned().collect();
    let small = send(client, "k", &id, 1, TWO).await;
    let unknown = CompletedPart::builder().part_number(3).e_tag("\"0\"").build();
    let wrong = CompletedPart::builder().part_number(2).e_tag("\"0\"").build();
    for (parts, code) in [
        (reversed, "InvalidPartOrder"),
        (vec![parts[0].clone(), parts[0].clone()], "InvalidPartOrder"),
        (vec![small, parts[1].clone()], "EntityTooSmall"),
        (vec![unknown], "InvalidPart"),
        (vec![wrong], "InvalidPart"),
        (vec![], "MalformedXML"),
    ] {
        assert_eq!(refused(complete(client, "k", &id, &parts).send().await), says(400, code));
    }
    let size = complete(client, "k", &id, &parts).mpu_object_size(24).send().await;
    assert_eq!(refused(size), says(400, "InvalidRequest"));
    for number in [0, 10_001] {
        let part = client.upload_part().bucket("bbb").key("k").upload_id(&id).part_number(number);
        let part = part.body(ByteStream::from_static(b"x")).send().await;
        assert_eq!(refused(part), says(400, "InvalidArgument"));
    }
    for (key, id) in [("k", "none"), ("other", id.as_str())] {
        let part = client.upload_part().bucket("bbb").key(key).upload_id(id).part_number(1);
        let part = part.body(ByteStream::from_static(b"x")).send().await;
        assert_eq!(refused(part), says(404, "NoSuchUpload"));
    }
    let part = client.upload_part().bucket("bbb").key("k").upload_id(&id).part_number(9);
    let part = part.content_md5("XUFAKrxLKna5cZ2REBfFkg==").body(ByteStream::from_static(b"x"));
    assert_eq!(refused(part.send().await), says(400, "BadDigest"));
    assert_eq!(s3.store().parts(&id).len(), 3);
    client.abort_multipart_upload().bucket("bbb").key("k").upload_id(&id).send().await.unwrap();
    let again = client.abort_multipart_upload().bucket("bbb").key("k").upload_id(&id).send().await;
    assert_eq!(refused(again), says(404, "NoSuchUpload"));
    assert_eq!(refused(complete(client, "k", &id, &parts).send().await), says(404, "NoSuchUpload"));
}

async fn conditions_hold_on_completion(s3: &TestS3, client: &Client) {
    let (id, parts) = two_parts(client, "k").await;
    let missing = complete(client, "k", &id, &parts).if_match("\"0\"").send().await;
    assert_eq!(refused(missing), says(404, "NoSuchKey"));
    let other = s3.store().put("bbb", "k", "other");
    for builder in
        [complete(client, "k", &id, &parts).if_none_match("*"), complete(client, "k", &id, &parts).if_match("\"0\"")]
    {
        assert_eq!(refused(builder.send().await), says(412, "PreconditionFailed"));
    }
    assert_eq!(s3.store().open_uploads().len(), 1);
    complete(client, "k", &id, &parts).if_match(&other.etag).send().await.unwrap();
    let again = complete(client, "k", &id, &parts).send().await;
    assert_eq!(refused(again), says(404, "NoSuchUpload"));
}

#[tokio::test]
async fn a_completed_upload_can_be_completed_again_where_that_is_wanted() {
    let config = StoreConfig { min_part_size: 1, complete_again: true, ..StoreConfig::default() };
    let s3 = TestS3::new(Store::new(config), Keys::default());
    s3.store().bucket("bbb");
    let client = s3_client(&s3);
    let (id, parts) = two_parts(&client, "k").await;
    let first = complete(&client, "k", &id, &parts).send().await.unwrap();
    let again = complete(&client, "k", &id, &parts).send().await.unwrap();
    assert_eq!(first.e_tag(), again.e_tag());
    let fewer = complete(&client, "k", &id, &parts[..1]).send().await;
    assert_eq!(refused(fewer), says(404, "NoSuchUpload"));
}

async fn checked(client: &Client, algorithm: ChecksumAlgorithm, sum_type: ChecksumType) -> String {
    let upload = client.create_multipart_upload().bucket("bbb").key("k");
    let upload = upload.checksum_algorithm(algorithm).checksum_type(sum_type).send().await.unwrap();
    upload.upload_id.unwrap()
}

async fn whole_checksums_are_verified(s3: &TestS3, client: &Client) {
    let client = &summing(client);
    let whole = format!("{ONE}{TWO}");
    let object = s3.store().put("bbb", "whole", whole);
    let sum = object.sums.values().next().cloned().unwrap();
    let id = checked(client, ChecksumAlgorithm::Crc64Nvme, ChecksumType::FullObject).await;
    let mut parts = Vec::new();
    for (number, text) in [(1, ONE), (2, TWO)] {
        let part = client.upload_part().bucket("bbb").key("k").upload_id(&id).part_number(number);
        let part = part.body(ByteStream::from(text.as_bytes().to_vec()));
        let part = part.checksum_algorithm(ChecksumAlgorithm::Crc64Nvme).send().await.unwrap();
        assert!(part.checksum_crc64_nvme().is_some());
        parts.push(CompletedPart::builder().part_number(number).e_tag(part.e_tag.unwrap()).build());
    }
    let done = || complete(client, "k", &id, &parts).checksum_type(ChecksumType::FullObject);
    let wrong = done().checksum_crc64_nvme("AAAAAAAAAAA=").send().await;
    assert_eq!(refused(wrong), says(400, "BadDigest"));
    assert!(s3.store().object("bbb", "k").is_none());
    let composite = complete(client, "k", &id, &parts).checksum_type(ChecksumType::Composite);
    assert_eq!(refused(composite.send().await), says(400, "InvalidRequest"));
    let done = done().checksum_crc64_nvme(&sum).mpu_object_size(23).send().await.unwrap();
    assert_eq!(done.checksum_crc64_nvme(), Some(sum.as_str()));
    assert_eq!(done.checksum_type(), Some(&ChecksumType::FullObject));
    let get = client.get_object().bucket("bbb").key("k").checksum_mode(ChecksumMode::Enabled);
    let get = get.send().await.unwrap();
    assert_eq!(get.checksum_crc64_nvme(), Some(sum.as_str()));
    assert_eq!(get.body.collect().await.unwrap().into_bytes().len(), 23);
    for (algorithm, sum_type) in
        [(ChecksumAlgorithm::Crc64Nvme, ChecksumType::Composite), (ChecksumAlgorithm::Sha256, ChecksumType::FullObject)]
    {
        let upload = client.create_multipart_upload().bucket("bbb").key("k");
        let upload = upload.checksum_algorithm(algorithm).checksum_type(sum_type).send().await;
        assert_eq!(refused(upload), says(400, "InvalidRequest"));
    }
}

async fn composite_checksums_are_made(_: &TestS3, client: &Client) {
    let client = &summing(client);
    let id = checked(client, ChecksumAlgorithm::Sha256, ChecksumType::Composite).await;
    let send = |algorithm| {
        let part = client.upload_part().bucket("bbb").key("k").upload_id(&id).part_number(1);
        part.body(ByteStream::from_static(ONE.as_bytes())).checksum_algorithm(algorithm).send()
    };
    let other = send(ChecksumAlgorithm::Crc32).await;
    assert_eq!(refused(other), says(400, "InvalidRequest"));
    let part = send(ChecksumAlgorithm::Sha256).await.unwrap();
    let bare = CompletedPart::builder().part_number(1).e_tag(part.e_tag().unwrap());
    let missing = complete(client, "k", &id, &[bare.clone().build()]).send().await;
    assert_eq!(refused(missing), says(400, "InvalidRequest"));
    let wrong = bare.clone().checksum_sha256("AAAA").build();
    assert_eq!(refused(complete(client, "k", &id, &[wrong]).send().await), says(400, "InvalidPart"));
    let right = bare.checksum_sha256(part.checksum_sha256().unwrap()).build();
    let done = complete(client, "k", &id, &[right]).send().await.unwrap();
    assert!(done.checksum_sha256().unwrap().ends_with("-1"));
    assert_eq!(done.checksum_type(), Some(&ChecksumType::Composite));
}

async fn parts_and_uploads_are_paged(_: &TestS3, client: &Client) {
    let id = create(client, "k").await;
    for number in [1, 3, 4, 9, 10_000] {
        send(client, "k", &id, number, ONE).await;
    }
    let (mut seen, mut marker) = (Vec::new(), None);
    loop {
        let page = client.list_parts().bucket("bbb").key("k").upload_id(&id).max_parts(2);
        let page = page.set_part_number_marker(marker).send().await.unwrap();
        seen.extend(page.parts().iter().map(|part| (part.part_number().unwrap(), part.size().unwrap())));
        if page.is_truncated() != Some(true) {
            break;
        }
        marker = page.next_part_number_marker;
    }
    assert_eq!(seen, [1, 3, 4, 9, 10_000].map(|number| (number, 20)));

    for key in ["a", "k", "k/1", "z"] {
        create(client, key).await;
    }
    let (mut seen, mut key, mut upload) = (Vec::new(), None, None);
    loop {
        let page = client.list_multipart_uploads().bucket("bbb").prefix("k").max_uploads(1);
        let page = page.set_key_marker(key).set_upload_id_marker(upload).send().await.unwrap();
        seen.extend(page.uploads().iter().map(|upload| upload.key().unwrap().to_owned()));
        if page.is_truncated() != Some(true) {
            break;
        }
        (key, upload) = (page.next_key_marker, page.next_upload_id_marker);
    }
    assert_eq!(seen, ["k", "k", "k/1"]);
}

async fn parts_are_copied(s3: &TestS3, client: &Client) {
    let source = s3.store().put("vvv", "s", format!("{ONE}{TWO}"));
    let id = create(client, "k").await;
    let copy = || client.upload_part_copy().bucket("bbb").key("k").upload_id(&id).part_number(1).copy_source("vvv/s");
    assert_eq!(refused(copy().copy_source_if_match("\"other\"").send().await), says(412, "PreconditionFailed"));
    copy().copy_source_if_match(&source.etag).send().await.unwrap();
    let mut parts = Vec::new();
    for (number, range) in [(1, "bytes=0-19"), (2, "bytes=20-22")] {
        let part = client.upload_part_copy().bucket("bbb").key("k").upload_id(&id);
        let part = part.part_number(number).copy_source("vvv/s").copy_source_range(range);
        let result = part.send().await.unwrap().copy_part_result.unwrap();
        parts.push(CompletedPart::builder().part_number(number).e_tag(result.e_tag.unwrap()).build());
    }
    complete(client, "k", &id, &parts).send().await.unwrap();
    assert_eq!(s3.store().get("bbb", "k").unwrap(), format!("{ONE}{TWO}"));
}
