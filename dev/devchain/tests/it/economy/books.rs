//! The books of a state: all TAO and all alpha, added up from what everybody has, and what one block may change of it.

use std::collections::{BTreeMap, BTreeSet};

use basilica_devchain::executor::State;
use basilica_devchain::runtime::newtypes::{MechId, NetUid};
use basilica_devchain::runtime::subtensor::emission::MAX_SUPPLY;
use basilica_devchain::runtime::subtensor::info_types::RecycleOrBurnEnum;
use basilica_devchain::runtime::subtensor::mechanisms::MAX_MECHANISMS;
use basilica_devchain::runtime::subtensor::weights::storage_index;
use basilica_devchain::runtime::{Balances, Runtime, RuntimeEvent, SubtensorModule, System, subtensor};

use super::calls::MIN_LOCK_COST;

/// The alpha of one subnet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Alpha {
    /// In the pool and outstanding.
    pub(super) supply: u128,
    /// Outstanding, and neither staked nor waiting for the epoch: burnt.
    pub(super) nobodys: u128,
    /// Waiting for miners.
    for_miners: u128,
    /// What the weights give to the owner is burnt, not recycled.
    burns: bool,
    /// What each mechanism has of the emission, in parts of 65,535 and rounded up.
    parts: Vec<u128>,
    /// Whether somebody earned as a miner of each mechanism.
    earned: Vec<bool>,
    /// Its epoch ran in this block.
    stepped: bool,
}

/// All there is in a state.
#[derive(Debug)]
pub(super) struct Books {
    /// TAO, in rao.
    pub(super) issuance: u128,
    pub(super) alpha: BTreeMap<NetUid, Alpha>,
}

/// What a block creates before its first extrinsic.
#[derive(Debug)]
pub(super) struct Emission {
    pub(super) tao: u128,
    pub(super) alpha: BTreeMap<NetUid, u128>,
    /// The part of it that is for people.
    people: BTreeMap<NetUid, u128>,
}

/// Adds up a state.
pub(super) fn books(state: &State) -> Books {
    on(state, || {
        let pools: u128 = subtensor::SubnetTAO::<Runtime>::iter().map(|(_, tao)| u128::from(tao.0)).sum();
        assert_eq!(
            u128::from(subtensor::TotalStake::<Runtime>::get().0),
            pools,
            "the pools are the total stake"
        );
        let owned: u128 = frame_system::Account::<Runtime>::iter()
            .map(|(_, account)| u128::from(account.data.free) + u128::from(account.data.reserved))
            .sum();
        assert_eq!(u128::from(Balances::total_issuance()), owned, "accounts have what is issued");
        let issuance = u128::from(subtensor::TotalIssuance::<Runtime>::get().0);
        assert_eq!(issuance, owned + pools, "TAO is in balances or pools, and nowhere else");
        assert_eq!(
            subtensor::SubnetTAO::<Runtime>::get(NetUid::ROOT).0,
            subtensor::SubnetAlphaOut::<Runtime>::get(NetUid::ROOT).0,
            "the root network trades at par"
        );
        let alpha = SubtensorModule::netuids().into_iter().map(|netuid| (netuid, alpha_of(netuid))).collect();
        check_collateral();
        Books { issuance, alpha }
    })
}

