//! Small public data that a hotkey attaches to a subnet; clients read it beside the metagraph.
//!
//! A field may be encrypted to a round of the beacon: the chain opens it in the first block after the pulse is stored and
//! moves it to [`pallet::RevealedCommitments`]. What does not open is dropped. How much a hotkey may commit per epoch is
//! bounded.
#![expect(
    missing_docs,
    missing_debug_implementations,
    clippy::cast_possible_truncation,
    reason = "the pallet macros generate undocumented items and cast indices"
)]

use basilica_timelock::{Envelope, RoundSignature, decrypt};
use codec::{DecodeAll as _, Encode as _};
use frame_support::pallet_prelude::DispatchResult;
use frame_support::{BoundedVec, ensure};
pub use pallet::*;

use crate::runtime::commitment_data::Data;
use crate::runtime::newtypes::NetUid;
use crate::runtime::{drand, subtensor};

/// Least space that a commitment counts for.
const MIN_SPACE: u64 = 100;
/// Most revealed pieces of a hotkey that are kept on a subnet.
const MAX_REVEALS: usize = 10;

#[frame_support::pallet]
pub mod pallet {
    use std::collections::BTreeSet;

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
    pub trait Config: frame_system::Config<RuntimeEvent: From<Event<Self>>> + subtensor::Config {
        /// Most fields of a commitment.
        #[pallet::constant]
        type MaxFields: Get<u32>;
        /// What a commitment's first field holds back of the balance.
        #[pallet::constant]
        type InitialDeposit: Get<u64>;
        /// What each field holds back of the balance.
        #[pallet::constant]
        type FieldDeposit: Get<u64>;
    }

    /// How much a hotkey has committed in an epoch.
    #[derive(Encode, Decode, TypeInfo, Clone, PartialEq, Eq, Debug, Default)]
    pub struct UsageTracker {
        pub last_epoch: u64,
        pub used_space: u64,
    }

    #[pallet::type_value]
    pub fn DefaultMaxSpace() -> u32 {
        3_100
    }

    /// Who has a field that waits for its round.
    #[pallet::storage]
    pub type TimelockedIndex<T: Config> = StorageValue<_, BTreeSet<(NetUid, T::AccountId)>, ValueQuery>;
    #[pallet::storage]
    pub type LastCommitment<T: Config> =
        StorageDoubleMap<_, Identity, NetUid, Twox64Concat, T::AccountId, BlockNumberFor<T>, OptionQuery>;
    #[pallet::storage]
    pub type LastBondsReset<T: Config> =
        StorageDoubleMap<_, Identity, NetUid, Twox64Concat, T::AccountId, BlockNumberFor<T>, OptionQuery>;
    #[pallet::storage]
    pub type UsedSpaceOf<T: Config> =
        StorageDoubleMap<_, Identity, NetUid, Twox64Concat, T::AccountId, UsageTracker, OptionQuery>;
    /// Bytes that a hotkey may commit on a subnet per epoch.
    #[pallet::storage]
    pub type MaxSpace<T: Config> = StorageValue<_, u32, ValueQuery, DefaultMaxSpace>;
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
    #[pallet::generate_deposit(pub(super) fn deposit_event)]
    pub enum Event<T: Config> {
        /// The hotkey committed data on the subnet.
        #[codec(index = 0)]
        Commitment { netuid: NetUid, who: T::AccountId },
        /// The hotkey committed data that opens with a round of the beacon.
        #[codec(index = 1)]
        TimelockCommitment { netuid: NetUid, who: T::AccountId, reveal_round: u64 },
        /// The chain opened data of the hotkey.
        #[codec(index = 2)]
        CommitmentRevealed { netuid: NetUid, who: T::AccountId },
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
            Self::do_set_commitment(who, netuid, info)
        }

        /// Sets how many bytes a hotkey may commit on a subnet per epoch.
        #[pallet::call_index(2)]
        #[pallet::weight((Weight::from_parts(5_000_000, 0), DispatchClass::Operational, Pays::No))]
        pub fn set_max_space(origin: OriginFor<T>, new_limit: u32) -> DispatchResult {
            ensure_root(origin)?;
            MaxSpace::<T>::put(new_limit);
            Ok(())
        }
    }

    #[pallet::hooks]
    impl<T: Config> Hooks<BlockNumberFor<T>> for Pallet<T> {
        fn on_initialize(_block: BlockNumberFor<T>) -> Weight {
            Self::reveal_timelocked();
            Weight::from_parts(1_000_000, 0)
        }
    }
}

fn space(data: &Data) -> u64 {
    let length = match data {
        Data::TimelockEncrypted { encrypted, .. } => encrypted.len(),
        Data::BigRaw(bytes) => bytes.len(),
        // The variant's number is one byte; what follows is the data.
        other => other.encoded_size().saturating_sub(1),
    };
    u64::try_from(length).unwrap_or(u64::MAX)
}

