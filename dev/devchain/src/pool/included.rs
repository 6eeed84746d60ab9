//! Watchers of extrinsics that are in a block which is not final yet.

use std::collections::{HashMap, VecDeque};

use tokio::sync::mpsc;

use super::Status;
use crate::runtime::Hash;

/// Blocks after which a watcher is told that finality does not come, as a Substrate node does.
pub(super) const FINALITY_TIMEOUT: u32 = 512;
/// Watchers kept; the oldest one is dropped for a further one.
const CAPACITY: usize = 1 << 15;

#[derive(Debug)]
struct Inclusion {
    number: u32,
    block: Hash,
    extrinsic: Hash,
    watcher: mpsc::Sender<Status>,
}

impl Inclusion {
    fn tell(&self, status: Status) {
        // A watcher that went away or does not read loses only its own news.
        let _ = self.watcher.try_send(status);
    }
}

/// Watchers in the order of their blocks.
#[derive(Debug, Default)]
pub(super) struct Watched {
    inclusions: VecDeque<Inclusion>,
}

impl Watched {
    pub(super) fn add(&mut self, number: u32, block: Hash, extrinsic: Hash, watcher: mpsc::Sender<Status>) {
        if self.inclusions.len() >= CAPACITY {
            self.inclusions.pop_front();
        }
        self.inclusions.push_back(Inclusion { number, block, extrinsic, watcher });
    }

    pub(super) fn finalize(&mut self, number: u32) {
        while let Some(inclusion) = self.inclusions.pop_front_if(|inclusion| inclusion.number <= number) {
            inclusion.tell(Status::Finalized(inclusion.block));
        }
    }

    pub(super) fn time_out(&mut self, best: u32) {
        let timed_out = |inclusion: &mut Inclusion| best.saturating_sub(inclusion.number) >= FINALITY_TIMEOUT;
        while let Some(inclusion) = self.inclusions.pop_front_if(timed_out) {
            inclusion.tell(Status::FinalityTimeout(inclusion.block));
        }
    }

    /// Keeps who watches a block of the chain; tells the others that theirs is gone for good.
    pub(super) fn keep(&mut self, is_on_chain: impl Fn(u32, &Hash) -> bool) {
        self.inclusions.retain(|inclusion| {
            let stays = is_on_chain(inclusion.number, &inclusion.block);
            if !stays {
                inclusion.tell(Status::Retracted(inclusion.block));
                inclusion.tell(Status::Dropped);
            }
            stays
        });
    }

    pub(super) fn retract(&mut self, above: u32) -> HashMap<Hash, mpsc::Sender<Status>> {
        let mut given_back = HashMap::new();
        while let Some(inclusion) = self.inclusions.pop_back_if(|inclusion| inclusion.number > above) {
            inclusion.tell(Status::Retracted(inclusion.block));
            given_back.insert(inclusion.extrinsic, inclusion.watcher);
        }
        given_back
    }
}
