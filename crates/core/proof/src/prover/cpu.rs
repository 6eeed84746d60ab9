//! A device played by CPU cores: the reference backend.
//!
//! Memory is bounded by the parameters: Bᵀ (n·k bytes), per thread 64 rows of A and of the product, and per
//! round a tree of 64 bytes per leaf. Products are hashed and dropped; opened leaves are computed again. Regions of
//! memory are held as large as they are asked for, and the states of their lanes.

use std::fmt;
use std::sync::Arc;

use basilica_types::Digest;

use super::memory::{Memory, Ram, Resident};
use super::walks::Lanes;
use super::{Advance, Backend, BackendError, Pick, Traced};
use crate::gemm::Kernel;
use crate::merkle::{Leaf, Tree};
use crate::params::{LEAF_CELLS, ProofParams};
use crate::prf::{self, Matrix};
use crate::residency::{Cache, Region, Walk};
use crate::seed::Seed;

/// Rows of the product computed at a time. Multiples of four rows cover whole leaves at every side.
const BLOCK_ROWS: usize = 64;

/// A part of the product: some rows by some columns.
#[derive(Debug)]
pub struct Block<'a> {
    /// The round's seed.
    pub seed: &'a Seed,
    /// Side of the whole product.
    pub side: u32,
    /// First row.
    pub row: u32,
    /// First column.
    pub column: u32,
    /// Rows of A, each of `inner` cells.
    pub a: &'a [i8],
    /// Columns of B as rows of Bᵀ, each of `inner` cells.
    pub b: &'a [i8],
    /// Length of each row.
    pub inner: usize,
}

/// Computes blocks of the product. Honest backends use [`ExactProduct`]; the attacks of the tests and the localnet
/// put something cheaper here and must be caught for it.
pub trait Product: Sync {
    /// Fills `out` row-major. Called twice for an opened block; must give the same cells.
    fn compute(&self, block: &Block<'_>, out: &mut [i32]);
}

/// The product itself.
#[derive(Clone, Copy, Debug)]
pub struct ExactProduct(pub Kernel);

impl Product for ExactProduct {
    fn compute(&self, block: &Block<'_>, out: &mut [i32]) {
        self.0.multiply(block.a, block.b, block.inner, out);
    }
}

/// See the module.
pub struct CpuBackend<P = ExactProduct, M = Ram> {
    product: P,
    memory: M,
    kernel: Kernel,
    threads: usize,
    limit: u32,
    rounds: Vec<(Seed, ProofParams, Tree)>,
    regions: Vec<(Region, Resident)>,
}

impl<P, M> fmt::Debug for CpuBackend<P, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CpuBackend")
            .field("kernel", &self.kernel)
            .field("threads", &self.threads)
            .finish_non_exhaustive()
    }
}

impl<P: Product> CpuBackend<P> {
    /// Largest side or inner dimension that a CPU is asked for in practice.
    pub const LIMIT_DEFAULT: u32 = 2_048;

    /// A device of `threads` threads (at least one) that accepts work up to `limit` cells a side.
    pub fn new(product: P, threads: usize, limit: u32) -> Self {
        Self::with_memory(product, Ram::DEFAULT, threads, limit)
    }
}

impl<P: Product, M: Memory> CpuBackend<P, M> {
    /// As [`CpuBackend::new`], with memory of another kind.
    pub fn with_memory(product: P, memory: M, threads: usize, limit: u32) -> Self {
        let (threads, rounds, regions) = (threads.max(1), Vec::new(), Vec::new());
        Self { product, memory, kernel: Kernel::detect(), threads, limit, rounds, regions }
    }

