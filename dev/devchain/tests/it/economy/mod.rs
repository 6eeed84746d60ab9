//! Random sequences of extrinsics through the real executor: TAO and alpha are conserved, nothing panics, and a restored
//! chain goes on as the one that was saved.
//!
//! The law, checked after every block. All TAO is in balances or in the pools of subnets, and `TotalIssuance` is their sum. From one
//! block to the next it grows by what the rule of emission gives to the pools, and shrinks by fees, by the dust of accounts that
//! end, by what a new subnet cost beyond its pool and by what somebody burns on purpose; by nothing else. A subnet's alpha grows by
//! its emission, and shrinks by what a registration buys and burns and by what an epoch recycles. What is outstanding of
//! it is staked on a hotkey, waits for the epoch, or was burnt by an epoch; the shares on a hotkey are its coldkeys'.
//!
//! Every call of every pallet is in the sequences, or in [`LEFT_OUT`] with the reason; and each of them takes effect somewhere.

mod books;
mod calls;
mod dice;

use std::collections::BTreeMap;

use basilica_devchain::chain::{Chain, ChainImage, StoredBlock};
use basilica_devchain::executor::{self, Inclusion, Refusal, State};
use basilica_devchain::genesis::Settings;
use basilica_devchain::profile::Profile;
use basilica_devchain::runtime::newtypes::TaoBalance;
use basilica_devchain::runtime::{
    Runtime, RuntimeCall, RuntimeEvent, SubtensorModule, System, UncheckedExtrinsic, subtensor,
};
use codec::{Decode as _, Encode as _};
use frame_support::traits::GetCallMetadata as _;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRng, TestRunner};
use sp_runtime::generic::Era;

use crate::support::{account_of, sign_under};
use books::{books, check_alpha, emission, told_burnt};
use calls::{MIN_LOCK_COST, Signed, signed};
use dice::{Dice, Facts, SUBNET};

/// What a sequence happens on.
#[derive(Debug, Clone, Copy)]
struct Case {
    profile: Profile,
    commit_reveal: bool,
    /// After which block the chain is saved and restored.
    saved_at: usize,
}

/// Sequences; each is 8 to 24 blocks of two to fifteen extrinsics.
const CASES: u32 = 14;
/// So often these sequences are followed by others at most, while there are calls that had no effect.
const ROUNDS: u8 = 4;
/// The chain's clock at block 0, in milliseconds: after the beacon's first round.
const START_MS: u64 = 1_800_000_000_000;
const SECOND_MS: u64 = 1_000;

/// Calls that are not in the sequences, by pallet.
const LEFT_OUT: &[(&str, &[&str], &str)] = &[
    (
        "System",
        &[
            "apply_authorized_upgrade",
            "authorize_upgrade",
            "authorize_upgrade_without_checks",
            "kill_prefix",
            "kill_storage",
            "set_code",
            "set_code_without_checks",
            "set_heap_pages",
            "set_storage",
        ],
        "by these the sudo key writes the state as it likes",
    ),
    ("Timestamp", &["set"], "every block begins with it"),
    ("Balances", &["force_adjust_total_issuance", "force_set_balance"], "by these the sudo key issues TAO"),
    ("Sudo", &["remove_key", "set_key"], "there would be no sudo key for the rest of the sequence"),
    (
        "Utility",
        &["dispatch_as", "dispatch_as_fallible", "with_weight"],
        "as sudo_as and sudo_unchecked_weight",
    ),
];

/// Calls that never take effect in the sequences.
const WITHOUT_EFFECT: &[(&str, &str)] = &[
    // What is not sealed to the chain's key stays out of blocks.
    ("MevShield", "submit_encrypted"),
];

/// How often each call was in a block, and how often it took effect.
#[derive(Default)]
struct Coverage(BTreeMap<(&'static str, &'static str), (u32, u32)>);

impl Coverage {
    fn count(&mut self, call: &RuntimeCall, succeeded: bool) {
        let metadata = call.get_call_metadata();
        let entry = self.0.entry((metadata.pallet_name, metadata.function_name)).or_default();
        entry.0 += 1;
        entry.1 += u32::from(succeeded);
    }

    /// Every call that neither took effect nor is excused, and every excuse that is not needed.
    fn complaints(&self) -> Vec<String> {
        let mut complaints = Vec::new();
        for pallet in RuntimeCall::get_module_names() {
            for call in RuntimeCall::get_call_names(pallet) {
                let left_out = LEFT_OUT.iter().any(|(of, calls, _)| of == pallet && calls.contains(call));
                let without = WITHOUT_EFFECT.contains(&(*pallet, *call));
                let (tried, succeeded) = self.0.get(&(*pallet, *call)).copied().unwrap_or_default();
                let fine = match (left_out, without) {
                    (true, _) => tried == 0,
                    (false, true) => succeeded == 0,
                    (false, false) => succeeded > 0,
                };
                if !fine {
                    complaints.push(format!(
                        "{pallet}.{call}: in blocks {tried} times, took effect {succeeded} times"
                    ));
                }
            }
        }
        complaints
    }
}

