//! Nodes that meet, over simulated time.

use std::future::Future;

use basilica_runtime_service::testing::VirtualClock;
use basilica_types::{Hotkey, NodeId};
use proptest::prelude::*;
use tokio::sync::Mutex;
use tokio::task::JoinSet;

use super::*;
use crate::isolate::isolated;

const PATIENCE: Patience = Patience { gather: Millis(90_000), end: Millis(180_000) };
const WORK: Millis = Millis(6_000);
const FILL: Millis = Millis(2_000);
const WALK: Millis = Millis(4_000);

fn key(id: u8) -> NodeKey {
    NodeKey { miner: Hotkey::from_bytes([id; 32]), node: NodeId::from_bytes([id; 16]) }
}

/// How a node behaves.
#[derive(Clone, Debug)]
struct Habit {
    /// Until its prover is ready; none: it never is, and its connection gives up.
    ready: Option<Millis>,
    /// What its card takes for the work, the filling and the walk.
    takes: [Millis; 3],
    /// It hangs up when the walk begins.
    drops: bool,
    /// Its card: nodes that name the same share it.
    card: usize,
}

fn honest(card: usize) -> Habit {
    let takes = [Millis(3_000), Millis(1_000), Millis(2_000)];
    Habit { ready: Some(Millis(100)), takes, drops: false, card }
}

/// What a node saw.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Seen {
    challenged: Option<Millis>,
    walked: Option<Millis>,
    ended: Millis,
    passed: bool,
    with: BTreeSet<NodeKey>,
}

/// Cards that one process at a time can use.
type Cards = Arc<Vec<Mutex<()>>>;

/// One node's check, as the service carries it out.
async fn check(clock: Arc<VirtualClock>, mut seat: Seat, habit: Habit, cards: Cards) -> Seen {
    let now = || Millis::from(clock.monotonic());
    let mut seen = Seen::default();
    let ready = async {
        match habit.ready {
            Some(after) => {
                clock.sleep(after).await;
                seat.before_work((WORK.as_duration(), FILL.as_duration())).await.is_ok()
            }
            None => {
                clock.sleep(Millis(30_000)).await;
                false
            }
        }
    };
    if !ready.await {
        let with = seat.answer(false).await;
        return Seen { ended: now(), with, ..seen };
    }
    seen.challenged = Some(now());
    let [work, fill, walk] = habit.takes;
    // A process that is given the card keeps it until it ends.
    let busy = async {
        let card = cards[habit.card].lock().await;
        clock.sleep(work).await;
        card
    };
    let in_time = match within(clock.as_ref(), WORK, busy).await {
        Err(_) => false,
        Ok(_card) if within(clock.as_ref(), FILL, clock.sleep(fill)).await.is_err() => false,
        Ok(_card) => {
            seat.before_walk().await;
            seen.walked = Some(now());
            !habit.drops && within(clock.as_ref(), WALK, clock.sleep(walk)).await.is_ok()
        }
    };
    seen.passed = in_time;
    seen.with = seat.answer(in_time).await;
    Seen { ended: now(), ..seen }
}

/// Runs a future while time goes on by itself.
async fn while_time_goes_on<T>(clock: &VirtualClock, work: impl Future<Output = T>) -> T {
    let goes_on = async {
        loop {
            // Everything that can go on without time does so first.
            for _ in 0..200 {
                tokio::task::yield_now().await;
            }
            if clock.advance_to_next().is_none() {
                tokio::task::yield_now().await;
            }
        }
    };
    tokio::select! {
        biased;
        done = work => done,
        () = goes_on => unreachable!("time goes on for ever"),
    }
}

/// What each of these saw of their meeting, and how it went.
async fn meet(habits: &[Habit]) -> (Vec<Seen>, Attendance) {
    let clock = VirtualClock::new();
    let cards: Cards = Arc::new(habits.iter().map(|_| Mutex::new(())).collect());
    let nodes: Vec<NodeKey> = (0u8..).zip(habits).map(|(id, _)| key(id)).collect();
    let dynamic: Arc<dyn Clock> = Arc::clone(&clock) as _;
    let meeting = Meeting::new(&dynamic, FleetRules::default(), PATIENCE, nodes.iter().copied().collect());
    let mut checks = JoinSet::new();
    for (at, (node, habit)) in nodes.iter().zip(habits).enumerate() {
        let seat = meeting.seat(*node).unwrap();
        let one = check(Arc::clone(&clock), seat, habit.clone(), Arc::clone(&cards));
        checks.spawn(async move { (at, one.await) });
    }
    let mut seen = vec![Seen::default(); habits.len()];
    let all = async {
        while let Some(ended) = checks.join_next().await {
            let (at, one) = ended.unwrap();
            seen[at] = one;
        }
    };
    while_time_goes_on(&clock, all).await;
    (seen, meeting.attendance())
}

