//! What goes wrong between the source and us.

use super::{
    KIB, LINKS, Link, Made, Ran, WITHOUT_SOCKETS, Watch, asked, bytes, over, places, requests, run, statuses, world,
};
use crate::world::{MIB, World};
use longhaul_core::outcome::Proof;
use longhaul_testing::{BucketSettings, Encryption, Fault, Rule};

const PART: u64 = 5 * MIB;
/// A body above this size is streamed, where its ETag is its MD5.
const HELD_MAX: u64 = 256 * KIB;
const SMALL: [u64; 4] = [100, 64 * KIB, MIB, 8 * MIB];
const SUM: &str = "x-amz-checksum-crc64nvme";

fn drop_header(world: &World, name: &str) {
    for operation in ["GetObject", "HeadObject"] {
        world.here.faults().add(Rule::on(operation).times(0).fails(Fault::DropHeader { name: name.into() }));
    }
}

#[test]
fn a_part_that_is_cut_at_any_byte_is_read_on_from_there() {
    over(LINKS, |link| async move {
        let bytes = bytes(1, 2 * PART);
        for encryption in link.encryptions().iter().copied() {
            let mut world = world(link, encryption).await;
            world.route.options.part_size = Some(PART);
            let mut cuts = places(PART, 1 + link as u64, 2);
            if link == Link::Sockets || encryption == Encryption::Kms {
                cuts = vec![0, 64 * KIB + 1, PART - 1];
            }
            for (turn, cut) in (0..).zip(cuts) {
                let what = format!("{link:?} {encryption:?} cut at {cut}");
                let key = format!("film {turn}");
                let made = if turn % 2 == 0 { Made::Whole } else { Made::Parts(PART) };
                made.put(&world, &key, &bytes);
                let rule = Rule::on("GetObject").key(&key).nth(1 + turn % 2);
                world.here.faults().add(rule.fails(Fault::CutBody { after: cut }));
                let ran = run(&world, &[&key]).await;

                ran.assert_arrived(1, &what);
                world.assert_equal(&key);
                assert_eq!(statuses(&world.there, "UploadPart", &key), [Some(200); 2], "{what}: no part is sent twice");
                let gets = requests(&world.here, "GetObject", &key);
                assert_eq!(gets.len(), 3, "{what}: one more GET");
                let (broken, well): (Vec<_>, Vec<_>) = gets.iter().partition(|get| !get.faults.is_empty());
                let (first, last) = asked(broken[0]).unwrap();
                let rest: Vec<u64> =
                    well.iter().filter_map(|get| asked(get)).filter(|get| get.1 == last).map(|get| get.0).collect();
                let [from] = rest[..] else { panic!("{what}: {gets:?}") };
                if link == Link::Sockets {
                    assert!((first..=first + cut).contains(&from), "{what}: {from} of {first}-{last}");
                } else {
                    assert_eq!(from, first + cut, "{what}: nothing is asked for twice");
                }
                assert_eq!(ran.faults(), (1, 0, 0, 0, 0), "{what}");
                assert_eq!((ran.counted.resumed, ran.counted.retries), (1, 0), "{what}");
                assert_eq!((ran.counted.bytes_down, ran.counted.bytes_up), (2 * PART, 2 * PART), "{what}");
            }
        }
    });
}

#[test]
fn a_part_that_is_cut_again_and_again_arrives_or_is_repeated() {
    over(WITHOUT_SOCKETS, |link| async move {
        // Four times in a row a body is read on, then the part begins anew.
        for (cuts, retries) in [(4, 0), (5, 1), (9, 1)] {
            let what = format!("{link:?} cut {cuts} times");
            let mut world = world(link, Encryption::Aes256).await;
            world.route.options.part_size = Some(16 * MIB);
            Made::Whole.put(&world, "film", &bytes(1, 9 * MIB));
            world.here.faults().add(Rule::on("GetObject").times(cuts).fails(Fault::CutBody { after: 70_000 }));
            let ran = run(&world, &["film"]).await;
            ran.assert_arrived(1, &what);
            world.assert_equal("film");
            assert_eq!(requests(&world.here, "GetObject", "film").len() as u64, cuts + 1, "{what}");
            assert_eq!((ran.counted.retries, ran.counted.resumed), (retries, cuts - retries), "{what}: {ran:?}");
        }
    });
}

