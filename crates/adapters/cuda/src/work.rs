//! Tier T2 on a device: rounds, and leaves opened by computing them again.

use basilica_proof::ProofParams;
use basilica_proof::merkle::{self, Leaf, Tree};
use basilica_proof::residency::Space;
use basilica_proof::seed::Seed;
use basilica_types::Digest;

use crate::driver::{Buffer, Context, CudaError, Event};
use crate::kernels::{HASH_BYTES, Heap, Kernels, Operand, TILED_SIDE_MIN};

/// Levels of every round's tree that are not kept. Keeping all would take 256 MiB a round at n = 32,768, 26 GB for a
/// hundred rounds; without these it is 8 MiB. An opened leaf costs the product of 32 leaves' cells instead of one's.
const PRUNED_LEVELS: u32 = 5;
/// Device memory that is never planned with: the driver and its compiler need some at any time.
pub(crate) const RESERVE_BYTES: u64 = 64 << 20;

/// Buffers of a round, of one size.
#[derive(Debug)]
struct RoundSpace {
    side: u32,
    inner: u32,
    /// Both matrices; nothing for products too small for tiles, whose cells are then in `cells`.
    operands: Option<(Buffer, Buffer)>,
    cells: Option<Buffer>,
    heap: Heap,
}

/// A round that is committed to.
#[derive(Debug)]
struct Round {
    seed: Seed,
    params: ProofParams,
    /// The tree without its lowest levels.
    upper: Heap,
}

impl Round {
    const fn pruned(&self) -> u32 {
        self.params.depth() - self.upper.depth
    }
}

/// Milliseconds that the parts of a round took on the device.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RoundTimes {
    /// Both matrices.
    pub rows: f32,
    /// The product and its leaves' hashes.
    pub product: f32,
    /// The tree above the leaves.
    pub tree: f32,
}

/// Rounds on one device.
#[derive(Debug, Default)]
pub(crate) struct Work {
    space: Option<RoundSpace>,
    rounds: Vec<Round>,
}

/// Bytes that a round of these parameters takes while it runs, and what is kept of it.
fn needs(params: &ProofParams) -> (u64, u64) {
    let (side, inner) = (u64::from(params.side()), u64::from(params.inner()));
    let input = if params.side() >= TILED_SIDE_MIN { 2 * side * inner } else { side * side * 4 };
    (input + Heap::bytes(params.depth()), Heap::bytes(params.depth() - PRUNED_LEVELS.min(params.depth())))
}

impl Work {
    /// One round; see [`basilica_proof::prover::Backend::commit`].
    pub(crate) fn commit(
        &mut self,
        (context, kernels): (&Context, &Kernels),
        seed: &Seed,
        params: &ProofParams,
    ) -> Result<Digest, CudaError> {
        let space = Self::prepare(&mut self.space, context, params)?;
        make_operands(kernels, seed, space)?;
        make_leaves(kernels, seed, space)?;
        kernels.climb(merkle::node_key(), &space.heap)?;
        let depth = params.depth() - PRUNED_LEVELS.min(params.depth());
        let mut upper = Heap::new(context, depth)?;
        upper.nodes.copy(0, &space.heap.nodes, 0, Heap::bytes(depth))?;
        let root = Digest::from_bytes(upper.node(1)?);
        self.rounds.push(Round { seed: *seed, params: *params, upper });
        Ok(root)
    }

    /// A round that is timed and forgotten.
    pub(crate) fn time(
        &mut self,
        (context, kernels): (&Context, &Kernels),
        seed: &Seed,
        params: &ProofParams,
    ) -> Result<RoundTimes, CudaError> {
        let space = Self::prepare(&mut self.space, context, params)?;
        let begin = context.event()?;
        make_operands(kernels, seed, space)?;
        let rows: Event = context.event()?;
        make_leaves(kernels, seed, space)?;
        let product = context.event()?;
        kernels.climb(merkle::node_key(), &space.heap)?;
        let end = context.event()?;
        Ok(RoundTimes {
            rows: rows.since(&begin)?,
            product: product.since(&rows)?,
            tree: end.since(&product)?,
        })
    }

