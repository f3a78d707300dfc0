//! The compression function of MD5 (RFC 1321) over several independent states in lock step.

#[cfg(target_arch = "aarch64")]
use fearless_simd::Neon as Narrow;
#[cfg(target_arch = "x86_64")]
use fearless_simd::{Avx2, Avx512, Sse2 as Narrow, u32x8, u32x16};
use fearless_simd::{Level, Simd, u32x4};

use crate::row::{Row, UNIT};

/// The most streams that one round hashes side by side.
pub const MAX_LANES: usize = 16;

/// How wide the vectors are that carry the lanes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LaneWidth {
    /// The widest that the processor has: AVX-512, AVX2 or the baseline.
    #[default]
    Auto,
    /// At most 256 bits (AVX2).
    Bits256,
    /// At most 128 bits: the baseline, SSE2 on x86-64 and NEON on arm64.
    Bits128,
}

/// The four words of an MD5 under way.
pub(crate) type State = [u32; 4];

/// The state before the first byte.
pub(crate) const START: State = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476];

const SINES: [u32; 64] = [
    0xd76a_a478,
    0xe8c7_b756,
    0x2420_70db,
    0xc1bd_ceee,
    0xf57c_0faf,
    0x4787_c62a,
    0xa830_4613,
    0xfd46_9501, //
    0x6980_98d8,
    0x8b44_f7af,
    0xffff_5bb1,
    0x895c_d7be,
    0x6b90_1122,
    0xfd98_7193,
    0xa679_438e,
    0x49b4_0821, //
    0xf61e_2562,
    0xc040_b340,
    0x265e_5a51,
    0xe9b6_c7aa,
    0xd62f_105d,
    0x0244_1453,
    0xd8a1_e681,
    0xe7d3_fbc8, //
    0x21e1_cde6,
    0xc337_07d6,
    0xf4d5_0d87,
    0x455a_14ed,
    0xa9e3_e905,
    0xfcef_a3f8,
    0x676f_02d9,
    0x8d2a_4c8a, //
    0xfffa_3942,
    0x8771_f681,
    0x6d9d_6122,
    0xfde5_380c,
    0xa4be_ea44,
    0x4bde_cfa9,
    0xf6bb_4b60,
    0xbebf_bc70, //
    0x289b_7ec6,
    0xeaa1_27fa,
    0xd4ef_3085,
    0x0488_1d05,
    0xd9d4_d039,
    0xe6db_99e5,
    0x1fa2_7cf8,
    0xc4ac_5665, //
    0xf429_2244,
    0x432a_ff97,
    0xab94_23a7,
    0xfc93_a039,
    0x655b_59c3,
    0x8f0c_cc92,
    0xffef_f47d,
    0x8584_5dd1, //
    0x6fa8_7e4f,
    0xfe2c_e6e0,
    0xa301_4314,
    0x4e08_11a1,
    0xf753_7e82,
    0xbd3a_f235,
    0x2ad7_d2bb,
    0xeb86_d391, //
];

const TURNS: [[u32; 4]; 4] = [[7, 12, 17, 22], [5, 9, 14, 20], [4, 11, 16, 23], [6, 10, 15, 21]];

/// The instructions that the lanes run on, chosen once.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Kernel {
    #[cfg(target_arch = "x86_64")]
    Bits512(Avx512),
    #[cfg(target_arch = "x86_64")]
    Bits256(Avx2),
    #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
    Bits128(Narrow),
    /// No vectors are known for this processor: one lane after the other.
    Single,
}

impl Kernel {
    /// The widest kernel of this processor that `width` allows.
    #[cfg(target_arch = "x86_64")]
    pub(crate) fn choose(width: LaneWidth) -> Self {
        let level = Level::new();
        if let (LaneWidth::Auto, Some(token)) = (width, level.as_avx512()) {
            return Self::Bits512(token);
        }
        if let (LaneWidth::Auto | LaneWidth::Bits256, Some(token)) = (width, level.as_avx2()) {
            return Self::Bits256(token);
        }
        level.as_sse2().map_or(Self::Single, Self::Bits128)
    }

    /// The widest kernel of this processor that `width` allows.
    #[cfg(target_arch = "aarch64")]
    pub(crate) fn choose(_: LaneWidth) -> Self {
        Level::new().as_neon().map_or(Self::Single, Self::Bits128)
    }

    /// The widest kernel of this processor that `width` allows.
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    pub(crate) fn choose(_: LaneWidth) -> Self {
        Self::Single
    }

