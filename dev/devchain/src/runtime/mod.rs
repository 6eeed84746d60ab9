//! The runtime: pallets at the public chain's indices, its transaction extensions and its runtime APIs, run natively.
//!
//! Signatures, nonces, mortality, fees, events and dispatch errors are FRAME's own, so that they behave as on any
//! Substrate chain without a line of ours.
//!
//! [`version_of`]'s `spec_version` must rise with every change that shows in metadata: SDKs cache metadata under
//! (genesis hash, spec version).
#![expect(
    missing_docs,
    clippy::use_self,
    reason = "the runtime macros generate undocumented items, and `Runtime::metadata` is not the trait method beside it"
)]

extern crate alloc;

pub mod admin_utils;
pub mod answers;
pub mod apis;
pub mod aura;
pub mod commitment_data;
pub mod commitments;
pub mod drand;
pub mod extensions;
pub mod marker;
pub mod mev_shield;
pub mod newtypes;
pub mod subtensor;
pub mod weights_guard;

use alloc::borrow::Cow;

use frame_support::traits::{ConstU8, ConstU16, ConstU32, ConstU64, Get};
use frame_support::weights::{ConstantMultiplier, Weight, WeightToFee};
use frame_support::{derive_impl, parameter_types};
use sp_runtime::traits::{AccountIdLookup, BlakeTwo256, IdentifyAccount, Verify};
use sp_runtime::{MultiAddress, MultiSignature, generic};

pub use answers::{RUNTIME_API_VERSIONS, api};

use crate::profile::Profile;
use crate::profile::apis::is_legacy_api;

pub type Signature = MultiSignature;
pub type AccountId = <<Signature as Verify>::Signer as IdentifyAccount>::AccountId;
/// Rao: 10⁻⁹ of the token.
pub type Balance = u64;
pub type BlockNumber = u32;
pub type Nonce = u32;
pub type Hash = sp_core::H256;
pub type Header = generic::Header<BlockNumber, BlakeTwo256>;
pub type Address = MultiAddress<AccountId, ()>;
/// Grouped as on the public chain; the encoding is that of the flat list.
pub type TxExtension = (
    (
        frame_system::CheckNonZeroSender<Runtime>,
        frame_system::CheckSpecVersion<Runtime>,
        frame_system::CheckTxVersion<Runtime>,
        frame_system::CheckGenesis<Runtime>,
        extensions::CheckMortality,
        frame_system::CheckNonce<Runtime>,
        frame_system::CheckWeight<Runtime>,
    ),
    (
        pallet_transaction_payment::ChargeTransactionPayment<Runtime>,
        extensions::SudoTransactionExtension<Runtime>,
        extensions::CheckShieldedTxValidity<Runtime>,
        extensions::SubtensorTransactionExtension<Runtime>,
        extensions::DrandPriority<Runtime>,
    ),
    frame_metadata_hash_extension::CheckMetadataHash<Runtime>,
);
pub type UncheckedExtrinsic = generic::UncheckedExtrinsic<Address, RuntimeCall, Signature, TxExtension>;
pub type Block = generic::Block<Header, UncheckedExtrinsic>;
pub type Executive = frame_executive::Executive<
    Runtime,
    Block,
    frame_system::ChainContext<Runtime>,
    Runtime,
    AllPalletsWithSystem,
>;

/// The runtime's version under a profile. Both leave room for a thousand upgrades of a running chain.
#[must_use]
pub fn version_of(profile: Profile) -> sp_version::RuntimeVersion {
    let spec_version = match profile {
        Profile::Newest => 10_007,
        Profile::Legacy => 8_007,
    };
    let apis = RUNTIME_API_VERSIONS.iter().filter(|(id, _)| !is_legacy_api(*id)).copied().collect();
    sp_version::RuntimeVersion {
        spec_name: Cow::Borrowed("node-subtensor"),
        impl_name: Cow::Borrowed("basilica-devchain"),
        authoring_version: 1,
        spec_version,
        impl_version: 1,
        apis: Cow::Owned(apis),
        transaction_version: 1,
        system_version: 1,
    }
}

/// The version under the profile of the state at hand.
#[derive(Debug)]
pub struct Version;
impl Get<sp_version::RuntimeVersion> for Version {
    fn get() -> sp_version::RuntimeVersion {
        crate::upgrade::current_version(version_of(marker::Profile::<Runtime>::get()))
    }
}
/// Blocks whose hashes the runtime remembers, which bounds how long a mortal extrinsic can live. The public chain keeps
/// 2,400; every hash is hashed again into each block's state root here, and 256 covers the SDK's era of 128.
pub const BLOCK_HASH_COUNT: u32 = 256;
/// The least that an account can own, in rao.
pub const EXISTENTIAL_DEPOSIT: u64 = 500;

/// The block time of this chain, from its state, as a constant of metadata.
#[derive(Debug)]
pub struct BlockTime;
impl Get<u64> for BlockTime {
    fn get() -> u64 {
        marker::BlockTime::<Runtime>::get()
    }
}

/// Half a thousandth of a rao per picosecond, which makes a transfer cost about what it does on the public chain.
#[derive(Debug)]
pub struct LinearWeightToFee;
impl WeightToFee for LinearWeightToFee {
    type Balance = Balance;

