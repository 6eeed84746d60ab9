//! Our kernels, each behind a function that takes what it needs and checks that buffers are large enough.

use std::ffi::CStr;

use basilica_proof::merkle;
use basilica_proof::residency::{self, Walk, WalkParams};
use basilica_proof::seed::Seed;

use crate::driver::{Argument, Attribute, Buffer, Context, CudaError, Device, Function, Module, Shape};

/// What `cargo xtask kernels` made of `kernels/`. Drivers compile it for the device that is there; there is one text for
/// all, because NVRTC's answers for 8.0 and 9.0 differ in the line `.target` alone: no kernel uses what only newer devices have.
const PTX: &str = concat!(include_str!("../ptx/sm_80.ptx"), "\0");

/// Cells of a leaf.
const LEAF_CELLS: u64 = 256;
/// Rows and columns of the product that one block makes (`kernels/work.cu`).
const TILE: (u32, u32) = (128, 256);
const TILE_THREADS: u32 = 256;
const TILE_SHARED: u32 = 96 * 1024;
/// Threads of the kernels that give each thread something of its own.
const THREADS: u32 = 128;
/// Levels that one launch climbs, and its threads: 512 nodes to one.
const TREE_LEVELS: u32 = 9;
const TREE_THREADS: u32 = 256;
/// Bytes of a hash.
pub(crate) const HASH_BYTES: u64 = 32;
/// Bytes of an item and of a lane's state.
pub(crate) const BLOCK_BYTES: u64 = 64;
/// Words per thread that `fill_items` keeps in shared memory.
const ITEM_STRIDE: u32 = 17;
/// Lanes of a walk that a block takes, and levels that a block hashes (`kernels/residency.cu`).
const TURN_LANES: u32 = 64;
const LOWER_LEVELS: u32 = 9;
/// Items of one launch of `fill_items`: short launches, so that nothing else on the device waits for long.
const FILL_ITEMS: u64 = 1 << 24;

/// The smallest side whose product is made in tiles.
pub(crate) const TILED_SIDE_MIN: u32 = TILE.1;

/// The words of a key.
pub(crate) fn key_words(key: &[u8; 32]) -> [u32; 8] {
    let mut words = [0; 8];
    for (word, bytes) in words.iter_mut().zip(key.as_chunks::<4>().0) {
        *word = u32::from_le_bytes(*bytes);
    }
    words
}

/// A matrix, by the tag of its rows (`basilica_proof::prf`).
#[derive(Clone, Copy, Debug)]
pub(crate) enum Operand {
    A,
    B,
}

/// All kernels on one device.
#[derive(Debug)]
pub(crate) struct Kernels {
    prf_rows: Function,
    cells: Function,
    leaves_of_cells: Function,
    product_leaves: Function,
    tree_levels: Function,
    fill_items: Function,
    walk_start: Function,
    walk_turn: Function,
}

/// A Merkle tree in device memory as a heap: node 1 is the root, leaves begin at 2^depth.
#[derive(Debug)]
pub(crate) struct Heap {
    pub(crate) nodes: Buffer,
    pub(crate) depth: u32,
}

impl Heap {
    /// Bytes of a tree of this depth.
    pub(crate) const fn bytes(depth: u32) -> u64 {
        HASH_BYTES << (depth + 1)
    }

    pub(crate) fn new(context: &Context, depth: u32) -> Result<Self, CudaError> {
        Ok(Self { nodes: context.allocate(Self::bytes(depth))?, depth })
    }

    /// Where the leaves begin.
    const fn leaves(&self) -> u64 {
        self.nodes.address() + (HASH_BYTES << self.depth)
    }

    pub(crate) fn node(&self, index: u64) -> Result<[u8; 32], CudaError> {
        let mut node = [0; 32];
        self.nodes.read(index * HASH_BYTES, &mut node)?;
        Ok(node)
    }
}

/// Items wherever they lie, as kernels reach them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ItemsAt {
    pub(crate) address: u64,
    pub(crate) count: u64,
}

