//! [`Hasher`] and [`Md5Stream`]: who hashes what, and when.
//!
//! A stream copies its bytes into blocks and queues the full ones. The call that makes a round worth its while hashes
//! it there and then, outside the lock, while other callers queue on or hash other streams. A block in a round keeps
//! its stream out of all others, so the order within a stream stands.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use crate::lanes::{Kernel, LaneWidth, MAX_LANES, State, digest};
use crate::pool::{Block, Pool};
use crate::row::UNIT;

/// How a [`Hasher`] is laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Bytes in a block, rounded up to a multiple of 64. 16 KiB by default.
    pub block: usize,
    /// The most blocks that wait or are being hashed; each stream has one more, which it is filling. 256 by default.
    /// Six a stream are good for frames of 64 KiB, more for longer ones.
    pub blocks: usize,
    /// The lanes that make a round worth its while once half the blocks are used; before that, all of them do.
    /// Between 1 and [`MAX_LANES`], 12 by default.
    pub fill: usize,
    /// The vectors to use.
    pub width: LaneWidth,
}

impl Default for Options {
    fn default() -> Self {
        Self { block: 16 * 1024, blocks: 256, fill: 12, width: LaneWidth::Auto }
    }
}

/// What a [`Hasher`] has done so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stats {
    /// Rounds over queued blocks.
    pub rounds: u64,
    /// Lanes that these had filled, in sum.
    pub lanes: u64,
    /// Bytes hashed in one lane without a round: of a stream that was the only one, or found no room to queue.
    pub alone_bytes: u64,
    /// Blocks that exist now, waiting, being filled or spare.
    pub allocated: usize,
}

#[derive(Debug)]
struct Shared {
    kernel: Kernel,
    block: usize,
    fill: usize,
    pool: Mutex<Pool>,
    /// [`Pool::live`], to be read without the lock.
    live: AtomicUsize,
    round_ended: Condvar,
}

/// Hashes many streams side by side. Clones share the pool.
#[derive(Debug, Clone)]
pub struct Hasher {
    shared: Arc<Shared>,
}

/// The MD5 of one stream of bytes. Dropped without [`Md5Stream::finish`], it gives its blocks back.
#[derive(Debug)]
pub struct Md5Stream {
    shared: Arc<Shared>,
    slot: usize,
    /// The block under construction.
    block: Option<Block>,
    length: u64,
}

impl Hasher {
    /// A hasher that holds no memory to speak of until the first stream has bytes. Values out of bounds are brought
    /// to the nearest one within.
    pub fn new(options: Options) -> Self {
        let block = options.block.max(1).next_multiple_of(UNIT);
        Self {
            shared: Arc::new(Shared {
                kernel: Kernel::choose(options.width),
                block,
                fill: options.fill.clamp(1, MAX_LANES),
                pool: Mutex::new(Pool::new(block, options.blocks.max(1))),
                live: AtomicUsize::new(0),
                round_ended: Condvar::new(),
            }),
        }
    }

    /// A new stream, at its first byte.
    pub fn stream(&self) -> Md5Stream {
        let mut pool = self.shared.lock();
        let slot = pool.open();
        self.shared.live.store(pool.live, Ordering::Relaxed);
        drop(pool);
        Md5Stream { shared: self.shared.clone(), slot, block: None, length: 0 }
    }

