use std::time::{Duration, SystemTime};

use aws_sdk_s3::Client;
use aws_sdk_s3::primitives::ByteStream;
use longhaul_testing::{Fault, FaultPlan, Keys, Random, Rule, Store, StoreConfig, TestS3, s3_client};

use crate::{both_ways, refused, says};

both_ways!(
    refusals_are_injected,
    lost_connections_are_retried,
    bodies_break,
    bits_are_flipped_in_requests,
    delays_and_hooks,
    chances_are_counted,
);

fn fault(status: u16) -> Fault {
    Fault::Status { status, code: None }
}

async fn refusals_are_injected(s3: &TestS3, client: &Client) {
    s3.store().put("bbb", "k", "hello");
    let get = || client.get_object().bucket("bbb").key("k").send();
    // The SDK repeats what may pass, three attempts in all.
    for (status, attempts, ends) in [
        (500, 3, says(500, "InternalError")),
        (503, 3, says(503, "SlowDown")),
        (404, 1, says(404, "NoSuchKey")),
        (403, 1, says(403, "AccessDenied")),
    ] {
        s3.log().reset();
        s3.faults().clear();
        s3.faults().add(Rule::on("GetObject").times(0).fails(fault(status)));
        assert_eq!(refused(get().await), ends);
        assert_eq!(s3.log().count("GetObject"), attempts);
        s3.faults().clear();
        s3.faults().add(Rule::on("GetObject").key("k").times(2).fails(fault(503)));
        get().await.unwrap();
    }
    s3.faults().clear();
    s3.faults().add(Rule::on("PutObject").fails(fault(409)));
    let put = || client.put_object().bucket("bbb").key("k").body(ByteStream::from_static(b"x"));
    assert_eq!(refused(put().if_none_match("*").send().await), says(409, "ConditionalRequestConflict"));
    s3.faults().add(Rule::on("HeadObject").fails(fault(404)));
    assert_eq!(refused(client.head_object().bucket("bbb").key("k").send().await), says(404, "NotFound"));

    let id = client.create_multipart_upload().bucket("bbb").key("k").send().await.unwrap().upload_id.unwrap();
    let inside = Fault::ErrorInBody { code: "InternalError".to_owned() };
    s3.faults().add(Rule::on("CompleteMultipartUpload").times(0).fails(inside));
    let complete = client.complete_multipart_upload().bucket("bbb").key("k").upload_id(id);
    assert_eq!(refused(complete.send().await).1, "InternalError");
}

async fn lost_connections_are_retried(s3: &TestS3, client: &Client) {
    let put = |key: &str| client.put_object().bucket("vvv").key(key).body(ByteStream::from_static(b"x"));
    s3.faults().add(Rule::on("PutObject").key("a").fails(Fault::ResetBeforeRequest));
    s3.faults().add(Rule::on("PutObject").key("b").fails(Fault::LoseReply));
    put("a").send().await.unwrap();
    put("b").send().await.unwrap();
    assert_eq!(s3.store().versions("vvv", "a").len(), 1);
    assert_eq!(s3.store().versions("vvv", "b").len(), 2);
    assert_eq!(s3.log().count("PutObject"), 4);
    let statuses: Vec<_> = s3.log().entries().iter().map(|e| (e.status, e.faults.clone())).collect();
    assert_eq!(
        statuses,
        [(None, vec!["resetBeforeRequest"]), (Some(200), vec![]), (None, vec!["loseReply"]), (Some(200), vec![])]
    );
    // The write that lost its reply makes its own repetition fail.
    s3.faults().add(Rule::on("PutObject").key("c").fails(Fault::LoseReply));
    assert_eq!(refused(put("c").if_none_match("*").send().await), says(412, "PreconditionFailed"));
    assert_eq!(s3.faults().counts()["loseReply"], 2);
}

