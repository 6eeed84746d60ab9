//! The metagraph's records: the whole one and the one of chosen fields, in the shapes of both profiles.
//!
//! One list of fields makes all four, so that they cannot drift apart. The newest runtimes have a wider activity cutoff and
//! three columns of collateral at the end.
#![expect(
    missing_docs,
    reason = "the fields are the public chain's and documented there; only the shape matters"
)]

/// Makes the whole metagraph and its selective form.
macro_rules! metagraph {
    (
        before { $($before:ident: $before_type:ty,)* }
        cutoff { $cutoff:ty }
        after { $($after:ident: $after_type:ty,)* }
        tail { $($tail:ident: $tail_type:ty,)* }
    ) => {
        /// A subnet with all its neurons, as columns.
        #[derive(Encode, Decode, TypeInfo, Clone, PartialEq, Eq, Debug)]
        pub struct Metagraph<AccountId> {
            pub netuid: Compact<NetUid>,
            $(pub $before: $before_type,)*
            pub activity_cutoff: Compact<$cutoff>,
            $(pub $after: $after_type,)*
            $(pub $tail: $tail_type,)*
        }

        /// The fields of a metagraph that were asked for.
        #[derive(Encode, Decode, TypeInfo, Clone, PartialEq, Eq, Debug)]
        pub struct SelectiveMetagraph<AccountId> {
            pub netuid: Compact<NetUid>,
            $(pub $before: Option<$before_type>,)*
            pub activity_cutoff: Option<Compact<$cutoff>>,
            $(pub $after: Option<$after_type>,)*
            pub validators: Option<Vec<Compact<u16>>>,
            pub commitments: Option<Vec<(AccountId, Vec<Compact<u8>>)>>,
            $(pub $tail: Option<$tail_type>,)*
        }

        impl<AccountId> Metagraph<AccountId> {
            /// Keeps the fields whose index (0 is `netuid`, then in order) is wanted; `commitments` come from another
            /// pallet.
            pub fn select(
                self,
                wanted: &[u16],
                commitments: impl FnOnce() -> Vec<(AccountId, Vec<Compact<u8>>)>,
            ) -> SelectiveMetagraph<AccountId> {
                let mut index = 0u16;
                let mut is_wanted = || {
                    index += 1;
                    wanted.contains(&index)
                };
                let permits = self.validator_permit.clone();
                SelectiveMetagraph {
                    netuid: self.netuid,
                    $($before: is_wanted().then_some(self.$before),)*
                    activity_cutoff: is_wanted().then_some(self.activity_cutoff),
                    $($after: is_wanted().then_some(self.$after),)*
                    validators: is_wanted().then(|| {
                        (0u16..).zip(permits).filter(|(_, permit)| *permit).map(|(uid, _)| Compact(uid)).collect()
                    }),
                    commitments: is_wanted().then(commitments),
                    $($tail: is_wanted().then_some(self.$tail),)*
                }
            }
        }
    };
}

