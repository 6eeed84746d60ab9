//! Checks of single openings.

use std::sync::Arc;

use basilica_types::Digest;

use crate::gemm::Kernel;
use crate::merkle;
use crate::params::ProofParams;
use crate::prf;
use crate::rejection::Rejection;
use crate::residency::{Cache, LightItems, Walk, lane_hash};
use crate::seed::Seed;
use crate::wire::{LaneState, Opening, WalkOpening};

/// Checks single openings.
#[derive(Clone, Copy, Debug)]
pub struct Checker {
    kernel: Kernel,
}

impl Checker {
    /// A checker that multiplies by `kernel`.
    pub const fn new(kernel: Kernel) -> Self {
        Self { kernel }
    }

    /// Checks that a leaf leads to `root`, and that its cell `cell` is the product under `seed`.
    pub fn check(
        &self,
        opening: &Opening,
        cell: u32,
        params: ProofParams,
        seed: &Seed,
        root: &Digest,
    ) -> Result<(), Rejection> {
        let Opening { device, round, leaf, .. } = *opening;
        let full_path = opening.siblings.len() == params.depth() as usize && leaf < params.leaves();
        if !full_path || merkle::climb(opening.cells.hash(), leaf.into(), &opening.siblings) != *root {
            return Err(Rejection::MerklePath { device, round, leaf });
        }
        let (row, col) = params.position(leaf, cell);
        let product = prf::cell(self.kernel, seed, row, col, params.inner());
        match opening.cells.0.get(cell as usize) {
            Some(claimed) if *claimed == product => Ok(()),
            _ => Err(Rejection::OpeningMismatch { device, round, row, col }),
        }
    }
}

/// Checks single steps of one walk by items made anew.
#[derive(Clone, Debug)]
pub struct WalkChecker {
    walk: Walk,
    cache: Arc<Cache>,
}

impl WalkChecker {
    /// A checker of the steps of `walk`; `cache` is the challenge's.
    pub const fn new(walk: Walk, cache: Arc<Cache>) -> Self {
        Self { walk, cache }
    }

    /// Checks that both states lead to their roots, and that the step between them is what the items give. `roots` are those of
    /// the segments of the step before, nothing for step 0, and of the step itself.
    pub fn check(&self, opening: &WalkOpening, roots: (Option<&Digest>, &Digest)) -> Result<(), Rejection> {
        let WalkOpening { device, space, step, lane, .. } = *opening;
        let lost = || Rejection::WalkPath { device, space, step, lane };
        let mut state = match (&opening.before, roots.0, step.checked_sub(1)) {
            (None, None, None) => self.walk.start(lane),
            (Some(before), Some(root), Some(at)) if self.leads(before, at, lane, root) => before.state,
            _ => return Err(lost()),
        };
        if !self.leads(&opening.after, step, lane, roots.1) {
            return Err(lost());
        }
        let items = LightItems { region: self.walk.region(), cache: &self.cache };
        let Ok(()) = self.walk.step(&items, lane, step, &mut state);
        match state == opening.after.state {
            true => Ok(()),
            false => Err(Rejection::WalkMismatch { device, space, step, lane }),
        }
    }

    /// The tree of a step's lanes stands where the step stands in its segment, so that both paths are one.
    fn leads(&self, state: &LaneState, step: u32, lane: u32, root: &Digest) -> bool {
        let params = self.walk.region().params();
        let shape = params.walk();
        if state.siblings.len() != params.path() as usize || lane >= shape.lanes || step >= shape.steps {
            return false;
        }
        let position = step - shape.segment_start(shape.segment(step));
        let leaf = u64::from(position) << params.depth() | u64::from(lane);
        merkle::climb(lane_hash(&state.state), leaf, &state.siblings) == *root
    }
}
