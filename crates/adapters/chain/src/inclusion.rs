//! Seeing a signed extrinsic to its end.
//!
//! The finalised chain is the only witness: blocks that could contain the extrinsic are searched for its bytes, and its
//! fate is read from their events. Whether a submission was answered, and by whom, does not matter; so a crash, a lost
//! connection or a second leader doing the same at once change nothing. Only when every block of its life is final and
//! does not contain it, or the final blocks without it have used up its nonce, is it [`WeightsOutcome::Expired`].
//!
//! A witness can be gone: nodes keep the states of some hundred blocks, and a validator may be down for longer. After
//! its life an extrinsic has had all the effect that it ever will, so what it left behind then judges ([`effect`]), once
//! no endpoint tells the block any more. And a chain on which the birth block has another hash, as a wiped one, can
//! never include it: the hash is in the signature.
//!
//! A block once searched stays searched ([`progress`]), whatever ends the look, so that an endpoint that is slow or breaks
//! often brings every search to its end.

mod effect;
mod progress;

use std::sync::Arc;

use basilica_ports::{ChainError, Expiry, FailureClass, PreparedWeights, WeightsOutcome};
use basilica_types::{BlockNumber, Hotkey, Millis};
use subxt::config::substrate::H256;
use subxt::events::Phase;
use subxt::ext::scale_decode::DecodeAsType;
use subxt::rpcs::methods::legacy::NumberOrHex;
use tracing::{debug, info, warn};

pub(crate) use self::progress::Followed;
use self::progress::{Shared, Unseen};
use crate::connection::Connection;
use crate::deadline::within;
use crate::dispatch::{self, ExtrinsicFailed};
use crate::item::{ACCOUNT, View};
use crate::link::Link;
use crate::refusal::{self, Verdict};

/// A pool may have dropped what it took: it gets the same bytes again after this many final blocks without them.
const RESUBMIT_AFTER: u64 = 8;
/// Blocks searched at one look, so that a look on a slow endpoint ends before its deadline.
const BLOCKS_AT_ONCE: u64 = 8;
const FIRST_PAUSE: Millis = Millis(100);

/// Why a node's answers about blocks make no sense.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WitnessError {
    #[error("block {0} is final but the endpoint does not have it")]
    NoBlock(u64),
    #[error("block {0} contains the extrinsic but no event of its end")]
    NoEvent(u64),
}

#[derive(DecodeAsType)]
#[decode_as_type(crate_path = "subxt::ext::scale_decode")]
struct Account {
    nonce: u64,
}

/// What a look found.
enum Look {
    Ended(WeightsOutcome),
    /// There are more blocks to search.
    More,
    /// All there is was searched.
    Waiting,
}

/// Follows `prepared` to its end, submitting it as often as it takes.
pub(crate) async fn conclude(
    connection: &Connection,
    followed: &Followed,
    prepared: &PreparedWeights,
    signer: Hotkey,
) -> Result<WeightsOutcome, ChainError> {
    let progress = followed.progress(prepared);
    let follow = follow(connection, prepared, &signer, &progress);
    let outcome = within(&*connection.clock, connection.options.conclude_deadline, follow)
        .await
        .unwrap_or(Err(ChainError::Deadline { call: "conclude" }))?;
    followed.forget(prepared);
    Ok(outcome)
}

async fn follow(
    connection: &Connection,
    prepared: &PreparedWeights,
    signer: &Hotkey,
    progress: &Shared,
) -> Result<WeightsOutcome, ChainError> {
    let mut pause = FIRST_PAUSE;
    loop {
        progress.with(|progress| progress.unseen = None);
        let look = connection.call("conclude", |link| look(link, prepared, signer, progress)).await;
        match (look, progress.with(|progress| progress.unseen)) {
            (Ok(Look::Ended(outcome)), _) => return Ok(outcome),
            (Ok(Look::More), _) => {}
            (Ok(Look::Waiting), _) => {
                connection.clock.sleep(pause).await;
                pause = Millis(pause.0.saturating_mul(2)).min(connection.options.poll_max);
            }
            // No endpoint tells that block any more.
            (Err(error @ ChainError::Call { .. }), Some(unseen)) => {
                warn!(chain.extrinsic = %prepared.hash, chain.block = unseen.number,
                    error = &error as &dyn std::error::Error,
                    "block no longer tells the extrinsic's end; judged by its effect");
                let judge = |link| effect::judge(link, prepared, signer, unseen);
                return connection.call("conclude", judge).await?.ok_or(error);
            }
            (Err(error), _) => return Err(error),
        }
    }
}

