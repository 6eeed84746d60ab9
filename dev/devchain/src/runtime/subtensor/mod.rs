//! The pallet that clients know as `SubtensorModule`: neurons, endpoints, weights and epochs of subnets.
//!
//! It promises the names, indices, types, hashers, checks and errors that a client of the public chain meets, for the
//! part that validators and miners use, in the shape of its newest runtimes. The rules are written here from their
//! description, so that they can be read in one place each: [`weights`], [`commits`], [`timelocked`],
//! [`mechanisms`], [`axons`], [`registration`], [`epoch`], [`schedule`], [`consensus`],
//! [`collateral`].
//! The pallet's parts live in sections that it imports: [`storage`], [`calls`], [`events`], [`errors`].
//!
//! The economy is in [`stake`] (over [`market`] and [`shares`]), [`emission`] and [`subnets`]. TAO is in balances or in a
//! subnet's pool, nowhere else; [`TotalIssuance`] is their sum.
//!
//! What each of them leaves out of the public chain's economy stands at its top, so that nobody relies on it.
#![expect(
    clippy::cast_possible_truncation,
    clippy::too_many_arguments,
    missing_docs,
    missing_debug_implementations,
    reason = "the pallet macros generate items and casts of these shapes, and a call's arguments are the chain's"
)]

pub mod axons;
pub mod batches;
pub mod calls;
pub mod clock;
pub mod collateral;
pub mod commits;
pub mod consensus;
pub mod delegates;
pub mod emission;
pub mod epoch;
pub mod errors;
pub mod events;
pub mod flows;
pub mod genesis;
pub mod identities;
pub mod info;
pub mod info_types;
pub mod market;
pub mod mechanisms;
pub mod metagraph_types;
pub mod preferences;
pub mod registration;
pub mod schedule;
pub mod shares;
pub mod stake;
pub mod storage;
pub mod subnets;
pub mod timelocked;
pub mod weights;

#[cfg(test)]
mod answer_tests;
#[cfg(test)]
mod collateral_tests;
#[cfg(test)]
mod commit_tests;
#[cfg(test)]
mod epoch_tests;
#[cfg(test)]
mod payout_tests;
#[cfg(test)]
mod schedule_tests;
#[cfg(test)]
mod stake_tests;
#[cfg(test)]
mod test_chain;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod timelock_tests;

use frame_support::pallet_macros::import_section;
pub use info_types::AxonInfo;
pub use pallet::*;

/// Subnets of one mechanism index: storage index = mechanism × this + netuid.
pub const GLOBAL_MAX_SUBNET_COUNT: u16 = 4096;
/// An epoch runs after this many blocks even if its schedule was lost.
pub const MAX_TEMPO: u64 = 50_400;

#[import_section(storage::collateral::collateral)]
#[import_section(storage::economy::economy)]
#[import_section(storage::epochs::epochs)]
#[import_section(storage::hyperparameters::hyperparameters)]
#[import_section(storage::neurons::neurons)]
#[import_section(storage::stake::stake)]
#[import_section(storage::subnets::subnets)]
#[import_section(storage::weights::weights)]
#[import_section(events::events)]
#[import_section(errors::errors)]
#[import_section(calls::calls)]
#[frame_support::pallet]
pub mod pallet {
    use std::collections::VecDeque;

    use codec::Compact;
    use frame_support::dispatch::DispatchClass;
    use frame_support::pallet_prelude::*;
    use frame_support::traits::fungible;
    use frame_system::pallet_prelude::*;
    use sp_core::H256;
    use sp_runtime::DispatchError;

    use super::collateral::MAX_POSITIONS;
    use super::commits::Reveal;
    use super::info_types::{
        AxonInfo, ChainIdentityV2, EpochConsensus, FixedI128, FixedU128, LockState, MinerCollateralState,
        NeuronCertificate, PrometheusInfo, RecycleOrBurnEnum, RootClaimTypeEnum, SubnetIdentityV3,
    };
    use super::stake::{Limit, Position};
    use super::timelocked::Ciphertext;
    use crate::runtime::drand;
    use crate::runtime::newtypes::{AlphaBalance, MechId, NetUid, NetUidStorageIndex, PerU16, TaoBalance};

    #[pallet::pallet]
    #[pallet::without_storage_info]
    pub struct Pallet<T>(_);

    #[pallet::config]
    pub trait Config: frame_system::Config<RuntimeEvent: From<Event<Self>>> + drand::Config {
        /// The balance that registration burns from.
        type Currency: fungible::Mutate<Self::AccountId, Balance = u64>;
        /// Whether the chain looks like runtimes whose epochs follow from the block number.
        type ModularEpochs: Get<bool>;
        #[pallet::constant]
        type InitialTempo: Get<u16>;
        #[pallet::constant]
        type InitialMaxAllowedUids: Get<u16>;
        #[pallet::constant]
        type InitialMinAllowedWeights: Get<u16>;
        #[pallet::constant]
        type InitialTaoWeight: Get<u64>;
        #[pallet::constant]
        type InitialServingRateLimit: Get<u64>;
        #[pallet::constant]
        type InitialStartCallDelay: Get<u64>;
        #[pallet::constant]
        type MinActivityCutoffFactorMilli: Get<u32>;
        #[pallet::constant]
        type MaxActivityCutoffFactorMilli: Get<u32>;
    }

    #[pallet::hooks]
    impl<T: Config> Hooks<BlockNumberFor<T>> for Pallet<T> {
        fn on_initialize(_block: BlockNumberFor<T>) -> Weight {
            let subnets = Self::inhabited_netuids();
            // As on the public chain: reveals of a block come before its epochs, so they see a due epoch as begun.
            Self::reveal_timelocked_commits(&subnets);
            Self::decay_burns(&subnets);
            Self::average_flows(&subnets);
            Self::emit_block(&subnets);
            Self::run_due_epochs(&subnets);
            Weight::from_parts(1_000_000, 0)
        }

        fn on_finalize(_block: BlockNumberFor<T>) {
            Self::settle_issuance();
        }
    }
}
