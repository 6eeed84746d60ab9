use super::*;
use crate::classes::{CLASSES, WALKS};
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

fn count_of(name: &str, claimed: usize, limits: &Limits) -> Count {
    count(&vec![card(name); claimed], limits, WALKS)
}

/// Whether so many cards of the very class that is claimed are late.
fn late(name: &str, claimed: usize, cards: usize, limits: &Limits, walks: Walks) -> Option<Separation> {
    let class = card(name);
    Rig::of(vec![class; cards]).is_late(&Demand::of(vec![class; claimed]), limits, walks)
}

#[test]
fn eight_cards_are_told_from_seven_of_their_kind_only_by_memory_that_is_needed_at_once() {
    // RULES R14: headroom × margin of 1.143 is enough to hide one card of eight.
    let honest = limits(card("h100-sxm"), 650, 700);
    let by_work = Limits { walk: None, ..honest };
    assert_eq!(late("h100-sxm", 8, 7, &by_work, WALKS), None);
    assert_eq!(late("h100-sxm", 8, 7, &honest, WALKS), Some(Separation::Residency));
    // Each walk for itself: seven walk, swap a tenth of a second, and walk the eighth.
    assert_eq!(late("h100-sxm", 8, 7, &honest, Walks::Apart), None);
    assert_eq!(late("h100-sxm", 2, 1, &honest, Walks::Apart), Some(Separation::Work));
}

#[test]
fn honest_owners_of_eight_cards_are_paid_for_eight() {
    for class in ["a100-80gb", "h100-pcie", "h100-sxm", "h200", "b200"] {
        let honest = limits(card(class), 650, 700);
        let proven = Count::Proven { by: Some(Separation::Residency) };
        assert_eq!(count_of(class, 8, &honest), proven, "{class}");
    }
    let h100 = limits(card("h100-sxm"), 650, 700);
    assert_eq!(count_of("h100-sxm", 1, &h100), Count::Proven { by: None });
}

#[test]
fn a_larger_card_plays_several_smaller_ones_which_is_open() {
    let played = |large: &str, small: &str, of: usize| {
        let limits = limits(card(small), 650, 700);
        Rig::of([card(large)]).is_late(&Demand::of(vec![card(small); of]), &limits, WALKS)
    };
    assert_eq!(played("b200", "h100-sxm", 2), None);
    assert_eq!(played("h200", "a100-40gb", 3), None);
}

#[test]
fn cards_of_several_classes_are_counted_together() {
    let slack = limits(card("h100-sxm"), 650, 700);
    let mixed = [card("b200"), card("a100-40gb"), card("a100-40gb")];
    let Count::Unproven { paid } = count(&mixed, &slack, WALKS) else { panic!("a B200 does an A100's part") };
    assert!(paid < 3);
}

#[test]
fn items_that_are_not_there_cost_what_making_or_fetching_them_takes() {
    let h100 = Rig::of([card("h100-sxm")]);
    assert_eq!(h100.slowdown_ppm(0), PPM);
    assert_eq!(h100.fetch_milli(), 52_343);
    assert_eq!(h100.again_milli(), 103_040, "128 parents, a fifth of them in L2");
    // All missing: both paths together do a read in the time of about 35.
    let all = h100.slowdown_ppm(PPM);
    assert!((34 * PPM..36 * PPM).contains(&all), "{all}");
}

fn some_cards(most: usize) -> impl Strategy<Value = Vec<&'static GpuClass>> {
    proptest::collection::vec((0..CLASSES.len()).prop_map(|row| &CLASSES[row]), 1..=most)
}

fn some_limits() -> impl Strategy<Value = Limits> {
    (3_000u64..20_000, 8_000u64..40_000)
        .prop_map(|(work, walk)| Limits { work: Millis(work), walk: Some(Millis(walk)) })
}

fn paid(count: Count, claimed: usize) -> usize {
    match count {
        Count::Proven { .. } => claimed,
        Count::Unproven { paid } => usize::from(paid),
    }
}

proptest! {
    /// The property that the count is for.
    #[test]
    fn no_rig_of_the_claimed_classes_is_paid_for_more_cards_than_it_has(
        claims in some_cards(12),
        picks in proptest::collection::vec(any::<proptest::sample::Index>(), 1..=12),
        limits in some_limits(),
    ) {
        let rig: Vec<&GpuClass> = picks.iter().map(|pick| *pick.get(&claims)).collect();
        let demand = Demand::of(claims.iter().copied());
        let in_time = Rig::of(rig.iter().copied()).is_late(&demand, &limits, WALKS).is_none();
        let paid = paid(count(&claims, &limits, WALKS), claims.len());
        prop_assert!(!in_time || paid <= rig.len(), "{paid} paid, {} there", rig.len());
        prop_assert!((1..=claims.len()).contains(&paid));
    }

    #[test]
    fn tighter_limits_never_prove_less(claims in some_cards(12), limits in some_limits(), tighter in 0u64..3_000) {
        let walk = limits.walk.map(|walk| Millis(walk.0 - tighter));
        let tight = Limits { work: Millis(limits.work.0 - tighter), walk };
        let paid = |limits: &Limits| paid(count(&claims, limits, WALKS), claims.len());
        prop_assert!(paid(&tight) >= paid(&limits));
        let by_work = Limits { walk: None, ..limits };
        prop_assert!(paid(&by_work) <= paid(&limits));
    }

    #[test]
    fn one_card_more_is_never_slower(claims in some_cards(12), rig in some_cards(12), row in 0..CLASSES.len()) {
        let demand = Demand::of(claims);
        let more = Rig::fastest(CLASSES, u16::try_from(rig.len()).unwrap() + 1);
        let fastest = Rig::fastest(CLASSES, u16::try_from(rig.len()).unwrap());
        let one_row = Rig::of(vec![&CLASSES[row]; rig.len()]);
        for walks in [Walks::Apart, Walks::InStep { segments: 7 }, WALKS] {
            // Equal where the memory is full and the host link idle, but for rounding.
            prop_assert!(fastest.walk(&demand, walks).0 + 4 >= more.walk(&demand, walks).0);
            prop_assert!(one_row.walk(&demand, walks).0 + 4 >= fastest.walk(&demand, walks).0);
            prop_assert!(fastest.walk(&demand, Walks::Apart) <= fastest.walk(&demand, walks));
        }
        prop_assert!(fastest.work(&demand) >= more.work(&demand));
        prop_assert!(one_row.work(&demand) >= fastest.work(&demand));
    }

    #[test]
    fn more_missing_items_never_take_less_time(row in 0..CLASSES.len(), missing in 0..PPM, more in 0..PPM) {
        let card = Rig::of([&CLASSES[row]]);
        // Below the point where the host link is the bottleneck, a missing item takes load off the memory.
        let worst = |m: u64| card.slowdown_ppm(m).max(PPM);
        prop_assert!(worst((missing + more).min(PPM)) + 2_000 >= worst(missing));
    }
}
