//! Where the devices of a node wait for each other during a walk.

use std::collections::BTreeMap;
use std::sync::{Condvar, Mutex, PoisonError};

use basilica_types::Digest;

use super::Advance;
use crate::residency::{Walk, meeting};

/// The barriers of one space's walks.
#[derive(Debug)]
pub struct Meetings {
    devices: usize,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// Of the barrier that is waited at, by position in the challenge.
    roots: BTreeMap<u16, Digest>,
    /// Of every barrier that all have reached, from the first.
    met: Vec<Digest>,
    over: bool,
}

impl Meetings {
    /// For so many devices that walk at once.
    pub const fn new(devices: usize) -> Self {
        let state = State { roots: BTreeMap::new(), met: Vec::new(), over: false };
        Self { devices, state: Mutex::new(state), changed: Condvar::new() }
    }

    /// Waits at barrier `barrier` (from 1) until every device is there; what they have in common, or nothing if one of them
    /// gave up.
    pub fn meet(&self, device: u16, barrier: u32, root: Digest) -> Option<Digest> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.roots.insert(device, root);
        if state.roots.len() == self.devices {
            let roots = std::mem::take(&mut state.roots);
            state.met.push(meeting(barrier, roots.values()));
            self.changed.notify_all();
        }
        let waits = |state: &mut State| !state.over && state.met.len() < barrier as usize;
        let state = self.changed.wait_while(state, waits).unwrap_or_else(PoisonError::into_inner);
        state.met.get(barrier as usize - 1).copied()
    }

    /// A device's part: when it is dropped, nobody waits for the device any more. At the end of its walk every barrier
    /// is passed, so only a walk that ended early is noticed.
    pub const fn part(&self) -> Part<'_> {
        Part(self)
    }
}

/// How a device that walks alone, for a measurement or a comparison, goes on after a step: past every barrier with a meeting of
/// its last step's root only.
pub fn go_alone(walk: &mut Walk, step: u32, root: Digest) -> Advance {
    let shape = walk.region().params().walk();
    if !shape.ends_segment(step) || step + 1 == shape.steps {
        return Advance::Go;
    }
    let barrier = u32::try_from(walk.segments()).expect("at most 4,097 segments");
    Advance::Rekey(walk.pass(&meeting(barrier, std::iter::once(&root))))
}

/// See [`Meetings::part`].
#[derive(Debug)]
pub struct Part<'a>(&'a Meetings);

impl Drop for Part<'_> {
    fn drop(&mut self) {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner).over = true;
        self.0.changed.notify_all();
    }
}
