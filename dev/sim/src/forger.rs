//! A device that forges: whatever an exhibit wants committed, it commits and opens.

use std::sync::Arc;

use basilica_proof::gemm::Kernel;
use basilica_proof::merkle::{Leaf, Tree};
use basilica_proof::prf::{Matrix, fill_rows};
use basilica_proof::prover::{
    Advance, Backend, BackendError, CpuBackend, ExactProduct, Memory, Pick, Ram, Resident, Traced,
};
use basilica_proof::residency::{Block, Cache, Items, Region, Walk};
use basilica_proof::seed::Seed;
use basilica_proof::{LEAF_CELLS, ProofParams};
use basilica_types::Digest;

use crate::exhibits::Exhibit;

/// A backend that commits to whatever suits it and can open every leaf of it. Its memory is real but for what it forgets.
#[derive(Debug)]
pub(crate) struct Forger {
    exhibit: Exhibit,
    variant: u32,
    rounds: Vec<(Vec<Leaf>, Tree)>,
    memory: CpuBackend<ExactProduct, Forgetful>,
}

/// Memory in which one item in so many is guessed; none forgets nothing.
#[derive(Clone, Copy, Debug)]
struct Forgetful(Option<u32>);

struct Guessed(Resident, Option<u32>);

impl Items for Guessed {
    type Error = BackendError;

    fn item(&self, index: u64) -> Result<Block, BackendError> {
        match self.1 {
            Some(one_in) if index.is_multiple_of(u64::from(one_in)) => Ok([7; 16]),
            _ => self.0.item(index),
        }
    }
}

impl Memory for Forgetful {
    fn fill(&self, region: &Region, cache: &Cache, threads: usize) -> Result<Resident, BackendError> {
        Ok(Box::new(Guessed(Ram::DEFAULT.fill(region, cache, threads)?, self.0)))
    }
}

impl Backend for Forger {
    fn commit(&mut self, seed: &Seed, params: &ProofParams) -> Result<Digest, BackendError> {
        let cells = self.cells(seed, params);
        let leaves: Vec<Leaf> = cells.as_chunks::<LEAF_CELLS>().0.iter().map(|cells| Leaf(*cells)).collect();
        let tree = Tree::new(leaves.iter().map(Leaf::hash).collect());
        let root = tree.root();
        self.rounds.push((leaves, tree));
        Ok(root)
    }

    fn open(&mut self, round: u32, leaf: u32) -> Result<(Leaf, Vec<Digest>), BackendError> {
        let missing = BackendError::NotCommitted { round, leaf };
        let (leaves, tree) = self.rounds.get(round as usize).ok_or(missing.clone())?;
        let cells = leaves.get(leaf as usize).ok_or(missing.clone())?;
        Ok((cells.clone(), tree.siblings(leaf).ok_or(missing)?))
    }

    fn fill(&mut self, region: &Region, cache: &Arc<Cache>) -> Result<(), BackendError> {
        self.memory.fill(region, cache)
    }

    fn walk(&mut self, walk: &Walk, on_root: &mut dyn FnMut(Digest) -> Advance) -> Result<(), BackendError> {
        self.memory.walk(walk, on_root)
    }

    fn trace(&mut self, walk: &Walk, picks: &[Pick]) -> Result<Vec<Traced>, BackendError> {
        self.memory.trace(walk, picks)
    }
}

impl Forger {
    pub(crate) fn new(exhibit: Exhibit, variant: u32) -> Self {
        let forgets = match exhibit {
            Exhibit::Forgets(one_in) => Some(one_in),
            _ => None,
        };
        let memory = CpuBackend::with_memory(ExactProduct(Kernel::detect()), Forgetful(forgets), 1, 256);
        Self { exhibit, variant, rounds: Vec::new(), memory }
    }
}

impl Forger {
    fn cells(&self, seed: &Seed, params: &ProofParams) -> Vec<i32> {
        let (side, inner) = (params.side() as usize, params.inner() as usize);
        let kernel = Kernel::detect();
        let (mut a, mut b) = (vec![0; side * inner], vec![0; side * inner]);
        fill_rows(kernel, seed, Matrix::A, 0, inner, &mut a);
        fill_rows(kernel, seed, Matrix::B, 0, inner, &mut b);
        let mut product = vec![0; side * side];
        match self.exhibit {
            Exhibit::Hankel => hankel(&a, &b, side, inner, &mut product),
            Exhibit::HalfRank => {
                a.chunks_exact_mut(inner).for_each(|row| row[inner / 2..].fill(0));
                kernel.multiply(&a, &b, inner, &mut product);
            }
            Exhibit::Skips(one_in) | Exhibit::SkipsAndDrops(one_in) | Exhibit::Grinds(one_in) => {
                kernel.multiply(&a, &b, inner, &mut product);
                let guess = 1 + i32::try_from(self.variant).expect("below 32");
                // A guess is never right here: the share that luck adds is in `ProofParams::evasion`.
                product.iter_mut().step_by(one_in as usize).for_each(|cell| *cell = cell.wrapping_add(guess));
            }
            _ => kernel.multiply(&a, &b, inner, &mut product),
        }
        product
    }
}

/// The forgery that breaks every challenge with `A[i][j] = a[i + j]` in O(n²) steps: the first row and column are
/// computed, every other cell follows from its upper left neighbour.
pub(crate) fn hankel(a: &[i8], b: &[i8], side: usize, inner: usize, product: &mut [i32]) {
    let cell = |m: &[i8], row: usize, at: usize| i32::from(m[row * inner + at]);
    let dot = |i: usize, j: usize| (0..inner).map(|t| cell(a, i, t) * cell(b, j, t)).sum::<i32>();
    for i in 0..side {
        for j in 0..side {
            product[i * side + j] = if i == 0 || j == 0 {
                dot(i, j)
            } else {
                product[(i - 1) * side + j - 1] - cell(a, i - 1, 0) * cell(b, j - 1, 0)
                    + cell(a, i, inner - 1) * cell(b, j, inner - 1)
            };
        }
    }
}