#[test]
fn a_small_object_that_is_cut_is_read_on_or_again() {
    over(LINKS, |link| async move {
        let bytes = bytes(2, 8 * MIB);
        for encryption in link.encryptions().iter().copied() {
            let world = world(link, encryption).await;
            for size in SMALL {
                let bytes = bytes.slice(..size as usize);
                for (made, more) in [(Made::Whole, 2), (Made::Parts(PART), 0)] {
                    let mut cuts = places(size, link as u64 + size, more);
                    if made != Made::Whole || link == Link::Sockets || size > MIB {
                        cuts = vec![0, size - 1];
                    }
                    for cut in cuts {
                        let what = format!("{link:?} {encryption:?} {made:?} {size} bytes, cut at {cut}");
                        let key = format!("note {made:?} {size} {cut}");
                        made.put(&world, &key, &bytes);
                        world.here.faults().add(Rule::on("GetObject").key(&key).fails(Fault::CutBody { after: cut }));
                        let ran = run(&world, &[&key]).await;

                        ran.assert_arrived(1, &what);
                        world.assert_equal(&key);
                        assert_eq!(statuses(&world.there, "PutObject", &key), [Some(200)], "{what}");
                        let gets = requests(&world.here, "GetObject", &key);
                        assert_eq!(gets.len(), 2, "{what}");
                        let streamed = made == Made::Whole && size > HELD_MAX;
                        assert_eq!(ran.faults(), (1, 0, 0, 0, 0), "{what}");
                        assert_eq!(ran.counted.resumed, u64::from(streamed), "{what}");
                        assert_eq!(ran.counted.retries, u64::from(!streamed), "{what}");
                        match asked(&gets[1]) {
                            Some((from, last)) => {
                                assert!(streamed && from <= cut && last == size - 1, "{what}: {from}-{last}");
                                assert!(from == cut || link == Link::Sockets, "{what}: from {from}");
                            }
                            None => assert!(!streamed, "{what}"),
                        }
                    }
                }
            }
        }
    });
}

/// The MD5 that goes ahead, or the checksum that the source told, is refused by the store, and the object is read again.
#[test]
fn a_flipped_bit_in_a_small_body_never_arrives() {
    over(LINKS, |link| async move {
        let bytes = bytes(3, 8 * MIB);
        for told in [true, false] {
            let world = world(link, Encryption::Aes256).await;
            let watch = Watch::over(&world);
            if !told {
                drop_header(&world, SUM);
            }
            for size in SMALL {
                for made in [Made::Whole, Made::Parts(PART)] {
                    if made != Made::Whole && !told {
                        // The limit: nothing says what the bytes were. Only the wire's own checksum, or TLS, does.
                        continue;
                    }
                    for at in [0, size - 1] {
                        let what = format!("{link:?} {made:?} {size} bytes, checksum told: {told}, flipped at {at}");
                        let key = format!("note {made:?} {size} {at}");
                        made.put(&world, &key, &bytes.slice(..size as usize));
                        world.here.faults().add(Rule::on("GetObject").key(&key).fails(Fault::FlipResponse { at }));
                        let ran = run(&world, &[&key]).await;
                        ran.assert_arrived(1, &what);
                        world.assert_equal(&key);
                        assert_eq!(requests(&world.here, "GetObject", &key).len(), 2, "{what}");
                        assert_eq!(ran.counted.retries, 1, "{what}: {ran:?}");
                        assert_eq!(ran.counted.mismatches + ran.counted.resets, 1, "{what}: {ran:?}");
                        if made == Made::Whole && size > HELD_MAX {
                            let sent = statuses(&world.there, "PutObject", &key);
                            assert_eq!(sent, [Some(400), Some(200)], "{what}: refused, and sent again");
                        }
                    }
                }
            }
            assert!(!watch.saw_a_wrong_object(), "{link:?} {told}");
        }
    });
}

#[test]
fn a_small_body_that_is_damaged_for_ever_fails_by_name() {
    over(WITHOUT_SOCKETS, |link| async move {
        for size in SMALL {
            let world = world(link, Encryption::Aes256).await;
            let watch = Watch::over(&world);
            Made::Whole.put(&world, "note", &bytes(1, size));
            world.here.faults().add(Rule::on("GetObject").times(0).fails(Fault::FlipResponse { at: size / 3 }));
            let ran = run(&world, &["note"]).await;
            let record = world.record("note").await;
            assert!(world.there.store().get("arrivals", "note").is_none(), "{link:?} {size}: {ran:?}");
            let failed = record.and_then(|record| record.failure).map(|failure| failure.name);
            // Where the source told a checksum, the SDK may find the damage before we do, and calls it a broken body.
            let named = failed.as_deref() == Some("ChecksumMismatch") || ran.errors == ["Transient"];
            assert!(named, "{link:?} {size}: {failed:?} {ran:?}");
            assert!(!watch.saw_a_wrong_object());
        }
    });
}