    /// Takes each run into the state of the same index. At most [`MAX_LANES`] runs, of whole units; they may differ
    /// in length, and the lanes of the short ones are then empty for the rest.
    pub(crate) fn compress(self, states: &mut [State], runs: &[&[u8]]) {
        let mut index = [0; MAX_LANES];
        let mut left: [&[[u8; UNIT]]; MAX_LANES] = [&[]; MAX_LANES];
        let mut lanes = 0;
        for (at, run) in runs.iter().enumerate() {
            let (units, _) = run.as_chunks::<UNIT>();
            if !units.is_empty() {
                (index[lanes], left[lanes]) = (at, units);
                lanes += 1;
            }
        }
        while lanes > 0 {
            let common = left[..lanes].iter().map(|units| units.len()).min().unwrap_or(0);
            let mut now = [START; MAX_LANES];
            let mut input = [&left[0][..common]; MAX_LANES];
            for lane in 0..lanes {
                now[lane] = states[index[lane]];
                input[lane] = &left[lane][..common];
            }
            self.equal(lanes, &mut now, &input);
            let mut kept = 0;
            for lane in 0..lanes {
                states[index[lane]] = now[lane];
                let rest = &left[lane][common..];
                if !rest.is_empty() {
                    (index[kept], left[kept]) = (index[lane], rest);
                    kept += 1;
                }
            }
            lanes = kept;
        }
    }

    /// The cheapest shape for `lanes` filled lanes. A shape costs the same however many of its lanes are filled, and
    /// the thresholds follow the time of one round of 16 KiB blocks on a server of 2023: one lane 31 us; 128 bit 42,
    /// 47, 62 and 81 us for one to four vectors; AVX2 37 and 54 us; AVX-512 31 us.
    fn equal(self, lanes: usize, states: &mut [State; MAX_LANES], runs: &[&[[u8; UNIT]]; MAX_LANES]) {
        match self {
            _ if lanes == 1 => lockstep::<u32, 1>((), states, runs),
            #[cfg(target_arch = "x86_64")]
            Self::Bits512(token) => token.vectorize(
                #[inline(always)]
                || lockstep::<u32x16<Avx512>, 1>(token, states, runs),
            ),
            #[cfg(target_arch = "x86_64")]
            Self::Bits256(token) if lanes <= 8 => token.vectorize(
                #[inline(always)]
                || lockstep::<u32x8<Avx2>, 1>(token, states, runs),
            ),
            #[cfg(target_arch = "x86_64")]
            Self::Bits256(token) => token.vectorize(
                #[inline(always)]
                || lockstep::<u32x8<Avx2>, 2>(token, states, runs),
            ),
            #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
            Self::Bits128(token) => token.vectorize(
                #[inline(always)]
                || match lanes.div_ceil(4) {
                    1 => lockstep::<u32x4<Narrow>, 1>(token, states, runs),
                    2 => lockstep::<u32x4<Narrow>, 2>(token, states, runs),
                    3 => lockstep::<u32x4<Narrow>, 3>(token, states, runs),
                    _ => lockstep::<u32x4<Narrow>, 4>(token, states, runs),
                },
            ),
            Self::Single => {
                for lane in 0..lanes {
                    let mut state = [states[lane]; MAX_LANES];
                    lockstep::<u32, 1>((), &mut state, &[runs[lane]; MAX_LANES]);
                    states[lane] = state[0];
                }
            }
        }
    }
}

/// `GROUPS` vectors of lanes at once: a step of MD5 waits for the one before, so a second vector fills the gaps.
#[inline(always)]
fn lockstep<R: Row, const GROUPS: usize>(
    token: R::Token,
    states: &mut [State; MAX_LANES],
    runs: &[&[[u8; UNIT]]; MAX_LANES],
) {
    let mut words = [0; MAX_LANES];
    let mut rows = [[R::splat(token, 0); 4]; GROUPS];
    for group in 0..GROUPS {
        for word in 0..4 {
            for lane in 0..R::LANES {
                words[lane] = states[group * R::LANES + lane][word];
            }
            rows[group][word] = R::load(token, &words[..R::LANES]);
        }
    }
    for (at, first) in runs[0].iter().enumerate() {
        let mut input = [[R::splat(token, 0); 16]; GROUPS];
        for group in 0..GROUPS {
            let mut units = [first; MAX_LANES];
            for lane in 0..R::LANES {
                units[lane] = &runs[group * R::LANES + lane][at];
            }
            input[group] = R::transpose(token, &units);
        }
        unit::<R, GROUPS>(token, &mut rows, &input);
    }
    for group in 0..GROUPS {
        for word in 0..4 {
            rows[group][word].store(&mut words[..R::LANES]);
            for lane in 0..R::LANES {
                states[group * R::LANES + lane][word] = words[lane];
            }
        }
    }
}

