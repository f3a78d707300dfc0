//! The vectors that hold one word of each lane, and the transposition that fills them.

use fearless_simd::{Simd, SimdBase, SimdCombine, prelude::*, u8x16, u8x64, u32x4, u32x8, u32x16};

/// The bytes that MD5 takes in one step.
pub(crate) const UNIT: usize = 64;

/// One 32-bit word of each of [`Row::LANES`] lanes.
///
/// Every function of this module and of the loop over it is forced inline, and passes no closure on: code that is
/// left outside the caller's target features is compiled for the baseline, and calls each vector operation.
pub(crate) trait Row: Copy {
    /// What proves that the processor has the instructions.
    type Token: Copy;
    /// Words in the row.
    const LANES: usize;
    /// Whether one instruction picks bits of two rows by a third.
    const PICKS: bool;

    fn splat(token: Self::Token, word: u32) -> Self;
    fn load(token: Self::Token, words: &[u32]) -> Self;
    fn store(self, words: &mut [u32]);
    fn add(self, other: Self) -> Self;
    fn sub(self, other: Self) -> Self;
    fn and(self, other: Self) -> Self;
    fn or(self, other: Self) -> Self;
    fn xor(self, other: Self) -> Self;
    fn not(self) -> Self;
    fn rotate(self, bits: u32) -> Self;
    /// The sixteen words of each lane's unit, as sixteen rows. Takes the first [`Row::LANES`] units.
    fn transpose(token: Self::Token, units: &[&[u8; UNIT]]) -> [Self; 16];
}

/// One lane, for a stream that has nobody to share a round with.
impl Row for u32 {
    type Token = ();
    const LANES: usize = 1;
    const PICKS: bool = false;

    #[inline(always)]
    fn splat(_: (), word: u32) -> Self {
        word
    }
    #[inline(always)]
    fn load(_: (), words: &[u32]) -> Self {
        words[0]
    }
    #[inline(always)]
    fn store(self, words: &mut [u32]) {
        words[0] = self;
    }
    #[inline(always)]
    fn add(self, other: Self) -> Self {
        self.wrapping_add(other)
    }
    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        self.wrapping_sub(other)
    }
    #[inline(always)]
    fn and(self, other: Self) -> Self {
        self & other
    }
    #[inline(always)]
    fn or(self, other: Self) -> Self {
        self | other
    }
    #[inline(always)]
    fn xor(self, other: Self) -> Self {
        self ^ other
    }
    #[inline(always)]
    fn not(self) -> Self {
        !self
    }
    #[inline(always)]
    fn rotate(self, bits: u32) -> Self {
        self.rotate_left(bits)
    }
    #[inline(always)]
    fn transpose(_: (), units: &[&[u8; UNIT]]) -> [Self; 16] {
        let (words, _) = units[0].as_chunks::<4>();
        let mut rows = [0; 16];
        for (row, word) in rows.iter_mut().zip(words) {
            *row = u32::from_le_bytes(*word);
        }
        rows
    }
}

macro_rules! vector {
    ($vector:ident, $lanes:literal, $picks:expr, $transpose:ident) => {
        impl<S: Simd> Row for $vector<S> {
            type Token = S;
            const LANES: usize = $lanes;
            const PICKS: bool = $picks;

            #[inline(always)]
            fn splat(token: S, word: u32) -> Self {
                SimdBase::splat(token, word)
            }
            #[inline(always)]
            fn load(token: S, words: &[u32]) -> Self {
                SimdBase::from_slice(token, words)
            }
            #[inline(always)]
            fn store(self, words: &mut [u32]) {
                self.store_slice(words);
            }
            #[inline(always)]
            fn add(self, other: Self) -> Self {
                self + other
            }
            #[inline(always)]
            fn sub(self, other: Self) -> Self {
                self - other
            }
            #[inline(always)]
            fn and(self, other: Self) -> Self {
                self & other
            }
            #[inline(always)]
            fn or(self, other: Self) -> Self {
                self | other
            }
            #[inline(always)]
            fn xor(self, other: Self) -> Self {
                self ^ other
            }
            #[inline(always)]
            fn not(self) -> Self {
                !self
            }
            #[inline(always)]
            fn rotate(self, bits: u32) -> Self {
                (self << bits) | (self >> (32 - bits))
            }
            #[inline(always)]
            fn transpose(token: S, units: &[&[u8; UNIT]]) -> [Self; 16] {
                $transpose(token, units)
            }
        }
    };
}

vector!(u32x4, 4, cfg!(target_arch = "aarch64"), by_four);
vector!(u32x8, 8, false, by_eight);
vector!(u32x16, 16, true, by_sixteen);

/// Four by four words at a time.
#[inline(always)]
fn by_four<S: Simd>(token: S, units: &[&[u8; UNIT]]) -> [u32x4<S>; 16] {
    let mut rows = [SimdBase::splat(token, 0); 16];
    for quarter in 0..4 {
        let mut lane: [u32x4<S>; 4] = [SimdBase::splat(token, 0); 4];
        for (words, unit) in lane.iter_mut().zip(units) {
            *words = u8x16::from_slice(token, &unit[quarter * 16..quarter * 16 + 16]).bitcast();
        }
        let (low, high) = (lane[0].zip_low(lane[2]), lane[1].zip_low(lane[3]));
        rows[quarter * 4] = low.zip_low(high);
        rows[quarter * 4 + 1] = low.zip_high(high);
        let (low, high) = (lane[0].zip_high(lane[2]), lane[1].zip_high(lane[3]));
        rows[quarter * 4 + 2] = low.zip_low(high);
        rows[quarter * 4 + 3] = low.zip_high(high);
    }
    rows
}

/// Two halves of four lanes each: on AVX2 an operation that crosses the halves costs more than their joining.
#[inline(always)]
fn by_eight<S: Simd>(token: S, units: &[&[u8; UNIT]]) -> [u32x8<S>; 16] {
    let (low, high) = (by_four(token, &units[..4]), by_four(token, &units[4..8]));
    let mut rows = [SimdBase::splat(token, 0); 16];
    for (row, (low, high)) in rows.iter_mut().zip(low.into_iter().zip(high)) {
        *row = low.combine(high);
    }
    rows
}

/// Four perfect shuffles of the whole square: AVX-512 has one instruction for each half of them.
#[inline(always)]
fn by_sixteen<S: Simd>(token: S, units: &[&[u8; UNIT]]) -> [u32x16<S>; 16] {
    let mut rows: [u32x16<S>; 16] = [SimdBase::splat(token, 0); 16];
    for (row, unit) in rows.iter_mut().zip(units) {
        *row = u8x64::from_slice(token, &unit[..]).bitcast();
    }
    for _ in 0..4 {
        let before = rows;
        for pair in 0..8 {
            rows[pair * 2] = before[pair].zip_low(before[pair + 8]);
            rows[pair * 2 + 1] = before[pair].zip_high(before[pair + 8]);
        }
    }
    rows
}
