//! How much of the free maintenance a node has used (RULES R2). Pure.

use basilica_ports::MaintenanceWindow;
use basilica_types::{Millis, Timestamp};

/// Maintenance beyond this in any [`WINDOW`] counts as downtime.
pub const ALLOWANCE: Millis = Millis::from_secs(4 * 3600);
/// Over which the allowance goes.
pub const WINDOW: Millis = Millis::from_secs(14 * 86_400);

/// How long a node was in maintenance within [`WINDOW`] before `now`. `windows` do not overlap, as one node has one at a
/// time; the configuration's `maintenance = true` is one of them while a miner runs.
pub fn used(windows: &[MaintenanceWindow], now: Timestamp) -> Millis {
    let earliest = now - WINDOW;
    let spans = windows.iter().map(|window| {
        let (from, to) = (window.began_at.max(earliest), window.ended_at.unwrap_or(now).min(now));
        to.since(from).0
    });
    Millis(spans.fold(0, u64::saturating_add))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 86_400_000;

    fn window(began_at: i64, ended_at: Option<i64>) -> MaintenanceWindow {
        MaintenanceWindow { began_at: Timestamp(began_at), ended_at: ended_at.map(Timestamp), reason: None }
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
}
