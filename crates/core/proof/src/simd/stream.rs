//! The BLAKE3 stream of a row with 256-bit vectors.

use std::arch::x86_64::*;

use super::has_avx2;

pub(super) const IV: [u32; 4] = [0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a];
/// Keyed hash, one block that is first, last and root of its input.
pub(super) const FLAGS: i32 = 1 | 2 | 8 | 16;
pub(super) const INPUT_BYTES: i32 = 5;
/// Where the message words go in each round. Only words 0 and 1 of ours are not zero.
pub(super) const SCHEDULE: [[usize; 16]; 7] = schedule();

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
    pub(super) key: [u32; 8],
    pub(super) message: [u32; 2],
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

/// The BLAKE3 output stream of a five-byte input under `key`, eight blocks at a time.
pub(crate) fn stream_avx2(key: &[u8; 32], input: [u8; 5], block: u32, cells: &mut [i8]) {
    assert!(has_avx2(), "callers check has_avx2");
    // SAFETY: the feature was just found on this processor.
    unsafe { blocks_avx2(&Source::new(key, input), block, super::as_bytes(cells)) }
}

#[target_feature(enable = "avx2")]
fn blocks_avx2(source: &Source, block: u32, out: &mut [u8]) {
    let mut made = [0u8; 512];
    for (at, out) in (block..).step_by(8).zip(out.chunks_mut(512)) {
        if let Some(whole) = out.first_chunk_mut::<512>() {
            store_blocks(eight_blocks(source, at), whole);
        } else {
            store_blocks(eight_blocks(source, at), &mut made);
            out.copy_from_slice(&made[..out.len()]);
        }
    }
}

/// Word `w` of eight blocks is vector `w`: lane `l` is of block `block + l`. Counters stay below 2³², as rows have at most
/// 1,024 blocks.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn eight_blocks(source: &Source, block: u32) -> [__m256i; 16] {
    let zero = _mm256_setzero_si256();
    let mut v = [zero; 16];
    for (state, word) in v.iter_mut().zip(source.key.iter().chain(&IV)) {
        *state = _mm256_set1_epi32(word.cast_signed());
    }
    let chain = [v[0], v[1], v[2], v[3], v[4], v[5], v[6], v[7]];
    let lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    v[12] = _mm256_add_epi32(_mm256_set1_epi32(block.cast_signed()), lanes);
    v[14] = _mm256_set1_epi32(INPUT_BYTES);
    v[15] = _mm256_set1_epi32(FLAGS);
    // The zero words are constants, and their additions disappear.
    let mut words = [zero; 16];
    words[0] = _mm256_set1_epi32(source.message[0].cast_signed());
    words[1] = _mm256_set1_epi32(source.message[1].cast_signed());
    round::<0>(&mut v, &words);
    round::<1>(&mut v, &words);
    round::<2>(&mut v, &words);
    round::<3>(&mut v, &words);
    round::<4>(&mut v, &words);
    round::<5>(&mut v, &words);
    round::<6>(&mut v, &words);
    let mut words = [zero; 16];
    for i in 0..8 {
        words[i] = _mm256_xor_si256(v[i], v[i + 8]);
        words[i + 8] = _mm256_xor_si256(v[i + 8], chain[i]);
    }
    words
}

#[inline]
#[target_feature(enable = "avx2")]
fn store_blocks(words: [__m256i; 16], out: &mut [u8; 512]) {
    let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = words;
    let (first, second) = (transpose([a, b, c, d, e, f, g, h]), transpose([i, j, k, l, m, n, o, p]));
    let halves = out.as_chunks_mut::<32>().0.as_chunks_mut::<2>().0;
    for ([low, high], (first, second)) in halves.iter_mut().zip(first.iter().zip(&second)) {
        store_256(low, *first);
        store_256(high, *second);
    }
}

/// One round: four columns, then four diagonals.
#[inline]
#[target_feature(enable = "avx2")]
fn round<const R: usize>(v: &mut [__m256i; 16], words: &[__m256i; 16]) {
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
#[target_feature(enable = "avx2")]
fn mix<const A: usize, const B: usize, const C: usize, const D: usize>(
    v: &mut [__m256i; 16],
    x: __m256i,
    y: __m256i,
) {
    v[A] = _mm256_add_epi32(_mm256_add_epi32(v[A], v[B]), x);
    v[D] = rotate_bytes::<2>(_mm256_xor_si256(v[D], v[A]));
    v[C] = _mm256_add_epi32(v[C], v[D]);
    v[B] = rotate_bits::<12, 20>(_mm256_xor_si256(v[B], v[C]));
    v[A] = _mm256_add_epi32(_mm256_add_epi32(v[A], v[B]), y);
    v[D] = rotate_bytes::<1>(_mm256_xor_si256(v[D], v[A]));
    v[C] = _mm256_add_epi32(v[C], v[D]);
    v[B] = rotate_bits::<7, 25>(_mm256_xor_si256(v[B], v[C]));
}

#[inline]
#[target_feature(enable = "avx2")]
fn rotate_bits<const RIGHT: i32, const LEFT: i32>(x: __m256i) -> __m256i {
    _mm256_or_si256(_mm256_srli_epi32::<RIGHT>(x), _mm256_slli_epi32::<LEFT>(x))
}

#[inline]
#[target_feature(enable = "avx2")]
fn rotate_bytes<const RIGHT: usize>(x: __m256i) -> __m256i {
    let order = match RIGHT {
        1 => _mm_setr_epi8(1, 2, 3, 0, 5, 6, 7, 4, 9, 10, 11, 8, 13, 14, 15, 12),
        _ => _mm_setr_epi8(2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13),
    };
    _mm256_shuffle_epi8(x, _mm256_broadcastsi128_si256(order))
}

/// Rows of words to columns of words.
#[inline]
#[target_feature(enable = "avx2")]
fn transpose(rows: [__m256i; 8]) -> [__m256i; 8] {
    let mut pairs = rows;
    for i in [0, 2, 4, 6] {
        pairs[i] = _mm256_unpacklo_epi32(rows[i], rows[i + 1]);
        pairs[i + 1] = _mm256_unpackhi_epi32(rows[i], rows[i + 1]);
    }
    let mut quads = pairs;
    for i in [0, 4] {
        quads[i] = _mm256_unpacklo_epi64(pairs[i], pairs[i + 2]);
        quads[i + 1] = _mm256_unpackhi_epi64(pairs[i], pairs[i + 2]);
        quads[i + 2] = _mm256_unpacklo_epi64(pairs[i + 1], pairs[i + 3]);
        quads[i + 3] = _mm256_unpackhi_epi64(pairs[i + 1], pairs[i + 3]);
    }
    let mut columns = quads;
    for i in 0..4 {
        columns[i] = _mm256_permute2x128_si256::<0x20>(quads[i], quads[i + 4]);
        columns[i + 4] = _mm256_permute2x128_si256::<0x31>(quads[i], quads[i + 4]);
    }
    columns
}

#[inline]
#[target_feature(enable = "avx2")]
fn store_256(out: &mut [u8; 32], words: __m256i) {
    // SAFETY: the array has the 32 bytes that an unaligned store writes.
    unsafe { _mm256_storeu_si256(out.as_mut_ptr().cast(), words) }
}