/// One look at the finalised chain, and a submission if one is due.
async fn look(
    link: Arc<Link>,
    prepared: &PreparedWeights,
    signer: &Hotkey,
    progress: &Shared,
) -> Result<Look, ChainError> {
    let head = link.finalized_number().await?;
    if !is_of_chain(&link, prepared, head, progress).await? {
        warn!(chain.extrinsic = %prepared.hash, chain.block = head,
            "chain is not the one that the extrinsic was signed for, and can never include it");
        return Ok(Look::Ended(WeightsOutcome::Expired(Expiry::OtherChain)));
    }
    if let Some(outcome) = search(&link, prepared, head, progress).await? {
        return Ok(Look::Ended(outcome));
    }
    if progress.with(|progress| progress.next) <= head.min(prepared.dies.0) {
        return Ok(Look::More);
    }
    if head > prepared.dies.0 {
        info!(chain.extrinsic = %prepared.hash, chain.block = head, "extrinsic expired");
        return Ok(Look::Ended(WeightsOutcome::Expired(Expiry::EraOver)));
    }
    if head > prepared.born.0 && nonce_at(&link, head, signer).await? > prepared.nonce {
        // Every block that made up this count was searched.
        info!(chain.extrinsic = %prepared.hash, chain.block = head, chain.nonce = prepared.nonce,
            "another extrinsic of this key took the nonce");
        return Ok(Look::Ended(WeightsOutcome::Expired(Expiry::NonceTaken)));
    }
    let submitted = progress.with(|progress| progress.submitted);
    if submitted.is_none_or(|(on, at)| on != link.id || head >= at.saturating_add(RESUBMIT_AFTER)) {
        submit(&link, prepared).await?;
        progress.with(|progress| progress.submitted = Some((link.id, head)));
    }
    Ok(Look::Waiting)
}

/// Searches the next blocks up to `head`, as many as one look may.
async fn search(
    link: &Link,
    prepared: &PreparedWeights,
    head: u64,
    progress: &Shared,
) -> Result<Option<WeightsOutcome>, ChainError> {
    let first = progress.with(|progress| progress.next);
    let last = head.min(prepared.dies.0).min(first.saturating_add(BLOCKS_AT_ONCE - 1));
    for number in first..=last {
        let (hash, outcome) = match find(link, prepared, number).await {
            Ok(found) => found,
            Err((included, error)) => {
                // While it lives it can still be seen in another block, or here by another endpoint.
                let unseen = (head > prepared.dies.0).then_some(Unseen { number, included });
                progress.with(|progress| progress.unseen = unseen);
                return Err(error);
            }
        };
        if outcome.is_some() {
            return Ok(outcome);
        }
        progress.with(|progress| progress.searched(number, hash));
    }
    Ok(None)
}

/// The account's nonce after the block at this height.
async fn nonce_at(link: &Arc<Link>, number: u64, account: &Hotkey) -> Result<u64, ChainError> {
    let missing = || link.fault("chain_getBlockHash", WitnessError::NoBlock(number));
    let hash = hash_at(link, number).await?.ok_or_else(missing)?;
    let view = View::of_block(Arc::clone(link), hash).await?;
    let account: Option<Account> = view.storage(ACCOUNT, (*account.as_bytes(),)).await?;
    Ok(account.map_or(0, |account| account.nonce))
}

/// Whether the chain behind `link` is the one that `prepared` was signed for, as far as it reaches. Asked once of each
/// link; a chain that came back with other blocks than those that were searched is searched anew.
async fn is_of_chain(
    link: &Link,
    prepared: &PreparedWeights,
    head: u64,
    progress: &Shared,
) -> Result<bool, ChainError> {
    if progress.with(|progress| progress.same_chain) == Some(link.id) {
        return Ok(true);
    }
    if link.genesis().0 != *prepared.genesis.as_bytes() {
        return Ok(false);
    }
    let born = H256(*prepared.born_hash.as_bytes());
    let (number, searched) = progress.with(|progress| progress.newest).unwrap_or((prepared.born.0, born));
    if head < number {
        // An endpoint that lags, or a chain that began anew and will show another block at this height.
        return Ok(true);
    }
    if hash_at(link, number).await?.is_some_and(|hash| hash != searched) {
        if number == prepared.born.0 || hash_at(link, prepared.born.0).await?.is_some_and(|hash| hash != born)
        {
            return Ok(false);
        }
        progress.with(|progress| progress.begin_again(prepared));
    }
    progress.with(|progress| progress.same_chain = Some(link.id));
    Ok(true)
}

pub(crate) async fn hash_at(link: &Link, number: u64) -> Result<Option<H256>, ChainError> {
    let at = NumberOrHex::Number(number);
    (link.rpc.chain_get_block_hash(Some(at)).await).map_err(|error| link.fault("chain_getBlockHash", error))
}

/// The hash of a block, and the end of the extrinsic if it is there. With an error goes whether the block contains it.
async fn find(
    link: &Link,
    prepared: &PreparedWeights,
    number: u64,
) -> Result<(H256, Option<WeightsOutcome>), (bool, ChainError)> {
    let call = "chain_getBlock";
    let missing = || (false, link.fault(call, WitnessError::NoBlock(number)));
    let hash = hash_at(link, number).await.map_err(|error| (false, error))?.ok_or_else(missing)?;
    let block = (link.rpc.chain_get_block(Some(hash)).await)
        .map_err(|error| (false, link.fault(call, error)))?
        .ok_or_else(missing)?;
    match block.block.extrinsics.iter().position(|extrinsic| extrinsic.0 == prepared.extrinsic) {
        Some(index) => match outcome(link, hash, number, index).await {
            Ok(outcome) => Ok((hash, Some(outcome))),
            Err(error) => Err((true, error)),
        },
        None => Ok((hash, None)),
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
        Some(refusal::CYCLE | refusal::IMMEDIATELY_DROPPED) => Err(ChainError::Pool {
            reason: "its pool is full; it is tried again".to_owned(),
            class: FailureClass::Transient,
        }),
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
