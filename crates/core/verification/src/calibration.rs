//! How long an honest card takes, and the deadline that follows.
//!
//! A deadline is the honest time that one run in a thousand exceeds, times a margin, plus what the network took on this
//! very channel, plus a constant ([`Margins::deadline`]). The honest time is measured per class and driver and stands in
//! [`CALIBRATIONS`] with where it comes from. No card has been measured yet: every real class is uncalibrated, and that
//! is never its fault ([`crate::Reason::GpuClassUncalibrated`]). A class under another driver is uncalibrated too, because
//! drivers change clocks and schedulers.
//!
//! The round trips are echoes by the node, who can delay them: what they may add is bounded by
//! [`Margins::network_max`], far below what a second card's work takes. Rejected: deadlines from the class's best
//! observed time (a cheater would set it), and from the node's own past (it would train us).

use basilica_proof::ClassName;
use basilica_types::Millis;

use crate::classes::{Known, known};

/// Version of this table; a change to any row makes a new one.
pub const TABLE_VERSION: u16 = 1;
/// Fewest round trips that say anything about jitter.
pub const ROUND_TRIPS_MIN: usize = 5;
/// Most that are looked at.
pub const ROUND_TRIPS_MAX: usize = 64;

/// Times of one run by stage, by the validator's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StageTimes {
    /// From the start nonce to the last root.
    pub work: Millis,
    /// From the last root to the last device filled.
    pub fill: Millis,
    /// From the walk's nonce to its last root.
    pub walk: Millis,
    /// From the opening nonce to the last opening.
    pub openings: Millis,
}

/// Where a row comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Provenance {
    /// Runs on real cards: the 999th of every thousand, sorted.
    Measured {
        /// Runs.
        runs: u32,
        /// Machine, date and command.
        how: &'static str,
    },
    /// Not measured; said so wherever the row is used.
    Chosen {
        /// By what argument.
        why: &'static str,
    },
}

/// What a row is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// A row of [`crate::classes::CLASSES`] under one major version of the driver.
    Card {
        /// The class's own name.
        class: &'static str,
        /// Such as 570.
        driver_major: u16,
    },
    /// Every class that a CPU plays.
    Simulated,
}

/// The honest times of one class under one driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Calibration {
    /// What it is about.
    pub subject: Subject,
    /// What one honest run in a thousand exceeds.
    pub honest: StageTimes,
    /// Where the times come from.
    pub provenance: Provenance,
}

/// Every calibration of this version.
pub const CALIBRATIONS: &[Calibration] = &[Calibration {
    subject: Subject::Simulated,
    honest: StageTimes {
        work: Millis::from_secs(60),
        fill: Millis::from_secs(60),
        walk: Millis::from_secs(60),
        openings: Millis::from_secs(30),
    },
    provenance: Provenance::Chosen {
        why: "a CPU core shared by a whole localnet; a simulated class proves that a CPU worked, not how fast",
    },
}];

/// The calibration of a class under a driver, if there is one: none means `uncalibrated`, never failed.
pub fn calibration(class: &ClassName, driver_major: Option<u16>) -> Option<&'static Calibration> {
    find(CALIBRATIONS, class, driver_major)
}

/// The same by any table.
pub fn find<'a>(rows: &'a [Calibration], class: &ClassName, driver: Option<u16>) -> Option<&'a Calibration> {
    let known = known(class);
    rows.iter().find(|row| match (row.subject, known) {
        (Subject::Simulated, Known::Simulated) => true,
        (Subject::Card { class, driver_major }, Known::Card(card)) => {
            card.name == class && driver == Some(driver_major)
        }
        _ => false,
    })
}

/// What the network took, from round trips on the channel of the proof.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RoundTrips {
    /// The middle one.
    pub median: Millis,
    /// The middle distance from the middle one (MAD): a tenth of wild samples does not move it.
    pub deviation: Millis,
}

impl RoundTrips {
    /// From samples in any order; none below [`ROUND_TRIPS_MIN`]. The first [`ROUND_TRIPS_MAX`] count.
    pub fn of(samples: &[Millis]) -> Option<Self> {
        let samples = samples.get(..ROUND_TRIPS_MAX).unwrap_or(samples);
        if samples.len() < ROUND_TRIPS_MIN {
            return None;
        }
        let median = middle(samples.iter().map(|sample| sample.0).collect());
        let deviation = middle(samples.iter().map(|sample| sample.0.abs_diff(median)).collect());
        Some(Self { median: Millis(median), deviation: Millis(deviation) })
    }
}

/// The upper middle of a list that is not empty.
fn middle(mut values: Vec<u64>) -> u64 {
    values.sort_unstable();
    values[values.len() / 2]
}

/// How a deadline is made from an honest time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Margins {
    /// Factor on the honest time, in thousandths, at least 1,000.
    pub margin_permille: u32,
    /// Factor on the deviation of round trips.
    pub deviations: u32,
    /// Most that round trips add, because the node makes them.
    pub network_max: Millis,
    /// Added to every stage: retransmissions and this host's own scheduling.
    pub constant: Millis,
}

