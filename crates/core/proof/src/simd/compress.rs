//! Eight compressions side by side, for the beacon's cache.

use std::arch::x86_64::*;

use super::blocks::{FLAGS, IV, rounds_256};
use super::has_avx2;
use super::stream::transpose;

/// [`crate::residency::compress`] of each input with its counter.
pub(crate) fn compress_eight_avx2(key: &[u32; 8], inputs: &[[u32; 16]; 8], t: &[u64; 8]) -> [[u32; 16]; 8] {
    assert!(has_avx2(), "callers check has_avx2");
    // SAFETY: the feature was just found on this processor.
    unsafe { eight(key, inputs, t) }
}

#[target_feature(enable = "avx2")]
fn eight(key: &[u32; 8], inputs: &[[u32; 16]; 8], t: &[u64; 8]) -> [[u32; 16]; 8] {
    let same = |word: u32| _mm256_set1_epi32(word.cast_signed());
    let chain = key.map(same);
    #[expect(clippy::cast_possible_truncation, reason = "the two halves of a counter")]
    let [low, high] = [t.map(|t| t as u32), t.map(|t| (t >> 32) as u32)];
    let [a, b, c, d, e, f, g, h] = chain;
    let [i, j, k, l] = IV.map(same);
    let mut v =
        [a, b, c, d, e, f, g, h, i, j, k, l, load(&low), load(&high), same(64), same(FLAGS.cast_unsigned())];
    let halves = inputs.each_ref().map(|input| input.as_chunks::<8>().0);
    let [first, second] = [0, 1].map(|half| transpose(halves.map(|halves| load(&halves[half]))));
    let words = std::array::from_fn(|word| if word < 8 { first[word] } else { second[word - 8] });
    rounds_256(&mut v, &words);
    let first = transpose(std::array::from_fn(|word| _mm256_xor_si256(v[word], v[word + 8])));
    let second = transpose(std::array::from_fn(|word| _mm256_xor_si256(v[word + 8], chain[word])));
    let mut blocks = [[0; 16]; 8];
    for (block, halves) in blocks.iter_mut().zip(first.into_iter().zip(second)) {
        let [low, high] = block.as_chunks_mut::<8>().0 else { unreachable!("sixteen words are two halves") };
        store(low, halves.0);
        store(high, halves.1);
    }
    blocks
}

#[inline]
#[target_feature(enable = "avx2")]
fn load(words: &[u32; 8]) -> __m256i {
    // SAFETY: the array has the 32 bytes that an unaligned load reads.
    unsafe { _mm256_loadu_si256(words.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx2")]
fn store(words: &mut [u32; 8], vector: __m256i) {
    // SAFETY: the array has the 32 bytes that an unaligned store writes.
    unsafe { _mm256_storeu_si256(words.as_mut_ptr().cast(), vector) }
}
