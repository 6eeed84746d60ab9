//! Weights across crashes: a pass is cut off at every step, everything in memory is lost, and another one goes on.

use std::pin::pin;
use std::task::Poll;

use super::*;

/// Nothing lost, nothing twice: one window on disk, concluded and read back; one extrinsic on chain.
async fn assert_set_once(world: &World, after: &str) {
    let windows = world.store().await.windows(10).await.unwrap();
    assert_eq!(windows.len(), 1, "one window after {after}");
    assert!(matches!(windows[0].state, WindowState::Ended(WindowEnd::Set { .. })), "{after}");
    assert_eq!(windows[0].read_back.as_ref(), Some(&windows[0].opened.expected), "{after}");
    let (nonce, included) = world.chain.with(|state| (state.nonce, state.included.len()));
    assert_eq!((nonce, included), (1, 1), "weights are set once after {after}");
}

#[tokio::test]
async fn a_hotkey_that_lost_its_uid_has_no_weights_whatever_that_uid_holds() {
    let world = World::new();
    world.judge_a_node().await;
    let shared = world.boot().await;
    while !matches!(reconcile(&shared).await.unwrap(), Report::Advanced(WindowState::Ended(_))) {}
    world.chain.with(|state| state.deregistered = true);
    assert_eq!(reconcile(&shared).await.unwrap(), Report::ReadBack(false));
    assert_eq!(world.store().await.windows(1).await.unwrap()[0].read_back, Some(Vec::new()));
}

#[tokio::test]
async fn killed_at_any_step_the_weights_are_set_once_and_none_is_lost() {
    let mut steps = 0;
    loop {
        let world = World::new();
        world.judge_a_node().await;
        world.chain.with(|state| state.fuse = Some(steps));
        let first = world.boot().await;
        let lived = world.live(&first).await;
        drop(first);
        world.chain.with(|state| state.fuse = None);
        // The restarted validator sees the chain as it is now; nothing of the first is left in memory.
        if !lived {
            let second = world.boot().await;
            assert!(world.live(&second).await);
        }
        assert_set_once(&world, &format!("a kill at step {steps}")).await;
        if lived {
            break;
        }
        steps += 1;
    }
    assert!(steps >= 8, "every call of the chain was cut off on both sides, {steps} in all");
}

#[tokio::test]
async fn dropped_between_any_two_polls_the_weights_are_set_once() {
    let mut polls = 0;
    loop {
        let world = World::new();
        world.judge_a_node().await;
        let first = world.boot().await;
        let lived = {
            let mut pass = pin!(world.live(&first));
            let mut left = polls;
            std::future::poll_fn(|context| {
                if left == 0 {
                    return Poll::Ready(false);
                }
                left -= 1;
                pass.as_mut().poll(context)
            })
            .await
        };
        drop(first);
        let second = world.boot().await;
        // The first may have finished; then the next window is not due and nothing happens.
        for _ in 0..4 {
            if let Report::Waiting(_) = reconcile(&second).await.unwrap() {
                break;
            }
        }
        assert_set_once(&world, &format!("{polls} polls")).await;
        if lived {
            break;
        }
        polls += 1;
    }
    assert!(polls >= 5, "the pass was cut off between its polls, {polls} in all");
}

#[tokio::test]
async fn an_extrinsic_that_died_unincluded_is_followed_by_one_new_window() {
    let world = World::new();
    world.judge_a_node().await;
    // Dies after the window was stored and before its bytes were submitted: rules, prepare, both sides.
    world.chain.with(|state| state.fuse = Some(4));
    let first = world.boot().await;
    assert!(!world.live(&first).await);
    drop(first);
    world.chain.with(|state| {
        state.fuse = None;
        state.head += 100;
    });
    let second = world.boot().await;
    assert_eq!(
        reconcile(&second).await.unwrap(),
        Report::Advanced(WindowState::Ended(WindowEnd::Expired(Expiry::EraOver)))
    );
    assert!(world.live(&second).await);
    let windows = world.store().await.windows(10).await.unwrap();
    assert_eq!(windows.len(), 2);
    assert_eq!(world.chain.with(|state| (state.nonce, state.included.len())), (1, 1));
}

#[tokio::test]
async fn weights_wait_for_the_first_score_and_for_the_next_window() {
    let world = World::new();
    let shared = world.boot().await;
    assert_eq!(reconcile(&shared).await.unwrap(), Report::NoScore);
    world.judge_a_node().await;
    assert!(world.live(&shared).await);
    let Report::Waiting(wait) = reconcile(&shared).await.unwrap() else {
        panic!("the next window is not due")
    };
    assert_eq!((wait.until, wait.why), (Some(BlockNumber(111)), Waiting::Interval { interval: 10 }));
    world.chain.with(|state| state.head = 111);
    assert!(world.live(&shared).await);
    assert_eq!(world.chain.with(|state| state.included.len()), 2);
}

