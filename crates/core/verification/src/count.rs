//! For how many of the claimed GPUs a node is paid (RULES R14).
//!
//! Where the deadlines of a passed proof do not tell N cards of a class from fewer, the count is unproven, and the node
//! is paid for the largest number that they do tell, at least one per class. The verdict says so by what it always says: its claims
//! are N, the GPUs that it stands for are fewer ([`crate::Verdict::unproven`]). In all other passed verdicts the two are equal, so
//! nothing was added to the signed bytes, and a reader who knows nothing of this counts the same cards.
//!
//! Which cards are left out says nothing about them: the last ones by index are.
//!
//! Cards are counted by class, as if a cheater had cards of that class only. One faster card that stands for several
//! slower ones is not found here.

use std::collections::BTreeMap;
use std::fmt;

use crate::classes::{Count, Known, Limits, WALKS, known};
use crate::{ClaimedGpu, ProvenGpu};

/// Of the GPUs that passed a proof within these limits, those that count. Simulated ones all do: there is nothing that they could
/// be told from.
pub fn counted(mut gpus: Vec<ProvenGpu>, claims: &[ClaimedGpu], limits: &Limits) -> Vec<ProvenGpu> {
    let mut claims: Vec<&ClaimedGpu> = claims.iter().collect();
    claims.sort_unstable_by_key(|claim| claim.index);
    let mut of_class: BTreeMap<&str, (Known, Vec<&ClaimedGpu>)> = BTreeMap::new();
    for claim in claims {
        let known = known(&claim.class);
        let name = match known {
            Known::Card(card) => card.name,
            Known::Simulated | Known::Unknown => claim.class.as_str(),
        };
        of_class.entry(name).or_insert((known, Vec::new())).1.push(claim);
    }
    let left_out = |(known, claimed): (Known, Vec<&ClaimedGpu>)| {
        let paid = paid(known, claimed.len(), limits);
        claimed.into_iter().skip(paid).map(|claim| claim.uuid).collect::<Vec<_>>()
    };
    let left_out: Vec<_> = of_class.into_values().flat_map(left_out).collect();
    gpus.retain(|gpu| !left_out.contains(&gpu.uuid));
    gpus
}

fn paid(known: Known, claimed: usize, limits: &Limits) -> usize {
    match known {
        Known::Simulated => claimed,
        // Of a card without a row nothing tells two from one.
        Known::Unknown => 1,
        Known::Card(card) => match card.count(u16::try_from(claimed).unwrap_or(u16::MAX), limits, WALKS) {
            Count::Proven { .. } => claimed,
            Count::Unproven { paid } => usize::from(paid),
        },
    }
}

/// `count_unproven`: a passed proof stands for fewer GPUs than were claimed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CountUnproven {
    /// GPUs that the node claimed and proved together.
    pub claimed: usize,
    /// GPUs that it is paid for.
    pub paid: usize,
}

impl CountUnproven {
    /// The word in JSON and logs.
    pub const CODE: &'static str = "count_unproven";
}

impl fmt::Display for CountUnproven {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { claimed, paid } = self;
        write!(
            f,
            "count unproven: {claimed} gpus were claimed and {paid} count, because fewer cards than claimed could have met the deadlines"
        )
    }
}

#[cfg(test)]
mod tests {
    use basilica_types::{Category, GpuUuid, Millis};

    use super::*;
    use crate::classes::{CLASSES, GpuClass};

    fn card(name: &str) -> &'static GpuClass {
        CLASSES.iter().find(|card| card.name == name).unwrap()
    }

    fn uuid(index: u16) -> GpuUuid {
        GpuUuid::from_bytes([u8::try_from(index).unwrap(); 16])
    }

    /// So many cards of each class, one index after the other.
    fn claims(classes: &[(&str, u16)]) -> Vec<ClaimedGpu> {
        let names = classes.iter().flat_map(|(class, count)| (0..*count).map(move |_| *class));
        let claim = |(index, class): (u16, &str)| ClaimedGpu {
            index,
            uuid: uuid(index),
            class: class.parse().unwrap(),
        };
        (0..).zip(names).map(claim).collect()
    }

    fn indexes(claims: &[ClaimedGpu], limits: &Limits) -> Vec<u16> {
        let gpus = claims.iter().map(|claim| ProvenGpu { uuid: claim.uuid, category: Category::H100 });
        let counted = counted(gpus.collect(), claims, limits);
        let index = |gpu: &ProvenGpu| claims.iter().find(|claim| claim.uuid == gpu.uuid).unwrap().index;
        counted.iter().map(index).collect()
    }

    /// Limits of a kernel at `work` and a walk at `walk` thousandths of the peak, with a seventh to spare.
    fn limits(card: &GpuClass, work: u64, walk: u64) -> Limits {
        let slack = |peak: Millis, share: u64| Millis(peak.0 * 1_150 / share);
        Limits { work: slack(card.work_at_peak(), work), walk: Some(slack(card.walk_at_peak(), walk)) }
    }

    const NONE_AT_ALL: Limits = Limits { work: Millis(u64::MAX), walk: Some(Millis(u64::MAX)) };

    #[test]
    fn what_the_limits_separate_counts_whole() {
        let h100 = card("h100-sxm");
        let claims = claims(&[("NVIDIA H100 80GB HBM3", 8)]);
        assert_eq!(indexes(&claims, &limits(h100, 650, 700)), [0, 1, 2, 3, 4, 5, 6, 7]);
    }

    #[test]
    fn eight_claims_that_seven_cards_could_answer_are_paid_as_the_number_that_is_told_from_fewer() {
        let h100 = card("h100-sxm");
        let by_work = Limits { walk: None, ..limits(h100, 650, 700) };
        let Count::Unproven { paid } = h100.count(8, &by_work, WALKS) else { panic!("8 of 7 by work") };
        let claims = claims(&[("NVIDIA H100 80GB HBM3", 8)]);
        assert_eq!(indexes(&claims, &by_work), (0..paid).collect::<Vec<_>>());
    }

    #[test]
    fn limits_that_separate_nothing_pay_one_card_of_each_class_and_every_simulated_one() {
        let simulated = claims(&[("simulated-H100", 8)]);
        assert_eq!(indexes(&simulated, &NONE_AT_ALL), [0, 1, 2, 3, 4, 5, 6, 7]);
        let cards = claims(&[("NVIDIA H200", 3), ("NVIDIA A1000", 2), ("simulated-H100", 2)]);
        assert_eq!(indexes(&cards, &NONE_AT_ALL), [0, 3, 5, 6]);
    }

    #[test]
    fn two_names_of_one_card_are_one_class() {
        let claims = claims(&[("NVIDIA A100-SXM4-80GB", 1), ("NVIDIA A100 80GB PCIe", 1)]);
        assert_eq!(indexes(&claims, &NONE_AT_ALL), [0]);
    }

    #[test]
    fn the_order_of_the_claims_changes_nothing() {
        let mut claims = claims(&[("NVIDIA H200", 4)]);
        claims.reverse();
        assert_eq!(indexes(&claims, &NONE_AT_ALL), [0]);
    }
}
