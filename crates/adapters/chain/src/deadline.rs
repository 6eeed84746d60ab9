use std::future::Future;

use basilica_ports::Clock;
use basilica_types::Millis;

/// The time was up; the work was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no answer within {} ms", .0.0)]
pub(crate) struct Elapsed(pub(crate) Millis);

/// The result of `work`, unless `limit` passes first.
pub(crate) async fn within<T>(
    clock: &dyn Clock,
    limit: Millis,
    work: impl Future<Output = T>,
) -> Result<T, Elapsed> {
    tokio::select! {
        biased;
        done = work => Ok(done),
        () = clock.sleep(limit) => Err(Elapsed(limit)),
    }
}
