//! How much of the free maintenance a node has used (RULES R2). Pure.

use basilica_ports::MaintenanceWindow;
use basilica_types::{Millis, Timestamp};

/// Maintenance beyond this in any [`WINDOW`] counts as downtime.
pub const ALLOWANCE: Millis = Millis::from_secs(4 * 3600);
/// Over which the allowance goes.
pub const WINDOW: Millis = Millis::from_secs(14 * 86_400);

/// How long a node was in maintenance within [`WINDOW`] before `now`. `windows` are its own, oldest first; what several orders cover
/// counts once.
pub fn used(windows: &[MaintenanceWindow], now: Timestamp) -> Millis {
    let mut counted_to = now - WINDOW;
    let spans = windows.iter().map(|window| {
        let (from, to) = (window.began_at.max(counted_to), window.ended_at.unwrap_or(now).min(now));
        counted_to = counted_to.max(to);
        to.since(from).0
    });
    Millis(spans.fold(0, u64::saturating_add))
}

#[cfg(test)]
mod tests {
    use basilica_ports::OrderedBy;

    use super::*;

    const DAY: i64 = 86_400_000;

    fn window(began_at: i64, ended_at: Option<i64>) -> MaintenanceWindow {
        let (began_at, ended_at) = (Timestamp(began_at), ended_at.map(Timestamp));
        MaintenanceWindow { began_at, ended_at, by: OrderedBy::Command, reason: None }
    }

    #[test]
    fn only_the_last_fourteen_days_count() {
        let now = Timestamp(20 * DAY);
        let windows = [
            window(0, Some(DAY)),
            window(6 * DAY - 1000, Some(6 * DAY + 2000)),
            window(10 * DAY, Some(10 * DAY + 500)),
            window(20 * DAY - 60_000, None),
        ];
        assert_eq!(used(&windows, now), Millis(62_500));
        assert_eq!(used(&[], now), Millis(0));
        assert_eq!(used(&[window(21 * DAY, None)], now), Millis(0), "a clock set back counts nothing");
    }
    #[test]
    fn what_two_orders_cover_counts_once() {
        let now = Timestamp(20 * DAY);
        let at = |ms| 19 * DAY + ms;
        let windows = [
            window(at(0), Some(at(1_000))),
            window(at(100), Some(at(300))),
            window(at(900), Some(at(1_500))),
            window(at(1_500), Some(at(1_500))),
            window(at(2_000), None),
            window(at(DAY - 10), None),
        ];
        assert_eq!(used(&windows, now), Millis(1_500 + 86_400_000 - 2_000));
    }
}