impl Default for Margins {
    /// 10 %, eight deviations, at most 300 ms for the network, and 850 ms: a nonce that is sent again after a time-out and a segment's root
    /// that is repaired after it are not late.
    fn default() -> Self {
        Self { margin_permille: 1_100, deviations: 8, network_max: Millis(300), constant: Millis(850) }
    }
}

impl Margins {
    /// The deadline of a stage. Without round trips, the network is given all that it may have.
    pub fn deadline(&self, honest: Millis, trips: Option<RoundTrips>) -> Millis {
        let scaled = (u128::from(honest.0) * u128::from(self.margin_permille)).div_ceil(1_000);
        let scaled = u64::try_from(scaled).unwrap_or(u64::MAX);
        let network = trips.map_or(self.network_max, |trips| {
            let deviations = trips.deviation.0.saturating_mul(u64::from(self.deviations));
            Millis(trips.median.0.saturating_add(deviations)).min(self.network_max)
        });
        Millis(scaled.saturating_add(network.0).saturating_add(self.constant.0))
    }

    /// The deadlines of all stages.
    pub fn deadlines(&self, honest: &StageTimes, trips: Option<RoundTrips>) -> StageTimes {
        let of = |stage| self.deadline(stage, trips);
        StageTimes {
            work: of(honest.work),
            fill: of(honest.fill),
            walk: of(honest.walk),
            openings: of(honest.openings),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::classes::CLASSES;
    use proptest::prelude::*;

    fn class(name: &str) -> ClassName {
        name.parse().unwrap()
    }

    #[test]
    fn no_real_class_is_calibrated_and_every_simulated_one_is() {
        for card in CLASSES {
            for name in card.nvml_names {
                assert_eq!(calibration(&class(name), Some(570)), None, "{name}: nothing was measured");
            }
        }
        assert!(calibration(&class("simulated-H100"), None).is_some());
        assert_eq!(calibration(&class("NVIDIA GB300"), Some(580)), None);
    }

    #[test]
    fn a_row_holds_for_its_driver_only() {
        let rows = [Calibration {
            subject: Subject::Card { class: "h100-sxm", driver_major: 570 },
            ..CALIBRATIONS[0]
        }];
        let h100 = class("NVIDIA H100 80GB HBM3");
        assert!(find(&rows, &h100, Some(570)).is_some());
        for (other, driver) in [
            ("NVIDIA H100 80GB HBM3", Some(580)),
            ("NVIDIA H100 80GB HBM3", None),
            ("NVIDIA H200", Some(570)),
        ] {
            assert_eq!(find(&rows, &class(other), driver), None, "{other} {driver:?}");
        }
    }

    #[test]
    fn rows_name_classes_that_exist() {
        for row in CALIBRATIONS {
            if let Subject::Card { class, .. } = row.subject {
                assert!(CLASSES.iter().any(|card| card.name == class), "{class}");
            }
        }
    }

    #[test]
    fn a_deadline_is_the_sum_that_the_documentation_says() {
        let trips = RoundTrips { median: Millis(30), deviation: Millis(4) };
        let deadline = Margins::default().deadline(Millis(5_001), Some(trips));
        assert_eq!(deadline, Millis(5_502 + 30 + 32 + 850));
        assert_eq!(Margins::default().deadline(Millis(0), None), Millis(1_150));
        assert_eq!(Margins::default().deadline(Millis(u64::MAX), None), Millis(u64::MAX));
    }

    #[test]
    fn wild_samples_do_not_move_the_deviation() {
        let mut samples = [20u64, 21, 22, 20, 21, 22, 21, 20, 22, 21].map(Millis);
        let calm = RoundTrips::of(&samples).unwrap();
        samples[3] = Millis(9_000);
        assert_eq!(RoundTrips::of(&samples).unwrap().median, calm.median);
        assert!(RoundTrips::of(&samples).unwrap().deviation.0 <= 1);
        assert_eq!(RoundTrips::of(&samples[..4]), None);
    }

    proptest! {
        #[test]
        fn a_node_that_delays_its_echoes_gains_no_more_than_the_bound(
            honest in 0u64..100_000,
            samples in proptest::collection::vec(any::<u64>(), 0..80),
        ) {
            let margins = Margins::default();
            let trips = RoundTrips::of(&samples.into_iter().map(Millis).collect::<Vec<_>>());
            let none = RoundTrips { median: Millis(0), deviation: Millis(0) };
            let least = margins.deadline(Millis(honest), Some(none));
            let deadline = margins.deadline(Millis(honest), trips);
            prop_assert!(deadline >= least && deadline.0 <= least.0 + margins.network_max.0);
        }

        #[test]
        fn a_longer_honest_time_never_shortens_a_deadline(honest: u64, more: u64, median in 0u64..500, deviation in 0u64..99) {
            let trips = Some(RoundTrips { median: Millis(median), deviation: Millis(deviation) });
            let of = |honest| Margins::default().deadline(Millis(honest), trips);
            prop_assert!(of(honest.saturating_add(more)) >= of(honest) && of(honest).0 >= honest);
        }
    }
}
