use aws_sdk_s3::Client;
use aws_sdk_s3::types::EncodingType;
use longhaul_testing::TestS3;

use crate::{both_ways, refused, says};

both_ways!(objects_are_listed, pages_follow_each_other, keys_are_encoded, versions_are_listed);

async fn objects_are_listed(s3: &TestS3, client: &Client) {
    for key in ["a/1", "a/2", "a0", "b", "b/c/d", "z", "\u{fffd}", "\u{10000}"] {
        s3.store().put("bbb", key, "x");
    }
    s3.store().put("vvv", "gone", "x");
    s3.store().delete("vvv", "gone");
    for (bucket, prefix, delimiter, start_after, keys, prefixes) in [
        ("bbb", "", "", "", vec!["a/1", "a/2", "a0", "b", "b/c/d", "z", "\u{fffd}", "\u{10000}"], vec![]),
        ("bbb", "a/", "", "", vec!["a/1", "a/2"], vec![]),
        ("bbb", "", "/", "a/1", vec!["a0", "b", "z", "\u{fffd}", "\u{10000}"], vec!["a/", "b/"]),
        ("bbb", "b", "/", "", vec!["b"], vec!["b/"]),
        ("bbb", "b/", "/", "", vec![], vec!["b/c/"]),
        ("bbb", "b", "", "a", vec!["b", "b/c/d"], vec![]),
        ("bbb", "a/", "", "b", vec![], vec![]),
        ("vvv", "", "", "", vec![], vec![]),
    ] {
        let list = client.list_objects_v2().bucket(bucket).prefix(prefix).delimiter(delimiter);
        let page = list.start_after(start_after).send().await.unwrap();
        assert_eq!(page.contents().iter().filter_map(|o| o.key()).collect::<Vec<_>>(), keys);
        let found: Vec<_> = page.common_prefixes().iter().filter_map(|p| p.prefix()).collect();
        assert_eq!(found, prefixes, "{prefix} {delimiter}");
        assert_eq!(page.key_count(), Some((keys.len() + prefixes.len()) as i32));
        assert_eq!(page.is_truncated(), Some(false));
    }
    let none = client.list_objects_v2().bucket("none").send().await;
    assert_eq!(refused(none), says(404, "NoSuchBucket"));
    let wrong = client.list_objects_v2().bucket("bbb").continuation_token("?").send().await;
    assert_eq!(refused(wrong), says(400, "InvalidArgument"));
}

async fn pages_follow_each_other(s3: &TestS3, client: &Client) {
    for number in 0..1005 {
        s3.store().put("bbb", &format!("{number:04}"), "x");
        s3.store().put("vvv", &format!("{}/{number:04}", number / 300), "x");
    }
    for (bucket, delimiter, max, pages) in
        [("bbb", "", 5000, vec![1000, 5]), ("bbb", "", 1005, vec![1000, 5]), ("vvv", "/", 2, vec![2, 2])]
    {
        let (mut token, mut seen, mut counts) = (None, Vec::new(), Vec::new());
        loop {
            let list = client.list_objects_v2().bucket(bucket).max_keys(max).delimiter(delimiter);
            let page = list.set_continuation_token(token).send().await.unwrap();
            counts.push(page.key_count().unwrap());
            seen.extend(page.contents().iter().filter_map(|o| o.key()).map(str::to_owned));
            seen.extend(page.common_prefixes().iter().filter_map(|p| p.prefix()).map(str::to_owned));
            token = page.next_continuation_token;
            if token.is_none() {
                break;
            }
        }
        assert_eq!(counts, pages);
        assert!(seen.is_sorted_by(|a, b| a < b), "{seen:?}");
    }
    let none = client.list_objects_v2().bucket("bbb").max_keys(0).send().await.unwrap();
    assert_eq!((none.key_count(), none.is_truncated()), (Some(0), Some(false)));
}

async fn keys_are_encoded(s3: &TestS3, client: &Client) {
    let keys = [("a b", "a+b"), ("a%+", "a%25%2B"), ("a/ü", "a/%C3%BC"), ("a\u{1}", "a%01")];
    for (key, _) in keys {
        s3.store().put("bbb", key, "x");
    }
    let list = client.list_objects_v2().bucket("bbb").encoding_type(EncodingType::Url).prefix("a");
    let page = list.send().await.unwrap();
    let mut found: Vec<_> = page.contents().iter().filter_map(|o| o.key()).collect();
    found.sort_unstable();
    let mut expected = keys.map(|(_, encoded)| encoded);
    expected.sort_unstable();
    assert_eq!(found, expected);
    assert_eq!(page.encoding_type(), Some(&EncodingType::Url));
}

async fn versions_are_listed(s3: &TestS3, client: &Client) {
    for (key, text) in [("a", "1"), ("a", "2"), ("b", "3")] {
        s3.store().put("vvv", key, text);
    }
    s3.store().delete("vvv", "b");
    let (mut key, mut id, mut versions, mut markers) = (None, None, Vec::new(), 0);
    loop {
        let list = client.list_object_versions().bucket("vvv").max_keys(1);
        let page = list.set_key_marker(key).set_version_id_marker(id).send().await.unwrap();
        markers += page.delete_markers().len();
        let page_versions = page.versions().iter();
        versions.extend(page_versions.map(|v| (v.key().unwrap().to_owned(), v.is_latest().unwrap())));
        if page.is_truncated() != Some(true) {
            break;
        }
        (key, id) = (page.next_key_marker, page.next_version_id_marker);
    }
    let pair = |key: &str, latest| (key.to_owned(), latest);
    assert_eq!(versions, [pair("a", true), pair("a", false), pair("b", false)]);
    assert_eq!(markers, 1);
}
