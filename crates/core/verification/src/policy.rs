//! The rules under which a verdict was reached, so that a reader can tell two verdicts under two policies apart.

use basilica_types::{Digest, Millis};
use codec::Encode;

use crate::{GpuRules, Intervals, ProbeRules, RetryRules};

const TAG: &str = "basilica/verification-policy/v3";

/// Everything configurable that a verdict depends on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Which GPUs count, and as what.
    pub gpus: GpuRules,
    /// What else is asked of a node.
    pub probes: ProbeRules,
    /// When a failure is confirmed.
    pub retries: RetryRules,
    /// How often each check runs.
    pub intervals: Intervals,
    /// Most time that one stage of a proof gets, whatever its class.
    pub proof_deadline: Millis,
    /// Work per simulated device: side, inner dimension, rounds, openings.
    pub work: [u32; 4],
    /// Versions of the tables that everything else is asked by and timed by: classes, calibrations.
    pub tables: [u16; 2],
}

impl Policy {
    /// BLAKE3 over the SCALE encoding of all rules under the policy's tag.
    pub fn digest(&self) -> Digest {
        let mut bytes = TAG.encode();
        self.gpus.accepts_simulated().encode_to(&mut bytes);
        self.gpus.cards().encode_to(&mut bytes);
        self.probes.encode_to(&mut bytes);
        self.retries.retries.encode_to(&mut bytes);
        for span in [
            self.retries.interval,
            self.retries.span,
            self.intervals.light,
            self.intervals.full,
            self.intervals.full_after_fault,
            self.proof_deadline,
        ] {
            span.0.encode_to(&mut bytes);
        }
        self.work.encode_to(&mut bytes);
        self.tables.encode_to(&mut bytes);
        Digest::from_bytes(*blake3::hash(&bytes).as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{CardRow, CardTable};
    use basilica_types::Category;

    fn policy() -> Policy {
        Policy {
            gpus: GpuRules::new(true, true, &Digest::from_bytes([9; 32])),
            probes: ProbeRules::default(),
            retries: RetryRules::default(),
            intervals: Intervals::default(),
            proof_deadline: Millis::from_secs(120),
            work: [2048, 2048, 4, 256],
            tables: [1, 1],
        }
    }

    #[test]
    fn every_rule_changes_the_digest() {
        let base = policy();
        let h100 = "NVIDIA H100 PCIe".parse().unwrap();
        let elsewhere = CardRow::new(h100, Category::Other, 70_000, 90_000).unwrap();
        let cards = CardTable::with(vec![elsewhere]).unwrap();
        let others = [
            Policy { gpus: base.gpus.clone().with_cards(cards), ..base.clone() },
            Policy { gpus: GpuRules::new(true, false, &Digest::from_bytes([9; 32])), ..base.clone() },
            Policy { probes: ProbeRules::NONE, ..base.clone() },
            Policy { retries: RetryRules { retries: 4, ..base.retries }, ..base.clone() },
            Policy { retries: RetryRules { interval: Millis(1), ..base.retries }, ..base.clone() },
            Policy { retries: RetryRules { span: Millis(1), ..base.retries }, ..base.clone() },
            Policy { intervals: Intervals { light: Millis(1), ..base.intervals }, ..base.clone() },
            Policy { intervals: Intervals { full: Millis(1), ..base.intervals }, ..base.clone() },
            Policy { intervals: Intervals { full_after_fault: Millis(1), ..base.intervals }, ..base.clone() },
            Policy { proof_deadline: Millis(1), ..base.clone() },
            Policy { work: [2048, 2048, 4, 255], ..base.clone() },
            Policy { tables: [1, 2], ..base.clone() },
        ];
        for other in others {
            assert_ne!(other.digest(), base.digest());
        }
        assert_eq!(policy().digest(), base.digest());
    }
}
