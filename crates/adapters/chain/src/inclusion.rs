//! Seeing a signed extrinsic to its end.
//!
//! The finalised chain is the only witness: blocks that could contain the extrinsic are searched for its bytes, and its
//! fate is read from their events. Whether a submission was answered, and by whom, does not matter; so a crash, a lost
//! connection or a second leader doing the same at once change nothing. Only when every block of its life is final and
//! does not contain it is it [`WeightsOutcome::Expired`].

use std::sync::Arc;

use basilica_ports::{ChainError, FailureClass, PreparedWeights, WeightsOutcome};
use basilica_types::{BlockNumber, Millis};
use subxt::config::substrate::H256;
use subxt::events::Phase;
use subxt::rpcs::methods::legacy::NumberOrHex;
use tracing::{debug, info};

use crate::connection::{Connection, Link};
use crate::deadline::within;
use crate::dispatch::{self, ExtrinsicFailed};
use crate::refusal::{self, Verdict};

/// A pool may have dropped what it took: it gets the same bytes again after this many final blocks without them.
const RESUBMIT_AFTER: u64 = 8;
const FIRST_PAUSE: Millis = Millis(100);

/// Why a node's answers about blocks make no sense.
#[derive(Debug, thiserror::Error)]
enum WitnessError {
    #[error("block {0} is final but the endpoint does not have it")]
    NoBlock(u64),
    #[error("block {0} contains the extrinsic but no event of its end")]
    NoEvent(u64),
}

/// How far the search is.
#[derive(Clone, Copy)]
struct Progress {
    /// The first block not searched.
    next: u64,
    /// The link it was last submitted on, and the finalised head then.
    submitted: Option<(u64, u64)>,
}

/// Follows `prepared` to its end, submitting it as often as it takes.
pub(crate) async fn conclude(
    connection: &Connection,
    prepared: &PreparedWeights,
) -> Result<WeightsOutcome, ChainError> {
    within(&*connection.clock, connection.options.conclude_deadline, follow(connection, prepared))
        .await
        .unwrap_or(Err(ChainError::Deadline { call: "conclude" }))
}

async fn follow(connection: &Connection, prepared: &PreparedWeights) -> Result<WeightsOutcome, ChainError> {
    let mut progress = Progress { next: prepared.born.0.saturating_add(1), submitted: None };
    let mut pause = FIRST_PAUSE;
    loop {
        let (advanced, outcome) = connection.call("conclude", |link| look(link, prepared, progress)).await?;
        if let Some(outcome) = outcome {
            return Ok(outcome);
        }
        progress = advanced;
        connection.clock.sleep(pause).await;
        pause = Millis(pause.0.saturating_mul(2)).min(connection.options.poll_max);
    }
}

/// One look at the finalised chain, and a submission if one is due.
async fn look(
    link: Arc<Link>,
    prepared: &PreparedWeights,
    mut progress: Progress,
) -> Result<(Progress, Option<WeightsOutcome>), ChainError> {
    let head = finalized_number(&link).await?;
    while progress.next <= head.min(prepared.dies.0) {
        if let Some(outcome) = find(&link, prepared, progress.next).await? {
            return Ok((progress, Some(outcome)));
        }
        progress.next += 1;
    }
    if head > prepared.dies.0 {
        info!(chain.extrinsic = %prepared.hash, chain.block = head, "extrinsic expired");
        return Ok((progress, Some(WeightsOutcome::Expired)));
    }
    let due =
        progress.submitted.is_none_or(|(on, at)| on != link.id || head >= at.saturating_add(RESUBMIT_AFTER));
    if due {
        submit(&link, prepared).await?;
        progress.submitted = Some((link.id, head));
    }
    Ok((progress, None))
}

/// Height of the newest finalised block.
pub(crate) async fn finalized_number(link: &Link) -> Result<u64, ChainError> {
    let call = "chain_getFinalizedHead";
    let hash = link.rpc.chain_get_finalized_head().await.map_err(|error| link.fault(call, error))?;
    let header = link.rpc.chain_get_header(Some(hash)).await.map_err(|error| link.fault(call, error))?;
    Ok(header.ok_or_else(|| link.fault(call, WitnessError::NoBlock(0)))?.number)
}

