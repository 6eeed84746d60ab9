//! Running the runtime on a state: pure functions from (state, input) to (state, output).
//!
//! Every entry point takes the state by reference and works on a copy, so a failed or panicking run leaves nothing
//! behind. FRAME panics on some malformed inputs (a runtime API's arguments, for one); these panics are caught here and
//! become errors, as a node's wasm sandbox makes of them.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use codec::{Decode as _, DecodeLimit as _, Encode as _};
use sp_core::storage::Storage;
use sp_runtime::traits::Header as _;
use sp_runtime::transaction_validity::{TransactionSource, TransactionValidityError, ValidTransaction};
use sp_state_machine::BasicExternalities;

use crate::profile::{self, Profile};
use crate::runtime::{
    AccountId, Address, Block, Executive, Hash, Header, Nonce, Runtime, RuntimeCall, RuntimeEvent, System,
    UncheckedExtrinsic, api, mev_shield,
};
use crate::upgrade::{self, Upgrades};

/// How deep calls may lie in each other. A deeper one would end the process when it overflows a thread's stack, which
/// nothing can catch.
pub const MAX_DEPTH: u32 = 256;
/// Bytes of stack that so many levels need in a debug build, with room.
pub const STACK: usize = 32 << 20;

/// All keys and values of a block's state.
pub type State = BTreeMap<Vec<u8>, Vec<u8>>;
/// What a block did to the state: the new value of each changed key, `None` where it was removed.
pub type Changes = Vec<(Vec<u8>, Option<Vec<u8>>)>;

thread_local! {
    static IN_RUNTIME: Cell<bool> = const { Cell::new(false) };
}

/// Silences the message of panics that are caught and answered, so that a client cannot fill the terminal.
pub fn install_panic_hook() {
    let default = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if !IN_RUNTIME.get() {
            default(panic);
        }
    }));
}

/// The runtime panicked: its input was malformed or broke one of its invariants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the runtime refused its input")]
pub struct Panicked;

fn run<R>(state: &State, f: impl FnOnce() -> R) -> (Result<R, Panicked>, BasicExternalities) {
    let storage = Storage { top: state.clone(), children_default: Default::default() };
    let mut ext = BasicExternalities::new(storage);
    IN_RUNTIME.set(true);
    let result = catch_unwind(AssertUnwindSafe(|| ext.execute_with(f))).map_err(|_| Panicked);
    IN_RUNTIME.set(false);
    (result, ext)
}

/// Reads something from a state with the runtime's own code.
///
/// # Errors
/// [`Panicked`] when the runtime does.
pub fn read<R>(state: &State, f: impl FnOnce() -> R) -> Result<R, Panicked> {
    run(state, f).0
}

/// A state after running `f` on it.
///
/// # Errors
/// [`Panicked`] when the runtime does.
pub fn write(state: &State, f: impl FnOnce()) -> Result<State, Panicked> {
    let (result, ext) = run(state, f);
    result.map(|()| ext.into_storages().top)
}

/// Why a runtime API call has no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// No runtime API has this method.
    #[error("exported method {0} is not found")]
    UnknownMethod(String),
    /// The arguments do not decode.
    #[error("arguments of {method} do not decode")]
    BadArguments {
        /// The method called.
        method: String,
        /// What the runtime did.
        #[source]
        source: Panicked,
    },
}

/// Calls a runtime API by its exported name, `Api_method`.
///
/// # Errors
/// The method does not exist or its arguments do not decode.
pub fn call(state: &State, method: &str, arguments: &[u8]) -> Result<Vec<u8>, CallError> {
    let upgrades = upgrade::of(state);
    if upgrades.as_ref().is_some_and(|upgrades| upgrades.hides_method(method)) {
        return Err(CallError::UnknownMethod(method.to_owned()));
    }
    let answer = profile_call(state, method, arguments)?;
    match upgrades {
        Some(upgrades) if method.starts_with("Metadata_") => Ok(upgrade::metadata::answer(&upgrades, answer)),
        _ => Ok(answer),
    }
}

