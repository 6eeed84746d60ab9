//! What a walk taken again keeps: the states and paths that open the picks.

use std::collections::BTreeMap;

use super::{BackendError, Pick, Traced};
use crate::wire::LaneState;

/// The lanes to keep, by step: of each pick, before and after.
#[derive(Debug)]
pub struct Tracing<'a> {
    picks: &'a [Pick],
    kept: BTreeMap<u32, BTreeMap<u32, Option<LaneState>>>,
}

impl<'a> Tracing<'a> {
    /// For these picks, in any order.
    pub fn new(picks: &'a [Pick]) -> Self {
        let mut kept: BTreeMap<u32, BTreeMap<u32, Option<LaneState>>> = BTreeMap::new();
        for Pick { step, lane } in picks {
            for step in step.checked_sub(1).into_iter().chain([*step]) {
                kept.entry(step).or_default().insert(*lane, None);
            }
        }
        Self { picks, kept }
    }

    /// The steps of which anything is kept, ascending.
    pub fn steps(&self) -> Vec<u32> {
        self.kept.keys().copied().collect()
    }

    /// Whether anything of a step is kept.
    pub fn wants(&self, step: u32) -> bool {
        self.kept.contains_key(&step)
    }

    /// Keeps what is wanted of a step; `state` gives a lane's state with its path, if there is such a lane.
    pub fn keep(&mut self, step: u32, state: impl Fn(u32) -> Option<LaneState>) {
        for (lane, kept) in self.kept.entry(step).or_default() {
            *kept = state(*lane);
        }
    }

    /// What opens each pick, in their order.
    pub fn finish(self) -> Result<Vec<Traced>, BackendError> {
        let kept = |step: u32, lane: u32| {
            let state = self.kept.get(&step).and_then(|lanes| lanes.get(&lane)).cloned().flatten();
            state.ok_or_else(|| BackendError::Device(format!("there is no lane {lane} at step {step}")))
        };
        let traced = |&Pick { step, lane }: &Pick| {
            let before = step.checked_sub(1).map(|before| kept(before, lane)).transpose()?;
            Ok(Traced { before, after: kept(step, lane)? })
        };
        self.picks.iter().map(traced).collect()
    }
}
