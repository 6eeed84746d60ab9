//! For how many of the claimed GPUs a node is paid (RULES R14).
//!
//! Where the deadlines of a passed proof do not tell the cards claimed from fewer of their classes ([`crate::rigs`]), the count is
//! unproven, and the node is paid for the largest number that they do tell, at least one. The verdict says so by what it always
//! says: its claims are N, the GPUs that it stands for are fewer ([`crate::Verdict::unproven`]). In all other passed verdicts the
//! two are equal, so nothing was added to the signed bytes, and a reader who knows nothing of this counts the same cards.
//!
//! Which cards are left out says nothing about them: the last ones by index are.

use std::collections::BTreeSet;
use std::fmt;

use basilica_types::GpuUuid;

use crate::classes::{GpuClass, Known, Limits, WALKS, known};
use crate::rigs::{Count, count};
use crate::{ClaimedGpu, ProvenGpu};

/// Of the GPUs that passed a proof within these limits, those that count. Simulated ones all do: there is nothing that they could
/// be told from. Cards that the table does not know are never asked, and count for nothing.
pub fn counted(mut gpus: Vec<ProvenGpu>, claims: &[ClaimedGpu], limits: &Limits) -> Vec<ProvenGpu> {
    let mut claims: Vec<&ClaimedGpu> = claims.iter().collect();
    claims.sort_unstable_by_key(|claim| claim.index);
    let card = |claim: &&ClaimedGpu| match known(&claim.class) {
        Known::Card(card) => Some((claim.uuid, card)),
        Known::Simulated | Known::Unknown => None,
    };
    let cards: Vec<(GpuUuid, &GpuClass)> = claims.iter().filter_map(card).collect();
    let classes: Vec<&GpuClass> = cards.iter().map(|(_, class)| *class).collect();
    let paid = match count(&classes, limits, WALKS) {
        Count::Proven { .. } => cards.len(),
        Count::Unproven { paid } => usize::from(paid),
    };
    let simulated = |claim: &&&ClaimedGpu| known(&claim.class) == Known::Simulated;
    let simulated = claims.iter().filter(simulated).map(|claim| claim.uuid);
    let counting: BTreeSet<GpuUuid> =
        cards.iter().take(paid).map(|(uuid, _)| *uuid).chain(simulated).collect();
    gpus.retain(|gpu| counting.contains(&gpu.uuid));
    gpus
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
    use crate::classes::CLASSES;

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

    /// Limits of a kernel at 65 % and a walk at 70 % of the peak, with a seventh to spare.
    fn limits(card: &GpuClass) -> Limits {
        let slack = |peak: Millis, share: u64| Millis(peak.0 * 1_150 / share);
        Limits { work: slack(card.work_at_peak(), 650), walk: Some(slack(card.walk_at_peak(), 700)) }
    }

    const NONE_AT_ALL: Limits = Limits { work: Millis(u64::MAX), walk: Some(Millis(u64::MAX)) };

    #[test]
    fn what_the_limits_separate_counts_whole() {
        let claims = claims(&[("NVIDIA H100 80GB HBM3", 8)]);
        assert_eq!(indexes(&claims, &limits(card("h100-sxm"))), [0, 1, 2, 3, 4, 5, 6, 7]);
    }

    #[test]
    fn claims_that_fewer_cards_could_answer_are_paid_as_the_number_that_is_told_from_fewer() {
        let h100 = card("h100-sxm");
        let by_work = Limits { walk: None, ..limits(h100) };
        let Count::Unproven { paid } = count(&[h100; 8], &by_work, WALKS) else {
            panic!("work alone does not tell eight cards from seven")
        };
        let claims = claims(&[("NVIDIA H100 80GB HBM3", 8)]);
        assert_eq!(indexes(&claims, &by_work), (0..paid).collect::<Vec<_>>());
    }

    #[test]
    fn limits_that_separate_nothing_pay_one_card_of_a_node_and_every_simulated_one() {
        let simulated = claims(&[("simulated-H100", 8)]);
        assert_eq!(indexes(&simulated, &NONE_AT_ALL), [0, 1, 2, 3, 4, 5, 6, 7]);
        let cards = claims(&[("NVIDIA H200", 3), ("NVIDIA A1000", 2), ("simulated-H100", 2)]);
        assert_eq!(indexes(&cards, &NONE_AT_ALL), [0, 5, 6]);
    }

    #[test]
    fn the_order_of_the_claims_changes_nothing() {
        let mut claims = claims(&[("NVIDIA H200", 4)]);
        claims.reverse();
        assert_eq!(indexes(&claims, &NONE_AT_ALL), [0]);
    }
}
