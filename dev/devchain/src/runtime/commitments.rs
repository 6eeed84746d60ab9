//! Small public data that a hotkey attaches to a subnet; clients read it beside the metagraph.
#![expect(
    missing_docs,
    missing_debug_implementations,
    clippy::cast_possible_truncation,
    reason = "the pallet macros generate undocumented items and cast indices"
)]

pub use pallet::*;

#[frame_support::pallet]
pub mod pallet {
    use frame_support::dispatch::DispatchClass;
    use frame_support::pallet_prelude::*;
    use frame_system::pallet_prelude::*;

    use crate::runtime::commitment_data::Data;
    use crate::runtime::newtypes::NetUid;
    use crate::runtime::subtensor;

    /// What was committed.
    #[derive(Encode, Decode, DecodeWithMemTracking, TypeInfo, Clone, PartialEq, Eq, Debug)]
    pub struct CommitmentInfo {
        pub fields: BoundedVec<Data, ConstU32<3>>,
    }

    /// A commitment with its deposit and block.
    #[derive(Encode, Decode, TypeInfo, Clone, PartialEq, Eq, Debug)]
    pub struct Registration<Balance, BlockNumber> {
        pub deposit: Balance,
        pub block: BlockNumber,
        pub info: CommitmentInfo,
    }

    #[pallet::pallet]
    #[pallet::without_storage_info]
    pub struct Pallet<T>(_);

    #[pallet::config]
    pub trait Config: frame_system::Config<RuntimeEvent: From<Event<Self>>> + subtensor::Config {}

    #[pallet::storage]
    pub type CommitmentOf<T: Config> = StorageDoubleMap<
        _,
        Identity,
        NetUid,
        Twox64Concat,
        T::AccountId,
        Registration<u64, BlockNumberFor<T>>,
        OptionQuery,
    >;
    #[pallet::storage]
    pub type RevealedCommitments<T: Config> =
        StorageDoubleMap<_, Identity, NetUid, Twox64Concat, T::AccountId, Vec<(Vec<u8>, u64)>, OptionQuery>;

    #[pallet::event]
    #[pallet::generate_deposit(fn deposit_event)]
    pub enum Event<T: Config> {
        /// The hotkey committed data on the subnet.
        Commitment { netuid: NetUid, who: T::AccountId },
    }

    #[pallet::error]
    pub enum Error<T> {
        #[codec(index = 0)]
        TooManyFieldsInCommitmentInfo,
        /// The hotkey is not registered on the subnet.
        #[codec(index = 1)]
        AccountNotAllowedCommit,
        #[codec(index = 2)]
        SpaceLimitExceeded,
        #[codec(index = 3)]
        UnexpectedUnreserveLeftover,
    }

    #[pallet::call]
    impl<T: Config> Pallet<T> {
        /// Replaces the caller's commitment on a subnet.
        #[pallet::call_index(0)]
        #[pallet::weight((Weight::from_parts(10_000_000, 0), DispatchClass::Normal, Pays::No))]
        pub fn set_commitment(origin: OriginFor<T>, netuid: NetUid, info: CommitmentInfo) -> DispatchResult {
            let who = ensure_signed(origin)?;
            ensure!(subtensor::Uids::<T>::contains_key(netuid, &who), Error::<T>::AccountNotAllowedCommit);
            let block = frame_system::Pallet::<T>::block_number();
            CommitmentOf::<T>::insert(netuid, &who, Registration { deposit: 0, block, info });
            Self::deposit_event(Event::Commitment { netuid, who });
            Ok(())
        }
    }
}
