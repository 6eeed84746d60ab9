//! A list of moments that cannot grow without bound.

use basilica_types::{Millis, Timestamp};

/// Moments in order, each with what it was; at most `MOST`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Marks<M, const MOST: usize>(Vec<(Timestamp, M)>);

impl<M, const MOST: usize> Default for Marks<M, MOST> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<M: Copy, const MOST: usize> Marks<M, MOST> {
    /// A stored list; none if it is too long or out of order.
    pub(super) fn of(marks: Vec<(Timestamp, M)>) -> Option<Self> {
        (marks.len() <= MOST && marks.is_sorted_by(|a, b| a.0 <= b.0)).then_some(Self(marks))
    }

    /// Adds the newest. A clock that went back does not go back here: it stands until the moments are later again.
    pub(super) fn push(&mut self, at: Timestamp, mark: M) {
        let at = self.0.last().map_or(at, |(last, _)| at.max(*last));
        self.0.push((at, mark));
    }

    /// Forgets what lies more than `window` before the newest.
    pub(super) fn forget_beyond(&mut self, window: Millis) {
        if let Some(newest) = self.0.last().map(|(at, _)| *at) {
            self.0.retain(|(at, _)| newest.since(*at) <= window);
        }
    }

    /// Of too many, forgets the oldest.
    pub(super) fn keep_newest(&mut self) {
        let surplus = self.0.len().saturating_sub(MOST);
        self.0.drain(..surplus);
    }

    /// Of too many, forgets those that lie closest to the one before: how far back the list reaches stays, and so do the two
    /// newest.
    pub(super) fn thin_out(&mut self) {
        while self.0.len() > MOST {
            let gaps = self.0.windows(2).map(|pair| pair[1].0.since(pair[0].0));
            // The first stays, and the last two do.
            let inner = gaps.take(self.0.len().saturating_sub(3)).enumerate();
            let Some((before, _)) = inner.min_by_key(|(_, gap)| *gap) else { return };
            self.0.remove(before.saturating_add(1));
        }
    }

    pub(super) fn as_slice(&self) -> &[(Timestamp, M)] {
        &self.0
    }
}
