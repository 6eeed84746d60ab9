//! Every parameter of cards, links and clouds that the zoo assumes, each with its source (RULES R19).
//!
//! Nothing here was measured on a GPU by this project. What a data sheet says stands in
//! [`basilica_verification::classes`]; what no data sheet says is marked *assumed* here, and the scorecard is computed
//! over [`SCENARIOS`] so that a verdict which hangs on an assumption shows as open. Cheaters are given everything: their
//! kernels reach the data-sheet peak, they hash for nothing, they have no network between them and the validator, and
//! they delay echoes until their deadlines are as late as deadlines get.

use basilica_types::Millis;
use basilica_verification::calibration::{Margins, RoundTrips, StageTimes};
use basilica_verification::classes::{CACHE_MIB, CLASSES, GpuClass, ITEM_BYTES, PARENTS, Walks};

use crate::chance::Chance;

/// Share of the int8 peak that an honest kernel reaches. Assumed: published library kernels reach 60 to 75 % on such
/// shapes (NVIDIA CUTLASS performance charts); ours is not measured.
pub const INT8_SHARE: f64 = 0.60;
/// Share of the memory bandwidth that honest random reads of 64 bytes reach. Assumed from Ethash miners, whose reads of
/// 128 bytes reach 82 % (V100: 90 MH/s × 8 KiB of 900 GB/s) to 90 % (A100 40 GB: 170 MH/s × 8 KiB of 1,555 GB/s);
/// half the length, less 10 %.
pub const READ_SHARE: f64 = 0.70;
/// Standard deviation of an honest card's time from run to run, as a share. Assumed (clocks, temperature).
pub const RUN_DEVIATION: f64 = 0.01;
/// Deviations above the mean that one normal draw in a thousand exceeds.
pub const P999: f64 = 3.09;
/// Integer operations to make one item again, see `rigs::Rig::again_milli`.
const ITEM_OPERATIONS: f64 = 2.0 * 800.0 + PARENTS as f64 * 100.0;
/// 32-bit integer results per SM and clock (CUDA C++ Programming Guide, arithmetic instructions).
const INT_LANES: f64 = 64.0;

/// Round trip between validator and node in ms. Assumed: across a continent (RIPE Atlas medians lie at 20 to 80 ms).
pub const ROUND_TRIP_MS: f64 = 60.0;
/// Mean of the exponential jitter on a round trip in ms, at jitter × 1. Assumed.
pub const JITTER_MS: f64 = 5.0;
/// Packets lost, each for itself (the figure).
pub const LOSS: f64 = 0.01;
/// Packets lost in a bad spell, so that misses cluster as real ones do. Assumed.
pub const LOSS_IN_SPELL: f64 = 0.10;
/// Share of a node's time that is a bad spell: ten minutes a day. Assumed.
pub const SPELLS: f64 = 10.0 / 1_440.0;
/// Proofs of an honest node that end because its connection or its host breaks, each for itself. Assumed: a session of ten
/// seconds outlives 1 % of losses; restarts, renumbered lines and killed programs do not wait for it.
pub const BREAKS: f64 = 0.002;
/// The same in a bad spell. Assumed: five times as often; a session that is open outlives 10 % of losses as well.
pub const BREAKS_IN_SPELL: f64 = 0.01;
/// Least retransmission time-out of Linux TCP in ms (`TCP_RTO_MIN`), to which the round trip adds; it doubles each time
/// (RFC 6298, 5.5).
pub const RTO_MIN_MS: f64 = 200.0;
/// A control target answers beside a failed try so often. Assumed: any other miner's node that passed, or the chain's
/// head advancing (RULES R4), must have been seen within 40 s.
pub const CONTROL_REACHABLE: f64 = 0.99;
/// Seconds a block takes on the Bittensor chain (`BlockTime`, subtensor runtime).
pub const BLOCK_MS: u64 = 12_000;

