/// A cause from behind a port, kept for the log.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// What a caller can do about a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FailureClass {
    /// May pass by itself: retry later with backoff.
    Transient,
    /// Will stay until somebody changes something.
    Permanent,
    /// The request itself is wrong: retrying is a bug.
    Invalid,
}
