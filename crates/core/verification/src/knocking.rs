//! Who may log in at an address now, so that logins that fail cost nobody else (RULES R10, R25).
//!
//! sshd counts failed logins against the *source*, which is the validator, whatever user and key they were with
//! (`PerSourcePenalties`, OpenSSH ≥ 9.8: 5 s for each failed login, shut out from 15 s on). So whoever registers somebody else's address makes
//! the validator fail there, and enough of them would have it shut out of a node that has done nothing. Hence, per resolved
//! address:
//!
//! - who was let in there before, a *guest*, may always knock;
//! - of all others, *strangers*, one may knock at a time, for one series of tries; then it is the next one's turn. What a
//!   series may cost (knocks, [`SPACING`] apart) stays below the least penalty that shuts out;
//! - turns go round among those who own the registrations ([`Party`]), not among registrations: of those that wait, the next is of
//!   whoever had a turn least lately. A thousand users at one address, or names of it, wait as long as one;
//! - after a lockout nobody knocks for a while, which doubles with each further one.
//!
//! A guest that is denied is a stranger from then on. Addresses are those that names were resolved to: a hundred names of
//! one address are one address. Nothing here is stored: after a restart whoever passed a check before is a guest, and who has yet to
//! log in for the first time waits for its turn.
//!
//! Rejected: a budget that all registrations of an address share (the strangers use it up), and backing off per
//! registration alone (there can be any number of registrations). A queue: who stands first in it may have been unlisted since, and
//! everybody would wait for it; so who asks is compared with those that asked a moment ago.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use basilica_types::{Coldkey, Hotkey, Millis, NodeKey, Timestamp};

use crate::RetryRules;

/// Least time between two knocks of strangers at one address: longer than the penalty of one denied login.
pub const SPACING: Millis = Millis::from_secs(10);
/// A stranger that does not come back loses its turn: after twice the longest wait between two tries, and what logging in takes.
const LOGIN: Millis = Millis::from_secs(30);
/// How long a stranger waits that may not knock.
const WAIT: Millis = Millis::from_secs(20);
/// For so long a stranger that was told to wait is expected back before others, and nobody knocks if it does not come.
const EXPECTED: Millis = Millis::from_secs(60);
/// After the first lockout, and the longest: sshd's default `max` penalty.
pub(crate) const LOCKOUT: [Millis; 2] = [Millis::from_secs(60), Millis::from_secs(600)];
/// Since when a stranger waits is forgotten when it has not asked for so long.
const FORGOTTEN: Millis = LOCKOUT[1];
/// What nobody used for so long is forgotten.
const KEPT: Millis = Millis::from_secs(86_400);

/// Who has a share of the turns at an address: whoever owns the hotkeys, as far as that is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Party {
    /// The owner of a miner's hotkey.
    Owner(Coldkey),
    /// A miner whose owner is not known.
    Miner(Hotkey),
}

/// How a knock was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Answer {
    /// Logged in.
    LetIn,
    /// sshd counts it against us: a denied login, or a handshake that we gave up because of the host key.
    Denied,
    /// sshd shuts us out.
    LockedOut,
    /// Nobody was there to count anything.
    Silent,
}

/// All addresses where somebody knocked lately.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Doors {
    doors: BTreeMap<SocketAddr, Door>,
    swept: Option<Timestamp>,
    turns: Turns,
}

/// What a stranger's turn holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Turns {
    /// Denied logins: a try and its retries, or its series would never conclude (RULES R4).
    tries: u8,
    /// It is over without another knock for so long.
    pause: Millis,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Door {
    shut_until: Option<Timestamp>,
    /// In a row.
    lockouts: u32,
    turn: Option<Turn>,
    last_stranger: Option<Timestamp>,
    /// Strangers that were told to wait.
    waiting: BTreeMap<NodeKey, Waits>,
    /// When each party's last turn began.
    served: BTreeMap<Party, Timestamp>,
    guests: BTreeSet<NodeKey>,
    /// Guests of before that are none any more.
    denied: BTreeSet<NodeKey>,
    used: Option<Timestamp>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Turn {
    whose: NodeKey,
    last: Timestamp,
    denied: u8,
}

/// A stranger that waits for its turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Waits {
    party: Party,
    since: Timestamp,
    asked: Timestamp,
}

impl Door {
    /// The stranger that is next, of those that are expected back.
    fn next(&self, now: Timestamp) -> Option<NodeKey> {
        let expected = self.waiting.iter().filter(|(_, waits)| now.since(waits.asked) <= EXPECTED);
        let next = expected.min_by_key(|(node, waits)| (self.served.get(&waits.party), waits.since, **node));
        next.map(|(node, _)| *node)
    }

