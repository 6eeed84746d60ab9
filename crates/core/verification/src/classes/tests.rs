use super::*;
use crate::calibration::Margins;
use proptest::prelude::*;

fn card(name: &str) -> &'static GpuClass {
    CLASSES.iter().find(|card| card.name == name).unwrap()
}

/// Limits of an honest card that reaches shares of its peak, with 15 % to spare.
fn limits(card: &GpuClass, work_permille: u64, walk_permille: u64) -> Limits {
    let slack = |peak: Millis, share: u64| Millis(peak.0 * 1_150 / share);
    Limits {
        work: slack(card.work_at_peak(), work_permille),
        walk: Some(slack(card.walk_at_peak(), walk_permille)),
    }
}

#[test]
fn names_are_exact_and_unique() {
    let mut names: Vec<&str> = CLASSES.iter().flat_map(|card| card.nvml_names).copied().collect();
    names.sort_unstable();
    let all = names.len();
    names.dedup();
    assert_eq!(names.len(), all);
    assert_eq!(known(&"NVIDIA H100 80GB HBM3".parse().unwrap()), Known::Card(card("h100-sxm")));
    for unknown in ["NVIDIA H100", "nvidia h100 80gb hbm3", "NVIDIA H100 80GB HBM3e", "NVIDIA A1000"] {
        assert_eq!(known(&unknown.parse().unwrap()), Known::Unknown, "{unknown}");
    }
    assert_eq!(known(&"simulated-H100".parse().unwrap()), Known::Simulated);
}

#[test]
fn work_is_long_enough_and_hashing_does_not_dominate() {
    for card in CLASSES {
        let work = card.work(256).expect("within the protocol's bounds");
        assert!(card.work_at_peak() >= Millis(3_000), "{}: {}", card.name, card.work_at_peak());
        assert!(card.work_at_peak() < Millis(3_400), "{}", card.name);
        assert_eq!(card.walk_at_peak(), Millis(10_000), "{}", card.name);
        assert!(card.hash_share_permille() <= 250, "{}: {}", card.name, card.hash_share_permille());
        // Trees of all rounds, 64 bytes a leaf, and both operands fit beside the driver.
        let trees = u64::from(work.rounds()) * u64::from(work.leaves()) * 64;
        let operands = 2 * u64::from(work.side()) * u64::from(work.inner());
        assert!((trees + operands) / 1_048_576 < card.memory_mib * 9 / 10, "{}", card.name);
    }
}

#[test]
fn at_least_nine_tenths_of_the_memory_must_be_resident_and_room_is_left_for_cache_and_driver() {
    for card in CLASSES {
        let bytes = card.resident_items() * ITEM_BYTES;
        assert!(bytes * 10 >= card.memory_mib * 1_048_576 * 9, "{}", card.name);
        let left = card.memory_mib - bytes / 1_048_576;
        assert!(left >= CACHE_MIB + 1_024, "{}: {left} MiB", card.name);
        assert!(CACHE_MIB > u64::from(card.l2_mib), "{}: the cache must not fit into L2", card.name);
    }
}

#[test]
fn nine_tenths_of_the_memory_are_enforced_where_the_host_link_is_slow_beside_it() {
    // An honest card at 70 % of its data sheet, and the deadline that the service makes of it.
    for card in CLASSES {
        let honest = Millis(card.walk_at_peak().0 * 10 / 7);
        let enforced = card.enforced_permille(Margins::default().deadline(honest, None));
        let least = if card.bandwidth_gbs > 40 * card.host_link_gbs { 905 } else { 880 };
        assert!(enforced >= least, "{}: {enforced} of 1000", card.name);
        assert_eq!(card.enforced_permille(Millis(0)), u64::from(card.resident_permille));
    }
}

#[test]
fn shares_of_hashing_are_those_in_the_documentation() {
    let shares: Vec<(&str, u64)> = CLASSES.iter().map(|c| (c.name, c.hash_share_permille())).collect();
    assert_eq!(
        shares,
        [
            ("a100-40gb", 73),
            ("a100-80gb", 73),
            ("h100-pcie", 90),
            ("h100-sxm", 90),
            ("h200", 90),
            ("b200", 138),
            ("rtx-4090", 36),
            ("l40s", 36),
        ]
    );
}

