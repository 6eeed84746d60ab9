//! What one challenge asks of a node's devices, and how long it may take.

use basilica_proof::residency::{
    CACHE_LOG2_DEFAULT, LANES_MAX, READS_DEFAULT, ResidencyError, ResidencyParams, STEPS_MAX, Space,
    WalkParams,
};
use basilica_proof::{
    ClassName, Deadlines, DeviceChallenge, DeviceClaim, DeviceReport, OPENINGS_DEFAULT, ParamsError,
    ProofParams,
};
use basilica_types::{BlockNumber, Millis};

use crate::calibration::{Calibration, Margins, RoundTrips, find};
use crate::classes::{BARRIERS, GpuClass, Known, Limits, PARENTS, known};

/// A beacon serves so many blocks: an hour of 12 s, in which one cache serves every node.
pub const BEACON_BLOCKS: u64 = 300;
/// Bytes that one device's answer has at the most, as a test holds.
pub const ANSWER_BYTES_OF_DEVICE: u64 = 3 << 19;
/// Blocks of 64 bytes in the cache of a challenge to simulated devices alone: 256 KiB, made in milliseconds.
const SIMULATED_CACHE_LOG2: u8 = 12;
/// Items in each space of a simulated device: 2 MiB.
const SIMULATED_ITEMS: u64 = 1 << 15;
const SIMULATED_PARENTS: u16 = 16;
const SIMULATED_WALK: WalkParams = WalkParams {
    lanes: 256,
    steps: 64,
    reads: READS_DEFAULT,
    windows: 2,
    barriers: 3,
    picks: 16,
    lanes_per_pick: 4,
};
/// Fewest lanes of a card's walk: twice what an A100 keeps in flight. Faster cards have more, so that their steps stay within bounds.
const LANES: u32 = 1 << 17;
/// Items that a card reads at random at full speed: 32 GiB, half of what an A100's translation buffers reach
/// (arXiv 2405.11425).
const WINDOW_ITEMS: u64 = 1 << 29;
/// Steps, and lanes of each, that are opened: 256 in all, half a million reads of the cache (RULES R13: 0.2 s).
const PICKS: (u16, u16) = (64, 4);

/// Most time from the challenge to the start nonce: half a minute for another prover to end, and a driver's start. It is far below what
/// it takes to order a card, because whoever accepts late has that long to fetch what it will be asked to show.
pub const ACCEPT_MOST: Millis = Millis::from_secs(50);

/// The work and memory of one challenge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// Every device with what is asked of it.
    pub devices: Vec<DeviceChallenge>,
    /// The cache that their memory needs.
    pub cache_log2: Option<u8>,
}

