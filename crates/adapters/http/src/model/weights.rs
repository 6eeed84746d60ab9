//! Weights.

use basilica_ports::{WeightWindow, WeightsOutlook, WindowEnd, WindowState, dispatch_advice};
use basilica_scoring::weights::{Part, same_weights};
use basilica_types::{BlockNumber, Timestamp, Uid, Weight};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::moment;

const NEXT_FOLLOWS: &str = "nothing: the next window follows at once";

/// One entry of a vector.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct WeightRow {
    /// The miner's slot.
    pub uid: u16,
    /// Of 65,535.
    pub weight: u16,
}

fn rows(weights: &[(Uid, Weight)]) -> Vec<WeightRow> {
    weights.iter().map(|(uid, weight)| WeightRow { uid: uid.0, weight: weight.0 }).collect()
}

/// Why the weights are where they are.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct WeightsStatus {
    /// From a fixed list.
    pub reason: String,
    /// In words.
    pub explanation: String,
    /// The block that is waited for, where that can be told.
    pub until_block: Option<u64>,
    /// Something is wrong.
    pub failure: bool,
    /// When.
    #[schema(format = DateTime)]
    pub at: String,
}

impl From<&WeightsOutlook> for WeightsStatus {
    fn from(outlook: &WeightsOutlook) -> Self {
        Self {
            reason: outlook.code.to_owned(),
            explanation: outlook.explanation.clone(),
            until_block: outlook.until.map(|block| block.0),
            failure: outlook.failed,
            at: moment(outlook.at),
        }
    }
}

/// A window that ended without weights on chain.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct WeightsFailure {
    /// Which window.
    pub window: i64,
    /// From a fixed list, or the chain's own name for it.
    pub reason: String,
    /// In words.
    pub explanation: String,
    /// What to do.
    pub action: String,
    /// When the window was opened.
    #[schema(format = DateTime)]
    pub created: String,
}

impl WeightsFailure {
    /// None of a window that did not fail.
    fn of(window: &WeightWindow) -> Option<Self> {
        let (reason, explanation, action) = match &window.state {
            WindowState::Ended(WindowEnd::Refused { block, error }) => (
                error.as_str(),
                format!("the chain refused it in block {block}"),
                dispatch_advice(error).action,
            ),
            WindowState::Ended(WindowEnd::Expired(why)) => (why.as_str(), why.to_string(), NEXT_FOLLOWS),
            WindowState::Ended(WindowEnd::Lost(why)) => (why.as_str(), why.to_string(), NEXT_FOLLOWS),
            _ => return None,
        };
        Some(Self {
            window: window.id,
            reason: reason.to_owned(),
            explanation,
            action: action.to_owned(),
            created: moment(window.opened.created),
        })
    }
}

/// A window of weights: one setting, from the vector to what the chain stored.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct WeightWindowRow {
    /// Counts up.
    pub window: i64,
    /// `prepared`, `committed`, `revealing`, `set`, `revealed`, `refused`, `expired` or `lost`.
    pub state: String,
    /// Of the commit, or of the end.
    pub block: Option<u64>,
    /// `open`, `hash` or `timelocked`.
    pub form: String,
    /// Of the subnet.
    pub mechanism: u8,
    /// The vectors are empty until the reveal: committing hides them from those who would copy them.
    pub hidden_until_reveal: bool,
    /// Hash of the first extrinsic.
    pub extrinsic: String,
    /// The account's nonce in it.
    pub nonce: u64,
    /// When it was opened.
    #[schema(format = DateTime)]
    pub created: String,
    /// Hash of the reveal's extrinsic.
    pub reveal: Option<String>,
    /// As submitted or committed; sums to 65,535.
    pub submitted: Vec<WeightRow>,
    /// What the chain should store for it.
    pub expected: Vec<WeightRow>,
    /// What the chain stored, once read back.
    pub on_chain: Option<Vec<WeightRow>>,
    /// Whether that is what was expected.
    pub matches: Option<bool>,
    /// Why it ended without weights on chain.
    pub failure: Option<WeightsFailure>,
}

