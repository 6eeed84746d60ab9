//! What the pallet tells. Numbers and fields are those of spec 365; an event that is younger has a number from 200.

use frame_support::pallet_macros::pallet_section;

/// Imported into the pallet; see [`super`].
#[pallet_section]
mod events {
    #[pallet::event]
    #[pallet::generate_deposit(pub(super) fn deposit_event)]
    pub enum Event<T: Config> {
        /// (netuid, mechanism): a subnet was registered.
        #[codec(index = 0)]
        NetworkAdded(NetUid, u16),
        /// (coldkey, hotkey, TAO paid, alpha got, netuid, fee in rao): stake was added.
        #[codec(index = 2)]
        StakeAdded(T::AccountId, T::AccountId, TaoBalance, AlphaBalance, NetUid, u64),
        /// (coldkey, hotkey, TAO got, alpha paid, netuid, fee in alpha): stake was removed.
        #[codec(index = 3)]
        StakeRemoved(T::AccountId, T::AccountId, TaoBalance, AlphaBalance, NetUid, u64),
        /// (coldkey, from hotkey, from netuid, to hotkey, to netuid, worth in TAO): stake changed its hotkey.
        #[codec(index = 4)]
        StakeMoved(T::AccountId, T::AccountId, NetUid, T::AccountId, NetUid, TaoBalance),
        /// Weights of the uid were stored under the mechanism's storage index.
        #[codec(index = 5)]
        WeightsSet(NetUidStorageIndex, u16),
        /// (netuid, uid, hotkey) joined the subnet.
        #[codec(index = 6)]
        NeuronRegistered(NetUid, u16, T::AccountId),
        /// The hotkey published its endpoint on the subnet.
        #[codec(index = 28)]
        AxonServed(NetUid, T::AccountId),
        /// The hotkey committed a hash under the mechanism's storage index.
        #[codec(index = 79)]
        WeightsCommitted(T::AccountId, NetUidStorageIndex, H256),
        /// The hotkey revealed what it had committed under this hash.
        #[codec(index = 80)]
        WeightsRevealed(T::AccountId, NetUidStorageIndex, H256),
        /// The hotkey revealed several commits at once.
        #[codec(index = 81)]
        WeightsBatchRevealed(T::AccountId, NetUid, Vec<H256>),
        /// A batch of weights or commits was gone through.
        #[codec(index = 82)]
        BatchWeightsCompleted(Vec<Compact<NetUid>>, T::AccountId),
        /// Some items of the batch failed; each has a [`Event::BatchWeightItemFailed`].
        #[codec(index = 83)]
        BatchCompletedWithErrors(),
        /// Why one item of a batch failed.
        #[codec(index = 84)]
        BatchWeightItemFailed(DispatchError),
        /// The subnet's commits are revealed after this many epochs.
        #[codec(index = 94)]
        CommitRevealPeriodsSet(NetUid, u64),
        /// Weights of the subnet must be committed first, or no longer.
        #[codec(index = 95)]
        CommitRevealEnabled(NetUid, bool),
        /// Timelocked commits must name this version.
        #[codec(index = 100)]
        CommitRevealVersionSet(u16),
        /// The hotkey committed weights that open with this round of the beacon.
        #[codec(index = 101)]
        TimelockedWeightsCommitted(T::AccountId, NetUidStorageIndex, H256, u64),
        /// The chain opened a timelocked commit of the hotkey and stored its weights.
        #[codec(index = 102)]
        TimelockedWeightsRevealed(NetUidStorageIndex, T::AccountId),
        /// (from coldkey, to coldkey, hotkey, from netuid, to netuid, worth in TAO): stake changed its owner.
        #[codec(index = 85)]
        StakeTransferred(T::AccountId, T::AccountId, T::AccountId, NetUid, NetUid, TaoBalance),
        /// (coldkey, hotkey, from netuid, to netuid, worth in TAO): stake changed its subnet.
        #[codec(index = 86)]
        StakeSwapped(T::AccountId, T::AccountId, NetUid, NetUid, TaoBalance),
        /// (netuid, block): the subnet starts.
        #[codec(index = 89)]
        FirstEmissionBlockNumberSet(NetUid, u64),
        /// What a miner earned was staked where its coldkey wants it.
        #[codec(index = 103)]
        AutoStakeAdded {
            netuid: NetUid,
            destination: T::AccountId,
            hotkey: T::AccountId,
            owner: T::AccountId,
            incentive: AlphaBalance,
        },
        /// The coldkey said where its neurons' earnings are staked.
        #[codec(index = 106)]
        AutoStakeDestinationSet { coldkey: T::AccountId, netuid: NetUid, hotkey: T::AccountId },
        /// The coldkey said what it wants for its stake on the root network.
        #[codec(index = 109)]
        RootClaimTypeSet { coldkey: T::AccountId, root_claim_type: RootClaimTypeEnum },
        /// The hotkey published its metrics endpoint on the subnet.
        #[codec(index = 29)]
        PrometheusServed(NetUid, T::AccountId),
        /// The coldkey said something of itself.
        #[codec(index = 72)]
        ChainIdentitySet(T::AccountId),
        /// The subnet said something of itself.
        #[codec(index = 73)]
        SubnetIdentitySet(NetUid),
        /// Alpha of the hotkey's owner was locked, at registration or later.
        #[codec(index = 200)]
        CollateralLocked {
            netuid: NetUid,
            hotkey: T::AccountId,
            locked: AlphaBalance,
            total_locked: AlphaBalance,
        },
        /// The hotkey's owner set a floor for what is locked.
        #[codec(index = 201)]
        MinCollateralSet { netuid: NetUid, hotkey: T::AccountId, min_locked: AlphaBalance },
        /// (netuid, blocks): the subnet's epochs follow each other in so many blocks.
        #[codec(index = 50)]
        TempoSet(NetUid, u16),
        /// What a mechanism's epoch gave its miners, one amount for each uid.
        #[codec(index = 104)]
        IncentiveAlphaEmittedToMiners { netuid: NetUidStorageIndex, emissions: Vec<AlphaBalance> },
        /// The subnet's epoch was due, but the block had run as many as it may.
        #[codec(index = 202)]
        EpochDeferred { netuid: NetUid, from_block: u64, to_block: u64 },
        /// The subnet's owner scheduled an epoch.
        #[codec(index = 203)]
        EpochTriggered { netuid: NetUid, by: T::AccountId, fires_at: u64 },
    }
}
