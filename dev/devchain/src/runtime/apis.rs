//! The public chain's own runtime APIs, declared; the runtime implements them.
//!
//! A trait `LegacySomeApi` holds the methods of `SomeApi` that spec 365 answers in another shape; see [`crate::profile`].

#![expect(clippy::too_many_arguments, reason = "the methods and their arguments are the public chain's")]

use std::collections::BTreeMap;

use sp_runtime::AccountId32;

use super::newtypes::{AlphaBalance, MechId, NetUid, TaoBalance};
use super::subtensor::info_types as info;
use super::subtensor::metagraph_types::{legacy, newest};

sp_api::decl_runtime_apis! {
    pub trait NeuronInfoRuntimeApi {
        fn get_neurons(netuid: NetUid) -> Vec<info::NeuronInfo<AccountId32>>;
        fn get_neuron(netuid: NetUid, uid: u16) -> Option<info::NeuronInfo<AccountId32>>;
        fn get_neurons_lite(netuid: NetUid) -> Vec<info::NeuronInfoLite<AccountId32>>;
        fn get_neuron_lite(netuid: NetUid, uid: u16) -> Option<info::NeuronInfoLite<AccountId32>>;
    }
    pub trait SubnetInfoRuntimeApi {
        fn get_metagraph(netuid: NetUid) -> Option<newest::Metagraph<AccountId32>>;
        fn get_all_metagraphs() -> Vec<Option<newest::Metagraph<AccountId32>>>;
        fn get_mechagraph(netuid: NetUid, mecid: MechId) -> Option<newest::Metagraph<AccountId32>>;
        fn get_selective_metagraph(
            netuid: NetUid,
            metagraph_indexes: Vec<u16>,
        ) -> Option<newest::SelectiveMetagraph<AccountId32>>;
        fn get_selective_mechagraph(
            netuid: NetUid,
            subid: MechId,
            metagraph_indexes: Vec<u16>,
        ) -> Option<newest::SelectiveMetagraph<AccountId32>>;
        fn get_all_mechagraphs() -> Vec<Option<newest::Metagraph<AccountId32>>>;
        fn get_subnet_info(netuid: NetUid) -> Option<info::SubnetInfo<AccountId32>>;
        fn get_subnets_info() -> Vec<Option<info::SubnetInfo<AccountId32>>>;
        fn get_subnet_info_v2(netuid: NetUid) -> Option<info::SubnetInfov2<AccountId32>>;
        fn get_subnets_info_v2() -> Vec<Option<info::SubnetInfov2<AccountId32>>>;
        fn get_coldkey_auto_stake_hotkey(coldkey: AccountId32, netuid: NetUid) -> Option<AccountId32>;
        fn get_dynamic_info(netuid: NetUid) -> Option<info::DynamicInfo<AccountId32>>;
        fn get_all_dynamic_info() -> Vec<Option<info::DynamicInfo<AccountId32>>>;
        fn get_subnet_state(netuid: NetUid) -> Option<info::SubnetState<AccountId32>>;
        fn get_subnet_hyperparams(netuid: NetUid) -> Option<info::SubnetHyperparams>;
        fn get_subnet_hyperparams_v2(netuid: NetUid) -> Option<info::SubnetHyperparamsV2>;
        fn get_subnet_hyperparams_v3(netuid: NetUid) -> Option<Vec<info::HyperparamEntry>>;
        fn get_subnet_to_prune() -> Option<NetUid>;
        fn get_subnet_account_id(netuid: NetUid) -> Option<AccountId32>;
        fn get_block_emission() -> TaoBalance;
        fn get_next_epoch_start_block(netuid: NetUid) -> Option<u64>;
    }
    pub trait LegacySubnetInfoRuntimeApi {
        fn get_metagraph(netuid: NetUid) -> Option<legacy::Metagraph<AccountId32>>;
        fn get_all_metagraphs() -> Vec<Option<legacy::Metagraph<AccountId32>>>;
        fn get_all_mechagraphs() -> Vec<Option<legacy::Metagraph<AccountId32>>>;
        fn get_mechagraph(netuid: NetUid, mecid: MechId) -> Option<legacy::Metagraph<AccountId32>>;
        fn get_selective_metagraph(
            netuid: NetUid,
            metagraph_indexes: Vec<u16>,
        ) -> Option<legacy::SelectiveMetagraph<AccountId32>>;
        fn get_selective_mechagraph(
            netuid: NetUid,
            subid: MechId,
            metagraph_indexes: Vec<u16>,
        ) -> Option<legacy::SelectiveMetagraph<AccountId32>>;
    }
    pub trait StakeInfoRuntimeApi {
        fn get_stake_info_for_coldkey(
            coldkey_account: AccountId32,
        ) -> Vec<info::StakeInfo<AccountId32>>;
        fn get_stake_info_for_coldkeys(
            coldkey_accounts: Vec<AccountId32>,
        ) -> Vec<(AccountId32, Vec<info::StakeInfo<AccountId32>>)>;
        fn get_stake_info_for_hotkey_coldkey_netuid(
            hotkey_account: AccountId32,
            coldkey_account: AccountId32,
            netuid: NetUid,
        ) -> Option<info::StakeInfo<AccountId32>>;
        fn get_stake_fee(
            origin: Option<(AccountId32, NetUid)>,
            origin_coldkey_account: AccountId32,
            destination: Option<(AccountId32, NetUid)>,
            destination_coldkey_account: AccountId32,
            amount: u64,
        ) -> u64;
        fn get_stake_availability_for_coldkeys(
            coldkey_accounts: Vec<AccountId32>,
            netuids: Option<Vec<NetUid>>,
        ) -> BTreeMap<AccountId32, BTreeMap<NetUid, info::StakeAvailability>>;
        fn get_coldkey_lock(coldkey: AccountId32, netuid: NetUid) -> Option<info::LockState>;
        fn get_hotkey_conviction(hotkey: AccountId32, netuid: NetUid) -> info::FixedU128;
        fn get_most_convicted_hotkey_on_subnet(netuid: NetUid) -> Option<AccountId32>;
    }
    pub trait DelegateInfoRuntimeApi {
        fn get_delegates() -> Vec<info::DelegateInfo<AccountId32>>;
        fn get_delegate(delegate_account: AccountId32) -> Option<info::DelegateInfo<AccountId32>>;
        fn get_delegated(
            delegatee_account: AccountId32,
        ) -> Vec<info::Delegated<AccountId32>>;
    }
    pub trait SubnetRegistrationRuntimeApi {
        fn get_network_registration_cost() -> TaoBalance;
    }
    pub trait SwapRuntimeApi {
        fn current_alpha_price(netuid: NetUid) -> TaoBalance;
        fn current_alpha_price_all() -> Vec<info::SubnetPrice>;
        fn sim_swap_tao_for_alpha(netuid: NetUid, tao: TaoBalance) -> info::SimSwapResult;
        fn sim_swap_alpha_for_tao(netuid: NetUid, alpha: AlphaBalance) -> info::SimSwapResult;
    }
}
