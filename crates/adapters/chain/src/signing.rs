//! Signed extrinsics as bytes.
//!
//! Everything that goes into the signature is explicit: account nonce, birth block, genesis, runtime version. The
//! extensions are those of the block's metadata; the ones that we do not know must encode to nothing, or building fails.

use basilica_ports::{Axon, ChainError, Effect, HotkeySigner, PreparedWeights, WeightsCall, WeightsOrder};
use basilica_types::{BlockHash, BlockNumber, Digest, Hotkey, MechanismId, NetUid, Rao, Uid, Weight};
use subxt::config::DefaultExtrinsicParamsBuilder;
use subxt::config::substrate::{AccountId32, MultiSignature, SubstrateConfig};
use subxt::dynamic::{self, Value};
use subxt::ext::scale_value::Composite;

use crate::axon::AxonInfo;
use crate::era::Life;
use crate::item::{SUBTENSOR, View};

/// A call of [`SUBTENSOR`] with its arguments by name.
pub(crate) struct Call {
    netuid: NetUid,
    mechanism: MechanismId,
    effect: Effect,
    name: &'static str,
    full: &'static str,
    arguments: Composite<()>,
}

impl Call {
    /// The call that does `order`, with mechanisms where the chain has them.
    ///
    /// # Errors
    /// The chain has no call for it.
    pub(crate) fn weights(view: &View, order: &WeightsOrder) -> Result<Self, ChainError> {
        let (names, arguments) = match &order.call {
            WeightsCall::Set { weights, version_key } => {
                let (uids, values) = columns(weights);
                (SET, vec![("dests", uids), ("weights", values), ("version_key", number(*version_key))])
            }
            WeightsCall::CommitHash { hash } => {
                (COMMIT_HASH, vec![("commit_hash", Value::from_bytes(hash.as_bytes()))])
            }
            WeightsCall::Reveal { weights, salt, version_key } => {
                let (uids, values) = columns(weights);
                let salt = numbers(salt.expose().iter().copied());
                let version_key = number(*version_key);
                (
                    REVEAL,
                    vec![("uids", uids), ("values", values), ("salt", salt), ("version_key", version_key)],
                )
            }
            WeightsCall::CommitTimelocked { ciphertext, reveal_round, version } => (
                COMMIT_TIMELOCKED,
                vec![
                    ("commit", Value::from_bytes(ciphertext)),
                    ("reveal_round", number(*reveal_round)),
                    ("commit_reveal_version", number(*version)),
                ],
            ),
        };
        Self::of_mechanism(view, order, &names, arguments)
    }

