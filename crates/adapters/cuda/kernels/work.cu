// Tier T2: matrix rows from the PRF, and the product committed leaf by leaf without ever being stored.
#include "blake3.h"

constexpr u32 PRF_INPUT_BYTES = 5;
constexpr u32 LEAF_CELLS = 256;

// Output block `block` of a row: 64 int8.
DEVICE void row_block(u32 (&words)[16], const Key &seed, u32 tag, u32 row, u32 block) {
    const u32 message[16] = {tag | row << 8, row >> 24, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0};
    expand(words, seed, message, block, PRF_INPUT_BYTES);
}

// Row blockIdx.x of a matrix; a thread makes one block of it.
KERNEL prf_rows(Key seed, u32 tag, u32 row_blocks, uint4 *rows) {
    const u32 row = blockIdx.x, block = blockIdx.y * blockDim.x + threadIdx.x;
    if (block >= row_blocks) return;
    u32 words[16];
    row_block(words, seed, tag, row, block);
    store_words(rows + (static_cast<u64>(row) * row_blocks + block) * 4, words);
}

// Cell `first` + blockIdx.x of the row-major product, from the seed alone: what an opened leaf is made from, and
// products too small for the tiles. Shared memory: a word per thread.
KERNEL BLOCK_OF(128, 1) cells(Key seed, u32 side, u32 row_blocks, u64 first, i32 *out) {
    const u64 flat = first + blockIdx.x;
    const u32 row = static_cast<u32>(flat / side), column = static_cast<u32>(flat % side);
    i32 sum = 0;
    for (u32 block = threadIdx.x; block < row_blocks; block += blockDim.x) {
        u32 a[16], b[16];
        row_block(a, seed, 'A', row, block);
        row_block(b, seed, 'B', column, block);
        UNROLL for (int i = 0; i < 16; i++) sum = dot_four(a[i], b[i], sum);
    }
    i32 *sums = shared_at<i32>(0);
    sums[threadIdx.x] = sum;
    for (u32 half = blockDim.x / 2; half > 0; half /= 2) {
        block_barrier();
        if (threadIdx.x < half) sums[threadIdx.x] += sums[threadIdx.x + half];
    }
    if (threadIdx.x == 0) out[blockIdx.x] = sums[0];
}

// A leaf is one chunk of 16 blocks: `part` of its four quarters, 64 cells from `cells` on.
DEVICE void chain_quarter(u32 (&chain)[8], const uint4 *cells, u32 part) {
    ROLLED for (u32 block = 0; block < 4; block++) {
        u32 words[16];
        load_words(words, cells + 4 * block);
        const u32 start = part == 0 && block == 0 ? CHUNK_START : 0;
        const u32 end = part == 3 && block == 3 ? CHUNK_END | ROOT : 0;
        chain_block(chain, words, KEYED_HASH | start | end);
    }
}

// Hashes leaves from cells in memory; a thread hashes one.
KERNEL leaves_of_cells(Key leaf, const uint4 *cells, u32 count, uint4 *leaves) {
    const u32 index = blockIdx.x * blockDim.x + threadIdx.x;
    if (index >= count) return;
    Key chain = leaf;
    ROLLED for (u32 part = 0; part < 4; part++)
        chain_quarter(chain.word, cells + (static_cast<u64>(index) * 4 + part) * 16, part);
    store_hash(leaves + static_cast<u64>(index) * 2, chain.word);
}

// A block's tile of the product: 128 rows of 256 columns, so that a row of the tile is one leaf. Eight warps, two
// down and four across, have 64 × 64 cells each in registers.
constexpr u32 TILE_ROWS = 128, TILE_COLUMNS = LEAF_CELLS, TILE_THREADS = 256;
// Bytes of a row that one step multiplies: two instructions deep, four copies of 16 bytes wide.
constexpr u32 STEP = 64;
constexpr u32 STAGES = 4;
constexpr u32 A_STAGE = TILE_ROWS * STEP, B_STAGE = TILE_COLUMNS * STEP, STAGE_BYTES = A_STAGE + B_STAGE;
// 96 KiB, which every card from compute capability 8.0 on has.
constexpr u32 TILE_SHARED = STAGES * STAGE_BYTES;
// When the product is done the stages' memory takes quarters of the tile on their way to the hash. Rows lie 68 words
// apart, so that eight lanes reading 16 bytes each of eight rows touch every bank once.
constexpr u32 QUARTER = 64, QUARTER_STRIDE = QUARTER + 4;
constexpr u32 QUARTER_BYTES = TILE_ROWS * QUARTER_STRIDE * 4;
static_assert(2 * QUARTER_BYTES <= TILE_SHARED, "two quarters fit");
// Tiles of this many rows of tiles run side by side, so that the blocks of a moment share operands in the L2 cache.
constexpr u32 GROUP_TILES = 16;

// Where 16 bytes of a staged row lie: rows are 64 bytes, and without the exclusive or eight rows would meet in
// the same banks.
DEVICE u32 staged(u32 row, u32 piece) { return row * STEP + ((piece ^ (row >> 1 & 3)) << 4); }

// What a warp multiplies at once: 64 rows and 64 columns by 32 bytes.
struct Fragments { u32 a[4][4], b[4][4]; };

struct Tile {
    const i8 *a, *b;
    u32 inner, warp_row, warp_column, lane;
};

