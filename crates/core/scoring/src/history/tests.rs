//! RULES R1 to R3 and R10 as histories.

mod gpus;
mod records;

use super::*;
use proptest::prelude::*;

const MINUTE: u64 = 60_000;
const START: Timestamp = Timestamp::from_secs(1_800_000_000);

fn at(ms: u64) -> Timestamp {
    START + Millis(ms)
}

fn check(ms: u64, kind: CheckKind, failure: Option<(Failure, Fault)>) -> Entry {
    Entry::Check(Check { started: at(ms), finished: at(ms), kind, failure })
}

fn pass(ms: u64) -> Entry {
    check(ms, CheckKind::Full, None)
}

fn light(ms: u64) -> Entry {
    check(ms, CheckKind::Light, None)
}

fn rejected(ms: u64) -> Entry {
    check(ms, CheckKind::Full, Some((Failure::Proof, Fault::ConfirmedNode)))
}

fn dead(ms: u64) -> Entry {
    check(ms, CheckKind::Light, Some((Failure::Reachability, Fault::ConfirmedNode)))
}

fn gone(ms: u64, absence: Absence) -> Entry {
    Entry::Unavailable(at(ms), absence)
}

fn stand(history: &[Entry], now_ms: u64) -> Standing {
    standing(history, &Policy::default(), at(now_ms))
}

/// End of the ban, in milliseconds after the start.
fn ban_end(history: &[Entry], now_ms: u64) -> Option<u64> {
    stand(history, now_ms).banned_until.map(|until| until.since(START).0)
}

#[test]
fn ban_table_of_rules_r3() {
    let (h, d) = (HOUR, DAY);
    assert_eq!(ban_end(&[rejected(0)], 1), None);
    // A pass after each failure keeps the "still failing" rule out of the table.
    let twice = [rejected(0), rejected(30 * MINUTE), pass(31 * MINUTE)];
    assert_eq!(ban_end(&twice, 32 * MINUTE), Some(h));
    let mut history = twice.to_vec();
    history.extend([rejected(2 * h), pass(2 * h + 1)]);
    assert_eq!(ban_end(&history, 2 * h + 2), Some(14 * h), "third within 6 h: 12 h");
    history.extend([rejected(30 * h), pass(30 * h + 1)]);
    assert_eq!(ban_end(&history, 30 * h + 2), Some(30 * h + 3 * d), "fourth at +30 h: 3 d");
    let spread = [rejected(0), pass(1), rejected(2 * d), pass(2 * d + 1), rejected(4 * d), pass(4 * d + 1)];
    assert_eq!(ban_end(&spread, 4 * d + 2), Some(11 * d), "three events two days apart: 7 d");
    let half_day =
        [rejected(0), pass(1), rejected(5 * h), pass(5 * h + 1), rejected(12 * h), pass(12 * h + 1)];
    assert_eq!(
        ban_end(&half_day, 12 * h + 2),
        Some(36 * h),
        "windows are closed: exactly 12 h is the 24 h row"
    );
}

#[test]
fn a_dead_host_is_one_event_no_ban_and_a_reset_ramp() {
    let mut history = vec![pass(0)];
    history.extend((0..180).map(|i| dead(HOUR + i * 2 * MINUTE)));
    let standing = stand(&history, 7 * HOUR);
    assert_eq!(standing.banned_until, None);
    assert_eq!(standing.multiplier, Ppm::ZERO);
}

#[test]
fn an_outage_that_only_full_checks_see_is_one_event_until_one_passes() {
    let blocked = |ms| check(ms, CheckKind::Full, Some((Failure::Service, Fault::ConfirmedNode)));
    let day = |begin: u64| {
        (0..48).flat_map(move |i| [blocked(begin + i * 30 * MINUTE), light(begin + i * 30 * MINUTE + 1)])
    };
    let mut history: Vec<Entry> = std::iter::once(pass(0)).chain(day(HOUR)).collect();
    let standing = stand(&history, DAY);
    assert_eq!((standing.gate, standing.banned_until), (Gate::FullCheckFailed, None));
    let hour = u32::try_from(HOUR * 1_000_000 / Policy::default().ramp.0).unwrap();
    assert_eq!(standing.multiplier.value(), hour, "it is not down: the ramp waits");
    history.extend([pass(2 * DAY), blocked(2 * DAY + 1), pass(2 * DAY + 2), blocked(2 * DAY + 3)]);
    assert!(stand(&history, 2 * DAY + 4).banned_until.is_some(), "a passed one ends it");
}