    fn of_mechanism(
        view: &View,
        order: &WeightsOrder,
        names: &Names,
        mut arguments: Vec<(&'static str, Value)>,
    ) -> Result<Self, ChainError> {
        arguments.push(("netuid", number(order.netuid.0)));
        if view.has_call(names.mechanism.0) {
            arguments.push(("mecid", number(order.mechanism.0)));
            let call = Self::new(order.netuid, names.mechanism.0, names.mechanism.1, arguments);
            return Ok(call.of_order(order));
        }
        // The older call is about the first mechanism.
        if order.mechanism != MechanismId(0) || !view.has_call(names.plain.0) {
            return Err(view.absent(names.mechanism.1));
        }
        Ok(Self::new(order.netuid, names.plain.0, names.plain.1, arguments).of_order(order))
    }

    fn of_order(self, order: &WeightsOrder) -> Self {
        Self { mechanism: order.mechanism, effect: Effect::from(&order.call), ..self }
    }

    /// With a `certificate` the neuron also says by which key it is known on TLS.
    pub(crate) fn serve_axon(netuid: NetUid, axon: Axon, certificate: Option<&[u8]>) -> Self {
        let stored = AxonInfo::of(axon);
        let mut arguments = vec![
            ("netuid", number(netuid.0)),
            ("version", number(AXON_VERSION)),
            ("ip", Value::u128(stored.ip())),
            ("port", number(axon.address.port())),
            ("ip_type", number(stored.ip_type())),
            ("protocol", number(AXON_PROTOCOL)),
            ("placeholder1", number(0u8)),
            ("placeholder2", number(0u8)),
        ];
        match certificate {
            Some(certificate) => {
                arguments.push(("certificate", Value::from_bytes(certificate)));
                Self::new(netuid, "serve_axon_tls", "SubtensorModule.serve_axon_tls", arguments)
            }
            None => Self::new(netuid, "serve_axon", "SubtensorModule.serve_axon", arguments),
        }
    }

    /// Registers `hotkey` for the price that the signer's coldkey pays, at most `limit` rao where the chain can be told
    /// a limit.
    ///
    /// # Errors
    /// The chain has no call for it.
    pub(crate) fn register(
        view: &View,
        netuid: NetUid,
        hotkey: &Hotkey,
        limit: Rao,
    ) -> Result<Self, ChainError> {
        let mut arguments =
            vec![("netuid", number(netuid.0)), ("hotkey", Value::from_bytes(hotkey.as_bytes()))];
        if view.has_call("register_limit") {
            arguments.push(("limit_price", number(limit.0)));
            return Ok(Self::new(netuid, "register_limit", "SubtensorModule.register_limit", arguments));
        }
        if !view.has_call("burned_register") {
            return Err(view.absent("SubtensorModule.burned_register"));
        }
        Ok(Self::new(netuid, "burned_register", "SubtensorModule.burned_register", arguments))
    }

    fn new(
        netuid: NetUid,
        name: &'static str,
        full: &'static str,
        arguments: Vec<(&'static str, Value)>,
    ) -> Self {
        let arguments = Composite::named(arguments);
        Self { netuid, mechanism: MechanismId(0), effect: Effect::Other, name, full, arguments }
    }
}

/// The two names of a call, alone and with its pallet: on chains with mechanisms, and before.
pub(crate) struct Names {
    mechanism: (&'static str, &'static str),
    plain: (&'static str, &'static str),
}

macro_rules! names {
    ($mechanism:literal, $plain:literal) => {
        Names {
            mechanism: ($mechanism, concat!("SubtensorModule.", $mechanism)),
            plain: ($plain, concat!("SubtensorModule.", $plain)),
        }
    };
}

const SET: Names = names!("set_mechanism_weights", "set_weights");
pub(crate) const COMMIT_HASH: Names = names!("commit_mechanism_weights", "commit_weights");
pub(crate) const REVEAL: Names = names!("reveal_mechanism_weights", "reveal_weights");
pub(crate) const COMMIT_TIMELOCKED: Names =
    names!("commit_timelocked_mechanism_weights", "commit_timelocked_weights");

impl Names {
    /// Whether the chain has the call in either form.
    pub(crate) fn is_in(&self, view: &View) -> bool {
        view.has_call(self.mechanism.0) || view.has_call(self.plain.0)
    }
}

fn number(number: impl Into<u64>) -> Value {
    Value::u128(number.into().into())
}

fn numbers(numbers: impl Iterator<Item = u16>) -> Value {
    Value::unnamed_composite(numbers.map(number))
}

/// Uids and values, as the chain's calls take them.
fn columns(weights: &[(Uid, Weight)]) -> (Value, Value) {
    (numbers(weights.iter().map(|(uid, _)| uid.0)), numbers(weights.iter().map(|(_, weight)| weight.0)))
}

/// The chain stores both and interprets neither; 4 is what the Python SDK says for its protocol.
const AXON_VERSION: u32 = 1;
const AXON_PROTOCOL: u8 = 4;

/// Builds and signs `call` on the block of `view`, good for `period` blocks; sends nothing.
pub(crate) async fn sign(
    view: &View,
    signer: &dyn HotkeySigner,
    call: Call,
    period: u64,
) -> Result<PreparedWeights, ChainError> {
    let account = AccountId32(*signer.hotkey().as_bytes());
    // The pool's count, so that two extrinsics in flight do not take each other's place.
    let nonce = (view.link.rpc.system_account_next_index(&account).await)
        .map_err(|error| view.link.fault("system_accountNextIndex", error))?;
    let life = Life::new(view.at.block_number(), period);
    let params = DefaultExtrinsicParamsBuilder::<SubstrateConfig>::new()
        .nonce(nonce)
        .mortal_from_unchecked(period, life.born, view.at.block_hash())
        .build();
    let payload = dynamic::tx(SUBTENSOR, call.name, call.arguments);
    let build = || {
        let mut signable = view.at.transactions().create_signable_offline(&payload, params)?;
        let signature = signer.sign(&signable.signer_payload()?);
        signable.sign_with_account_and_signature(&account, &MultiSignature::Sr25519(*signature.as_bytes()))
    };
    let signed = build().map_err(|error| view.unsupported(call.full, &error))?;
    Ok(PreparedWeights {
        hash: Digest::from_bytes(signed.hash().0),
        extrinsic: signed.into_encoded(),
        nonce,
        netuid: call.netuid,
        mechanism: call.mechanism,
        effect: call.effect,
        genesis: BlockHash::from_bytes(view.link.genesis().0),
        born: BlockNumber(life.born),
        born_hash: BlockHash::from_bytes(view.at.block_hash().0),
        dies: BlockNumber(life.dies),
    })
}
