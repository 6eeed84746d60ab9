// Merkle trees as heaps: the root is node 1, the children of node h are 2h and 2h + 1, and the leaves of a tree of
// depth d begin at 2^d. The upper levels of a tree are then the beginning of its memory.
#pragma once
#include "blake3.h"

// A block climbs `levels` levels from its share of the nodes at `depth`: share number `block` of `count` nodes each.
// Ends with a barrier.
DEVICE void climb(const Key &node, u32 depth, u32 levels, u32 count, u32 block, uint4 *heap) {
    ROLLED for (u32 level = 1; level <= levels; level++) {
        const u32 mine = count >> level;
        const u64 first = (1ull << (depth - level)) + static_cast<u64>(block) * mine;
        ROLLED for (u32 i = threadIdx.x; i < mine; i += blockDim.x) {
            u32 children[16];
            load_words(children, heap + (first + i) * 4);
            Key chain = node;
            chain_block(chain.word, children, SINGLE);
            store_hash(heap + (first + i) * 2, chain.word);
        }
        block_barrier();
    }
}
