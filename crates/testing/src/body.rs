//! What an object is made of. A generated body costs no memory, whatever its length.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::Stream;
use s3s::StdError;
use s3s::stream::{ByteStream, RemainingLength};

/// Large enough to amortise a poll, small enough to stay in a second-level cache.
const PIECE: u64 = 256 * 1024;

/// Pseudo-random bytes that follow from a seed and an offset alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Generated {
    /// Where the sequence starts; [`seed_of`] derives it from an object's name.
    pub seed: u64,
    /// Length in bytes.
    pub len: u64,
}

impl Generated {
    /// Writes the bytes from `offset` on into all of `out`. Bytes past the length are written too:
    /// the sequence has no end, only the object has.
    pub fn fill(&self, offset: u64, out: &mut [u8]) {
        let mut word = offset / 8;
        let skip = (offset % 8) as usize;
        let mut rest = out;
        if skip > 0 {
            let bytes = mix(self.seed, word).to_le_bytes();
            let n = rest.len().min(8 - skip);
            rest[..n].copy_from_slice(&bytes[skip..skip + n]);
            rest = &mut rest[n..];
            word += 1;
        }
        let mut whole = rest.chunks_exact_mut(8);
        for slot in &mut whole {
            slot.copy_from_slice(&mix(self.seed, word).to_le_bytes());
            word += 1;
        }
        let tail = whole.into_remainder();
        let n = tail.len();
        tail.copy_from_slice(&mix(self.seed, word).to_le_bytes()[..n]);
    }
}

/// The seed of the generated object of this name, so that two processes agree on its bytes.
pub fn seed_of(bucket: &str, key: &str) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in bucket.bytes().chain([0]).chain(key.bytes()) {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    mix(hash, 0)
}

/// One step of a SplitMix64 sequence, at any place in it.
pub(crate) fn mix(seed: u64, index: u64) -> u64 {
    let mut z = seed.wrapping_add(index.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// The bytes of an object or a part.
#[derive(Clone, Debug)]
pub enum Body {
    /// Kept in memory.
    Bytes(Bytes),
    /// Made when read.
    Generated(Generated),
    /// The parts of a multipart upload, in order.
    Parts(Vec<Body>),
    /// Received and not kept. The CRC64NVME remains for a later comparison.
    Discarded {
        /// Length in bytes.
        len: u64,
        /// CRC64NVME of the bytes received.
        crc64: u64,
    },
}

impl Body {
    /// Length in bytes.
    pub fn len(&self) -> u64 {
        match self {
            Body::Bytes(bytes) => bytes.len() as u64,
            Body::Generated(generated) => generated.len,
            Body::Parts(parts) => parts.iter().map(Body::len).sum(),
            Body::Discarded { len, .. } => *len,
        }
    }

    /// Whether there is no byte at all.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether bytes were received that cannot be read again.
    pub fn is_discarded(&self) -> bool {
        match self {
            Body::Discarded { len, .. } => *len > 0,
            Body::Parts(parts) => parts.iter().any(Body::is_discarded),
            _ => false,
        }
    }

    /// At least one and at most `max` bytes from `offset` on; nothing at the end or where the bytes
    /// were discarded.
    fn piece(&self, offset: u64, max: u64) -> Bytes {
        let n = max.min(self.len().saturating_sub(offset)).min(PIECE);
        match self {
            Body::Bytes(bytes) if n > 0 => bytes.slice(offset as usize..(offset + n) as usize),
            Body::Generated(generated) if n > 0 => {
                let mut out = vec![0; n as usize];
                generated.fill(offset, &mut out);
                out.into()
            }
            Body::Parts(parts) => {
                let mut start = 0;
                for part in parts {
                    let len = part.len();
                    if offset < start + len {
                        return part.piece(offset - start, max);
                    }
                    start += len;
                }
                Bytes::new()
            }
            _ => Bytes::new(),
        }
    }

    /// The pieces of `range` in order. Ends early where bytes were discarded.
    pub fn pieces(&self, range: std::ops::Range<u64>) -> impl Iterator<Item = Bytes> + '_ {
        let mut at = range.start;
        std::iter::from_fn(move || {
            let piece = self.piece(at, range.end.saturating_sub(at));
            at += piece.len() as u64;
            (!piece.is_empty()).then_some(piece)
        })
    }

    /// All bytes, or nothing if they were discarded.
    pub fn bytes(&self) -> Option<Bytes> {
        if self.is_discarded() {
            return None;
        }
        let mut out = Vec::with_capacity(self.len() as usize);
        self.pieces(0..self.len()).for_each(|piece| out.extend_from_slice(&piece));
        Some(out.into())
    }

    pub(crate) fn stream(&self, range: std::ops::Range<u64>) -> BodyStream {
        BodyStream { body: self.clone(), at: range.start, end: range.end }
    }
}

/// A range of a body, read as it is sent.
pub(crate) struct BodyStream {
    body: Body,
    at: u64,
    end: u64,
}

impl Stream for BodyStream {
    type Item = Result<Bytes, StdError>;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.at >= self.end {
            return Poll::Ready(None);
        }
        let piece = self.body.piece(self.at, self.end - self.at);
        if piece.is_empty() {
            return Poll::Ready(Some(Err("the bytes of this object were discarded".into())));
        }
        self.at += piece.len() as u64;
        Poll::Ready(Some(Ok(piece)))
    }
}

impl ByteStream for BodyStream {
    fn remaining_length(&self) -> RemainingLength {
        RemainingLength::new_exact((self.end - self.at) as usize)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn generated_bytes_do_not_depend_on_how_they_are_read() {
        let generated = Generated { seed: seed_of("b", "k"), len: 1000 };
        let whole = Body::Generated(generated).bytes().unwrap();
        for (from, to) in [(0, 1), (1, 2), (7, 9), (3, 1000), (992, 1000), (8, 16), (5, 6)] {
            let mut out = vec![0; to - from];
            generated.fill(from as u64, &mut out);
            assert_eq!(out, whole[from..to], "{from}..{to}");
        }
        let parts = Body::Parts(vec![
            Body::Bytes(whole.slice(0..300)),
            Body::Bytes(Bytes::new()),
            Body::Bytes(whole.slice(300..)),
        ]);
        assert_eq!(parts.bytes().unwrap(), whole);
        assert_eq!(parts.pieces(299..302).flatten().collect::<Vec<_>>(), whole[299..302]);
        assert_ne!(seed_of("b", "kx"), seed_of("bk", "x"));
    }
}
