//! How many checks do what at a time (RULES R29).
//!
//! A light check needs a slot while it uses an authenticated connection. Dialling has places of its own, so that a thousand nodes
//! that nobody answers at keep nobody else waiting; and a check whose node is slow gives its slot up while it waits, so that
//! fifty slow nodes do not either. What is left in a slot is our own work, which is what the bound is for.

use std::pin::pin;

use basilica_ports::Clock;
use basilica_types::Millis;
use tokio::sync::{Semaphore, SemaphorePermit};

/// A check may wait so long on its node before it gives up its slot.
pub(crate) const PATIENCE: Millis = Millis::from_secs(1);

/// Places for what checks do.
#[derive(Debug)]
pub(crate) struct Places {
    /// Logins.
    pub(crate) dials: Semaphore,
    /// Light checks on an authenticated connection.
    pub(crate) light: Semaphore,
}

impl Places {
    pub(crate) const fn new(dials: usize, light: usize) -> Self {
        Self { dials: Semaphore::const_new(dials), light: Semaphore::const_new(light) }
    }
}

/// A check's slot, held or given up for a while; or none at all, for checks that need none.
pub(crate) struct Slot<'a> {
    slots: Option<&'a Semaphore>,
    held: Option<SemaphorePermit<'a>>,
}

impl<'a> Slot<'a> {
    /// For checks that are bounded otherwise.
    pub(crate) const fn none() -> Self {
        Self { slots: None, held: None }
    }

    /// One of these, not yet taken.
    pub(crate) const fn of(slots: &'a Semaphore) -> Self {
        Self { slots: Some(slots), held: None }
    }

    /// Waits for it, unless it is held.
    pub(crate) async fn take(&mut self) {
        if let (Some(slots), None) = (self.slots, &self.held) {
            // Never closed.
            self.held = slots.acquire().await.ok();
        }
    }

    pub(crate) fn give_up(&mut self) {
        self.held = None;
    }

    /// Waits on the node: within [`PATIENCE`] with the slot, then without it until the answer is there.
    pub(crate) async fn waiting<T>(&mut self, clock: &dyn Clock, answer: impl Future<Output = T>) -> T {
        self.take().await;
        let mut answer = pin!(answer);
        tokio::select! {
            biased;
            answer = &mut answer => return answer,
            () = clock.sleep(PATIENCE), if self.held.is_some() => self.give_up(),
        }
        let answer = answer.await;
        self.take().await;
        answer
    }
}

#[cfg(test)]
mod tests;
