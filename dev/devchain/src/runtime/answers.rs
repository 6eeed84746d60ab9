//! The runtime's answers: every method of a runtime API that clients call by name.
#![expect(missing_docs, reason = "the macro generates undocumented items")]

use std::collections::BTreeMap;

use codec::Compact;
use frame_support::traits::Get as _;
use frame_support::weights::Weight;
use pallet_transaction_payment_rpc_runtime_api::{FeeDetails, RuntimeDispatchInfo};
use sp_core::OpaqueMetadata;
use sp_runtime::ApplyExtrinsicResult;
use sp_runtime::traits::Block as BlockT;
use sp_runtime::transaction_validity::{TransactionSource, TransactionValidity};

use super::newtypes::{AlphaBalance, MechId, NetUid, TaoBalance};
use super::subtensor::info_types as info;
use super::subtensor::metagraph_types::{legacy, newest};
use super::{
    AccountId, Balance, Block, Executive, Header, InherentDataExt as _, Nonce, Runtime, RuntimeCall,
    SubtensorModule, System, TransactionPayment, UncheckedExtrinsic, Version, apis, commitments, subtensor,
};

/// What every hotkey has committed on a subnet, as a selective metagraph gives it.
fn commitments_on(netuid: NetUid) -> Vec<(AccountId, Vec<Compact<u8>>)> {
    commitments::CommitmentOf::<Runtime>::iter_prefix(netuid)
        .map(|(who, registration)| {
            let encoded = codec::Encode::encode(&registration.info);
            (who, encoded.into_iter().map(Compact).collect())
        })
        .collect()
}