/// As [`call`], before any upgrade.
fn profile_call(state: &State, method: &str, arguments: &[u8]) -> Result<Vec<u8>, CallError> {
    let profile = Profile::of(state);
    let own = profile.exported(method).ok_or_else(|| CallError::UnknownMethod(method.to_owned()))?;
    if is_too_deep(&own, arguments) {
        return Err(CallError::BadArguments { method: method.to_owned(), source: Panicked });
    }
    match read(state, || api::dispatch(&own, arguments)) {
        Ok(Some(answer)) => Ok(profile::metadata::answer(profile, method, answer)),
        Ok(None) => Err(CallError::UnknownMethod(method.to_owned())),
        Err(source) => Err(CallError::BadArguments { method: method.to_owned(), source }),
    }
}

/// Whether a method's arguments carry an extrinsic or a call that does not decode within [`MAX_DEPTH`]; the runtime's own
/// decoding has no bound.
fn is_too_deep(method: &str, arguments: &[u8]) -> bool {
    let extrinsic =
        |mut bytes: &[u8]| UncheckedExtrinsic::decode_with_depth_limit(MAX_DEPTH, &mut bytes).is_err();
    match method {
        "BlockBuilder_apply_extrinsic"
        | "TransactionPaymentApi_query_info"
        | "TransactionPaymentApi_query_fee_details" => extrinsic(arguments),
        // One byte says where the extrinsic comes from.
        "TaggedTransactionQueue_validate_transaction" => extrinsic(arguments.get(1..).unwrap_or_default()),
        "TransactionPaymentCallApi_query_call_info" | "TransactionPaymentCallApi_query_call_fee_details" => {
            RuntimeCall::decode_with_depth_limit(MAX_DEPTH, &mut &arguments[..]).is_err()
        }
        "Core_execute_block" | "BlockBuilder_check_inherents" => {
            Block::decode_with_depth_limit(MAX_DEPTH, &mut &arguments[..]).is_err()
        }
        _ => false,
    }
}

/// Who signed an extrinsic, and with which nonce.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signer {
    /// The account.
    pub account: AccountId,
    /// Its nonce.
    pub nonce: Nonce,
}

/// Why an extrinsic is refused before the pool.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The bytes are no extrinsic of this chain.
    #[error("extrinsic does not decode")]
    Undecodable(#[source] codec::Error),
    /// Nobody signed it, or not with an account id.
    #[error("extrinsic carries no signature of an account")]
    Unsigned,
    /// The runtime says it is not valid now.
    #[error("extrinsic is not valid")]
    Invalid(TransactionValidityError),
    /// The runtime could not check it.
    #[error("extrinsic could not be checked")]
    Unchecked(#[source] Panicked),
}

/// Decodes an extrinsic as the runtime of a state would.
///
/// # Errors
/// The bytes are no extrinsic of it.
pub fn extrinsic(state: &State, bytes: &[u8]) -> Result<UncheckedExtrinsic, codec::Error> {
    let extrinsic = UncheckedExtrinsic::decode_all_with_depth_limit(MAX_DEPTH, &mut &bytes[..])?;
    match upgrade::of(state) {
        Some(upgrades) if !upgrades.understands(&extrinsic) => {
            Err("the upgraded runtime has no such extrinsic".into())
        }
        _ => Ok(extrinsic),
    }
}

/// The signer of an extrinsic.
///
/// # Errors
/// It is not signed by an account.
pub fn signer_of(extrinsic: &UncheckedExtrinsic) -> Result<Signer, Refusal> {
    match &extrinsic.preamble {
        sp_runtime::generic::Preamble::Signed(Address::Id(account), _, extension) => {
            Ok(Signer { account: account.clone(), nonce: extension.0.5.0 })
        }
        _ => Err(Refusal::Unsigned),
    }
}

/// Checks an extrinsic against a state, as the next block would begin.
///
/// # Errors
/// Why it cannot enter the pool.
pub fn validate(state: &State, extrinsic: UncheckedExtrinsic, at: Hash) -> Result<ValidTransaction, Refusal> {
    if !Profile::of(state).has_call(&extrinsic.function) {
        return Err(Refusal::Undecodable("the chain's profile has no such call".into()));
    }
    read(state, || Executive::validate_transaction(TransactionSource::External, extrinsic, at))
        .map_err(Refusal::Unchecked)?
        .map_err(Refusal::Invalid)
}

/// What became of a candidate for a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Inclusion {
    /// It is in the block, whatever its dispatch did.
    Included,
    /// The runtime refused it.
    Refused(TransactionValidityError),
    /// Applying it panicked; it is not in the block.
    Panicked,
}

