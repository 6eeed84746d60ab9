//! Why the weights are where they are, in words: for readiness, the status page and the metrics.
//!
//! Every way that a pass can end has a code and a sentence here; there is no other.

use basilica_ports::{ChainError, FailureClass, WindowEnd, WindowState, dispatch_advice};
use basilica_runtime_service::ErrorChain;
use basilica_types::{BlockNumber, Timestamp};

use super::{Report, WeightsError};
use crate::metrics::ReasonLabel;
use crate::shared::Shared;

/// Codes of what can be wrong whatever the subnet's rules are; those of the rules come on top.
pub(crate) const PROBLEMS: [&str; 14] = [
    "stale_scores",
    "reveal_expired",
    "other_weights",
    "not_read",
    "fenced",
    "refused",
    "database",
    "chain_unreachable",
    "chain_deadline",
    "chain_call",
    "chain_item_missing",
    "chain_rule",
    "chain_pool",
    "chain_dispatch",
];

/// What one look at the weights came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Explanation {
    /// From a fixed list.
    pub(crate) code: &'static str,
    /// In words.
    pub(crate) text: String,
    /// The block that is waited for, where that can be told.
    pub(crate) until: Option<BlockNumber>,
    /// Of a failure: whether it can pass by itself. None: nothing is wrong.
    pub(crate) class: Option<FailureClass>,
    /// When.
    pub(crate) at: Timestamp,
}

impl Explanation {
    /// Of a pass that ended.
    pub(crate) fn of(report: &Report, at: Timestamp) -> Self {
        let plain = |code, text: &str| Self { code, text: text.to_owned(), until: None, class: None, at };
        let failed = |code, text: &str, class| Self { class: Some(class), ..plain(code, text) };
        let (transient, permanent) = (FailureClass::Transient, FailureClass::Permanent);
        match report {
            Report::NoScore => plain("no_score", "nobody has had a score yet; weights wait for the first"),
            Report::StaleScores => failed(
                "stale_scores",
                "no node has been scored for too long, so the chain keeps the last weights; see the log for why scoring fails",
                permanent,
            ),
            Report::Waiting(wait) => {
                let class = wait.why.needs_operator().then_some(permanent);
                Self { until: wait.until, class, ..plain(wait.why.code(), &wait.why.to_string()) }
            }
            Report::Advanced(state) => Self::of_state(state, at),
            Report::RevealDropped => failed(
                "reveal_expired",
                "no block took the reveal; another one follows if there is time",
                transient,
            ),
            Report::ReadBack(true) => plain("as_expected", "the chain holds the weights that were set"),
            Report::ReadBack(false) => failed(
                "other_weights",
                "the chain holds other weights than those that were set; run one validator per hotkey",
                permanent,
            ),
            Report::NotYet => failed("not_read", "the chain has not been read yet", transient),
            Report::Fenced => failed("fenced", "another validator process leads", transient),
        }
    }

    /// Of a window that went on.
    fn of_state(state: &WindowState, at: Timestamp) -> Self {
        let plain = |code, text: String| Self { code, text, until: None, class: None, at };
        let failed = |code, text: String| Self { class: Some(FailureClass::Transient), ..plain(code, text) };
        match state {
            WindowState::Prepared => plain("prepared", "the window's first call is stored".to_owned()),
            WindowState::Committed { block } => {
                plain("committed", format!("the weights are committed since block {block}"))
            }
            WindowState::Revealing { .. } => plain("revealing", "the reveal is stored".to_owned()),
            WindowState::Ended(WindowEnd::Set { block }) => {
                plain("set", format!("the weights were set in block {block}"))
            }
            WindowState::Ended(WindowEnd::Revealed { block, .. }) => {
                plain("revealed", format!("the weights were revealed by block {block}"))
            }
            WindowState::Ended(WindowEnd::Refused { block, error }) => failed(
                "refused",
                format!("block {block}: the chain refused with {error}; {}", dispatch_advice(error).action),
            ),
            WindowState::Ended(WindowEnd::Expired(why)) => failed(why.as_str(), why.to_string()),
            WindowState::Ended(WindowEnd::Lost(why)) => failed(why.as_str(), why.to_string()),
        }
    }

    /// Of a pass that failed.
    pub(crate) fn of_error(error: &WeightsError, at: Timestamp) -> Self {
        let (code, class) = match error {
            WeightsError::Chain(error) => (chain_code(error), error.class()),
            WeightsError::Store(error) => ("database", error.class()),
            WeightsError::Seal(_) => ("beacon_key", FailureClass::Permanent),
        };
        Self { code, text: ErrorChain(error).to_string(), until: None, class: Some(class), at }
    }

    /// Puts it where people and programs look.
    pub(super) fn show(&self, shared: &Shared) {
        match self.class {
            None => match shared.weights_failure() {
                Some(failure) => shared.weights_ready.not_ready(failure),
                None => shared.weights_ready.ready(),
            },
            Some(_) => {
                shared.weights_ready.not_ready(self.text.clone());
                shared.metrics.weight_problems.get_or_create(&ReasonLabel { reason: self.code }).inc();
            }
        }
        shared.explain_weights(self.clone());
    }
}

const fn chain_code(error: &ChainError) -> &'static str {
    match error {
        ChainError::Unreachable { .. } => "chain_unreachable",
        ChainError::Deadline { .. } => "chain_deadline",
        ChainError::Call { .. } => "chain_call",
        ChainError::Unsupported { .. } => "chain_item_missing",
        ChainError::Preflight { .. } => "chain_rule",
        ChainError::Pool { .. } => "chain_pool",
        ChainError::Dispatch { .. } => "chain_dispatch",
    }
}