fn alpha_of(netuid: NetUid) -> Alpha {
    let staked: u128 = subtensor::TotalHotkeyAlpha::<Runtime>::iter()
        .filter(|(_, on, _)| *on == netuid)
        .map(|(hotkey, _, total)| {
            let positions: Vec<_> = subtensor::Alpha::<Runtime>::iter_prefix((&hotkey,))
                .filter(|((_, on), _)| *on == netuid)
                .collect();
            let shares: u128 = positions.iter().map(|(_, shares)| shares.bits).sum();
            let all = subtensor::TotalHotkeyShares::<Runtime>::get(&hotkey, netuid).bits;
            assert_eq!(shares, all, "the shares on {hotkey:?} of {netuid}");
            let owned: u128 = positions
                .iter()
                .map(|((coldkey, _), _)| u128::from(SubtensorModule::stake_of(&hotkey, coldkey, netuid).0))
                .sum();
            let total = u128::from(total.0);
            let dust = total.checked_sub(owned).expect("nobody owns more than is staked");
            assert!(
                dust == 0 || dust < positions.len() as u128,
                "{dust} of {total} on {hotkey:?} are nobody's"
            );
            total
        })
        .sum();
    let waiting = [
        subtensor::PendingServerEmission::<Runtime>::get(netuid),
        subtensor::PendingValidatorEmission::<Runtime>::get(netuid),
        subtensor::PendingOwnerCut::<Runtime>::get(netuid),
    ];
    let somebodys = staked + waiting.iter().map(|alpha| u128::from(alpha.0)).sum::<u128>();
    let outstanding = u128::from(subtensor::SubnetAlphaOut::<Runtime>::get(netuid).0);
    Alpha {
        supply: outstanding + u128::from(subtensor::SubnetAlphaIn::<Runtime>::get(netuid).0),
        nobodys: outstanding
            .checked_sub(somebodys)
            .expect("no alpha is staked or waits that is not outstanding"),
        for_miners: u128::from(subtensor::PendingServerEmission::<Runtime>::get(netuid).0),
        burns: subtensor::RecycleOrBurn::<Runtime>::get(netuid) == RecycleOrBurnEnum::Burn,
        parts: parts_of(netuid),
        earned: (0..MAX_MECHANISMS).map(|mecid| has_earned(netuid, MechId(mecid))).collect(),
        stepped: subtensor::LastMechansimStepBlock::<Runtime>::get(netuid) == SubtensorModule::block_now(),
    }
}

fn parts_of(netuid: NetUid) -> Vec<u128> {
    let count = usize::from(subtensor::MechanismCountCurrent::<Runtime>::get(netuid).0);
    match subtensor::MechanismEmissionSplit::<Runtime>::get(netuid) {
        Some(split) => split.into_iter().map(u128::from).collect(),
        None => vec![65_535u128.div_ceil(count as u128); count],
    }
}

fn has_earned(netuid: NetUid, mecid: MechId) -> bool {
    subtensor::Incentive::<Runtime>::get(storage_index(netuid, mecid)).iter().any(|share| !share.is_zero())
}

/// What is locked is staked, and a coldkey's sum is the sum.
fn check_collateral() {
    let mut sums = BTreeMap::new();
    for ((netuid, hotkey, coldkey), state) in subtensor::MinerCollateral::<Runtime>::iter() {
        let staked = SubtensorModule::stake_of(&hotkey, &coldkey, netuid).0;
        assert!(state.locked.0 <= staked + 1, "{} are locked of {staked} on {hotkey:?}", state.locked.0);
        *sums.entry((netuid, coldkey)).or_insert(0) += state.locked.0;
    }
    sums.retain(|_, sum| *sum > 0);
    let kept: BTreeMap<_, u64> = subtensor::ColdkeyMinerCollateral::<Runtime>::iter()
        .map(|(netuid, coldkey, sum)| ((netuid, coldkey), sum.0))
        .collect();
    assert_eq!(kept, sums, "the coldkeys' sums of collateral");
}

/// What the block after a state creates, from the rule and not from what the chain says it did.
pub(super) fn emission(state: &State) -> Emission {
    on(state, || {
        let block = SubtensorModule::block_now() + 1;
        let started: Vec<NetUid> = SubtensorModule::netuids()
            .into_iter()
            .filter(|netuid| !netuid.is_root())
            .filter(|netuid| {
                subtensor::FirstEmissionBlockNumber::<Runtime>::get(netuid)
                    .is_some_and(|first| first <= block)
            })
            .collect();
        let room = MAX_SUPPLY - subtensor::TotalIssuance::<Runtime>::get().0;
        let each = (1_000_000_000 / started.len().max(1) as u64).min(room);
        let mut emission = Emission { tao: 0, alpha: BTreeMap::new(), people: BTreeMap::new() };
        for netuid in started {
            let tao = u128::from(subtensor::SubnetTAO::<Runtime>::get(netuid).0);
            let inside = u128::from(subtensor::SubnetAlphaIn::<Runtime>::get(netuid).0);
            let outside = u128::from(subtensor::SubnetAlphaOut::<Runtime>::get(netuid).0);
            let most = u128::from(MAX_SUPPLY);
            let created = u128::from(subtensor::SubnetAlphaOutEmission::<Runtime>::get(netuid).0);
            let created = created.min(most.saturating_sub(inside + outside));
            emission.tao += u128::from(each);
            // Beside the TAO goes alpha in the pool's ratio, so that the price stays.
            let beside = (u128::from(each) * inside / tao).min(most - inside);
            emission.alpha.insert(netuid, created + beside);
            emission.people.insert(netuid, created);
        }
        emission
    })
}