async fn find(
    link: &Link,
    prepared: &PreparedWeights,
    number: u64,
) -> Result<Option<WeightsOutcome>, ChainError> {
    let call = "chain_getBlock";
    let missing = || link.fault(call, WitnessError::NoBlock(number));
    let at = NumberOrHex::Number(number);
    let hash = (link.rpc.chain_get_block_hash(Some(at)).await)
        .map_err(|error| link.fault(call, error))?
        .ok_or_else(missing)?;
    let block = (link.rpc.chain_get_block(Some(hash)).await)
        .map_err(|error| link.fault(call, error))?
        .ok_or_else(missing)?;
    match block.block.extrinsics.iter().position(|extrinsic| extrinsic.0 == prepared.extrinsic) {
        Some(index) => outcome(link, hash, number, index).await.map(Some),
        None => Ok(None),
    }
}

/// What the block's events say about the extrinsic at `index`.
async fn outcome(link: &Link, hash: H256, number: u64, index: usize) -> Result<WeightsOutcome, ChainError> {
    let call = "System.Events";
    let at = link.at(hash).await?;
    let events = at.events().fetch().await.map_err(|error| link.fault(call, error))?;
    let block = BlockNumber(number);
    for event in events.iter() {
        let event = event.map_err(|error| link.fault(call, error))?;
        let ours = matches!(event.phase(), Phase::ApplyExtrinsic(of) if usize::try_from(of) == Ok(index));
        match (event.pallet_name(), event.event_name()) {
            ("System", "ExtrinsicSuccess") if ours => return Ok(WeightsOutcome::Set { block }),
            ("System", "ExtrinsicFailed") if ours => {
                let failed = event
                    .decode_fields_unchecked_as::<ExtrinsicFailed>()
                    .map_err(|error| link.fault(call, error))?;
                let error = dispatch::name(&failed.dispatch_error, at.metadata_ref());
                return Ok(WeightsOutcome::Failed { block, error });
            }
            _ => {}
        }
    }
    Err(link.fault(call, WitnessError::NoEvent(number)))
}

async fn submit(link: &Link, prepared: &PreparedWeights) -> Result<(), ChainError> {
    let refused = match link.rpc.author_submit_extrinsic(&prepared.extrinsic).await {
        Ok(_) => {
            info!(chain.extrinsic = %prepared.hash, chain.nonce = prepared.nonce, "extrinsic submitted");
            return Ok(());
        }
        Err(error) => error,
    };
    let code = match &refused {
        subxt::rpcs::Error::User(answer) => Some(answer.code),
        _ => None,
    };
    match code {
        Some(refusal::ALREADY_IMPORTED | refusal::TEMPORARILY_BANNED) => Ok(()),
        Some(refusal::TOO_LOW_PRIORITY) => Err(ChainError::Pool {
            reason: format!("another extrinsic with nonce {} waits in the pool", prepared.nonce),
            class: FailureClass::Transient,
        }),
        Some(refusal::INVALID_TRANSACTION | refusal::UNKNOWN_VALIDITY) => reason(link, prepared).await,
        _ => Err(link.fault("author_submitExtrinsic", refused)),
    }
}

/// Asks the runtime at the best block why the pool refused.
async fn reason(link: &Link, prepared: &PreparedWeights) -> Result<(), ChainError> {
    let call = "TaggedTransactionQueue.validate_transaction";
    let best = (link.rpc.chain_get_block_hash(None).await)
        .map_err(|error| link.fault(call, error))?
        .ok_or_else(|| link.fault(call, WitnessError::NoBlock(0)))?;
    let at = link.at(best).await?;
    let extrinsic = at.transactions().from_bytes(prepared.extrinsic.clone());
    let result = extrinsic.validate().await.map_err(|error| link.fault(call, error))?;
    match refusal::verdict(&result) {
        Verdict::Wait => {
            debug!(chain.extrinsic = %prepared.hash, ?result, "pool did not take the extrinsic");
            Ok(())
        }
        Verdict::Refused(error) => Err(error),
    }
}
