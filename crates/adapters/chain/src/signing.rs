//! Signed extrinsics as bytes.
//!
//! Everything that goes into the signature is explicit: account nonce, birth block, genesis, runtime version. The
//! extensions are those of the block's metadata; the ones that we do not know must encode to nothing, or building fails.

use basilica_ports::{ChainError, HotkeySigner, PreparedWeights, WeightsCall, WeightsOrder};
use basilica_types::{BlockHash, BlockNumber, Digest, MechanismId, NetUid, Uid, Weight};
use subxt::config::DefaultExtrinsicParamsBuilder;
use subxt::config::substrate::{AccountId32, MultiSignature, SubstrateConfig};
use subxt::dynamic::{self, Value};
use subxt::ext::scale_value::Composite;

use crate::era::Life;
use crate::item::{SUBTENSOR, View};

/// A call of [`SUBTENSOR`] with its arguments by name.
pub(crate) struct Call {
    netuid: NetUid,
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
        match &order.call {
            WeightsCall::Set { weights, version_key } => Self::set(view, order, weights, *version_key),
            WeightsCall::CommitHash { .. } => Err(absent(view, "SubtensorModule.commit_mechanism_weights")),
            WeightsCall::Reveal { .. } => Err(absent(view, "SubtensorModule.reveal_mechanism_weights")),
            WeightsCall::CommitTimelocked { .. } => {
                Err(absent(view, "SubtensorModule.commit_timelocked_mechanism_weights"))
            }
        }
    }

    fn set(
        view: &View,
        order: &WeightsOrder,
        weights: &[(Uid, Weight)],
        version_key: u64,
    ) -> Result<Self, ChainError> {
        let numbers =
            |numbers: Vec<u16>| Value::unnamed_composite(numbers.into_iter().map(|n| Value::u128(n.into())));
        let (uids, values) = weights.iter().map(|(uid, weight)| (uid.0, weight.0)).unzip();
        let mut arguments = vec![
            ("netuid", Value::u128(order.netuid.0.into())),
            ("dests", numbers(uids)),
            ("weights", numbers(values)),
            ("version_key", Value::u128(version_key.into())),
        ];
        if view.has_call(SET_MECHANISM_WEIGHTS) {
            arguments.push(("mecid", Value::u128(order.mechanism.0.into())));
            let full = "SubtensorModule.set_mechanism_weights";
            return Ok(Self::new(order.netuid, SET_MECHANISM_WEIGHTS, full, arguments));
        }
        if order.mechanism != MechanismId(0) {
            return Err(absent(view, "SubtensorModule.set_mechanism_weights"));
        }
        Ok(Self::new(order.netuid, "set_weights", "SubtensorModule.set_weights", arguments))
    }

    pub(crate) fn serve_axon(netuid: NetUid, axon: basilica_ports::Axon) -> Self {
        let stored = crate::metagraph::AxonInfo::of(axon);
        let arguments = vec![
            ("netuid", Value::u128(netuid.0.into())),
            ("version", Value::u128(AXON_VERSION)),
            ("ip", Value::u128(stored.ip())),
            ("port", Value::u128(axon.address.port().into())),
            ("ip_type", Value::u128(stored.ip_type().into())),
            ("protocol", Value::u128(AXON_PROTOCOL)),
            ("placeholder1", Value::u128(0)),
            ("placeholder2", Value::u128(0)),
        ];
        Self::new(netuid, "serve_axon", "SubtensorModule.serve_axon", arguments)
    }

    fn new(
        netuid: NetUid,
        name: &'static str,
        full: &'static str,
        arguments: Vec<(&'static str, Value)>,
    ) -> Self {
        Self { netuid, name, full, arguments: Composite::named(arguments) }
    }
}

fn absent(view: &View, item: &'static str) -> ChainError {
    ChainError::Unsupported { item, spec_version: view.at.spec_version() }
}

/// The call that chains with mechanisms prefer.
const SET_MECHANISM_WEIGHTS: &str = "set_mechanism_weights";

/// The chain stores both and interprets neither; 4 is what the Python SDK says for its protocol.
const AXON_VERSION: u128 = 1;
const AXON_PROTOCOL: u128 = 4;

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
        genesis: BlockHash::from_bytes(view.link.genesis().0),
        born: BlockNumber(life.born),
        born_hash: BlockHash::from_bytes(view.at.block_hash().0),
        dies: BlockNumber(life.dies),
    })
}