/// What this block burnt of TAO, as its events tell: fees, dust, and what new subnets cost beyond their pool.
pub(super) fn told_burnt(state: &State) -> u128 {
    let of = |event| match event {
        RuntimeEvent::TransactionPayment(pallet_transaction_payment::Event::TransactionFeePaid {
            actual_fee,
            ..
        }) => actual_fee,
        RuntimeEvent::Balances(pallet_balances::Event::DustLost { amount, .. }) => amount,
        RuntimeEvent::SubtensorModule(subtensor::Event::NetworkAdded(netuid, _)) => {
            subtensor::SubnetLocked::<Runtime>::get(netuid).0.saturating_sub(MIN_LOCK_COST)
        }
        _ => 0,
    };
    on(state, || System::events().into_iter().map(|record| u128::from(of(record.event))).sum())
}

fn joined(state: &State) -> BTreeSet<NetUid> {
    let of = |event| match event {
        RuntimeEvent::SubtensorModule(subtensor::Event::NeuronRegistered(netuid, ..)) => Some(netuid),
        _ => None,
    };
    on(state, || System::events().into_iter().filter_map(|record| of(record.event)).collect())
}

/// Checks what a block did to the alpha of every subnet.
pub(super) fn check_alpha(before: &Books, after: &Books, emission: &Emission, state: &State) {
    let joined = joined(state);
    for (netuid, now) in after.alpha.iter().filter(|(netuid, _)| !netuid.is_root()) {
        let Some(old) = before.alpha.get(netuid) else {
            assert_eq!(now.nobodys, 0, "a new subnet {netuid} has burnt nothing");
            continue;
        };
        let most = old.supply + emission.alpha.get(netuid).copied().unwrap_or(0);
        let gone = most.checked_sub(now.supply).expect("alpha comes from emission alone");
        let may_go = joined.contains(netuid) || (now.stepped && !old.burns);
        assert!(
            gone == 0 || may_go,
            "{gone} of {netuid}'s alpha are gone without a registration or an epoch"
        );
        let burnt = now.nobodys.checked_sub(old.nobodys).expect("what is burnt stays burnt");
        // Only what miners were to get is burnt, of this epoch and of this block; where the owner's is recycled, only what
        // the miners of a mechanism did not earn, and only where others' did.
        let for_miners = old.for_miners + emission.people.get(netuid).copied().unwrap_or(0);
        let idle = old.parts.iter().zip(&now.earned).filter(|(_, earned)| !**earned).map(|(part, _)| part);
        let of_idle = match old.parts.len() {
            1 => 0,
            count => idle.sum::<u128>() * for_miners / 65_535 + count as u128,
        };
        let most = match (now.stepped, old.burns) {
            (false, _) => 0,
            (true, true) => for_miners,
            (true, false) => of_idle,
        };
        assert!(burnt <= most, "{burnt} of {netuid}'s alpha are nobody's, at most {most} can be");
    }
}

fn on<R>(state: &State, read: impl FnOnce() -> R) -> R {
    // Not `executor::read`: a failed assertion must keep its message.
    let storage = sp_core::storage::Storage { top: state.clone(), children_default: Default::default() };
    sp_state_machine::BasicExternalities::new(storage).execute_with(read)
}