impl Kernels {
    /// Compiles and loads them.
    pub(crate) fn load(device: &Device, context: &Context) -> Result<Self, CudaError> {
        let (major, minor) = (device.attribute(Attribute::Major)?, device.attribute(Attribute::Minor)?);
        if major < 8 {
            return Err(CudaError::Capability { major, minor });
        }
        let ptx = CStr::from_bytes_with_nul(PTX.as_bytes())
            .map_err(|_| CudaError::Implausible { what: "PTX: a zero byte" })?;
        let module: Module = context.module(ptx)?;
        let plain = |name: &CStr| module.function(name, 0);
        Ok(Self {
            prf_rows: plain(c"prf_rows")?,
            cells: module.function(c"cells", THREADS * 4)?,
            leaves_of_cells: plain(c"leaves_of_cells")?,
            product_leaves: module.function(c"product_leaves", TILE_SHARED)?,
            tree_levels: plain(c"tree_levels")?,
            fill_items: module.function(c"fill_items", THREADS * ITEM_STRIDE * 4)?,
            walk_start: plain(c"walk_start")?,
            walk_turn: plain(c"walk_turn")?,
        })
    }

    /// All rows of a matrix.
    pub(crate) fn rows(
        &self,
        seed: &Seed,
        operand: Operand,
        side: u32,
        inner: u32,
        rows: &Buffer,
    ) -> Result<(), CudaError> {
        assert!(rows.bytes() >= u64::from(side) * u64::from(inner), "a matrix fits its buffer");
        let tag = match operand {
            Operand::A => b'A',
            Operand::B => b'B',
        };
        let blocks = inner / 64;
        let shape = Shape { grid: (side, blocks.div_ceil(THREADS)), block: THREADS, shared: 0 };
        let arguments = vec![
            Argument::Key(key_words(seed.as_bytes())),
            Argument::Word(u32::from(tag)),
            Argument::Word(blocks),
            Argument::Long(rows.address()),
        ];
        // SAFETY: `prf_rows(Key, u32, u32, uint4 *)` writes `inner` bytes for each of `side` rows.
        unsafe { self.prf_rows.launch(shape, arguments) }
    }

    /// `count` cells of the product from cell `first` on, as int32, made from the seed alone.
    pub(crate) fn cells(
        &self,
        seed: &Seed,
        (side, inner): (u32, u32),
        first: u64,
        count: u32,
        out: &Buffer,
    ) -> Result<(), CudaError> {
        assert!(out.bytes() >= u64::from(count) * 4, "the cells fit their buffer");
        // A thread per block of the rows, as far as there are that many.
        let (blocks, warp) = (inner / 64, 32);
        let threads = blocks.next_power_of_two().clamp(warp, THREADS);
        let shape = Shape { grid: (count, 1), block: threads, shared: threads * 4 };
        let arguments = vec![
            Argument::Key(key_words(seed.as_bytes())),
            Argument::Word(side),
            Argument::Word(blocks),
            Argument::Long(first),
            Argument::Long(out.address()),
        ];
        // SAFETY: `cells(Key, u32, u32, u64, i32 *)` writes a word per block.
        unsafe { self.cells.launch(shape, arguments) }
    }

    /// Hashes the first `count` leaves of cells in memory.
    pub(crate) fn hash_cells(
        &self,
        key: &[u8; 32],
        cells: &Buffer,
        count: u32,
        (leaves, at): (&Buffer, u64),
    ) -> Result<(), CudaError> {
        assert!(cells.bytes() >= u64::from(count) * LEAF_CELLS * 4, "that many leaves are there");
        assert!(leaves.bytes() >= at + u64::from(count) * HASH_BYTES, "the hashes fit their buffer");
        let shape = Shape { grid: (count.div_ceil(THREADS), 1), block: THREADS, shared: 0 };
        let arguments = vec![
            Argument::Key(key_words(key)),
            Argument::Long(cells.address()),
            Argument::Word(count),
            Argument::Long(leaves.address() + at),
        ];
        // SAFETY: `leaves_of_cells(Key, const uint4 *, u32, uint4 *)` reads `count` leaves and writes as many hashes.
        unsafe { self.leaves_of_cells.launch(shape, arguments) }
    }

