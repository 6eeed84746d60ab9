//! The chain's rules for setting weights, in its own order, decided before anything is signed.
//!
//! A call that breaks a rule costs nothing on chain but a window; the point of asking first is to tell the operator
//! which rule, with its numbers. The chain stays the judge: whatever passes here may still be refused there.

use std::collections::HashSet;

use basilica_ports::{ChainError, FailureClass, WeightsOrder};
use basilica_types::{BlockNumber, NetUid, Rao, Uid};

/// What the chain knows that bears on the call, at one block.
#[derive(Clone, Debug)]
pub(crate) struct Facts {
    /// The first block that could contain the call.
    pub(crate) block: BlockNumber,
    /// Weights must be committed first.
    pub(crate) commit_reveal: bool,
    /// The chain has set the call's mechanism up.
    pub(crate) mechanism_exists: bool,
    /// Neurons of the subnet.
    pub(crate) neurons: u16,
    /// The own neuron, if the hotkey is registered.
    pub(crate) own: Option<OwnNeuron>,
    /// Least stake weight.
    pub(crate) stake_threshold: Rao,
    /// 0 admits any.
    pub(crate) version_key: u64,
    /// Blocks between two settings.
    pub(crate) rate_limit: u64,
    /// The subnet's consensus makes no exceptions from the permit.
    pub(crate) permit_always_needed: bool,
    /// Fewest weights of one setting.
    pub(crate) min_weights: u16,
    /// Largest share of one weight, of 65,535; that value itself means no limit.
    pub(crate) max_weight: u16,
}

/// The own neuron.
#[derive(Clone, Debug)]
pub(crate) struct OwnNeuron {
    pub(crate) uid: Uid,
    pub(crate) stake: Rao,
    pub(crate) is_owner: bool,
    pub(crate) permit: bool,
    /// Registration counts as one; 0 is never.
    pub(crate) last_update: BlockNumber,
}

/// A rule that the call would break, with its numbers and what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Rule {
    #[error(
        "subnet {0} takes committed weights only, which this version cannot make; its owner can switch that off \
         with sudo_set_commit_reveal_weights_enabled"
    )]
    CommitReveal(NetUid),
    #[error("the root network takes no such weights")]
    Root,
    #[error("subnet {0} or its mechanism does not exist")]
    NoMechanism(NetUid),
    #[error("{given} weights for {neurons} neurons")]
    TooMany { given: usize, neurons: u16 },
    #[error(
        "the hotkey is not registered on subnet {0}; register it with: btcli subnet register --netuid {0}"
    )]
    NotRegistered(NetUid),
    #[error("stake weight {} rao is below the threshold of {} rao; add stake to the hotkey", .stake.0, .threshold.0)]
    Stake { stake: Rao, threshold: Rao },
    #[error("version key {given} is below the subnet's {required}; update this validator")]
    VersionKey { given: u64, required: u64 },
    #[error(
        "weights were set or the hotkey registered at block {last}, the next setting is allowed at block {next}"
    )]
    TooFast { last: BlockNumber, next: BlockNumber },
    #[error("the hotkey has no validator permit; permits go to the top stakes at each epoch")]
    NoPermit,
    #[error("uid {0} occurs twice")]
    DuplicateUid(Uid),
    #[error("uid {uid} does not exist, the subnet has {neurons} neurons")]
    NoSuchUid { uid: Uid, neurons: u16 },
    #[error("{given} weights are fewer than the {required} that the subnet asks for")]
    TooFew { given: usize, required: u16 },
    #[error("uid {uid} gets more than the allowed share of {limit}/65535")]
    TooHeavy { uid: Uid, limit: u16 },
}

impl Rule {
    const fn class(&self) -> FailureClass {
        match self {
            Self::TooFast { .. } | Self::NoPermit => FailureClass::Transient,
            Self::CommitReveal(_)
            | Self::Root
            | Self::NoMechanism(_)
            | Self::NotRegistered(_)
            | Self::Stake { .. }
            | Self::VersionKey { .. } => FailureClass::Permanent,
            Self::TooMany { .. }
            | Self::DuplicateUid(_)
            | Self::NoSuchUid { .. }
            | Self::TooFew { .. }
            | Self::TooHeavy { .. } => FailureClass::Invalid,
        }
    }
}

impl From<Rule> for ChainError {
    fn from(rule: Rule) -> Self {
        Self::Preflight { class: rule.class(), rule: rule.to_string() }
    }
}

/// The first rule that `order` would break.
pub(crate) fn check(facts: &Facts, order: &WeightsOrder) -> Result<(), Rule> {
    if facts.commit_reveal {
        return Err(Rule::CommitReveal(order.netuid));
    }
    if order.netuid == NetUid(0) {
        return Err(Rule::Root);
    }
    if !facts.mechanism_exists {
        return Err(Rule::NoMechanism(order.netuid));
    }
    let given = order.weights.len();
    if given > usize::from(facts.neurons) {
        return Err(Rule::TooMany { given, neurons: facts.neurons });
    }
    let own = facts.own.as_ref().ok_or(Rule::NotRegistered(order.netuid))?;
    check_standing(facts, own, order)?;
    check_vector(facts, own, order)
}

