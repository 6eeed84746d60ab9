//! The public chain's own transaction extensions. All encode to nothing; clients that know them by name find them.
//!
//! [`SubtensorTransactionExtension`] is the one with work to do: it refuses, before the pool, what would fail at dispatch
//! for free, and says why with `InvalidTransaction::Custom(n)`. Wrapped calls are looked through.

use core::marker::PhantomData;

use codec::{Decode, DecodeWithMemTracking, Encode};
use frame_support::traits::Get as _;
use frame_support::weights::Weight;
use scale_info::TypeInfo;
use sp_runtime::generic::Era;
use sp_runtime::impl_tx_ext_default;
use sp_runtime::traits::{
    AsSystemOriginSigner as _, DispatchInfoOf, Implication, TransactionExtension, ValidateResult,
};
use sp_runtime::transaction_validity::{
    InvalidTransaction, TransactionPriority, TransactionSource, TransactionValidityError, ValidTransaction,
};

use super::newtypes::NetUid;
use super::subtensor::info_types::{AxonInfo, PrometheusInfo};
use super::{
    AccountId, Hash, ModularEpochs, Runtime, RuntimeCall, RuntimeOrigin, commitments, mev_shield, subtensor,
    weights_guard,
};

/// How deep calls may be wrapped and still be looked at; deeper ones fail at dispatch instead.
const MAX_WRAPPING: u8 = 8;

/// The public chain's numbers of `InvalidTransaction::Custom`, as far as this chain gives them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum CustomError {
    /// Stake below the threshold for weights.
    StakeAmountTooLow = 1,
    /// The subnet does not exist.
    SubnetNotExists = 3,
    /// Weights were set or committed too recently, or a subnet was registered.
    RateLimitExceeded = 6,
    /// The hotkey is not registered on the subnet.
    HotKeyNotRegisteredInNetwork = 10,
    /// The address cannot be served.
    InvalidIpAddress = 11,
    /// The endpoint changed too recently.
    ServingRateLimitExceeded = 12,
    /// Port 0.
    InvalidPort = 13,
    /// The beacon has already published the round of a timelocked commit.
    InvalidRevealRound = 15,
    /// No commit of the hotkey has the hash of the reveal.
    CommitNotFound = 16,
    /// The commit is revealed in another epoch.
    CommitBlockNotInRevealRange = 17,
    /// The lists of a batch differ in length.
    InputLengthsUnequal = 18,
    /// The hotkey has no uid on the subnet.
    UidNotFound = 19,
    /// An encrypted extrinsic lacks parts.
    FailedShieldedTxParsing = 23,
    /// An extrinsic is encrypted for another key.
    InvalidShieldedTxPubKeyHash = 24,
    /// Anything else.
    BadRequest = 255,
}

impl From<CustomError> for TransactionValidityError {
    fn from(error: CustomError) -> Self {
        InvalidTransaction::Custom(error as u8).into()
    }
}

/// The rule that a call breaks right now, if it breaks one.
fn broken_rule(who: &AccountId, call: &RuntimeCall, depth: u8) -> Option<CustomError> {
    match call {
        RuntimeCall::SubtensorModule(call) => broken_subtensor_rule(who, call),
        RuntimeCall::Commitments(commitments::Call::set_commitment { netuid, .. }) => {
            broken_commitment_rule(who, *netuid)
        }
        RuntimeCall::Utility(
            pallet_utility::Call::batch { calls }
            | pallet_utility::Call::batch_all { calls }
            | pallet_utility::Call::force_batch { calls },
        ) if depth < MAX_WRAPPING => calls.iter().find_map(|call| broken_rule(who, call, depth + 1)),
        _ => None,
    }
}

/// The generation of the legacy profile takes commitments into the pool and fails them at dispatch.
fn broken_commitment_rule(who: &AccountId, netuid: NetUid) -> Option<CustomError> {
    if ModularEpochs::get() {
        None
    } else if !subtensor::NetworksAdded::<Runtime>::get(netuid) {
        Some(CustomError::SubnetNotExists)
    } else if !subtensor::Uids::<Runtime>::contains_key(netuid, who) {
        Some(CustomError::UidNotFound)
    } else {
        None
    }
}