sp_api::impl_runtime_apis! {
    impl sp_api::Core<Block> for Runtime {
        fn version() -> sp_version::RuntimeVersion {
            Version::get()
        }
        fn execute_block(block: <Block as BlockT>::LazyBlock) {
            Executive::execute_block(block)
        }
        fn initialize_block(header: &Header) -> sp_runtime::ExtrinsicInclusionMode {
            Executive::initialize_block(header)
        }
    }
    impl sp_api::Metadata<Block> for Runtime {
        fn metadata() -> OpaqueMetadata {
            OpaqueMetadata::new(Runtime::metadata().into())
        }
        fn metadata_at_version(version: u32) -> Option<OpaqueMetadata> {
            Runtime::metadata_at_version(version)
        }
        fn metadata_versions() -> Vec<u32> {
            Runtime::metadata_versions()
        }
    }
    impl sp_block_builder::BlockBuilder<Block> for Runtime {
        fn apply_extrinsic(extrinsic: UncheckedExtrinsic) -> ApplyExtrinsicResult {
            Executive::apply_extrinsic(extrinsic)
        }
        fn finalize_block() -> Header {
            Executive::finalize_block()
        }
        fn inherent_extrinsics(data: sp_inherents::InherentData) -> Vec<UncheckedExtrinsic> {
            data.create_extrinsics()
        }
        fn check_inherents(
            block: <Block as BlockT>::LazyBlock,
            data: sp_inherents::InherentData,
        ) -> sp_inherents::CheckInherentsResult {
            data.check_extrinsics(&block)
        }
    }
    impl sp_transaction_pool::runtime_api::TaggedTransactionQueue<Block> for Runtime {
        fn validate_transaction(
            source: TransactionSource,
            tx: UncheckedExtrinsic,
            block_hash: <Block as BlockT>::Hash,
        ) -> TransactionValidity {
            Executive::validate_transaction(source, tx, block_hash)
        }
    }
    impl frame_system_rpc_runtime_api::AccountNonceApi<Block, AccountId, Nonce> for Runtime {
        fn account_nonce(account: AccountId) -> Nonce {
            System::account_nonce(account)
        }
    }
    impl pallet_transaction_payment_rpc_runtime_api::TransactionPaymentApi<Block, Balance> for Runtime {
        fn query_info(uxt: UncheckedExtrinsic, len: u32) -> RuntimeDispatchInfo<Balance> {
            TransactionPayment::query_info(uxt, len)
        }
        fn query_fee_details(uxt: UncheckedExtrinsic, len: u32) -> FeeDetails<Balance> {
            TransactionPayment::query_fee_details(uxt, len)
        }
        fn query_weight_to_fee(weight: Weight) -> Balance {
            TransactionPayment::weight_to_fee(weight)
        }
        fn query_length_to_fee(length: u32) -> Balance {
            TransactionPayment::length_to_fee(length)
        }
    }
    impl pallet_transaction_payment_rpc_runtime_api::TransactionPaymentCallApi<Block, Balance, RuntimeCall> for Runtime {
        fn query_call_info(call: RuntimeCall, len: u32) -> RuntimeDispatchInfo<Balance> {
            TransactionPayment::query_call_info(call, len)
        }
        fn query_call_fee_details(call: RuntimeCall, len: u32) -> FeeDetails<Balance> {
            TransactionPayment::query_call_fee_details(call, len)
        }
        fn query_weight_to_fee(weight: Weight) -> Balance {
            TransactionPayment::weight_to_fee(weight)
        }
        fn query_length_to_fee(length: u32) -> Balance {
            TransactionPayment::length_to_fee(length)
        }
    }
    impl apis::NeuronInfoRuntimeApi<Block> for Runtime {
        fn get_neurons(netuid: NetUid) -> Vec<info::NeuronInfo<AccountId>> {
            SubtensorModule::neurons(netuid)
        }
        fn get_neuron(netuid: NetUid, uid: u16) -> Option<info::NeuronInfo<AccountId>> {
            SubtensorModule::neuron(netuid, uid)
        }
        fn get_neurons_lite(netuid: NetUid) -> Vec<info::NeuronInfoLite<AccountId>> {
            SubtensorModule::neurons_lite(netuid)
        }
        fn get_neuron_lite(netuid: NetUid, uid: u16) -> Option<info::NeuronInfoLite<AccountId>> {
            SubtensorModule::neuron_lite(netuid, uid)
        }
    }
    impl apis::SubnetInfoRuntimeApi<Block> for Runtime {
        fn get_metagraph(netuid: NetUid) -> Option<newest::Metagraph<AccountId>> {
            SubtensorModule::metagraph(netuid, MechId::MAIN)
        }
        fn get_all_metagraphs() -> Vec<Option<newest::Metagraph<AccountId>>> {
            SubtensorModule::netuids().into_iter().map(|netuid| SubtensorModule::metagraph(netuid, MechId::MAIN)).collect()
        }
        fn get_mechagraph(netuid: NetUid, mecid: MechId) -> Option<newest::Metagraph<AccountId>> {
            SubtensorModule::metagraph(netuid, mecid)
        }
        fn get_selective_metagraph(
            netuid: NetUid,
            metagraph_indexes: Vec<u16>,
        ) -> Option<newest::SelectiveMetagraph<AccountId>> {
            let graph = SubtensorModule::metagraph(netuid, MechId::MAIN)?;
            Some(graph.select(&metagraph_indexes, || commitments_on(netuid)))
        }
        fn get_selective_mechagraph(
            netuid: NetUid,
            subid: MechId,
            metagraph_indexes: Vec<u16>,
        ) -> Option<newest::SelectiveMetagraph<AccountId>> {
            let graph = SubtensorModule::metagraph(netuid, subid)?;
            Some(graph.select(&metagraph_indexes, || commitments_on(netuid)))
        }
        fn get_all_mechagraphs() -> Vec<Option<newest::Metagraph<AccountId>>> {
            SubtensorModule::mechagraphs().map(Some).collect()
        }
        fn get_subnet_info(netuid: NetUid) -> Option<info::SubnetInfo<AccountId>> {
            SubtensorModule::subnet_info(netuid)
        }
        fn get_subnets_info() -> Vec<Option<info::SubnetInfo<AccountId>>> {
            SubtensorModule::netuids().into_iter().map(SubtensorModule::subnet_info).collect()
        }
        fn get_subnet_info_v2(netuid: NetUid) -> Option<info::SubnetInfov2<AccountId>> {
            SubtensorModule::subnet_info_v2(netuid)
        }
        fn get_subnets_info_v2() -> Vec<Option<info::SubnetInfov2<AccountId>>> {
            SubtensorModule::netuids().into_iter().map(SubtensorModule::subnet_info_v2).collect()
        }
        fn get_coldkey_auto_stake_hotkey(coldkey: AccountId, netuid: NetUid) -> Option<AccountId> {
            subtensor::AutoStakeDestination::<Runtime>::get(coldkey, netuid)
        }
        fn get_dynamic_info(netuid: NetUid) -> Option<info::DynamicInfo<AccountId>> {
            SubtensorModule::dynamic_info(netuid)
        }
        fn get_all_dynamic_info() -> Vec<Option<info::DynamicInfo<AccountId>>> {
            SubtensorModule::all_dynamic_info()
        }
        fn get_subnet_state(netuid: NetUid) -> Option<info::SubnetState<AccountId>> {
            SubtensorModule::subnet_state(netuid)
        }
        fn get_subnet_hyperparams(netuid: NetUid) -> Option<info::SubnetHyperparams> {
            SubtensorModule::hyperparams(netuid)
        }
        fn get_subnet_hyperparams_v2(netuid: NetUid) -> Option<info::SubnetHyperparamsV2> {
            SubtensorModule::hyperparams_v2(netuid)
        }
        fn get_subnet_hyperparams_v3(netuid: NetUid) -> Option<Vec<info::HyperparamEntry>> {
            SubtensorModule::hyperparams_v3(netuid)
        }
        fn get_subnet_to_prune() -> Option<NetUid> {
            SubtensorModule::subnet_to_prune()
        }
        fn get_subnet_account_id(netuid: NetUid) -> Option<AccountId> {
            SubtensorModule::subnet_account(netuid)
        }
        fn get_block_emission() -> TaoBalance {
            TaoBalance(subtensor::BlockEmission::<Runtime>::get())
        }
        fn get_next_epoch_start_block(netuid: NetUid) -> Option<u64> {
            SubtensorModule::next_epoch_start(netuid)
        }
    }
    impl apis::LegacySubnetInfoRuntimeApi<Block> for Runtime {
        fn get_metagraph(netuid: NetUid) -> Option<legacy::Metagraph<AccountId>> {
            SubtensorModule::metagraph(netuid, MechId::MAIN).map(Into::into)
        }
        fn get_all_metagraphs() -> Vec<Option<legacy::Metagraph<AccountId>>> {
            SubtensorModule::netuids()
                .into_iter()
                .map(|netuid| SubtensorModule::metagraph(netuid, MechId::MAIN).map(Into::into))
                .collect()
        }
        fn get_all_mechagraphs() -> Vec<Option<legacy::Metagraph<AccountId>>> {
            SubtensorModule::mechagraphs().map(|graph| Some(graph.into())).collect()
        }
        fn get_mechagraph(netuid: NetUid, mecid: MechId) -> Option<legacy::Metagraph<AccountId>> {
            SubtensorModule::metagraph(netuid, mecid).map(Into::into)
        }
        fn get_selective_metagraph(
            netuid: NetUid,
            metagraph_indexes: Vec<u16>,
        ) -> Option<legacy::SelectiveMetagraph<AccountId>> {
            let graph = legacy::Metagraph::from(SubtensorModule::metagraph(netuid, MechId::MAIN)?);
            Some(graph.select(&metagraph_indexes, || commitments_on(netuid)))
        }
        fn get_selective_mechagraph(
            netuid: NetUid,
            subid: MechId,
            metagraph_indexes: Vec<u16>,
        ) -> Option<legacy::SelectiveMetagraph<AccountId>> {
            let graph = legacy::Metagraph::from(SubtensorModule::metagraph(netuid, subid)?);
            Some(graph.select(&metagraph_indexes, || commitments_on(netuid)))
        }
    }
    impl apis::StakeInfoRuntimeApi<Block> for Runtime {
        fn get_stake_info_for_coldkey(coldkey_account: AccountId) -> Vec<info::StakeInfo<AccountId>> {
            SubtensorModule::stakes_of(&coldkey_account)
        }
        fn get_stake_info_for_coldkeys(
            coldkey_accounts: Vec<AccountId>,
        ) -> Vec<(AccountId, Vec<info::StakeInfo<AccountId>>)> {
            coldkey_accounts
                .into_iter()
                .map(|coldkey| {
                    let stakes = SubtensorModule::stakes_of(&coldkey);
                    (coldkey, stakes)
                })
                .collect()
        }
        fn get_stake_info_for_hotkey_coldkey_netuid(
            hotkey_account: AccountId,
            coldkey_account: AccountId,
            netuid: NetUid,
        ) -> Option<info::StakeInfo<AccountId>> {
            SubtensorModule::stake_info(&hotkey_account, &coldkey_account, netuid)
        }
        fn get_stake_fee(
            origin: Option<(AccountId, NetUid)>,
            _origin_coldkey_account: AccountId,
            destination: Option<(AccountId, NetUid)>,
            _destination_coldkey_account: AccountId,
            amount: u64,
        ) -> u64 {
            let netuid = |place: Option<(AccountId, NetUid)>| place.map(|(_, netuid)| netuid);
            SubtensorModule::stake_fee(netuid(origin), netuid(destination), amount)
        }
        fn get_stake_availability_for_coldkeys(
            coldkey_accounts: Vec<AccountId>,
            netuids: Option<Vec<NetUid>>,
        ) -> BTreeMap<AccountId, BTreeMap<NetUid, info::StakeAvailability>> {
            coldkey_accounts
                .into_iter()
                .map(|coldkey| {
                    let stakes = SubtensorModule::stake_availability(&coldkey, netuids.as_deref());
                    (coldkey, stakes)
                })
                .collect()
        }
        fn get_coldkey_lock(coldkey: AccountId, netuid: NetUid) -> Option<info::LockState> {
            subtensor::Lock::<Runtime>::iter_prefix_values((coldkey, netuid)).next()
        }
        fn get_hotkey_conviction(hotkey: AccountId, netuid: NetUid) -> info::FixedU128 {
            let bits = SubtensorModule::convictions(netuid).get(&hotkey).copied().unwrap_or(0);
            info::FixedU128 { bits }
        }
        fn get_most_convicted_hotkey_on_subnet(netuid: NetUid) -> Option<AccountId> {
            SubtensorModule::convictions(netuid).into_iter().max_by_key(|(_, bits)| *bits).map(|(hotkey, _)| hotkey)
        }
    }
    impl apis::DelegateInfoRuntimeApi<Block> for Runtime {
        fn get_delegates() -> Vec<info::DelegateInfo<AccountId>> {
            SubtensorModule::delegates()
        }
        fn get_delegate(delegate_account: AccountId) -> Option<info::DelegateInfo<AccountId>> {
            SubtensorModule::delegate(&delegate_account)
        }
        fn get_delegated(
            delegatee_account: AccountId,
        ) -> Vec<info::Delegated<AccountId>> {
            SubtensorModule::delegated_by(&delegatee_account)
        }
    }
    impl apis::SubnetRegistrationRuntimeApi<Block> for Runtime {
        fn get_network_registration_cost() -> TaoBalance {
            SubtensorModule::network_lock_cost()
        }
    }
    impl apis::SwapRuntimeApi<Block> for Runtime {
        fn current_alpha_price(netuid: NetUid) -> TaoBalance {
            SubtensorModule::alpha_price(netuid)
        }
        fn current_alpha_price_all() -> Vec<info::SubnetPrice> {
            SubtensorModule::netuids()
                .into_iter()
                .map(|netuid| info::SubnetPrice { netuid, price: SubtensorModule::alpha_price(netuid) })
                .collect()
        }
        fn sim_swap_tao_for_alpha(netuid: NetUid, tao: TaoBalance) -> info::SimSwapResult {
            SubtensorModule::sim_buy(netuid, tao)
        }
        fn sim_swap_alpha_for_tao(netuid: NetUid, alpha: AlphaBalance) -> info::SimSwapResult {
            SubtensorModule::sim_sell(netuid, alpha)
        }
    }
}
