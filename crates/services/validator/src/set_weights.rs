//! Reconciler: once in each window of blocks the chain holds the weights that the scores say (RULES R5, R28).
//!
//! A window is built once: the signed bytes are stored before anything is submitted, and only those bytes are ever
//! submitted, so a crash at any point leads back to the same extrinsic with the same account nonce, which the
//! chain takes at most once. After its end the weights are read back and compared with the predicted upscaling.
//! Each pass does the first of: end an open window, read back an ended one, open the next.

use std::collections::BTreeMap;
use std::sync::Arc;

use basilica_ports::{
    BoxError, ChainError, FailureClass, NewWindow, Opened, StoreError, WeightWindow, WeightsCall,
    WeightsOrder, WeightsOutcome, WindowState,
};
use basilica_runtime_service::{Backoff, ErrorChain, Stop};
use basilica_scoring::weights::{allocate, upscale};
use basilica_types::{BlockNumber, Hotkey, MechanismId, Millis, Uid, Weight};
use tracing::{debug, error, info, warn};

use crate::score;
use crate::shared::Shared;

/// What one pass did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Report {
    /// Nobody has had a score yet: weights wait for the first (RULES R2).
    NoScore,
    /// Nothing has been scored for too long: the chain keeps the weights that it has.
    StaleScores,
    /// The next window begins at this block.
    Waiting(BlockNumber),
    /// A window ended so.
    Concluded(WeightsOutcome),
    /// The chain's weights were read back; whether they are as predicted.
    ReadBack(bool),
    /// The chain has no neuron for this hotkey yet, or has not answered yet.
    NotYet,
    /// Somebody else leads.
    Fenced,
}

