//! What makes us wait: throttling, silence, stragglers. Time is paused: it passes only when everybody waits.

use super::{
    KIB, Link, Made, WITHOUT_SOCKETS, Watch, bytes, over, requests, run, run_with, statuses, with_engine, world,
};
use crate::world::MIB;
use longhaul_aws::engine::Engine;
use longhaul_testing::{Encryption, Fault, Rule};

const PART: u64 = 5 * MIB;
/// Longer than any function lives.
const FOR_EVER: u64 = 3_600_000;

fn slow_down() -> Fault {
    Fault::Status { status: 503, code: Some("SlowDown".into()) }
}

#[test]
fn faults_before_a_request_takes_effect_pass() {
    over(WITHOUT_SOCKETS, |link| async move {
        for fault in [Fault::Status { status: 500, code: None }, Fault::ResetBeforeRequest, slow_down()] {
            let times = 5;
            for (operation, at_source) in [("GetObject", true), ("PutObject", false), ("UploadPart", false)] {
                let what = format!("{link:?} {operation} {fault:?} {times} times");
                let mut world = world(link, Encryption::Aes256).await;
                world.route.options.part_size = Some(PART);
                for (key, size) in [("note", 1_000), ("song", MIB), ("film", 2 * PART)] {
                    Made::Whole.put(&world, key, &bytes(size, size));
                }
                let side = if at_source { &world.here } else { &world.there };
                side.faults().add(Rule::on(operation).times(times).fails(fault.clone()));
                let ran = run(&world, &["note", "song", "film"]).await;
                ran.assert_arrived(3, &what);
                for key in ["note", "song", "film"] {
                    world.assert_equal(key);
                }
                assert_eq!(side.faults().total(), times, "{what}");
            }
        }
    });
}

/// Five refusals in a row of one streamed upload, which the SDK cannot repeat: each is counted.
#[test]
fn a_burst_of_slow_down_is_waited_out() {
    over(WITHOUT_SOCKETS, |link| async move {
        let mut world = world(link, Encryption::Aes256).await;
        world.route.options.part_size = Some(16 * MIB);
        Made::Whole.put(&world, "film", &bytes(1, 9 * MIB));
        Made::Whole.put(&world, "song", &bytes(2, MIB));
        for operation in ["UploadPart", "PutObject"] {
            world.there.faults().add(Rule::on(operation).times(5).fails(slow_down()));
        }
        let ran = run(&world, &["film", "song"]).await;
        ran.assert_arrived(2, &format!("{link:?}"));
        assert_eq!(ran.faults(), (0, 10, 0, 0, 0), "{link:?}");
        assert_eq!(ran.counted.retries, 10, "{link:?}");
        assert!(ran.counted.wait_ms > 0);
        world.assert_equal("film");
        world.assert_equal("song");
    });
}

#[test]
fn slow_down_for_ever_is_throttled_and_nothing_hangs() {
    over(WITHOUT_SOCKETS, |link| async move {
        for (operation, at_source) in [("GetObject", true), ("PutObject", false), ("UploadPart", false)] {
            let what = format!("{link:?} {operation}");
            let mut world = world(link, Encryption::Aes256).await;
            world.route.options.part_size = Some(PART);
            Made::Whole.put(&world, "note", &bytes(1, 1_000));
            Made::Whole.put(&world, "film", &bytes(2, 2 * PART));
            let side = if at_source { &world.here } else { &world.there };
            side.faults().add(Rule::on(operation).times(0).fails(slow_down()));
            let ran = run(&world, &["note", "film"]).await;
            let failed = if at_source { 2 } else { 1 };
            assert_eq!(ran.errors, vec!["Throttled"; failed], "{what}: {ran:?}");
            assert_eq!(ran.ended.objects(), 2 - failed as u64, "{what}: {ran:?}");
            assert!(ran.counted.throttles > 0, "{what}");
            let key = if operation == "PutObject" { "note" } else { "film" };
            assert!(world.there.store().get("arrivals", key).is_none());

            // It was the service, not the object: it arrives when the service is well again.
            side.faults().clear();
            run(&world, &["note", "film"]).await.assert_arrived(2, &what);
            world.assert_equal("note");
            world.assert_equal("film");
        }
    });
}

#[test]
fn slow_down_for_ever_fails_the_execution_by_name() {
    over([Link::Tls], |link| async move {
        let world = world(link, Encryption::Aes256).await;
        Made::Whole.put(&world, "film", &bytes(1, 9 * MIB));
        world.here.faults().add(Rule::on("GetObject").times(0).fails(slow_down()));
        let ended = world.migrate("e", &world.request(&["film"])).await;
        assert_eq!(ended.tally.failed, 1, "{ended:?}");
        let failure = world.record("film").await.unwrap().failure.unwrap();
        assert_eq!(failure.name, "Throttled");
        assert_eq!(world.sent.failed.lock().unwrap().len(), 1, "its message works later");
    });
}

