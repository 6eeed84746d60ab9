//! A bound on the log lines that others can cause.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Lines in one window.
const LINES: u32 = 20;
const WINDOW: Duration = Duration::from_secs(10);

/// At most 20 lines in 10 s; what is left unsaid is counted and told with the next line.
#[derive(Debug, Default)]
pub(crate) struct LogBudget(Mutex<Window>);

#[derive(Debug, Default)]
struct Window {
    began: Duration,
    lines: u32,
    unsaid: u64,
}

impl LogBudget {
    /// Whether one more line may be written at the monotonic time `now`; if so, how many were left unsaid before it.
    pub(crate) fn spend(&self, now: Duration) -> Option<u64> {
        let mut window = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if now.saturating_sub(window.began) >= WINDOW {
            window.began = now;
            window.lines = 0;
        }
        if window.lines >= LINES {
            window.unsaid = window.unsaid.saturating_add(1);
            return None;
        }
        window.lines += 1;
        Some(std::mem::take(&mut window.unsaid))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_writes_some_lines_and_the_next_one_counts_the_rest() {
        let budget = LogBudget::default();
        let at = Duration::from_secs;
        assert_eq!((0..100).filter(|_| budget.spend(at(1)).is_some()).count(), 20);
        assert_eq!(budget.spend(at(9)), None);
        assert_eq!(budget.spend(at(10)), Some(81));
        assert_eq!(budget.spend(at(10)), Some(0));
    }
}
