//! Blocks of 64 bytes and the two mixings that everything about memory is made of.

use crate::simd;

/// Sixteen little-endian words: a cache block, an item, a lane's state.
pub type Block = [u32; 16];

/// Bytes of a [`Block`].
pub const BLOCK_BYTES: usize = 64;

const IV: [u32; 4] = [0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a];
/// Keyed hash, one block that is first, last and root of its input.
const FLAGS: u32 = 1 | 2 | 8 | 16;
const PERMUTATION: [usize; 16] = [2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8];

/// Output block `t` of the keyed BLAKE3 stream over one block of input: a single compression.
pub fn compress(key: &[u32; 8], input: &Block, t: u64) -> Block {
    let [a, b, c, d, e, f, g, h] = *key;
    #[expect(clippy::cast_possible_truncation, reason = "the two halves of a counter")]
    let (low, high) = (t as u32, (t >> 32) as u32);
    let mut state = [a, b, c, d, e, f, g, h, IV[0], IV[1], IV[2], IV[3], low, high, 64, FLAGS];
    let mut message = *input;
    for _ in 0..6 {
        mix(&mut state, &message);
        message = PERMUTATION.map(|from| message[from]);
    }
    mix(&mut state, &message);
    for word in 0..8 {
        state[word] ^= state[word + 8];
        state[word + 8] ^= key[word];
    }
    state
}

/// [`compress`] of eight blocks at once, each with its counter.
pub(super) fn compress_eight(key: &[u32; 8], inputs: &[Block; 8], t: &[u64; 8]) -> [Block; 8] {
    if simd::has_avx2() {
        return simd::compress_eight_avx2(key, inputs, t);
    }
    std::array::from_fn(|block| compress(key, &inputs[block], t[block]))
}

/// One round of BLAKE3 on `state` with `message`: every word of the result depends on every word of both.
#[inline]
pub fn mix(state: &mut Block, message: &Block) {
    quarter(state, [0, 4, 8, 12], message[0], message[1]);
    quarter(state, [1, 5, 9, 13], message[2], message[3]);
    quarter(state, [2, 6, 10, 14], message[4], message[5]);
    quarter(state, [3, 7, 11, 15], message[6], message[7]);
    quarter(state, [0, 5, 10, 15], message[8], message[9]);
    quarter(state, [1, 6, 11, 12], message[10], message[11]);
    quarter(state, [2, 7, 8, 13], message[12], message[13]);
    quarter(state, [3, 4, 9, 14], message[14], message[15]);
}

#[inline]
const fn quarter(state: &mut Block, [a, b, c, d]: [usize; 4], x: u32, y: u32) {
    state[a] = state[a].wrapping_add(state[b]).wrapping_add(x);
    state[d] = (state[d] ^ state[a]).rotate_right(16);
    state[c] = state[c].wrapping_add(state[d]);
    state[b] = (state[b] ^ state[c]).rotate_right(12);
    state[a] = state[a].wrapping_add(state[b]).wrapping_add(y);
    state[d] = (state[d] ^ state[a]).rotate_right(8);
    state[c] = state[c].wrapping_add(state[d]);
    state[b] = (state[b] ^ state[c]).rotate_right(7);
}

/// The little-endian bytes of a block.
pub fn to_bytes(block: &Block) -> [u8; BLOCK_BYTES] {
    let mut bytes = [0; BLOCK_BYTES];
    for (slot, word) in bytes.as_chunks_mut::<4>().0.iter_mut().zip(block) {
        *slot = word.to_le_bytes();
    }
    bytes
}

/// The reverse of [`to_bytes`].
pub fn from_bytes(bytes: &[u8; BLOCK_BYTES]) -> Block {
    words(bytes)
}

/// The words of a key.
pub(crate) fn key_words(key: &[u8; 32]) -> [u32; 8] {
    words(key)
}

fn words<const BYTES: usize, const WORDS: usize>(bytes: &[u8; BYTES]) -> [u32; WORDS] {
    let mut words = [0; WORDS];
    for (word, bytes) in words.iter_mut().zip(bytes.as_chunks::<4>().0) {
        *word = u32::from_le_bytes(*bytes);
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_compression_is_a_block_of_the_keyed_stream() {
        let input: Block =
            std::array::from_fn(|word| 0x9e37_79b9u32.wrapping_mul(u32::try_from(word).unwrap() + 1));
        let key = [7u8; 32];
        let mut stream = blake3::Hasher::new_keyed(&key).update(&to_bytes(&input)).finalize_xof();
        for t in [0u64, 1, 2, 0xffff_ffff, 0x1_0000_0001] {
            let mut expected = [0; 64];
            stream.set_position(t * 64);
            stream.fill(&mut expected);
            assert_eq!(to_bytes(&compress(&key_words(&key), &input, t)), expected, "block {t}");
            let inputs: [Block; 8] = std::array::from_fn(|block| input.map(|word| word ^ input[block]));
            let counters = std::array::from_fn(|block| t + block as u64);
            let eight = compress_eight(&key_words(&key), &inputs, &counters);
            for block in 0..8 {
                assert_eq!(eight[block], compress(&key_words(&key), &inputs[block], counters[block]));
            }
        }
        assert_eq!(from_bytes(&to_bytes(&input)), input);
    }

    #[test]
    fn one_round_spreads_every_word() {
        for word in 0..16 {
            for in_message in [false, true] {
                let (mut state, mut other) = ([3u32; 16], [3u32; 16]);
                let (mut message, mut changed) = ([5u32; 16], [5u32; 16]);
                if in_message {
                    changed[word] ^= 1
                } else {
                    other[word] ^= 1
                }
                mix(&mut state, &message);
                mix(&mut other, &changed);
                message = [5; 16];
                mix(&mut state, &message);
                mix(&mut other, &message);
                assert!(state.iter().zip(&other).all(|(a, b)| a != b), "word {word}, message {in_message}");
            }
        }
    }
}