#[test]
fn a_body_that_stands_still_is_read_on() {
    over(WITHOUT_SOCKETS, |link| stands_still(link, Encryption::Aes256));
    over([Link::Tls], |link| stands_still(link, Encryption::Kms));
}

/// The part is held in memory, since only an MD5 ahead can prove it.
#[test]
fn a_body_that_is_collected_and_stands_still_is_read_on_too() {
    over([Link::Plain], |link| stands_still(link, Encryption::Kms));
}

async fn stands_still(link: Link, encryption: Encryption) {
    let mut world = world(link, encryption).await;
    world.route.options.part_size = Some(PART);
    for after in [0, 1, 64 * KIB, 3 * MIB, PART - 1] {
        let what = format!("{link:?} {encryption:?} silent after {after}");
        let key = format!("film {after}");
        Made::Parts(PART).put(&world, &key, &bytes(1, 2 * PART));
        let silence = Fault::StallBody { after, for_ms: FOR_EVER };
        world.here.faults().add(Rule::on("GetObject").key(&key).fails(silence));
        // A part that stands still would be sent twice before it counts as lost.
        let clients = with_engine(&world, Engine::new(16, 64 * MIB).without_hedging());
        let ran = run_with(&world, &clients, &[&key]).await;
        ran.assert_arrived(1, &what);
        world.assert_equal(&key);
        assert_eq!(ran.faults(), (0, 0, 1, 0, 0), "{what}");
        assert_eq!((ran.counted.resumed, ran.counted.retries), (1, 0), "{what}");
        assert_eq!(requests(&world.here, "GetObject", &key).len(), 3, "{what}");
        assert_eq!(statuses(&world.there, "UploadPart", &key), [Some(200); 2], "{what}");
    }
}

#[test]
fn a_small_body_that_stands_still_is_read_on_or_again() {
    over(WITHOUT_SOCKETS, |link| async move {
        let world = world(link, Encryption::Aes256).await;
        for size in [2, 100, 64 * KIB, 257 * KIB, MIB, 8 * MIB] {
            for after in [0, size / 2] {
                let what = format!("{link:?} {size} bytes, silent after {after}");
                let key = format!("note {size} {after}");
                Made::Whole.put(&world, &key, &bytes(size, size));
                let silence = Fault::StallBody { after, for_ms: FOR_EVER };
                world.here.faults().add(Rule::on("GetObject").key(&key).fails(silence));
                let ran = run(&world, &[&key]).await;
                ran.assert_arrived(1, &what);
                world.assert_equal(&key);
                assert_eq!(ran.counted.stalls, 1, "{what}: {ran:?}");
                assert_eq!(requests(&world.here, "GetObject", &key).len(), 2, "{what}");
            }
        }
    });
}

#[test]
fn an_answer_that_never_comes_is_not_waited_for() {
    over(WITHOUT_SOCKETS, |link| async move {
        for encryption in link.encryptions().iter().copied() {
            for fault in [Fault::DelayReply { ms: FOR_EVER }, Fault::Delay { ms: FOR_EVER }] {
                let what = format!("{link:?} {encryption:?} {fault:?}");
                let mut world = world(link, encryption).await;
                world.route.options.part_size = Some(PART);
                Made::Whole.put(&world, "film", &bytes(1, 2 * PART + 1));
                Made::Whole.put(&world, "song", &bytes(2, MIB));
                Made::Whole.put(&world, "note", &bytes(3, 100));
                // The last part is a single byte.
                for part in [1, 3] {
                    world.there.faults().add(Rule::on("UploadPart").part(part).fails(fault.clone()));
                }
                for key in ["song", "note"] {
                    world.there.faults().add(Rule::on("PutObject").key(key).fails(fault.clone()));
                }
                let clients = with_engine(&world, Engine::new(16, 64 * MIB).without_hedging());
                let ran = run_with(&world, &clients, &["film", "song", "note"]).await;
                ran.assert_arrived(3, &what);
                for key in ["film", "song", "note"] {
                    world.assert_equal(key);
                }
                assert_eq!(requests(&world.there, "UploadPart", "film").len(), 5, "{what}");
                // What is held in memory may be repeated by the SDK, which counts nothing.
                let (resets, throttles, stalls, server_errors, mismatches) = ran.faults();
                assert!(stalls >= 1, "{what}: {ran:?}");
                assert_eq!((resets, throttles, server_errors, mismatches), (0, 0, 0, 0), "{what}");
            }
        }
    });
}