fn broken_subtensor_rule(who: &AccountId, call: &subtensor::Call<Runtime>) -> Option<CustomError> {
    use subtensor::{Call, Pallet};
    match call {
        Call::serve_axon { netuid, version, ip, port, ip_type, protocol, placeholder1, placeholder2 }
        | Call::serve_axon_tls {
            netuid,
            version,
            ip,
            port,
            ip_type,
            protocol,
            placeholder1,
            placeholder2,
            ..
        } => {
            let axon = AxonInfo {
                block: 0,
                version: *version,
                ip: *ip,
                port: *port,
                ip_type: *ip_type,
                protocol: *protocol,
                placeholder1: *placeholder1,
                placeholder2: *placeholder2,
            };
            Pallet::<Runtime>::check_serve_axon(who, *netuid, &axon).err().map(serving_code)
        }
        Call::serve_prometheus { netuid, version, ip, port, ip_type } => {
            let endpoint =
                PrometheusInfo { block: 0, version: *version, ip: *ip, port: *port, ip_type: *ip_type };
            Pallet::<Runtime>::check_serve_prometheus(who, *netuid, &endpoint).err().map(serving_code)
        }
        Call::register_network { .. } => {
            let too_soon = !ModularEpochs::get() && !Pallet::<Runtime>::may_register_network();
            too_soon.then_some(CustomError::RateLimitExceeded)
        }
        _ => weights_guard::broken_rule(who, call),
    }
}

/// The number under which a rule about endpoints is refused.
fn serving_code(error: subtensor::Error<Runtime>) -> CustomError {
    use subtensor::Error;
    match error {
        Error::HotKeyNotRegisteredInNetwork => CustomError::HotKeyNotRegisteredInNetwork,
        Error::InvalidIpAddress => CustomError::InvalidIpAddress,
        Error::ServingRateLimitExceeded => CustomError::ServingRateLimitExceeded,
        Error::InvalidPort => CustomError::InvalidPort,
        _ => CustomError::BadRequest,
    }
}