/// One unit of each lane.
#[inline(always)]
fn unit<R: Row, const GROUPS: usize>(token: R::Token, rows: &mut [[R; 4]; GROUPS], input: &[[R; 16]; GROUPS]) {
    let before = *rows;
    // Written out, so that every step has its constants at compile time.
    macro_rules! steps {
        ($($four:literal)*) => { $(
            for (row, input) in rows.iter_mut().zip(input) {
                row[0] = step($four * 4, token, row[0], row[1], row[2], row[3], input);
            }
            for (row, input) in rows.iter_mut().zip(input) {
                row[3] = step($four * 4 + 1, token, row[3], row[0], row[1], row[2], input);
            }
            for (row, input) in rows.iter_mut().zip(input) {
                row[2] = step($four * 4 + 2, token, row[2], row[3], row[0], row[1], input);
            }
            for (row, input) in rows.iter_mut().zip(input) {
                row[1] = step($four * 4 + 3, token, row[1], row[2], row[3], row[0], input);
            }
        )* };
    }
    steps!(0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15);
    for (row, before) in rows.iter_mut().zip(before) {
        for (word, before) in row.iter_mut().zip(before) {
            *word = word.add(before);
        }
    }
}

#[inline(always)]
fn step<R: Row>(index: usize, token: R::Token, a: R, b: R, c: R, d: R, input: &[R; 16]) -> R {
    let word = match index / 16 {
        0 => index,
        1 => 5 * index + 1,
        2 => 3 * index + 5,
        _ => 7 * index,
    };
    // c ^ (b | !d) is !(c ^ (d & !b)), and adding !x is subtracting x and one: an operation less, but with no
    // instruction for d & !b a longer way.
    let inverted = index >= 48 && R::LANES > 1;
    let sum = a.add(input[word % 16].add(R::splat(token, SINES[index].wrapping_sub(inverted.into()))));
    // `b` comes last of all from the step before: each form keeps the way from it short.
    let mixed = match index / 16 {
        0 => sum.add(d.xor(b.and(c.xor(d)))),
        1 if R::PICKS => sum.add(c.xor(d.and(b.xor(c)))),
        // The two halves have no bit in common, so their sum is as good as their union, and one is there early.
        1 => sum.add(c.and(d.not())).add(b.and(d)),
        2 => sum.add(b.xor(c.xor(d))),
        _ if inverted => sum.sub(c.xor(d.and(b.not()))),
        _ => sum.add(c.xor(b.or(d.not()))),
    };
    mixed.rotate(TURNS[index / 16][index % 4]).add(b)
}

/// The bytes of a digest.
pub(crate) fn digest(state: State) -> [u8; 16] {
    let mut bytes = [0; 16];
    for (to, word) in bytes.as_chunks_mut::<4>().0.iter_mut().zip(state) {
        *to = word.to_le_bytes();
    }
    bytes
}

#[cfg(test)]
mod tests {
    use md5::{Digest, Md5};

    use super::*;

    fn padded(length: usize) -> (Vec<u8>, [u8; 16]) {
        let mut bytes: Vec<u8> = (0..length).map(|at| (at * 31 + length) as u8).collect();
        let digest = Md5::digest(&bytes).into();
        bytes.push(0x80);
        bytes.resize((length + 9).next_multiple_of(UNIT), 0);
        let end = bytes.len();
        bytes[end - 8..].copy_from_slice(&(length as u64 * 8).to_le_bytes());
        (bytes, digest)
    }

    #[test]
    fn every_kernel_agrees_for_every_number_of_lanes() {
        let chosen = [LaneWidth::Auto, LaneWidth::Bits256, LaneWidth::Bits128].map(Kernel::choose);
        for kernel in chosen.into_iter().chain([Kernel::Single]) {
            for lanes in 0..=MAX_LANES {
                for stride in [0, 1, 77] {
                    let (runs, digests): (Vec<_>, Vec<_>) =
                        (0..lanes).map(|lane| padded(300 + (lane * 5 % 7) * stride)).unzip();
                    let runs: Vec<&[u8]> = runs.iter().map(Vec::as_slice).collect();
                    let mut states = vec![START; lanes];
                    kernel.compress(&mut states, &runs);
                    let found: Vec<_> = states.into_iter().map(digest).collect();
                    assert_eq!(found, digests, "{kernel:?}, {lanes} lanes");
                }
            }
        }
    }

    #[test]
    fn an_empty_run_leaves_its_state() {
        let kernel = Kernel::choose(LaneWidth::Auto);
        let (run, digest_of_run) = padded(100);
        let mut states = [START; 3];
        kernel.compress(&mut states, &[&[], &run, &[]]);
        assert_eq!((states[0], digest(states[1]), states[2]), (START, digest_of_run, START));
    }
}
