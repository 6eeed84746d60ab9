use proptest::prelude::*;

use super::*;

const POLICY: HealthPolicy = HealthPolicy { interval: Millis(60_000), retries: 3, auto_recovery: true };
const LOST: Event = Event::Failed { cause: Cause::Network, connected: false };

fn failed(cause: Cause) -> Event {
    Event::Failed { cause, connected: false }
}

/// The states that a node goes through.
fn states(policy: &HealthPolicy, events: &[Event]) -> Vec<NodeState> {
    let mut health = Health::new(Timestamp(0));
    let step = |(at, event): (usize, &Event)| {
        health = health.after(*event, policy, Timestamp(i64::try_from(at).unwrap())).0;
        health.state()
    };
    events.iter().enumerate().map(step).collect()
}

#[test]
fn what_can_be_done_is_shown_whole_also_of_a_long_name_and_with_a_configuration() {
    let node = "ubuntu@ec2-203-0-113-111.ap-southeast-2.compute.amazonaws.com:22022".parse().unwrap();
    for cause in [
        Cause::Network,
        Cause::LockedOut,
        Cause::Denied,
        Cause::OwnKey,
        Cause::HostKey,
        Cause::Clock,
        Cause::AuthorizedKeys,
        Cause::Database,
    ] {
        let told = cause
            .remedy(&node)
            .replace("basilica-miner ", "basilica-miner -c /opt/basilica/config/miner.toml ");
        assert_eq!(basilica_status::Words::from(told.as_str()).as_str(), told, "{cause:?}");
    }
}

#[test]
fn a_lost_node_is_tried_as_often_as_configured_before_it_is_called_lost() {
    use NodeState::{Degraded, Healthy, Unreachable};
    let events = [Event::Succeeded, LOST, LOST, LOST, LOST, LOST, Event::Succeeded];
    let expected = [Healthy, Degraded, Degraded, Degraded, Unreachable, Unreachable, Healthy];
    assert_eq!(states(&POLICY, &events), expected);
    assert_eq!(states(&HealthPolicy { retries: 0, ..POLICY }, &[LOST]), [Unreachable]);
    let blip = [Event::Succeeded, LOST, Event::Succeeded, LOST];
    assert_eq!(states(&POLICY, &blip), [Healthy, Degraded, Healthy, Degraded], "a success starts over");
}

#[test]
fn pauses_between_attempts_are_short_and_those_of_a_lock_out_long() {
    let mut health = Health::new(Timestamp(0));
    let pauses: Vec<u64> = (0..5)
        .map(|_| {
            health = health.after(LOST, &POLICY, Timestamp(0)).0;
            health.pause(&POLICY).0
        })
        .collect();
    assert_eq!(pauses, [500, 1000, 2000, 60_000, 60_000]);
    let often = HealthPolicy { interval: Millis(300), ..POLICY };
    let mut health = Health::new(Timestamp(0));
    let pauses: Vec<u64> = (0..8)
        .map(|_| {
            health = health.after(failed(Cause::LockedOut), &often, Timestamp(0)).0;
            health.pause(&often).0 / 1000
        })
        .collect();
    assert_eq!(pauses, [15, 30, 60, 120, 240, 480, 600, 600]);
    let (freed, _) = health.after(Event::Succeeded, &often, Timestamp(0));
    assert!(!freed.is_locked_out());
}

#[test]
fn what_no_second_attempt_can_change_is_told_at_once() {
    for (cause, expected) in [
        (Cause::Denied, NodeState::Unreachable),
        (Cause::OwnKey, NodeState::Unreachable),
        (Cause::LockedOut, NodeState::LockedOut),
        (Cause::HostKey, NodeState::HostKeyChanged),
        (Cause::Clock, NodeState::ClockWrong),
        (Cause::AuthorizedKeys, NodeState::KeyPending),
        (Cause::Database, NodeState::KeyPending),
    ] {
        assert_eq!(states(&POLICY, &[failed(cause)]), [expected], "{cause:?}");
    }
    let hung = Event::Failed { cause: Cause::Network, connected: true };
    assert_eq!(states(&POLICY, &[hung; 4])[3], NodeState::KeyPending, "it logs in and then hangs");
}

