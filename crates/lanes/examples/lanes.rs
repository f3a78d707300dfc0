//! Prints what an MD5 costs through the hasher, in CPU seconds per GiB, by streams and frame length.
//!
//! `cargo run --release -p longhaul-lanes --example lanes`
#![allow(clippy::print_stdout)]

use std::time::Instant;

use longhaul_lanes::{Hasher, LaneWidth, Options};

const TOTAL: usize = 128 << 20;

fn main() {
    let frame: Vec<u8> = (0..256 << 10).map(|at: u32| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    for width in [LaneWidth::Auto, LaneWidth::Bits256, LaneWidth::Bits128] {
        println!("{width:?}: CPU-s per GiB (filled lanes a round) with frames of 16, 64 and 256 KiB");
        for streams in [1, 2, 4, 8, 12, 15, 16, 32, 128] {
            let mut line = format!("{streams:4} streams");
            for length in [16 << 10, 64 << 10, 256 << 10] {
                let (cost, fill) = measure(width, streams, &frame[..length]);
                line += &format!("   {cost:.3} ({fill:4.1})");
            }
            println!("{line}");
        }
    }
}

/// The best of three: other work on the machine only ever adds.
fn measure(width: LaneWidth, streams: usize, frame: &[u8]) -> (f64, f64) {
    let mut best = f64::INFINITY;
    let mut fill = 0.0;
    for _ in 0..3 {
        let blocks = if streams > 16 { 384 } else { 128 };
        let hasher = Hasher::new(Options { width, blocks, ..Options::default() });
        let mut open: Vec<_> = (0..streams).map(|_| hasher.stream()).collect();
        let before = cpu_seconds();
        let turns = TOTAL / frame.len() / streams;
        for _ in 0..turns {
            for stream in &mut open {
                stream.update(frame);
            }
        }
        for stream in open {
            std::hint::black_box(stream.finish());
        }
        let bytes = (turns * streams * frame.len()) as f64;
        best = best.min((cpu_seconds() - before) / bytes * (1u64 << 30) as f64);
        let stats = hasher.stats();
        fill = stats.lanes as f64 / stats.rounds.max(1) as f64;
    }
    (best, fill)
}

/// This thread's CPU time where the system tells it to the nanosecond, else the time of day.
fn cpu_seconds() -> f64 {
    use std::sync::OnceLock;
    static START: OnceLock<Instant> = OnceLock::new();
    let nanoseconds = std::fs::read_to_string("/proc/thread-self/schedstat")
        .ok()
        .and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
    nanoseconds.map_or_else(|| START.get_or_init(Instant::now).elapsed().as_secs_f64(), |spent| spent / 1e9)
}
