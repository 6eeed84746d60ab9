//! What must hold of every life, whatever happened in it.

use std::collections::BTreeMap;

use basilica_ports::{
    DispatchAdvice, Lost, WeightWindow, WeightsCall, WindowEnd, WindowForm, WindowState, dispatch_advice,
};

use super::ledger::digest;
use super::{INTERVAL, World};
use basilica_scoring::weights::same_weights;

/// What the final blocks say of one window.
#[derive(Default)]
struct Facts {
    /// The block in which its first call succeeded.
    first: Option<u64>,
    /// The block in which a reveal of ours succeeded.
    reveal: Option<u64>,
    /// The block in which the chain opened its timelocked commit and took the weights.
    opened: Option<u64>,
    /// What it opened was lost again with the registration.
    forgotten: bool,
}

impl Facts {
    /// The block of the first call, if its weights were ever in force. What a new registration of the hotkey took away
    /// does not count: the chain itself begins anew with it.
    fn in_force(&self, form: &WindowForm) -> Option<u64> {
        match form {
            WindowForm::Open => self.first,
            WindowForm::Hash { .. } => self.reveal.and(self.first),
            WindowForm::Timelocked { .. } if self.forgotten => None,
            WindowForm::Timelocked { .. } => self.opened.and(self.first),
        }
    }
}

type Windows = BTreeMap<i64, WeightWindow>;

impl World {
    /// Everything that must hold of the whole life.
    pub(super) fn judge(&self) -> Result<(), String> {
        if let Some(broken) = self.network.with(|state| state.broken.first().cloned()) {
            return Err(broken);
        }
        if let Some(early) = self.network.with(|state| state.early_rounds().1.pop()) {
            return Err(early);
        }
        let windows: Windows = self.store.all().into_iter().map(|w| (w.id, w)).collect();
        let facts = self.facts(&windows)?;
        judge_distance(&windows, &facts)?;
        for (id, window) in &windows {
            judge_end(window)?;
            judge_by_chain(window, &facts[id])?;
        }
        Ok(())
    }

    /// What happened on chain, every call of which must be the call of a window.
    fn facts(&self, windows: &Windows) -> Result<BTreeMap<i64, Facts>, String> {
        let mut facts: BTreeMap<i64, Facts> = windows.keys().map(|id| (*id, Facts::default())).collect();
        for (number, bytes, order, succeeded) in self.network.with(|state| state.final_calls()) {
            let Some((id, _)) = self.store.holder(&bytes) else {
                return Err(format!("block {number} has a call that no window holds"));
            };
            let (window, facts) = (&windows[&id], facts.entry(id).or_default());
            let slot = if let WeightsCall::Reveal { weights, .. } = &order.call {
                if *weights != window.opened.weights {
                    return Err(format!("window {id} revealed another vector than it was opened with"));
                }
                &mut facts.reveal
            } else {
                carries(window, &order.call)?;
                if let WindowState::Ended(WindowEnd::Expired(why)) = &window.state {
                    return Err(format!("window {id} ended as {why:?} and block {number} has its call"));
                }
                &mut facts.first
            };
            if succeeded && slot.replace(number).is_some() {
                return Err(format!("window {id} did the same twice"));
            }
        }
        for (number, opened, gone) in self.network.with(|state| state.final_openings()) {
            let is = |w: &&WeightWindow| matches!(w.opened.form, WindowForm::Timelocked { digest, .. } if digest == opened);
            let Some(window) = windows.values().find(is) else {
                return Err(format!("block {number} opened a commit of no window"));
            };
            let facts = facts.entry(window.id).or_default();
            (facts.opened, facts.forgotten) = (Some(number), gone);
        }
        Ok(facts)
    }
}

/// One vector in a window, as the chain saw it: between the first calls of any two vectors that came into force lies an
/// interval. Whatever the worker says of its windows, it cannot change these blocks.
fn judge_distance(windows: &Windows, facts: &BTreeMap<i64, Facts>) -> Result<(), String> {
    let in_force = |(id, facts): (&i64, &Facts)| Some((facts.in_force(&windows[id].opened.form)?, *id));
    let mut all: Vec<(u64, i64)> = facts.iter().filter_map(in_force).collect();
    all.sort_unstable();
    for pair in all.windows(2) {
        let [(block, id), (next, other)] = pair else { continue };
        if *next < block + INTERVAL {
            return Err(format!(
                "windows {id} ({:?}) and {other} ({:?}) have weights in blocks {block} and {next}",
                windows[id].state, windows[other].state
            ));
        }
    }
    Ok(())
}

/// What is stored of a window that is over is what the final blocks say.
fn judge_by_chain(window: &WeightWindow, facts: &Facts) -> Result<(), String> {
    let WindowState::Ended(end) = &window.state else { return Ok(()) };
    let form = &window.opened.form;
    let told = match (form, end) {
        (WindowForm::Open, WindowEnd::Set { block }) => facts.first == Some(block.0),
        (WindowForm::Hash { .. }, WindowEnd::Revealed { committed, block }) => {
            // Found by the weights that are there, it is dated by the block that was looked at.
            facts.first == Some(committed.0) && facts.reveal.is_some_and(|reveal| reveal <= block.0)
        }
        (WindowForm::Timelocked { .. }, WindowEnd::Revealed { committed, block }) => {
            facts.first == Some(committed.0) && facts.opened.is_some_and(|opened| opened <= block.0)
        }
        (_, WindowEnd::Set { .. } | WindowEnd::Revealed { .. }) => false,
        (_, WindowEnd::Expired(_)) => facts.first.is_none(),
        (_, WindowEnd::Refused { .. }) => facts.in_force(form).is_none(),
        // Nothing withdraws a timelocked commit that is out of reach: it opens if the tempo comes back.
        (WindowForm::Timelocked { .. }, WindowEnd::Lost(Lost::OutOfReach)) => facts.first.is_some(),
        // What the registration took away cannot be found again.
        (_, WindowEnd::Lost(_)) => {
            facts.first.is_some() && (facts.forgotten || facts.in_force(form).is_none())
        }
    };
    if told {
        return Ok(());
    }
    Err(format!(
        "window {} ended as {end:?}, and the chain has its first call in {:?}, its reveal in {:?}, its opening in {:?}",
        window.id, facts.first, facts.reveal, facts.opened
    ))
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
        WindowState::Ended(WindowEnd::Refused { error, .. })
            if dispatch_advice(error) == DispatchAdvice::UNKNOWN =>
        {
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
