//! Rounds of light checks over simulated time.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use basilica_ports::{Clock as _, NodeRecord, NodeShell};
use basilica_runtime_service::TaskSet;
use basilica_types::{Hotkey, Timestamp};
use basilica_verification::{Conclusion, Finding, Reason};

use super::*;
use crate::check_node::{Ran, Trial};
use crate::scripted::{Habit, Nodes, Seen, light, over_time, record};
use crate::sessions::Access;
use crate::set_weights::tests::World;
use crate::shared::Shared;

const MINER: Hotkey = Hotkey::from_bytes([7; 32]);
const SLOW: Habit = Habit::Answers { login: Millis(20), command: Millis::from_secs(25) };

/// What a round of light checks came to.
struct Round {
    shared: Arc<Shared>,
    took: Millis,
    found: Vec<Finding>,
    nodes: Arc<Nodes>,
}

impl Round {
    fn count(&self, finding: Finding) -> usize {
        self.found.iter().filter(|found| **found == finding).count()
    }

    fn seen<T>(&self, look: impl FnOnce(&Seen) -> T) -> T {
        look(&self.nodes.seen.lock().unwrap())
    }
}

fn ip(n: u32) -> IpAddr {
    Ipv4Addr::from_bits(0xcb00_0000 | n).into()
}

async fn check(shared: Arc<Shared>, places: Arc<Places>, node: NodeRecord, now: Timestamp) -> Conclusion {
    match Trial::new(&shared, &places, &node).run(light(now)).await {
        Ok(Ran::Tried(tried)) => tried.conclusion,
        Ok(Ran::Postponed(_)) => panic!("nobody shuts us out here"),
        Err(rejected) => panic!("{rejected}"),
    }
}

/// Light checks of so many nodes, all due at once, twice: the second time on what is left of the first.
async fn rounds(count: u32, habit: impl Fn(u32) -> Habit, bounds: (usize, usize)) -> [Round; 2] {
    let world = World::new();
    let mut shared = world.boot().await;
    let habits: BTreeMap<IpAddr, Habit> = (1..=count).map(|n| (ip(n), habit(n))).collect();
    let nodes = Nodes::new(&world.clock, habits);
    shared.ports.nodes = Arc::clone(&nodes) as Arc<dyn NodeShell>;
    let now = shared.now();
    shared.set_access(MINER, Arc::new(Access::until(now + Millis::from_secs(86_400))));
    let (shared, places) = (Arc::new(shared), Arc::new(Places::new(bounds.0, bounds.1)));
    let mut results = Vec::new();
    for _ in 0..2 {
        let began = world.clock.monotonic();
        let mut tasks = TaskSet::new();
        for n in 1..=count {
            let node = record(MINER, &format!("root@{}:22", ip(n)), now);
            tasks.spawn("light", check(Arc::clone(&shared), Arc::clone(&places), node, now));
        }
        let mut found = Vec::new();
        over_time(&world.clock, async {
            while let Some(ended) = tasks.next().await {
                found.push(ended.expect("no check panics").finding);
            }
        })
        .await;
        let took = Millis::from(world.clock.monotonic().saturating_sub(began));
        assert_eq!(places.light.available_permits(), bounds.1, "every slot comes back");
        assert_eq!(places.dials.available_permits(), bounds.0);
        results.push(Round { shared: Arc::clone(&shared), took, found, nodes: Arc::clone(&nodes) });
    }
    results.try_into().ok().expect("two rounds")
}

/// 10 % nobody, 5 % slow, 2 % garbage.
fn mixed(n: u32) -> Habit {
    match n % 100 {
        0..10 => Habit::BlackHole,
        10..15 => SLOW,
        15..17 => Habit::Garbage,
        _ => Habit::QUICK,
    }
}

