//! Reconciler: once in each window of blocks the chain holds the weights that the scores say (RULES R5, R28).
//!
//! A window is one vector. It is built once and stored with everything that it takes to finish it, signed bytes and salt,
//! before anything of it is submitted; only stored bytes are ever submitted. So a crash at any point leads back to the
//! same call with the same account nonce, which the chain takes at most once, and a commit can be revealed by whoever
//! finds it in the database. Where the subnet wants weights committed first, the window lasts until the reveal, by us or
//! by the chain. After its end the weights are read back and compared with the predicted upscaling.
//!
//! What to do next is decided by `basilica_schedule` from one consistent read of the chain; this module does it. Each
//! pass takes one step, and dropping it at any await loses nothing.

mod explain;
mod open;

use std::convert::Infallible;
use std::sync::Arc;

use basilica_ports::{
    BoxError, ChainError, FailureClass, Lost, NewWindow, Opened, PreparedWeights, StoreError, WeightWindow,
    WeightsCall, WeightsOutcome, WindowEnd, WindowForm, WindowState, dispatch_advice,
};
use basilica_runtime_service::{Backoff, ErrorChain, Stop};
use basilica_schedule::{Follow, Wait, Waiting, WeightRules};
use basilica_scoring::weights::same_weights;
use basilica_timelock::TimelockError;
use basilica_types::{BlockNumber, Millis, Uid, Weight};
use tracing::{debug, error, info, warn};

pub(crate) use self::explain::{Explanation, PROBLEMS};
pub use self::open::emission;
pub(crate) use self::open::{Seal, seal_with_timelock};
use crate::shared::Shared;

/// What one pass did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Report {
    /// Nobody has had a score yet: weights wait for the first (RULES R2).
    NoScore,
    /// Nothing has been scored for too long: the chain keeps the weights that it has.
    StaleScores,
    /// Nothing is to be done now.
    Waiting(Wait),
    /// The window went a step on; the next one follows at once.
    Advanced(WindowState),
    /// A reveal can no longer be included; another one is made if there is time.
    RevealDropped,
    /// The chain's weights were read back; whether they are as predicted.
    ReadBack(bool),
    /// The chain has no neuron for this hotkey yet, or has not answered yet.
    NotYet,
    /// Somebody else leads.
    Fenced,
}

/// A wait that the chain's rules told, which saves reading them all again at every look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pause {
    /// The newest window at that time, and whether its commit was followed.
    window: Option<(i64, bool)>,
    /// What is waited for.
    wait: Wait,
    /// At this block they are read again.
    until: BlockNumber,
}

/// The wait that still holds for this window, by the chain's height alone.
async fn paused(shared: &Shared, window: Option<(i64, bool)>) -> Result<Option<Report>, ChainError> {
    let Some(pause) = shared.weights_pause().filter(|pause| pause.window == window) else { return Ok(None) };
    let still = shared.ports.chain.head().await? < pause.until;
    Ok(still.then_some(Report::Waiting(pause.wait)))
}

/// The report of a wait that `rules` told, which is remembered if its end is known.
fn pause(shared: &Shared, window: Option<(i64, bool)>, rules: &WeightRules, wait: Wait) -> Report {
    if let Some(until) = rules.look_again(&wait) {
        shared.pause_weights(Pause { window, wait: wait.clone(), until });
    }
    Report::Waiting(wait)
}