/// Declares a zero-size extension; the first form checks nothing.
macro_rules! extension {
    ($(#[$doc:meta])* $name:ident) => {
        extension!(@type $(#[$doc])* $name);
        impl TransactionExtension<RuntimeCall> for $name<Runtime> {
            const IDENTIFIER: &'static str = stringify!($name);
            type Implicit = ();
            type Val = ();
            type Pre = ();
            impl_tx_ext_default!(RuntimeCall; weight validate prepare);
        }
    };
    ($(#[$doc:meta])* $name:ident, $check:path) => {
        extension!(@type $(#[$doc])* $name);
        impl TransactionExtension<RuntimeCall> for $name<Runtime> {
            const IDENTIFIER: &'static str = stringify!($name);
            type Implicit = ();
            type Val = ();
            type Pre = ();
            fn validate(
                &self,
                origin: RuntimeOrigin,
                call: &RuntimeCall,
                _info: &DispatchInfoOf<RuntimeCall>,
                _len: usize,
                _implicit: (),
                _implication: &impl Encode,
                _source: TransactionSource,
            ) -> ValidateResult<(), RuntimeCall> {
                let valid = match origin.as_system_origin_signer() {
                    Some(who) => $check(who, call)?,
                    None => ValidTransaction::default(),
                };
                Ok((valid, (), origin))
            }
            impl_tx_ext_default!(RuntimeCall; weight prepare);
        }
    };
    (@type $(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Encode, Decode, DecodeWithMemTracking, TypeInfo, Clone, PartialEq, Eq, Debug)]
        #[scale_info(skip_type_params(T))]
        pub struct $name<T>(PhantomData<T>);
        impl<T> Default for $name<T> {
            fn default() -> Self {
                Self(PhantomData)
            }
        }
    };
}

fn check_subtensor(
    who: &AccountId,
    call: &RuntimeCall,
) -> Result<ValidTransaction, TransactionValidityError> {
    match broken_rule(who, call, 0) {
        Some(error) => Err(error.into()),
        None => Ok(ValidTransaction::default()),
    }
}

fn check_shielded(
    _who: &AccountId,
    call: &RuntimeCall,
) -> Result<ValidTransaction, TransactionValidityError> {
    let RuntimeCall::MevShield(mev_shield::Call::submit_encrypted { ciphertext }) = call else {
        return Ok(ValidTransaction::default());
    };
    match mev_shield::Sealed::parse(ciphertext) {
        None => Err(CustomError::FailedShieldedTxParsing.into()),
        Some(sealed) if !sealed.is_ours() => Err(CustomError::InvalidShieldedTxPubKeyHash.into()),
        Some(_) => Ok(ValidTransaction::default()),
    }
}

fn check_sudo(who: &AccountId, call: &RuntimeCall) -> Result<ValidTransaction, TransactionValidityError> {
    if !matches!(call, RuntimeCall::Sudo(_)) {
        return Ok(ValidTransaction::default());
    }
    if pallet_sudo::Key::<Runtime>::get().as_ref() == Some(who) {
        Ok(ValidTransaction { priority: TransactionPriority::MAX / 2, ..ValidTransaction::default() })
    } else {
        Err(InvalidTransaction::BadSigner.into())
    }
}

/// The most blocks that an encrypted extrinsic may live.
pub const MAX_SHIELD_ERA_PERIOD: u64 = 8;

/// How long an extrinsic is valid: FRAME's rule, and for the carrier of an encrypted one [`MAX_SHIELD_ERA_PERIOD`] blocks at
/// most. To clients it is FRAME's own, by name, bytes and type.
#[derive(Encode, Decode, DecodeWithMemTracking, Clone, PartialEq, Eq, Debug)]
pub struct CheckMortality(frame_system::CheckMortality<Runtime>);

impl CheckMortality {
    /// Valid for this era.
    #[must_use]
    pub fn from(era: Era) -> Self {
        Self(frame_system::CheckMortality::from(era))
    }

    fn lives_too_long(&self, call: &RuntimeCall) -> bool {
        let is_carrier = matches!(call, RuntimeCall::MevShield(mev_shield::Call::submit_encrypted { .. }));
        is_carrier
            && match self.0.0 {
                Era::Immortal => true,
                Era::Mortal(period, _) => period > MAX_SHIELD_ERA_PERIOD,
            }
    }
}

impl TypeInfo for CheckMortality {
    type Identity = frame_system::CheckMortality<Runtime>;

    fn type_info() -> scale_info::Type {
        Self::Identity::type_info()
    }
}

impl TransactionExtension<RuntimeCall> for CheckMortality {
    const IDENTIFIER: &'static str =
        <frame_system::CheckMortality<Runtime> as TransactionExtension<RuntimeCall>>::IDENTIFIER;
    type Implicit = Hash;
    type Val = ();
    type Pre = ();

    fn implicit(&self) -> Result<Hash, TransactionValidityError> {
        TransactionExtension::<RuntimeCall>::implicit(&self.0)
    }

    fn weight(&self, call: &RuntimeCall) -> Weight {
        self.0.weight(call)
    }

    fn validate(
        &self,
        origin: RuntimeOrigin,
        call: &RuntimeCall,
        info: &DispatchInfoOf<RuntimeCall>,
        len: usize,
        implicit: Hash,
        implication: &impl Implication,
        source: TransactionSource,
    ) -> ValidateResult<(), RuntimeCall> {
        if self.lives_too_long(call) {
            return Err(InvalidTransaction::Stale.into());
        }
        self.0.validate(origin, call, info, len, implicit, implication, source)
    }

    impl_tx_ext_default!(RuntimeCall; prepare);
}

extension!(
    /// Refuses what the subtensor pallet would refuse, with the public chain's custom codes.
    SubtensorTransactionExtension,
    check_subtensor
);
extension!(
    /// Refuses sudo calls of anyone but the sudo key.
    SudoTransactionExtension,
    check_sudo
);
extension!(
    /// Raises pulses of the randomness beacon on the public chain; there are none here.
    DrandPriority
);
extension!(
    /// Refuses encrypted extrinsics that cannot be opened.
    CheckShieldedTxValidity,
    check_shielded
);
