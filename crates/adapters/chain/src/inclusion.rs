//! Seeing a signed extrinsic to its end.
//!
//! The finalised chain is the only witness: blocks that could contain the extrinsic are searched for its bytes, and its
//! fate is read from their events. Whether a submission was answered, and by whom, does not matter; so a crash, a lost
//! connection or a second leader doing the same at once change nothing. Only when every block of its life is final and
//! does not contain it, or the final blocks without it have used up its nonce, is it [`WeightsOutcome::Expired`].
//!
//! A witness can be gone: nodes keep the states of some hundred blocks, and a validator may be down for longer. After
//! its life an extrinsic has had all the effect that it ever will, so what it left behind then judges: the
//! block of the own neuron's last weights. And a chain on which the birth block has another hash, as a wiped one, can
//! never include it: the hash is in the signature.

use std::sync::Arc;

use basilica_ports::{ChainError, Expiry, FailureClass, PreparedWeights, WeightsOutcome};
use basilica_types::{BlockNumber, Hotkey, Millis};
use subxt::config::substrate::H256;
use subxt::events::Phase;
use subxt::ext::scale_decode::DecodeAsType;
use subxt::rpcs::methods::legacy::NumberOrHex;
use tracing::{debug, info, warn};

use crate::connection::Connection;
use crate::deadline::within;
use crate::dispatch::{self, ExtrinsicFailed};
use crate::item::{ACCOUNT, View};
use crate::link::Link;
use crate::metagraph;
use crate::refusal::{self, Verdict};

/// A pool may have dropped what it took: it gets the same bytes again after this many final blocks without them.
const RESUBMIT_AFTER: u64 = 8;
/// In place of the chain's name of an error that nobody has any more.
const FORGOTTEN: &str = "unknown, the block's state is gone";
const FIRST_PAUSE: Millis = Millis(100);

/// Why a node's answers about blocks make no sense.
#[derive(Debug, thiserror::Error)]
enum WitnessError {
    #[error("block {0} is final but the endpoint does not have it")]
    NoBlock(u64),
    #[error("block {0} contains the extrinsic but no event of its end")]
    NoEvent(u64),
}

/// Why a block does not tell.
struct Unseen {
    /// It contains the extrinsic; only how that ended is not known.
    included: bool,
    error: ChainError,
}

impl From<ChainError> for Unseen {
    fn from(error: ChainError) -> Self {
        Self { included: false, error }
    }
}

/// By what the end of an extrinsic can be told where blocks no longer can.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// It sets the signer's weights, which carry their block.
    Weights,
    /// Nothing that carries its block.
    Unseen,
}

/// Who signed, and what that leaves behind.
type Signer = (Hotkey, Effect);

#[derive(DecodeAsType)]
#[decode_as_type(crate_path = "subxt::ext::scale_decode")]
struct Account {
    nonce: u64,
}

/// How far the search is.
#[derive(Clone, Copy)]
struct Progress {
    /// The first block not searched.
    next: u64,
    /// The link it was last submitted on, and the finalised head then.
    submitted: Option<(u64, u64)>,
    /// The link that was found to serve the chain that it was signed for.
    same_chain: Option<u64>,
}

/// Follows `prepared` to its end, submitting it as often as it takes.
pub(crate) async fn conclude(
    connection: &Connection,
    prepared: &PreparedWeights,
    signer: Signer,
) -> Result<WeightsOutcome, ChainError> {
    within(&*connection.clock, connection.options.conclude_deadline, follow(connection, prepared, signer))
        .await
        .unwrap_or(Err(ChainError::Deadline { call: "conclude" }))
}