#[tokio::test]
async fn challenges_and_walks_begin_at_one_moment_and_all_that_pass_know_of_each_other() {
    let slow = Habit {
        ready: Some(Millis(7_000)),
        takes: [Millis(5_000), Millis(2_000), Millis(3_000)],
        ..honest(1)
    };
    let (seen, went) = meet(&[honest(0), slow, honest(2)]).await;
    for one in &seen {
        assert_eq!(one.challenged, Some(Millis(7_000)), "the slowest is waited for");
        assert_eq!(one.walked, Some(Millis(14_000)), "and so is whoever fills last");
        assert!(one.passed && one.with.len() == 2);
    }
    assert_eq!(went, Attendance { called: 3, challenged: 3, passed: 3, under_way: 0 });
}

#[tokio::test]
async fn one_card_cannot_answer_for_two_nodes_that_meet() {
    let (seen, went) = meet(&[honest(0), honest(1), Habit { card: 0, ..honest(2) }]).await;
    assert!(seen[1].passed, "a node of its own is not held up for longer than a miss takes");
    let (got_it, missed) = if seen[0].passed { (&seen[0], &seen[2]) } else { (&seen[2], &seen[0]) };
    assert!(got_it.passed && !missed.passed && missed.walked.is_none());
    assert_eq!(seen[1].walked, got_it.walked);
    assert_eq!(
        (got_it.with.clone(), missed.with.len()),
        (BTreeSet::from([key(1)]), 0),
        "the two that share are not shown apart"
    );
    assert_eq!(went, Attendance { called: 3, challenged: 3, passed: 2, under_way: 0 });
    // The same two nodes, asked one after the other, pass.
    for habit in [honest(0), Habit { card: 0, ..honest(1) }] {
        assert!(meet(&[habit]).await.0[0].passed);
    }
}

#[tokio::test]
async fn a_dead_node_and_one_that_comes_too_late_hold_nobody_up_beyond_the_deadline() {
    let dead = Habit { ready: None, ..honest(1) };
    let (seen, went) = meet(&[honest(0), dead]).await;
    assert_eq!(seen[0].challenged, Some(Millis(30_000)), "when its connection has given up");
    assert!(seen[0].passed && seen[1].challenged.is_none());
    assert_eq!(went, Attendance { called: 2, challenged: 1, passed: 1, under_way: 0 });
    let late = Habit { ready: Some(Millis(200_000)), ..honest(1) };
    let (seen, went) = meet(&[honest(0), late]).await;
    assert_eq!(seen[0].challenged, Some(PATIENCE.gather));
    assert!(seen[0].passed && seen[0].ended < Millis(100_000));
    assert!(!seen[1].passed && seen[1].challenged.is_none(), "it is not asked alone");
    assert_eq!(went.challenged, 1);
}

#[tokio::test]
async fn whoever_hangs_up_in_its_walk_has_not_passed_with_anybody() {
    let drops = Habit { drops: true, ..honest(1) };
    let (seen, went) = meet(&[honest(0), drops]).await;
    assert!(seen[0].passed && seen[0].with.is_empty());
    assert_eq!((went.challenged, went.passed), (2, 1));
}

#[tokio::test]
async fn a_check_that_panics_gives_its_seat_up() {
    let clock: Arc<dyn Clock> = VirtualClock::new();
    let meeting = Meeting::new(&clock, FleetRules::default(), PATIENCE, BTreeSet::from([key(1), key(2)]));
    assert!(meeting.seat(key(3)).is_none());
    let seat = meeting.seat(key(1)).unwrap();
    let panicked: Result<(), _> = isolated("check-node", async move {
        let _seat = seat;
        panic!("a defect");
    })
    .await;
    assert!(panicked.is_err());
    let mut other = meeting.seat(key(2)).unwrap();
    other.before_work((WORK.as_duration(), FILL.as_duration())).await.unwrap();
    other.before_walk().await;
    assert_eq!(other.answer(true).await, BTreeSet::new());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// Whatever they do: everybody ends, walks begin together, and of the nodes that share a card one at the most passes.
    #[test]
    fn no_habit_of_others_holds_a_node_up_for_ever_or_lets_one_card_pass_twice(
        habits in proptest::collection::vec(
            (proptest::option::of(0u64..120_000), 100u64..9_000, 100u64..3_000, 100u64..6_000, any::<bool>(), 0usize..6), 1..6),
    ) {
        let habits: Vec<Habit> = habits
            .into_iter()
            .map(|(ready, work, fill, walk, drops, card)| Habit {
                ready: ready.map(Millis), takes: [work, fill, walk].map(Millis), drops, card,
            })
            .collect();
        let dead = (habits.len()..6).map(|_| Habit { ready: None, ..honest(0) });
        let padded: Vec<Habit> = habits.iter().cloned().chain(dead).collect();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let (seen, _) = runtime.block_on(meet(&padded));
        let longest = PATIENCE.gather.0 + 1_000 + WORK.0 + FILL.0 + WALK.0;
        let walks: BTreeSet<Millis> = seen.iter().filter_map(|one| one.walked).collect();
        prop_assert!(walks.len() <= 1, "{walks:?}");
        for (one, habit) in seen.iter().zip(&padded) {
            prop_assert!(one.ended.0 <= longest + PATIENCE.end.0);
            prop_assert_eq!(one.passed && habit.ready.is_none(), false);
            let sharers = seen.iter().zip(&padded).filter(|(other, theirs)| other.passed && theirs.card == habit.card);
            prop_assert!(sharers.count() <= 1);
        }
    }
}
