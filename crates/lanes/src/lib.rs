//! The MD5 of many streams at once, each in a lane of the processor's vectors.
//!
//! One MD5 cannot be made parallel, but sixteen of them take hardly longer than one. [`Hasher`] gathers the bytes
//! of many streams in a pool of blocks, and hashes one block of each stream side by side as soon as the lanes are
//! well filled.
//!
//! Architecture invariant: nothing here starts a thread, reads a clock or depends on an async runtime. The work is
//! done by whoever calls, so it runs the same in a simulation.

mod lanes;
mod pool;
mod row;
mod service;

pub use lanes::{LaneWidth, MAX_LANES};
pub use service::{Hasher, Md5Stream, Options, Stats};
