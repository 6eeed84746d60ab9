//! The epoch on chain: when it is due, what it reads, and what it stores. What it computes is [`crate::yuma`].
//!
//! There are two clocks. The newest runtimes keep the block of the last epoch per subnet and run at most
//! [`MAX_EPOCHS_PER_BLOCK`] in a block, the others a block later; spec 365 and older derive the epoch from the block number
//! and the netuid. Which one rules is [`Config::ModularEpochs`].

use frame_support::traits::Get as _;

use super::MAX_TEMPO;
use super::info_types::EpochConsensus;
use super::pallet::*;
use super::weights::storage_index;
use crate::runtime::newtypes::{AlphaBalance, MechId, NetUid, NetUidStorageIndex, PerU16};
use crate::yuma::{self, Fixed, Neuron, Outcome, Rules};

/// Epochs that one block runs; what is due beyond waits a block.
pub const MAX_EPOCHS_PER_BLOCK: usize = 2;

fn to_parts(shares: &[Fixed]) -> Vec<PerU16> {
    shares.iter().map(|share| PerU16::from_parts(share.to_share())).collect()
}

fn to_numbers(shares: &[Fixed]) -> Vec<u16> {
    shares.iter().map(|share| share.to_share()).collect()
}

/// One mechanism's outcome and its part of the subnet.
type Part = (Outcome, Fixed);

/// Each uid's shares over mechanisms, by the mechanisms' parts.
fn mean(parts: &[Part], shares: impl Fn(&Outcome) -> &[Fixed]) -> Vec<Fixed> {
    let Some((first, _)) = parts.first() else { return Vec::new() };
    if parts.len() == 1 {
        return shares(first).to_vec();
    }
    (0..shares(first).len())
        .map(|uid| {
            parts
                .iter()
                .map(|(outcome, part)| shares(outcome).get(uid).copied().unwrap_or_default().times(*part))
                .sum()
        })
        .collect()
}

impl<T: Config> Pallet<T> {
    /// The subnets with neurons and weights, in order.
    pub(super) fn emitting_netuids() -> Vec<NetUid> {
        Self::netuids().into_iter().filter(|netuid| !netuid.is_root()).collect()
    }