#[test]
fn eight_cards_are_told_from_seven_only_by_memory_that_is_needed_at_once() {
    // RULES R14: headroom × margin of 1.143 is enough to hide one card of eight.
    let h100 = card("h100-sxm");
    let honest = limits(h100, 650, 700);
    let by_work = Limits { walk: None, ..honest };
    let Count::Unproven { paid } = h100.count(8, &by_work, WALKS) else { panic!("8 of 7 by work") };
    assert!(paid < 8);
    assert_eq!(h100.count(8, &honest, WALKS), Count::Proven { by: Some(Separation::Residency) });
    // Each walk for itself: seven walk, swap a tenth of a second, and walk the eighth.
    assert_eq!(h100.count(8, &honest, Walks::Apart), Count::Unproven { paid: 6 });
    assert_eq!(h100.count(2, &honest, Walks::Apart), Count::Proven { by: Some(Separation::Work) });
    assert_eq!(h100.count(1, &honest, WALKS), Count::Proven { by: None });
    // A kernel at the peak with no margin would be told apart by its time alone.
    let perfect = Limits { work: h100.work_at_peak(), walk: None };
    assert_eq!(h100.count(8, &perfect, Walks::Apart), Count::Proven { by: Some(Separation::Work) });
}

#[test]
fn a_slow_host_link_and_a_small_share_leave_the_count_unproven_and_pay_what_is_proven() {
    let rtx = card("rtx-4090");
    let count = rtx.count(8, &limits(rtx, 650, 500), WALKS);
    assert_eq!(count, Count::Unproven { paid: 7 }, "eight claims cannot be served by six cards");
}

#[test]
fn items_that_are_not_there_cost_what_making_or_fetching_them_takes() {
    let h100 = card("h100-sxm");
    assert_eq!(h100.slowdown_ppm(0), PPM);
    assert_eq!(h100.fetch_milli(), 52_343);
    assert_eq!(h100.again_milli(), 103_040, "128 parents, a fifth of them in L2");
    // All missing: both paths together do a read in the time of about 35.
    let all = h100.slowdown_ppm(PPM);
    assert!((34 * PPM..36 * PPM).contains(&all), "{all}");
}

proptest! {
    #[test]
    fn fewer_cards_are_never_faster_and_tighter_limits_never_prove_less(
        row in 0..CLASSES.len(),
        claimed in 2u16..=64,
        cards in 1u16..64,
        work in 3_000u64..20_000,
        walk in 2_000u64..20_000,
        tighter in 0u64..1_000,
    ) {
        let card = &CLASSES[row];
        let cards = cards.min(claimed - 1);
        prop_assert!(card.work_with(claimed, cards) >= card.work_with(claimed, cards + 1));
        // Equal where the memory is full and the host link idle, but for rounding.
        for walks in [Walks::Apart, Walks::InStep { segments: 7 }, WALKS] {
            let with = |cards| card.walk_with(claimed, cards, walks).0;
            prop_assert!(with(cards) + 2 >= with(cards + 1));
        }
        prop_assert!(card.walk_with(claimed, cards, Walks::Apart) <= card.walk_with(claimed, cards, WALKS));
        let paid = |limits: &Limits| match card.count(claimed, limits, Walks::Apart) {
            Count::Proven { .. } => claimed,
            Count::Unproven { paid } => paid,
        };
        let loose = Limits { work: Millis(work), walk: Some(Millis(walk)) };
        let tight = Limits { work: Millis(work - tighter), walk: Some(Millis(walk - tighter)) };
        prop_assert!((1..=claimed).contains(&paid(&loose)));
        prop_assert!(paid(&tight) >= paid(&loose));
        let by_work = Limits { walk: None, ..loose };
        prop_assert!(paid(&by_work) <= paid(&loose));
    }

    #[test]
    fn more_missing_items_never_take_less_time(row in 0..CLASSES.len(), missing in 0..PPM, more in 0..PPM) {
        let card = &CLASSES[row];
        // Below the point where the host link is the bottleneck, a missing item takes load off the memory.
        let worst = |m: u64| card.slowdown_ppm(m).max(PPM);
        prop_assert!(worst((missing + more).min(PPM)) + 2_000 >= worst(missing));
    }
}