#[test]
fn maintenance_stands_above_the_rounds_and_ends_with_nothing_known() {
    use NodeState::{Healthy, Maintenance, Unknown};
    let drained = Event::Ordered(Standing { maintenance: true, held: false });
    let back = Event::Ordered(Standing::default());
    let events = [Event::Succeeded, drained, LOST, LOST, LOST, LOST, Event::Succeeded, back, back];
    let expected = [
        Healthy,
        Maintenance,
        Maintenance,
        Maintenance,
        Maintenance,
        Maintenance,
        Maintenance,
        Unknown,
        Unknown,
    ];
    assert_eq!(states(&POLICY, &events), expected);
}

#[test]
fn a_node_that_is_not_taken_back_by_itself_waits_for_its_operator() {
    use NodeState::{AwaitingOperator, Degraded, Healthy, Unknown};
    let policy = HealthPolicy { retries: 1, auto_recovery: false, ..POLICY };
    let recovered = Event::Ordered(Standing::default());
    let events = [Event::Succeeded, LOST, LOST, Event::Succeeded, recovered, Event::Succeeded];
    let expected = [Healthy, Degraded, AwaitingOperator, AwaitingOperator, Unknown, Healthy];
    assert_eq!(states(&policy, &events), expected);
    let never_seen = states(&policy, &[LOST, LOST, Event::Succeeded]);
    assert_eq!(never_seen, [Degraded, NodeState::Unreachable, Healthy], "it was never in");
}

fn causes() -> impl Strategy<Value = Cause> {
    prop_oneof![
        Just(Cause::Network),
        Just(Cause::LockedOut),
        Just(Cause::Denied),
        Just(Cause::OwnKey),
        Just(Cause::HostKey),
        Just(Cause::Clock),
        Just(Cause::AuthorizedKeys),
        Just(Cause::Database),
    ]
}

fn events() -> impl Strategy<Value = Event> {
    prop_oneof![
        Just(Event::Succeeded),
        (causes(), any::<bool>()).prop_map(|(cause, connected)| Event::Failed { cause, connected }),
        (any::<bool>(), any::<bool>())
            .prop_map(|(maintenance, held)| Event::Ordered(Standing { maintenance, held })),
    ]
}

proptest! {
    #[test]
    fn whatever_happens_orders_stand_above_and_pauses_are_bounded(
        events in proptest::collection::vec(events(), 0..60),
        retries in 0..20_u32,
        interval in 100..600_000_u64,
        auto_recovery: bool,
    ) {
        let policy = HealthPolicy { interval: Millis(interval), retries, auto_recovery };
        let mut health = Health::new(Timestamp(0));
        let mut standing = Standing::default();
        for (at, event) in (1_i64..).zip(events) {
            let before = health;
            let (after, hold) = before.after(event, &policy, Timestamp(at));
            if let Event::Ordered(ordered) = event {
                standing = ordered;
            }
            if hold {
                prop_assert!(!auto_recovery && standing == Standing::default());
                standing.held = true;
            }
            match standing {
                Standing { maintenance: true, .. } => prop_assert_eq!(after.state(), NodeState::Maintenance),
                Standing { held: true, .. } => prop_assert_eq!(after.state(), NodeState::AwaitingOperator),
                Standing { .. } => prop_assert!(
                    !matches!(after.state(), NodeState::Maintenance | NodeState::AwaitingOperator)
                ),
            }
            prop_assert_eq!(after.since(), if after.state() == before.state() { before.since() } else { Timestamp(at) });
            prop_assert!(after.pause(&policy).0 >= 100 && after.pause(&policy) <= Millis(600_000));
            if after.state() == NodeState::Healthy {
                prop_assert!(event == Event::Succeeded || before.state() == NodeState::Healthy);
            }
            prop_assert!(!after.is_retrying() || after.attempts() <= retries);
            health = after;
        }
    }
}
