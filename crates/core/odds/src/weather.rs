//! What happens to a node from outside: single failures, bursts, outages on either side, and a prover that turns.
//!
//! Times are asked for in order; spells are drawn as they are needed.

use basilica_types::{Millis, Timestamp};
use basilica_verification::{Control, Reason};

use crate::chance::Chance;

/// Alternating good and bad spells, each exponentially distributed: the two states of Gilbert and Elliott's channel in
/// continuous time. The bad state fails every try, the good one none.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct Bursts {
    /// Mean length of a good spell, in seconds.
    pub good_secs: f64,
    /// Mean length of a bad one.
    pub bad_secs: f64,
}

impl Bursts {
    /// Bad for this share of the time, in bursts of this mean length.
    pub fn of_share(share: f64, bad_secs: f64) -> Self {
        Self { good_secs: bad_secs * (1.0 - share) / share, bad_secs }
    }
}

/// What a node is exposed to.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize)]
pub struct Climate {
    /// Each try fails independently with this probability. In full checks the line breaks in the midst of the proof, which
    /// is the worse for the node: it enters the sequential test over breaks.
    pub spurious: f64,
    /// The way to this node alone is cut while everything else answers.
    pub path: Option<Bursts>,
    /// The validator's uplink is cut: nothing answers.
    pub uplink: Option<Bursts>,
    /// The node is really down, once: from when, for how long, in seconds.
    pub down: Option<(f64, f64)>,
    /// From this second on the prover cheats, and every full check rejects its transcript.
    pub tampered_from: Option<f64>,
}

/// One spell after the other.
#[derive(Clone, Debug)]
struct Spells {
    bursts: Bursts,
    chance: Chance,
    /// The bad spell that is next, or under way.
    bad: (Timestamp, Timestamp),
}

/// Rounded to milliseconds.
fn span(secs: f64) -> Millis {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "casts from float saturate, and spans are not negative"
    )]
    let ms = (secs * 1_000.0).round() as u64;
    Millis(ms)
}

impl Spells {
    /// With a stream of its own, so that nothing depends on who asks first.
    fn new(name: &str, bursts: Bursts, start: Timestamp, chance: &mut Chance) -> Self {
        let chance = Chance::of(name, &[chance.below(u64::MAX)]);
        let mut spells = Self { bursts, chance, bad: (start, start) };
        spells.draw();
        spells
    }

    fn draw(&mut self) {
        let begin = self.bad.1 + span(self.chance.exponential(self.bursts.good_secs));
        self.bad = (begin, begin + span(self.chance.exponential(self.bursts.bad_secs)));
    }

    /// Whether `at` lies in a bad spell.
    fn is_bad(&mut self, at: Timestamp) -> bool {
        while self.bad.1 <= at {
            self.draw();
        }
        self.bad.0 <= at
    }
}

/// The weather of one life.
#[derive(Clone, Debug)]
pub struct Weather {
    climate: Climate,
    chance: Chance,
    start: Timestamp,
    /// So many tries more go well before one fails by itself.
    luck: u64,
    path: Option<Spells>,
    uplink: Option<Spells>,
    /// When the uplink was last seen to work.
    uplink_worked: Timestamp,
}

impl Weather {
    /// The weather from `start` on.
    pub fn new(climate: Climate, start: Timestamp, mut chance: Chance) -> Self {
        let path = climate.path.map(|bursts| Spells::new("path", bursts, start, &mut chance));
        let uplink = climate.uplink.map(|bursts| Spells::new("uplink", bursts, start, &mut chance));
        let mut weather = Self { climate, chance, start, luck: 0, path, uplink, uplink_worked: start };
        weather.luck = weather.draw_luck();
        weather
    }

    /// Geometrically distributed: tries that go well before the next that fails.
    fn draw_luck(&mut self) -> u64 {
        if self.climate.spurious <= 0.0 {
            return u64::MAX;
        }
        if self.climate.spurious >= 1.0 {
            return 0;
        }
        let tries = (1.0 - self.chance.unit()).ln() / (-self.climate.spurious).ln_1p();
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "casts from float saturate; a quotient of logarithms below zero is not negative"
        )]
        let tries = tries.floor() as u64;
        tries
    }

    /// So many tries from now on do not fail by themselves.
    pub const fn lucky_tries(&self) -> u64 {
        self.luck
    }

    /// So many tries went well unasked.
    pub const fn skip(&mut self, tries: u64) {
        if self.luck != u64::MAX {
            self.luck = self.luck.saturating_sub(tries);
        }
    }

    /// No try from `at` to before this moment fails but by itself.
    pub fn calm_until(&mut self, at: Timestamp) -> Timestamp {
        let mut calm = Timestamp(i64::MAX);
        for spells in [&mut self.path, &mut self.uplink].into_iter().flatten() {
            calm = if spells.is_bad(at) { at } else { calm.min(spells.bad.0) };
        }
        if let Some((from, to)) = self.down()
            && at < to
        {
            calm = calm.min(from);
        }
        if let Some(from) = self.climate.tampered_from {
            calm = calm.min(self.start + span(from));
        }
        calm.max(at)
    }

    fn down(&self) -> Option<(Timestamp, Timestamp)> {
        self.climate.down.map(|(from, length)| {
            let from = self.start + span(from);
            (from, from + span(length))
        })
    }

    /// How a try at `at` fails, and what was seen beside it; none if it goes well. A control target counts that
    /// answered within `recent` before.
    pub fn try_at(&mut self, at: Timestamp, full: bool, recent: Millis) -> Option<(Reason, Control)> {
        if let Some(uplink) = &mut self.uplink {
            if uplink.is_bad(at) {
                self.uplink_worked = self.uplink_worked.max(uplink.bad.0);
                let seen = at.since(self.uplink_worked) < recent;
                let control = if seen { Control::Reachable } else { Control::Silent };
                return Some((Reason::ConnectionTimeout, control));
            }
            self.uplink_worked = at;
        }
        let path_is_bad = self.path.as_mut().is_some_and(|path| path.is_bad(at));
        let is_down = self.down().is_some_and(|(from, to)| from <= at && at < to);
        if path_is_bad || is_down {
            return Some((Reason::ConnectionTimeout, Control::Reachable));
        }
        if self.luck == 0 {
            self.luck = self.draw_luck();
            let reason = if full { Reason::ConnectionLost } else { Reason::ConnectionTimeout };
            return Some((reason, Control::Reachable));
        }
        self.skip(1);
        let cheats = self.climate.tampered_from.is_some_and(|from| self.start + span(from) <= at);
        (full && cheats).then_some((Reason::ProofOpeningMismatch, Control::Reachable))
    }

    /// A number for the jitter between retries.
    pub fn number(&mut self) -> u64 {
        self.chance.below(u64::MAX)
    }
}
