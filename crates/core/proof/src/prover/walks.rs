//! Walks on CPU threads: lanes are shared out, steps are made in batches, and trees are built between them.

use basilica_types::Digest;

use super::{Advance, BackendError, Pick, Resident, Traced, Tracing};
use crate::merkle::Tree;
use crate::residency::{Block, Walk, lane_hash};
use crate::wire::LaneState;

/// Leaves that a batch of steps holds at most, unless one step alone has more.
const BATCH_LEAVES: usize = 1 << 16;

/// The states of all lanes, and what they are made with.
pub(super) struct Lanes<'a> {
    walk: Walk,
    items: &'a Resident,
    threads: usize,
    states: Vec<Block>,
}

impl<'a> Lanes<'a> {
    pub(super) fn new(walk: Walk, items: &'a Resident, threads: usize) -> Self {
        let lanes = walk.region().params().walk().lanes;
        let states = (0..lanes).map(|lane| walk.start(lane)).collect();
        Self { walk, items, threads: threads.max(1), states }
    }

    /// The root of every step in order; see [`super::Backend::walk`]. A batch ends where a barrier is.
    pub(super) fn roots(mut self, on_root: &mut dyn FnMut(Digest) -> Advance) -> Result<(), BackendError> {
        let batch = (BATCH_LEAVES / self.states.len()).max(1);
        let shape = *self.walk.region().params().walk();
        let mut first = 0;
        while first < shape.steps {
            let most = u32::try_from(batch).map_or(shape.steps, |batch| shape.steps.min(first + batch));
            let barrier = (first..most).find(|step| shape.ends_segment(*step));
            let end = barrier.map_or(most, |step| step + 1);
            let leaves = self.advance(first, (end - first) as usize)?;
            for step in 0..(end - first) as usize {
                let tree = Tree::new(leaves.iter().flat_map(|part| part[step].iter().copied()).collect());
                match on_root(tree.root()) {
                    Advance::Go => {}
                    Advance::Rekey(key) => self.walk.begin(key),
                    Advance::Stop => return Ok(()),
                }
            }
            first = end;
        }
        Ok(())
    }

    /// Takes `count` steps and gives, per thread and step, the hashes of its lanes.
    fn advance(&mut self, first: u32, count: usize) -> Result<Vec<Vec<Vec<Digest>>>, BackendError> {
        let share = self.states.len().div_ceil(self.threads);
        let (walk, items) = (&self.walk, self.items);
        let part = |lane: u32, states: &mut [Block]| {
            let step = |step| {
                let mut lanes = (lane..).zip(&mut *states);
                lanes.try_for_each(|(lane, state)| walk.step(items.as_ref(), lane, step, state))?;
                Ok(states.iter().map(lane_hash).collect())
            };
            (first..).take(count).map(step).collect::<Result<Vec<Vec<Digest>>, BackendError>>()
        };
        std::thread::scope(|scope| {
            let parts = (0u32..).step_by(share).zip(self.states.chunks_mut(share));
            let threads: Vec<_> =
                parts.map(|(lane, states)| scope.spawn(move || part(lane, states))).collect();
            threads.into_iter().map(|thread| thread.join().map_err(|_| panicked())?).collect()
        })
    }

    /// What opens `picks`; see [`super::Backend::trace`].
    pub(super) fn trace(mut self, picks: &[Pick]) -> Result<Vec<Traced>, BackendError> {
        let mut tracing = Tracing::new(picks);
        let mut done = 0;
        for step in tracing.steps() {
            let last = (step - done) as usize;
            let leaves = self.advance(done, last + 1)?;
            done = step + 1;
            let tree = Tree::new(leaves.iter().flat_map(|part| part[last].iter().copied()).collect());
            let states = &self.states;
            tracing.keep(step, |lane| {
                let state = *states.get(lane as usize)?;
                Some(LaneState { state, siblings: tree.siblings(lane)? })
            });
        }
        tracing.finish()
    }
}

fn panicked() -> BackendError {
    BackendError::Device("a thread of the walk panicked".to_owned())
}