#[test]
fn a_get_that_is_never_answered_is_repeated() {
    over(WITHOUT_SOCKETS, |link| async move {
        let mut world = world(link, Encryption::Aes256).await;
        world.route.options.part_size = Some(PART);
        for (key, size) in [("film", 2 * PART), ("note", 100)] {
            Made::Whole.put(&world, key, &bytes(size, size));
            world.here.faults().add(Rule::on("GetObject").key(key).times(2).fails(Fault::Delay { ms: FOR_EVER }));
        }
        let ran = run(&world, &["film", "note"]).await;
        ran.assert_arrived(2, &format!("{link:?}"));
        world.assert_equal("film");
        world.assert_equal("note");
    });
}

/// An upload that stands still, while all the others have ended, is sent a second time, and only once.
#[test]
fn a_straggler_is_sent_twice_and_the_object_is_equal() {
    over(WITHOUT_SOCKETS, |link| async move {
        for encryption in link.encryptions().iter().copied() {
            for fault in [Fault::Delay { ms: FOR_EVER }] {
                let what = format!("{link:?} {encryption:?} {fault:?}");
                let mut world = world(link, encryption).await;
                let watch = Watch::over(&world);
                world.route.options.part_size = Some(PART);
                Made::Whole.put(&world, "film", &bytes(1, 5 * PART));
                world.there.faults().add(Rule::on("UploadPart").part(3).fails(fault));
                let ran = run(&world, &["film"]).await;
                ran.assert_arrived(1, &what);
                world.assert_equal("film");
                assert!(!watch.saw_a_wrong_object());
                if link == Link::Plain && encryption == Encryption::Aes256 {
                    // Nothing would notice a loser that arrives late and replaces the winner's part.
                    assert_eq!(ran.counted.hedges, 0, "{what}");
                    continue;
                }
                assert_eq!((ran.counted.hedges, ran.counted.retries), (1, 0), "{what}: {ran:?}");
                assert!(ran.counted.bytes_hedged <= 2 * PART, "{what}: {ran:?}");
                assert_eq!((ran.counted.parts, ran.counted.bytes_up), (5, 5 * PART), "{what}: a twin is not counted");
                let sent = requests(&world.there, "UploadPart", "film");
                assert_eq!(sent.iter().filter(|entry| entry.call.part_number == Some(3)).count(), 2, "{what}");
                assert_eq!(sent.len(), 6, "{what}");
            }
        }
    });
}

#[test]
fn without_hedging_a_straggler_is_sent_once() {
    over(WITHOUT_SOCKETS, |link| async move {
        let mut world = world(link, Encryption::Aes256).await;
        world.route.options.part_size = Some(PART);
        Made::Whole.put(&world, "film", &bytes(1, 5 * PART));
        world.there.faults().add(Rule::on("UploadPart").part(3).fails(Fault::Delay { ms: 20_000 }));
        let clients = with_engine(&world, Engine::new(16, 64 * MIB).without_hedging());
        let ran = run_with(&world, &clients, &["film"]).await;
        ran.assert_arrived(1, &format!("{link:?}"));
        world.assert_equal("film");
        assert_eq!((ran.counted.hedges, ran.counted.bytes_hedged, ran.counted.retries), (0, 0, 0));
        assert_eq!(requests(&world.there, "UploadPart", "film").len(), 5);
    });
}

/// Half of the parts come to a halt after 4 MiB: what is read a second time stays within a quarter of the whole.
#[test]
fn what_hedging_costs_is_bounded() {
    over(WITHOUT_SOCKETS, |link| async move {
        let mut world = world(link, Encryption::Aes256).await;
        world.route.options.part_size = Some(PART);
        Made::Parts(PART).put(&world, "film", &bytes(1, 12 * PART));
        let halt = Fault::StallBody { after: 4 * MIB, for_ms: 20_000 };
        world.here.faults().add(Rule::on("GetObject").every(2).times(6).fails(halt));
        let ran = run(&world, &["film"]).await;
        ran.assert_arrived(1, &format!("{link:?}"));
        world.assert_equal("film");
        let counted = ran.counted;
        assert!((1..=3).contains(&counted.hedges), "{link:?}: {counted:?}");
        assert!(counted.bytes_hedged > 0 && counted.bytes_hedged <= 3 * PART, "{link:?}: {counted:?}");
        assert_eq!(counted.bytes_down, 12 * PART + counted.bytes_hedged, "{link:?}");
        assert_eq!(requests(&world.there, "UploadPart", "film").len() as u64, 12 + counted.hedges, "{link:?}");
        assert_eq!((counted.retries, counted.resumed, counted.parts), (0, 0, 12), "{link:?}");
    });
}