async fn bodies_break(s3: &TestS3, client: &Client) {
    let object = s3.store().put_generated("bbb", "k", 600_000, None);
    let expected = object.body.bytes().unwrap();
    let get = || async {
        let mut body = client.get_object().bucket("bbb").key("k").send().await.unwrap().body;
        let mut bytes = Vec::new();
        loop {
            match body.next().await {
                Some(Ok(more)) => bytes.extend_from_slice(&more),
                Some(Err(_)) => return (bytes, false),
                None => return (bytes, true),
            }
        }
    };
    s3.faults().add(Rule::on("GetObject").fails(Fault::CutBody { after: 300_000 }));
    let (cut, whole) = get().await;
    assert!(!whole && cut.len() <= 300_000 && expected.starts_with(&cut), "{}", cut.len());
    s3.faults().add(Rule::on("GetObject").fails(Fault::FlipResponse { at: 400_000 }));
    let mut flipped = expected.to_vec();
    flipped[400_000] ^= 1;
    assert!(get().await == (flipped, true));
    s3.faults().add(Rule::on("GetObject").fails(Fault::StallBody { after: 5, for_ms: 20 }));
    assert!(get().await == (expected.to_vec(), true));
    s3.faults().add(Rule::on("GetObject").fails(Fault::StallBody { after: 5, for_ms: 3_600_000 }));
    tokio::time::timeout(Duration::from_millis(200), get()).await.unwrap_err();
}

async fn bits_are_flipped_in_requests(s3: &TestS3, client: &Client) {
    let put = || client.put_object().bucket("bbb").key("k").body(ByteStream::from(vec![7; 100_000]));
    let flip = || s3.faults().add(Rule::on("PutObject").fails(Fault::FlipRequest { at: 50_000 }));
    flip();
    assert_eq!(refused(put().send().await), says(400, "XAmzContentSHA256Mismatch"));
    flip();
    let unsigned = put().customize().disable_payload_signing();
    unsigned.send().await.unwrap();
    let bytes = s3.store().get("bbb", "k").unwrap();
    assert_eq!((bytes.len(), bytes[50_000], bytes[50_001]), (100_000, 6, 7));
    flip();
    // Unsigned bytes with a checksum: the store refuses what the signature would not notice.
    let object = s3.store().put("bbb", "right", vec![7; 100_000]);
    let sum = object.sums.values().next().cloned().unwrap();
    let checked = put().checksum_crc64_nvme(sum).customize().disable_payload_signing();
    assert_eq!(refused(checked.send().await), says(400, "BadDigest"));
    assert_eq!(s3.faults().counts()["flipRequest"], 3);
}

async fn delays_and_hooks(s3: &TestS3, client: &Client) {
    s3.store().put("bbb", "k", "old");
    s3.faults().add(Rule::on("GetObject").fails(Fault::Delay { ms: 1 }));
    s3.faults().add(Rule::on("GetObject").fails(Fault::DelayReply { ms: 1 }));
    s3.faults().before(Rule::on("GetObject").nth(2), |store, call| {
        store.overwrite(&call.bucket, call.key.as_deref().unwrap(), "new");
    });
    for expected in ["old", "new"] {
        let get = client.get_object().bucket("bbb").key("k").send().await.unwrap();
        assert_eq!(get.body.collect().await.unwrap().into_bytes(), expected);
    }
    assert_eq!(s3.faults().total(), 2);
}

async fn chances_are_counted(s3: &TestS3, client: &Client) {
    let random = Random {
        seed: 3,
        probability: [("PutObject".to_owned(), 0.3)].into(),
        what: vec![fault(503), Fault::LoseReply, Fault::ResetBeforeRequest],
        limit: 0,
    };
    s3.faults().plan(FaultPlan { rules: Vec::new(), random: Some(random) });
    for number in 0..40 {
        let put = client.put_object().bucket("bbb").key(format!("{number}"));
        let _ = put.body(ByteStream::from_static(b"x")).send().await;
    }
    assert_eq!(s3.faults().counts().len(), 3);
    let faulty = s3.log().count_if(|entry| !entry.faults.is_empty());
    assert_eq!(s3.faults().total(), faulty as u64);
}

#[tokio::test(start_paused = true)]
async fn time_can_be_simulated() {
    let epoch = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    let config = StoreConfig { epoch: Some(epoch), ..StoreConfig::default() };
    let s3 = TestS3::new(Store::new(config), Keys::default());
    s3.store().bucket("bbb");
    let hour = Fault::Delay { ms: 3_600_000 };
    s3.faults().add(Rule::on("PutObject").fails(hour));
    let put = s3_client(&s3).put_object().bucket("bbb").key("k");
    put.body(ByteStream::from_static(b"x")).send().await.unwrap();
    let written = s3.store().object("bbb", "k").unwrap().last_modified;
    assert_eq!(written.duration_since(epoch).unwrap().as_secs() / 3600, 1);
}