/// A chain with epochs every four blocks, without limits of rates.
fn chain(profile: Profile, commit_reveal: bool) -> Chain {
    // What only takes up its number would make every step slower; netuids 1 and 2 are for what is registered.
    let empty_subnets = Some(false);
    let settings = Settings { tempo: 4, profile, commit_reveal, empty_subnets, ..Settings::default() };
    let state = settings.resolve().expect("valid").state().expect("builds");
    let state = executor::write(&state, || {
        subtensor::WeightsSetRateLimit::<Runtime>::insert(SUBNET, 0);
        subtensor::ServingRateLimit::<Runtime>::insert(SUBNET, 1);
        subtensor::StakeThreshold::<Runtime>::put(0);
        subtensor::NetworkRateLimit::<Runtime>::put(0);
        subtensor::AdminFreezeWindow::<Runtime>::put(1);
        subtensor::NetworkMinLockCost::<Runtime>::put(TaoBalance(MIN_LOCK_COST));
        SubtensorModule::settle_issuance();
    });
    Chain::new(state.expect("writes"))
}

/// Signs what is wanted with nonces that follow each other, as far as the profile has the calls, and asserts that checking it
/// does not panic.
fn candidates(chain: &Chain, profile: Profile, wanted: &[Signed]) -> Vec<UncheckedExtrinsic> {
    let state = chain.best_state();
    let mut nonces = BTreeMap::new();
    let mut candidates = Vec::new();
    for Signed { signer, call } in wanted {
        let nonce = nonces.entry(*signer).or_insert_with(|| executor::nonce_of(&state, &account_of(signer)));
        let extrinsic =
            sign_under(profile, signer, (call.clone(), *nonce), Era::Immortal, (chain.genesis(), None));
        let verdict = executor::validate(&state, extrinsic.clone(), chain.best().hash);
        assert!(
            !matches!(verdict, Err(Refusal::Unchecked(_))),
            "{signer} {call:?} panics when it is checked"
        );
        if !matches!(verdict, Err(Refusal::Undecodable(_))) {
            *nonce += u32::from(verdict.is_ok());
            candidates.push(extrinsic);
        }
    }
    candidates
}

/// A block and what its extrinsics did.
struct Made {
    stored: StoredBlock,
    state: State,
    included: Vec<RuntimeCall>,
}

fn build(chain: &Chain, candidates: &[UncheckedExtrinsic]) -> Made {
    let state = chain.best_state();
    let number = chain.best().header.number;
    let encoded: Vec<Vec<u8>> = candidates.iter().map(codec::Encode::encode).collect();
    let time = START_MS + u64::from(number + 1) * SECOND_MS;
    let built = executor::build_block(&state, (chain.best().hash, number), time, &encoded)
        .expect("what a block does by itself does not panic");
    let mut included = Vec::new();
    for (extrinsic, inclusion) in candidates.iter().zip(&built.inclusions) {
        assert_ne!(*inclusion, Inclusion::Panicked, "{:?} panics", extrinsic.function);
        if *inclusion == Inclusion::Included {
            included.push(extrinsic.function.clone());
        }
    }
    let changes = executor::changes(&state, &built.state);
    let stored = StoredBlock { header: built.header, extrinsics: built.extrinsics, changes };
    Made { stored, state: built.state, included }
}

/// For each included extrinsic whether it took effect; of sudo's whether the inner call did.
fn effects(state: &State, included: usize) -> Vec<bool> {
    let events = executor::read(state, System::events).expect("reads");
    (1..=included)
        .map(|position| {
            let phase = frame_system::Phase::ApplyExtrinsic(u32::try_from(position).expect("few"));
            let own = || events.iter().filter(|record| record.phase == phase).map(|record| &record.event);
            let succeeded = |event: &RuntimeEvent| {
                matches!(event, RuntimeEvent::System(frame_system::Event::ExtrinsicSuccess { .. }))
            };
            let failed_inside = |event: &RuntimeEvent| {
                matches!(
                    event,
                    RuntimeEvent::Sudo(
                        pallet_sudo::Event::Sudid { sudo_result: Err(_) }
                            | pallet_sudo::Event::SudoAsDone { sudo_result: Err(_) }
                    )
                )
            };
            own().any(succeeded) && !own().any(failed_inside)
        })
        .collect()
}

fn count(coverage: &mut Coverage, included: &[RuntimeCall], effects: &[bool]) {
    for (call, succeeded) in included.iter().zip(effects) {
        coverage.count(call, *succeeded);
        if let RuntimeCall::Sudo(
            pallet_sudo::Call::sudo { call } | pallet_sudo::Call::sudo_unchecked_weight { call, .. },
        ) = call
        {
            coverage.count(call, *succeeded);
        }
    }
}

