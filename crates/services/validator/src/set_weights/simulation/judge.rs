//! What must hold of every life, whatever happened in it.

use std::collections::BTreeMap;

use basilica_ports::{Lost, WeightWindow, WeightsCall, WindowEnd, WindowForm, WindowState};
use basilica_schedule::remedy;

use super::ledger::digest;
use super::{INTERVAL, World};
use crate::set_weights::same_weights;

impl World {
    /// Everything that must hold of the whole life.
    pub(super) fn judge(&self) -> Result<(), String> {
        if let Some(broken) = self.network.with(|state| state.broken.first().cloned()) {
            return Err(broken);
        }
        let windows: BTreeMap<i64, _> = self.store.all().into_iter().map(|w| (w.id, w)).collect();
        let mut firsts: BTreeMap<i64, u64> = BTreeMap::new();
        let mut reveals: BTreeMap<i64, u64> = BTreeMap::new();
        for (number, bytes, order, succeeded) in self.network.with(|state| state.final_calls()) {
            let is_first = |w: &&WeightWindow| w.opened.prepared.extrinsic == bytes;
            if let WeightsCall::Reveal { weights, .. } = &order.call {
                let Some((id, _)) = self.store.holder(&bytes) else {
                    return Err(format!("block {number} has a reveal that no window holds"));
                };
                if *weights != windows[&id].opened.weights {
                    return Err(format!("window {id} revealed another vector than it was opened with"));
                }
                if succeeded && reveals.insert(id, number).is_some() {
                    return Err(format!("window {id} was revealed twice"));
                }
                continue;
            }
            let Some(window) = windows.values().find(is_first) else {
                return Err(format!("block {number} has a call that no window holds"));
            };
            carries(window, &order.call)?;
            if let WindowState::Ended(WindowEnd::Expired(why)) = &window.state {
                return Err(format!("window {} ended as {why:?} and block {number} has its call", window.id));
            }
            if succeeded && firsts.insert(window.id, number).is_some() {
                return Err(format!("window {} was set twice", window.id));
            }
        }
        self.judge_distance(&windows, &firsts)?;
        for (number, opened) in self.network.with(|state| state.final_openings()) {
            let given_up = windows.values().find(|w| {
                let ours = matches!(w.opened.form, WindowForm::Timelocked { digest, .. } if digest == opened);
                ours && matches!(w.state, WindowState::Ended(WindowEnd::Lost(Lost::Gone | Lost::NotRevealed)))
            });
            if let Some(window) = given_up {
                return Err(format!("window {} was given up, and block {number} revealed it", window.id));
            }
        }
        for window in windows.values() {
            judge_end(window)?;
        }
        Ok(())
    }

    /// After a window that brought weights the next one begins an interval later.
    fn judge_distance(
        &self,
        windows: &BTreeMap<i64, WeightWindow>,
        firsts: &BTreeMap<i64, u64>,
    ) -> Result<(), String> {
        for (id, block) in firsts {
            let brought = matches!(
                windows[id].state,
                WindowState::Ended(WindowEnd::Set { .. } | WindowEnd::Revealed { .. })
            );
            let next = firsts.range(id + 1..).next();
            if let (true, Some((next, at))) = (brought, next)
                && *at < block + INTERVAL
            {
                return Err(format!("windows {id} and {next} have weights in blocks {block} and {at}"));
            }
        }
        Ok(())
    }
}

/// The call says what its window says.
fn carries(window: &WeightWindow, call: &WeightsCall) -> Result<(), String> {
    let same = match (&window.opened.form, call) {
        (WindowForm::Open, WeightsCall::Set { weights, .. }) => *weights == window.opened.weights,
        (WindowForm::Hash { hash, .. }, WeightsCall::CommitHash { hash: sent }) => hash == sent,
        (WindowForm::Timelocked { digest: held, .. }, WeightsCall::CommitTimelocked { ciphertext, .. }) => {
            *held == digest(ciphertext)
        }
        _ => false,
    };
    if same { Ok(()) } else { Err(format!("window {} sent something else than it holds", window.id)) }
}

/// A window that is over has weights on chain as predicted, or a reason that means something.
fn judge_end(window: &WeightWindow) -> Result<(), String> {
    match &window.state {
        WindowState::Ended(WindowEnd::Refused { error, .. }) if remedy(error).starts_with("look") => {
            Err(format!("window {} was refused with {error}, which nobody can explain", window.id))
        }
        WindowState::Ended(WindowEnd::Set { .. } | WindowEnd::Revealed { .. }) => match &window.read_back {
            Some(read) if !same_weights(read, &window.opened.expected) && !read.is_empty() => {
                Err(format!("window {} was read back as {read:?}", window.id))
            }
            _ => Ok(()),
        },
        _ => Ok(()),
    }
}
