// Tier T3: memory filled with items that cost many dependent cache reads each, and walks that read them.
//
// An item or a lane's state is worked on by four lanes of a warp, a column each: a read of 64 bytes is then two
// instructions that touch whole sectors (a thread alone would need four, with a cache line looked up per lane each),
// and the round's words arrive where they are used.
#include "tree.h"

constexpr u32 FILL_THREADS = 128, WARP_ITEMS = 32;
// Words between two items in shared memory: odd, so that lanes meet in no bank.
constexpr u32 ITEM_STRIDE = 17;

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

// What one launch of a walk does, for three steps at once, none of which waits for another in it: it takes a step of every
// lane, hashes the states of the step before into the lower part of its tree, and finishes the tree of the one before
// that. So hashing hides behind reading, and there is one launch per step.
struct Turn {
    u32 step, lanes, reads, windows;
    // Levels of a step's tree; what to do besides walking.
    u32 depth, lower, upper;
};

constexpr u32 TURN_THREADS = 128;
// Lanes that four threads walk: two, so that two reads are under way in each thread.
constexpr u32 QUAD_LANES = 2, TURN_LANES = TURN_THREADS / 4 * QUAD_LANES;
// A block of the lower part takes so many lanes' hashes to one node.
constexpr u32 LOWER_LEVELS = 9;

// The hashes of so many lanes' states, as leaves of their step's tree. Ends with a barrier.
DEVICE void hash_lanes(const Turn &turn, const Key &lane_key, u32 first, u32 count, const uint4 *states, uint4 *heap) {
    ROLLED for (u32 i = threadIdx.x; i < count; i += blockDim.x) {
        u32 words[16];
        load_words(words, states + static_cast<u64>(first + i) * 4);
        Key chain = lane_key;
        chain_block(chain.word, words, SINGLE);
        store_hash(heap + (static_cast<u64>(turn.lanes) + first + i) * 2, chain.word);
    }
    block_barrier();
}

// A block's part of two trees: of the one, 512 lanes and what is above them; of the other, all that is left, by the
// block after those, which puts the root beside the others.
DEVICE void hash_turn(const Turn &turn, const Key &lane_key, const Key &node, const uint4 *states,
                      uint4 *lower, uint4 *upper, uint4 *root) {
    const u32 levels = turn.depth < LOWER_LEVELS ? turn.depth : LOWER_LEVELS, rest = turn.depth - levels;
    const bool finishing = blockIdx.x == 1u << rest;
    if (finishing ? !turn.upper : !turn.lower || blockIdx.x > 1u << rest) return;
    if (!finishing) hash_lanes(turn, lane_key, blockIdx.x << levels, 1u << levels, states, lower);
    const u32 up = finishing ? rest : levels;
    climb(node, finishing ? rest : turn.depth, up, 1u << up, finishing ? 0 : blockIdx.x, finishing ? upper : lower);
    if (finishing && threadIdx.x < 2) root[threadIdx.x] = upper[2 + threadIdx.x];
}

// Blocks of row 0 hash, those of row w + 1 walk the lanes that read window w at this step, (lane + step) mod windows = w,
// and blocks of one window follow each other, so that what runs together stays within what address
// translation reaches. A step is the walk's key, the step's number and the lane's, then `reads` items, each chosen by what the one
// before gave. Four threads walk two lanes.
KERNEL BLOCK_OF(TURN_THREADS, 10)
walk_turn(Turn turn, const uint2 *items, u64 count, Key walk, const u32 *from, u32 *to,
          Key lane_key, Key node, uint4 *lower, uint4 *upper, uint4 *root) {
    if (blockIdx.y == 0) {
        hash_turn(turn, lane_key, node, reinterpret_cast<const uint4 *>(from), lower, upper, root);
        return;
    }
    const u32 window = blockIdx.y - 1, q = threadIdx.x % 4, quad = threadIdx.x / 4;
    const u32 remainder = (window + turn.windows - turn.step % turn.windows) % turn.windows;
    const u64 begin = window * count / turn.windows, size = (window + 1) * count / turn.windows - begin;
    uint2 key = {walk.word[0], walk.word[1]};
    UNROLL for (u32 i = 1; i < 4; i++)
        if (q == i) key = {walk.word[2 * i], walk.word[2 * i + 1]};
    Column states[QUAD_LANES];
    u64 lanes[QUAD_LANES];
    UNROLL for (u32 g = 0; g < QUAD_LANES; g++) {
        lanes[g] = (static_cast<u64>(blockIdx.x) * TURN_LANES + g * (TURN_LANES / QUAD_LANES) + quad) * turn.windows + remainder;
        // Threads without a lane walk another with the others, as every thread of a warp takes part in exchanges, and
        // store nothing.
        const u32 *own = from + (lanes[g] < turn.lanes ? lanes[g] : 0) * 16 + q;
        states[g] = {own[0], own[4], own[8], own[12]};
        mix_round(states[g], key, {q == 0 ? turn.step : 0, q == 0 ? static_cast<u32>(lanes[g]) : 0}, q);
    }
    ROLLED for (u32 read = 0; read < turn.reads; read++) {
        uint2 early[QUAD_LANES], late[QUAD_LANES];
        UNROLL for (u32 g = 0; g < QUAD_LANES; g++) {
            const u64 low = from_quad(states[g].a, 0), high = from_quad(states[g].a, 1);
            const uint2 *block = items + (begin + multiply_high(high << 32 | low, size)) * 8;
            early[g] = load_only(block + q);
            late[g] = load_only(block + 4 + q);
        }
        UNROLL for (u32 g = 0; g < QUAD_LANES; g++) mix_round(states[g], early[g], late[g], q);
    }
    UNROLL for (u32 g = 0; g < QUAD_LANES; g++)
        if (lanes[g] < turn.lanes) {
            u32 *own = to + lanes[g] * 16 + q;
            own[0] = states[g].a; own[4] = states[g].b; own[8] = states[g].c; own[12] = states[g].d;
        }
}
