// The trees of rounds.
#include "tree.h"

// What one launch can climb: 512 nodes to one.
constexpr u32 TREE_THREADS = 256, TREE_LEVELS = 9;

// From the nodes at `depth` up by `levels`, at most 9: a block takes 512 of them, or all where there are fewer.
KERNEL BLOCK_OF(TREE_THREADS, 1) tree_levels(Key node, u32 depth, u32 levels, uint4 *heap) {
    climb(node, depth, levels, 1u << (depth < TREE_LEVELS ? depth : TREE_LEVELS), blockIdx.x, heap);
}