/// What tells that a part was damaged between the source and us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    /// The source's checksum of the whole object, against the one combined from the parts.
    Sum,
    /// The source's ETag, against the one composed from the parts, whose layout is the same.
    ETag,
}

#[test]
fn a_flipped_bit_in_a_part_is_found_before_the_object_is_visible() {
    // The limit: a source object from one PUT that has no checksum, above 8 MiB. Its ETag is the MD5 of the whole, which
    // nobody computes when parts travel side by side; what is left is the wire's own protection.
    let cases = [
        (Link::Tls, Encryption::Aes256, Made::Whole, Told::Sum),
        (Link::Tls, Encryption::Kms, Made::Whole, Told::Sum),
        (Link::Tls, Encryption::Kms, Made::Parts(PART), Told::Sum),
        (Link::Tls, Encryption::Aes256, Made::Parts(PART), Told::ETag),
        (Link::Plain, Encryption::Aes256, Made::Parts(PART), Told::ETag),
        (Link::Sockets, Encryption::Aes256, Made::Parts(PART), Told::ETag),
    ];
    for (link, encryption, made, told) in cases {
        over([link], |link| async move {
            for times in [1, 0] {
                let what = format!("{link:?} {encryption:?} {made:?} {told:?}, {times} times");
                let mut world = world(link, encryption).await;
                let watch = Watch::over(&world);
                world.route.options.part_size = Some(PART);
                made.put(&world, "film", &bytes(4, 2 * PART));
                if told == Told::ETag {
                    drop_header(&world, SUM);
                }
                world.here.faults().add(Rule::on("GetObject").times(times).fails(Fault::FlipResponse { at: 65_537 }));
                let ran = run(&world, &["film"]).await;
                if times == 1 {
                    ran.assert_arrived(1, &what);
                    world.assert_equal("film");
                    assert_eq!(
                        requests(&world.there, "CreateMultipartUpload", "film").len(),
                        2,
                        "{what}: one fresh upload"
                    );
                } else {
                    assert_eq!(ran.errors, ["ChecksumMismatch"], "{what}: {ran:?}");
                    assert!(world.there.store().get("arrivals", "film").is_none(), "{what}");
                }
                assert!(!watch.saw_a_wrong_object(), "{what}");
                assert!(world.there.store().open_uploads().is_empty(), "{what}");
            }
        });
    }
}

/// Without trailing checksums there is no sum of the parts, and their ETags make none that could be compared: the
/// source's own checksum has to go along with Complete, or the object is found wrong when it can be seen (rule 9).
#[test]
fn a_flipped_bit_in_a_part_in_the_clear_ends_in_an_equal_object() {
    over(WITHOUT_SOCKETS, |link| async move {
        for encryption in link.encryptions().iter().copied() {
            let (world, watch, ran) = flipped_in_the_clear(link, encryption, 1).await;
            ran.assert_arrived(1, &format!("{link:?} {encryption:?}"));
            world.assert_equal("film");
            assert!(!watch.saw_a_wrong_object(), "{link:?} {encryption:?}: a wrong object was visible");
        }
    });
}

#[test]
fn flipped_bits_in_a_part_in_the_clear_leave_no_wrong_object() {
    over(WITHOUT_SOCKETS, |link| async move {
        for encryption in link.encryptions().iter().copied() {
            let (world, _, ran) = flipped_in_the_clear(link, encryption, 0).await;
            assert_eq!(ran.errors, ["ChecksumMismatch"], "{link:?} {encryption:?}: {ran:?}");
            assert!(world.there.store().get("arrivals", "film").is_none(), "{link:?} {encryption:?}");
        }
    });
}

async fn flipped_in_the_clear(link: Link, encryption: Encryption, times: u64) -> (World, Watch, Ran) {
    let mut world = world(link, encryption).await;
    world.route.options.part_size = Some(PART);
    let watch = Watch::over(&world);
    Made::Whole.put(&world, "film", &bytes(4, 2 * PART));
    world.here.faults().add(Rule::on("GetObject").times(times).fails(Fault::FlipResponse { at: 65_537 }));
    let ran = run(&world, &["film"]).await;
    (world, watch, ran)
}