/// Why a pass did not end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WeightsError {
    #[error("set weights on chain")]
    Chain(#[from] ChainError),
    #[error("keep the window of weights")]
    Store(#[from] StoreError),
    #[error("encrypt the weights to the chain's beacon")]
    Seal(#[from] TimelockError),
}

/// The loop: runs until the stop.
pub(crate) async fn run(shared: Arc<Shared>, stop: Stop) -> Result<(), BoxError> {
    // Dropping a pass at any await is safe: what it submitted is stored.
    tokio::select! {
        biased;
        () = stop.requested() => Ok(()),
        never = forever(&shared) => match never {},
    }
}

async fn forever(shared: &Shared) -> Infallible {
    let mut backoff = Backoff::new(shared.settings.weights_poll, Millis::from_secs(60));
    loop {
        let pause = pass(shared, &mut backoff).await;
        shared.ports.clock.sleep(pause).await;
    }
}

/// One step, explained; returns the pause after it.
async fn pass(shared: &Shared, backoff: &mut Backoff) -> Millis {
    let pass = reconcile(shared).await;
    let explanation = explain(shared, &pass);
    match pass {
        // The next step of a window follows at once.
        Ok(Report::Advanced(_)) => Millis(0),
        Ok(report) => {
            backoff.reset();
            debug!(?report, "weights looked at");
            shared.settings.weights_poll
        }
        Err(error) => {
            match explanation.class {
                Some(FailureClass::Transient) => {
                    warn!(error = %ErrorChain(&error), "weights cannot be set yet")
                }
                _ => error!(error = %ErrorChain(&error), "weights cannot be set"),
            }
            backoff.next(shared.ports.entropy.as_ref())
        }
    }
}

/// Says what a pass came to. A window that ended without its weights stays wrong until one ends well, whatever is waited
/// for in between.
fn explain(shared: &Shared, pass: &Result<Report, WeightsError>) -> Explanation {
    let explanation = match pass {
        Ok(report) => Explanation::of(report, shared.now()),
        Err(error) => Explanation::of_error(error, shared.now()),
    };
    match pass {
        Ok(
            Report::Advanced(WindowState::Ended(WindowEnd::Refused { .. } | WindowEnd::Lost(_)))
            | Report::ReadBack(false),
        ) => shared.keep_weights_failure(Some(explanation.text.clone())),
        Ok(
            Report::Advanced(WindowState::Ended(WindowEnd::Set { .. } | WindowEnd::Revealed { .. }))
            | Report::ReadBack(true),
        ) => shared.keep_weights_failure(None),
        _ => {}
    }
    explanation.show(shared);
    explanation
}

/// One step toward the chain holding the right weights.
pub(crate) async fn reconcile(shared: &Shared) -> Result<Report, WeightsError> {
    let last = shared.ports.store.windows(1).await?.pop();
    let Some(window) = last else { return open::next(shared, None).await };
    match &window.state {
        WindowState::Prepared => conclude(shared, &window).await,
        WindowState::Committed { block } => follow(shared, &window, *block).await,
        WindowState::Revealing { block } => match &window.reveal {
            Some(reveal) => conclude_reveal(shared, &window, reveal, *block).await,
            None => follow(shared, &window, *block).await,
        },
        WindowState::Ended(WindowEnd::Set { block } | WindowEnd::Revealed { block, .. })
            if window.read_back.is_none() =>
        {
            read_back(shared, window.id, &window.opened, *block).await
        }
        WindowState::Ended(end) => open::next(shared, Some((&window, end))).await,
    }
}

/// Sees the first call to its end.
async fn conclude(shared: &Shared, window: &WeightWindow) -> Result<Report, WeightsError> {
    let opened = &window.opened;
    let outcome = shared.ports.chain.conclude_weights(&opened.prepared).await?;
    match outcome {
        WeightsOutcome::Set { block } if opened.form == WindowForm::Open => {
            end(shared, window, WindowEnd::Set { block }).await
        }
        WeightsOutcome::Set { block } => {
            shared.ports.store.record_commit(window.id, block).await?;
            shared.metrics.weight_commits.inc();
            info!(window.id, block = %block, form = opened.form.as_str(), "weights committed");
            Ok(Report::Advanced(WindowState::Committed { block }))
        }
        WeightsOutcome::Failed { block, error } => {
            end(shared, window, WindowEnd::Refused { block, error }).await
        }
        WeightsOutcome::Expired(why) => end(shared, window, WindowEnd::Expired(why)).await,
    }
}

/// What becomes of a commit.
async fn follow(
    shared: &Shared,
    window: &WeightWindow,
    committed: BlockNumber,
) -> Result<Report, WeightsError> {
    let opened = &window.opened;
    let place = Some((window.id, true));
    if let Some(waiting) = paused(shared, place).await? {
        return Ok(waiting);
    }
    let rules = shared.ports.chain.weight_rules(opened.netuid, opened.mechanism).await?;
    match rules.follow(&opened.form, committed, &opened.weights, opened.version_key) {
        Follow::Wait(wait) => Ok(pause(shared, place, &rules, wait)),
        Follow::End(how) => end(shared, window, how).await,
        Follow::AskWeights(lost) => judge_by_weights(shared, window, &rules, (committed, lost)).await,
        Follow::Reveal => reveal(shared, window, &rules, committed).await,
    }
}

/// The end of a commit that the chain holds no more, by the weights that it holds.
async fn judge_by_weights(
    shared: &Shared,
    window: &WeightWindow,
    rules: &WeightRules,
    (committed, lost): (BlockNumber, Lost),
) -> Result<Report, WeightsError> {
    let (block, stored) = own_weights(shared, &window.opened).await?;
    if block < rules.block {
        return Ok(behind(block, rules.block));
    }
    let how = if same_weights(&stored, &window.opened.expected) {
        WindowEnd::Revealed { committed, block }
    } else {
        WindowEnd::Lost(lost)
    };
    end(shared, window, how).await
}

async fn reveal(
    shared: &Shared,
    window: &WeightWindow,
    rules: &WeightRules,
    committed: BlockNumber,
) -> Result<Report, WeightsError> {
    let opened = &window.opened;
    let WindowForm::Hash { salt, .. } = &opened.form else { return Ok(Report::NotYet) };
    let order = rules.order(WeightsCall::Reveal {
        weights: opened.weights.clone(),
        salt: salt.clone(),
        version_key: opened.version_key,
    });
    let prepared = shared.ports.chain.prepare_weights(&order).await?;
    let token = shared.ports.store.fencing_token().await?;
    match shared.ports.store.open_reveal(window.id, token, &prepared).await? {
        Opened::Window(id) => {
            info!(window.id = id, nonce = prepared.nonce, "reveal of weights stored");
            conclude_reveal(shared, window, &prepared, committed).await
        }
        // Somebody was faster; the next look finds the window where it is.
        Opened::Busy(_) => Ok(Report::Advanced(WindowState::Revealing { block: committed })),
        Opened::Fenced { .. } => Ok(Report::Fenced),
    }
}

async fn conclude_reveal(
    shared: &Shared,
    window: &WeightWindow,
    reveal: &PreparedWeights,
    committed: BlockNumber,
) -> Result<Report, WeightsError> {
    match shared.ports.chain.conclude_weights(reveal).await? {
        WeightsOutcome::Set { block } => end(shared, window, WindowEnd::Revealed { committed, block }).await,
        WeightsOutcome::Failed { block, error } => {
            end(shared, window, WindowEnd::Refused { block, error }).await
        }
        WeightsOutcome::Expired(why) => {
            shared.ports.store.drop_reveal(window.id).await?;
            warn!(window.id, why = %why, "no block took the reveal");
            Ok(Report::RevealDropped)
        }
    }
}

async fn end(shared: &Shared, window: &WeightWindow, how: WindowEnd) -> Result<Report, WeightsError> {
    shared.ports.store.end_window(window.id, &how).await?;
    match &how {
        WindowEnd::Set { block } | WindowEnd::Revealed { block, .. } => {
            shared.metrics.weight_sets.inc();
            info!(window.id, block = %block, form = window.opened.form.as_str(), "weights set");
        }
        WindowEnd::Refused { block, error } => {
            shared.metrics.weight_set_failures.inc();
            error!(window.id, block = %block, error, action = dispatch_advice(error).action, "chain refused the weights");
        }
        WindowEnd::Expired(why) => {
            shared.metrics.weight_set_failures.inc();
            warn!(window.id, why = %why, "no block took the weights");
        }
        WindowEnd::Lost(why) => {
            shared.metrics.weight_set_failures.inc();
            warn!(window.id, why = %why, "committed weights are lost");
        }
    }
    Ok(Report::Advanced(WindowState::Ended(how)))
}

async fn read_back(
    shared: &Shared,
    id: i64,
    opened: &NewWindow,
    end: BlockNumber,
) -> Result<Report, WeightsError> {
    let (block, stored) = own_weights(shared, opened).await?;
    // An endpoint that is behind would show the weights before these.
    if block < end {
        return Ok(behind(block, end));
    }
    shared.ports.store.record_read_back(id, &stored).await?;
    let as_expected = same_weights(&stored, &opened.expected);
    if as_expected {
        info!(window.id = id, entries = stored.len(), "weights read back from chain are as expected");
    } else {
        error!(window.id = id, expected = ?opened.expected, found = ?stored, "chain holds other weights than expected");
    }
    Ok(Report::ReadBack(as_expected))
}

fn behind(at: BlockNumber, known: BlockNumber) -> Report {
    Report::Waiting(Wait { until: Some(known), why: Waiting::EndpointBehind { at, known } })
}

/// What the chain holds of ours. Nothing once the hotkey lost its uid: what it set went with that.
async fn own_weights(
    shared: &Shared,
    opened: &NewWindow,
) -> Result<(BlockNumber, Vec<(Uid, Weight)>), ChainError> {
    let hotkey = shared.ports.signer.hotkey();
    let (block, stored) = shared.ports.chain.weights_of(opened.netuid, opened.mechanism, &hotkey).await?;
    match stored {
        Some(stored) => Ok((block, stored)),
        None => Ok((block, Vec::new())),
    }
}

#[cfg(test)]
mod simulation;
#[cfg(test)]
pub(crate) mod tests;
