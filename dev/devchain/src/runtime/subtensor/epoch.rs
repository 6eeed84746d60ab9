//! The epoch: permits, consensus, incentives, dividends and emission of a subnet.
//!
//! The clock is the public chain's stateful one. The computation is a plain, honest stake-weighted mean of the weights of
//! active validators with a permit: enough for permits to appear and for incentives to follow weights. Full Yuma
//! consensus (clipping, bonds, liquid alpha) is not here; nothing of ours reads its finer results yet.
//! All arithmetic is on integers with 32 fractional bits.

use super::MAX_TEMPO;
use frame_support::traits::Get as _;

use super::pallet::*;
use super::weights::storage_index;
use crate::runtime::newtypes::{AlphaBalance, MechId, NetUid, PerU16};

const ONE: u128 = 1 << 32;
/// Shares of an epoch's emission, in percent: incentives, dividends, the subnet owner.
const INCENTIVE_PERCENT: u128 = 41;
const DIVIDEND_PERCENT: u128 = 41;
const OWNER_PERCENT: u128 = 18;

/// What one neuron brings into an epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EpochNeuron {
    /// Stake weight in rao.
    pub stake: u64,
    /// Updated its weights within the activity cutoff.
    pub active: bool,
    /// The stored weights row.
    pub weights: Vec<(u16, u16)>,
}

/// What an epoch gives each neuron. Shares have 32 fractional bits and sum to at most one.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EpochOutcome {
    /// May set weights until the next epoch.
    pub permits: Vec<bool>,
    /// Stake-weighted mean weight.
    pub consensus: Vec<u128>,
    /// Share of the miners' part.
    pub incentive: Vec<u128>,
    /// Share of the validators' part.
    pub dividends: Vec<u128>,
    /// How much of the validator's weights agrees with the consensus.
    pub validator_trust: Vec<u128>,
}

/// The `limit` neurons with most stake that is not below `threshold` and not zero; ties go to the lower uid.
#[must_use]
pub fn top_stake(stakes: &[u64], threshold: u64, limit: u16) -> Vec<bool> {
    let mut order: Vec<usize> =
        (0..stakes.len()).filter(|uid| stakes[*uid] > 0 && stakes[*uid] >= threshold).collect();
    order.sort_by(|a, b| stakes[*b].cmp(&stakes[*a]).then(a.cmp(b)));
    let mut permits = vec![false; stakes.len()];
    for uid in order.into_iter().take(usize::from(limit)) {
        permits[uid] = true;
    }
    permits
}

/// Each value's share of the sum, with 32 fractional bits; all zero if the sum is.
fn normalised(values: &[u128]) -> Vec<u128> {
    let sum: u128 = values.iter().sum();
    values.iter().map(|value| value.saturating_mul(ONE).checked_div(sum).unwrap_or(0)).collect()
}

/// A validator's row as shares of one, its weight on itself left out.
fn row_of(uid: usize, neuron: &EpochNeuron, size: usize) -> Vec<u128> {
    let mut row = vec![0; size];
    for (target, weight) in &neuron.weights {
        let target = usize::from(*target);
        if target < size && target != uid {
            row[target] = u128::from(*weight);
        }
    }
    normalised(&row)
}

/// The whole computation of an epoch, without the chain.
#[must_use]
pub fn run(neurons: &[EpochNeuron], threshold: u64, max_validators: u16) -> EpochOutcome {
    let size = neurons.len();
    let stakes: Vec<u64> = neurons.iter().map(|neuron| neuron.stake).collect();
    let permits = top_stake(&stakes, threshold, max_validators);
    let voices: Vec<u128> = neurons
        .iter()
        .zip(&permits)
        .map(|(neuron, permit)| if *permit && neuron.active { u128::from(neuron.stake) } else { 0 })
        .collect();
    let voices = normalised(&voices);
    let rows: Vec<Vec<u128>> =
        neurons.iter().enumerate().map(|(uid, neuron)| row_of(uid, neuron, size)).collect();
    let consensus: Vec<u128> =
        (0..size).map(|target| (0..size).map(|uid| voices[uid] * rows[uid][target] / ONE).sum()).collect();
    let incentive = normalised(&consensus);
    let agreement: Vec<u128> = (0..size)
        .map(|uid| (0..size).map(|target| rows[uid][target] * incentive[target] / ONE).sum())
        .collect();
    let earned: Vec<u128> = (0..size).map(|uid| voices[uid] * agreement[uid] / ONE).collect();
    let validator_trust = (0..size)
        .map(|uid| match voices[uid] {
            0 => 0,
            _ => (0..size).map(|target| rows[uid][target].min(consensus[target])).sum(),
        })
        .collect();
    EpochOutcome { permits, consensus, incentive, dividends: normalised(&earned), validator_trust }
}

fn to_parts(shares: &[u128]) -> Vec<PerU16> {
    let part = |share: &u128| u16::try_from(share * u128::from(u16::MAX) / ONE).unwrap_or(u16::MAX);
    shares.iter().map(|share| PerU16::from_parts(part(share))).collect()
}

fn part_of(emission: u64, percent: u128, share: u128) -> AlphaBalance {
    let part = u128::from(emission) * percent / 100 * share / ONE;
    AlphaBalance(u64::try_from(part).unwrap_or(u64::MAX))
}

