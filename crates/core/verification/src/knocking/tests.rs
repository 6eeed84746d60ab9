//! Against an sshd that penalises as OpenSSH 9.8 does by default.

use basilica_types::{Hotkey, NodeAddress};
use proptest::prelude::*;

use super::*;

const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

fn at() -> SocketAddr {
    "203.0.113.7:22".parse().unwrap()
}

fn node(miner: u8) -> NodeKey {
    let address: NodeAddress = "root@203.0.113.7:22".parse().unwrap();
    NodeKey { miner: Hotkey::from_bytes([miner; 32]), node: address.node_id() }
}

fn stranger(miner: u8) -> (NodeKey, Party) {
    (node(miner), Party::Miner(node(miner).miner))
}

/// `PerSourcePenalties authfail:5s min:15s max:10m` for the one source that we are.
#[derive(Default)]
struct Sshd {
    until: Option<Timestamp>,
    shut: bool,
}

impl Sshd {
    fn knock(&mut self, lets_in: bool, now: Timestamp) -> Answer {
        let left = self.until.map_or(Millis(0), |until| until.since(now));
        if left == Millis(0) {
            self.shut = false;
        }
        if self.shut {
            return Answer::LockedOut;
        }
        if lets_in {
            return Answer::LetIn;
        }
        let left = Millis((left.0 + 5_000).min(600_000));
        self.until = Some(now + left);
        self.shut = left >= Millis::from_secs(15);
        Answer::Denied
    }
}

/// One registration of the address, as the validator checks it.
struct Registration {
    node: NodeKey,
    party: Party,
    honest: bool,
    due: Timestamp,
    tries: u8,
    answers: Vec<Answer>,
}

/// Checks everybody as due for a day: light every 10 min, a denied login tried again as by default.
fn a_day(honest: u8, strangers: u8, known: bool) -> Vec<Registration> {
    let rules = RetryRules::default();
    let mut all: Vec<Registration> = (0..honest + strangers)
        .map(|miner| Registration {
            node: node(miner),
            party: stranger(miner).1,
            honest: miner < honest,
            due: NOW,
            tries: 0,
            answers: Vec::new(),
        })
        .collect();
    let (mut doors, mut sshd, mut now) = (Doors::new(&RetryRules::DEFAULT), Sshd::default(), NOW);
    while now.since(NOW) < Millis::from_secs(86_400) {
        all.sort_by_key(|registration| registration.due);
        for registration in all.iter_mut().filter(|registration| registration.due <= now) {
            let known = known && registration.honest;
            if let Err(until) = doors.knock(at(), (registration.node, registration.party), known, now) {
                registration.due = until;
                continue;
            }
            let answer = sshd.knock(registration.honest, now);
            doors.answered(at(), registration.node, answer, now);
            registration.answers.push(answer);
            let again = answer == Answer::Denied && registration.tries < rules.retries;
            registration.tries = if again { registration.tries + 1 } else { 0 };
            registration.due = now + if again { rules.interval } else { Millis::from_secs(600) };
        }
        now = all.iter().map(|registration| registration.due).min().unwrap().max(now + Millis(1));
    }
    all
}

#[test]
fn however_many_register_an_address_its_owner_is_never_locked_out() {
    for strangers in [0, 1, 7, 200] {
        for registration in a_day(2, strangers, true) {
            assert!(!registration.answers.contains(&Answer::LockedOut), "{strangers} strangers");
            if registration.honest {
                assert!(registration.answers.len() >= 143, "{strangers} strangers keep it waiting");
            } else {
                assert!(!registration.answers.is_empty() || strangers == 200, "everybody has a turn");
            }
        }
    }
}

#[test]
fn without_doors_three_strangers_lock_the_owner_out() {
    let mut sshd = Sshd::default();
    for _ in 0..3 {
        sshd.knock(false, NOW);
    }
    assert_eq!(sshd.knock(true, NOW), Answer::LockedOut, "what the doors are for");
}

