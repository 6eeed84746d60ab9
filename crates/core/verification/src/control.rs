//! What beside a failed try shows that our side works (RULES R4), and for which failures that is enough.
//!
//! A control must share with the failed try whatever else could have broken it. The chain's endpoint may run on this
//! host and answer through a dead uplink: only a finalised head that moved shows that blocks still arrive. That
//! packets arrive says nothing about name resolution, and neither says that our own prover file works.

use basilica_types::{BlockNumber, Millis, Timestamp};

use crate::Reason;

/// Whether something that is not the node answered at the time of a failed try.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Control {
    /// It did: our side of the network works.
    Reachable,
    /// It did not.
    Silent,
    /// There was nothing to ask that could tell.
    Absent,
}

/// What must have worked elsewhere for a failure to speak against the node, see [`Reason::witness`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Witness {
    /// The network.
    Network,
    /// The network, and the resolution of another node's name.
    Resolving,
    /// The network, and a passed full check of another node with this very prover.
    Prover,
    /// The network, and a port of another miner's node that answered: our own side may let nothing out but ssh.
    Reaching,
    /// The network, and passed full checks of other miners' nodes whose containers saw GPUs by this engine (see [`crate::engines`]).
    Containing,
    /// The network, and the image's registry, which offered it to the validator itself (see [`crate::registry`]).
    Pulling,
}

/// The finalised head as last looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeadSeen {
    head: BlockNumber,
    /// When a look last found it higher than the look before.
    advanced: Option<Timestamp>,
}

impl HeadSeen {
    /// Takes one more look. An endpoint that lags behind an earlier one moves nothing.
    #[must_use]
    pub fn look(before: Option<Self>, head: BlockNumber, now: Timestamp) -> Self {
        match before {
            None => Self { head, advanced: None },
            Some(seen) if head <= seen.head => seen,
            Some(_) => Self { head, advanced: Some(now) },
        }
    }

    /// Whether the head advanced less than `window` ago. With the retry interval as window each try of a series needs an
    /// advance of its own.
    pub fn is_advancing(&self, window: Millis, now: Timestamp) -> bool {
        self.advanced.is_some_and(|at| now.since(at) < window)
    }
}

/// What was seen to work around the time of a failed try.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Surroundings {
    /// Another miner's node passed a check a moment ago.
    pub passed_elsewhere: bool,
    /// Whether the finalised head is advancing; none if no endpoint answered.
    pub chain: Option<bool>,
    /// Another miner's node was reached by name a moment ago.
    pub resolved_elsewhere: bool,
    /// Another node passed a full check with the prover of today.
    pub prover_works: bool,
    /// A port of another miner's node answered a moment ago.
    pub reached_elsewhere: bool,
    /// The image's registry offered it to the validator itself a moment ago.
    pub image_offered: bool,
    /// Containers saw their GPUs by the engine of the failed try, on enough nodes of others (see [`crate::engines`]).
    pub gave_gpus_elsewhere: bool,
    /// Nodes of two other miners say that they pulled the image a moment ago. What nodes say confirms nobody's fault; it is enough to
    /// look again.
    pub pulled_elsewhere: bool,
}

impl Surroundings {
    /// What they say beside a try that failed so.
    pub fn beside(&self, reason: Reason) -> Control {
        let network = self.network();
        let told = match reason.witness() {
            Witness::Network => true,
            Witness::Resolving => self.resolved_elsewhere,
            Witness::Prover => self.prover_works,
            Witness::Reaching => self.reached_elsewhere,
            Witness::Containing => self.gave_gpus_elsewhere,
            Witness::Pulling => self.image_offered,
        };
        match network {
            Control::Reachable if !told => Control::Absent,
            network => network,
        }
    }

    /// Whether a check ends by a failure that everybody may have at once ([`crate::Effect::SeekWitness`]), instead of going on without what
    /// failed. The word of others is enough for that, though not for a fault.
    pub fn ends_by(&self, reason: Reason) -> bool {
        let by_word = reason.witness() == Witness::Pulling
            && self.pulled_elsewhere
            && self.network() == Control::Reachable;
        by_word || self.beside(reason) == Control::Reachable
    }