/// Who asks, and when.
fn check_standing(facts: &Facts, own: &OwnNeuron, order: &WeightsOrder) -> Result<(), Rule> {
    if !own.is_owner && own.stake < facts.stake_threshold {
        return Err(Rule::Stake { stake: own.stake, threshold: facts.stake_threshold });
    }
    if facts.version_key != 0 && order.version_key < facts.version_key {
        return Err(Rule::VersionKey { given: order.version_key, required: facts.version_key });
    }
    let next = BlockNumber(own.last_update.0.saturating_add(facts.rate_limit));
    if own.last_update.0 != 0 && facts.block < next {
        return Err(Rule::TooFast { last: own.last_update, next });
    }
    let excepted = !facts.permit_always_needed && (own.is_owner || is_self_weight(own, order));
    if own.permit || excepted { Ok(()) } else { Err(Rule::NoPermit) }
}

/// What is asked.
fn check_vector(facts: &Facts, own: &OwnNeuron, order: &WeightsOrder) -> Result<(), Rule> {
    let mut seen = HashSet::new();
    if let Some((uid, _)) = order.weights.iter().find(|(uid, _)| !seen.insert(*uid)) {
        return Err(Rule::DuplicateUid(*uid));
    }
    if let Some((uid, _)) = order.weights.iter().find(|(uid, _)| uid.0 >= facts.neurons) {
        return Err(Rule::NoSuchUid { uid: *uid, neurons: facts.neurons });
    }
    if is_self_weight(own, order) {
        return Ok(());
    }
    let required = facts.min_weights.min(facts.neurons);
    if order.weights.len() < usize::from(required) {
        return Err(Rule::TooFew { given: order.weights.len(), required });
    }
    // The chain compares after upscaling, which keeps shares up to its rounding; where that decides, it decides.
    let sum: u64 = order.weights.iter().map(|(_, weight)| u64::from(weight.0)).sum();
    let too_heavy = |weight: u16| u64::from(weight) * u64::from(u16::MAX) > u64::from(facts.max_weight) * sum;
    match order.weights.iter().find(|(_, weight)| facts.max_weight != u16::MAX && too_heavy(weight.0)) {
        Some((uid, _)) => Err(Rule::TooHeavy { uid: *uid, limit: facts.max_weight }),
        None => Ok(()),
    }
}

fn is_self_weight(own: &OwnNeuron, order: &WeightsOrder) -> bool {
    matches!(order.weights[..], [(uid, _)] if uid == own.uid)
}

#[cfg(test)]
mod tests {
    use basilica_types::Weight;

    use super::*;

    const SUBNET: NetUid = NetUid(39);

    /// Facts under which [`order`] passes.
    fn facts() -> Facts {
        Facts {
            block: BlockNumber(1_000),
            commit_reveal: false,
            mechanism_exists: true,
            neurons: 6,
            own: Some(OwnNeuron {
                uid: Uid(1),
                stake: Rao(100),
                is_owner: false,
                permit: true,
                last_update: BlockNumber(900),
            }),
            stake_threshold: Rao(100),
            version_key: 7,
            rate_limit: 100,
            permit_always_needed: false,
            min_weights: 2,
            max_weight: u16::MAX,
        }
    }

    fn order() -> WeightsOrder {
        weights(&[(0, 30_000), (2, 35_535)])
    }

    fn weights(pairs: &[(u16, u16)]) -> WeightsOrder {
        let weights = pairs.iter().map(|(uid, weight)| (Uid(*uid), Weight(*weight))).collect();
        WeightsOrder { netuid: SUBNET, weights, version_key: 7 }
    }

    fn own(facts: &mut Facts) -> &mut OwnNeuron {
        facts.own.as_mut().unwrap()
    }

    /// The verdict on [`order`] under changed facts.
    fn with(change: impl FnOnce(&mut Facts)) -> Result<(), Rule> {
        let mut facts = facts();
        change(&mut facts);
        check(&facts, &order())
    }

    #[test]
    fn a_proper_order_passes_at_the_edge_of_every_rule() {
        assert_eq!(check(&facts(), &order()), Ok(()));
        assert_eq!(with(|f| own(f).last_update = BlockNumber(0)), Ok(()), "0 is never");
        assert_eq!(with(|f| f.version_key = 0), Ok(()));
    }