#[test]
fn a_service_that_fails_is_no_failed_login_and_no_part_of_an_outage() {
    let failed = |ms, kind| check(ms, kind, Some((Failure::Service, Fault::ConfirmedNode)));
    let blocked = |ms| failed(ms, CheckKind::Full);
    let history = [pass(0), blocked(HOUR), blocked(2 * HOUR), pass(3 * HOUR)];
    assert_eq!(stand(&history, 3 * HOUR).score, BasisPoints::ONE, "it was logged in each time");
    let glitch = [pass(0), blocked(HOUR), dead(2 * HOUR), light(2 * HOUR + MINUTE), pass(3 * HOUR)];
    assert!(stand(&glitch, 4 * HOUR).multiplier > Ppm::ZERO, "a minute's outage is a minute long");
    let stopped = [pass(0), failed(HOUR, CheckKind::Light), light(2 * HOUR)];
    let ramp = |ms: u64| u32::try_from(ms * 1_000_000 / Policy::default().ramp.0).unwrap();
    assert_eq!(
        stand(&stopped, 3 * HOUR).multiplier.value(),
        ramp(2 * HOUR),
        "a light check sees that it works again"
    );
}

#[test]
fn a_short_confirmed_outage_only_pauses() {
    let history = [pass(0), dead(HOUR), dead(HOUR + 20 * MINUTE), light(HOUR + 30 * MINUTE)];
    let ramp = Policy::default().ramp.0;
    let expected = u32::try_from((HOUR + HOUR / 2) * 1_000_000 / ramp).unwrap();
    assert_eq!(stand(&history, 2 * HOUR).multiplier.value(), expected);
}

#[test]
fn unconfirmed_failures_neither_ban_nor_reset() {
    let doubt = Some((Failure::Reachability, Fault::Network));
    let mut history = vec![pass(0)];
    history.extend((1..50).map(|i| check(i * 10 * MINUTE, CheckKind::Light, doubt)));
    let standing = stand(&history, 9 * HOUR);
    assert_eq!((standing.gate, standing.banned_until), (Gate::Open, None));
    assert_eq!(standing.score, BasisPoints::ONE, "they count in neither numerator nor denominator");
    let ramp = Policy::default().ramp.0;
    assert_eq!(
        u64::from(standing.multiplier.value()),
        10 * MINUTE * 1_000_000 / ramp,
        "paused since the first"
    );
}

#[test]
fn a_rejected_proof_resets_at_once_and_closes_the_gate() {
    let standing = stand(&[pass(0), rejected(13 * DAY)], 13 * DAY + 1);
    assert_eq!(standing.gate, Gate::FullCheckFailed);
    assert_eq!((standing.score, standing.multiplier), (BasisPoints::ZERO, Ppm::ZERO));
}

#[test]
fn the_gate_names_its_reason() {
    assert_eq!(stand(&[], 0).gate, Gate::AwaitingFullCheck);
    assert_eq!(stand(&[light(0)], 1).gate, Gate::AwaitingFullCheck);
    assert_eq!(stand(&[pass(0)], 12 * HOUR).gate, Gate::Open);
    assert_eq!(stand(&[pass(0)], 12 * HOUR + 1).gate, Gate::FullCheckStale);
    assert_eq!(stand(&[pass(0), gone(1, Absence::Maintenance)], 2).gate, Gate::Unavailable);
    let back = [pass(0), gone(1, Absence::Maintenance), Entry::Available(at(2)), light(3)];
    assert_eq!(
        stand(&back, 4).gate,
        Gate::AwaitingFullCheck,
        "a passed full check is needed before weight returns"
    );
}

#[test]
fn score_is_half_success_rate_half_full_result() {
    let history = [pass(0), light(1), light(2), dead(3), light(4)];
    assert_eq!(stand(&history, 5).score, BasisPoints::new(9_000).unwrap(), "4 of 5 attempts");
    assert_eq!(stand(&[pass(0), light(1)], 2).score, BasisPoints::ONE);
}