/// A challenge that cannot be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    /// No work is known for a class.
    #[error("no work is known for gpu class {0}")]
    UnknownClass(ClassName),
    /// The table asks for work that no challenge may ask for.
    #[error("work of the class table")]
    Work(#[from] ParamsError),
    /// Likewise memory.
    #[error("memory of the class table")]
    Memory(#[from] ResidencyError),
}

/// What is asked of claimed devices: of a card what its class can do, of a simulated one `simulated` and a little memory
/// in each space that a CPU can play.
pub fn ask(claims: impl Iterator<Item = DeviceClaim>, simulated: ProofParams) -> Result<Asked, AskError> {
    let mut cache_log2 = SIMULATED_CACHE_LOG2;
    let device = |claim: DeviceClaim| {
        let (params, residency) = match known(&claim.class) {
            Known::Unknown => return Err(AskError::UnknownClass(claim.class)),
            Known::Simulated => (simulated, simulated_regions()?),
            Known::Card(card) => {
                cache_log2 = CACHE_LOG2_DEFAULT;
                (card.work(OPENINGS_DEFAULT)?, vec![device_region(card)?])
            }
        };
        Ok(DeviceChallenge { claim, params, residency })
    };
    let devices = claims.map(device).collect::<Result<Vec<_>, AskError>>()?;
    Ok(Asked { devices, cache_log2: Some(cache_log2) })
}

fn simulated_regions() -> Result<Vec<ResidencyParams>, ResidencyError> {
    let region = |space| ResidencyParams::new(space, SIMULATED_ITEMS, SIMULATED_PARENTS, SIMULATED_WALK);
    [Space::Device, Space::Host].into_iter().map(region).collect()
}

/// The region that fills a card, and a walk through it that takes [`crate::classes::WALK_SECONDS`] at the data sheet's bandwidth.
///
/// # Errors
/// None for any row of the table, which a test holds.
pub fn device_region(card: &GpuClass) -> Result<ResidencyParams, ResidencyError> {
    let steps = |lanes: u32| card.walk_bytes().div_ceil(u64::from(lanes) * u64::from(READS_DEFAULT) * 64);
    let most = u64::from(STEPS_MAX);
    let lanes =
        [LANES, 2 * LANES, 4 * LANES].into_iter().find(|lanes| steps(*lanes) <= most).unwrap_or(LANES_MAX);
    let steps = u32::try_from(steps(lanes)).unwrap_or(u32::MAX);
    let items = card.resident_items();
    let windows = u16::try_from(items.div_ceil(WINDOW_ITEMS)).unwrap_or(u16::MAX);
    let (picks, lanes_per_pick) = PICKS;
    let walk =
        WalkParams { lanes, steps, reads: READS_DEFAULT, windows, barriers: BARRIERS, picks, lanes_per_pick };
    ResidencyParams::new(Space::Device, items, PARENTS, walk)
}

/// The deadlines of a run of these devices: for each stage what its slowest class under its driver is given after these round trips, and never more than `most`. A class
/// without calibration has `most`, and its times decide nothing. To accept, a prover has [`ACCEPT_MOST`], whatever its class.
pub fn deadlines<'a>(
    devices: impl Iterator<Item = &'a DeviceReport>,
    calibrations: &[Calibration],
    margins: &Margins,
    trips: Option<RoundTrips>,
    most: Millis,
) -> Deadlines {
    let mut longest = [Millis(0); 5];
    for DeviceReport { class, facts, .. } in devices {
        let given = find(calibrations, class, facts.driver.major()).map_or([most; 5], |row| {
            let stages = margins.deadlines(&row.honest, trips);
            // A core that plays a card keeps no pace.
            let slack = if class.is_simulated() { stages.walk } else { margins.deadline(Millis(0), trips) };
            [stages.work, stages.fill, stages.walk, slack, stages.openings]
        });
        for (longest, given) in longest.iter_mut().zip(given) {
            *longest = (*longest).max(given).min(most);
        }
    }
    let [work, fill, walk, walk_slack, openings] = longest.map(Millis::as_duration);
    Deadlines { accept: most.min(ACCEPT_MOST).as_duration(), work, fill, walk, walk_slack, openings }
}

/// What a run within these deadlines took at the most, as far as it tells cards apart.
pub fn limits(deadlines: &Deadlines) -> Limits {
    Limits { work: Millis::from(deadlines.work), walk: Some(Millis::from(deadlines.walk)) }
}

