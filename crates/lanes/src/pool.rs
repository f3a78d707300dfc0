//! What the streams of one hasher share: the blocks that wait, whose turn it is, and the states between rounds.
//!
//! Everything here happens under the hasher's lock and is short. The hashing itself happens between [`Pool::take`]
//! and [`Pool::give_back`], outside of it.

use std::collections::VecDeque;

use crate::lanes::{MAX_LANES, START, State};

/// Bytes of one stream, at most a block of them.
pub(crate) type Block = Vec<u8>;

/// A stream's place in the pool.
#[derive(Debug, Default)]
struct Slot {
    state: State,
    /// Whole units, oldest first.
    queued: VecDeque<Block>,
    /// A round has a block of it, so its next block must wait for the state.
    busy: bool,
    /// Its stream was dropped while busy: the round's end vacates it.
    gone: bool,
}

/// One block each of several streams, out of the pool to be hashed.
#[derive(Debug)]
pub(crate) struct Round {
    pub(crate) slots: Vec<usize>,
    pub(crate) states: Vec<State>,
    pub(crate) blocks: Vec<Block>,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Pool {
    block: usize,
    limit: usize,
    slots: Vec<Slot>,
    vacant: Vec<usize>,
    free: Vec<Block>,
    /// Streams with a queued block that no round has, in the order in which they came to it.
    ready: VecDeque<usize>,
    /// Streams that live.
    pub(crate) live: usize,
    /// Blocks queued or in a round.
    used: usize,
    /// Blocks that exist.
    pub(crate) allocated: usize,
    /// Callers asleep until a round ends.
    pub(crate) waiting: usize,
    pub(crate) rounds: u64,
    pub(crate) lanes: u64,
    pub(crate) alone: u64,
}

impl Pool {
    /// `block` in bytes, `limit` in blocks.
    pub(crate) fn new(block: usize, limit: usize) -> Self {
        Self {
            block,
            limit,
            slots: Vec::new(),
            vacant: Vec::new(),
            free: Vec::new(),
            ready: VecDeque::new(),
            live: 0,
            used: 0,
            allocated: 0,
            waiting: 0,
            rounds: 0,
            lanes: 0,
            alone: 0,
        }
    }

    pub(crate) fn open(&mut self) -> usize {
        self.live += 1;
        let slot = self.vacant.pop().unwrap_or_else(|| {
            self.slots.push(Slot::default());
            self.slots.len() - 1
        });
        self.slots[slot].state = START;
        slot
    }

    /// Ends a stream. What it has queued is dropped.
    pub(crate) fn close(&mut self, slot: usize, building: Option<Block>) {
        self.live -= 1;
        let queued = std::mem::take(&mut self.slots[slot].queued);
        if !queued.is_empty() {
            self.used -= queued.len();
            self.ready.retain(|ready| *ready != slot);
        }
        queued.into_iter().chain(building).for_each(|block| self.spare(block));
        if self.slots[slot].busy {
            self.slots[slot].gone = true;
        } else {
            self.vacant.push(slot);
        }
        if self.live == 0 {
            self.allocated -= self.free.len();
            self.free = Vec::new();
        }
    }

    /// An empty block. Only as many exist as the limit and the streams' blocks under construction need.
    pub(crate) fn fresh(&mut self) -> Block {
        self.free.pop().unwrap_or_else(|| {
            self.allocated += 1;
            Vec::with_capacity(self.block)
        })
    }

    fn spare(&mut self, mut block: Block) {
        if self.live == 0 || self.allocated > self.limit + self.live {
            self.allocated -= 1;
        } else {
            block.clear();
            self.free.push(block);
        }
    }

    pub(crate) fn queue(&mut self, slot: usize, block: Block) {
        self.used += 1;
        let stream = &mut self.slots[slot];
        if stream.queued.is_empty() && !stream.busy {
            self.ready.push_back(slot);
        }
        stream.queued.push_back(block);
    }

    /// Whether `slot` may queue another block. A stream in a burst may use half the pool, and beyond that only its
    /// share: the rest is for the streams that would fill the other lanes.
    pub(crate) fn has_room(&self, slot: usize) -> bool {
        let share = 2 * self.limit / self.live.max(1) + 4;
        self.used < self.limit && (!self.half_used() || self.slots[slot].queued.len() < share)
    }

    /// Whether a round is worth its while: with all lanes filled, or a block of every stream there is, or with `fill`
    /// lanes as soon as half the pool is used.
    pub(crate) fn worth_it(&self, fill: usize) -> bool {
        let enough = if self.half_used() { fill } else { MAX_LANES };
        self.ready.len() >= enough.min(self.live)
    }

    fn half_used(&self) -> bool {
        self.used * 2 >= self.limit
    }

    pub(crate) fn anything_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// Whether every byte that `slot` queued is in its state.
    pub(crate) fn settled(&self, slot: usize) -> bool {
        !self.slots[slot].busy && self.slots[slot].queued.is_empty()
    }

    pub(crate) fn busy(&self, slot: usize) -> bool {
        self.slots[slot].busy
    }

    pub(crate) fn state(&self, slot: usize) -> State {
        self.slots[slot].state
    }

    /// Of a settled stream only, by the stream itself.
    pub(crate) fn set_state(&mut self, slot: usize, state: State) {
        self.slots[slot].state = state;
    }

    /// Takes a block each of up to [`MAX_LANES`] streams: of `first`, if it is ready, then of those ready longest.
    pub(crate) fn take(&mut self, first: Option<usize>) -> Round {
        if let Some(at) = first.and_then(|first| self.ready.iter().position(|ready| *ready == first)) {
            self.ready.swap(0, at);
        }
        let lanes = self.ready.len().min(MAX_LANES);
        let slots: Vec<usize> = self.ready.drain(..lanes).collect();
        let mut round = Round { slots, states: Vec::with_capacity(lanes), blocks: Vec::with_capacity(lanes) };
        for slot in &round.slots {
            let stream = &mut self.slots[*slot];
            stream.busy = true;
            round.states.push(stream.state);
            round.blocks.extend(stream.queued.pop_front());
        }
        self.rounds += 1;
        self.lanes += lanes as u64;
        round
    }

    pub(crate) fn give_back(&mut self, round: Round) {
        for (slot, state) in round.slots.into_iter().zip(round.states) {
            let stream = &mut self.slots[slot];
            stream.busy = false;
            stream.state = state;
            if stream.gone {
                stream.gone = false;
                self.vacant.push(slot);
            } else if !stream.queued.is_empty() {
                self.ready.push_back(slot);
            }
        }
        self.used -= round.blocks.len();
        for block in round.blocks {
            self.spare(block);
        }
    }
}