    /// The product of two matrices, as the leaves of a tree.
    pub(crate) fn product(
        &self,
        key: &[u8; 32],
        (a, b): (&Buffer, &Buffer),
        (side, inner): (u32, u32),
        heap: &Heap,
    ) -> Result<(), CudaError> {
        assert!(side >= TILED_SIDE_MIN && side.is_power_of_two() && inner.is_multiple_of(64), "whole tiles");
        let matrix = u64::from(side) * u64::from(inner);
        assert!(a.bytes() >= matrix && b.bytes() >= matrix, "the operands are whole");
        assert!(u64::from(side) * u64::from(side) == LEAF_CELLS << heap.depth, "the tree is the product's");
        let tiles = (side / TILE.0) * (side / TILE.1);
        let shape = Shape { grid: (tiles, 1), block: TILE_THREADS, shared: TILE_SHARED };
        let arguments = vec![
            Argument::Long(a.address()),
            Argument::Long(b.address()),
            Argument::Word(side),
            Argument::Word(inner),
            Argument::Key(key_words(key)),
            Argument::Long(heap.leaves()),
        ];
        // SAFETY: `product_leaves(const i8 *, const i8 *, u32, u32, Key, uint4 *)` reads two matrices and writes a hash
        // per leaf of the product.
        unsafe { self.product_leaves.launch(shape, arguments) }
    }

    /// Everything above the leaves.
    pub(crate) fn climb(&self, key: &[u8; 32], heap: &Heap) -> Result<(), CudaError> {
        let mut depth = heap.depth;
        while depth > 0 {
            let levels = depth.min(TREE_LEVELS);
            let blocks = 1 << depth.saturating_sub(TREE_LEVELS);
            let shape = Shape { grid: (blocks, 1), block: TREE_THREADS, shared: 0 };
            let arguments = vec![
                Argument::Key(key_words(key)),
                Argument::Word(depth),
                Argument::Word(levels),
                Argument::Long(heap.nodes.address()),
            ];
            // SAFETY: `tree_levels(Key, u32, u32, uint4 *)` reads the nodes at `depth`, which is at most the heap's, and
            // writes nodes above them.
            unsafe { self.tree_levels.launch(shape, arguments)? };
            depth -= levels;
        }
        Ok(())
    }

    /// Makes all items of a space whose key this is, from a cache of a power of two of blocks.
    pub(crate) fn fill(
        &self,
        key: &[u8; 32],
        cache: &Buffer,
        parents: u16,
        items: ItemsAt,
    ) -> Result<(), CudaError> {
        let blocks = cache.bytes() / BLOCK_BYTES;
        assert!(blocks.is_power_of_two() && blocks <= 1 << 32, "a cache has a power of two of blocks");
        let mask = u32::try_from(blocks - 1).expect("below 2^32");
        for first in (0..items.count).step_by(1 << FILL_ITEMS.trailing_zeros()) {
            let count = FILL_ITEMS.min(items.count - first);
            let grid = u32::try_from(count.div_ceil(u64::from(THREADS))).expect("at most 2^24 items");
            let shape = Shape { grid: (grid, 1), block: THREADS, shared: THREADS * ITEM_STRIDE * 4 };
            let arguments = vec![
                Argument::Key(key_words(key)),
                Argument::Long(cache.address()),
                Argument::Word(mask),
                Argument::Word(u32::from(parents)),
                Argument::Long(first),
                Argument::Long(count),
                Argument::Long(items.address + first * BLOCK_BYTES),
            ];
            // SAFETY: `fill_items(Key, const uint2 *, u32, u32, u64, u64, uint4 *)` reads blocks of the cache up to the
            // mask and writes `count` items, which lie inside what the caller names.
            unsafe { self.fill_items.launch(shape, arguments)? };
        }
        Ok(())
    }