/// A block that was built but belongs to no chain yet.
#[derive(Debug, Clone)]
pub struct BuiltBlock {
    /// Its header.
    pub header: Header,
    /// Its body, inherents first.
    pub extrinsics: Vec<Vec<u8>>,
    /// One entry for each candidate, in order.
    pub inclusions: Vec<Inclusion>,
    /// The state after it.
    pub state: State,
}

/// What a developer does to a block from outside of its extrinsics, right after its inherents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operation {
    /// Sets a key's value, or removes it.
    Set(Vec<u8>, Option<Vec<u8>>),
    /// Puts another runtime in place, as `set_code` does.
    Upgrade(Upgrades),
}

impl Operation {
    fn apply(&self) {
        match self {
            Self::Set(key, Some(value)) => sp_io::storage::set(key, value),
            Self::Set(key, None) => sp_io::storage::clear(key),
            Self::Upgrade(upgrades) => {
                sp_io::storage::set(upgrade::KEY, &upgrades.encode());
                System::deposit_log(sp_runtime::DigestItem::RuntimeEnvironmentUpdated);
                let hash = Hash::from(sp_io::hashing::blake2_256(&upgrades.encode()));
                System::deposit_event(RuntimeEvent::System(frame_system::Event::CodeUpdated { hash }));
            }
        }
    }
}

/// Builds the block after `parent` from candidates in the order given.
///
/// # Errors
/// The runtime panicked outside of a candidate: its own invariants are broken.
pub fn build_block(
    state: &State,
    parent: (Hash, u32),
    timestamp_ms: u64,
    candidates: &[Vec<u8>],
) -> Result<BuiltBlock, Panicked> {
    build_block_with(state, parent, timestamp_ms, candidates, &[])
}

/// As [`build_block`], with operations in it.
///
/// # Errors
/// As [`build_block`]; an operation may have broken an invariant.
pub fn build_block_with(
    state: &State,
    parent: (Hash, u32),
    timestamp_ms: u64,
    candidates: &[Vec<u8>],
    operations: &[Operation],
) -> Result<BuiltBlock, Panicked> {
    let decoded: Vec<_> = candidates.iter().map(|bytes| extrinsic(state, bytes).ok()).collect();
    let mut poisonous = vec![false; candidates.len()];
    loop {
        let current = Cell::new(None);
        let (result, ext) = run(state, || {
            let inherent = begin_block(parent, timestamp_ms);
            operations.iter().for_each(Operation::apply);
            let (applied, inclusions) = apply_all(state, candidates, &decoded, &poisonous, &current);
            let extrinsics = std::iter::once(inherent).chain(applied).collect();
            (Executive::finalize_block(), extrinsics, inclusions)
        });
        match (result, current.get()) {
            (Ok((header, extrinsics, inclusions)), _) => {
                return Ok(BuiltBlock { header, extrinsics, inclusions, state: ext.into_storages().top });
            }
            (Err(_), Some(index)) => poisonous[index] = true,
            (Err(panicked), None) => return Err(panicked),
        }
    }
}

/// Initialises the block and applies its inherent, whose bytes it returns.
fn begin_block((parent_hash, parent_number): (Hash, u32), timestamp_ms: u64) -> Vec<u8> {
    let number = parent_number.saturating_add(1);
    let header = Header::new(number, Hash::default(), Hash::default(), parent_hash, Default::default());
    Executive::initialize_block(&header);
    let call = RuntimeCall::Timestamp(pallet_timestamp::Call::set { now: timestamp_ms });
    let inherent = UncheckedExtrinsic::new_bare(call);
    let bytes = inherent.encode();
    Executive::apply_extrinsic(inherent)
        .expect("a timestamp inherent is valid in every block")
        .expect("timestamps given here never go back");
    bytes
}

