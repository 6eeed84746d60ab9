//! How the adversaries of several rows play: cards shared, cards rented, hosts listed twice.

use std::collections::{BTreeMap, BTreeSet};

use basilica_types::{Hotkey, Millis, NodeId, NodeKey, Timestamp};
use basilica_verification::asked::ACCEPT_MOST;
use basilica_verification::calibration::StageTimes;
use basilica_verification::classes::WALKS;
use basilica_verification::fleet::{Answer, Claimant, FleetRules, Identity, contests, hold, passed_with};
use basilica_verification::{Break, Finding};

use crate::adversary::{Meanwhile, Play, Serves, World};
use crate::exhibits::{Exhibit, Times};
use crate::timing_model::{PROVISIONING_MS, Rig, class, keeps_both_paces, latest_deadlines, to_millis};
use crate::tries::{Tried, broken};

/// What the node does that a shared card does not serve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unserved {
    /// Answers as soon as the card is free.
    Misses,
    /// Hangs up in the midst of its walk.
    HangsUp,
    /// Cannot be reached.
    IsAway,
}

/// One H100 behind two registrations of these miners.
pub fn shared(world: &World<'_>, miners: [u8; 2], serves: Serves, unserved: Unserved) -> Play {
    let h100 = class("h100-sxm");
    let alone = world.swift(h100, Exhibit::Honest);
    let busy = match unserved {
        Unserved::Misses => world.ends_in(h100, Exhibit::Honest, times_of_the_unserved(world)),
        Unserved::HangsUp => world.swift(h100, Exhibit::HangsUp),
        Unserved::IsAway => [broken(Break::Unreachable)].into(),
    };
    Play::Shared { miners, alone, busy, serves }
}

/// The epoch's walks begin at one moment and want an even pace: the card serves both in turn, or the other one waits.
fn times_of_the_unserved(world: &World<'_>) -> Times {
    let h100 = class("h100-sxm");
    let card = Rig::of(h100, 1.0);
    let stages = World::times(h100, 1.0, &card);
    let stages = StageTimes { work: Millis(stages.work.0 * 2), ..stages };
    let (walk, swap) = (card.walk_ms(h100, 1.0, WALKS), card.swap_ms(h100));
    let in_turn = keeps_both_paces(walk, swap, latest_deadlines(h100, &world.scenario).walk);
    let pause = if in_turn { Millis(0) } else { to_millis(walk + swap) };
    Times { stages, pause }
}

/// An H100 that is ordered when a check comes.
pub fn rented(world: &World<'_>, meanwhile: Meanwhile) -> Play {
    let ready = world.swift(class("h100-sxm"), Exhibit::Honest);
    // It accepts as late as it may: the card need not be there before.
    let provisioning = Millis(PROVISIONING_MS).saturating_sub(ACCEPT_MOST);
    Play::Rented { provisioning, meanwhile, ready }
}

/// The reason, if the fleet's own code puts the later of two nodes with these identities on hold, and a challenge of both at once,
/// with their one card, does not end that.
pub fn held(world: &World<'_>, identities: &[Identity]) -> Option<&'static str> {
    let key = |id: u8| NodeKey { miner: Hotkey::from_bytes([id; 32]), node: NodeId::from_bytes([id; 16]) };
    let shown: BTreeSet<Identity> = identities.iter().copied().collect();
    let (old, new) = (key(1), key(2));
    let claimant = Claimant { node: old, since: Timestamp(10), identities: shown.clone() };
    let contests = contests(new, &shown, &[claimant]);
    let h100 = class("h100-sxm");
    let alone = world.swift(h100, Exhibit::Honest);
    let busy = world.ends_in(h100, Exhibit::Honest, times_of_the_unserved(world));
    let ends = alone.iter().flat_map(|first| busy.iter().map(move |second| [first, second]));
    let held = |[first, second]: [&Tried; 2]| {
        let answer = |tried: &Tried| Answer { began: Millis(0), passed: tried.finding == Finding::Passed };
        let answers = BTreeMap::from([(old, answer(first)), (new, answer(second))]);
        hold(&contests, &passed_with(new, &answers, FleetRules::default().spread))
            .map(|hold| hold.reason.code())
    };
    let reasons: Option<BTreeSet<&'static str>> = ends.map(held).collect();
    reasons.and_then(|reasons| reasons.first().copied())
}
