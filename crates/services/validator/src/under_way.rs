//! Which checks are being made, for those who ask. In memory only: a check does not outlive the process.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use basilica_ports::{CheckUnderWay, NodeKey};

/// Told by the loop that starts checks and hears of their ends.
#[derive(Debug, Default)]
pub(crate) struct UnderWay(Mutex<BTreeMap<NodeKey, CheckUnderWay>>);

impl UnderWay {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<NodeKey, CheckUnderWay>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn begun(&self, check: CheckUnderWay) {
        self.lock().insert(check.node, check);
    }

    pub(crate) fn ended(&self, node: NodeKey) {
        self.lock().remove(&node);
    }

    /// All of them were given up at once.
    pub(crate) fn abandoned(&self) {
        self.lock().clear();
    }

    pub(crate) fn all(&self) -> Vec<CheckUnderWay> {
        self.lock().values().copied().collect()
    }
}
