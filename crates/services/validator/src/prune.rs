//! Reconciler: the database does not grow without bound.

use std::sync::Arc;

use basilica_ports::{BoxError, Pruned, StoreError};
use basilica_runtime_service::{ErrorChain, Stop};
use basilica_types::Millis;
use tracing::{info, warn};

use crate::shared::Shared;

/// Rows of each kind per transaction, so that writers of verdicts wait for milliseconds only.
const BATCH: u32 = 1_000;
/// Between batches while there is more to remove.
const PAUSE: Millis = Millis(200);

/// The loop: runs until the stop.
pub(crate) async fn run(shared: Arc<Shared>, stop: Stop) -> Result<(), BoxError> {
    loop {
        let pause = match prune(&shared).await {
            Ok((pruned, nodes)) => {
                let removed =
                    pruned.history + pruned.transcripts + pruned.windows + pruned.fingerprints + nodes;
                if removed > 0 {
                    info!(
                        history = pruned.history,
                        transcripts = pruned.transcripts,
                        windows = pruned.windows,
                        fingerprints = pruned.fingerprints,
                        nodes,
                        "old records removed"
                    );
                }
                let full = [pruned.history, pruned.transcripts, pruned.fingerprints, nodes]
                    .contains(&u64::from(BATCH));
                if full { PAUSE } else { shared.settings.prune_interval }
            }
            Err(error) => {
                warn!(error = %ErrorChain(&error), "old records cannot be removed");
                shared.settings.prune_interval
            }
        };
        tokio::select! {
            biased;
            () = stop.requested() => return Ok(()),
            () = shared.ports.clock.sleep(pause) => {}
        }
    }
}

/// One batch: old records, and then nodes that nobody lists any more and that have none left.
async fn prune(shared: &Shared) -> Result<(Pruned, u64), StoreError> {
    let store = &shared.ports.store;
    let now = shared.now();
    let before = now - shared.settings.retention;
    let pruned = store.prune(before, shared.settings.transcripts_per_node, BATCH).await?;
    Ok((pruned, store.prune_nodes(before, now, BATCH).await?))
}
