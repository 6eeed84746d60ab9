use super::*;
use crate::calibration::Margins;

fn card(name: &str) -> &'static GpuClass {
    CLASSES.iter().find(|card| card.name == name).unwrap()
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
