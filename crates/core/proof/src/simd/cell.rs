//! One cell of the product straight from the seed: two rows are made and multiplied without being written anywhere.
//!
//! Vectors of the hash's state hold word `w` of many blocks. A stream needs them turned into blocks; a dot product does
//! not care for the order of its terms as long as both rows have the same, so what is turned for a stream, stored and
//! loaded again is multiplied as it stands here.

use std::arch::x86_64::*;

use super::blocks::{Source, eight_blocks, sixteen_blocks};
use super::multiply::add_lanes;
use super::{has_avx2, has_avx512};

/// Blocks of a row that are made at once, with 512 and with 256 bits.
const LANES_512: u32 = 16;
const LANES_256: u32 = 8;

/// Σ a·b over the first `blocks` blocks of 64 cells of the streams of `a` and `b` under one key.
pub(crate) fn cell_avx512(key: &[u8; 32], a: [u8; 5], b: [u8; 5], blocks: u32) -> i32 {
    assert!(has_avx512(), "callers check has_avx512");
    // SAFETY: the features were just found on this processor.
    unsafe { by_sixteen(&Source::new(key, a), &Source::new(key, b), blocks) }
}

/// The same with 256-bit vectors.
pub(crate) fn cell_avx2(key: &[u8; 32], a: [u8; 5], b: [u8; 5], blocks: u32) -> i32 {
    assert!(has_avx2(), "callers check has_avx2");
    // SAFETY: the feature was just found on this processor.
    unsafe { by_eight(&Source::new(key, a), &Source::new(key, b), blocks) }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
fn by_sixteen(a: &Source, b: &Source, blocks: u32) -> i32 {
    // `vpdpbusd` multiplies unsigned by signed bytes, so A enters 128 too high, and 128 · Σb is taken off at the end.
    let shift = _mm512_set1_epi8(i8::MIN);
    let (mut sum, mut excess) = (_mm512_setzero_si512(), _mm512_setzero_si512());
    for block in (0..blocks).step_by(LANES_512 as usize) {
        let lanes = LANES_512.min(blocks - block);
        // Without the lanes beyond the row's end.
        let inside = u16::MAX >> (LANES_512 - lanes);
        let (left, right) = (sixteen_blocks(a, block), sixteen_blocks(b, block));
        for word in 0..16 {
            let right = _mm512_maskz_mov_epi32(inside, right[word]);
            sum = _mm512_dpbusd_epi32(sum, _mm512_xor_si512(left[word], shift), right);
            excess = _mm512_dpbusd_epi32(excess, shift, right);
        }
    }
    _mm512_reduce_add_epi32(_mm512_sub_epi32(sum, excess))
}

#[target_feature(enable = "avx2")]
fn by_eight(a: &Source, b: &Source, blocks: u32) -> i32 {
    let lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    let mut sum = _mm256_setzero_si256();
    for block in (0..blocks).step_by(LANES_256 as usize) {
        let end = _mm256_set1_epi32((blocks - block).min(LANES_256).cast_signed());
        let inside = _mm256_cmpgt_epi32(end, lanes);
        let (left, right) = (eight_blocks(a, block), eight_blocks(b, block));
        for word in 0..16 {
            let right = _mm256_and_si256(right[word], inside);
            sum = _mm256_add_epi32(sum, multiply_bytes(left[word], right));
        }
    }
    add_lanes(sum)
}

/// Sums of the products of bytes, widened to 16 bits; the byte form `vpmaddubsw` saturates and is not exact.
#[inline]
#[target_feature(enable = "avx2")]
fn multiply_bytes(a: __m256i, b: __m256i) -> __m256i {
    // The even bytes of each word of 16 bits, and the odd ones, with their signs.
    let (even_a, even_b) = (even_bytes(a), even_bytes(b));
    let (odd_a, odd_b) = (_mm256_srai_epi16::<8>(a), _mm256_srai_epi16::<8>(b));
    _mm256_add_epi32(_mm256_madd_epi16(even_a, even_b), _mm256_madd_epi16(odd_a, odd_b))
}

#[inline]
#[target_feature(enable = "avx2")]
fn even_bytes(x: __m256i) -> __m256i {
    _mm256_srai_epi16::<8>(_mm256_slli_epi16::<8>(x))
}
