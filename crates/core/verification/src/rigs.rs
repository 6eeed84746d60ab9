//! How few cards of the claimed kinds could have answered for all that a node claims.
//!
//! N cards claimed, fewer there: they do the work of N in longer time, and hold less of the memory. Where neither shows
//! against the deadlines, the count is unproven and the node is paid for the most that is proven (RULES R14). Claims of several
//! classes are counted together, because a card of one may do another's part. So what is counted is how many of the *fastest card*
//! it takes: one that has the best of all claimed classes in each respect. No rig of these classes, mixed as one likes, does better
//! with as many cards, so the number is a lower bound for all of them.
//!
//! Work alone hardly ever separates 8 from 7 (14 % more time). Memory does only if all regions are needed at the same
//! time: then every read of what is not there must make an item again or fetch it over the host link. If each
//! card's walk ran for itself, fewer cards would walk as many regions, exchange the rest in bulk, which takes tenths of a
//! second, and walk that. So the walks meet at barriers, and the exchange is due in every segment between two: [`Walks`].
//!
//! *What it leaves open.* A card of a dearer class may play several of the claimed one: a B200 multiplies, reads and holds more than
//! two H100. Rejected: counting by the fastest card of the whole table, which pays every honest owner of eight H100 for four. The
//! network gets the work that it pays for; whether it is cheaper so depends on prices that no table of ours can know, and a tenant who
//! asks for eight cards finds one. `cargo xtask zoo` lists it as open (4d, 4e).

use basilica_types::Millis;

use crate::classes::{CACHE_MIB, GpuClass, INT_LANES, ITEM_BYTES, ITEM_OPS, Limits, PARENTS, PPM, Walks};

/// What tells the cards claimed from fewer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Separation {
    /// Fewer cards multiply too slowly even at their peak.
    Work,
    /// Fewer cards do not hold the items, and making or fetching the rest takes too long.
    Residency,
}

/// How many cards a passed proof stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Count {
    /// All that were claimed.
    Proven {
        /// What shows it; nothing is needed for a single card.
        by: Option<Separation>,
    },
    /// `count unproven`: fewer cards could have answered in time.
    Unproven {
        /// The largest number that is told from fewer: what the node is paid for, at least 1.
        paid: u16,
    },
}

/// What several claims ask for together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Demand {
    /// int8 operations in 10⁹.
    work: u64,
    walk_bytes: u64,
    items: u64,
}

impl Demand {
    /// Of cards of these classes.
    pub fn of<'a>(claims: impl IntoIterator<Item = &'a GpuClass>) -> Self {
        claims.into_iter().fold(Self::default(), |sum, class| Self {
            work: sum.work + class.work_at_peak().0 * u64::from(class.int8_tops),
            walk_bytes: sum.walk_bytes + class.walk_bytes(),
            items: sum.items + class.resident_items(),
        })
    }
}

/// Cards taken together, at their data sheets' peaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rig {
    tops: u64,
    bandwidth_gbs: u64,
    host_link_gbs: u64,
    memory_mib: u64,
    /// Of the card that has most.
    l2_mib: u64,
    int_operations_per_us: u64,
}