fn round_of(data: &Data) -> Option<u64> {
    match data {
        Data::TimelockEncrypted { reveal_round, .. } => Some(*reveal_round),
        _ => None,
    }
}

/// The plaintext, also of an envelope that clients pass around outside of the chain; nothing if it does not open.
fn opened(encrypted: &[u8], pulse: &drand::Pulse) -> Option<Vec<u8>> {
    let signature = RoundSignature::from_bytes(&pulse.signature).ok()?;
    let plaintext = decrypt(encrypted, &signature).ok().or_else(|| {
        let envelope = Envelope::decode_all(&mut &encrypted[..]).ok()?;
        decrypt(&envelope.ciphertext, &signature).ok()
    })?;
    (!plaintext.is_empty()).then_some(plaintext)
}

impl<T: Config> Pallet<T> {
    fn do_set_commitment(who: T::AccountId, netuid: NetUid, info: CommitmentInfo) -> DispatchResult {
        ensure!(subtensor::Uids::<T>::contains_key(netuid, &who), Error::<T>::AccountNotAllowedCommit);
        let block = frame_system::Pallet::<T>::block_number();
        let epoch = subtensor::Pallet::<T>::epoch_with_lookahead(netuid);
        let mut usage = UsedSpaceOf::<T>::get(netuid, &who).unwrap_or_default();
        if usage.last_epoch != epoch {
            usage = UsageTracker { last_epoch: epoch, used_space: 0 };
        }
        let needed: u64 = info.fields.iter().map(space).sum();
        usage.used_space = usage.used_space.saturating_add(needed.max(MIN_SPACE));
        ensure!(usage.used_space <= u64::from(MaxSpace::<T>::get()), Error::<T>::SpaceLimitExceeded);

        UsedSpaceOf::<T>::insert(netuid, &who, usage);
        if info.fields.contains(&Data::ResetBondsFlag) {
            LastBondsReset::<T>::insert(netuid, &who, block);
        }
        let reveal_round = info.fields.iter().find_map(round_of);
        CommitmentOf::<T>::insert(netuid, &who, Registration { deposit: 0, block, info });
        LastCommitment::<T>::insert(netuid, &who, block);
        TimelockedIndex::<T>::mutate(|index| match reveal_round {
            Some(_) => index.insert((netuid, who.clone())),
            None => index.remove(&(netuid, who.clone())),
        });
        Self::deposit_event(match reveal_round {
            Some(reveal_round) => Event::TimelockCommitment { netuid, who, reveal_round },
            None => Event::Commitment { netuid, who },
        });
        Ok(())
    }

    /// The rounds that fields wait for.
    #[must_use]
    pub fn awaited_rounds() -> Vec<u64> {
        TimelockedIndex::<T>::get()
            .into_iter()
            .filter_map(|(netuid, who)| CommitmentOf::<T>::get(netuid, who))
            .flat_map(|registration| registration.info.fields.iter().filter_map(round_of).collect::<Vec<_>>())
            .collect()
    }

    fn reveal_timelocked() {
        for (netuid, who) in TimelockedIndex::<T>::get() {
            if !Self::reveal_of(netuid, &who) {
                TimelockedIndex::<T>::mutate(|index| index.remove(&(netuid, who)));
            }
        }
    }

    /// Opens the fields whose pulse is there. Whether some still wait.
    fn reveal_of(netuid: NetUid, who: &T::AccountId) -> bool {
        let Some(mut registration) = CommitmentOf::<T>::get(netuid, who) else { return false };
        let mut revealed = Vec::new();
        let mut remaining = Vec::new();
        let before = registration.info.fields.len();
        for field in registration.info.fields {
            let pulse = round_of(&field).and_then(drand::Pulses::<T>::get);
            match (field, pulse) {
                (Data::TimelockEncrypted { encrypted, .. }, Some(pulse)) => {
                    revealed.extend(opened(&encrypted, &pulse));
                }
                (field, _) => remaining.push(field),
            }
        }
        let waiting = remaining.iter().any(|field| round_of(field).is_some());
        if remaining.len() == before {
            return waiting;
        }
        Self::keep_revealed(netuid, who, revealed);
        if remaining.is_empty() {
            CommitmentOf::<T>::remove(netuid, who);
        } else {
            registration.info.fields = BoundedVec::truncate_from(remaining);
            CommitmentOf::<T>::insert(netuid, who, registration);
        }
        waiting
    }

    fn keep_revealed(netuid: NetUid, who: &T::AccountId, revealed: Vec<Vec<u8>>) {
        if revealed.is_empty() {
            return;
        }
        let block = subtensor::Pallet::<T>::block_now();
        let mut kept = RevealedCommitments::<T>::get(netuid, who).unwrap_or_default();
        for bytes in revealed {
            kept.push((bytes, block));
            Self::deposit_event(Event::CommitmentRevealed { netuid, who: who.clone() });
        }
        kept.drain(..kept.len().saturating_sub(MAX_REVEALS));
        RevealedCommitments::<T>::insert(netuid, who, kept);
    }
}