#[test]
fn a_ban_ends_by_itself_if_the_next_check_passes() {
    let history = [rejected(0), rejected(30 * MINUTE)];
    assert_eq!(ban_end(&history, HOUR - 1), Some(HOUR));
    assert_eq!(stand(&history, HOUR).gate, Gate::FullCheckFailed, "no check, no event");
    let repaired = [history[0], history[1], pass(HOUR + 5)];
    assert_eq!(stand(&repaired, HOUR + 6).gate, Gate::Open);
    let absent = [history[0], history[1], gone(31 * MINUTE, Absence::Maintenance)];
    assert_eq!(ban_end(&absent, 5 * DAY), None, "bans do not breed while nobody looks");
}

#[test]
fn a_node_still_failing_after_its_ban_gets_a_new_event_with_its_next_failed_check() {
    let mut history = vec![rejected(0), rejected(20 * MINUTE), dead(25 * MINUTE)];
    assert_eq!(ban_end(&history, 26 * MINUTE), Some(25 * MINUTE + 12 * HOUR), "third event within 6 h");
    history.extend((1..=20).map(|i| dead(25 * MINUTE + i * 30 * MINUTE)));
    assert_eq!(
        ban_end(&history, 12 * HOUR),
        Some(25 * MINUTE + 12 * HOUR),
        "one event until the next success"
    );
    let after = 13 * HOUR;
    history.push(dead(after));
    assert_eq!(ban_end(&history, after), Some(after + 3 * DAY), "fourth event, 13 h after the first");
    history.push(dead(after + HOUR));
    assert_eq!(ban_end(&history, after + HOUR), Some(after + 3 * DAY));
}

#[test]
fn time_that_others_took_does_not_age_the_last_full_check() {
    let fault = |ms, fault| check(ms, CheckKind::Light, Some((Failure::Reachability, fault)));
    let others =
        [pass(0), fault(6 * HOUR, Fault::Validator), fault(9 * HOUR, Fault::Network), light(10 * HOUR)];
    assert_eq!(stand(&others, 16 * HOUR).gate, Gate::Open, "16 h less 4 h are 12 h");
    assert_eq!(stand(&others, 16 * HOUR + 1).gate, Gate::FullCheckStale);
    assert_eq!(stand(&others[..2], 36 * HOUR).gate, Gate::Open, "still going on: at most 24 h");
    assert_eq!(stand(&others[..2], 36 * HOUR + 1).gate, Gate::FullCheckStale);
    let own = [pass(0), fault(6 * HOUR, Fault::SuspectedNode)];
    assert_eq!(stand(&own, 12 * HOUR + 1).gate, Gate::FullCheckStale);
}

#[test]
fn a_full_check_that_a_dead_node_failed_closes_the_gate() {
    let dead = check(HOUR, CheckKind::Full, Some((Failure::Reachability, Fault::ConfirmedNode)));
    assert_eq!(stand(&[pass(0), dead, light(2 * HOUR)], 3 * HOUR).gate, Gate::FullCheckFailed);
}

#[test]
fn not_listing_a_node_that_is_down_saves_no_ramp() {
    let ramp = |history: &[Entry], now| stand(history, now).multiplier;
    for absence in [Absence::Unreachable, Absence::Unlisted] {
        let history = [pass(0), gone(DAY, absence)];
        assert!(ramp(&history, DAY + 30 * MINUTE) > Ppm::ZERO, "{absence:?}");
        assert_eq!(ramp(&history, DAY + 30 * MINUTE + 1), Ppm::ZERO, "{absence:?}");
    }
    let alternating = (0..4).flat_map(|i| {
        let start = DAY + i * 20 * MINUTE;
        [gone(start, Absence::Unreachable), gone(start + 19 * MINUTE, Absence::Maintenance)]
    });
    let history: Vec<Entry> = std::iter::once(pass(0)).chain(alternating).collect();
    assert_eq!(ramp(&history, DAY + 80 * MINUTE), Ppm::ZERO, "a change of reason starts no new tolerance");
    for absence in [Absence::Maintenance, Absence::KeyPending] {
        let back = |ms| Entry::Available(at(ms));
        let once = [pass(0), gone(DAY, absence), back(DAY + 4 * HOUR)];
        assert!(ramp(&once, DAY + 5 * HOUR) > Ppm::ZERO, "{absence:?}: four hours are tolerated");
        let again = [once.as_slice(), &[pass(DAY + 5 * HOUR), gone(2 * DAY, absence)]].concat();
        assert!(ramp(&again, 2 * DAY + 30 * MINUTE) > Ppm::ZERO);
        assert_eq!(ramp(&again, 2 * DAY + 31 * MINUTE), Ppm::ZERO, "{absence:?}: in any 14 days");
        let later = [once.as_slice(), &[pass(DAY + 5 * HOUR), gone(16 * DAY, absence)]].concat();
        assert!(ramp(&later, 16 * DAY + 4 * HOUR) > Ppm::ZERO, "{absence:?}: after 14 days it starts anew");
    }
}