#[test]
fn a_turn_holds_a_whole_series_of_whatever_rules() {
    for (retries, interval) in [(3, 40), (5, 60), (10, 300)] {
        let rules = RetryRules { retries, interval: Millis::from_secs(interval), span: Millis(0) };
        let (mut doors, mut now) = (Doors::new(&rules), NOW);
        for tries in 0..=retries {
            assert!(doors.knock(at(), stranger(1), false, now).is_ok(), "{retries} every {interval} s");
            doors.answered(at(), node(1), Answer::Denied, now);
            let others = doors.clone().knock(at(), stranger(2), false, now + SPACING);
            assert_eq!(others.is_ok(), tries == retries, "then it is another's turn");
            now = now + rules.interval + rules.jitter(u64::MAX) + Millis::from_secs(10);
        }
    }
}

#[test]
fn a_new_owner_waits_for_its_turn_and_then_never_again() {
    let all = a_day(1, 20, false);
    let owner = all.iter().find(|registration| registration.honest).unwrap();
    assert!(owner.answers.len() > 100 && owner.answers.iter().all(|answer| *answer == Answer::LetIn));
}

#[test]
fn after_a_lockout_everybody_waits_and_ever_longer() {
    let mut doors = Doors::new(&RetryRules::DEFAULT);
    let mut now = NOW;
    let mut waits = Vec::new();
    for _ in 0..6 {
        doors.knock(at(), stranger(1), true, now).unwrap();
        doors.answered(at(), node(1), Answer::LockedOut, now);
        let until = doors.knock(at(), stranger(2), true, now).unwrap_err();
        waits.push(until.since(now).0 / 1_000);
        now = until;
    }
    assert_eq!(waits, [60, 120, 240, 480, 600, 600]);
    doors.knock(at(), stranger(1), true, now).unwrap();
    doors.answered(at(), node(1), Answer::LetIn, now);
    doors.answered(at(), node(1), Answer::LockedOut, now);
    let until = doors.knock(at(), stranger(2), true, now).unwrap_err();
    assert_eq!(until.since(now), LOCKOUT[0], "who is let in ends the row");
}

#[test]
fn a_guest_that_is_denied_is_a_stranger_until_it_is_let_in() {
    let mut doors = Doors::new(&RetryRules::DEFAULT);
    doors.knock(at(), stranger(9), false, NOW).unwrap();
    assert!(doors.knock(at(), stranger(1), true, NOW).is_ok());
    doors.answered(at(), node(1), Answer::Denied, NOW);
    assert!(doors.knock(at(), stranger(1), true, NOW + SPACING).is_err(), "it is somebody else's turn");
    doors.answered(at(), node(9), Answer::LetIn, NOW);
    let now = NOW + SPACING;
    doors.knock(at(), stranger(1), true, now).unwrap();
    doors.answered(at(), node(1), Answer::LetIn, now);
    assert!(doors.knock(at(), stranger(1), false, now).is_ok());
}

#[test]
fn addresses_that_nobody_uses_are_forgotten() {
    let mut doors = Doors::new(&RetryRules::DEFAULT);
    for port in 1..=5_000 {
        let at = SocketAddr::new(at().ip(), port);
        doors.knock(at, stranger(1), false, NOW).unwrap();
    }
    assert_eq!(doors.len(), 5_000);
    doors.knock(at(), stranger(1), false, NOW + KEPT + Millis(1)).unwrap();
    assert_eq!(doors.len(), 1);
}

/// The n-th registration of the address by this party.
fn of_party(party: u8, n: u16) -> (NodeKey, Party) {
    let user = format!("u{n}@203.0.113.7:22");
    let address: NodeAddress = user.parse().unwrap();
    // Each under a hotkey of its own.
    let mut hotkey = [party; 32];
    hotkey[..2].copy_from_slice(&n.to_be_bytes());
    let node = NodeKey { miner: Hotkey::from_bytes(hotkey), node: address.node_id() };
    (node, Party::Owner(Coldkey::from_bytes([party; 32])))
}