async fn follow(
    connection: &Connection,
    prepared: &PreparedWeights,
    signer: Signer,
) -> Result<WeightsOutcome, ChainError> {
    let next = prepared.born.0.saturating_add(1);
    let mut progress = Progress { next, submitted: None, same_chain: None };
    let mut pause = FIRST_PAUSE;
    loop {
        let (advanced, outcome) =
            connection.call("conclude", |link| look(link, prepared, signer, progress)).await?;
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
    signer: Signer,
    mut progress: Progress,
) -> Result<(Progress, Option<WeightsOutcome>), ChainError> {
    let head = link.finalized_number().await?;
    if progress.same_chain != Some(link.id) {
        if !is_of_chain(&link, prepared, head).await? {
            warn!(chain.extrinsic = %prepared.hash, chain.block = head,
                "chain is not the one that the extrinsic was signed for, and can never include it");
            return Ok((progress, Some(WeightsOutcome::Expired(Expiry::OtherChain))));
        }
        progress.same_chain = (head >= prepared.born.0).then_some(link.id);
    }
    while progress.next <= head.min(prepared.dies.0) {
        let outcome = match find(&link, prepared, progress.next).await {
            Err(unseen) if head > prepared.dies.0 && !link.is_lost() => {
                Some(judge_by_effect(&link, prepared, signer, progress.next, unseen).await?)
            }
            found => found.map_err(|unseen| unseen.error)?,
        };
        if outcome.is_some() {
            return Ok((progress, outcome));
        }
        progress.next += 1;
    }
    if head > prepared.dies.0 {
        info!(chain.extrinsic = %prepared.hash, chain.block = head, "extrinsic expired");
        return Ok((progress, Some(WeightsOutcome::Expired(Expiry::EraOver))));
    }
    if head > prepared.born.0 && nonce_at(&link, head, &signer.0).await? > prepared.nonce {
        // Every block that made up this count was searched.
        info!(chain.extrinsic = %prepared.hash, chain.block = head, chain.nonce = prepared.nonce,
            "another extrinsic of this key took the nonce");
        return Ok((progress, Some(WeightsOutcome::Expired(Expiry::NonceTaken))));
    }
    let due =
        progress.submitted.is_none_or(|(on, at)| on != link.id || head >= at.saturating_add(RESUBMIT_AFTER));
    if due {
        submit(&link, prepared).await?;
        progress.submitted = Some((link.id, head));
    }
    Ok((progress, None))
}

/// The account's nonce after the block at this height.
async fn nonce_at(link: &Arc<Link>, number: u64, account: &Hotkey) -> Result<u64, ChainError> {
    let call = "chain_getBlockHash";
    let at = NumberOrHex::Number(number);
    let hash = (link.rpc.chain_get_block_hash(Some(at)).await)
        .map_err(|error| link.fault(call, error))?
        .ok_or_else(|| link.fault(call, WitnessError::NoBlock(number)))?;
    let view = View { at: link.at(hash).await?, link: Arc::clone(link) };
    let account: Option<Account> = view.storage(ACCOUNT, (*account.as_bytes(),)).await?;
    Ok(account.map_or(0, |account| account.nonce))
}

/// Whether the chain behind `link` is the one that `prepared` was signed for, as far as it reaches.
async fn is_of_chain(link: &Link, prepared: &PreparedWeights, head: u64) -> Result<bool, ChainError> {
    if link.genesis().0 != *prepared.genesis.as_bytes() {
        return Ok(false);
    }
    if head < prepared.born.0 {
        // An endpoint that lags, or a chain that began anew and will show another block at this height.
        return Ok(true);
    }
    let at = NumberOrHex::Number(prepared.born.0);
    let hash = (link.rpc.chain_get_block_hash(Some(at)).await)
        .map_err(|error| link.fault("chain_getBlockHash", error))?;
    Ok(hash.is_none_or(|hash| hash.0 == *prepared.born_hash.as_bytes()))
}

/// The end of an extrinsic whose life is over, by what the finalised state says: weights that were set carry the block
/// in which they were set.
async fn judge_by_effect(
    link: &Arc<Link>,
    prepared: &PreparedWeights,
    signer: Signer,
    number: u64,
    unseen: Unseen,
) -> Result<WeightsOutcome, ChainError> {
    let (own, Effect::Weights) = signer else { return Err(unseen.error) };
    let view = View::finalized(Arc::clone(link)).await?;
    if view.at.block_number() <= prepared.dies.0 {
        return Err(unseen.error);
    }
    let metagraph = metagraph::read(&view, prepared.netuid).await?;
    let last_update = metagraph.neuron(&own).map(|neuron| neuron.last_update);
    warn!(chain.extrinsic = %prepared.hash, chain.block = number, chain.last_update = ?last_update,
        error = &unseen.error as &dyn std::error::Error,
        "block no longer tells the extrinsic's end; judged by the neuron's last weights");
    let included = unseen.included.then_some(BlockNumber(number));
    Ok(end_by_effect(prepared.born, included, last_update))
}

/// What `last_update`, the block of the last weights or registration of a neuron that still is one, says of an
/// extrinsic whose life is over. Nothing else sets weights between windows, and what somebody did by hand shows when
/// they are read back.
fn end_by_effect(
    born: BlockNumber,
    included: Option<BlockNumber>,
    last_update: Option<BlockNumber>,
) -> WeightsOutcome {
    match (included, last_update) {
        (Some(block), Some(last)) if last >= block => WeightsOutcome::Set { block },
        (Some(block), _) => WeightsOutcome::Failed { block, error: FORGOTTEN.to_owned() },
        (None, Some(last)) if last > born => WeightsOutcome::Set { block: last },
        (None, _) => WeightsOutcome::Expired(Expiry::EraOver),
    }
}

async fn find(
    link: &Link,
    prepared: &PreparedWeights,
    number: u64,
) -> Result<Option<WeightsOutcome>, Unseen> {
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
        Some(index) => match outcome(link, hash, number, index).await {
            Ok(outcome) => Ok(Some(outcome)),
            Err(error) => Err(Unseen { included: true, error }),
        },
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_forgotten_extrinsic_is_judged_by_the_weights_it_left() {
        let end = |included: Option<u64>, last: Option<u64>| {
            end_by_effect(BlockNumber(100), included.map(BlockNumber), last.map(BlockNumber))
        };
        let set = |block| WeightsOutcome::Set { block: BlockNumber(block) };
        let failed = || WeightsOutcome::Failed { block: BlockNumber(103), error: FORGOTTEN.to_owned() };
        assert_eq!(end(Some(103), Some(103)), set(103));
        assert_eq!(end(Some(103), Some(102)), failed());
        assert_eq!(end(Some(103), None), failed(), "no longer registered");
        assert_eq!(end(None, Some(103)), set(103), "not even the block is left");
        assert_eq!(end(None, Some(100)), WeightsOutcome::Expired(Expiry::EraOver));
        assert_eq!(end(None, None), WeightsOutcome::Expired(Expiry::EraOver));
    }
}
