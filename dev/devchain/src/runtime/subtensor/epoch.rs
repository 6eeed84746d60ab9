//! The epoch on chain: when it is due, what it reads, and what it stores. What it computes is [`crate::yuma`].
//!
//! There are two clocks. The newest runtimes keep the block of the last epoch per subnet and run at most
//! [`MaxEpochsPerBlock`] in a block, the others a block later; spec 365 and older derive the epoch from the block number
//! and the netuid. Which one rules is [`Config::ModularEpochs`].

use frame_support::traits::Get as _;

use super::MAX_TEMPO;
use super::emission::Earned;
use super::info_types::EpochConsensus;
use super::pallet::*;
use super::weights::storage_index;
use crate::runtime::newtypes::{AlphaBalance, MechId, NetUid, NetUidStorageIndex, PerU16};
use crate::yuma::{self, Fixed, Neuron, Outcome, Rules};

fn to_parts(scores: &[u16]) -> Vec<PerU16> {
    scores.iter().copied().map(PerU16::from_parts).collect()
}

/// What a subnet shows of its mechanisms' epochs, one entry for each uid.
///
/// Scores are sums weighted by the mechanisms' parts of the emission, each product rounded down, as the public chain adds them up;
/// emission too, although its amounts are parts already: over several mechanisms less is reported than was paid.
#[derive(Debug, Default)]
struct Report {
    active: Vec<bool>,
    permits: Vec<bool>,
    consensus: Vec<u16>,
    dividends: Vec<u16>,
    validator_trust: Vec<u16>,
    stake: Vec<u16>,
    rank: Vec<u16>,
    trust: Vec<u16>,
    emission: Vec<u64>,
}

/// A weight of one, with 64 fractional bits.
const WHOLE: u128 = 1 << 64;

fn weighted(amount: u64, weight: u128) -> u64 {
    u64::try_from((u128::from(amount) * weight) >> 64).unwrap_or(u64::MAX)
}

fn add_scores(sums: &mut Vec<u16>, shares: &[Fixed], weight: u128) {
    sums.resize(shares.len(), 0);
    for (sum, share) in sums.iter_mut().zip(shares) {
        let score = weighted(share.to_share().into(), weight);
        *sum = sum.saturating_add(u16::try_from(score).unwrap_or(u16::MAX));
    }
}

fn add_flags(sums: &mut Vec<bool>, flags: &[bool]) {
    sums.resize(flags.len(), false);
    for (sum, flag) in sums.iter_mut().zip(flags) {
        *sum |= flag;
    }
}

impl Report {
    /// Adds a mechanism whose part of the emission is `part`, in rao of alpha, and which counts for `weight`.
    fn add(&mut self, outcome: &Outcome, part: AlphaBalance, weight: u128) {
        add_flags(&mut self.active, &outcome.active);
        add_flags(&mut self.permits, &outcome.permits);
        add_scores(&mut self.consensus, &outcome.consensus, weight);
        add_scores(&mut self.dividends, &outcome.dividends, weight);
        add_scores(&mut self.validator_trust, &outcome.validator_trust, weight);
        add_scores(&mut self.stake, &outcome.stake, weight);
        add_scores(&mut self.rank, &outcome.incentive, weight);
        add_scores(&mut self.trust, &outcome.trust, weight);
        self.emission.resize(outcome.emission.len(), 0);
        for (sum, share) in self.emission.iter_mut().zip(&outcome.emission) {
            *sum = sum.saturating_add(weighted(share.of(part.0), weight));
        }
    }
}

/// What a mechanism counts for: its part of the whole; where there is nothing to hand out, the first counts alone.
fn weight_of(mecid: u8, part: AlphaBalance, whole: AlphaBalance) -> u128 {
    let first = if mecid == 0 { WHOLE } else { 0 };
    (u128::from(part.0) << 64).checked_div(u128::from(whole.0)).unwrap_or(first)
}

impl<T: Config> Pallet<T> {
    /// The subnets with neurons, in order, without the root network. The others have nothing to count, pay or reveal.
    pub(super) fn inhabited_netuids() -> Vec<NetUid> {
        let mut netuids: Vec<NetUid> = SubnetworkN::<T>::iter()
            .filter(|(netuid, neurons)| *neurons > 0 && !netuid.is_root())
            .map(|(netuid, _)| netuid)
            .collect();
        netuids.sort_unstable();
        netuids
    }