/// Applies the candidates; the bytes of those included, and what became of each.
fn apply_all(
    state: &State,
    candidates: &[Vec<u8>],
    decoded: &[Option<UncheckedExtrinsic>],
    poisonous: &[bool],
    current: &Cell<Option<usize>>,
) -> (Vec<Vec<u8>>, Vec<Inclusion>) {
    let mut included = Vec::new();
    let mut inclusions = Vec::with_capacity(candidates.len());
    for (index, (bytes, extrinsic)) in candidates.iter().zip(decoded).enumerate() {
        current.set(Some(index));
        inclusions.push(match extrinsic {
            Some(extrinsic) if !poisonous[index] => {
                let sealed = mev_shield::sealed_in(&extrinsic.function);
                match Executive::apply_extrinsic(extrinsic.clone()) {
                    Ok(outcome) => {
                        included.push(bytes.clone());
                        // As the public chain's authors do: what a carrier brings follows it in the same block.
                        let inner = sealed.filter(|_| outcome.is_ok());
                        included.extend(inner.and_then(|sealed| apply_unsealed(state, &sealed)));
                        Inclusion::Included
                    }
                    Err(error) => Inclusion::Refused(error),
                }
            }
            _ => Inclusion::Panicked,
        });
    }
    current.set(None);
    (included, inclusions)
}

/// Opens a sealed extrinsic and applies it; its bytes if it is now in the block. One that the runtime refuses is lost, as
/// on the public chain: its sender sees that the block does not have it.
fn apply_unsealed(state: &State, ciphertext: &[u8]) -> Option<Vec<u8>> {
    let bytes = mev_shield::Sealed::parse(ciphertext)?.open()?;
    let extrinsic = extrinsic(state, &bytes).ok()?;
    if !Profile::of(state).has_call(&extrinsic.function) {
        return None;
    }
    Executive::apply_extrinsic(extrinsic).ok().map(|_| bytes)
}

/// What changed from one state to the next.
#[must_use]
pub fn changes(old: &State, new: &State) -> Changes {
    let mut changed: Changes = new
        .iter()
        .filter(|(key, value)| old.get(*key) != Some(value))
        .map(|(key, value)| (key.clone(), Some(value.clone())))
        .collect();
    changed.extend(old.keys().filter(|key| !new.contains_key(*key)).map(|key| (key.clone(), None)));
    changed
}

/// What takes the state back to before these changes.
#[must_use]
pub fn inverse(before: &State, changes: &Changes) -> Changes {
    changes.iter().map(|(key, _)| (key.clone(), before.get(key).cloned())).collect()
}

/// Applies changes to a state.
pub fn apply(state: &mut State, changes: &Changes) {
    for (key, value) in changes {
        match value {
            Some(value) => state.insert(key.clone(), value.clone()),
            None => state.remove(key),
        };
    }
}

/// The account's next nonce by the state alone; an account that does not exist has 0.
#[must_use]
pub fn nonce_of(state: &State, account: &AccountId) -> Nonce {
    let key = frame_system::Account::<Runtime>::hashed_key_for(account);
    // The nonce is the first field of the stored account.
    state.get(&key).and_then(|value| Nonce::decode(&mut &value[..]).ok()).unwrap_or(0)
}

/// The timestamp of a state's block in milliseconds; 0 before the first.
#[must_use]
pub fn timestamp_of(state: &State) -> u64 {
    let key = pallet_timestamp::Now::<Runtime>::hashed_key();
    state.get(key.as_slice()).and_then(|value| u64::decode(&mut &value[..]).ok()).unwrap_or(0)
}

/// The hash of a header, which is the block's.
#[must_use]
pub fn hash_of(header: &Header) -> Hash {
    Hash::from(sp_io::hashing::blake2_256(&header.encode()))
}

/// The hash of an extrinsic's bytes.
#[must_use]
pub fn extrinsic_hash(bytes: &[u8]) -> Hash {
    Hash::from(sp_io::hashing::blake2_256(bytes))
}