    fn weight_to_fee(weight: &Weight) -> Balance {
        weight.ref_time() / 2_000
    }
}

parameter_types! {
    pub const Marker: [u8; 32] = marker::MARKER;
}

/// The beacon's rounds that commits of weights and commitments wait for.
#[derive(Debug)]
pub struct AwaitedRounds;
impl Get<Vec<u64>> for AwaitedRounds {
    fn get() -> Vec<u64> {
        let mut rounds = SubtensorModule::awaited_rounds();
        rounds.extend(Commitments::awaited_rounds());
        rounds
    }
}

/// Whether epochs follow from the block number, as in the legacy profile.
#[derive(Debug)]
pub struct ModularEpochs;
impl Get<bool> for ModularEpochs {
    fn get() -> bool {
        marker::Profile::<Runtime>::get() == Profile::Legacy
    }
}

/// Whether the beacon is silent for now.
#[derive(Debug)]
pub struct BeaconPaused;
impl Get<bool> for BeaconPaused {
    fn get() -> bool {
        marker::BeaconPaused::<Runtime>::get()
    }
}

frame_support::construct_runtime!(
    pub struct Runtime {
        System: frame_system = 0,
        Timestamp: pallet_timestamp = 2,
        Aura: aura = 3,
        Balances: pallet_balances = 5,
        TransactionPayment: pallet_transaction_payment = 6,
        SubtensorModule: subtensor = 7,
        Utility: pallet_utility = 11,
        Sudo: pallet_sudo = 12,
        Commitments: commitments = 18,
        AdminUtils: admin_utils = 19,
        Drand: drand = 26,
        MevShield: mev_shield = 30,
        BasilicaDevchain: marker = 200,
    }
);

#[derive_impl(frame_system::config_preludes::SolochainDefaultConfig)]
impl frame_system::Config for Runtime {
    type Block = Block;
    type AccountId = AccountId;
    type Lookup = AccountIdLookup<AccountId, ()>;
    type Nonce = Nonce;
    type AccountData = pallet_balances::AccountData<Balance>;
    type Version = Version;
    type SS58Prefix = ConstU16<42>;
    type BlockHashCount = ConstU32<BLOCK_HASH_COUNT>;
    type DbWeight = frame_support::weights::constants::RocksDbWeight;
}
impl pallet_timestamp::Config for Runtime {
    type Moment = u64;
    type OnTimestampSet = (Aura, Drand);
    type MinimumPeriod = ConstU64<0>;
    type WeightInfo = ();
}
impl aura::Config for Runtime {
    type SlotDuration = BlockTime;
}
#[derive_impl(pallet_balances::config_preludes::TestDefaultConfig)]
impl pallet_balances::Config for Runtime {
    type Balance = Balance;
    type AccountStore = System;
    type ExistentialDeposit = ConstU64<EXISTENTIAL_DEPOSIT>;
    type MaxLocks = ConstU32<50>;
    type MaxReserves = ConstU32<50>;
    type MaxFreezes = ConstU32<50>;
    type ReserveIdentifier = [u8; 8];
    type FreezeIdentifier = RuntimeFreezeReason;
    type RuntimeFreezeReason = RuntimeFreezeReason;
}
impl pallet_transaction_payment::Config for Runtime {
    type RuntimeEvent = RuntimeEvent;
    type OnChargeTransaction = pallet_transaction_payment::FungibleAdapter<Balances, ()>;
    type WeightToFee = LinearWeightToFee;
    type LengthToFee = ConstantMultiplier<Balance, ConstU64<1>>;
    type FeeMultiplierUpdate = ();
    type OperationalFeeMultiplier = ConstU8<5>;
    type WeightInfo = ();
}
impl subtensor::Config for Runtime {
    type Currency = Balances;
    type ModularEpochs = ModularEpochs;
    type InitialTempo = ConstU16<360>;
    type InitialMaxAllowedUids = ConstU16<4096>;
    type InitialMinAllowedWeights = ConstU16<1024>;
    type InitialTaoWeight = ConstU64<971_718_665_099_567_868>;
    type InitialServingRateLimit = ConstU64<50>;
    type InitialStartCallDelay = ConstU64<0>;
    type MinActivityCutoffFactorMilli = ConstU32<{ *subtensor::schedule::ACTIVITY_CUTOFF_FACTORS.start() }>;
    type MaxActivityCutoffFactorMilli = ConstU32<{ *subtensor::schedule::ACTIVITY_CUTOFF_FACTORS.end() }>;
}
impl pallet_utility::Config for Runtime {
    type RuntimeEvent = RuntimeEvent;
    type RuntimeCall = RuntimeCall;
    type PalletsOrigin = OriginCaller;
    type WeightInfo = ();
}
impl pallet_sudo::Config for Runtime {
    type RuntimeEvent = RuntimeEvent;
    type RuntimeCall = RuntimeCall;
    type WeightInfo = ();
}
impl commitments::Config for Runtime {
    type MaxFields = ConstU32<3>;
    type InitialDeposit = ConstU64<0>;
    type FieldDeposit = ConstU64<0>;
}
impl admin_utils::Config for Runtime {}
impl drand::Config for Runtime {
    type AwaitedRounds = AwaitedRounds;
    type Paused = BeaconPaused;
}
impl mev_shield::Config for Runtime {}
impl marker::Config for Runtime {
    type Marker = Marker;
}
