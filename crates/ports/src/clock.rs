use std::time::Duration;

use async_trait::async_trait;
use basilica_types::{Millis, Timestamp};

/// Time. Real in production, virtual in simulations.
#[async_trait]
pub trait Clock: Send + Sync + 'static {
    /// The moment, for records and for comparison with times of others. May jump when the host's clock is set.
    fn now(&self) -> Timestamp;

    /// Time since an arbitrary origin, for measuring spans. Never goes back.
    fn monotonic(&self) -> Duration;

    /// Returns after `span`. Cancel by dropping.
    async fn sleep(&self, span: Millis);
}
