//! When blocks are made: on an interval, at once for what is submitted, or only when told.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::MissedTickBehavior;

use super::controls::Extrinsics;
use super::produce::{Order, ProduceError};
use super::{Node, Writer};
use crate::faults::Kind;

/// When blocks are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mining {
    /// One every so many milliseconds.
    Interval(u64),
    /// One for every extrinsic, as soon as it can be included.
    Instant,
    /// Only by `dev_newBlock`.
    Manual,
}

impl Node {
    /// Makes blocks until the chain cannot go on; why it cannot.
    pub async fn mine(self: Arc<Self>) -> ProduceError {
        let mut changes = self.mining.subscribe();
        loop {
            let mining = *changes.borrow_and_update();
            tokio::select! {
                () = Arc::clone(&self).mine_as(mining) => {}
                _ = changes.changed() => {}
                () = self.failed.notified() => {}
            }
            let failure = self.failure.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
            if let Some(error) = failure {
                return error;
            }
        }
    }

    /// Changes when blocks are made. A block that is being made is waited for: none of the old kind comes after this.
    pub fn set_mining(&self, mining: Mining) {
        let _writer = self.writer();
        self.mining.send_replace(mining);
    }

    /// When blocks are made.
    #[must_use]
    pub fn mining(&self) -> Mining {
        *self.mining.borrow()
    }

    /// The chain cannot go on.
    pub(super) fn fail(&self, error: ProduceError) {
        *self.failure.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(error);
        self.failed.notify_one();
    }

    async fn mine_as(self: Arc<Self>, mining: Mining) {
        match mining {
            Mining::Manual => std::future::pending().await,
            Mining::Interval(ms) => {
                let mut ticks = tokio::time::interval(Duration::from_millis(ms));
                ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
                loop {
                    ticks.tick().await;
                    let one = move |node: &Self| node.mine_one(mining, Order::default()).map(|_| ());
                    Arc::clone(&self).in_background(one).await;
                }
            }
            Mining::Instant => loop {
                Arc::clone(&self).in_background(Self::mine_waiting).await;
                let again = Duration::from_millis(self.rules.block_time_ms);
                tokio::select! {
                    () = self.submitted.notified() => {}
                    // A fault held it up, and may have ended.
                    () = tokio::time::sleep(again), if self.has_candidate() => {}
                }
            },
        }
    }

    /// Runs a step on a thread that may block. Dropping this leaves the step to its end, so none is cut in half.
    async fn in_background(
        self: Arc<Self>,
        step: impl FnOnce(&Self) -> Result<(), ProduceError> + Send + 'static,
    ) {
        let node = Arc::clone(&self);
        match tokio::task::spawn_blocking(move || step(&node)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => self.fail(error),
            // A panic outside of the runtime; its message is on the terminal.
            Err(_) => self.fail(ProduceError::Runtime(crate::executor::Panicked)),
        }
    }

    /// Makes one block unless a fault holds it up or blocks are no longer made so, and reorganises after it if a fault says
    /// so. How many extrinsics left the pool.
    fn mine_one(&self, mining: Mining, order: Order<'_>) -> Result<usize, ProduceError> {
        let mut writer = self.writer();
        let stalls = |kind: &Kind| matches!(kind, Kind::StallBlocks {}).then_some(());
        if self.mining() != mining || self.faults.strike(stalls).is_some() {
            return Ok(0);
        }
        let (_, left) = self.produce_as(&mut writer, order)?;
        self.reorganise_by_fault(&mut writer)?;
        Ok(left)
    }

    /// The reorganisation that a fault orders after a block, if one does.
    pub(super) fn reorganise_by_fault(&self, writer: &mut Writer) -> Result<(), ProduceError> {
        let ordered = self.faults.strike(|kind| match kind {
            Kind::Reorg { depth, drop_extrinsics } => {
                Some((*depth, if *drop_extrinsics { Extrinsics::Drop } else { Extrinsics::Pool }))
            }
            _ => None,
        });
        match ordered {
            Some((depth, extrinsics)) => self.reorganise_at_most(writer, depth, extrinsics),
            None => Ok(()),
        }
    }

    /// A block for each extrinsic that can be included now.
    fn mine_waiting(&self) -> Result<(), ProduceError> {
        while self.has_candidate() {
            if self.mine_one(Mining::Instant, Order { extrinsics: 1, ..Order::default() })? == 0 {
                return Ok(());
            }
        }
        Ok(())
    }

    fn has_candidate(&self) -> bool {
        let inner = self.lock();
        let state = inner.chain.best_state();
        !inner.pool.candidates(1, |account| crate::executor::nonce_of(&state, account)).is_empty()
    }
}
