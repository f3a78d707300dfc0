//! What goes wrong between us and the destination.

use super::{KIB, LINKS, Link, Made, WITHOUT_SOCKETS, Watch, bytes, over, requests, run, statuses, world};
use crate::world::{MIB, World};
use bytes::Bytes;
use longhaul_testing::{BucketSettings, Encryption, Fault, Rule, Versioning};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

const PART: u64 = 5 * MIB;
const OK: Option<u16> = Some(200);
const REFUSED: Option<u16> = Some(400);

/// Counts how often the upload of `key` held a part of other bytes than `bytes` when a request arrived.
fn wrong_parts(world: &World, key: &str, bytes: &Bytes) -> Arc<AtomicU32> {
    let wrong = Arc::new(AtomicU32::new(0));
    for operation in ["UploadPart", "ListParts"] {
        let (wrong, bytes) = (wrong.clone(), bytes.clone());
        world.there.faults().before(Rule::on(operation).key(key).times(0), move |store, call| {
            for (number, part) in store.parts(call.upload_id.as_deref().unwrap_or_default()) {
                let begin = (u64::from(number - 1) * PART) as usize;
                let right = bytes.slice(begin..bytes.len().min(begin + PART as usize));
                wrong.fetch_add(u32::from(part.body.bytes() != Some(right)), Ordering::Relaxed);
            }
        });
    }
    wrong
}

#[test]
fn a_flipped_bit_in_a_part_on_its_way_is_refused_or_found_by_the_answer() {
    over(LINKS, |link| async move {
        let bytes = bytes(5, 2 * PART);
        for encryption in link.encryptions().iter().copied() {
            let mut world = world(link, encryption).await;
            let watch = Watch::over(&world);
            world.route.options.part_size = Some(PART);
            for (turn, at) in (0..).zip([20, 64 * KIB, PART - 1]) {
                let what = format!("{link:?} {encryption:?} flipped at {at}");
                let key = format!("film {turn}");
                let made = if turn % 2 == 0 { Made::Whole } else { Made::Parts(PART) };
                made.put(&world, &key, &bytes);
                let wrong = wrong_parts(&world, &key, &bytes);
                world.there.faults().add(Rule::on("UploadPart").key(&key).part(2).fails(Fault::FlipRequest { at }));
                let ran = run(&world, &[&key]).await;

                ran.assert_arrived(1, &what);
                world.assert_equal(&key);
                let mut sent = requests(&world.there, "UploadPart", &key);
                sent.retain(|entry| entry.call.part_number == Some(2));
                let sent: Vec<_> = sent.iter().map(|entry| entry.status).collect();
                assert_eq!(ran.faults(), (0, 0, 0, 0, 1), "{what}");
                assert_eq!((ran.counted.retries, ran.counted.parts), (1, 2), "{what}");
                if link == Link::Tls || encryption == Encryption::Kms {
                    // The checksum that trails the part, or the MD5 ahead of it.
                    assert_eq!(sent, [REFUSED, OK], "{what}");
                    assert_eq!(wrong.load(Ordering::Relaxed), 0, "{what}: a wrong part was held");
                } else {
                    // Nothing can go along: the store takes it, and its answer says what it took.
                    assert_eq!(sent, [OK, OK], "{what}");
                }
            }
            assert!(!watch.saw_a_wrong_object(), "{link:?} {encryption:?}");
        }
    });
}

/// On the wire a trailing checksum comes with chunk headers; damage to these is no mismatch, and no part either.
#[test]
fn damage_to_the_frame_of_a_part_is_refused_too() {
    over([Link::Tls], |link| async move {
        let bytes = bytes(6, 2 * PART);
        let mut world = world(link, Encryption::Aes256).await;
        world.route.options.part_size = Some(PART);
        for (turn, at) in (0..).zip([0, 1, 5, 7, PART + 8, PART + 11, PART + 16, PART + 40, PART + 45]) {
            let key = format!("film {turn}");
            Made::Whole.put(&world, &key, &bytes);
            let wrong = wrong_parts(&world, &key, &bytes);
            world.there.faults().add(Rule::on("UploadPart").key(&key).part(1).fails(Fault::FlipRequest { at }));
            let ran = run(&world, &[&key]).await;
            ran.assert_arrived(1, &format!("flipped at {at}: {:?}", statuses(&world.there, "UploadPart", &key)));
            world.assert_equal(&key);
            assert_eq!(wrong.load(Ordering::Relaxed), 0, "flipped at {at}");
        }
    });
}

#[test]
fn parts_that_are_damaged_for_ever_fail_by_name() {
    over(WITHOUT_SOCKETS, |link| async move {
        for encryption in link.encryptions().iter().copied() {
            let what = format!("{link:?} {encryption:?}");
            let mut world = world(link, encryption).await;
            let watch = Watch::over(&world);
            world.route.options.part_size = Some(PART);
            Made::Whole.put(&world, "film", &bytes(1, 2 * PART));
            world.there.faults().add(Rule::on("UploadPart").part(1).times(0).fails(Fault::FlipRequest { at: 4_000 }));
            let ran = run(&world, &["film"]).await;
            assert_eq!(ran.errors, ["ChecksumMismatch"], "{what}: {ran:?}");
            assert!(world.there.store().get("arrivals", "film").is_none(), "{what}");
            assert!(!watch.saw_a_wrong_object(), "{what}");
        }
    });
}