#[tokio::test]
async fn a_round_over_a_thousand_nodes_ends_two_seconds_after_one_time_out() {
    let [cold, warm] = rounds(1_000, mixed, (1_024, 50)).await;
    let limit = Millis(cold.shared.settings.connect_deadline.0 + 2_000);
    for round in [&cold, &warm] {
        assert!(round.took <= limit, "{} > {limit}", round.took);
        let passed = round.count(Finding::Passed);
        let dead = round.count(Finding::Failed(Reason::ConnectionTimeout));
        assert_eq!((passed, dead, round.found.len()), (880, 100, 1_000), "every node has a finding");
        assert!(round.seen(|seen| seen.most_fresh) <= 50);
    }
    assert_eq!(warm.seen(|seen| seen.logins), 900, "nobody logs in twice");
    let metrics = &warm.shared.metrics;
    assert_eq!((metrics.ssh_opened.get(), metrics.ssh_reused.get()), (900, 900));
    assert_eq!(metrics.ssh_active.get(), 900);
}

#[tokio::test]
async fn slow_nodes_do_not_keep_slots_from_others() {
    let habit = |n| if n <= 60 { SLOW } else { Habit::QUICK };
    let [round, _] = rounds(100, habit, (1_024, 4)).await;
    // Sixty slow nodes in four slots of a second each, and then their time; with slots kept it would be fifteen times that.
    assert!(round.took <= Millis::from_secs(15 + 25 + 1), "{}", round.took);
    assert_eq!(round.count(Finding::Passed), 100);
    assert!(round.seen(|seen| seen.most_fresh) <= 4);
}

#[tokio::test]
async fn both_bounds_are_obeyed() {
    let [round, _] = rounds(64, |_| Habit::QUICK, (8, 3)).await;
    assert_eq!(round.seen(|seen| (seen.dials.1, seen.most_fresh)), (8, 3), "as many as may be, and no more");
}

#[tokio::test]
async fn whoever_registers_anothers_address_cannot_have_us_locked_out_of_it() {
    let world = World::new();
    let mut shared = world.boot().await;
    let (owner, impostor) = (Hotkey::from_bytes([1; 32]), Hotkey::from_bytes([2; 32]));
    let nodes = Nodes::new(&world.clock, BTreeMap::from([(ip(1), Habit::Denies(impostor))]));
    shared.ports.nodes = Arc::clone(&nodes) as Arc<dyn NodeShell>;
    let now = shared.now();
    for miner in [owner, impostor] {
        let access = Access::with_seed(*miner.as_bytes(), now + Millis::from_secs(86_400));
        shared.set_access(miner, Arc::new(access));
    }
    let places = Places::new(8, 8);
    let (mut postponed, mut denied) = (0, 0);
    // Each of the impostor's registrations comes back so many rounds later, and its turn ends with its last try.
    let registrations = 64;
    let tries = shared.doors(|doors| doors.tries());
    let turn = registrations * u32::from(tries);
    for round in 0..2 * turn {
        // The impostor's many registrations of the same address, by other users.
        let node = record(impostor, &format!("u{}@{}:22", round % registrations, ip(1)), now);
        match over_time(&world.clock, Trial::new(&shared, &places, &node).run(light(now))).await {
            Ok(Ran::Tried(tried)) => {
                assert_eq!(tried.conclusion.finding, Finding::Failed(Reason::LoginDenied));
                denied += 1;
            }
            Ok(Ran::Postponed(until)) => {
                assert!(until > shared.now());
                postponed += 1;
            }
            Err(rejected) => panic!("{rejected}"),
        }
        world.clock.advance(Millis::from_secs(1));
        let node = record(owner, &format!("root@{}:22", ip(1)), now);
        shared.connections.forget(node.key);
        // Its first login may have to wait for its turn; after that it is a guest.
        let tried = over_time(&world.clock, Trial::new(&shared, &places, &node).run(light(now))).await;
        match tried {
            Ok(Ran::Tried(tried)) => assert_eq!(tried.conclusion.finding, Finding::Passed),
            _ => assert!(round < turn, "the owner gets its turn, {round}"),
        }
    }
    assert_eq!(nodes.seen.lock().unwrap().lockouts, 0);
    assert!(denied >= u32::from(tries) && postponed > turn, "{denied} denied, {postponed} postponed");
}
