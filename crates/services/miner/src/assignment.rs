//! Which validator gets the nodes. Pure.

use basilica_ports::Metagraph;
use basilica_types::Hotkey;

/// The operator's choice (`validator_assignment.strategy`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AssignmentStrategy {
    /// The validator with a permit and the most stake; of equals the one with the lowest uid.
    HighestStake,
    /// This validator, as long as it has a permit.
    Fixed(Hotkey),
}

impl AssignmentStrategy {
    /// The validator that all nodes are assigned to; none where nobody qualifies.
    pub fn assigned(&self, metagraph: &Metagraph) -> Option<Hotkey> {
        let permitted = metagraph.neurons.iter().filter(|neuron| neuron.validator_permit);
        match self {
            Self::HighestStake => permitted
                .max_by(|a, b| a.stake.cmp(&b.stake).then(b.uid.cmp(&a.uid)))
                .map(|neuron| neuron.hotkey),
            Self::Fixed(hotkey) => permitted.map(|neuron| neuron.hotkey).find(|found| found == hotkey),
        }
    }
}

#[cfg(test)]
mod tests {
    use basilica_ports::Neuron;
    use basilica_types::{BlockNumber, Coldkey, NetUid, Rao, Timestamp, Uid};

    use super::*;

    fn metagraph(neurons: &[(u64, bool)]) -> Metagraph {
        let neurons = (0u16..).zip(neurons).map(|(uid, (stake, permit))| Neuron {
            uid: Uid(uid),
            hotkey: hotkey(uid),
            coldkey: Coldkey::from_bytes([0; 32]),
            stake: Rao(*stake),
            validator_permit: *permit,
            axon: None,
            last_update: BlockNumber(0),
        });
        let neurons = neurons.collect();
        Metagraph {
            netuid: NetUid(39),
            block: BlockNumber(1),
            at: Timestamp(0),
            tempo: 360,
            owner_hotkey: None,
            neurons,
        }
    }

    fn hotkey(uid: u16) -> Hotkey {
        Hotkey::from_bytes([uid.to_le_bytes()[0]; 32])
    }

    #[test]
    fn the_highest_stake_with_a_permit_wins_and_ties_go_to_the_lower_uid() {
        let strategy = AssignmentStrategy::HighestStake;
        assert_eq!(
            strategy.assigned(&metagraph(&[(9, false), (5, true), (7, true), (7, true)])),
            Some(hotkey(2))
        );
        assert_eq!(strategy.assigned(&metagraph(&[(9, false)])), None);
        assert_eq!(strategy.assigned(&metagraph(&[])), None);
    }

    #[test]
    fn a_fixed_validator_needs_its_permit_and_nobody_replaces_it() {
        let strategy = AssignmentStrategy::Fixed(hotkey(1));
        assert_eq!(strategy.assigned(&metagraph(&[(9, true), (1, true)])), Some(hotkey(1)));
        assert_eq!(strategy.assigned(&metagraph(&[(9, true), (1, false)])), None);
        assert_eq!(strategy.assigned(&metagraph(&[(9, true)])), None);
    }
}
