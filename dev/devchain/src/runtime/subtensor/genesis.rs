//! The first state of a subnet, written when the chain is made.

use frame_support::traits::Get as _;

use super::info_types::SubnetIdentityV3;
use super::pallet::*;
use super::subnets::symbol_of;
use super::weights::storage_index;
use crate::runtime::newtypes::{AlphaBalance, MechId, NetUid, TaoBalance};

/// Neurons that a subnet holds when it is made, over the storage item's own default, as on the public chain.
pub const MAX_UIDS: u16 = 256;

/// One neuron that exists from block 0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GenesisNeuron<AccountId> {
    /// The key that signs.
    pub hotkey: AccountId,
    /// The key that owns it.
    pub coldkey: AccountId,
    /// Alpha staked on it, in rao.
    pub stake: AlphaBalance,
}

/// A subnet that exists from block 0. Uids follow the order of `neurons`; the first is the owner's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GenesisSubnet<AccountId> {
    /// The subnet's number, not 0.
    pub netuid: NetUid,
    /// Blocks between epochs.
    pub tempo: u16,
    /// The owner (uid 0), then validators, then miners.
    pub neurons: Vec<GenesisNeuron<AccountId>>,
    /// Blocks between two settings of weights.
    pub weights_rate_limit: u64,
    /// Blocks between two changes of an endpoint.
    pub serving_rate_limit: u64,
    /// Whether weights must be committed first.
    pub commit_reveal: bool,
    /// Permits per epoch.
    pub max_allowed_validators: u16,
    /// Fewest weights of one setting.
    pub min_allowed_weights: u16,
    /// Blocks during which a new neuron cannot be replaced.
    pub immunity_period: u16,
    /// Least stake for a permit and for setting weights, in rao; it holds for the whole chain.
    pub stake_threshold: u64,
    /// Price of registration, in rao.
    pub burn: TaoBalance,
    /// Alpha created per block, in rao.
    pub emission_per_block: AlphaBalance,
    /// Whether every number between the root network and this one has an empty subnet.
    pub empty_below: bool,
}

/// What the subnet's pool begins with, in rao of the token and of alpha: alpha costs one TAO.
const POOL: u64 = 100_000_000_000_000;
/// Subnets that can be registered later, however many there are at first.
const ROOM: u16 = 64;

impl<T: Config> Pallet<T> {
    /// Writes the root network and one subnet into an empty state, and empty ones below it where the settings say so.
    pub fn install_genesis(subnet: &GenesisSubnet<T::AccountId>) {
        let netuid = subnet.netuid;
        let empty = if subnet.empty_below { netuid.0.saturating_sub(1) } else { 0 };
        (1..=empty).map(NetUid).for_each(Self::install_empty);
        let limit = SubnetLimit::<T>::get();
        if limit < empty.saturating_add(ROOM) {
            SubnetLimit::<T>::put(empty.saturating_add(ROOM));
        }
        NetworksAdded::<T>::insert(NetUid::ROOT, true);
        SubnetworkN::<T>::insert(NetUid::ROOT, 0);
        Tempo::<T>::insert(NetUid::ROOT, 100);
        TokenSymbol::<T>::insert(NetUid::ROOT, "Τ".as_bytes().to_vec());
        NetworksAdded::<T>::insert(netuid, true);
        // With the root network and this one.
        TotalNetworks::<T>::put(empty.saturating_add(2));
        TokenSymbol::<T>::insert(netuid, "β".as_bytes().to_vec());
        SubnetIdentitiesV3::<T>::insert(
            netuid,
            SubnetIdentityV3 { subnet_name: b"basilica".to_vec(), ..SubnetIdentityV3::default() },
        );
        Tempo::<T>::insert(netuid, subnet.tempo);
        WeightsSetRateLimit::<T>::insert(netuid, subnet.weights_rate_limit);
        ServingRateLimit::<T>::insert(netuid, subnet.serving_rate_limit);
        CommitRevealWeightsEnabled::<T>::insert(netuid, subnet.commit_reveal);
        MaxAllowedValidators::<T>::insert(netuid, subnet.max_allowed_validators);
        MaxAllowedUids::<T>::insert(netuid, MAX_UIDS);
        MinAllowedWeights::<T>::insert(netuid, subnet.min_allowed_weights);
        ImmunityPeriod::<T>::insert(netuid, subnet.immunity_period);
        StakeThreshold::<T>::put(subnet.stake_threshold);
        Burn::<T>::insert(netuid, subnet.burn);
        SubnetAlphaOutEmission::<T>::insert(netuid, subnet.emission_per_block);
        MinBurn::<T>::insert(netuid, subnet.burn);
        SubnetMechanism::<T>::insert(netuid, 1);
        SubnetAlphaIn::<T>::insert(netuid, AlphaBalance(POOL));
        Self::grow_pool(netuid, TaoBalance(POOL));
        SubtokenEnabled::<T>::insert(netuid, true);
        FirstEmissionBlockNumber::<T>::insert(netuid, 1);
        for (uid, neuron) in (0u16..).zip(&subnet.neurons) {
            Self::install_neuron(netuid, uid, &neuron.hotkey, &neuron.coldkey);
            Self::add_alpha(&neuron.hotkey, &neuron.coldkey, netuid, neuron.stake)
                .expect("a first stake buys shares");
            SubnetAlphaOut::<T>::mutate(netuid, |out| *out = out.saturating_add(neuron.stake));
        }
        if let Some(owner) = subnet.neurons.first() {
            SubnetOwner::<T>::insert(netuid, &owner.coldkey);
            SubnetOwnerHotkey::<T>::insert(netuid, &owner.hotkey);
        }
        LastUpdate::<T>::insert(storage_index(netuid, MechId::MAIN), vec![0u64; subnet.neurons.len()]);
    }

    /// Writes a subnet that only takes up its number: it has no owner, no neurons, no pool, never starts, and nobody can
    /// register on it. A block costs in proportion to what is stored, so all that can be a default is one.
    fn install_empty(netuid: NetUid) {
        NetworksAdded::<T>::insert(netuid, true);
        NetworkRegistrationAllowed::<T>::insert(netuid, false);
        TokenSymbol::<T>::insert(netuid, symbol_of(netuid));
        // Lists are read as whole maps, which leave defaults out.
        Tempo::<T>::insert(netuid, T::InitialTempo::get());
    }
}
