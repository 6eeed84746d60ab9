use basilica_ports::Clock;
use basilica_types::Millis;

/// The time was up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not done within {limit}")]
pub struct Elapsed {
    /// The time that was allowed.
    pub limit: Millis,
}

/// Gives `future` at most `limit`, then drops it. A future that is ready at the deadline counts as done.
pub async fn within<T>(
    clock: &dyn Clock,
    limit: Millis,
    future: impl Future<Output = T>,
) -> Result<T, Elapsed> {
    tokio::select! {
        biased;
        done = future => Ok(done),
        () = clock.sleep(limit) => Err(Elapsed { limit }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::VirtualClock;

    #[tokio::test]
    async fn a_late_future_is_dropped_at_its_deadline() {
        let clock = VirtualClock::new();
        let limit = Millis(50);
        let late = within(clock.as_ref(), limit, std::future::pending::<()>());
        let (outcome, ()) = tokio::join!(late, async {
            clock.sleepers(1).await;
            clock.advance(limit);
        });
        assert_eq!(outcome, Err(Elapsed { limit }));
        assert_eq!(within(clock.as_ref(), Millis(0), async { 1 }).await, Ok(1));
    }
}
