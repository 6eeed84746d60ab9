//! The end of an extrinsic whose life is over and whose block no longer tells, by what it left behind.

use std::sync::Arc;

use basilica_ports::{ChainError, Effect, Expiry, PreparedWeights, WeightsOutcome};
use basilica_types::{BlockNumber, Hotkey, Uid};
use tracing::info;

use super::progress::Unseen;
use crate::item::{UIDS, View};
use crate::link::Link;
use crate::weight_rules::{index, last_update};

/// In place of the chain's name of an error that nobody has any more.
const FORGOTTEN: &str = "unknown, the block's state is gone";

/// What the newest finalised state says of it; none where it says nothing.
pub(super) async fn judge(
    link: Arc<Link>,
    prepared: &PreparedWeights,
    signer: &Hotkey,
    unseen: Unseen,
) -> Result<Option<WeightsOutcome>, ChainError> {
    match prepared.effect {
        Effect::Weights => {}
        // A reveal leaves no block behind. Whoever waits for it sees what it did in the weights.
        Effect::Reveal => return Ok(Some(WeightsOutcome::Expired(Expiry::EraOver))),
        Effect::Other => return Ok(None),
    }
    let view = View::finalized(link).await?;
    if view.at.block_number() <= prepared.dies.0 {
        return Ok(None);
    }
    let uid: Option<u16> = view.storage(UIDS, (prepared.netuid.0, *signer.as_bytes())).await?;
    let last = match uid {
        Some(uid) => Some(last_update(&view, index(prepared.netuid, prepared.mechanism), Uid(uid)).await?),
        None => None,
    };
    info!(chain.extrinsic = %prepared.hash, chain.last_update = ?last, "extrinsic judged by its effect");
    let included = unseen.included.then_some(BlockNumber(unseen.number));
    Ok(Some(end(prepared.born, included, last)))
}

/// What `last_update`, the block of the last weights or registration of a neuron that still is one, says of an
/// extrinsic whose life is over. Nothing else sets weights between windows, and what somebody did by hand shows when
/// they are read back.
fn end(born: BlockNumber, included: Option<BlockNumber>, last_update: Option<BlockNumber>) -> WeightsOutcome {
    match (included, last_update) {
        (Some(block), Some(last)) if last >= block => WeightsOutcome::Set { block },
        (Some(block), _) => WeightsOutcome::Failed { block, error: FORGOTTEN.to_owned() },
        (None, Some(last)) if last > born => WeightsOutcome::Set { block: last },
        (None, _) => WeightsOutcome::Expired(Expiry::EraOver),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_forgotten_extrinsic_is_judged_by_the_weights_it_left() {
        let end = |included: Option<u64>, last: Option<u64>| {
            end(BlockNumber(100), included.map(BlockNumber), last.map(BlockNumber))
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