/// What was burnt on purpose.
fn burnt(included: &[RuntimeCall], effects: &[bool]) -> u128 {
    let of = |(call, succeeded): (&RuntimeCall, &bool)| match call {
        RuntimeCall::Balances(pallet_balances::Call::burn { value, .. }) if *succeeded => u128::from(*value),
        _ => 0,
    };
    included.iter().zip(effects).map(of).sum()
}

/// The extrinsics that some numbers stand for, on the state of now.
fn chosen(chain: &Chain, seeds: &[u64]) -> Vec<Signed> {
    let facts = executor::read(&chain.best_state(), Facts::now).expect("reads");
    seeds.iter().map(|seed| signed(&mut Dice::new(*seed, &facts))).collect()
}

/// Everything that clients read answers.
fn assert_answers(state: &State) {
    let netuids = executor::read(state, SubtensorModule::netuids).expect("reads");
    for method in [
        "NeuronInfoRuntimeApi_get_neurons",
        "NeuronInfoRuntimeApi_get_neurons_lite",
        "SubnetInfoRuntimeApi_get_metagraph",
        "SubnetInfoRuntimeApi_get_dynamic_info",
        "SubnetInfoRuntimeApi_get_subnet_state",
        "SubnetInfoRuntimeApi_get_subnet_hyperparams",
        "SubnetInfoRuntimeApi_get_subnet_hyperparams_v2",
        "SwapRuntimeApi_current_alpha_price",
    ] {
        for netuid in &netuids {
            executor::call(state, method, &netuid.encode())
                .unwrap_or_else(|error| panic!("{error} for {netuid}"));
        }
    }
}

fn run(coverage: &mut Coverage, case: Case, blocks: &[Vec<u64>]) {
    let Case { profile, commit_reveal, saved_at } = case;
    let mut chain = chain(profile, commit_reveal);
    let mut saved: Option<Chain> = None;
    let mut before = books(&chain.best_state());
    for (position, seeds) in blocks.iter().enumerate() {
        let wanted = chosen(&chain, seeds);
        let created = emission(&chain.best_state());
        let candidates = candidates(&chain, profile, &wanted);
        let made = build(&chain, &candidates);
        if let Some(restored) = &mut saved {
            let again = build(restored, &candidates);
            assert_eq!(again.stored, made.stored, "a restored chain makes the same block");
            restored.push(again.stored);
        }
        let effects = effects(&made.state, made.included.len());
        count(coverage, &made.included, &effects);
        let after = books(&made.state);
        let gone = told_burnt(&made.state) + burnt(&made.included, &effects);
        assert_eq!(
            after.issuance + gone,
            before.issuance + created.tao,
            "block {position} of {wanted:?} changes {before:?} to {after:?}"
        );
        check_alpha(&before, &after, &created, &made.state);
        chain.push(made.stored);
        before = after;
        if position == saved_at {
            let image = chain.image().encode();
            let image = ChainImage::decode(&mut &image[..]).expect("the image decodes");
            let restored = Chain::from_image(image).expect("the image is whole");
            assert_eq!(
                restored.best_state(),
                chain.best_state(),
                "a restored chain has the state that was saved"
            );
            saved = Some(restored);
        } else if position >= saved_at + 4 {
            saved = None;
        }
    }
    assert_answers(&chain.best_state());
}

#[test]
fn whatever_is_sent_both_currencies_are_conserved_and_a_restored_chain_goes_on_the_same() {
    let cases = (
        proptest::collection::vec(proptest::collection::vec(any::<u64>(), 2..16), 8..25),
        (prop::bool::weighted(0.4), any::<bool>(), 0usize..20),
    );
    let config =
        Config { cases: CASES, max_shrink_iters: 64, failure_persistence: None, ..Config::default() };
    let coverage = std::cell::RefCell::new(Coverage::default());
    let mut complaints = Vec::new();
    // The same sequences in every run, so that what they cover is known; more of them while a call is missing.
    for round in 1..=ROUNDS {
        let rng = TestRng::from_seed(config.rng_algorithm, &[round; 32]);
        TestRunner::new_with_rng(config.clone(), rng)
            .run(&cases, |(blocks, (legacy, commit_reveal, saved_at))| {
                let profile = if legacy { Profile::Legacy } else { Profile::Newest };
                run(&mut coverage.borrow_mut(), Case { profile, commit_reveal, saved_at }, &blocks);
                Ok(())
            })
            .unwrap_or_else(|error| panic!("{error}"));
        complaints = coverage.borrow().complaints();
        if complaints.is_empty() {
            return;
        }
    }
    panic!("not every call is covered:\n{}", complaints.join("\n"));
}

#[test]
fn bytes_that_are_no_extrinsic_are_refused_without_a_panic() {
    let state = chain(Profile::Newest, false).best_state();
    for bytes in [vec![], vec![0], vec![0xff; 64], vec![0x84; 200]] {
        assert!(executor::extrinsic(&state, &bytes).is_err(), "{bytes:?}");
    }
}