#[test]
fn a_flipped_bit_in_a_small_object_on_its_way_is_refused() {
    over(LINKS, |link| async move {
        let bytes = bytes(7, 8 * MIB);
        for encryption in link.encryptions().iter().copied() {
            let world = world(link, encryption).await;
            let watch = Watch::over(&world);
            for size in [1, 100, 64 * KIB, MIB, 8 * MIB] {
                for made in [Made::Whole, Made::Parts(PART)] {
                    let whole = [0, size / 2, size - 1];
                    for at in whole.into_iter().take(if size > MIB { 1 } else { 3 }) {
                        let what = format!("{link:?} {encryption:?} {made:?} {size} bytes, flipped at {at}");
                        let key = format!("note {made:?} {size} {at}");
                        made.put(&world, &key, &bytes.slice(..size as usize));
                        world.there.faults().add(Rule::on("PutObject").key(&key).fails(Fault::FlipRequest { at }));
                        let ran = run(&world, &[&key]).await;
                        ran.assert_arrived(1, &what);
                        world.assert_equal(&key);
                        let sent = statuses(&world.there, "PutObject", &key);
                        assert_eq!((sent.first(), sent.last()), (Some(&REFUSED), Some(&OK)), "{what}: {sent:?}");
                        assert_eq!(sent.len(), 2, "{what}: once more is enough, {ran:?}");
                    }
                }
            }
            assert!(!watch.saw_a_wrong_object(), "{link:?} {encryption:?}");
        }
    });
}

#[test]
fn a_lost_reply_to_a_part_sends_it_again() {
    over(LINKS, |link| async move {
        for encryption in link.encryptions().iter().copied() {
            let what = format!("{link:?} {encryption:?}");
            let mut world = world(link, encryption).await;
            world.route.options.part_size = Some(PART);
            Made::Whole.put(&world, "film", &bytes(1, 2 * PART + 3));
            world.there.faults().add(Rule::on("UploadPart").part(2).fails(Fault::LoseReply));
            let ran = run(&world, &["film"]).await;
            ran.assert_arrived(1, &what);
            world.assert_equal("film");
            assert_eq!(requests(&world.there, "UploadPart", "film").len(), 4, "{what}");
            // A part that is held in memory can be sent again by the SDK; a stream is read again by us.
            if link == Link::Tls || encryption == Encryption::Aes256 {
                assert_eq!(ran.faults(), (1, 0, 0, 0, 0), "{what}");
                assert_eq!(requests(&world.here, "GetObject", "film").len(), 4, "{what}");
            }
        }
    });
}

/// The second write meets the first one, which nobody else made (rule 3).
#[test]
fn a_lost_reply_to_a_small_write_is_no_strangers_object() {
    over(LINKS, |link| async move {
        for encryption in link.encryptions().iter().copied() {
            let world = world(link, encryption).await;
            let settings = BucketSettings { encryption, versioning: Versioning::Enabled, ..BucketSettings::default() };
            world.there.store().set_bucket("arrivals", settings);
            let sizes: &[u64] = if link == Link::Sockets { &[100, MIB] } else { &[0, 100, MIB, 8 * MIB] };
            for size in sizes.iter().copied() {
                let what = format!("{link:?} {encryption:?} {size} bytes");
                let key = format!("note {size}");
                Made::Whole.put(&world, &key, &bytes(size + 1, size));
                world.there.faults().add(Rule::on("PutObject").key(&key).fails(Fault::LoseReply));
                let ran = run(&world, &[&key]).await;
                ran.assert_arrived(1, &what);
                world.assert_equal(&key);
                assert_eq!(world.there.store().versions("arrivals", &key).len(), 1, "{what}: written once");
                assert!(world.record(&key).await.unwrap().proof.is_some(), "{what}");
            }
        }
    });
}

#[test]
fn rule_19_a_lost_reply_to_the_begin_or_the_end_of_an_upload_is_looked_after() {
    over(LINKS, |link| async move {
        for encryption in link.encryptions().iter().copied() {
            let mut world = world(link, encryption).await;
            let settings = BucketSettings { encryption, versioning: Versioning::Enabled, ..BucketSettings::default() };
            world.there.store().set_bucket("arrivals", settings);
            world.route.options.part_size = Some(PART);
            for operation in ["CreateMultipartUpload", "CompleteMultipartUpload"] {
                for made in [Made::Whole, Made::Parts(PART)] {
                    if made != Made::Whole && link != Link::Plain {
                        continue;
                    }
                    let what = format!("{link:?} {encryption:?} {made:?} {operation}");
                    let key = format!("film {operation} {made:?}");
                    made.put(&world, &key, &bytes(8, 2 * PART));
                    world.there.faults().add(Rule::on(operation).key(&key).fails(Fault::LoseReply));
                    let ran = run(&world, &[&key]).await;
                    ran.assert_arrived(1, &what);
                    world.assert_equal(&key);
                    assert_eq!(requests(&world.there, "UploadPart", &key).len(), 2, "{what}: no part is sent twice");
                    assert_eq!(world.there.store().versions("arrivals", &key).len(), 1, "{what}");
                    // An upload whose Create reply was lost is known to nobody (rule 19).
                    let open = world.there.store().open_uploads().iter().filter(|upload| upload.key == key).count();
                    assert_eq!(open, usize::from(operation == "CreateMultipartUpload"), "{what}");
                }
            }
        }
    });
}
