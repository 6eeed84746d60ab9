//! How late a key goes that has to go: because its session was revoked, because its node was taken out, because the node is another
//! validator's now.
//!
//! Time counts only while the miner could have done something about it: it runs, the node answers, and both have done so for
//! [`SETTLING`]. Over interruptions it adds up, so that a miner that is killed every few seconds hides nothing.
//!
//! Whose a node is under `highest_stake` is not asked of the chain, which the miner looks at by itself: the newest key that the
//! miner of this run put on the node and that is still there tells, and from then on those of other validators are late. Revoked is what
//! `sessions revoke` names.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::Serialize;

use crate::page::Held;

/// For the miner to start and look around, or to log in on a node that answers again.
pub(crate) const SETTLING: Duration = Duration::from_secs(3);
/// Between two looks of the miner at what was ordered; the subnet is looked at more often.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// For processes of the keys that went in the round before: to be told to end and to be killed. No order waits for more.
const PROCESSES: Duration = Duration::from_millis(1_500);
/// `health_check_timeout` for each of what a round does: log in, read, write, read back.
const ROUND: Duration = Duration::from_secs(4 * super::miner::TIMEOUT_SECS);
/// For a command that orders something to start and to write it down.
const COMMAND: Duration = Duration::from_secs(2);
/// An order comes right after a look, and when that is over, the processes of the round before have just begun to be ended; then everything
/// that the next round does takes as long as it may.
pub(crate) const BOUND: Duration =
    COMMAND.saturating_add(LOOK_EVERY).saturating_add(PROCESSES).saturating_add(ROUND);

/// Why a key has to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Why {
    /// By `sessions revoke`.
    Revoked,
    /// Its node, by `nodes drain`.
    Drained,
    /// Its node, from the configuration.
    Unlisted,
    /// Its node, to another validator.
    Reassigned,
}

/// What was measured of one kind.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Lateness {
    /// Keys.
    pub keys: usize,
    /// Milliseconds.
    pub median_ms: u64,
    /// Milliseconds.
    pub max_ms: u64,
}

/// A key on a node.
#[derive(Debug)]
struct Seen {
    since: Duration,
    due: Option<Due>,
}

#[derive(Clone, Copy, Debug)]
struct Due {
    why: Why,
    waited: Duration,
    /// Whether the miner could have done something about it at any time.
    counts: bool,
}

#[derive(Debug, Default)]
struct Node {
    keys: BTreeMap<Held, Seen>,
    /// None while it hangs.
    answers_since: Option<Duration>,
    looked: Duration,
    out: Option<Why>,
    /// How often it was taken back.
    returns: usize,
}

/// Under which miner.
#[derive(Clone, Copy, Debug)]
struct Reign {
    since: Duration,
    /// A node is one validator's.
    exclusive: bool,
}

#[derive(Debug)]
pub(crate) struct Clerk {
    nodes: Vec<Node>,
    miner: Option<Reign>,
    revoked: BTreeSet<String>,
    /// When keys were seen last, and where.
    last_seen: BTreeMap<String, (usize, Duration)>,
    late: BTreeMap<Why, Vec<Duration>>,
}

fn session(tag: &str) -> &str {
    tag.rsplit('-').next().unwrap_or_default()
}

fn hotkey(tag: &str) -> &str {
    tag.split('-').nth(1).unwrap_or_default()
}

impl Clerk {
    pub(crate) fn new(nodes: usize) -> Self {
        let node = || Node { answers_since: Some(Duration::ZERO), ..Node::default() };
        Self {
            nodes: (0..nodes).map(|_| node()).collect(),
            miner: None,
            revoked: BTreeSet::new(),
            last_seen: BTreeMap::new(),
            late: BTreeMap::new(),
        }
    }

    pub(crate) fn started(&mut self, exclusive: bool, now: Duration) {
        self.miner = Some(Reign { since: now, exclusive });
    }

    pub(crate) fn ended(&mut self) {
        self.miner = None;
    }

    pub(crate) fn hangs(&mut self, node: usize, hangs: bool, now: Duration) {
        self.nodes[node].answers_since = (!hangs).then_some(now);
    }

    /// What [`Clerk::out`] has to show: by then the node may have been taken back again.
    pub(crate) fn ticket(&self, node: usize) -> usize {
        self.nodes[node].returns
    }

