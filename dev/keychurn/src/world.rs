//! What all actors share.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use basilica_ports::Clock as _;
use basilica_system::SystemClock;

use crate::hand::Sheet;
use crate::lateness::Clerk;
use crate::ledger::Ledger;

/// Of what is wrong; the first say enough.
const KEPT: usize = 20;

#[derive(Debug)]
pub(crate) struct World {
    /// The nodes' files, in the order of the nodes.
    pub(crate) sheets: Vec<Sheet>,
    pub(crate) ledger: Mutex<Ledger>,
    clerk: Mutex<Clerk>,
    pub(crate) clock: SystemClock,
    counts: Mutex<BTreeMap<&'static str, usize>>,
    wrong: Mutex<(usize, Vec<String>)>,
    over: AtomicBool,
}

impl World {
    pub(crate) fn new(sheets: Vec<Sheet>) -> Self {
        let ledger = Mutex::new(Ledger::new(sheets.len()));
        let clerk = Mutex::new(Clerk::new(sheets.len()));
        Self {
            sheets,
            ledger,
            clerk,
            clock: SystemClock::new(),
            counts: Mutex::default(),
            wrong: Mutex::default(),
            over: AtomicBool::new(false),
        }
    }

    pub(crate) fn now(&self) -> Duration {
        self.clock.monotonic()
    }

    /// Hears of what makes keys have to go.
    pub(crate) fn clerk(&self) -> MutexGuard<'_, Clerk> {
        self.clerk.lock().unwrap()
    }

    /// Counts what happened.
    pub(crate) fn count(&self, what: &'static str) {
        *self.counts.lock().unwrap().entry(what).or_default() += 1;
    }

    pub(crate) fn counts(&self) -> BTreeMap<&'static str, usize> {
        self.counts.lock().unwrap().clone()
    }

    /// Puts down what must not be.
    pub(crate) fn wrong(&self, what: String) {
        let mut wrong = self.wrong.lock().unwrap();
        wrong.0 += 1;
        if wrong.1.len() < KEPT {
            wrong.1.push(what);
        }
    }

    /// How much is wrong, and the first of it.
    pub(crate) fn wrongs(&self) -> (usize, Vec<String>) {
        self.wrong.lock().unwrap().clone()
    }

    /// Validators and hands end what they are at and begin nothing more.
    pub(crate) fn close(&self) {
        self.over.store(true, Ordering::SeqCst);
    }

    pub(crate) fn is_over(&self) -> bool {
        self.over.load(Ordering::SeqCst)
    }
}