/// Time from ordering a cloud GPU to a login, in ms. Assumed: a minute and a half; clouds advertise one to five.
pub const PROVISIONING_MS: u64 = 90_000;
/// Time that a wide-area relay adds, in ms. Assumed: one more round trip across a continent.
pub const RELAY_MS: u64 = 60;
/// Host memory that a cheater swaps to is without limit, and its link at the data sheet's rate.
pub const SWAP_SHARE: f64 = 1.0;
/// Two processors with AMX: 64 cores × 2,048 int8 operations a clock × 2.6 GHz each (Intel AMX data, Xeon 8592+).
pub const CPU_TOPS: f64 = 2.0 * 64.0 * 2_048.0 * 2.6e9 / 1e12;
/// Their memory: eight channels of DDR5-5600 each (Intel ARK).
pub const CPU_BANDWIDTH_GBS: f64 = 2.0 * 8.0 * 5.6 * 8.0;
/// Their last-level caches in MiB (Intel ARK: 320 MB each): the whole item cache fits.
pub const CPU_CACHE_MIB: f64 = 640.0;
/// Their vector integer operations: 64 cores × 2 × 16 lanes × 2.6 GHz each.
pub const CPU_INT: f64 = 2.0 * 64.0 * 32.0 * 2.6e9;

/// One way in which the model may be wrong.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scenario {
    /// Factor on what honest cards reach of their peak.
    pub speed: f64,
    /// Factor on jitter.
    pub jitter: f64,
}

/// Class speed ± 30 %, jitter × 3 (RULES R19). The first is the model as it stands.
pub const SCENARIOS: [Scenario; 6] = [
    Scenario { speed: 1.0, jitter: 1.0 },
    Scenario { speed: 0.7, jitter: 1.0 },
    Scenario { speed: 1.3, jitter: 1.0 },
    Scenario { speed: 1.0, jitter: 3.0 },
    Scenario { speed: 0.7, jitter: 3.0 },
    Scenario { speed: 1.3, jitter: 3.0 },
];

/// The class of a name in the table.
///
/// # Panics
/// If there is none: names are constants of this crate.
pub fn class(name: &str) -> &'static GpuClass {
    CLASSES.iter().find(|class| class.name == name).expect("a class of the table")
}

/// Honest mean times of a class in ms: work, walk.
pub fn honest_means(class: &GpuClass, scenario: &Scenario) -> (f64, f64) {
    let at = |peak: Millis, share: f64| to_f64(peak.0) / (share * scenario.speed).min(1.0);
    (at(class.work_at_peak(), INT8_SHARE), at(class.walk_at_peak(), READ_SHARE))
}

/// The calibration that measuring honest cards of this model would give.
pub fn calibrated(class: &GpuClass, scenario: &Scenario) -> StageTimes {
    let tail = 1.0 + P999 * RUN_DEVIATION;
    let (work, walk) = honest_means(class, scenario);
    let fill = Rig::of(class, 1.0).fill_ms(class) / (READ_SHARE * scenario.speed).min(1.0);
    // Openings need no tight deadline: everything is committed before.
    let loose = Millis::from_secs(30);
    StageTimes {
        work: to_millis(work * tail),
        fill: to_millis(fill * tail),
        walk: to_millis(walk * tail),
        openings: loose,
    }
}

/// The latest deadlines of a class that a node can bring about by delaying its echoes.
pub fn latest_deadlines(class: &GpuClass, scenario: &Scenario) -> StageTimes {
    let slow = RoundTrips { median: Millis(u64::MAX), deviation: Millis(u64::MAX) };
    Margins::default().deadlines(&calibrated(class, scenario), Some(slow))
}

/// How far the roots of a walk may lag behind their even pace, at the latest that a node can bring about.
pub fn walk_slack() -> Millis {
    Margins::default().deadline(Millis(0), None)
}

/// Whether one card can walk for two nodes whose walks begin at one moment, each at the pace that the verifier wants: it
/// walks one until the other must go on, exchanges the regions, and so on. Times in ms.
pub fn keeps_both_paces(walk: f64, swap: f64, deadline: Millis) -> bool {
    let slack = to_f64(walk_slack().0);
    let rate = (to_f64(deadline.0) - slack) / walk;
    // An exchange takes a millisecond at least, or the loop would halve its turns for ever.
    let swap = swap.max(1.0);
    // What was walked of each, of `walk` ms; the card serves the first.
    let (mut done, mut serving, mut now) = ([0.0f64; 2], 0, 0.0f64);
    loop {
        let other = 1 - serving;
        // The other one's next step is due then, so the exchange begins a swap earlier.
        let until = if done[other] < walk { slack + rate * done[other] - swap } else { f64::INFINITY };
        let served = (until - now).max(0.0).min(walk - done[serving]);
        done[serving] += served;
        now += served;
        if now > slack + rate * done[serving] {
            return false;
        }
        if done == [walk; 2] {
            return true;
        }
        if served <= 0.0 && now + swap > slack + rate * done[other] {
            return false;
        }
        now += swap;
        serving = other;
    }
}