#[test]
fn the_ramp_waits_during_a_ban() {
    let policy = Policy { ramp: Millis(10 * HOUR), ..Policy::default() };
    let rental = |ms| check(ms, CheckKind::Light, Some((Failure::Rental, Fault::ConfirmedNode)));
    // Rental failures ban without resetting the ramp.
    let history = [pass(0), rental(HOUR), light(HOUR), rental(HOUR), light(HOUR), rental(HOUR), light(HOUR)];
    let during = standing(&history, &policy, at(5 * HOUR));
    assert_eq!(during.gate, Gate::Banned);
    assert_eq!(during.multiplier.value(), 100_000);
    let after = standing(&history, &policy, at(14 * HOUR));
    assert_eq!(after.multiplier.value(), 200_000, "one hour before the ban, one after its 12 hours");
}

#[test]
fn honest_nodes_reach_the_full_multiplier_in_time() {
    let mut history = vec![];
    for i in 0..=(14 * 24 + 6) {
        history.push(if i % 6 == 0 { pass(i * HOUR) } else { light(i * HOUR) });
    }
    assert_eq!(stand(&history, 14 * DAY).multiplier, Ppm::ONE);
}

fn any_entry() -> impl Strategy<Value = (u64, u8)> {
    (0u64..9 * DAY / MINUTE, 0u8..14)
}

fn entry(minute: u64, shape: u8) -> Entry {
    let ms = minute * MINUTE;
    match shape {
        0 => rejected(ms),
        1 => dead(ms),
        2 => check(ms, CheckKind::Light, Some((Failure::Rental, Fault::ConfirmedNode))),
        3 => check(ms, CheckKind::Full, Some((Failure::Hardware, Fault::ConfirmedNode))),
        4 => check(ms, CheckKind::Light, Some((Failure::Reachability, Fault::Unknown))),
        5 => light(ms),
        6 => gone(ms, Absence::Maintenance),
        7 => gone(ms, Absence::Unreachable),
        8 => Entry::Available(at(ms)),
        9 => Entry::Moved(at(ms)),
        10 => check(ms, CheckKind::Light, Some((Failure::Reachability, Fault::Validator))),
        _ => pass(ms),
    }
}

fn history_of(mut moments: Vec<(u64, u8)>) -> Vec<Entry> {
    moments.sort_unstable();
    moments.into_iter().map(|(minute, shape)| entry(minute, shape)).collect()
}

proptest! {
    /// Of the rule alone: each event is followed by a pass. (A node that keeps failing gets its next event when a ban
    /// ends, so a longer ban then moves that event.)
    #[test]
    fn inserting_an_event_never_ends_a_ban_earlier(
        events in proptest::collection::vec((0u64..9 * DAY / MINUTE, 0u8..4), 0..30),
        extra in (0u64..9 * DAY / MINUTE, 0u8..4),
        now in 0u64..10 * DAY,
    ) {
        let bans = |mut events: Vec<(u64, u8)>| {
            events.sort_unstable();
            let history: Vec<Entry> =
                events.into_iter().flat_map(|(m, shape)| [entry(m, shape), pass(m * MINUTE)]).collect();
            stand(&history, now).banned_until
        };
        let before = bans(events.clone());
        let mut more = events;
        more.push(extra);
        prop_assert!(bans(more) >= before);
    }

    #[test]
    fn a_closed_gate_scores_nothing_and_an_open_one_at_least_half(
        moments in proptest::collection::vec(any_entry(), 0..40), now in 0u64..10 * DAY,
    ) {
        let standing = stand(&history_of(moments), now);
        if standing.gate == Gate::Open {
            prop_assert!(standing.score.value() >= 5_000);
        } else {
            prop_assert_eq!(standing.score, BasisPoints::ZERO);
        }
    }

    #[test]
    fn the_future_does_not_change_the_present(
        moments in proptest::collection::vec(any_entry(), 0..30), now in 0u64..9 * DAY,
    ) {
        let all = history_of(moments.clone());
        let past = history_of(moments.into_iter().filter(|(minute, _)| minute * MINUTE <= now).collect());
        prop_assert_eq!(stand(&all, now), stand(&past, now));
    }
}