    /// The work done so far.
    pub fn stats(&self) -> Stats {
        let pool = self.shared.lock();
        Stats { rounds: pool.rounds, lanes: pool.lanes, alone_bytes: pool.alone, allocated: pool.allocated }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Pool> {
        self.pool.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hashes one block of each stream that is ready, `first` among them, outside the lock.
    fn round<'a>(&'a self, mut pool: MutexGuard<'a, Pool>, first: Option<usize>) -> MutexGuard<'a, Pool> {
        let mut round = pool.take(first);
        drop(pool);
        let mut runs: [&[u8]; MAX_LANES] = [&[]; MAX_LANES];
        for (run, block) in runs.iter_mut().zip(&round.blocks) {
            *run = block;
        }
        self.kernel.compress(&mut round.states, &runs[..round.blocks.len()]);
        let mut pool = self.lock();
        pool.give_back(round);
        self.wake(&pool);
        pool
    }

    fn wake(&self, pool: &Pool) {
        if pool.waiting > 0 {
            self.round_ended.notify_all();
        }
    }

    /// Sleeps until a round of another thread ends. Only for a caller who saw one under way.
    fn wait<'a>(&'a self, mut pool: MutexGuard<'a, Pool>) -> MutexGuard<'a, Pool> {
        pool.waiting += 1;
        let mut pool = self.round_ended.wait(pool).unwrap_or_else(PoisonError::into_inner);
        pool.waiting -= 1;
        pool
    }

    /// Brings all that `slot` has queued into its state, with whatever else is ready in the other lanes.
    fn settle<'a>(&'a self, mut pool: MutexGuard<'a, Pool>, slot: usize) -> MutexGuard<'a, Pool> {
        while !pool.settled(slot) {
            pool = if pool.busy(slot) { self.wait(pool) } else { self.round(pool, Some(slot)) };
        }
        pool
    }

    fn one_lane(&self, state: &mut State, run: &[u8]) {
        self.kernel.compress(std::slice::from_mut(state), &[run]);
    }
}

impl Md5Stream {
    /// Takes the next bytes, in pieces of any length. Hashes a round now and then, of this stream or of others, and
    /// may wait for a round of another thread: each takes a fraction of a millisecond.
    pub fn update(&mut self, mut bytes: &[u8]) {
        self.length = self.length.wrapping_add(bytes.len() as u64);
        while !bytes.is_empty() {
            // Nobody to share a round with: hashing in place spares the copy.
            if bytes.len() >= UNIT && self.shared.live.load(Ordering::Relaxed) == 1 {
                return self.alone(bytes);
            }
            let room = self.shared.block;
            let block = match &mut self.block {
                Some(block) => block,
                none => none.insert(self.shared.lock().fresh()),
            };
            let (now, later) = bytes.split_at(bytes.len().min(room - block.len()));
            block.extend_from_slice(now);
            bytes = later;
            if block.len() == room {
                self.queue();
            }
        }
    }

    /// The digest of all bytes taken. Returns after a bounded number of rounds.
    pub fn finish(mut self) -> [u8; 16] {
        let mut rest = [0; 2 * UNIT];
        let mut tail = 0;
        let mut pool = self.shared.lock();
        if let Some(mut block) = self.block.take() {
            let (whole, part) = block.split_at(block.len() / UNIT * UNIT);
            tail = part.len();
            rest[..tail].copy_from_slice(part);
            block.truncate(whole.len());
            // No matter if the pool is full: the block exists already, and a stream that ends must not wait for room.
            if block.is_empty() {
                self.block = Some(block);
            } else {
                pool.queue(self.slot, block);
            }
        }
        let pool = self.shared.settle(pool, self.slot);
        let mut state = pool.state(self.slot);
        drop(pool);

        rest[tail] = 0x80;
        let end = if tail < UNIT - 8 { UNIT } else { 2 * UNIT };
        rest[end - 8..end].copy_from_slice(&self.length.wrapping_mul(8).to_le_bytes());
        self.shared.one_lane(&mut state, &rest[..end]);
        digest(state)
    }

    /// Queues the full block, with a round where one is due.
    fn queue(&mut self) {
        let Some(mut block) = self.block.take() else { return };
        let shared = &*self.shared;
        let mut pool = shared.lock();
        while !pool.has_room(self.slot) {
            if pool.anything_ready() {
                pool = shared.round(pool, None);
            } else if pool.settled(self.slot) {
                // The pool is full of blocks that other threads are at.
                let mut state = pool.state(self.slot);
                pool.alone += block.len() as u64;
                drop(pool);
                shared.one_lane(&mut state, &block);
                shared.lock().set_state(self.slot, state);
                block.clear();
                self.block = Some(block);
                return;
            } else {
                pool = shared.wait(pool);
            }
        }
        pool.queue(self.slot, block);
        if pool.worth_it(shared.fill) {
            pool = shared.round(pool, None);
        }
        self.block = Some(pool.fresh());
    }

    /// Hashes what there is in one lane, up to the last whole unit.
    fn alone(&mut self, mut bytes: &[u8]) {
        let shared = &*self.shared;
        let mut pool = shared.settle(shared.lock(), self.slot);
        // Settled, only this call can change the state.
        let mut state = pool.state(self.slot);
        let mut block = self.block.take().unwrap_or_else(|| pool.fresh());
        drop(pool);
        let whole = block.len().next_multiple_of(UNIT);
        let (head, rest) = bytes.split_at(whole - block.len());
        block.extend_from_slice(head);
        shared.one_lane(&mut state, &block);
        bytes = rest;
        let (units, rest) = bytes.split_at(bytes.len() / UNIT * UNIT);
        shared.one_lane(&mut state, units);
        block.clear();
        block.extend_from_slice(rest);
        self.block = Some(block);
        let mut pool = shared.lock();
        pool.set_state(self.slot, state);
        pool.alone += (whole + units.len()) as u64;
    }
}

impl Drop for Md5Stream {
    fn drop(&mut self) {
        let mut pool = self.shared.lock();
        pool.close(self.slot, self.block.take());
        self.shared.live.store(pool.live, Ordering::Relaxed);
        // The blocks given back are room that somebody may wait for.
        self.shared.wake(&pool);
    }
}