    fn lanes(&self, walk: &Walk) -> Result<Lanes<'_>, BackendError> {
        let filled = self.regions.iter().find(|(region, _)| region == walk.region());
        let (_, items) = filled.ok_or(BackendError::NotFilled(walk.region().params().space()))?;
        Ok(Lanes::new(walk.clone(), items, self.threads))
    }

    fn fill_shared(&self, seed: &Seed, params: &ProofParams) -> Vec<i8> {
        let inner = params.inner() as usize;
        let mut b = vec![0; params.side() as usize * inner];
        let kernel = self.kernel;
        let rows = (params.side() as usize).div_ceil(self.threads);
        std::thread::scope(|scope| {
            for (part, cells) in b.chunks_mut(rows * inner).enumerate() {
                let first = u32::try_from(part * rows).expect("below the side");
                scope.spawn(move || prf::fill_rows(kernel, seed, Matrix::B, first, inner, cells));
            }
        });
        b
    }

    /// Hashes the leaves of the blocks from `block` on, as many as `leaves` holds.
    fn hash_blocks(&self, seed: &Seed, params: &ProofParams, b: &[i8], block: usize, leaves: &mut [Digest]) {
        let (side, inner) = (params.side() as usize, params.inner() as usize);
        let kernel = self.kernel;
        let mut a = vec![0; BLOCK_ROWS * inner];
        let mut out = vec![0; BLOCK_ROWS * side];
        for (at, leaves) in leaves.chunks_mut(BLOCK_ROWS * side / LEAF_CELLS).enumerate() {
            let row = u32::try_from((block + at) * BLOCK_ROWS).expect("below the side");
            prf::fill_rows(kernel, seed, Matrix::A, row, inner, &mut a);
            let block = Block { seed, side: params.side(), row, column: 0, a: &a, b, inner };
            self.product.compute(&block, &mut out);
            for (leaf, cells) in leaves.iter_mut().zip(out.as_chunks::<LEAF_CELLS>().0) {
                *leaf = Leaf(*cells).hash();
            }
        }
    }
}

impl<P: Product, M: Memory> Backend for CpuBackend<P, M> {
    fn commit(&mut self, seed: &Seed, params: &ProofParams) -> Result<Digest, BackendError> {
        let (side, inner) = (params.side(), params.inner());
        if side.max(inner) > self.limit {
            return Err(BackendError::TooLarge { side, inner, limit: self.limit });
        }
        let b = self.fill_shared(seed, params);
        let mut leaves = vec![Digest::from_bytes([0; 32]); params.leaves() as usize];
        let blocks = side as usize / BLOCK_ROWS;
        let share = blocks.div_ceil(self.threads);
        let leaves_per_block = leaves.len() / blocks;
        let this = &*self;
        std::thread::scope(|scope| {
            for (part, leaves) in leaves.chunks_mut(share * leaves_per_block).enumerate() {
                let b = &b;
                scope.spawn(move || this.hash_blocks(seed, params, b, part * share, leaves));
            }
        });
        let tree = Tree::new(leaves);
        let root = tree.root();
        self.rounds.push((*seed, *params, tree));
        Ok(root)
    }

    fn open(&mut self, round: u32, leaf: u32) -> Result<(Leaf, Vec<Digest>), BackendError> {
        let missing = BackendError::NotCommitted { round, leaf };
        let (seed, params, tree) = self.rounds.get(round as usize).ok_or(missing.clone())?;
        let siblings = tree.siblings(leaf).ok_or(missing)?;
        let (kernel, inner) = (self.kernel, params.inner() as usize);
        // A leaf is 256 columns of one row, or, in products narrower than that, several whole rows.
        let width = LEAF_CELLS.min(params.side() as usize);
        let (row, column) = params.position(leaf, 0);
        let mut a = vec![0; LEAF_CELLS / width * inner];
        let mut b = vec![0; width * inner];
        prf::fill_rows(kernel, seed, Matrix::A, row, inner, &mut a);
        prf::fill_rows(kernel, seed, Matrix::B, column, inner, &mut b);
        let mut cells = [0; LEAF_CELLS];
        let block = Block { seed, side: params.side(), row, column, a: &a, b: &b, inner };
        self.product.compute(&block, &mut cells);
        Ok((Leaf(cells), siblings))
    }

    fn fill(&mut self, region: &Region, cache: &Arc<Cache>) -> Result<(), BackendError> {
        let items = self.memory.fill(region, cache, self.threads)?;
        self.regions.push((*region, items));
        Ok(())
    }

    fn walk(&mut self, walk: &Walk, on_root: &mut dyn FnMut(Digest) -> Advance) -> Result<(), BackendError> {
        self.lanes(walk)?.roots(on_root)
    }

    fn trace(&mut self, walk: &Walk, picks: &[Pick]) -> Result<Vec<Traced>, BackendError> {
        self.lanes(walk)?.trace(picks)
    }
}