    pub(crate) fn out(&mut self, node: usize, why: Why, ticket: usize) {
        let node = &mut self.nodes[node];
        if node.returns == ticket {
            node.out = Some(why);
        }
    }

    pub(crate) fn back(&mut self, node: usize) {
        let node = &mut self.nodes[node];
        (node.out, node.returns) = (None, node.returns + 1);
    }

    /// These sessions, by a command that began then.
    pub(crate) fn revoked(&mut self, sessions: impl IntoIterator<Item = String>, began: Duration) {
        for revoked in sessions {
            let is_its = |tag: &str| session(tag) == revoked;
            let mut is_there = false;
            for at in 0..self.nodes.len() {
                let settled = self.is_settled(at, began);
                let node = &mut self.nodes[at];
                let waited = if settled { node.looked.saturating_sub(began) } else { Duration::ZERO };
                for (_, seen) in node.keys.iter_mut().filter(|(key, _)| is_its(&key.tag)) {
                    is_there = true;
                    seen.due.get_or_insert(Due { why: Why::Revoked, waited, counts: settled });
                }
            }
            let gone = self.last_seen.iter().filter(|(tag, _)| !is_there && is_its(tag));
            let gone = gone.filter(|(_, (node, _))| self.is_settled(*node, began));
            let late = gone.map(|(_, (_, seen))| seen.saturating_sub(began)).collect::<Vec<_>>();
            self.late.entry(Why::Revoked).or_default().extend(late);
            self.revoked.insert(revoked);
        }
    }

    fn is_settled(&self, node: usize, at: Duration) -> bool {
        let since = self.nodes[node].answers_since.zip(self.miner);
        since.is_some_and(|(answers, miner)| answers.max(miner.since) + SETTLING <= at)
    }

    /// What a node carries now.
    pub(crate) fn saw(&mut self, node: usize, held: &BTreeSet<Held>, now: Duration) {
        let settled = self.is_settled(node, now);
        let exclusive = self.miner.filter(|miner| miner.exclusive).map(|miner| miner.since);
        let place = &mut self.nodes[node];
        let passed = if settled { now.saturating_sub(place.looked) } else { Duration::ZERO };
        place.looked = now;
        for key in held {
            place.keys.entry(key.clone()).or_insert(Seen { since: now, due: None });
        }
        let newest = place
            .keys
            .iter()
            .filter(|(key, seen)| held.contains(*key) && exclusive.is_some_and(|since| seen.since > since));
        let owner = newest.max_by_key(|(_, seen)| seen.since).map(|(key, _)| hotkey(&key.tag).to_owned());
        let (out, revoked) = (place.out, &self.revoked);
        let (late, last_seen) = (&mut self.late, &mut self.last_seen);
        place.keys.retain(|key, seen| {
            if !held.contains(key) {
                if let Some(due) = seen.due.filter(|due| due.counts) {
                    late.entry(due.why).or_default().push(due.waited);
                }
                return false;
            }
            last_seen.insert(key.tag.clone(), (node, now));
            let anothers = owner.as_ref().is_some_and(|owner| owner != hotkey(&key.tag));
            let why = out
                .or(revoked.contains(session(&key.tag)).then_some(Why::Revoked))
                .or(anothers.then_some(Why::Reassigned));
            seen.due = why.map(|why| {
                let before = seen.due.unwrap_or(Due { why, waited: Duration::ZERO, counts: false });
                let passed = if seen.due.is_some() { passed } else { Duration::ZERO };
                Due { waited: before.waited + passed, counts: before.counts || settled, ..before }
            });
            true
        });
    }

    /// How many keys are there that have to go.
    pub(crate) fn due(&self) -> usize {
        let all = self.nodes.iter().flat_map(|node| node.keys.values());
        all.filter(|seen| seen.due.is_some()).count()
    }