impl From<&WeightWindow> for WeightWindowRow {
    fn from(window: &WeightWindow) -> Self {
        let opened = &window.opened;
        let shown = !window.hides_weights();
        let rows_if_shown = |weights: &[(Uid, Weight)]| if shown { rows(weights) } else { Vec::new() };
        Self {
            window: window.id,
            state: state_word(&window.state).to_owned(),
            block: block_of(&window.state).map(|block| block.0),
            form: opened.form.as_str().to_owned(),
            mechanism: opened.mechanism.0,
            hidden_until_reveal: !shown,
            extrinsic: opened.prepared.hash.to_string(),
            nonce: opened.prepared.nonce,
            created: moment(opened.created),
            reveal: window.reveal.as_ref().map(|reveal| reveal.hash.to_string()),
            submitted: rows_if_shown(&opened.weights),
            expected: rows_if_shown(&opened.expected),
            on_chain: window.read_back.as_deref().map(rows),
            matches: window.read_back.as_ref().map(|read| same_weights(read, &opened.expected)),
            failure: WeightsFailure::of(window),
        }
    }
}

const fn state_word(state: &WindowState) -> &'static str {
    match state {
        WindowState::Prepared => "prepared",
        WindowState::Committed { .. } => "committed",
        WindowState::Revealing { .. } => "revealing",
        WindowState::Ended(WindowEnd::Set { .. }) => "set",
        WindowState::Ended(WindowEnd::Revealed { .. }) => "revealed",
        WindowState::Ended(WindowEnd::Refused { .. }) => "refused",
        WindowState::Ended(WindowEnd::Expired(_)) => "expired",
        WindowState::Ended(WindowEnd::Lost(_)) => "lost",
    }
}

const fn block_of(state: &WindowState) -> Option<BlockNumber> {
    match state {
        WindowState::Committed { block }
        | WindowState::Revealing { block }
        | WindowState::Ended(
            WindowEnd::Set { block } | WindowEnd::Revealed { block, .. } | WindowEnd::Refused { block, .. },
        ) => Some(*block),
        WindowState::Prepared | WindowState::Ended(WindowEnd::Expired(_) | WindowEnd::Lost(_)) => None,
    }
}

/// `GET /weights`: the newest window and the outlook.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct WeightsPage {
    /// The newest; null before the first.
    pub latest: Option<WeightWindowRow>,
    /// Null before the first look.
    pub status: Option<WeightsStatus>,
    /// The last of the latest twenty windows that failed.
    pub last_failure: Option<WeightsFailure>,
    /// When.
    #[schema(format = DateTime)]
    pub timestamp: String,
}

impl WeightsPage {
    pub(crate) fn new(windows: &[WeightWindow], outlook: Option<&WeightsOutlook>, now: Timestamp) -> Self {
        Self {
            latest: windows.first().map(WeightWindowRow::from),
            status: outlook.map(WeightsStatus::from),
            last_failure: windows.iter().find_map(WeightsFailure::of),
            timestamp: moment(now),
        }
    }
}

/// `GET /weights/windows`
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct WeightWindowPage {
    /// Newest first.
    pub windows: Vec<WeightWindowRow>,
}

/// What somebody gets of a window's weights, and why.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct EmissionRow {
    /// Who.
    pub uid: u16,
    /// For nodes of which category; null: it is burnt.
    pub category: Option<String>,
    /// What those nodes brought together: score in basis points x GPUs x multiplier in millionths, as a whole number.
    #[schema(pattern = "^[0-9]+$")]
    pub points: String,
    /// What the nodes of all miners brought in this category.
    #[schema(pattern = "^[0-9]+$")]
    pub category_points: String,
    /// Its part of the 65,535.
    pub weight: u16,
}

impl From<&Part> for EmissionRow {
    fn from(part: &Part) -> Self {
        Self {
            uid: part.uid.0,
            category: part.category.map(|category| category.to_string()),
            points: part.points.to_string(),
            category_points: part.total.to_string(),
            weight: part.weight.0,
        }
    }
}

/// `GET /weights/windows/{id}/emission`
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct EmissionPage {
    /// By category and uid; what is burnt comes last.
    pub parts: Vec<EmissionRow>,
}