/// A store whose ETags have the form of an MD5, are none, and that says nothing of encryption (rule 6).
#[test]
fn an_etag_that_only_looks_like_an_md5_is_not_believed_for_long() {
    over(LINKS, |link| async move {
        for told in [true, false] {
            let mut world = world(link, Encryption::Aes256).await;
            world.route.options.part_size = Some(16 * MIB);
            let odd = BucketSettings { encryption: Encryption::Kms, ..BucketSettings::default() };
            world.here.store().set_bucket("departures", odd);
            drop_header(&world, "x-amz-server-side-encryption");
            drop_header(&world, "x-amz-server-side-encryption-aws-kms-key-id");
            if !told {
                drop_header(&world, SUM);
            }
            // The last one is large, and has a single part.
            for size in [100, 64 * KIB, MIB, 9 * MIB] {
                let what = format!("{link:?} {size} bytes, checksum told: {told}");
                let key = format!("note {size}");
                Made::Whole.put(&world, &key, &bytes(size, size));
                let ran = run(&world, &[&key]).await;
                ran.assert_arrived(1, &what);
                world.assert_equal(&key);
                let record = world.record(&key).await.unwrap();
                let (here, there) =
                    (world.here.store().object("departures", &key), world.there.store().object("arrivals", &key));
                assert_ne!(here.unwrap().etag, there.unwrap().etag, "{what}");
                assert_ne!(record.proof, Some(Proof::Etag), "{what}");
                let refused = requests(&world.there, if size > 8 * MIB { "UploadPart" } else { "PutObject" }, &key);
                assert_eq!(refused[0].status, Some(400), "{what}: the borrowed MD5 was refused");
                // A part is hashed on its way: that the same bytes came twice shows only when it has been sent twice.
                let sent = if size > 8 * MIB { 2 } else { 1 };
                assert_eq!(refused.iter().filter(|entry| entry.status == Some(200)).count(), sent, "{what}");
                assert!((1..=2).contains(&ran.counted.mismatches), "{what}: {ran:?}");
            }
        }
    });
}

#[test]
fn a_source_that_is_overwritten_in_the_middle_of_a_part_arrives_as_the_new_version() {
    over(LINKS, |link| async move {
        for encryption in link.encryptions().iter().copied() {
            let what = format!("{link:?} {encryption:?}");
            let mut world = world(link, encryption).await;
            let watch = Watch::over(&world);
            world.route.options.part_size = Some(PART);
            Made::Whole.put(&world, "film", &bytes(1, 2 * PART));
            let newer = bytes(2, 2 * PART + 7);
            world.here.faults().add(Rule::on("GetObject").nth(2).fails(Fault::CutBody { after: MIB }));
            world.here.faults().before(Rule::on("GetObject").nth(3), move |store, _| {
                store.put("departures", "film", newer.clone());
            });
            let ran = run(&world, &["film"]).await;
            ran.assert_arrived(1, &what);
            world.assert_equal("film");
            assert_eq!(world.there.store().get("arrivals", "film").unwrap().len() as u64, 2 * PART + 7);
            assert!(statuses(&world.here, "GetObject", "film").contains(&Some(412)), "{what}: the change was noticed");
            assert_eq!(requests(&world.there, "CompleteMultipartUpload", "film").len(), 1, "{what}");
            assert!(!watch.saw_a_wrong_object() && world.there.store().open_uploads().is_empty(), "{what}");
        }
    });
}

#[test]
fn a_small_source_that_is_overwritten_in_the_middle_arrives_as_the_new_version() {
    over(LINKS, |link| async move {
        let world = world(link, Encryption::Aes256).await;
        Made::Whole.put(&world, "note", &bytes(1, MIB));
        let newer = bytes(2, MIB + 7);
        world.here.faults().add(Rule::on("GetObject").fails(Fault::CutBody { after: 300_000 }));
        world.here.faults().before(Rule::on("GetObject").nth(2), move |store, _| {
            store.put("departures", "note", newer.clone());
        });
        let ran = run(&world, &["note"]).await;
        // SourceChanged: look again once, then fail.
        ran.assert_arrived(1, &format!("{link:?}"));
        assert_eq!(ran.ended.migrated, 1, "{link:?}: {:?}", world.record("note").await);
        world.assert_equal("note");
    });
}
