//! Moves bytes: what is in flight at once, and how one part gets from GET to `UploadPart`.
//!
//! A part is a GET range streamed into an upload: what it takes is a few hundred KiB, whatever its size.

mod measure;
mod part;
mod parts;
mod stream;
mod whole;

pub use part::BUFFER_MAX;
pub(crate) use part::{Copying, count_fault, tries};
pub(crate) use parts::{Copied, copy_all};
pub(crate) use stream::Span;
pub(crate) use whole::{collect, stream_whole};

use crate::error::StepError;
use longhaul_core::pace::Pace;
use longhaul_lanes::{Hasher, LaneWidth};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant;

/// A body that brings no byte for so long counts as lost.
pub const PROGRESS_TIMEOUT: Duration = Duration::from_secs(30);
/// Transfers at once in the beginning, where that many are allowed and nothing else is said. Forty functions may share
/// one link: what they begin together must end in their time even where each gets 3 Mbit/s.
const WIDTH_AT_FIRST: usize = 32;
/// Memory that a streamed part takes, in bytes: buffers of two connections, blocks that wait to be hashed.
pub const STREAM_MEMORY: u64 = 768 * 1024;

/// What may be in flight in this process at once, and what moves it.
#[derive(Debug)]
pub struct Engine {
    slots: Semaphore,
    memory: Semaphore,
    memory_kib: u32,
    most: usize,
    pace: Mutex<Paced>,
    moved: Arc<AtomicU64>,
    begun: Instant,
    first: usize,
    hedging: bool,
    hasher: Hasher,
}

#[derive(Debug)]
struct Paced {
    pace: Pace,
    /// Permits that exist, free or not: more than the width while it shrinks.
    permits: usize,
}

/// The right to move some bytes; given back when dropped.
#[derive(Debug)]
pub struct Permit<'a> {
    engine: &'a Engine,
    slot: Option<SemaphorePermit<'a>>,
    memory: SemaphorePermit<'a>,
}

impl Permit<'_> {
    /// Gives back the memory beyond `bytes`.
    pub(crate) fn shrink_to(&mut self, bytes: u64) {
        let kib = usize::try_from(bytes.div_ceil(1024)).unwrap_or(usize::MAX);
        if let Some(more) = self.memory.num_permits().checked_sub(kib) {
            drop(self.memory.split(more));
        }
    }
}

impl Engine {
    /// At most `in_flight` transfers and about `memory` bytes of bodies at once. How many there are within that is
    /// found from what arrives.
    pub fn new(in_flight: usize, memory: u64) -> Self {
        let most = in_flight.clamp(1, Semaphore::MAX_PERMITS);
        let memory_kib = u32::try_from(memory / 1024).unwrap_or(u32::MAX).clamp(1, 1 << 28);
        let pace = Pace::new(WIDTH_AT_FIRST, most);
        let permits = pace.width();
        Self {
            slots: Semaphore::new(permits),
            memory: Semaphore::new(memory_kib as usize),
            memory_kib,
            most,
            pace: Mutex::new(Paced { pace, permits }),
            moved: Arc::default(),
            begun: Instant::now(),
            first: WIDTH_AT_FIRST.min(most),
            hedging: true,
            hasher: hasher(most, LaneWidth::Auto),
        }
    }

    /// Begins with `first` transfers at once, where that many are allowed: for a process that has the link to itself.
    #[must_use]
    pub fn beginning_with(self, first: usize) -> Self {
        let pace = Pace::new(first, self.most);
        let first = pace.width();
        Self { slots: Semaphore::new(first), pace: Mutex::new(Paced { pace, permits: first }), first, ..self }
    }

    /// Sends no part twice, however slow it is.
    #[must_use]
    pub fn without_hedging(self) -> Self {
        Self { hedging: false, ..self }
    }

    /// Hashes in lanes of this width, to measure what another processor would do.
    #[must_use]
    pub fn with_lanes(self, width: LaneWidth) -> Self {
        let hasher = hasher(self.most, width);
        Self { hasher, ..self }
    }

