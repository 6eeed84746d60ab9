use tokio_util::sync::CancellationToken;

/// The request to come to an end. Cheap to clone; every clone sees the same request.
#[derive(Clone, Debug, Default)]
pub struct Stop {
    token: CancellationToken,
}

impl Stop {
    /// A request that nobody has made yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns once the stop is requested, at once if it already is. Cancel-safe.
    pub async fn requested(&self) {
        self.token.cancelled().await;
    }

    /// Whether the stop is requested.
    pub fn is_requested(&self) -> bool {
        self.token.is_cancelled()
    }

    /// A request of its own for a part: stops with `self`, and may be stopped alone.
    pub fn child(&self) -> Self {
        Self { token: self.token.child_token() }
    }

    /// Requests the stop. Doing so again changes nothing.
    pub fn request(&self) {
        self.token.cancel();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_part_stops_with_the_whole_but_not_the_whole_with_a_part() {
        let whole = Stop::new();
        let (first, second) = (whole.child(), whole.child());
        first.request();
        assert!(first.is_requested() && !second.is_requested() && !whole.is_requested());
        whole.request();
        second.requested().await;
    }
}