/// Strangers that are denied for hours and always come back when they may, give or take a few seconds: who began a turn, and when.
fn turns_of(registrations: &[u16], mut late: impl FnMut() -> u64, hours: u64) -> Vec<(u8, Timestamp)> {
    let rules = RetryRules::default();
    let mut doors = Doors::new(&rules);
    let all = (0u8..).zip(registrations).flat_map(|(party, many)| (0..*many).map(move |n| (party, n)));
    let mut due: BTreeMap<(Timestamp, u8, u16), u8> = all.map(|(party, n)| ((NOW, party, n), 0)).collect();
    let mut turns: Vec<(u8, Timestamp)> = Vec::new();
    let mut whose = None;
    while let Some(((now, party, n), tries)) =
        due.pop_first().filter(|((now, ..), _)| now.since(NOW).0 < hours * 3_600_000)
    {
        let who = of_party(party, n);
        let (next, tries) = match doors.knock(at(), who, false, now) {
            Err(until) => (until, tries),
            Ok(()) => {
                if tries == 0 || whose != Some(who.0) {
                    turns.push((party, now));
                    whose = Some(who.0);
                }
                doors.answered(at(), who.0, Answer::Denied, now);
                let again = tries < rules.retries;
                (now + if again { rules.interval } else { WAIT }, if again { tries + 1 } else { 0 })
            }
        };
        due.insert((next + Millis(late()), party, n), tries);
    }
    turns
}

#[test]
fn a_miner_with_hundreds_of_registrations_has_no_more_turns_than_one_with_one() {
    let turns = turns_of(&[300, 1, 1], || 0, 6);
    let of = |party| turns.iter().filter(|(by, _)| *by == party).count();
    assert!(turns.len() > 30, "{}", turns.len());
    assert!(of(0).abs_diff(of(1)) <= 1 && of(1).abs_diff(of(2)) <= 1, "{} {} {}", of(0), of(1), of(2));
}

#[test]
fn registrations_of_one_party_take_turns_among_themselves() {
    let mut doors = Doors::new(&RetryRules::DEFAULT);
    let (mut now, mut served) = (NOW, Vec::new());
    for _ in 0..6 {
        for n in 0..3 {
            if doors.knock(at(), of_party(1, n), false, now).is_ok() {
                doors.answered(at(), of_party(1, n).0, Answer::Silent, now);
                served.push(n);
            }
        }
        now = now + SPACING;
    }
    assert_eq!(served, [0, 1, 2, 0, 1, 2]);
}

#[test]
fn who_does_not_come_back_is_not_waited_for_long() {
    let mut doors = Doors::new(&RetryRules::DEFAULT);
    doors.knock(at(), stranger(1), false, NOW).unwrap();
    assert!(doors.knock(at(), stranger(2), false, NOW).is_err());
    doors.answered(at(), node(1), Answer::Silent, NOW);
    let soon = NOW + EXPECTED;
    assert!(doors.clone().knock(at(), stranger(2), false, soon).is_ok());
    assert!(doors.knock(at(), stranger(1), false, soon).is_err(), "the other is expected back");
    assert!(doors.knock(at(), stranger(1), false, soon + Millis(1)).is_ok(), "it did not come");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn nobody_has_two_turns_while_another_waits(
        registrations in proptest::collection::vec(1..12u16, 2..6),
        seed in any::<u64>(),
    ) {
        let mut state = seed;
        let late = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 33) % 15_000
        };
        let turns = turns_of(&registrations, late, 5);
        let parties = registrations.len();
        prop_assert!(turns.len() > 4 * parties, "{} turns", turns.len());
        // Everybody always waits: from the second round on each has a turn in each.
        let whose: Vec<u8> = turns.iter().map(|(party, _)| *party).collect();
        for round in whose.windows(parties).skip(parties) {
            let distinct: BTreeSet<u8> = round.iter().copied().collect();
            prop_assert_eq!(distinct.len(), parties, "{:?}", whose);
        }
    }
}

proptest! {
    #[test]
    fn strangers_together_never_knock_oftener_than_sshd_forgives(
        asks in proptest::collection::vec((0..9u8, 0..60_000u64), 1..200),
    ) {
        let (mut doors, mut sshd, mut now) = (Doors::new(&RetryRules::DEFAULT), Sshd::default(), NOW);
        for (miner, pause) in asks {
            now = now + Millis(pause);
            if doors.knock(at(), stranger(miner), false, now).is_ok() {
                let answer = sshd.knock(false, now);
                prop_assert_eq!(answer, Answer::Denied);
                doors.answered(at(), node(miner), answer, now);
            }
        }
    }
}