    #[test]
    fn each_rule_is_named_with_its_numbers() {
        assert_eq!(with(|f| f.commit_reveal = true), Err(Rule::CommitReveal(SUBNET)));
        assert_eq!(with(|f| f.mechanism_exists = false), Err(Rule::NoMechanism(SUBNET)));
        assert_eq!(with(|f| f.neurons = 1), Err(Rule::TooMany { given: 2, neurons: 1 }));
        assert_eq!(with(|f| f.own = None), Err(Rule::NotRegistered(SUBNET)));
        assert_eq!(
            with(|f| own(f).stake = Rao(99)),
            Err(Rule::Stake { stake: Rao(99), threshold: Rao(100) })
        );
        assert_eq!(with(|f| f.version_key = 8), Err(Rule::VersionKey { given: 7, required: 8 }));
        assert_eq!(
            with(|f| f.block = BlockNumber(999)),
            Err(Rule::TooFast { last: BlockNumber(900), next: BlockNumber(1_000) })
        );
        assert_eq!(with(|f| own(f).permit = false), Err(Rule::NoPermit));
        assert_eq!(with(|f| f.min_weights = 3), Err(Rule::TooFew { given: 2, required: 3 }));
        assert_eq!(with(|f| f.max_weight = 35_534), Err(Rule::TooHeavy { uid: Uid(2), limit: 35_534 }));
        assert_eq!(with(|f| f.max_weight = 35_535), Ok(()));
        let vector = |pairs: &[(u16, u16)]| check(&facts(), &weights(pairs));
        assert_eq!(vector(&[(0, 1), (0, 2)]), Err(Rule::DuplicateUid(Uid(0))));
        assert_eq!(vector(&[(0, 1), (6, 2)]), Err(Rule::NoSuchUid { uid: Uid(6), neurons: 6 }));
        let root = WeightsOrder { netuid: NetUid(0), ..order() };
        assert_eq!(check(&facts(), &root), Err(Rule::Root));
    }

    #[test]
    fn rules_are_reported_in_the_order_of_the_chain() {
        // Everything is broken; mending one rule after the other uncovers them in the chain's order.
        let mut facts = Facts {
            commit_reveal: true,
            mechanism_exists: false,
            neurons: 2,
            own: None,
            version_key: 9,
            rate_limit: 200,
            min_weights: 9,
            max_weight: 1,
            ..facts()
        };
        let mut order = weights(&[(0, 1), (0, 1), (9, 1)]);
        assert!(matches!(check(&facts, &order), Err(Rule::CommitReveal(_))));
        facts.commit_reveal = false;
        assert!(matches!(check(&facts, &order), Err(Rule::NoMechanism(_))));
        facts.mechanism_exists = true;
        assert!(matches!(check(&facts, &order), Err(Rule::TooMany { .. })));
        facts.neurons = 4;
        assert!(matches!(check(&facts, &order), Err(Rule::NotRegistered(_))));
        let poor = OwnNeuron {
            uid: Uid(1),
            stake: Rao(0),
            is_owner: false,
            permit: false,
            last_update: BlockNumber(900),
        };
        facts.own = Some(poor);
        assert!(matches!(check(&facts, &order), Err(Rule::Stake { .. })));
        own(&mut facts).stake = Rao(100);
        assert!(matches!(check(&facts, &order), Err(Rule::VersionKey { .. })));
        order.version_key = 9;
        assert!(matches!(check(&facts, &order), Err(Rule::TooFast { .. })));
        facts.rate_limit = 0;
        assert!(matches!(check(&facts, &order), Err(Rule::NoPermit)));
        own(&mut facts).permit = true;
        assert!(matches!(check(&facts, &order), Err(Rule::DuplicateUid(_))));
        order.weights[1].0 = Uid(1);
        assert!(matches!(check(&facts, &order), Err(Rule::NoSuchUid { .. })));
        order.weights[2].0 = Uid(2);
        assert!(matches!(check(&facts, &order), Err(Rule::TooFew { required: 4, .. })));
        facts.min_weights = 3;
        assert!(matches!(check(&facts, &order), Err(Rule::TooHeavy { .. })));
    }

    #[test]
    fn owners_and_self_weights_are_excepted_where_the_chain_excepts_them() {
        let unpermitted = |change: fn(&mut Facts), order: &WeightsOrder| {
            let mut facts = facts();
            own(&mut facts).permit = false;
            change(&mut facts);
            check(&facts, order)
        };
        assert_eq!(unpermitted(|f| own(f).is_owner = true, &order()), Ok(()));
        assert_eq!(unpermitted(|_| (), &weights(&[(1, 1)])), Ok(()), "no permit, too few, too heavy");
        assert_eq!(unpermitted(|f| f.permit_always_needed = true, &weights(&[(1, 1)])), Err(Rule::NoPermit));
        let null_owner = |f: &mut Facts| {
            own(f).is_owner = true;
            f.permit_always_needed = true;
        };
        assert_eq!(unpermitted(null_owner, &order()), Err(Rule::NoPermit));
        assert_eq!(with(|f| *own(f) = OwnNeuron { stake: Rao(0), is_owner: true, ..own(f).clone() }), Ok(()));
    }

    #[test]
    fn only_time_mends_what_is_transient() {
        let class = |rule: Rule| ChainError::from(rule).class();
        assert_eq!(class(Rule::NoPermit), FailureClass::Transient);
        assert_eq!(
            class(Rule::TooFast { last: BlockNumber(1), next: BlockNumber(2) }),
            FailureClass::Transient
        );
        assert_eq!(class(Rule::NotRegistered(SUBNET)), FailureClass::Permanent);
        assert_eq!(class(Rule::DuplicateUid(Uid(1))), FailureClass::Invalid);
    }
}