/// Hands a macro the fields that both shapes share, with those that differ between them.
macro_rules! with_shared_fields {
    ($make:ident! { cutoff { $cutoff:ty } tail { $($tail:tt)* } }) => {
        $make! {
            before {
    name: Vec<Compact<u8>>,
    symbol: Vec<Compact<u8>>,
    identity: Option<SubnetIdentityV3>,
    network_registered_at: Compact<u64>,
    owner_hotkey: AccountId,
    owner_coldkey: AccountId,
    block: Compact<u64>,
    tempo: Compact<u16>,
    last_step: Compact<u64>,
    blocks_since_last_step: Compact<u64>,
    subnet_emission: Compact<AlphaBalance>,
    alpha_in: Compact<AlphaBalance>,
    alpha_out: Compact<AlphaBalance>,
    tao_in: Compact<TaoBalance>,
    alpha_out_emission: Compact<AlphaBalance>,
    alpha_in_emission: Compact<AlphaBalance>,
    tao_in_emission: Compact<TaoBalance>,
    pending_alpha_emission: Compact<AlphaBalance>,
    pending_root_emission: Compact<TaoBalance>,
    subnet_volume: Compact<u128>,
    moving_price: FixedI128,
    rho: Compact<u16>,
    kappa: Compact<u16>,
    min_allowed_weights: Compact<u16>,
    max_weights_limit: Compact<u16>,
    weights_version: Compact<u64>,
    weights_rate_limit: Compact<u64>,
            }
            cutoff { $cutoff }
            after {
    max_validators: Compact<u16>,
    num_uids: Compact<u16>,
    max_uids: Compact<u16>,
    burn: Compact<TaoBalance>,
    difficulty: Compact<u64>,
    registration_allowed: bool,
    pow_registration_allowed: bool,
    immunity_period: Compact<u16>,
    min_difficulty: Compact<u64>,
    max_difficulty: Compact<u64>,
    min_burn: Compact<TaoBalance>,
    max_burn: Compact<TaoBalance>,
    adjustment_alpha: Compact<u64>,
    adjustment_interval: Compact<u16>,
    target_regs_per_interval: Compact<u16>,
    max_regs_per_block: Compact<u16>,
    serving_rate_limit: Compact<u64>,
    commit_reveal_weights_enabled: bool,
    commit_reveal_period: Compact<u64>,
    liquid_alpha_enabled: bool,
    alpha_high: Compact<u16>,
    alpha_low: Compact<u16>,
    bonds_moving_avg: Compact<u64>,
    hotkeys: Vec<AccountId>,
    coldkeys: Vec<AccountId>,
    identities: Vec<Option<ChainIdentityV2>>,
    axons: Vec<AxonInfo>,
    active: Vec<bool>,
    validator_permit: Vec<bool>,
    pruning_score: Vec<Compact<PerU16>>,
    last_update: Vec<Compact<u64>>,
    emission: Vec<Compact<AlphaBalance>>,
    dividends: Vec<Compact<PerU16>>,
    incentives: Vec<Compact<PerU16>>,
    consensus: Vec<Compact<PerU16>>,
    trust: Vec<Compact<PerU16>>,
    rank: Vec<Compact<PerU16>>,
    block_at_registration: Vec<Compact<u64>>,
    alpha_stake: Vec<Compact<AlphaBalance>>,
    tao_stake: Vec<Compact<TaoBalance>>,
    total_stake: Vec<Compact<TaoBalance>>,
    tao_dividends_per_hotkey: Vec<(AccountId, Compact<TaoBalance>)>,
    alpha_dividends_per_hotkey: Vec<(AccountId, Compact<AlphaBalance>)>,
            }
            tail { $($tail)* }
        }
    };
}

/// The shape of the newest runtimes.
pub mod newest {
    use codec::{Compact, Decode, Encode};
    use scale_info::TypeInfo;

    use super::super::info_types::{AxonInfo, ChainIdentityV2, FixedI128, SubnetIdentityV3};
    use crate::runtime::newtypes::{AlphaBalance, NetUid, PerU16, TaoBalance};

    with_shared_fields! {
        metagraph! {
            cutoff { u64 }
            tail {
                collateral_locked: Vec<Compact<AlphaBalance>>,
                collateral_min: Vec<Compact<AlphaBalance>>,
                collateral_earned: Vec<Compact<AlphaBalance>>,
            }
        }
    }
}

/// The shape of spec 365.
pub mod legacy {
    use codec::{Compact, Decode, Encode};
    use scale_info::TypeInfo;

    use super::super::info_types::{AxonInfo, ChainIdentityV2, FixedI128, SubnetIdentityV3};
    use super::newest;
    use crate::runtime::newtypes::{AlphaBalance, NetUid, PerU16, TaoBalance};

    with_shared_fields! { metagraph! { cutoff { u16 } tail {} } }

    macro_rules! from_newest {
        (
            before { $($before:ident: $before_type:ty,)* }
            cutoff { $cutoff:ty }
            after { $($after:ident: $after_type:ty,)* }
            tail {}
        ) => {
            impl<AccountId> From<newest::Metagraph<AccountId>> for Metagraph<AccountId> {
                fn from(newest: newest::Metagraph<AccountId>) -> Self {
                    let cutoff = <$cutoff>::try_from(newest.activity_cutoff.0).unwrap_or(<$cutoff>::MAX);
                    Self {
                        netuid: newest.netuid,
                        $($before: newest.$before,)*
                        activity_cutoff: Compact(cutoff),
                        $($after: newest.$after,)*
                    }
                }
            }
        };
    }
    with_shared_fields! { from_newest! { cutoff { u16 } tail {} } }
}