impl<T: Config> Pallet<T> {
    /// Counts the block for every subnet and runs the epochs that are due.
    pub(super) fn run_due_epochs() {
        let subnets: Vec<NetUid> = NetworksAdded::<T>::iter()
            .filter(|(netuid, added)| *added && !netuid.is_root())
            .map(|(netuid, _)| netuid)
            .collect();
        for netuid in subnets {
            if Self::is_epoch_due(netuid) {
                Self::run_epoch(netuid);
            } else {
                BlocksSinceLastStep::<T>::mutate(netuid, |blocks| *blocks = blocks.saturating_add(1));
            }
        }
    }

    pub(super) fn is_epoch_due(netuid: NetUid) -> bool {
        let tempo = u64::from(Tempo::<T>::get(netuid));
        let pending = PendingEpochAt::<T>::get(netuid);
        let now = Self::block_now();
        if T::ModularEpochs::get() {
            // The last block of the index, so that the next one begins after its epoch.
            let clock = Self::modular_clock(netuid);
            return tempo != 0 && clock.epoch_at(now) != clock.epoch_at(now.saturating_add(1));
        }
        tempo != 0
            && ((pending > 0 && now >= pending)
                || BlocksSinceLastStep::<T>::get(netuid) > MAX_TEMPO
                || now.saturating_sub(LastEpochBlock::<T>::get(netuid)) >= tempo)
    }

    /// The first block of the next epoch, if the subnet has epochs.
    #[must_use]
    pub fn next_epoch_start(netuid: NetUid) -> Option<u64> {
        let tempo = u64::from(Tempo::<T>::get(netuid));
        if !NetworksAdded::<T>::get(netuid) || tempo == 0 {
            return None;
        }
        if T::ModularEpochs::get() {
            let clock = Self::modular_clock(netuid);
            let next = clock.epoch_at(Self::block_now().saturating_add(1)).saturating_add(1);
            return Some(clock.first_block_of(next).saturating_sub(1));
        }
        let scheduled = LastEpochBlock::<T>::get(netuid).saturating_add(tempo);
        let pending = PendingEpochAt::<T>::get(netuid);
        Some(if pending > 0 { pending.min(scheduled) } else { scheduled })
    }

    fn run_epoch(netuid: NetUid) {
        let now = Self::block_now();
        let blocks = now.saturating_sub(LastEpochBlock::<T>::get(netuid)).max(1);
        LastEpochBlock::<T>::insert(netuid, now);
        LastMechansimStepBlock::<T>::insert(netuid, now);
        PendingEpochAt::<T>::insert(netuid, 0);
        SubnetEpochIndex::<T>::mutate(netuid, |index| *index = index.saturating_add(1));
        BlocksSinceLastStep::<T>::insert(netuid, 0);

        let hotkeys: Vec<T::AccountId> =
            (0..SubnetworkN::<T>::get(netuid)).map(|uid| Keys::<T>::get(netuid, uid)).collect();
        let neurons = Self::epoch_neurons(netuid, &hotkeys, now);
        let outcome = run(&neurons, StakeThreshold::<T>::get(), MaxAllowedValidators::<T>::get(netuid));
        let total = SubnetAlphaOutEmission::<T>::get(netuid).0.saturating_mul(blocks);
        let emission: Vec<AlphaBalance> = outcome
            .incentive
            .iter()
            .zip(&outcome.dividends)
            .map(|(incentive, dividend)| {
                part_of(total, INCENTIVE_PERCENT, *incentive).saturating_add(part_of(
                    total,
                    DIVIDEND_PERCENT,
                    *dividend,
                ))
            })
            .collect();
        for (hotkey, earned) in hotkeys.iter().zip(&emission) {
            Self::credit_alpha(netuid, hotkey, *earned);
        }
        let owner_cut = part_of(total, OWNER_PERCENT, ONE);
        Self::credit_alpha(netuid, &SubnetOwnerHotkey::<T>::get(netuid), owner_cut);

        let index = storage_index(netuid, MechId::MAIN);
        Active::<T>::insert(netuid, neurons.iter().map(|neuron| neuron.active).collect::<Vec<_>>());
        ValidatorPermit::<T>::insert(netuid, outcome.permits);
        Consensus::<T>::insert(netuid, to_parts(&outcome.consensus));
        Incentive::<T>::insert(index, to_parts(&outcome.incentive));
        Dividends::<T>::insert(netuid, to_parts(&outcome.dividends));
        ValidatorTrust::<T>::insert(netuid, to_parts(&outcome.validator_trust));
        Emission::<T>::insert(netuid, emission);
    }

    fn epoch_neurons(netuid: NetUid, hotkeys: &[T::AccountId], now: u64) -> Vec<EpochNeuron> {
        let updates = LastUpdate::<T>::get(storage_index(netuid, MechId::MAIN));
        let cutoff = u64::from(ActivityCutoff::<T>::get(netuid));
        (0u16..)
            .zip(hotkeys)
            .map(|(uid, hotkey)| {
                let updated = updates.get(usize::from(uid)).copied().unwrap_or(0);
                EpochNeuron {
                    stake: Self::stake_weight(hotkey, netuid),
                    active: updated.saturating_add(cutoff) >= now,
                    weights: Weights::<T>::get(storage_index(netuid, MechId::MAIN), uid),
                }
            })
            .collect()
    }

    pub(super) fn credit_alpha(netuid: NetUid, hotkey: &T::AccountId, amount: AlphaBalance) {
        if amount > AlphaBalance::ZERO {
            TotalHotkeyAlpha::<T>::mutate(hotkey, netuid, |alpha| *alpha = alpha.saturating_add(amount));
            SubnetAlphaOut::<T>::mutate(netuid, |out| *out = out.saturating_add(amount));
        }
    }
}
