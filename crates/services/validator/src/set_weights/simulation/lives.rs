//! What the worker must keep in every life.
//!
//! A run prints its seed when it breaks a promise, and the seed repeats it:
//!
//! `BASILICA_SIMULATION_SEED=17 cargo test -p basilica-validator-service ten_thousand`
//!
//! `BASILICA_SIMULATION_RUNS` asks for more (or fewer) than ten thousand.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};

use basilica_ports::{Expiry, WindowEnd, WindowState};
use basilica_schedule::CommitChoice;
use basilica_types::Timestamp;

use super::network::BLOCK;
use super::{Rng, World, subnet};
use crate::set_weights::tests::settings;
use crate::settings::Settings;

const RUNS: u64 = 10_000;
/// Where an operator looks up what a reason means.
const GUIDE: &str = include_str!("../../../../../../docs/validator-weights.md");

/// What ends and reasons a run had.
struct Seen {
    ends: BTreeSet<String>,
    reasons: BTreeSet<&'static str>,
    boots: u64,
}

fn run(seed: u64, settings: &Settings) -> Result<Seen, String> {
    let mut world = World::new(seed, settings);
    let length = 40 + world.rng.below(80);
    world.storm(length);
    world.settle()?;
    world.judge()?;
    let ends = world.store.all().into_iter().map(|w| match w.state {
        WindowState::Ended(WindowEnd::Refused { error, .. }) => error,
        WindowState::Ended(WindowEnd::Expired(why)) => why.as_str().to_owned(),
        WindowState::Ended(WindowEnd::Lost(why)) => why.as_str().to_owned(),
        _ => w.opened.form.as_str().to_owned(),
    });
    Ok(Seen { ends: ends.collect(), reasons: world.reasons.clone(), boots: world.boots })
}

fn wanted(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name}={text} is not a number")))
}

#[test]
fn ten_thousand_stormy_lives_set_one_vector_a_window_and_explain_every_failure() {
    let settings = settings();
    if let Some(seed) = wanted("BASILICA_SIMULATION_SEED") {
        run(seed, &settings).unwrap_or_else(|why| panic!("seed {seed}: {why}"));
        return;
    }
    let runs = wanted("BASILICA_SIMULATION_RUNS").unwrap_or(RUNS);
    let next = AtomicU64::new(0);
    let work = || {
        let mut seen = Seen { ends: BTreeSet::new(), reasons: BTreeSet::new(), boots: 0 };
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= runs {
                return seen;
            }
            let one = run(seed, &settings).unwrap_or_else(|why| panic!("seed {seed}: {why}"));
            seen.ends.extend(one.ends);
            seen.reasons.extend(one.reasons);
            seen.boots += one.boots;
        }
    };
    let threads = std::thread::available_parallelism().map_or(2, |n| n.get());
    let seen: Vec<Seen> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        workers.into_iter().map(|worker| worker.join().expect("a run broke a promise")).collect()
    });
    let ends: BTreeSet<String> = seen.iter().flat_map(|s| s.ends.clone()).collect();
    let reasons: BTreeSet<&str> = seen.iter().flat_map(|s| s.reasons.clone()).collect();
    let boots: u64 = seen.iter().map(|s| s.boots).sum();
    assert!(boots > 3 * runs, "workers were cut off, {boots} lives in {runs} runs");
    for reason in &reasons {
        assert!(
            GUIDE.contains(&format!("`{reason}`")),
            "docs/validator-weights.md does not explain {reason}"
        );
    }
    if runs >= 1_000 {
        // The storm must reach what it is for.
        for end in [
            "open",
            "hash",
            "timelocked",
            "era_over",
            "nonce_taken",
            "epoch_passed",
            "gone",
            "not_revealed",
            "switched_off",
        ] {
            assert!(ends.contains(end), "no run ended a window with {end}; there were {ends:?}");
        }
        for reason in [
            "interval",
            "rate_limit",
            "no_permit",
            "version_key",
            "reveal_epoch",
            "beacon_round",
            "chain_unreachable",
            "chain_deadline",
            "chain_call",
            "chain_item_missing",
            "chain_pool",
            "endpoint_behind",
        ] {
            assert!(reasons.contains(reason), "no run was explained by {reason}; there were {reasons:?}");
        }
    }
}

#[test]
fn the_same_seed_lives_the_same_life() {
    let settings = settings();
    let story = |seed: u64| {
        let mut world = World::new(seed, &settings);
        world.storm(60);
        let calls = world.network.with(|state| state.final_calls());
        (world.store.all(), calls)
    };
    for seed in 0..20 {
        assert_eq!(story(seed), story(seed), "seed {seed}");
    }
}