/// Why a pass did not end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WeightsError {
    #[error("set weights on chain")]
    Chain(#[from] ChainError),
    #[error("keep the window of weights")]
    Store(#[from] StoreError),
}

/// The loop: runs until the stop.
pub(crate) async fn run(shared: Arc<Shared>, stop: Stop) -> Result<(), BoxError> {
    let mut backoff = Backoff::new(shared.settings.weights_poll, Millis::from_secs(60));
    loop {
        // Dropping a pass at any await is safe: what it submitted is stored.
        let pass = tokio::select! {
            biased;
            () = stop.requested() => return Ok(()),
            pass = reconcile(&shared) => pass,
        };
        let pause = match pass {
            // The next step of a window follows at once.
            Ok(Report::Concluded(_)) => Millis(0),
            Ok(report) => {
                backoff.reset();
                note(&shared, &report);
                shared.settings.weights_poll
            }
            Err(error) => {
                shared.weights_ready.not_ready(ErrorChain(&error).to_string());
                let class = match &error {
                    WeightsError::Chain(error) => error.class(),
                    WeightsError::Store(error) => error.class(),
                };
                match class {
                    FailureClass::Transient => {
                        warn!(error = %ErrorChain(&error), "weights cannot be set yet")
                    }
                    _ => error!(error = %ErrorChain(&error), "weights cannot be set"),
                }
                backoff.next(shared.ports.entropy.as_ref())
            }
        };
        tokio::select! {
            biased;
            () = stop.requested() => return Ok(()),
            () = shared.ports.clock.sleep(pause) => {}
        }
    }
}

fn note(shared: &Shared, report: &Report) {
    match report {
        Report::Fenced => shared.weights_ready.not_ready("another validator process leads"),
        Report::ReadBack(false) => {
            shared.weights_ready.not_ready("the chain holds other weights than those that were set");
        }
        Report::StaleScores => {
            shared.weights_ready.not_ready("no node has been scored for too long, so the chain keeps the last weights; see the log for why scoring fails");
        }
        Report::NotYet => shared.weights_ready.not_ready("the chain has not been read yet"),
        Report::NoScore | Report::Waiting(_) | Report::Concluded(_) | Report::ReadBack(true) => {
            shared.weights_ready.ready();
        }
    }
    debug!(?report, "weights looked at");
}

/// One step toward the chain holding the right weights.
pub(crate) async fn reconcile(shared: &Shared) -> Result<Report, WeightsError> {
    let last = shared.ports.store.windows(1).await?.pop();
    match last {
        Some(window) if window.state == WindowState::Prepared => conclude(shared, &window).await,
        Some(WeightWindow {
            id,
            opened,
            state: WindowState::Concluded(WeightsOutcome::Set { .. }),
            read_back: None,
        }) => read_back(shared, id, &opened).await,
        last => open_next(shared, last).await,
    }
}

async fn conclude(shared: &Shared, window: &WeightWindow) -> Result<Report, WeightsError> {
    let outcome = shared.ports.chain.conclude_weights(&window.opened.prepared).await?;
    shared.ports.store.conclude_window(window.id, &outcome).await?;
    match &outcome {
        WeightsOutcome::Set { block } => {
            shared.metrics.weight_sets.inc();
            info!(window.id, block = %block, extrinsic = %window.opened.prepared.hash, "weights set");
        }
        WeightsOutcome::Failed { block, error } => {
            shared.metrics.weight_set_failures.inc();
            error!(window.id, block = %block, error, "chain refused the weights");
        }
        WeightsOutcome::Expired => {
            shared.metrics.weight_set_failures.inc();
            warn!(window.id, "weights were not included before their era ended");
        }
    }
    Ok(Report::Concluded(outcome))
}

async fn read_back(shared: &Shared, id: i64, opened: &NewWindow) -> Result<Report, WeightsError> {
    let Some(uid) = own_uid(shared) else { return Ok(Report::NotYet) };
    let stored = shared.ports.chain.weights(opened.netuid, MechanismId(0), uid).await?;
    shared.ports.store.record_read_back(id, &stored).await?;
    let as_expected = same_weights(&stored, &opened.expected);
    if as_expected {
        info!(window.id = id, entries = stored.len(), "weights read back from chain are as expected");
    } else {
        error!(window.id = id, expected = ?opened.expected, found = ?stored, "chain holds other weights than expected");
    }
    Ok(Report::ReadBack(as_expected))
}

/// Equal as vectors over uids: the order and entries of zero mean nothing.
pub(crate) fn same_weights(a: &[(Uid, Weight)], b: &[(Uid, Weight)]) -> bool {
    let nonzero = |weights: &[(Uid, Weight)]| -> BTreeMap<Uid, Weight> {
        weights.iter().filter(|(_, weight)| weight.0 > 0).copied().collect()
    };
    nonzero(a) == nonzero(b)
}

fn own_uid(shared: &Shared) -> Option<Uid> {
    let view = shared.chain_view()?;
    view.metagraph.neuron(&shared.ports.signer.hotkey()).map(|neuron| neuron.uid)
}

async fn open_next(shared: &Shared, last: Option<WeightWindow>) -> Result<Report, WeightsError> {
    let Some(view) = shared.chain_view() else { return Ok(Report::NotYet) };
    let head = shared.ports.chain.head().await?;
    if let Some(due) = next_block(shared, last.as_ref())
        && head < due
    {
        return Ok(Report::Waiting(due));
    }
    let nodes = shared.ports.store.nodes().await?;
    let uids: BTreeMap<Hotkey, Uid> = view.metagraph.neurons.iter().map(|n| (n.hotkey, n.uid)).collect();
    let now = shared.now();
    if score::is_stuck(&nodes, &shared.settings, now) {
        return Ok(Report::StaleScores);
    }
    let points = score::points(&nodes, &uids, &shared.settings, now);
    // Only the first score is waited for: a window was opened once one was there, and from then on what nobody earns is
    // burnt, or those who lost their score would keep their weights for ever. The newest window is never pruned.
    if last.is_none() && points.iter().all(|p| p.points == 0) {
        return Ok(Report::NoScore);
    }
    let weights = allocate(&points, &shared.settings.allocation);
    let version_key = shared.settings.weight_version_key;
    let order = WeightsOrder {
        netuid: shared.settings.netuid,
        mechanism: MechanismId(0),
        call: WeightsCall::Set { weights: weights.clone(), version_key },
    };
    let prepared = shared.ports.chain.prepare_weights(&order).await?;
    let window = NewWindow {
        netuid: order.netuid,
        fencing: shared.ports.store.fencing_token().await?,
        created: shared.now(),
        expected: upscale(&weights),
        weights,
        prepared,
    };
    match shared.ports.store.open_window(&window).await? {
        Opened::Window(id) => {
            info!(
                window.id = id,
                entries = window.weights.len(),
                nonce = window.prepared.nonce,
                "weights window opened"
            );
            let state = WindowState::Prepared;
            conclude(shared, &WeightWindow { id, opened: window, state, read_back: None }).await
        }
        // The prepared bytes are dropped unsubmitted: the open window goes first.
        Opened::Busy(_) => Ok(Report::Waiting(head)),
        Opened::Fenced { .. } => Ok(Report::Fenced),
    }
}

/// The block from which the next window may be opened; none: now.
fn next_block(shared: &Shared, last: Option<&WeightWindow>) -> Option<BlockNumber> {
    let interval = shared.settings.weight_interval_blocks;
    match &last?.state {
        WindowState::Concluded(WeightsOutcome::Set { block }) => {
            Some(BlockNumber(block.0.saturating_add(interval)))
        }
        // Asking again at once would be refused again.
        WindowState::Concluded(WeightsOutcome::Failed { block, .. }) => {
            Some(BlockNumber(block.0.saturating_add((interval / 10).max(1))))
        }
        WindowState::Concluded(WeightsOutcome::Expired) | WindowState::Prepared => None,
    }
}

#[cfg(test)]
pub(crate) mod tests;