// Begins the copies of one step: 1,536 pieces of 16 bytes, six a thread.
DEVICE void copy_step(const Tile &tile, u32 step) {
    const u32 piece = threadIdx.x & 3, row = threadIdx.x >> 2, stage = step % STAGES * STAGE_BYTES;
    const u64 column = static_cast<u64>(step) * STEP + piece * 16, row_jump = static_cast<u64>(64) * tile.inner;
    const u64 from = static_cast<u64>(row) * tile.inner + column;
    const u32 at = stage + staged(row, piece);
    UNROLL for (u32 i = 0; i < TILE_ROWS / 64; i++) copy_begin(at + i * 64 * STEP, tile.a + from + i * row_jump);
    UNROLL for (u32 i = 0; i < TILE_COLUMNS / 64; i++)
        copy_begin(at + A_STAGE + i * 64 * STEP, tile.b + from + i * row_jump);
}

// Loads half `half` of a staged step into registers, in the order that the instruction wants.
DEVICE void load_fragments(Fragments &f, const Tile &tile, u32 step, u32 half) {
    const u32 stage = step % STAGES * STAGE_BYTES, lane = tile.lane;
    UNROLL for (u32 i = 0; i < 4; i++) {
        const u32 row = tile.warp_row + i * 16 + (lane & 15);
        load_matrices(f.a[i], stage + staged(row, 2 * half + (lane >> 4)));
        const u32 column = tile.warp_column + i * 16 + (lane & 7) + (lane >> 4) * 8;
        load_matrices(f.b[i], stage + A_STAGE + staged(column, 2 * half + (lane >> 3 & 1)));
    }
}

DEVICE void multiply_fragments(i32 (&sums)[4][8][4], const Fragments &f) {
    UNROLL for (u32 i = 0; i < 4; i++)
        UNROLL for (u32 j = 0; j < 8; j++)
            multiply_add(sums[i][j], f.a[i], f.b[j / 2][j % 2 * 2], f.b[j / 2][j % 2 * 2 + 1]);
}

// The product's tile, left in registers. Copies run three steps ahead; fragments are loaded while the ones before are
// multiplied.
DEVICE void multiply_tile(i32 (&sums)[4][8][4], const Tile &tile) {
    const u32 steps = tile.inner / STEP;
    UNROLL for (u32 step = 0; step < STAGES - 1; step++) {
        if (step < steps) copy_step(tile, step);
        copy_close();
    }
    copy_wait<STAGES - 2>();
    block_barrier();
    Fragments first, second;
    load_fragments(first, tile, 0, 0);
    ROLLED for (u32 step = 0; step < steps; step++) {
        load_fragments(second, tile, step, 1);
        multiply_fragments(sums, first);
        // The stage that this overwrites was read for the last time before the barrier of the step before.
        if (step + STAGES - 1 < steps) copy_step(tile, step + STAGES - 1);
        copy_close();
        copy_wait<STAGES - 2>();
        block_barrier();
        if (step + 1 < steps) load_fragments(first, tile, step + 1, 0);
        multiply_fragments(sums, second);
    }
    copy_wait<0>();
    block_barrier();
}

// A warp's 64 × 64 cells, to a quarter's rows in shared memory.
DEVICE void store_quarter(const i32 (&sums)[4][8][4], const Tile &tile, u32 at) {
    i32 *quarter = shared_at<i32>(at);
    UNROLL for (u32 i = 0; i < 4; i++)
        UNROLL for (u32 j = 0; j < 8; j++) {
            const u32 row = tile.warp_row + i * 16 + (tile.lane >> 2), column = j * 8 + (tile.lane & 3) * 2;
            *reinterpret_cast<int2 *>(quarter + row * QUARTER_STRIDE + column) = make_int2(sums[i][j][0], sums[i][j][1]);
            *reinterpret_cast<int2 *>(quarter + (row + 8) * QUARTER_STRIDE + column) = make_int2(sums[i][j][2], sums[i][j][3]);
        }
}

// One tile of the product and the hashes of its 128 leaves. 128 threads, one on each of four schedulers' warps, hash a
// leaf each, a quarter at a time, while the other quarters wait in registers: only the hashes leave the chip.
KERNEL BLOCK_OF(TILE_THREADS, 1)
product_leaves(const i8 *a, const i8 *b, u32 side, u32 inner, Key leaf, uint4 *leaves) {
    const u32 tiles_down = side / TILE_ROWS, tiles_across = side / TILE_COLUMNS;
    const u32 group = tiles_down < GROUP_TILES ? tiles_down : GROUP_TILES, in_group = group * tiles_across;
    const u32 down = blockIdx.x / in_group * group + blockIdx.x % in_group % group;
    const u32 across = blockIdx.x % in_group / group;
    const u32 warp = threadIdx.x / 32;
    const Tile tile = {a + static_cast<u64>(down) * TILE_ROWS * inner, b + static_cast<u64>(across) * TILE_COLUMNS * inner,
                       inner, warp % 2 * 64, warp / 2 * 64, threadIdx.x % 32};
    i32 sums[4][8][4] = {};
    multiply_tile(sums, tile);
    Key chain = leaf;
    // Two buffers in turn: a quarter is written over only after a barrier that follows its hashing.
    ROLLED for (u32 part = 0; part < 4; part++) {
        const u32 at = part % 2 * QUARTER_BYTES;
        if (warp / 2 == part) store_quarter(sums, tile, at);
        block_barrier();
        if (threadIdx.x < TILE_ROWS)
            chain_quarter(chain.word, shared_at<uint4>(at + threadIdx.x * QUARTER_STRIDE * 4), part);
    }
    if (threadIdx.x < TILE_ROWS) {
        const u64 row = static_cast<u64>(down) * TILE_ROWS + threadIdx.x;
        store_hash(leaves + (row * tiles_across + across) * 2, chain.word);
    }
}