/// What a cheater has, all of it together and at its peak.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rig {
    /// int8 operations a second, in 10¹².
    pub tops: f64,
    /// Memory for items, in MiB.
    pub memory_mib: f64,
    /// Memory bandwidth in GB/s.
    pub bandwidth_gbs: f64,
    /// Links to host memory in GB/s.
    pub link_gbs: f64,
    /// Cache per card in MiB.
    pub l2_mib: f64,
    /// 32-bit integer operations a second.
    pub int_operations: f64,
}

impl Rig {
    /// So many cards of a class, or a part of one.
    pub fn of(class: &GpuClass, cards: f64) -> Self {
        Self {
            tops: f64::from(class.int8_tops) * cards,
            memory_mib: to_f64(class.memory_mib) * cards,
            bandwidth_gbs: f64::from(class.bandwidth_gbs) * cards,
            link_gbs: f64::from(class.host_link_gbs) * cards * SWAP_SHARE,
            l2_mib: f64::from(class.l2_mib),
            int_operations: f64::from(class.sms) * INT_LANES * f64::from(class.boost_mhz) * 1e6 * cards,
        }
    }

    /// A large server without a GPU.
    pub const fn cpu() -> Self {
        Self {
            tops: CPU_TOPS,
            memory_mib: 1_048_576.0,
            bandwidth_gbs: CPU_BANDWIDTH_GBS,
            link_gbs: 1.0,
            l2_mib: CPU_CACHE_MIB,
            int_operations: CPU_INT,
        }
    }

    /// Least time for the work asked of `claims` cards of a class, in ms.
    pub fn work_ms(&self, class: &GpuClass, claims: f64) -> f64 {
        to_f64(class.work_at_peak().0) * claims * f64::from(class.int8_tops) / self.tops
    }

    /// Least time for the walks asked of `claims` cards of a class, in ms. Items that do not fit are made again or fetched
    /// from host memory, in the best proportion, at the same time: read by read with all walks side by side, or, where
    /// walks run apart, in bulk between one walk and the next.
    pub fn walk_ms(&self, class: &GpuClass, claims: f64, walks: Walks) -> f64 {
        let items_mib = to_f64(class.resident_items() * ITEM_BYTES) / 1_048_576.0 * claims;
        let missing = (1.0 - self.memory_mib / items_mib).max(0.0);
        let outside = (1.0 - self.l2_mib / CACHE_MIB as f64).max(0.0);
        let reads_per_second = self.bandwidth_gbs * 1e9 / ITEM_BYTES as f64;
        let again =
            (f64::from(PARENTS) * outside).max(ITEM_OPERATIONS * reads_per_second / self.int_operations);
        let fetch = self.bandwidth_gbs / self.link_gbs;
        let made = ((missing * fetch - (1.0 - missing)) / (again + fetch)).clamp(0.0, missing);
        let slowdown = (1.0 - missing + made * again).max((missing - made) * fetch);
        let reading = to_f64(class.walk_bytes()) * claims / (self.bandwidth_gbs * 1e6);
        let bulk_gbs = self.link_gbs + self.bandwidth_gbs / again;
        let bulk = missing * items_mib * 1_048_576.0 / (bulk_gbs * 1e6);
        let segments = match walks {
            Walks::Apart => 1.0,
            Walks::InStep { segments } => f64::from(segments),
        };
        // A single region cannot be walked part by part: every lane reads all of it.
        let in_turn = if claims > 1.0 { reading + bulk * segments } else { f64::INFINITY };
        in_turn.min(reading * slowdown)
    }

    /// Time to exchange one resident region of a class for another, in ms: what does not fit beside it is made and fetched.
    pub fn swap_ms(&self, class: &GpuClass) -> f64 {
        let apart = self.walk_ms(class, 2.0, Walks::Apart);
        apart - to_f64(class.walk_bytes()) * 2.0 / (self.bandwidth_gbs * 1e6)
    }

    /// Least time to fill the memory asked of one card of a class, in ms.
    pub fn fill_ms(&self, class: &GpuClass) -> f64 {
        let bytes = to_f64(class.resident_items() * ITEM_BYTES);
        let outside = (1.0 - self.l2_mib / CACHE_MIB as f64).max(0.0);
        let memory = bytes * (f64::from(PARENTS) * outside + 1.0) / (self.bandwidth_gbs * 1e6);
        memory.max(to_f64(class.resident_items()) * ITEM_OPERATIONS / self.int_operations * 1e3)
    }
}

