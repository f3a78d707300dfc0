//! Shards: every key in one of them, and about as many in each.

use super::*;
use longhaul_aws::scan::shards_by;

/// Puts the keys, splits them, and says how many each shard holds.
async fn split(keys: &[String], most: u32) -> Vec<usize> {
    let mut world = World::over_tls().await;
    world.route.source.prefix = "data/".into();
    let store = world.here.store();
    for key in keys {
        store.put("departures", &format!("data/{key}"), "");
    }
    store.put("departures", "data", "");
    store.put("departures", "zzz", "");
    let shards = shards_by(&world.clients, &world.route, most, Some(20)).await.unwrap();
    assert!(world.here.log().count("ListObjectsV2") < 350, "{}", world.here.log().count("ListObjectsV2"));
    assert!(shards.len() <= most as usize && !shards.is_empty());
    assert_eq!((shards[0].after.as_ref(), shards[shards.len() - 1].through.as_ref()), (None, None));
    for pair in shards.windows(2) {
        assert!(pair[0].through.is_some() && pair[0].through == pair[1].after);
    }
    let held = |shard: &Shard| {
        let within = |key: &&String| {
            let key = format!("data/{key}");
            shard.after.as_ref().is_none_or(|after| key > *after)
                && shard.through.as_ref().is_none_or(|through| key <= *through)
        };
        keys.iter().filter(within).count()
    };
    let counts: Vec<usize> = shards.iter().map(held).collect();
    assert_eq!(counts.iter().sum::<usize>(), keys.len());
    counts
}

fn assert_even(counts: &[usize], shards: usize) {
    assert_eq!(counts.len(), shards, "{counts:?}");
    let each = counts.iter().sum::<usize>() / shards;
    assert!(counts.iter().all(|count| *count < 3 * each), "{counts:?}");
}

fn hashed(number: usize) -> String {
    format!("{:016x}", (number as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

#[tokio::test]
async fn a_small_source_is_one_shard() {
    assert_eq!(split(&[], 8).await, [0]);
    assert_eq!(split(&(0..20).map(hashed).collect::<Vec<_>>(), 8).await, [20]);
    assert_eq!(split(&(0..200).map(hashed).collect::<Vec<_>>(), 1).await, [200]);
}

#[tokio::test]
async fn keys_of_every_kind_are_spread() {
    assert_even(&split(&(0..3_000).map(hashed).collect::<Vec<_>>(), 8).await, 8);
    // Numbers that begin alike: nothing tells them apart for a long while.
    let numbered: Vec<String> = (0..3_000).map(|number| format!("object-number-{number:08}.bin")).collect();
    assert_even(&split(&numbered, 4).await, 4);
    let dated: Vec<String> = (0..4_000)
        .map(|n| format!("{:04}/{:02}/{:02}/{}", 2020 + n / 800, n % 12 + 1, n % 28 + 1, hashed(n)))
        .collect();
    assert_even(&split(&dated, 8).await, 8);
    // More folders than are looked at one by one, and keys beside them.
    let many: Vec<String> = (0..3_000).map(|n| format!("customer-{:03}/{}", n % 300, hashed(n))).collect();
    assert_even(&split(&many, 8).await, 8);
    let unicode: Vec<String> =
        (0..2_000_u32).map(|n| format!("{}{}", char::from_u32(0x4e00 + n % 9).unwrap(), hashed(n as usize))).collect();
    assert_even(&split(&unicode, 4).await, 4);
}

#[tokio::test]
async fn a_heavy_branch_beside_light_ones_is_split() {
    let mut keys: Vec<String> = (0..40).map(|n| format!("light-{n:02}/x")).collect();
    keys.extend((0..2_000).map(|n| format!("heavy/deep/down/{}", hashed(n))));
    keys.extend(["heavy/deep/down/".to_owned(), "heavy".to_owned()]);
    assert_even(&split(&keys, 4).await, 4);
}