    /// Most transfers at once.
    pub fn in_flight(&self) -> usize {
        self.most
    }

    /// Waits for a place for a transfer that holds `bytes` in memory. One that is larger than all there is waits for
    /// all of it.
    pub async fn admit(&self, bytes: u64) -> Result<Permit<'_>, StepError> {
        let closed = |_| StepError::bug("the engine was closed");
        let kib = u32::try_from(bytes.div_ceil(1024)).unwrap_or(u32::MAX).clamp(1, self.memory_kib);
        let slot = self.slots.acquire().await.map_err(closed)?;
        let memory = self.memory.acquire_many(kib).await.map_err(closed)?;
        self.look();
        Ok(Permit { engine: self, slot: Some(slot), memory })
    }

    /// Waits for the memory of a part that is sent once more. It takes no place: there are at most two of them for each
    /// that does.
    async fn admit_twin(&self, bytes: u64) -> Result<Permit<'_>, StepError> {
        let kib = u32::try_from(bytes.div_ceil(1024)).unwrap_or(u32::MAX).clamp(1, self.memory_kib);
        let closed = |_| StepError::bug("the engine was closed");
        let memory = self.memory.acquire_many(kib).await.map_err(closed)?;
        Ok(Permit { engine: self, slot: None, memory })
    }

    /// Looks at the rate, and sets the number of transfers at once by it.
    pub(crate) fn look(&self) {
        let full = self.slots.available_permits() == 0;
        let moved = self.moved.load(Ordering::Relaxed);
        self.steer(|pace, now_ms| pace.look(now_ms, moved, full));
    }

    /// True if more transfers at once lately brought more bytes.
    fn pays(&self) -> bool {
        self.pace.lock().unwrap_or_else(PoisonError::into_inner).pace.pays()
    }

    /// A transfer ended well.
    pub(crate) fn ended(&self) {
        self.steer(|pace, _| pace.ended());
    }

    /// A service asked for less, or a connection was lost or stood still.
    pub(crate) fn slowed(&self) {
        self.steer(|pace, now_ms| pace.slowed(now_ms));
    }

    fn steer(&self, turn: impl FnOnce(&mut Pace, u64)) {
        let now_ms = u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        let mut paced = self.pace.lock().unwrap_or_else(PoisonError::into_inner);
        turn(&mut paced.pace, now_ms);
        let width = paced.pace.width();
        if width > paced.permits {
            self.slots.add_permits(width - paced.permits);
            paced.permits = width;
        } else {
            // Those in use go when they are given back.
            paced.permits -= self.slots.forget_permits(paced.permits - width);
        }
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        let mut paced = self.engine.pace.lock().unwrap_or_else(PoisonError::into_inner);
        if paced.permits > paced.pace.width()
            && let Some(slot) = self.slot.take()
        {
            slot.forget();
            paced.permits -= 1;
        }
    }
}

fn hasher(most: usize, width: LaneWidth) -> Hasher {
    Hasher::new(longhaul_lanes::Options { blocks: (most * 16).clamp(64, 512), width, ..Default::default() })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn permits_follow_the_width() {
        let engine = Engine::new(64, 1 << 30);
        let mut permits = Vec::new();
        for _ in 0..WIDTH_AT_FIRST {
            permits.push(engine.admit(1).await.unwrap());
        }
        assert_eq!(engine.slots.available_permits(), 0);
        engine.slowed();
        let width = engine.pace.lock().unwrap().pace.width();
        assert!(width < WIDTH_AT_FIRST);
        permits.truncate(width);
        assert_eq!(engine.slots.available_permits(), 0, "those given back are gone");
        permits.pop();
        assert_eq!(engine.slots.available_permits(), 1);
        drop(permits);
        assert_eq!(engine.slots.available_permits(), width);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_larger_than_memory_waits_for_all_of_it() {
        let engine = Engine::new(4, 1 << 20);
        let all = engine.admit(1 << 30).await.unwrap();
        assert!(tokio::time::timeout(Duration::from_secs(1), engine.admit(1)).await.is_err());
        drop(all);
        assert!(engine.admit(1).await.is_ok());
    }
}