    pub(crate) fn figures(&self) -> BTreeMap<Why, Lateness> {
        let figures = |late: &Vec<Duration>| {
            let mut all: Vec<u64> =
                late.iter().map(|late| u64::try_from(late.as_millis()).unwrap()).collect();
            all.sort_unstable();
            Lateness {
                keys: all.len(),
                median_ms: all.get(all.len() / 2).copied().unwrap_or_default(),
                max_ms: all.last().copied().unwrap_or_default(),
            }
        };
        self.late.iter().map(|(why, late)| (*why, figures(late))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTLED: u64 = SETTLING.as_secs();

    fn held(validator: &str, session: &str) -> Held {
        Held { tag: format!("validator-{validator}-{session}"), key: "k".to_owned(), epoch: 0 }
    }

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn max(clerk: &Clerk, why: Why) -> Option<u64> {
        clerk.figures().get(&why).map(|figures| figures.max_ms / 1_000)
    }

    #[test]
    fn time_counts_while_the_miner_runs_and_the_node_answers_and_adds_up() {
        let mut clerk = Clerk::new(1);
        let keys: BTreeSet<Held> = [held("a", "1")].into();
        clerk.started(false, at(0));
        for now in 0..=SETTLED {
            clerk.saw(0, &keys, at(now));
        }
        clerk.out(0, Why::Drained, clerk.ticket(0));
        let mut now = SETTLED;
        let mut pass = |clerk: &mut Clerk, seconds: u64| {
            for _ in 0..seconds {
                now += 1;
                clerk.saw(0, &keys, at(now));
            }
            at(now)
        };
        let hung = pass(&mut clerk, 3);
        clerk.hangs(0, true, hung);
        let answers = pass(&mut clerk, 100);
        clerk.hangs(0, false, answers);
        pass(&mut clerk, SETTLED + 3);
        clerk.ended();
        let started = pass(&mut clerk, 100);
        clerk.started(false, started);
        let end = pass(&mut clerk, SETTLED + 3);
        assert_eq!(clerk.due(), 1);
        clerk.saw(0, &BTreeSet::new(), end);
        assert_eq!(clerk.due(), 0);
        // Two of the first three, and each time the second in which it settled.
        assert_eq!(max(&clerk, Why::Drained), Some(2 + 4 + 4));
        clerk.out(0, Why::Drained, clerk.ticket(0));
        clerk.ended();
        clerk.saw(0, &keys, at(1_000));
        clerk.saw(0, &BTreeSet::new(), at(1_001));
        assert_eq!(clerk.figures()[&Why::Drained].keys, 1, "nobody was there to be late");
    }

    #[test]
    fn a_node_that_was_taken_back_meanwhile_is_not_out() {
        let mut clerk = Clerk::new(1);
        let ticket = clerk.ticket(0);
        clerk.back(0);
        clerk.out(0, Why::Drained, ticket);
        clerk.started(false, at(0));
        clerk.saw(0, &[held("a", "1")].into(), at(10));
        clerk.saw(0, &BTreeSet::new(), at(20));
        assert_eq!(clerk.figures(), BTreeMap::new());
    }

    #[test]
    fn what_a_command_revoked_is_late_from_its_beginning_or_still_there() {
        let mut clerk = Clerk::new(1);
        clerk.started(false, at(0));
        clerk.saw(0, &[held("a", "1"), held("a", "2")].into(), at(10));
        clerk.saw(0, &[held("a", "1"), held("a", "2")].into(), at(12));
        clerk.saw(0, &[held("a", "2")].into(), at(13));
        clerk.revoked(["1".to_owned(), "2".to_owned()], at(11));
        assert_eq!(max(&clerk, Why::Revoked), Some(1));
        clerk.saw(0, &[held("a", "2")].into(), at(13));
        clerk.saw(0, &[held("a", "2")].into(), at(18));
        clerk.saw(0, &BTreeSet::new(), at(19));
        assert_eq!(max(&clerk, Why::Revoked), Some(2 + 5), "two seconds had passed when the command ended");
        assert_eq!(clerk.figures()[&Why::Revoked].keys, 2);
    }

    #[test]
    fn the_newest_key_tells_whose_a_node_is_and_only_that_of_this_miner() {
        let mut clerk = Clerk::new(1);
        let (a, b) = (held("a", "1"), held("b", "2"));
        clerk.saw(0, &[a.clone()].into(), at(1));
        clerk.started(true, at(2));
        clerk.saw(0, &[a.clone()].into(), at(10));
        assert_eq!(clerk.figures(), BTreeMap::new());
        clerk.saw(0, &[a.clone(), b.clone()].into(), at(11));
        clerk.saw(0, &[a, b.clone()].into(), at(14));
        clerk.saw(0, &[b].into(), at(15));
        assert_eq!(max(&clerk, Why::Reassigned), Some(3));
        clerk.saw(0, &BTreeSet::new(), at(16));
        assert_eq!(clerk.figures()[&Why::Reassigned].keys, 1, "the owner's own key was not late");
    }
}
