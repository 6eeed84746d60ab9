//! The committed list of what is open: the reason, and what it costs the cheater.

use serde::Deserialize;

/// The list, part of the program.
pub const LIST: &str = include_str!("../open.toml");

/// One open row.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Open {
    /// The adversary.
    pub id: String,
    /// Why nothing of ours finds it.
    pub reason: String,
    /// What it costs the cheater.
    pub cost: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct List {
    open: Vec<Open>,
}

/// A list that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("dev/sim/open.toml is not a list of open rows")]
pub struct OpenError(#[from] toml::de::Error);

/// Reads a list.
///
/// # Errors
/// If it is not one.
pub fn read(text: &str) -> Result<Vec<Open>, OpenError> {
    Ok(toml::from_str::<List>(text)?.open)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::ADVERSARIES;

    #[test]
    fn every_open_row_is_an_adversary_listed_once_with_reason_and_cost() {
        let open = read(LIST).expect("the committed list");
        for row in &open {
            assert!(ADVERSARIES.iter().any(|a| a.id == row.id), "{}", row.id);
            assert_eq!(open.iter().filter(|other| other.id == row.id).count(), 1, "{}", row.id);
            assert!(!row.reason.is_empty() && !row.cost.is_empty(), "{}", row.id);
        }
    }
}