    /// Counts the block for every subnet and runs the epochs that are due.
    pub(super) fn run_due_epochs(subnets: &[NetUid]) {
        let now = Self::block_now();
        let mut run: u8 = 0;
        for netuid in subnets.iter().copied() {
            BlocksSinceLastStep::<T>::mutate(netuid, |blocks| *blocks = blocks.saturating_add(1));
            if !Self::is_epoch_due(netuid) {
                continue;
            }
            if run >= MaxEpochsPerBlock::<T>::get() && !T::ModularEpochs::get() {
                let to_block = now.saturating_add(1);
                PendingEpochAt::<T>::insert(netuid, to_block);
                Self::deposit_event(Event::EpochDeferred { netuid, from_block: now, to_block });
            } else {
                run = run.saturating_add(1);
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
        let is_empty = SubnetworkN::<T>::get(netuid) == 0;
        if !NetworksAdded::<T>::get(netuid) || tempo == 0 || is_empty {
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
        let hotkeys = Self::hotkeys_of(netuid);
        let pot = Self::take_pot(netuid);
        let whole = pot.miners.saturating_add(pot.validators);
        let parts =
            Self::split_emission(netuid, whole).into_iter().zip(Self::split_emission(netuid, pot.miners));
        let (mut report, mut earned) = (Report::default(), Earned::default());
        for (mecid, (part, for_miners)) in (0u8..).zip(parts) {
            let outcome = Self::run_mechanism(netuid, MechId(mecid), &hotkeys, now);
            report.add(&outcome, part, weight_of(mecid, part, whole));
            let emissions = earned.add(&outcome, part, for_miners);
            let index = storage_index(netuid, MechId(mecid));
            Self::deposit_event(Event::IncentiveAlphaEmittedToMiners { netuid: index, emissions });
        }
        Self::pay(netuid, &hotkeys, pot, &earned);
        Self::store_report(netuid, report);

        LastEpochBlock::<T>::insert(netuid, now);
        LastMechansimStepBlock::<T>::insert(netuid, now);
        if !T::ModularEpochs::get() && !Self::is_null(netuid) {
            LastYumaStepBlock::<T>::insert(netuid, now);
        }
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
        let incentive: Vec<u16> = outcome.incentive.iter().map(|share| share.to_share()).collect();
        Incentive::<T>::insert(index, to_parts(&incentive));
        for (uid, row) in (0u16..).zip(std::mem::take(&mut outcome.bonds)) {
            if let Some(row) = row {
                Bonds::<T>::insert(index, uid, row);
            }
        }
        outcome
    }

    fn store_report(netuid: NetUid, report: Report) {
        Consensus::<T>::insert(netuid, to_parts(&report.consensus));
        Dividends::<T>::insert(netuid, to_parts(&report.dividends));
        ValidatorTrust::<T>::insert(netuid, to_parts(&report.validator_trust));
        if T::ModularEpochs::get() {
            let largest = report.emission.iter().copied().max().unwrap_or_default();
            let score = |amount: &u64| Fixed::ratio(*amount, largest.into()).to_share();
            PruningScores::<T>::insert(netuid, report.emission.iter().map(score).collect::<Vec<_>>());
            Rank::<T>::insert(netuid, report.rank);
            Trust::<T>::insert(netuid, report.trust);
        }
        Active::<T>::insert(netuid, report.active);
        ValidatorPermit::<T>::insert(netuid, report.permits);
        StakeWeight::<T>::insert(netuid, report.stake);
        Emission::<T>::insert(netuid, report.emission.into_iter().map(AlphaBalance).collect::<Vec<_>>());
    }

    pub(super) fn epoch_rules(netuid: NetUid, now: u64) -> Rules {
        let last = LastYumaStepBlock::<T>::get(netuid);
        let last = last.unwrap_or_else(|| LastMechansimStepBlock::<T>::get(netuid));
        Rules {
            now,
            bonds_lapse_from: match last {
                0 => now.saturating_sub(u64::from(Tempo::<T>::get(netuid))),
                last => last.saturating_add(1),
            },
            activity_cutoff: Self::activity_cutoff(netuid),
            stake_threshold: StakeThreshold::<T>::get(),
            max_validators: MaxAllowedValidators::<T>::get(netuid),
            kappa: Kappa::<T>::get(netuid),
            bonds_moving_average: BondsMovingAverage::<T>::get(netuid),
            bonds_penalty: BondsPenalty::<T>::get(netuid),
            owner: Uids::<T>::get(netuid, SubnetOwnerHotkey::<T>::get(netuid)),
            exempts_owner: !T::ModularEpochs::get(),
        }
    }

    pub(super) fn epoch_neurons(
        netuid: NetUid,
        index: NetUidStorageIndex,
        hotkeys: &[T::AccountId],
    ) -> Vec<Neuron> {
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