/// A world in which nothing goes wrong, with commits.
fn quiet(seed: u64, settings: &Settings, choice: CommitChoice) -> World {
    let mut rng = Rng(seed);
    let mut genesis = subnet(&mut rng);
    genesis.knobs.commit_reveal = true;
    World::with(rng, settings, genesis, (true, true), choice)
}

#[test]
fn no_round_is_public_before_the_epoch_in_which_the_chain_opens_it() {
    let settings = settings();
    let (mut judged, runs) = (0, 300);
    for seed in 0..runs {
        let mut world = quiet(seed, &settings, CommitChoice::Auto);
        let end = world.number() + 150;
        world.live(&mut { u64::MAX }, &mut |world| world.number() >= end);
        let (looked_at, early) = world.network.with(|state| state.early_rounds());
        assert!(early.is_empty(), "seed {seed}: {early:?}");
        judged += looked_at;
    }
    assert!(judged > 2 * 300, "{judged} commits in {runs} runs");
}

/// A call that a block takes late must not be dated by an epoch that its round was not chosen for.
#[test]
fn no_round_is_public_too_early_although_the_pool_holds_calls_back() {
    let settings = settings();
    let (mut judged, mut expired) = (0, 0);
    for seed in 0..300 {
        let mut rng = Rng(seed);
        let mut genesis = subnet(&mut rng);
        genesis.knobs.commit_reveal = true;
        // A shorter epoch has no room for the life of a call.
        genesis.knobs.tempo += 4;
        let mut world = World::with(rng, &settings, genesis, (true, true), CommitChoice::Auto);
        world.network.with(|state| state.busy = true);
        let end = world.number() + 150;
        world.live(&mut { u64::MAX }, &mut |world| world.number() >= end);
        let (looked_at, early) = world.network.with(|state| state.early_rounds());
        assert!(early.is_empty(), "seed {seed}: {early:?}");
        judged += looked_at;
        let over = |state| matches!(state, WindowState::Ended(WindowEnd::Expired(Expiry::EraOver)));
        expired += world.store.all().into_iter().filter(|window| over(window.state.clone())).count();
    }
    assert!(judged > 300 && expired > 30, "{judged} commits, {expired} calls that no block took in time");
}

#[test]
fn while_a_block_is_waited_for_the_rules_are_seldom_read() {
    for choice in [CommitChoice::Auto, CommitChoice::Hash] {
        let mut settings = settings();
        let mut rng = Rng(5);
        let mut genesis = subnet(&mut rng);
        (genesis.knobs.commit_reveal, genesis.knobs.tempo) = (true, 200);
        settings.weights_poll = BLOCK;
        let mut world = World::with(rng, &settings, genesis, (true, true), choice);
        world.settings.weights_poll = BLOCK;
        let begin = world.number();
        world.live(&mut { u64::MAX }, &mut |world| world.is_settled(Timestamp(0)) || world.number() > 2_000);
        assert!(world.is_settled(Timestamp(0)), "{:?}", world.last_states());
        let (blocks, reads) = (world.number() - begin, world.network.with(|state| state.reads));
        assert!(blocks > 150 && reads < blocks / 8, "{reads} reads in {blocks} blocks, {choice:?}");
    }
}

/// Every form on a quiet chain, cut off after each number of polls until the worker gets through without.
#[test]
fn cut_off_at_every_await_each_form_still_ends_as_weights() {
    let settings = settings();
    let cases = [(false, CommitChoice::Auto), (true, CommitChoice::Hash), (true, CommitChoice::Auto)];
    for (commit_reveal, choice) in cases {
        let mut cut = 1;
        loop {
            let mut rng = Rng(7);
            let mut genesis = subnet(&mut rng);
            genesis.knobs.commit_reveal = commit_reveal;
            let mut world = World::with(rng, &settings, genesis, (true, true), choice);
            let settled = |world: &mut World| world.is_settled(Timestamp(0));
            let mut polls = cut;
            let lived = world.live(&mut polls, &mut { settled });
            if !lived {
                let limit = world.number() + 80;
                let mut rest = u64::MAX;
                world.live(&mut rest, &mut |world| world.is_settled(Timestamp(0)) || world.number() > limit);
            }
            assert!(world.is_settled(Timestamp(0)), "cut after {cut} polls: {:?}", world.last_states());
            assert_eq!(world.store.all().len(), 1, "cut after {cut} polls: {:?}", world.last_states());
            world.judge().unwrap_or_else(|why| panic!("cut after {cut} polls: {why}"));
            if lived {
                break;
            }
            cut += 1;
        }
        assert!(cut > 20, "the worker was cut off at every await, {cut} in all");
    }
}