    const fn network(&self) -> Control {
        match (self.passed_elsewhere, self.chain) {
            (true, _) | (_, Some(true)) => Control::Reachable,
            (false, Some(false)) => Control::Absent,
            (false, None) => Control::Silent,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);
    const WINDOW: Millis = Millis::from_secs(40);

    fn look(before: Option<HeadSeen>, head: u64, now: Timestamp) -> HeadSeen {
        HeadSeen::look(before, BlockNumber(head), now)
    }

    #[test]
    fn a_head_that_stands_still_is_no_control() {
        let first = look(None, 7, NOW);
        assert!(!first.is_advancing(WINDOW, NOW), "one look says nothing");
        let moved = look(Some(first), 8, NOW + WINDOW);
        assert!(moved.is_advancing(WINDOW, NOW + WINDOW));
        let stuck = look(Some(moved), 8, NOW + WINDOW + WINDOW);
        assert!(!stuck.is_advancing(WINDOW, NOW + WINDOW + WINDOW));
        let lagging = look(Some(moved), 5, NOW + WINDOW + WINDOW);
        assert_eq!(lagging, moved);
    }

    #[test]
    fn each_failure_wants_a_control_that_shares_what_could_have_broken_it() {
        let network = Surroundings { chain: Some(true), ..Surroundings::default() };
        assert_eq!(network.beside(Reason::ConnectionFailed), Control::Reachable);
        assert_eq!(network.beside(Reason::AddressUnresolved), Control::Absent);
        let named = Surroundings { resolved_elsewhere: true, ..network };
        assert_eq!(named.beside(Reason::AddressUnresolved), Control::Reachable);
        let proven = Surroundings { prover_works: true, ..network };
        for reason in
            [Reason::ProverFailed, Reason::ClaimsInvalid, Reason::ProofIncomplete, Reason::ProofRefused]
        {
            assert_eq!(network.beside(reason), Control::Absent, "{reason}");
            assert_eq!(proven.beside(reason), Control::Reachable, "{reason}");
        }
    }

    #[test]
    fn a_port_or_an_image_that_nobody_else_gets_may_be_our_own_fault() {
        let network = Surroundings { chain: Some(true), ..Surroundings::default() };
        assert_eq!(network.beside(Reason::PortUnreachable), Control::Absent);
        assert_eq!(network.beside(Reason::ImagePullFailed), Control::Absent);
        let reached = Surroundings { reached_elsewhere: true, ..network };
        assert_eq!(reached.beside(Reason::PortUnreachable), Control::Reachable);
        let offered = Surroundings { image_offered: true, ..network };
        assert_eq!(offered.beside(Reason::ImagePullFailed), Control::Reachable);
        assert_eq!(offered.beside(Reason::PortUnreachable), Control::Absent);
    }

    #[test]
    fn an_engine_that_gives_nobody_gpus_may_be_told_so_by_flags_of_ours() {
        let denied = Reason::ContainerGpuDenied;
        let network = Surroundings { passed_elsewhere: true, prover_works: true, ..Surroundings::default() };
        assert_eq!(network.beside(denied), Control::Absent);
        let given = Surroundings { gave_gpus_elsewhere: true, ..network };
        assert_eq!(given.beside(denied), Control::Reachable);
        assert_eq!(given.beside(Reason::PortUnreachable), Control::Absent);
    }

    #[test]
    fn the_word_of_others_ends_a_check_and_confirms_nothing() {
        let pull = Reason::ImagePullFailed;
        let network = Surroundings { chain: Some(true), ..Surroundings::default() };
        assert!(!network.ends_by(pull), "its registry may be down");
        let told = Surroundings { pulled_elsewhere: true, ..network };
        assert_eq!((told.ends_by(pull), told.beside(pull)), (true, Control::Absent));
        let offered = Surroundings { image_offered: true, ..network };
        assert_eq!((offered.ends_by(pull), offered.beside(pull)), (true, Control::Reachable));
        let deaf =
            Surroundings { chain: Some(false), image_offered: true, pulled_elsewhere: true, ..network };
        assert!(!deaf.ends_by(pull));
        assert!(!told.ends_by(Reason::PortUnreachable));
        let reached = Surroundings { reached_elsewhere: true, ..network };
        assert!(reached.ends_by(Reason::PortUnreachable));
    }

    #[test]
    fn silence_stays_silence_and_a_standing_chain_tells_nothing() {
        let all = Surroundings {
            resolved_elsewhere: true,
            prover_works: true,
            reached_elsewhere: true,
            image_offered: true,
            gave_gpus_elsewhere: true,
            pulled_elsewhere: true,
            ..Surroundings::default()
        };
        for reason in Reason::ALL {
            assert_eq!(all.beside(*reason), Control::Silent);
            assert_eq!(Surroundings { chain: Some(false), ..all }.beside(*reason), Control::Absent);
            assert_eq!(Surroundings { passed_elsewhere: true, ..all }.beside(*reason), Control::Reachable);
        }
    }
}
