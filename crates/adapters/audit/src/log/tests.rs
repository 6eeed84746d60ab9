use std::sync::atomic::{AtomicU32, Ordering};

use basilica_runtime_service::testing::VirtualClock;

use super::*;
use crate::chain::{Operation, verify};

fn line() -> Line<'static> {
    Line {
        previous: None,
        at: "2026-01-01T00:00:00.000Z".to_owned(),
        operation: Operation::Login,
        node: "root@198.51.100.7:22".into(),
        what: None,
        sent: 0,
        received: 0,
        took_ms: 3,
        result: "ok".into(),
        lost: 0,
    }
}

#[test]
fn all_lines_are_there_when_it_has_ended_and_lost_ones_are_told() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("audit.log");
    let counts = Arc::new([AtomicU32::new(0), AtomicU32::new(0)]);
    let counted = Arc::clone(&counts);
    let told = move |result: Result<(), String>| {
        counted[usize::from(result.is_err())].fetch_add(1, Ordering::Relaxed);
    };
    // No next file can be made.
    std::fs::create_dir(directory.path().join("audit.log.next")).unwrap();
    let rules = AuditRules { file_bytes: 1_000, files: 1 };
    let log = AuditLog::open(&path, rules, VirtualClock::new(), Box::new(told)).unwrap();
    for _ in 0..100 {
        log.add(line());
    }
    drop(log);
    let [written, lost] = [0, 1].map(|kind| counts[kind].load(Ordering::Relaxed));
    assert_eq!(written + lost, 100);
    assert!(written >= 2 && lost >= 80, "{written} {lost}");
    assert_eq!(verify(&std::fs::read(&path).unwrap()[..], None).unwrap().lines, u64::from(written));
}

#[test]
fn a_log_that_cannot_be_is_named() {
    let nowhere = Path::new("/dev/null/audit.log");
    let refused =
        AuditLog::open(nowhere, AuditRules::default(), VirtualClock::new(), Box::new(|_| {})).unwrap_err();
    assert!(refused.to_string().contains("/dev/null/audit.log"), "{refused}");
}