    /// Counts the block for every subnet and runs the epochs that are due.
    pub(super) fn run_due_epochs(subnets: &[NetUid]) {
        let now = Self::block_now();
        let mut run = 0;
        for netuid in subnets.iter().copied() {
            BlocksSinceLastStep::<T>::mutate(netuid, |blocks| *blocks = blocks.saturating_add(1));
            if !Self::is_epoch_due(netuid) {
                continue;
            }
            if run >= MAX_EPOCHS_PER_BLOCK && !T::ModularEpochs::get() {
                PendingEpochAt::<T>::insert(netuid, now.saturating_add(1));
            } else {
                run += 1;
                Self::run_epoch(netuid, now);
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

    fn run_epoch(netuid: NetUid, now: u64) {
        let hotkeys: Vec<T::AccountId> =
            (0..SubnetworkN::<T>::get(netuid)).map(|uid| Keys::<T>::get(netuid, uid)).collect();
        let count = MechanismCountCurrent::<T>::get(netuid).0.max(1);
        let split = MechanismEmissionSplit::<T>::get(netuid);
        let outcomes: Vec<Part> = (0..count)
            .map(|mecid| {
                let part = match split.as_ref().and_then(|parts| parts.get(usize::from(mecid))) {
                    Some(part) => Fixed::from_share(*part),
                    None => Fixed::ratio(1, u128::from(count)),
                };
                (Self::run_mechanism(netuid, MechId(mecid), &hotkeys, now), part)
            })
            .collect();
        let miners = mean(&outcomes, |outcome| &outcome.server_emission);
        let validators = mean(&outcomes, |outcome| &outcome.validator_emission);
        let total = Self::distribute(netuid, &hotkeys, &miners, &validators);
        Self::store_outcome(netuid, &outcomes, total);

        LastEpochBlock::<T>::insert(netuid, now);
        LastMechansimStepBlock::<T>::insert(netuid, now);
        PendingEpochAt::<T>::insert(netuid, 0);
        SubnetEpochIndex::<T>::mutate(netuid, |index| *index = index.saturating_add(1));
        BlocksSinceLastStep::<T>::insert(netuid, 0);
    }

    /// Computes one mechanism's epoch and stores what is kept for each mechanism.
    fn run_mechanism(netuid: NetUid, mecid: MechId, hotkeys: &[T::AccountId], now: u64) -> Outcome {
        let index = storage_index(netuid, mecid);
        let neurons = Self::epoch_neurons(netuid, index, hotkeys);
        let rules = Self::epoch_rules(netuid, now);
        let mut outcome = match SubnetEpochConsensus::<T>::get(netuid) {
            EpochConsensus::Yuma => yuma::run(&neurons, &rules),
            EpochConsensus::Null => yuma::null::run(&neurons, &rules),
        };
        Incentive::<T>::insert(index, to_parts(&outcome.incentive));
        for (uid, row) in (0u16..).zip(std::mem::take(&mut outcome.bonds)) {
            if let Some(row) = row {
                Bonds::<T>::insert(index, uid, row);
            }
        }
        outcome
    }

    fn store_outcome(netuid: NetUid, outcomes: &[Part], total: AlphaBalance) {
        let Some((first, _)) = outcomes.first() else { return };
        let emission = mean(outcomes, |outcome| &outcome.emission);
        let incentive = mean(outcomes, |outcome| &outcome.incentive);
        Active::<T>::insert(netuid, &first.active);
        ValidatorPermit::<T>::insert(netuid, &first.permits);
        Consensus::<T>::insert(netuid, to_parts(&mean(outcomes, |outcome| &outcome.consensus)));
        Dividends::<T>::insert(netuid, to_parts(&mean(outcomes, |outcome| &outcome.dividends)));
        ValidatorTrust::<T>::insert(netuid, to_parts(&mean(outcomes, |outcome| &outcome.validator_trust)));
        StakeWeight::<T>::insert(netuid, to_numbers(&first.stake));
        Emission::<T>::insert(
            netuid,
            emission.iter().map(|share| AlphaBalance(share.of(total.0))).collect::<Vec<_>>(),
        );
        if T::ModularEpochs::get() {
            Rank::<T>::insert(netuid, to_numbers(&incentive));
            Trust::<T>::insert(netuid, to_numbers(&mean(outcomes, |outcome| &outcome.trust)));
            let largest = emission.iter().copied().max().unwrap_or_default();
            let scores: Vec<u16> = emission.iter().map(|share| share.over(largest).to_share()).collect();
            PruningScores::<T>::insert(netuid, scores);
        }
    }

    fn epoch_rules(netuid: NetUid, now: u64) -> Rules {
        let last = LastMechansimStepBlock::<T>::get(netuid);
        Rules {
            now,
            bonds_lapse_from: match last {
                0 => now.saturating_sub(u64::from(Tempo::<T>::get(netuid))),
                last => last.saturating_add(1),
            },
            activity_cutoff: u64::from(ActivityCutoff::<T>::get(netuid)),
            stake_threshold: StakeThreshold::<T>::get(),
            max_validators: MaxAllowedValidators::<T>::get(netuid),
            kappa: Kappa::<T>::get(netuid),
            bonds_moving_average: BondsMovingAverage::<T>::get(netuid),
            bonds_penalty: BondsPenalty::<T>::get(netuid),
            owner: Uids::<T>::get(netuid, SubnetOwnerHotkey::<T>::get(netuid)),
        }
    }

    fn epoch_neurons(netuid: NetUid, index: NetUidStorageIndex, hotkeys: &[T::AccountId]) -> Vec<Neuron> {
        let updates = LastUpdate::<T>::get(index);
        let permits = ValidatorPermit::<T>::get(netuid);
        let commits = Self::open_commits(netuid, index);
        (0u16..)
            .zip(hotkeys)
            .map(|(uid, hotkey)| Neuron {
                stake: Self::stake_weight(hotkey, netuid),
                last_update: updates.get(usize::from(uid)).copied().unwrap_or(0),
                registered_at: BlockAtRegistration::<T>::get(netuid, uid),
                permit: permits.get(usize::from(uid)).copied().unwrap_or(false),
                committed_at: commits.get(hotkey).copied(),
                weights: Weights::<T>::get(index, uid),
                bonds: Bonds::<T>::get(index, uid),
            })
            .collect()
    }
}
