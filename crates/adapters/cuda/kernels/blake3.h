// BLAKE3's compression, from its paper, in the three shapes that the proof needs: a block of output, a step of a
// chunk's chain, and one round spread over four lanes.
//
// One compression is 56 mixes of 12 instructions (four additions, of which two take three operands, four exclusive ors,
// four rotations): 672, and 8 or 16 more for its output.
#pragma once
#include "device.h"

struct Key { u32 word[8]; };

constexpr u32 CHUNK_START = 1, CHUNK_END = 2, ROOT = 8, KEYED_HASH = 16;
// A keyed hash of an input of one block.
constexpr u32 SINGLE = CHUNK_START | CHUNK_END | ROOT | KEYED_HASH;
constexpr u32 BLOCK_BYTES = 64;

DEVICE void mix(u32 &a, u32 &b, u32 &c, u32 &d, u32 x, u32 y) {
    a = a + b + x;
    d = rotate_right(d ^ a, 16);
    c = c + d;
    b = rotate_right(b ^ c, 12);
    a = a + b + y;
    d = rotate_right(d ^ a, 8);
    c = c + d;
    b = rotate_right(b ^ c, 7);
}

// One round with the message's words in order.
DEVICE void mix_round(u32 (&v)[16], const u32 (&m)[16]) {
    UNROLL for (int i = 0; i < 4; i++) mix(v[i], v[4 + i], v[8 + i], v[12 + i], m[2 * i], m[2 * i + 1]);
    UNROLL for (int i = 0; i < 4; i++)
        mix(v[i], v[4 + (i + 1) % 4], v[8 + (i + 2) % 4], v[12 + (i + 3) % 4], m[8 + 2 * i], m[9 + 2 * i]);
}

// The state after seven rounds. The message is permuted in registers, which costs nothing once unrolled.
DEVICE void seven_rounds(u32 (&v)[16], const u32 (&chain)[8], const u32 (&message)[16], u64 counter, u32 length, u32 flags) {
    UNROLL for (int i = 0; i < 8; i++) v[i] = chain[i];
    v[8] = 0x6a09e667u; v[9] = 0xbb67ae85u; v[10] = 0x3c6ef372u; v[11] = 0xa54ff53au;
    v[12] = static_cast<u32>(counter); v[13] = static_cast<u32>(counter >> 32); v[14] = length; v[15] = flags;
    u32 m[16];
    UNROLL for (int i = 0; i < 16; i++) m[i] = message[i];
    UNROLL for (int r = 0; r < 7; r++) {
        mix_round(v, m);
        const u32 p[16] = {m[2], m[6], m[3], m[10], m[7], m[0], m[4], m[13],
                           m[1], m[11], m[12], m[5], m[9], m[14], m[15], m[8]};
        UNROLL for (int i = 0; i < 16; i++) m[i] = p[i];
    }
}

// The whole output block number `counter` of the keyed hash of one block of `length` bytes.
DEVICE void expand(u32 (&out)[16], const Key &key, const u32 (&message)[16], u64 counter, u32 length) {
    u32 v[16];
    seven_rounds(v, key.word, message, counter, length, SINGLE);
    UNROLL for (int i = 0; i < 8; i++) {
        out[i] = v[i] ^ v[i + 8];
        out[i + 8] = v[i + 8] ^ key.word[i];
    }
}

// One step of the chain over a chunk's blocks. With ROOT the chain is the 32-byte hash.
DEVICE void chain_block(u32 (&chain)[8], const u32 (&message)[16], u32 flags) {
    u32 v[16];
    seven_rounds(v, chain, message, 0, BLOCK_BYTES, flags);
    UNROLL for (int i = 0; i < 8; i++) chain[i] = v[i] ^ v[i + 8];
}

// A state spread over four lanes: lane q has the column q, q + 4, q + 8, q + 12.
struct Column { u32 a, b, c, d; };

// One round on a spread state. `first` are the words 2q and 2q + 1 of the message, `second` 8 + 2q and 9 + 2q: with the
// words in order no lane needs another's.
DEVICE void mix_round(Column &s, uint2 first, uint2 second, u32 q) {
    mix(s.a, s.b, s.c, s.d, first.x, first.y);
    s.b = from_quad(s.b, (q + 1) & 3);
    s.c = from_quad(s.c, (q + 2) & 3);
    s.d = from_quad(s.d, (q + 3) & 3);
    mix(s.a, s.b, s.c, s.d, second.x, second.y);
    s.b = from_quad(s.b, (q + 3) & 3);
    s.c = from_quad(s.c, (q + 2) & 3);
    s.d = from_quad(s.d, (q + 1) & 3);
}

DEVICE void load_words(u32 (&words)[16], const uint4 *from) {
    UNROLL for (int i = 0; i < 4; i++) {
        const uint4 four = from[i];
        words[4 * i] = four.x; words[4 * i + 1] = four.y; words[4 * i + 2] = four.z; words[4 * i + 3] = four.w;
    }
}

DEVICE void store_words(uint4 *to, const u32 (&words)[16]) {
    UNROLL for (int i = 0; i < 4; i++)
        to[i] = make_uint4(words[4 * i], words[4 * i + 1], words[4 * i + 2], words[4 * i + 3]);
}

// Hashes are 32 bytes: two of these.
DEVICE void store_hash(uint4 *to, const u32 (&hash)[8]) {
    to[0] = make_uint4(hash[0], hash[1], hash[2], hash[3]);
    to[1] = make_uint4(hash[4], hash[5], hash[6], hash[7]);
}
