//! Streams through the hasher have the digests that they have alone.
#![allow(clippy::unwrap_used)]

use std::collections::VecDeque;

use longhaul_lanes::{Hasher, LaneWidth, Md5Stream, Options};
use md5::{Digest, Md5};
use proptest::prelude::*;

fn expected(bytes: &[u8]) -> [u8; 16] {
    Md5::digest(bytes).into()
}

fn body(length: usize, seed: u32) -> Vec<u8> {
    (0..length as u32).map(|at| ((at ^ seed).wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}

fn width() -> impl Strategy<Value = LaneWidth> {
    prop_oneof![Just(LaneWidth::Auto), Just(LaneWidth::Bits256), Just(LaneWidth::Bits128)]
}

prop_compose! {
    fn options()(block in 1usize..700, blocks in 0usize..60, fill in 0usize..20, width in width()) -> Options {
        Options { block, blocks, fill, width }
    }
}

/// A stream of the plan: its body, the lengths it is fed in, and whether it is dropped after so many of them.
#[derive(Debug, Clone)]
struct Plan {
    body: Vec<u8>,
    splits: Vec<usize>,
    dropped_after: Option<usize>,
}

prop_compose! {
    fn plan()(
        length in prop_oneof![0usize..200, 0usize..9000],
        seed in any::<u32>(),
        splits in prop::collection::vec(prop_oneof![0usize..130, 0usize..3000], 1..12),
        dropped_after in prop::option::weighted(0.2, 0usize..6),
    ) -> Plan {
        Plan { body: body(length, seed), splits, dropped_after }
    }
}

/// A plan under way.
struct Feed<'a> {
    plan: &'a Plan,
    stream: Option<Md5Stream>,
    rest: &'a [u8],
    turn: usize,
}

impl<'a> Feed<'a> {
    fn new(hasher: &Hasher, plan: &'a Plan) -> Self {
        Self { plan, stream: Some(hasher.stream()), rest: &plan.body, turn: 0 }
    }

    /// Feeds the next piece; false when the stream has ended.
    fn step(&mut self) -> bool {
        if self.plan.dropped_after == Some(self.turn) {
            self.stream = None;
            return false;
        }
        if self.rest.is_empty() && self.turn > 0 {
            assert_eq!(self.stream.take().unwrap().finish(), expected(&self.plan.body));
            return false;
        }
        let length = self.plan.splits[self.turn % self.plan.splits.len()].max(self.turn / 50);
        let (now, later) = self.rest.split_at(length.min(self.rest.len()));
        self.stream.as_mut().unwrap().update(now);
        self.rest = later;
        self.turn += 1;
        true
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(120))]

    #[test]
    fn any_interleaving_of_streams(
        options in options(),
        plans in prop::collection::vec(plan(), 1..40),
        order in prop::collection::vec(any::<prop::sample::Index>(), 1..200),
        opened in 1usize..40,
    ) {
        let hasher = Hasher::new(options);
        let mut later: VecDeque<&Plan> = plans.iter().collect();
        let mut feeds: Vec<Feed<'_>> = Vec::new();
        let mut order = order.iter().cycle();
        loop {
            while feeds.len() < opened && let Some(plan) = later.pop_front() {
                feeds.push(Feed::new(&hasher, plan));
            }
            if feeds.is_empty() {
                break;
            }
            let at = order.next().unwrap().index(feeds.len());
            if !feeds[at].step() {
                feeds.swap_remove(at);
            }
            prop_assert!(hasher.stats().allocated <= options.blocks.max(1) + opened);
        }
        prop_assert_eq!(hasher.stats().allocated, 0, "an idle hasher holds no block");
    }

    #[test]
    fn any_streams_on_several_threads(
        options in options(),
        threads in prop::collection::vec(prop::collection::vec(plan(), 1..12), 2..5),
    ) {
        let hasher = Hasher::new(options);
        std::thread::scope(|scope| {
            for plans in &threads {
                let hasher = hasher.clone();
                scope.spawn(move || {
                    let mut feeds: Vec<_> = plans.iter().map(|plan| Feed::new(&hasher, plan)).collect();
                    while !feeds.is_empty() {
                        feeds.retain_mut(Feed::step);
                    }
                });
            }
        });
        prop_assert_eq!(hasher.stats().allocated, 0);
    }
}