    fn waits(&mut self, node: NodeKey, party: Party, now: Timestamp) {
        let first = Waits { party, since: now, asked: now };
        let waits = self.waiting.entry(node).or_insert(first);
        (waits.party, waits.asked) = (party, now);
    }

    fn begin_turn(&mut self, node: NodeKey, party: Party, now: Timestamp) {
        self.waiting.remove(&node);
        self.waiting.retain(|_, waits| now.since(waits.asked) <= FORGOTTEN);
        self.served.retain(|_, at| now.since(*at) <= KEPT);
        self.served.insert(party, now);
        self.turn = Some(Turn { whose: node, last: now, denied: 0 });
    }
}

impl Turn {
    fn is_over(&self, turns: &Turns, now: Timestamp) -> bool {
        self.denied >= turns.tries || now.since(self.last) > turns.pause
    }
}

impl Doors {
    /// Nobody knocked anywhere yet; tries are repeated by these rules.
    pub fn new(retries: &RetryRules) -> Self {
        // A retry comes up to half an interval late ([`RetryRules::jitter`]).
        let pause = Millis(retries.interval.0.saturating_mul(3).saturating_add(LOGIN.0));
        let turns = Turns { tries: retries.retries.saturating_add(1), pause };
        Self { doors: BTreeMap::new(), swept: None, turns }
    }

    /// Denied logins of a stranger in one turn.
    pub const fn tries(&self) -> u8 {
        self.turns.tries
    }

    /// Whether a node of this party may knock at this address now; if not, when it may ask again. `known`: it passed a check before.
    /// What is allowed is to be done at once, and its [`Answer`] told.
    pub fn knock(
        &mut self,
        at: SocketAddr,
        (node, party): (NodeKey, Party),
        known: bool,
        now: Timestamp,
    ) -> Result<(), Timestamp> {
        self.sweep(now);
        let door = self.doors.entry(at).or_default();
        door.used = Some(now);
        if let Some(until) = door.shut_until.filter(|until| *until > now) {
            return Err(until);
        }
        if door.guests.contains(&node) || (known && !door.denied.contains(&node)) {
            return Ok(());
        }
        let turn = door.turn.filter(|turn| !turn.is_over(&self.turns, now));
        if turn.is_none_or(|turn| turn.whose != node) {
            door.waits(node, party, now);
        }
        if door.last_stranger.is_some_and(|last| now.since(last) < SPACING) {
            return Err(now + SPACING);
        }
        match turn {
            Some(turn) if turn.whose != node => return Err(now + WAIT),
            Some(turn) => door.turn = Some(Turn { last: now, ..turn }),
            None if door.next(now) != Some(node) => return Err(now + SPACING),
            None => door.begin_turn(node, party, now),
        }
        door.last_stranger = Some(now);
        Ok(())
    }

    /// Takes note of how a knock was answered.
    pub fn answered(&mut self, at: SocketAddr, node: NodeKey, answer: Answer, now: Timestamp) {
        let door = self.doors.entry(at).or_default();
        door.used = Some(now);
        let turn = door.turn.filter(|turn| turn.whose == node);
        match answer {
            Answer::LetIn => {
                door.guests.insert(node);
                door.denied.remove(&node);
                door.waiting.remove(&node);
                (door.shut_until, door.lockouts) = (None, 0);
                if turn.is_some() {
                    door.turn = None;
                }
            }
            Answer::Denied => {
                door.guests.remove(&node);
                door.denied.insert(node);
                if let Some(turn) = turn {
                    door.turn = Some(Turn { denied: turn.denied.saturating_add(1), ..turn });
                }
            }
            Answer::LockedOut => {
                let [first, longest] = LOCKOUT;
                let pause = Millis(first.0 << door.lockouts.min(8)).min(longest);
                door.lockouts = door.lockouts.saturating_add(1);
                door.shut_until = Some(now + pause);
            }
            Answer::Silent if turn.is_some() => door.turn = None,
            Answer::Silent => {}
        }
    }

    /// How many addresses are remembered.
    pub fn len(&self) -> usize {
        self.doors.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.doors.is_empty()
    }

    /// A stranger's name server can answer with a new address each time.
    fn sweep(&mut self, now: Timestamp) {
        if self.swept.is_some_and(|at| now.since(at) < LOCKOUT[1]) {
            return;
        }
        self.swept = Some(now);
        self.doors.retain(|_, door| door.used.is_some_and(|at| now.since(at) < KEPT));
    }
}

#[cfg(test)]
mod tests;