/// Time that the network takes of one stage, in ms: a round trip with jitter, and a time-out for every loss of the packet
/// that the other side waits for. Losses before it are repaired while the next round is computed.
pub fn network_ms(chance: &mut Chance, scenario: &Scenario, loss: f64) -> f64 {
    // Once for the packet that starts the stage, once for the one that ends it.
    lone_ms(chance, scenario, loss) + lone_ms(chance, scenario, loss)
}

/// Time that a packet takes which nothing follows, in ms: half a round trip, and a time-out for every loss.
pub fn lone_ms(chance: &mut Chance, scenario: &Scenario, loss: f64) -> f64 {
    let jitter = JITTER_MS * scenario.jitter;
    let mut next = RTO_MIN_MS + ROUND_TRIP_MS + 4.0 * jitter;
    let mut total = ROUND_TRIP_MS / 2.0 + chance.exponential(jitter / 2.0);
    while chance.happens(loss) {
        total += next;
        next *= 2.0;
    }
    total
}

/// How far the root of a walk's segment comes behind its making, in ms: half a round trip with jitter, and a repair for every loss. Other
/// roots follow it, so that a loss, also of what was sent again, shows by the next acknowledgement and not by a time-out (RFC 8985, RACK).
pub fn segment_ms(chance: &mut Chance, scenario: &Scenario, loss: f64, apart: f64) -> f64 {
    let jitter = JITTER_MS * scenario.jitter;
    let repair = apart + ROUND_TRIP_MS * 1.25 + 4.0 * jitter;
    let mut total = ROUND_TRIP_MS / 2.0 + chance.exponential(jitter);
    while chance.happens(loss) {
        total += repair;
    }
    total
}

/// Whole milliseconds, rounded up.
pub fn to_millis(ms: f64) -> Millis {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "times of seconds to hours")]
    Millis(ms.max(0.0).ceil() as u64)
}

#[expect(clippy::cast_precision_loss, reason = "all values are far below 2^52")]
pub(crate) const fn to_f64(value: u64) -> f64 {
    value as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use basilica_verification::rigs::{self as product, Demand};

    /// The cheater's physics here and the payment decision of the product must not drift apart.
    #[test]
    fn fewer_cards_take_as_long_as_the_verifier_assumes() {
        for class in CLASSES {
            for (claimed, cards) in [(8u16, 7u16), (8, 6), (4, 3), (2, 1), (8, 1)] {
                let rig = Rig::of(class, f64::from(cards));
                let near = |ms: f64, decided: Millis| (ms / to_f64(decided.0) - 1.0).abs() < 0.01;
                let claims = f64::from(claimed);
                let work = rig.work_ms(class, claims);
                let demand = Demand::of(vec![class; usize::from(claimed)]);
                let cards_there = product::Rig::of(vec![class; usize::from(cards)]);
                assert!(near(work, cards_there.work(&demand)), "{} {claimed}/{cards}: {work}", class.name);
                for walks in [Walks::Apart, basilica_verification::classes::WALKS] {
                    let walk = rig.walk_ms(class, claims, walks);
                    let decided = cards_there.walk(&demand, walks);
                    assert!(
                        near(walk, decided),
                        "{} {claimed}/{cards} {walks:?}: {walk}, {decided}",
                        class.name
                    );
                }
            }
        }
    }

    #[test]
    fn an_honest_card_is_within_its_deadline_and_deadlines_follow_its_speed() {
        for class in CLASSES {
            for scenario in &SCENARIOS {
                let (work, walk) = honest_means(class, scenario);
                let deadlines = latest_deadlines(class, scenario);
                assert!(to_f64(deadlines.work.0) > work && to_f64(deadlines.walk.0) > walk, "{}", class.name);
            }
        }
    }

    #[test]
    fn two_paces_are_kept_only_by_a_card_that_is_fast_enough_and_swaps_at_once() {
        let deadline = Millis(walk_slack().0 + 5_000);
        assert!(keeps_both_paces(2_000.0, 1.0, deadline), "4 s of walking in 6.15 s");
        assert!(!keeps_both_paces(3_200.0, 1.0, deadline), "6.4 s of walking");
        assert!(!keeps_both_paces(2_000.0, 600.0, deadline), "and swaps");
    }

    #[test]
    fn losses_delay_as_often_as_they_happen() {
        let mut chance = Chance::new(1);
        let late = (0..100_000).filter(|_| network_ms(&mut chance, &SCENARIOS[0], LOSS) > 250.0).count();
        assert!((1_700..2_300).contains(&late), "about 2 % have a loss: {late}");
    }
}
