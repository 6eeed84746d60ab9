//! The openings of a run, checked one by one as they arrive.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::checker::{Checker, WalkChecker};
use super::commitments::{Commitments, Walked};
use crate::challenge::Challenge;
use crate::gemm::Kernel;
use crate::opening::{CellQuery, Query, StepQuery};
use crate::rejection::Rejection;
use crate::residency::{Cache, Space};
use crate::wire::{Message, Opening, WalkOpening};

/// What was asked to be opened, and how far it came.
#[derive(Debug)]
pub(super) struct Openings {
    queries: Vec<Query>,
    next: usize,
    checker: Checker,
    walks: BTreeMap<(u16, Space), WalkChecker>,
}

impl Openings {
    pub(super) fn new(queries: Vec<Query>, commitments: &Commitments, cache: Option<&Arc<Cache>>) -> Self {
        let walk = |walked: &Walked| {
            Some((walked.key(), WalkChecker::new(walked.walk().clone(), Arc::clone(cache?))))
        };
        let walks = commitments.walks().iter().filter_map(walk).collect();
        Self { queries, next: 0, checker: Checker::new(Kernel::detect()), walks }
    }

    pub(super) const fn received(&self) -> u64 {
        self.next as u64
    }

    pub(super) const fn expected(&self) -> u64 {
        self.queries.len() as u64
    }

    /// Most bytes of the next message.
    pub(super) fn frame_limit(&self, challenge: &Challenge) -> u32 {
        let device = |position: u16| challenge.devices().get(usize::from(position));
        match self.queries.get(self.next) {
            Some(Query::Cell(query)) => {
                Message::opening_bytes(device(query.device).map_or(0, |device| device.params.depth()))
            }
            Some(Query::Step(query)) => {
                let region = device(query.device).and_then(|device| device.region(query.space));
                Message::walk_opening_bytes(region.map_or(0, |region| region.path()))
            }
            None => 0,
        }
    }

    pub(super) fn on_opening(
        &mut self,
        opening: &Opening,
        challenge: &Challenge,
        commitments: &Commitments,
    ) -> Result<(), Rejection> {
        let Some(Query::Cell(query)) = self.queries.get(self.next).copied() else { return Err(self.order()) };
        let CellQuery { device, round, leaf, cell } = query;
        if (opening.device, opening.round, opening.leaf) != (device, round, leaf) {
            return Err(self.order());
        }
        let (seed, root) = commitments.round(device, round);
        let params = challenge.devices()[usize::from(device)].params;
        self.checker.check(opening, cell, params, seed, root)?;
        self.next += 1;
        Ok(())
    }

    pub(super) fn on_step(
        &mut self,
        opening: &WalkOpening,
        commitments: &Commitments,
    ) -> Result<(), Rejection> {
        let Some(Query::Step(query)) = self.queries.get(self.next).copied() else { return Err(self.order()) };
        let StepQuery { device, space, step, lane } = query;
        if (opening.device, opening.space, opening.step, opening.lane) != (device, space, step, lane) {
            return Err(self.order());
        }
        let walks = commitments.walks().iter().find(|walked| walked.key() == (device, space));
        let (Some(walked), Some(checker)) = (walks, self.walks.get(&(device, space))) else {
            return Err(self.order());
        };
        let before = step.checked_sub(1).map(|before| walked.root(before));
        checker.check(opening, (before, walked.root(step)))?;
        self.next += 1;
        Ok(())
    }

    fn order(&self) -> Rejection {
        Rejection::OpeningOrder { position: u32::try_from(self.next).expect("at most a million queries") }
    }
}
