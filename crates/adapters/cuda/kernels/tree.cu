// Merkle trees as heaps: the root is node 1, the children of node h are 2h and 2h + 1, and the leaves of a tree of
// depth d begin at 2^d. The upper levels of a tree are then the beginning of its memory.
#include "blake3.h"

// What one launch can climb: 512 nodes to one.
constexpr u32 TREE_THREADS = 256, TREE_LEVELS = 9;

// From the nodes at `depth` up by `levels` (at most 9): a block takes 512 of them, or all where there are fewer.
KERNEL BLOCK_OF(TREE_THREADS, 1) tree_levels(Key node, u32 depth, u32 levels, uint4 *heap) {
    for (u32 level = 1; level <= levels; level++) {
        const u32 width = 1u << (depth - level), share = TREE_THREADS >> (level - 1);
        const u32 mine = share < width ? share : width;
        if (threadIdx.x < mine) {
            const u64 at = static_cast<u64>(width) + static_cast<u64>(blockIdx.x) * mine + threadIdx.x;
            u32 children[16];
            load_words(children, heap + at * 4);
            Key chain = node;
            chain_block(chain.word, children, SINGLE);
            store_hash(heap + at * 2, chain.word);
        }
        block_barrier();
    }
}
