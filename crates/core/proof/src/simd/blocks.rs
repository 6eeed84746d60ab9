//! The hash of the PRF on many blocks of a row at once, written once for both widths of vectors.

use std::arch::x86_64::*;

pub(super) const IV: [u32; 4] = [0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a];
/// Keyed hash, one block that is first, last and root of its input.
pub(super) const FLAGS: i32 = 1 | 2 | 8 | 16;
const INPUT_BYTES: i32 = 5;
/// Where the message words go in each round. Only words 0 and 1 of ours are not zero.
const SCHEDULE: [[usize; 16]; 7] = schedule();

const fn schedule() -> [[usize; 16]; 7] {
    const PERMUTATION: [usize; 16] = [2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8];
    let mut rounds = [[0; 16]; 7];
    let mut word = 0;
    while word < 16 {
        rounds[0][word] = word;
        word += 1;
    }
    let mut round = 1;
    while round < 7 {
        let mut word = 0;
        while word < 16 {
            rounds[round][word] = rounds[round - 1][PERMUTATION[word]];
            word += 1;
        }
        round += 1;
    }
    rounds
}

/// What a row's cells are made from: the words of the key, and those of the input that are not zero.
#[derive(Clone, Copy)]
pub(super) struct Source {
    key: [u32; 8],
    message: [u32; 2],
}

impl Source {
    pub(super) fn new(key: &[u8; 32], [a, b, c, d, e]: [u8; 5]) -> Self {
        let mut words = [0u32; 8];
        for (word, bytes) in words.iter_mut().zip(key.as_chunks::<4>().0) {
            *word = u32::from_le_bytes(*bytes);
        }
        Self { key: words, message: [u32::from_le_bytes([a, b, c, d]), u32::from(e)] }
    }
}

macro_rules! blocks {
    (
        $blocks:ident in $name:ident with $features:literal: $vector:ty,
        $zero:ident, $same:ident, $add:ident, $xor:ident, $rotate:ident, $lanes:expr
    ) => {
        mod $name {
            use super::*;

            /// Word `w` of the output blocks from `block` on is vector `w`, with a block in each lane. Counters stay
            /// below 2³², as rows have at most 1,024 blocks.
            #[inline]
            #[target_feature(enable = $features)]
            pub(in super::super) fn $blocks(source: &Source, block: u32) -> [$vector; 16] {
                let zero = $zero();
                let mut v = [zero; 16];
                for (state, word) in v.iter_mut().zip(source.key.iter().chain(&IV)) {
                    *state = $same(word.cast_signed());
                }
                let chain = [v[0], v[1], v[2], v[3], v[4], v[5], v[6], v[7]];
                v[12] = $add($same(block.cast_signed()), $lanes);
                v[14] = $same(INPUT_BYTES);
                v[15] = $same(FLAGS);
                // The zero words are constants, and their additions disappear.
                let mut words = [zero; 16];
                words[0] = $same(source.message[0].cast_signed());
                words[1] = $same(source.message[1].cast_signed());
                rounds(&mut v, &words);
                let mut words = [zero; 16];
                for i in 0..8 {
                    words[i] = $xor(v[i], v[i + 8]);
                    words[i + 8] = $xor(v[i + 8], chain[i]);
                }
                words
            }

            /// All rounds of a compression.
            #[inline]
            #[target_feature(enable = $features)]
            pub(in super::super) fn rounds(v: &mut [$vector; 16], words: &[$vector; 16]) {
                round::<0>(v, words);
                round::<1>(v, words);
                round::<2>(v, words);
                round::<3>(v, words);
                round::<4>(v, words);
                round::<5>(v, words);
                round::<6>(v, words);
            }

            /// One round: four columns, then four diagonals.
            #[inline]
            #[target_feature(enable = $features)]
            fn round<const R: usize>(v: &mut [$vector; 16], words: &[$vector; 16]) {
                let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = const { SCHEDULE[R] };
                mix::<0, 4, 8, 12>(v, words[a], words[b]);
                mix::<1, 5, 9, 13>(v, words[c], words[d]);
                mix::<2, 6, 10, 14>(v, words[e], words[f]);
                mix::<3, 7, 11, 15>(v, words[g], words[h]);
                mix::<0, 5, 10, 15>(v, words[i], words[j]);
                mix::<1, 6, 11, 12>(v, words[k], words[l]);
                mix::<2, 7, 8, 13>(v, words[m], words[n]);
                mix::<3, 4, 9, 14>(v, words[o], words[p]);
            }

            #[inline]
            #[target_feature(enable = $features)]
            fn mix<const A: usize, const B: usize, const C: usize, const D: usize>(
                v: &mut [$vector; 16],
                x: $vector,
                y: $vector,
            ) {
                v[A] = $add($add(v[A], v[B]), x);
                v[D] = $rotate::<16>($xor(v[D], v[A]));
                v[C] = $add(v[C], v[D]);
                v[B] = $rotate::<12>($xor(v[B], v[C]));
                v[A] = $add($add(v[A], v[B]), y);
                v[D] = $rotate::<8>($xor(v[D], v[A]));
                v[C] = $add(v[C], v[D]);
                v[B] = $rotate::<7>($xor(v[B], v[C]));
            }
        }
        pub(super) use $name::$blocks;
    };
}

blocks!(eight_blocks in of_256 with "avx2": __m256i,
    _mm256_setzero_si256, _mm256_set1_epi32, _mm256_add_epi32, _mm256_xor_si256, rotate_256,
    _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
pub(super) use of_256::rounds as rounds_256;

blocks!(sixteen_blocks in of_512 with "avx512f": __m512i,
    _mm512_setzero_si512, _mm512_set1_epi32, _mm512_add_epi32, _mm512_xor_si512, _mm512_ror_epi32,
    _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15));

/// To the right by one of the hash's distances; AVX2 rotates no words, but whole bytes can be shuffled.
#[inline]
#[target_feature(enable = "avx2")]
fn rotate_256<const RIGHT: i32>(x: __m256i) -> __m256i {
    match RIGHT {
        8 => _mm256_shuffle_epi8(
            x,
            _mm256_broadcastsi128_si256(_mm_setr_epi8(1, 2, 3, 0, 5, 6, 7, 4, 9, 10, 11, 8, 13, 14, 15, 12)),
        ),
        16 => _mm256_shuffle_epi8(
            x,
            _mm256_broadcastsi128_si256(_mm_setr_epi8(2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13)),
        ),
        7 => _mm256_or_si256(_mm256_srli_epi32::<7>(x), _mm256_slli_epi32::<25>(x)),
        _ => _mm256_or_si256(_mm256_srli_epi32::<12>(x), _mm256_slli_epi32::<20>(x)),
    }
}
