use basilica_types::FencingToken;

use crate::{BoxError, FailureClass};

/// Why a store could not do what was asked. The store traits themselves stand with the aggregate that they keep.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database could not be opened, reached or written.
    #[error("database: {operation}")]
    Unavailable {
        /// What was being done.
        operation: &'static str,
        /// The driver's error.
        #[source]
        source: BoxError,
    },
    /// A row does not parse as what it must be: written by a newer version, or by hand.
    #[error("database holds an invalid {what}")]
    Corrupt {
        /// Table and column.
        what: &'static str,
        /// The parser's error.
        #[source]
        source: BoxError,
    },
    /// The file is not what was written to it.
    #[error("the database file is damaged: {what}")]
    Damaged {
        /// What the engine's own check says.
        what: String,
    },
    /// Nothing was written: another process leads, or none does (RULES R28).
    #[error(
        "nothing was written: this process {held}, and the database is at leadership token {current}",
        held = match held {
            Some(token) => format!("led with token {token}"),
            None => "does not lead".to_owned(),
        }
    )]
    Fenced {
        /// What this process led with; none if it did not lead.
        held: Option<FencingToken>,
        /// The newest token.
        current: FencingToken,
    },
}

impl StoreError {
    /// What a caller can do about it.
    pub const fn class(&self) -> FailureClass {
        match self {
            Self::Unavailable { .. } | Self::Fenced { .. } => FailureClass::Transient,
            Self::Corrupt { .. } | Self::Damaged { .. } => FailureClass::Permanent,
        }
    }
}