/// The weights that the chain holds when everything is burnt.
fn all_burnt() -> Vec<(Uid, Weight)> {
    vec![(Uid(0), Weight(65_535))]
}

#[tokio::test]
async fn once_weights_were_set_the_loss_of_all_scores_burns_everything() {
    let world = World::new();
    let key = world.judge_a_node().await;
    let first = world.boot().await;
    assert!(world.live(&first).await);
    assert_ne!(world.chain.with(|state| state.weights.clone()), all_burnt());
    drop(first);
    let second = world.boot().await;
    let banned = StoredStanding {
        gate: "executor_banned".into(),
        score: BasisPoints::ZERO,
        multiplier: Ppm::ONE,
        banned_until: Some(second.now() + Millis::from_secs(3_600)),
        at: second.now(),
    };
    second.ports.store.record_standings(&[(key, banned)]).await.unwrap();
    world.chain.with(|state| state.head = 111);
    assert!(world.live(&second).await);
    assert_eq!(world.chain.with(|state| state.weights.clone()), all_burnt());
    // Nobody is listed any more: the same.
    second.ports.store.record_discovery(MINER, &[], second.now()).await.unwrap();
    world.clock.advance(second.settings.score_max_age);
    world.clock.advance(Millis(1));
    world.chain.with(|state| state.head = 222);
    assert!(world.live(&second).await);
    assert_eq!(world.chain.with(|state| state.included.len()), 3);
}

#[tokio::test]
async fn a_uid_that_changed_hands_is_not_paid_for_its_predecessor() {
    let world = World::new();
    world.judge_a_node().await;
    let shared = world.boot().await;
    assert!(world.live(&shared).await);
    assert_ne!(world.chain.with(|state| state.weights.clone()), all_burnt());
    // The shared view still knows the miner by that uid.
    world.chain.with(|state| (state.taken_over, state.head) = (true, 111));
    assert!(world.live(&shared).await);
    assert_eq!(world.chain.with(|state| state.weights.clone()), all_burnt());
}

#[tokio::test]
async fn a_refused_window_stays_unready_with_its_error_until_one_ends_well() {
    let world = World::new();
    let shared = world.boot().await;
    let readiness = |report: Report| {
        explain(&shared, &Ok(report));
        world.readiness.report().into_iter().find(|(name, _)| *name == "weights").unwrap().1
    };
    let block = BlockNumber(5);
    let error = "SubtensorModule.NotEnoughStakeToSetWeights".to_owned();
    let waiting = || Report::Waiting(Wait { until: None, why: Waiting::AfterRefusal });
    readiness(Report::Advanced(WindowState::Ended(WindowEnd::Refused { block, error }))).unwrap_err();
    let why = readiness(waiting()).unwrap_err();
    assert!(why.contains("NotEnoughStakeToSetWeights"), "{why}");
    readiness(Report::Advanced(WindowState::Ended(WindowEnd::Set { block }))).unwrap();
    readiness(waiting()).unwrap();
    readiness(Report::ReadBack(false)).unwrap_err();
    readiness(waiting()).unwrap_err();
}

#[tokio::test]
async fn while_scoring_is_stuck_the_weights_stay_and_readiness_says_why() {
    let world = World::new();
    let key = world.judge_a_node().await;
    let shared = world.boot().await;
    assert!(world.live(&shared).await);
    let before = world.chain.with(|state| state.weights.clone());
    world.clock.advance(shared.settings.score_max_age);
    world.clock.advance(Millis(1));
    world.chain.with(|state| state.head = 111);
    let report = reconcile(&shared).await.unwrap();
    assert_eq!(report, Report::StaleScores);
    Explanation::of(&report, shared.now()).show(&shared);
    let why =
        world.readiness.report().into_iter().find(|(name, _)| *name == "weights").unwrap().1.unwrap_err();
    assert!(why.contains("no node has been scored"), "{why}");
    assert_eq!(world.chain.with(|state| state.weights.clone()), before);
    // A pass of scoring, and it goes on.
    let mut standing = shared.ports.store.node(key).await.unwrap().unwrap().standing.unwrap();
    standing.at = shared.now();
    shared.ports.store.record_standings(&[(key, standing)]).await.unwrap();
    assert!(world.live(&shared).await);
}