    /// Buffers for these parameters, if the device has the memory.
    fn prepare<'a>(
        held: &'a mut Option<RoundSpace>,
        context: &Context,
        params: &ProofParams,
    ) -> Result<&'a mut RoundSpace, CudaError> {
        let (side, inner) = (params.side(), params.inner());
        let fits = held.as_ref().is_some_and(|space| (space.side, space.inner) == (side, inner));
        let (running, kept) = needs(params);
        if !fits {
            *held = None;
        }
        let needed = if fits { kept } else { running + kept };
        let (free, _) = context.memory()?;
        let available = free.saturating_sub(RESERVE_BYTES);
        if needed > available {
            return Err(CudaError::Memory { space: Space::Device, needed, available });
        }
        if let Some(space) = held.take() {
            return Ok(held.insert(space));
        }
        let matrix = u64::from(side) * u64::from(inner);
        let tiled = side >= TILED_SIDE_MIN;
        let pair = || Ok::<_, CudaError>((context.allocate(matrix)?, context.allocate(matrix)?));
        let operands = tiled.then(pair).transpose()?;
        let small = u64::from(side) * u64::from(side) * 4;
        let cells = (!tiled).then(|| context.allocate(small)).transpose()?;
        let heap = Heap::new(context, params.depth())?;
        Ok(held.insert(RoundSpace { side, inner, operands, cells, heap }))
    }

    /// One leaf of a round; see [`basilica_proof::prover::Backend::open`]. Nothing if it was not committed to.
    pub(crate) fn open(
        &self,
        (context, kernels): (&Context, &Kernels),
        round: u32,
        leaf: u32,
    ) -> Result<Option<(Leaf, Vec<Digest>)>, CudaError> {
        let Some(committed) = self.rounds.get(round as usize).filter(|round| leaf < round.params.leaves())
        else {
            return Ok(None);
        };
        let (params, pruned) = (&committed.params, committed.pruned());
        let subtree = u64::from(leaf >> pruned);
        let (count, within) = (1u32 << pruned, leaf & ((1 << pruned) - 1));
        let cells = context.allocate(u64::from(count) << 10)?;
        let hashes = context.allocate(u64::from(count) * HASH_BYTES)?;
        let size = (params.side(), params.inner());
        kernels.cells(&committed.seed, size, (subtree << pruned) * 256, count * 256, &cells)?;
        kernels.hash_cells(merkle::leaf_key(), &cells, count, (&hashes, 0))?;
        let mut opened = [0; 1_024];
        cells.read(u64::from(within) << 10, &mut opened)?;
        let mut leaves = vec![0; count as usize * 32];
        hashes.read(0, &mut leaves)?;
        let lower =
            Tree::new(leaves.as_chunks::<32>().0.iter().map(|hash| Digest::from_bytes(*hash)).collect());
        let mut node = (1u64 << committed.upper.depth) + subtree;
        if committed.upper.node(node)? != *lower.root().as_bytes() {
            return Err(CudaError::Inconsistent { round, leaf });
        }
        let mut siblings = lower.siblings(within).ok_or(CudaError::Inconsistent { round, leaf })?;
        while node > 1 {
            siblings.push(Digest::from_bytes(committed.upper.node(node ^ 1)?));
            node /= 2;
        }
        Ok(Some((Leaf::from_bytes(&opened), siblings)))
    }

    /// Gives back what only further rounds would need.
    pub(crate) fn release(&mut self) {
        self.space = None;
    }
}

fn make_operands(kernels: &Kernels, seed: &Seed, space: &RoundSpace) -> Result<(), CudaError> {
    if let Some((a, b)) = &space.operands {
        kernels.rows(seed, Operand::A, space.side, space.inner, a)?;
        kernels.rows(seed, Operand::B, space.side, space.inner, b)?;
    }
    Ok(())
}

fn make_leaves(kernels: &Kernels, seed: &Seed, space: &RoundSpace) -> Result<(), CudaError> {
    let size = (space.side, space.inner);
    if let Some((a, b)) = &space.operands {
        kernels.product(merkle::leaf_key(), (a, b), size, &space.heap)?;
    }
    if let Some(cells) = &space.cells {
        let leaves = 1u32 << space.heap.depth;
        kernels.cells(seed, size, 0, leaves * 256, cells)?;
        kernels.hash_cells(
            merkle::leaf_key(),
            cells,
            leaves,
            (&space.heap.nodes, HASH_BYTES << space.heap.depth),
        )?;
    }
    Ok(())
}
