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
    /// The database was migrated by a newer version than this one.
    #[error("database schema {found} is newer than this version knows ({known}); upgrade this program")]
    NewerSchema {
        /// Version in the database.
        found: i64,
        /// Newest version that this program knows.
        known: i64,
    },
}

impl StoreError {
    /// What a caller can do about it.
    pub const fn class(&self) -> FailureClass {
        match self {
            Self::Unavailable { .. } => FailureClass::Transient,
            Self::Corrupt { .. } | Self::NewerSchema { .. } => FailureClass::Permanent,
        }
    }
}