impl Rig {
    /// These cards. A rig without any can do nothing: no time is asked of it.
    pub fn of<'a>(cards: impl IntoIterator<Item = &'a GpuClass>) -> Self {
        cards.into_iter().map(Self::card).fold(Self::default(), |sum, card| Self {
            tops: sum.tops + card.tops,
            bandwidth_gbs: sum.bandwidth_gbs + card.bandwidth_gbs,
            host_link_gbs: sum.host_link_gbs + card.host_link_gbs,
            memory_mib: sum.memory_mib + card.memory_mib,
            l2_mib: sum.l2_mib.max(card.l2_mib),
            int_operations_per_us: sum.int_operations_per_us + card.int_operations_per_us,
        })
    }

    /// So many of the fastest card: the best of these classes in each respect.
    pub fn fastest<'a>(classes: impl IntoIterator<Item = &'a GpuClass>, cards: u16) -> Self {
        let best = classes.into_iter().map(Self::card).fold(Self::default(), |best, card| Self {
            tops: best.tops.max(card.tops),
            bandwidth_gbs: best.bandwidth_gbs.max(card.bandwidth_gbs),
            host_link_gbs: best.host_link_gbs.max(card.host_link_gbs),
            memory_mib: best.memory_mib.max(card.memory_mib),
            l2_mib: best.l2_mib.max(card.l2_mib),
            int_operations_per_us: best.int_operations_per_us.max(card.int_operations_per_us),
        });
        let cards = u64::from(cards);
        Self {
            tops: best.tops * cards,
            bandwidth_gbs: best.bandwidth_gbs * cards,
            host_link_gbs: best.host_link_gbs * cards,
            memory_mib: best.memory_mib * cards,
            l2_mib: best.l2_mib,
            int_operations_per_us: best.int_operations_per_us * cards,
        }
    }

    fn card(class: &GpuClass) -> Self {
        Self {
            tops: u64::from(class.int8_tops),
            bandwidth_gbs: u64::from(class.bandwidth_gbs),
            host_link_gbs: u64::from(class.host_link_gbs),
            memory_mib: class.memory_mib,
            l2_mib: u64::from(class.l2_mib),
            int_operations_per_us: u64::from(class.sms) * INT_LANES * u64::from(class.boost_mhz),
        }
    }

    /// Shortest time for the work.
    pub fn work(&self, demand: &Demand) -> Millis {
        Millis(demand.work / self.tops.max(1))
    }

    /// Shortest time for the walks.
    pub fn walk(&self, demand: &Demand, walks: Walks) -> Millis {
        let segments = match walks {
            Walks::Apart => 1,
            Walks::InStep { segments } => segments,
        };
        self.walk_together(demand).min(self.walk_in_turn(demand, segments))
    }

    /// All walks side by side: what is missing is made again or fetched from the host's memory read by read, in the best
    /// proportion, at the same time.
    fn walk_together(&self, demand: &Demand) -> Millis {
        let missing = u128::from(self.missing(demand)) * u128::from(PPM) / u128::from(demand.items.max(1));
        let missing = u64::try_from(missing).expect("at most a million");
        Millis(self.reading(demand).0 * self.slowdown_ppm(missing) / PPM)
    }

    /// One walk after the other, each by all cards: in every segment, what does not fit is brought in once, in bulk, made and
    /// fetched at the same time.
    fn walk_in_turn(&self, demand: &Demand, segments: u16) -> Millis {
        let fetched_per_ms = self.host_link_gbs * 1_000_000 / ITEM_BYTES;
        let reads_per_ms = self.bandwidth_gbs * 1_000_000 / ITEM_BYTES;
        let made_per_ms = reads_per_ms * 1_000 / self.again_milli().max(1);
        let moved = self.missing(demand).saturating_mul(u64::from(segments));
        Millis(self.reading(demand).0 + moved / (fetched_per_ms + made_per_ms).max(1))
    }

    fn reading(&self, demand: &Demand) -> Millis {
        Millis(demand.walk_bytes / (self.bandwidth_gbs.max(1) * 1_000_000))
    }

    fn missing(&self, demand: &Demand) -> u64 {
        demand.items.saturating_sub(self.memory_mib * 1_048_576 / ITEM_BYTES)
    }

    /// How much longer reading takes with a share of the items missing, in millionths; never below the time for the rest.
    pub fn slowdown_ppm(&self, missing: u64) -> u64 {
        let (again, fetch) = (self.again_milli(), self.fetch_milli());
        let there = PPM - missing;
        // Both paths end at the same time if a share `made` of all reads is made again.
        let made = (missing * fetch).saturating_sub(there * 1_000) / (again + fetch);
        let memory = there + made * again / 1_000;
        let link = (missing - made) * fetch / 1_000;
        memory.max(link)
    }

    /// Reads that making one item again costs, in thousandths: bound by the cache's share outside L2, or by arithmetic.
    pub fn again_milli(&self) -> u64 {
        let outside = 1_000 - self.l2_mib * 1_000 / CACHE_MIB;
        let memory = u64::from(PARENTS) * outside;
        let reads_per_us = self.bandwidth_gbs * 1_000 / ITEM_BYTES;
        memory.max(ITEM_OPS * reads_per_us * 1_000 / self.int_operations_per_us.max(1))
    }

    /// Reads that fetching one item over the host link costs, in thousandths.
    pub fn fetch_milli(&self) -> u64 {
        self.bandwidth_gbs * 1_000 / self.host_link_gbs.max(1)
    }

    /// What shows that this rig did not answer within these limits.
    pub fn is_late(&self, demand: &Demand, limits: &Limits, walks: Walks) -> Option<Separation> {
        if self.work(demand) > limits.work {
            return Some(Separation::Work);
        }
        limits.walk.filter(|walk| self.walk(demand, walks) > *walk).map(|_| Separation::Residency)
    }
}

/// How many of the claimed cards a proof within these limits stands for (RULES R14).
pub fn count(claims: &[&GpuClass], limits: &Limits, walks: Walks) -> Count {
    let claimed = u16::try_from(claims.len()).unwrap_or(u16::MAX);
    if claimed <= 1 {
        return Count::Proven { by: None };
    }
    let demand = Demand::of(claims.iter().copied());
    let told = |cards: u16| Rig::fastest(claims.iter().copied(), cards).is_late(&demand, limits, walks);
    match told(claimed - 1) {
        Some(by) => Count::Proven { by: Some(by) },
        None => {
            let paid = (1..claimed).rev().find(|paid| *paid == 1 || told(paid - 1).is_some());
            Count::Unproven { paid: paid.unwrap_or(1) }
        }
    }
}

#[cfg(test)]
mod tests;