    /// The states that the lanes of a walk start from.
    pub(crate) fn start(&self, key: &[u8; 32], lanes: u32, states: &Buffer) -> Result<(), CudaError> {
        assert!(states.bytes() >= u64::from(lanes) * BLOCK_BYTES, "the states fit their buffer");
        let shape = Shape { grid: (lanes.div_ceil(THREADS), 1), block: THREADS, shared: 0 };
        let arguments =
            vec![Argument::Key(key_words(key)), Argument::Word(lanes), Argument::Long(states.address())];
        // SAFETY: `walk_start(Key, u32, uint4 *)` writes a state per lane.
        unsafe { self.walk_start.launch(shape, arguments) }
    }

    /// What can be done at once of a walk's steps: see [`Turn`].
    pub(crate) fn turn(&self, walk: &Walk, items: ItemsAt, turn: &Turn<'_>) -> Result<(), CudaError> {
        let WalkParams { lanes, reads, windows, .. } = *walk.region().params().walk();
        let (states, heaps) = (turn.states, turn.heaps);
        let room = u64::from(lanes) * BLOCK_BYTES;
        assert!(states.iter().all(|states| states.bytes() >= room), "there is a state per lane");
        assert!(heaps.iter().all(|heap| 1 << heap.depth == lanes), "there is a leaf per lane");
        assert!(turn.roots.bytes() >= turn.root + HASH_BYTES, "there is room for the root");
        assert_eq!(items.count, walk.region().params().items(), "the items are the region's");
        let (depth, windows) = (heaps[0].depth, u32::from(windows));
        // Row 0 hashes, by a block for every 512 lanes and one for what is above them.
        let hashing = (1 << depth.saturating_sub(LOWER_LEVELS)) + 1;
        let (walking, rows) = match turn.step {
            Some(_) => (lanes.div_ceil(windows).div_ceil(TURN_LANES), windows + 1),
            None => (1, 1),
        };
        let shape = Shape { grid: (walking.max(hashing), rows), block: THREADS, shared: 0 };
        let step = turn.step.unwrap_or(0);
        let flags = [u32::from(turn.lower), u32::from(turn.upper)];
        let arguments = vec![
            Argument::Seven([step, lanes, u32::from(reads), windows, depth, flags[0], flags[1]]),
            Argument::Long(items.address),
            Argument::Long(items.count),
            Argument::Key(key_words(walk.key(step))),
            Argument::Long(states[0].address()),
            Argument::Long(states[1].address()),
            Argument::Key(key_words(residency::lane_key())),
            Argument::Key(key_words(merkle::node_key())),
            Argument::Long(heaps[0].nodes.address()),
            Argument::Long(heaps[1].nodes.address()),
            Argument::Long(turn.roots.address() + turn.root),
        ];
        // SAFETY: `walk_turn(Turn, const uint2 *, u64, Key, const u32 *, u32 *, Key, Key, uint4 *, uint4 *, uint4 *)` reads
        // items below the count and a state per lane, and writes a state per lane, two trees and a hash.
        unsafe { self.walk_turn.launch(shape, arguments) }
    }
}

/// One launch of a walk: a step of the lanes, the lower part of the tree of the step before, and the upper part of the
/// tree of the one before that.
#[derive(Debug)]
pub(crate) struct Turn<'a> {
    /// The step to take; none at the walk's end, when only trees are left.
    pub(crate) step: Option<u32>,
    /// The states to take it from, which are hashed, and where those after it go.
    pub(crate) states: [&'a Buffer; 2],
    /// Whether there is a step before, whose states are hashed into the first heap.
    pub(crate) lower: bool,
    /// Whether there is one before that, whose tree is the second heap.
    pub(crate) upper: bool,
    pub(crate) heaps: [&'a Heap; 2],
    /// Where the finished tree's root goes, and how far in.
    pub(crate) roots: &'a Buffer,
    pub(crate) root: u64,
}
