//! The bytes of every object, and their digests.

use bytes::Bytes;
use crc_fast::CrcAlgorithm;
use md5::{Digest as _, Md5};
use std::collections::HashMap;
use std::sync::Mutex;

/// Length of the pattern. Objects are cut from its endless repetition.
pub(crate) const PERIOD: usize = 64 << 20;
/// Objects and parts that begin at a multiple of this are recognised by their first bytes.
pub(crate) const ALIGN: usize = 4096;
/// So many first bytes tell where in the pattern a body begins.
pub(crate) const MARK: usize = 16;

/// What is known of a run of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Digests {
    pub(crate) md5: [u8; 16],
    pub(crate) crc64: u64,
}

/// Takes bytes, gives both digests.
pub(crate) struct Hashing {
    md5: Md5,
    crc64: crc_fast::Digest,
}

impl Hashing {
    pub(crate) fn new() -> Self {
        Self { md5: Md5::new(), crc64: crc_fast::Digest::new(CrcAlgorithm::Crc64Nvme) }
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.md5.update(bytes);
        self.crc64.update(bytes);
    }

    pub(crate) fn finish(self) -> Digests {
        Digests { md5: self.md5.finalize().into(), crc64: self.crc64.finalize() }
    }
}

/// Pseudo-random bytes, kept once. What is asked about them is computed once.
pub(crate) struct Pattern {
    bytes: Bytes,
    marks: HashMap<[u8; MARK], u32>,
    known: Mutex<HashMap<(usize, u64), Digests>>,
}

impl Pattern {
    pub(crate) fn new() -> Self {
        let mut bytes = vec![0u8; PERIOD];
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        for word in bytes.as_chunks_mut::<8>().0 {
            // xorshift64*
            state ^= state >> 12;
            state ^= state << 25;
            state ^= state >> 27;
            *word = state.wrapping_mul(0x2545_f491_4f6c_dd1d).to_le_bytes();
        }
        let marks = bytes
            .chunks_exact(ALIGN)
            .zip(0..)
            .filter_map(|(block, index)| Some((*block.first_chunk::<MARK>()?, index)))
            .collect();
        Self { bytes: bytes.into(), marks, known: Mutex::default() }
    }

    /// Where a body that begins with these bytes was cut.
    pub(crate) fn find(&self, mark: &[u8; MARK]) -> Option<usize> {
        self.marks.get(mark).map(|block| *block as usize * ALIGN)
    }

    /// At most `longest` bytes from `place` on, without a copy: fewer at the end of the period.
    pub(crate) fn cut(&self, place: usize, longest: usize) -> Bytes {
        let place = place % PERIOD;
        self.bytes.slice(place..PERIOD.min(place + longest))
    }

    /// The same, borrowed.
    pub(crate) fn peek(&self, place: usize, longest: usize) -> &[u8] {
        let place = place % PERIOD;
        &self.bytes[place..PERIOD.min(place + longest)]
    }

    /// Feeds `size` bytes from `place` on to `hashing`.
    pub(crate) fn hash_into(&self, hashing: &mut Hashing, place: usize, size: u64) {
        let mut done = 0;
        while done < size {
            let piece = self.peek(place + done as usize, usize::try_from(size - done).unwrap_or(PERIOD));
            hashing.update(piece);
            done += piece.len() as u64;
        }
    }

    /// The digests of `size` bytes from `place` on, computed the first time only.
    pub(crate) fn digests(&self, place: usize, size: u64) -> Digests {
        let name = (place % PERIOD, size);
        let mut known = self.known.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        *known.entry(name).or_insert_with(|| {
            let mut hashing = Hashing::new();
            self.hash_into(&mut hashing, place, size);
            hashing.finish()
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_place_is_found_and_the_period_repeats() {
        let pattern = Pattern::new();
        let mark = |place| pattern.peek(place, MARK).try_into().unwrap();
        assert_eq!(pattern.find(&mark(0)), Some(0));
        assert_eq!(pattern.find(&mark(8 << 20)), Some(8 << 20));
        assert_eq!(pattern.find(&mark(PERIOD + ALIGN)), Some(ALIGN));
        assert_eq!(pattern.find(&mark(8)), None);
        assert_eq!(pattern.cut(PERIOD - 3, 10).len(), 3);
    }

    #[test]
    fn digests_are_those_of_the_bytes() {
        let pattern = Pattern::new();
        let whole = [pattern.peek(PERIOD - 100, 100), pattern.peek(0, 50)].concat();
        let mut hashing = Hashing::new();
        hashing.update(&whole);
        let expected = hashing.finish();
        assert_eq!(expected.md5, <[u8; 16]>::from(Md5::digest(&whole)));
        assert_eq!(expected.crc64, crc_fast::checksum(CrcAlgorithm::Crc64Nvme, &whole));
        assert_eq!(pattern.digests(PERIOD - 100, 150), expected);
        assert_eq!(pattern.digests(2 * PERIOD - 100, 150), expected);
    }
}
