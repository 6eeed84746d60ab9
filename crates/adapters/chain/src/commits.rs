//! What the chain holds of commits that are not revealed yet, and the beacon that opens the timelocked ones.

use std::ops::RangeInclusive;

use basilica_ports::{Beacon, BeaconClock, ChainError, EpochClock, OpenCommit, OpenCommitForm};
use basilica_types::{BlockNumber, Digest, Hotkey, MechanismId, Millis, NetUid, Timestamp};
use subxt::config::Hasher as _;
use subxt::config::substrate::BlakeTwo256;
use subxt::ext::scale_decode::DecodeAsType;

use crate::item::{
    BEACON_CONFIG, LAST_STORED_ROUND, REVEAL_PERIOD, TIMELOCKED_COMMITS, View, WEIGHT_COMMITS,
};
use crate::weight_rules::index;

/// The chain's own bound on `RevealPeriodEpochs`; what was committed longer ago is gone.
const LONGEST_PERIOD: u64 = 100;

/// Hash, then epoch and block of the commit; before the stored epoch clock, block of the commit and first of its reveal.
type ByHash = ([u8; 32], u64, u64, u64);
/// Account, block of the commit, ciphertext, round.
type Timelocked = ([u8; 32], u64, Vec<u8>, u64);

/// The commits of `hotkey` that are not revealed, oldest first.
pub(crate) async fn open(
    view: &View,
    (netuid, mechanism): (NetUid, MechanismId),
    hotkey: &Hotkey,
    epochs: &EpochClock,
) -> Result<Vec<OpenCommit>, ChainError> {
    let index = index(netuid, mechanism);
    let mut open = Vec::new();
    let by_hash: Option<Vec<ByHash>> = view.if_present(WEIGHT_COMMITS, (index, *hotkey.as_bytes())).await?;
    for (hash, first, second, _) in by_hash.unwrap_or_default() {
        let (epoch, block) = match epochs {
            EpochClock::Stateful { .. } => (first, BlockNumber(second)),
            EpochClock::Modular { .. } => {
                let block = BlockNumber(first);
                (epochs.epoch_of(block, block, netuid), block)
            }
        };
        open.push(OpenCommit { form: OpenCommitForm::Hash(Digest::from_bytes(hash)), epoch, block });
    }
    if view.has_entry(TIMELOCKED_COMMITS) {
        open.extend(timelocked(view, (netuid, index), hotkey, epochs).await?);
    }
    open.sort_by_key(|commit| commit.block);
    Ok(open)
}

/// The epochs of which commits can be open.
async fn open_epochs(
    view: &View,
    netuid: NetUid,
    epochs: &EpochClock,
) -> Result<RangeInclusive<u64>, ChainError> {
    let head = BlockNumber(view.at.block_number());
    let now = epochs.epoch_of(head, head, netuid);
    let period: u64 = view.value(REVEAL_PERIOD, (netuid.0,)).await?;
    // Runtimes that count by block height date a commit made in the block of an epoch by the next one.
    Ok(now.saturating_sub(period.min(LONGEST_PERIOD))..=now.saturating_add(1))
}

/// The keys of the timelocked commits that can be open, at most [`LONGEST_PERIOD`] and two.
pub(crate) async fn keys(
    view: &View,
    (netuid, mechanism): (NetUid, MechanismId),
    epochs: &EpochClock,
) -> Result<Vec<Vec<u8>>, ChainError> {
    let index = index(netuid, mechanism);
    let open = open_epochs(view, netuid, epochs).await?;
    open.map(|epoch| view.key(TIMELOCKED_COMMITS, (index, epoch))).filter_map(Result::transpose).collect()
}

async fn timelocked(
    view: &View,
    (netuid, index): (NetUid, u16),
    hotkey: &Hotkey,
    epochs: &EpochClock,
) -> Result<Vec<OpenCommit>, ChainError> {
    let mut open = Vec::new();
    for epoch in open_epochs(view, netuid, epochs).await? {
        let commits: Vec<Timelocked> = view.value(TIMELOCKED_COMMITS, (index, epoch)).await?;
        let own = commits.into_iter().filter(|(account, ..)| account == hotkey.as_bytes());
        open.extend(own.map(|(_, block, ciphertext, round)| OpenCommit {
            form: OpenCommitForm::Timelocked {
                digest: Digest::from_bytes(BlakeTwo256.hash(&ciphertext).0),
                round,
            },
            epoch,
            block: BlockNumber(block),
        }));
    }
    Ok(open)
}

#[derive(DecodeAsType)]
#[decode_as_type(crate_path = "subxt::ext::scale_decode")]
struct BeaconConfig {
    public_key: Vec<u8>,
    /// Seconds.
    period: u32,
    /// Seconds since 1970.
    genesis_time: u32,
}

/// The beacon that the chain follows.
pub(crate) async fn beacon(view: &View) -> Result<Option<Beacon>, ChainError> {
    let Some(config) = view.if_present::<_, BeaconConfig>(BEACON_CONFIG, ()).await? else { return Ok(None) };
    if config.public_key.is_empty() {
        return Ok(None);
    }
    let last: Option<u64> = view.if_present(LAST_STORED_ROUND, ()).await?;
    Ok(Some(Beacon {
        public_key: config.public_key,
        clock: BeaconClock {
            genesis: Timestamp::from_secs(config.genesis_time.into()),
            period: Millis::from_secs(config.period.into()),
        },
        last_round: last.filter(|round| *round != 0),
    }))
}