/// The block whose hash is the beacon when `head` is the newest finalised one.
pub const fn beacon_block(head: BlockNumber) -> BlockNumber {
    BlockNumber(head.0 - head.0 % BEACON_BLOCKS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    use crate::calibration::{CALIBRATIONS, StageTimes, Subject};
    use crate::classes::CLASSES;
    use basilica_proof::{Binding, Challenge, DeviceFacts};
    use basilica_types::{GpuUuid, NodeId};

    fn claims(class: &str, count: u16) -> impl Iterator<Item = DeviceClaim> {
        let class: ClassName = class.parse().unwrap();
        (0..count).map(move |index| {
            let uuid = GpuUuid::from_bytes([u8::try_from(index).unwrap(); 16]);
            DeviceClaim { index, uuid, class: class.clone() }
        })
    }

    #[test]
    fn every_class_can_be_challenged_eight_at_a_time() {
        let names = CLASSES.iter().flat_map(|card| card.nvml_names).chain([&"simulated-H100"]);
        for name in names {
            let asked = ask(claims(name, 8), ProofParams::SIMULATED).unwrap();
            let binding = Binding {
                beacon: [1; 32],
                validator_nonce: [2; 32],
                node: NodeId::from_bytes([3; 16]),
                host_key: vec![4; 51],
            };
            let challenge = Challenge::new(binding, asked.cache_log2, asked.devices).unwrap();
            assert!(
                challenge.answer_bytes() <= 8 * ANSWER_BYTES_OF_DEVICE,
                "{name}: {}",
                challenge.answer_bytes()
            );
        }
    }

    #[test]
    fn a_cards_region_fills_it_and_its_walk_takes_ten_seconds_at_its_peak() {
        for card in CLASSES {
            let region = device_region(card).unwrap();
            assert!(region.bytes() * 10 >= card.memory_mib * 1_048_576 * 9, "{}", card.name);
            assert!(region.bytes_read() >= card.walk_bytes(), "{}", card.name);
            assert!(
                region.evasion(0.01) < 1e-17
                    && region.items() / u64::from(region.walk().windows) <= WINDOW_ITEMS
            );
        }
    }

    #[test]
    fn an_unknown_class_has_no_work() {
        let refused = ask(claims("NVIDIA GB300", 1), ProofParams::SIMULATED).unwrap_err();
        assert_eq!(refused, AskError::UnknownClass("NVIDIA GB300".parse().unwrap()));
    }

    #[test]
    fn a_stage_has_what_its_slowest_class_is_given_and_never_more_than_the_most() {
        let report = |name: &str| {
            let class: ClassName = name.parse().unwrap();
            let facts = DeviceFacts::simulated(&class, 0);
            DeviceReport { index: 0, uuid: GpuUuid::from_bytes([1; 16]), class, facts }
        };
        let (simulated, real) = (report("simulated-H100"), report("NVIDIA H200"));
        let most = Millis::from_secs(90);
        let given = |devices: &[&DeviceReport], most| {
            deadlines(devices.iter().copied(), CALIBRATIONS, &Margins::default(), None, most)
        };
        let alone = given(&[&simulated], most);
        assert_eq!(alone.work, Millis(67_150).as_duration());
        assert_eq!(alone.openings, Millis(34_150).as_duration());
        let all = Deadlines { accept: ACCEPT_MOST.as_duration(), ..Deadlines::all(most.as_duration()) };
        assert_eq!(given(&[&simulated, &real], most), all);
        assert_eq!(given(&[&simulated], Millis(5)), Deadlines::all(Millis(5).as_duration()));
    }

    #[test]
    fn a_row_in_the_calibration_table_gives_its_class_deadlines_of_its_own() {
        let class: ClassName = "NVIDIA H200".parse().unwrap();
        let facts = DeviceFacts::simulated(&class, 0);
        let driver_major = facts.driver.major().unwrap();
        let device = DeviceReport { index: 0, uuid: GpuUuid::from_bytes([1; 16]), class, facts };
        let honest = StageTimes {
            work: Millis(5_000),
            fill: Millis(2_000),
            walk: Millis(14_000),
            openings: Millis(16_000),
        };
        let row =
            Calibration { subject: Subject::Card { class: "h200", driver_major }, honest, ..CALIBRATIONS[0] };
        let most = Millis::from_secs(90);
        let given =
            |rows: &[Calibration]| deadlines([&device].into_iter(), rows, &Margins::default(), None, most);
        assert_eq!(
            given(CALIBRATIONS),
            Deadlines { accept: ACCEPT_MOST.as_duration(), ..Deadlines::all(most.as_duration()) },
            "none, and its times decide nothing"
        );
        let deadlines = given(&[row]);
        let of = |stage: Duration| Millis::from(stage).0;
        assert_eq!(
            [deadlines.work, deadlines.fill, deadlines.walk, deadlines.walk_slack].map(of),
            [6_650, 3_350, 16_550, 1_150]
        );
        assert_eq!(deadlines.accept, ACCEPT_MOST.as_duration(), "no time to order a card");
    }

    #[test]
    fn a_beacon_serves_a_span_of_blocks() {
        for (head, block) in [(0, 0), (299, 0), (300, 300), (899, 600)] {
            assert_eq!(beacon_block(BlockNumber(head)), BlockNumber(block));
        }
    }
}
