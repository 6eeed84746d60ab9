use std::io::Write as _;
use std::sync::atomic::{AtomicU32, Ordering};

use basilica_runtime_service::testing::VirtualClock;
use proptest::prelude::*;

use super::*;
use crate::chain::{Broken, Operation, verify};

const SMALL: AuditRules = AuditRules { file_bytes: 1_000, files: 2 };

fn line(number: u32) -> Line<'static> {
    Line {
        previous: None,
        at: format!("2026-01-01T00:00:{:02}.000Z", number % 60),
        operation: Operation::Run,
        node: "root@198.51.100.7:22".into(),
        what: Some(format!("echo {number}").into()),
        sent: 0,
        received: u64::from(number),
        took_ms: 3,
        result: "ok".into(),
    }
}

fn log(path: &Path, rules: AuditRules) -> AuditLog {
    AuditLog::open(path, rules, VirtualClock::new(), Box::new(|_| {})).unwrap()
}

fn all(path: &Path) -> Vec<u8> {
    files(path).iter().flat_map(|path| std::fs::read(path).unwrap()).collect()
}

#[test]
fn lines_follow_each_other_across_restarts_and_files() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("audit.log");
    for number in 0..12 {
        log(&path, SMALL).add(line(number));
    }
    assert_eq!(files(&path).len(), 3, "1,000 bytes are about five lines");
    let summary = verify(&all(&path)[..]).unwrap();
    assert_eq!((summary.lines, summary.torn, &summary.follows), (12, 0, &None));
    let mode = std::os::unix::fs::PermissionsExt::mode(&path.metadata().unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    let open = log(&path, SMALL);
    (12..40).for_each(|number| open.add(line(number)));
    assert_eq!(files(&path).len(), 3, "older files are gone");
    let summary = verify(&all(&path)[..]).unwrap();
    assert!(summary.follows.is_some() && summary.lines < 40, "{summary:?}");
    assert_eq!(summary.last.as_deref(), Some("2026-01-01T00:00:39.000Z"));
}

#[test]
fn a_line_that_was_cut_off_is_followed_and_counted() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("audit.log");
    log(&path, SMALL).add(line(0));
    OpenOptions::new().append(true).open(&path).unwrap().write_all(b"{\"previous\":\"12").unwrap();
    log(&path, SMALL).add(line(1));
    let summary = verify(&all(&path)[..]).unwrap();
    assert_eq!((summary.lines, summary.torn), (2, 1));
}

#[test]
fn a_stop_between_two_files_loses_no_link() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("audit.log");
    log(&path, SMALL).add(line(0));
    std::fs::rename(&path, aside(&path, 1)).unwrap();
    log(&path, SMALL).add(line(1));
    assert_eq!(verify(&all(&path)[..]).unwrap().lines, 2);
}

#[test]
fn what_cannot_be_written_is_told() {
    let told = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&told);
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("audit.log");
    let told_of = move |result: Result<(), String>| {
        count.fetch_add(u32::from(result.is_err()), Ordering::Relaxed);
    };
    let log = AuditLog::open(&path, AuditRules::default(), VirtualClock::new(), Box::new(told_of)).unwrap();
    log.open.lock().unwrap().file = OpenOptions::new().write(true).open("/dev/full").unwrap();
    log.add(line(0));
    assert_eq!(told.load(Ordering::Relaxed), 1);
    log.add(line(1));
    assert_eq!(told.load(Ordering::Relaxed), 1, "it goes on with the file");
    assert_eq!(verify(&all(&path)[..]).unwrap().lines, 1);
    let nowhere = Path::new("/dev/null/audit.log");
    let refused = AuditLog::open(nowhere, SMALL, VirtualClock::new(), Box::new(|_| {})).unwrap_err();
    assert!(refused.to_string().contains("/dev/null/audit.log"), "{refused}");
}

proptest! {
    #[test]
    fn a_changed_missing_or_added_line_shows(at in 0usize..9, how in 0..3, byte in any::<prop::sample::Index>()) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("audit.log");
        let open = log(&path, AuditRules::default());
        (0..10).for_each(|number| open.add(line(number)));
        let whole = all(&path);
        let mut lines: Vec<Vec<u8>> = whole.split(|b| *b == b'\n').map(<[u8]>::to_vec).collect();
        match how {
            0 => {
                let byte = byte.index(lines[at].len());
                lines[at][byte] ^= 1;
            }
            // Without its first line a log is one whose oldest file is gone.
            1 => drop(lines.remove(at.max(1))),
            _ => lines.insert(at + 1, serde_json::to_vec(&line(99)).unwrap()),
        }
        let changed = lines.join(&b'\n');
        let broken = matches!(verify(&changed[..]), Err(Broken::Chain { .. }));
        prop_assert!(broken, "{}", String::from_utf8_lossy(&changed));
    }
}
