//! The reveal schedule against a simulation of the chain's block pipeline.

use basilica_timelock::Round;
use basilica_timelock::schedule::{
    BeaconClock, EpochClock, INGEST_MARGIN_BLOCKS, MAX_TEMPO, ModularClock, ScheduleError,
};
use basilica_types::{Millis, Timestamp};
use proptest::prelude::*;

const fn clock(last_epoch_block: u64, pending_epoch_at: u64, tempo: u16) -> EpochClock {
    EpochClock { last_epoch_block, pending_epoch_at, epoch_index: 0, blocks_since_last_step: 0, tempo }
}

/// The chain, block by block: reveals, then epochs, then extrinsics. Returns the first block whose reveals take up what
/// was committed in the block after `head`.
fn reveal_block_on_chain(mut chain: EpochClock, head: u64, period: u64) -> u64 {
    let mut committed_in = None;
    for block in head + 1.. {
        let epoch_of_reveals = chain.epoch_at(block);
        if committed_in.is_some_and(|epoch: u64| epoch + period == epoch_of_reveals) {
            return block;
        }
        let before = chain;
        chain = chain.after(block);
        if committed_in.is_none() {
            // Commits are dated after the block's epoch has run, by the counter alone unless an epoch is deferred.
            committed_in = Some(before.epoch_at(block));
        }
    }
    unreachable!("the loop has no end")
}

#[test]
fn reveal_blocks_of_known_clocks() {
    assert_eq!(clock(10, 0, 50).first_reveal_block(10, 1), Ok(60));
    assert_eq!(clock(80, 95, 20).first_reveal_block(91, 1), Ok(95));
    assert_eq!(clock(100, 0, 50).first_reveal_block(148, 1), Ok(150), "committed in 149");
    assert_eq!(clock(100, 0, 50).first_reveal_block(149, 1), Ok(200), "committed in 150, the next epoch's");
    assert_eq!(clock(0, 0, 360).first_reveal_block(0, 100), Ok(36_000));
}

#[test]
fn an_overdue_epoch_runs_after_the_longest_tempo() {
    let stuck = EpochClock { blocks_since_last_step: MAX_TEMPO, ..clock(0, 0, u16::MAX) };
    // The counter passes the limit within block 11, whose reveals still saw the old epoch.
    assert_eq!(stuck.first_reveal_block(10, 1), Ok(12));
}

#[test]
fn clocks_that_lead_nowhere_are_errors() {
    assert_eq!(clock(0, 0, 0).first_reveal_block(0, 1), Err(ScheduleError::NoEpochs));
    assert_eq!(clock(0, 0, 9).first_reveal_block(0, 0), Err(ScheduleError::RevealPeriod(0)));
    assert_eq!(clock(0, 0, 9).first_reveal_block(0, 101), Err(ScheduleError::RevealPeriod(101)));
    assert!(clock(u64::MAX, 0, 9).first_reveal_block(0, 1).is_ok(), "the step counter ends any wait");
    let full = EpochClock { epoch_index: u64::MAX, ..clock(0, 0, 9) };
    assert!(full.first_reveal_block(0, 1).is_ok(), "saturated");
    assert_eq!(ModularClock { netuid: 1, tempo: 0 }.first_reveal_block(5, 1), Err(ScheduleError::NoEpochs));
}

#[test]
fn the_modular_clock_shifts_by_the_subnets_number() {
    let clock = ModularClock { netuid: 39, tempo: 359 };
    assert_eq!(clock.epoch_at(319), 0);
    assert_eq!(clock.epoch_at(320), 1);
    assert_eq!(clock.first_block_of(1), 320);
    assert_eq!(clock.first_reveal_block(100, 1), Ok(320));
    assert_eq!(clock.first_reveal_block(319, 1), Ok(680), "included in 320");
}

#[test]
fn rounds_follow_the_beacons_clock() {
    let quicknet = BeaconClock::QUICKNET;
    assert_eq!(quicknet.latest(Timestamp(1_692_803_366_999)), None);
    assert_eq!(quicknet.latest(Timestamp(1_692_803_367_000)), Some(Round(1)));
    assert_eq!(quicknet.latest(Timestamp(1_692_803_369_999)), Some(Round(1)));
    assert_eq!(quicknet.latest(Timestamp(1_692_803_370_000)), Some(Round(2)));
    assert_eq!(quicknet.published(Round(2)), Timestamp(1_692_803_370_000));
    // 40 blocks and the margin of 3, 12 s each: 516 s, that is 172 periods.
    let round = quicknet.reveal_round(Timestamp(1_692_803_367_000), 20, 60, Millis(12_000));
    assert_eq!(round, Round(172));
    assert_eq!(quicknet.reveal_round(Timestamp(0), 0, 0, Millis(0)), Round(1), "never round 0");
}

proptest! {
    #[test]
    fn the_predicted_block_is_the_chains(
        last in 0u64..1_000,
        pending_after in prop::option::of(1u64..200),
        index in 0u64..50,
        tempo in 1u16..300,
        since in 0u64..400,
        ahead in 0u64..400,
        period in 1u64..6,
    ) {
        let head = last + ahead;
        let clock = EpochClock {
            last_epoch_block: last,
            pending_epoch_at: pending_after.map_or(0, |after| head + after),
            epoch_index: index,
            blocks_since_last_step: since,
            tempo,
        };
        let predicted = clock.first_reveal_block(head, period).unwrap();
        prop_assert_eq!(predicted, reveal_block_on_chain(clock, head, period));
    }

    #[test]
    fn the_round_is_published_before_the_target_block_and_after_the_one_before_the_margin(
        now in 1_700_000_000_000i64..1_900_000_000_000,
        head in 0u64..1_000_000,
        wait in 1u64..10_000,
    ) {
        let block_time = Millis(12_000);
        let first = head + wait;
        let round = BeaconClock::QUICKNET.reveal_round(Timestamp(now), head, first, block_time);
        let published = BeaconClock::QUICKNET.published(round);
        let at = |block: u64| Timestamp(now).saturating_add(Millis((block - head) * block_time.0));
        prop_assert!(published <= at(first + INGEST_MARGIN_BLOCKS));
        prop_assert!(published >= at(first), "never before the reveal epoch begins");
    }

    #[test]
    fn no_clock_makes_it_panic(
        last in any::<u64>(), pending in any::<u64>(), index in any::<u64>(), since in any::<u64>(),
        tempo in any::<u16>(), head in any::<u64>(), period in 0u64..3,
        now in any::<i64>(), block_time in any::<u64>(),
    ) {
        let clock = EpochClock {
            last_epoch_block: last, pending_epoch_at: pending, epoch_index: index,
            blocks_since_last_step: since, tempo,
        };
        if let Ok(block) = clock.first_reveal_block(head, period) {
            let _ = BeaconClock::QUICKNET.reveal_round(Timestamp(now), head, block, Millis(block_time));
        }
        let _ = ModularClock { netuid: tempo, tempo }.first_reveal_block(head, period);
    }
}