#[test]
fn lengths_around_the_edges() {
    const BLOCK: usize = 16 * 1024;
    let lengths = [0, 1, 55, 56, 57, 63, 64, 65, 119, 120, 127, 128].into_iter().chain(
        [BLOCK, 2 * BLOCK].into_iter().flat_map(|edge| [edge - 65, edge - 9, edge - 1, edge, edge + 1, edge + 56]),
    );
    for width in [LaneWidth::Auto, LaneWidth::Bits256, LaneWidth::Bits128] {
        let hasher = Hasher::new(Options { width, ..Options::default() });
        for length in lengths.clone() {
            let body = body(length, 7);
            let mut only = hasher.stream();
            only.update(&body);
            assert_eq!(only.finish(), expected(&body), "{length} bytes alone");
            let mut several: Vec<_> = (0..3).map(|_| hasher.stream()).collect();
            several.iter_mut().for_each(|stream| stream.update(&body));
            for stream in several {
                assert_eq!(stream.finish(), expected(&body), "{length} bytes in company");
            }
        }
    }
}

#[test]
fn a_stream_that_comes_to_be_alone_goes_on_alone() {
    let hasher = Hasher::new(Options { block: 256, ..Options::default() });
    let body = body(10_000, 3);
    let mut stream = hasher.stream();
    stream.update(&body[..100]);
    let other = hasher.stream();
    stream.update(&body[100..3000]);
    drop(other);
    stream.update(&body[3000..3010]);
    stream.update(&body[3010..]);
    assert_eq!(stream.finish(), expected(&body));
    assert!(hasher.stats().alone_bytes > 6000);
}

#[test]
fn finish_and_drop_never_hang_on_a_tiny_pool() {
    let bodies: Vec<Vec<u8>> = (0..24).map(|seed| body(40_000 + seed as usize * 13, seed)).collect();
    for blocks in [1, 2, 5] {
        let hasher = Hasher::new(Options { block: 64, blocks, fill: 16, width: LaneWidth::Auto });
        std::thread::scope(|scope| {
            for thread in 0..8 {
                let (hasher, bodies) = (hasher.clone(), &bodies);
                scope.spawn(move || {
                    let mine: Vec<_> = bodies.iter().skip(thread).step_by(8).collect();
                    let mut streams: Vec<_> = mine.iter().map(|_| hasher.stream()).collect();
                    let mut given_up = hasher.stream();
                    for at in 0..41 {
                        given_up.update(&bodies[0][..500]);
                        for (stream, body) in streams.iter_mut().zip(&mine) {
                            stream.update(&body[(at * 1000).min(body.len())..((at + 1) * 1000).min(body.len())]);
                        }
                    }
                    drop(given_up);
                    for (stream, body) in streams.into_iter().zip(mine) {
                        assert_eq!(stream.finish(), expected(body));
                    }
                });
            }
        });
        assert_eq!(hasher.stats().allocated, 0);
    }
}

#[test]
fn sixteen_streams_in_turn_fill_the_lanes() {
    let hasher = Hasher::new(Options { block: 1024, ..Options::default() });
    let mut streams: Vec<_> = (0..16).map(|_| hasher.stream()).collect();
    let frame = body(4096, 1);
    for _ in 0..20 {
        streams.iter_mut().for_each(|stream| stream.update(&frame));
    }
    let stats = hasher.stats();
    assert!(stats.lanes >= stats.rounds * 12 && stats.rounds > 0, "{stats:?}");
    assert_eq!(stats.alone_bytes, 0);
    let whole = frame.repeat(20);
    for stream in streams {
        assert_eq!(stream.finish(), expected(&whole));
    }
}

#[test]
fn a_fast_stream_among_idle_ones_leaves_room() {
    let options = Options { block: 64, blocks: 64, ..Options::default() };
    let hasher = Hasher::new(options);
    let idle: Vec<_> = (0..31).map(|_| hasher.stream()).collect();
    let mut fast = hasher.stream();
    let bytes = body(100_000, 9);
    bytes.chunks(999).for_each(|piece| fast.update(piece));
    // Half the pool, its share beyond that at most, and the block it is filling.
    assert!(hasher.stats().allocated <= 32 + 8 + 1, "{:?}", hasher.stats());
    assert_eq!(fast.finish(), expected(&bytes));
    drop(idle);
}
