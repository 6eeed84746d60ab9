//! The BLAKE3 stream of a row with 256-bit vectors.

use std::arch::x86_64::*;

use super::blocks::{Source, eight_blocks};
use super::has_avx2;

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

/// Rows of words to columns of words.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn transpose(rows: [__m256i; 8]) -> [__m256i; 8] {
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
