// Tier T3: memory filled with items that cost many dependent cache reads each, and walks that read them.
//
// An item or a lane's state is worked on by four lanes of a warp, a column each: a read of 64 bytes is then two
// instructions that touch whole sectors (a thread alone would need four, with a cache line looked up per lane each),
// and the round's words arrive where they are used.
#include "blake3.h"

constexpr u32 FILL_THREADS = 128, WARP_ITEMS = 32;
// Words between two items in shared memory: odd, so that lanes meet in no bank.
constexpr u32 ITEM_STRIDE = 17;

// The item's 64 bytes are mixed into the state.
DEVICE void absorb(Column &state, const uint2 *blocks, u64 index, u32 q) {
    const uint2 *block = blocks + index * 8;
    const uint2 first = load_only(block + q), second = load_only(block + 4 + q);
    mix_round(state, first, second, q);
}

// Items `first`.. of a space, as many as `count`. A warp makes 32: every lane starts one alone, four lanes together read
// its parents (four items at a time, so that four reads are under way), every lane ends one alone.
// Shared memory: 17 words per thread.
KERNEL BLOCK_OF(FILL_THREADS, 1)
fill_items(Key space, const uint2 *cache, u32 cache_mask, u32 parents, u64 first, u64 count, uint4 *items) {
    const u32 lane = threadIdx.x % 32, q = lane % 4, quad = lane / 4;
    const u64 offset = static_cast<u64>(blockIdx.x) * blockDim.x + threadIdx.x, index = first + offset;
    u32 *states = shared_at<u32>(threadIdx.x / 32 * WARP_ITEMS * ITEM_STRIDE * 4);
    u32 *own = states + lane * ITEM_STRIDE;
    const u32 message[16] = {static_cast<u32>(index), static_cast<u32>(index >> 32), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0};
    u32 words[16];
    expand(words, space, message, 0, BLOCK_BYTES);
    UNROLL for (int i = 0; i < 16; i++) own[i] = words[i];
    warp_barrier();

    u32 column[4][4];
    UNROLL for (u32 g = 0; g < 4; g++)
        UNROLL for (u32 i = 0; i < 4; i++) column[g][i] = states[(g * 8 + quad) * ITEM_STRIDE + i * 4 + q];
    // Parent p is chosen by word p mod 16: register (p / 4) mod 4 of lane p mod 4.
    ROLLED for (u32 base = 0; base < parents; base += 4) {
        const u32 row = base / 4 % 4;
        UNROLL for (u32 p = 0; p < 4; p++) {
            if (base + p < parents) {
                uint2 early[4], late[4];
                UNROLL for (u32 g = 0; g < 4; g++) {
                    const u32 low = row & 1 ? column[g][1] : column[g][0], high = row & 1 ? column[g][3] : column[g][2];
                    const uint2 *block = cache + static_cast<u64>(from_quad(row & 2 ? high : low, p) & cache_mask) * 8;
                    early[g] = load_only(block + q);
                    late[g] = load_only(block + 4 + q);
                }
                UNROLL for (u32 g = 0; g < 4; g++) {
                    Column state = {column[g][0], column[g][1], column[g][2], column[g][3]};
                    mix_round(state, early[g], late[g], q);
                    column[g][0] = state.a; column[g][1] = state.b; column[g][2] = state.c; column[g][3] = state.d;
                }
            }
        }
    }
    UNROLL for (u32 g = 0; g < 4; g++)
        UNROLL for (u32 i = 0; i < 4; i++) states[(g * 8 + quad) * ITEM_STRIDE + i * 4 + q] = column[g][i];
    warp_barrier();

    u32 item[16];
    UNROLL for (int i = 0; i < 16; i++) words[i] = own[i];
    expand(item, space, words, 1, BLOCK_BYTES);
    if (offset < count) store_words(items + offset * 4, item);
}

// The states that lanes start from; a thread makes one.
KERNEL walk_start(Key walk, u32 lanes, uint4 *states) {
    const u32 lane = blockIdx.x * blockDim.x + threadIdx.x;
    if (lane >= lanes) return;
    const u32 message[16] = {lane, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0};
    u32 words[16];
    expand(words, walk, message, 0, BLOCK_BYTES);
    store_words(states + static_cast<u64>(lane) * 4, words);
}

// One step of every lane: the walk's key and the step's number, then `reads` items, each chosen by what the one before
// gave. Four threads per lane of the walk. A lane reads only the window of the items that its number's remainder names:
// blocks of one window (blockIdx.y) follow each other, so that what runs together stays within what address translation
// reaches.
KERNEL walk_step(const uint2 *items, u64 count, u32 windows, Key walk, u32 step, u32 lanes, u32 reads, u32 *states) {
    const u32 window = blockIdx.y, q = threadIdx.x % 4;
    const u64 lane = static_cast<u64>(blockIdx.x * (blockDim.x / 4) + threadIdx.x / 4) * windows + window;
    const u64 begin = window * count / windows, size = (window + 1) * count / windows - begin;
    // Threads without a lane walk the window's first with the others: every thread of a warp takes part in exchanges.
    const bool idle = lane >= lanes;
    u32 *own = states + (idle ? window % lanes : lane) * 16 + q;
    Column state = {own[0], own[4], own[8], own[12]};
    uint2 key = {walk.word[0], walk.word[1]};
    UNROLL for (u32 i = 1; i < 4; i++)
        if (q == i) key = {walk.word[2 * i], walk.word[2 * i + 1]};
    mix_round(state, key, {q == 0 ? step : 0, 0}, q);
    ROLLED for (u32 read = 0; read < reads; read++) {
        const u64 low = from_quad(state.a, 0), high = from_quad(state.a, 1);
        absorb(state, items, begin + multiply_high(high << 32 | low, size), q);
    }
    if (!idle) {
        own[0] = state.a; own[4] = state.b; own[8] = state.c; own[12] = state.d;
    }
}

// The leaves of a step's tree; a thread hashes the state of one lane.
KERNEL lane_leaves(Key lane_key, const uint4 *states, u32 lanes, uint4 *leaves) {
    const u32 lane = blockIdx.x * blockDim.x + threadIdx.x;
    if (lane >= lanes) return;
    u32 words[16];
    load_words(words, states + static_cast<u64>(lane) * 4);
    Key chain = lane_key;
    chain_block(chain.word, words, SINGLE);
    store_hash(leaves + static_cast<u64>(lane) * 2, chain.word);
}
