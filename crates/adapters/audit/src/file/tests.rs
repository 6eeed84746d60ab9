use std::io::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};

use proptest::prelude::*;

use super::*;
use crate::Inspection;
use crate::chain::{Broken, Operation, Summary, verify};

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
        lost: 0,
    }
}

fn log(path: &Path, rules: AuditRules) -> Writer {
    Writer::open(path, rules).unwrap()
}

fn files(path: &Path) -> Vec<PathBuf> {
    parts(path).unwrap().into_iter().map(|part| part.path).collect()
}

fn all(path: &Path) -> Vec<u8> {
    files(path).iter().flat_map(|path| std::fs::read(path).unwrap()).collect()
}

#[test]
fn lines_follow_each_other_across_restarts_and_files() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("audit.log");
    for number in 0..12 {
        log(&path, SMALL).add(line(number)).unwrap();
    }
    assert_eq!(files(&path).len(), 3, "1,000 bytes are about five lines");
    let summary = verify(&all(&path)[..], None).unwrap();
    assert_eq!((summary.lines, summary.torn, &summary.follows), (12, 0, &None));
    let mode = std::os::unix::fs::PermissionsExt::mode(&path.metadata().unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    let mut open = log(&path, SMALL);
    (12..40).for_each(|number| open.add(line(number)).unwrap());
    assert_eq!(files(&path).len(), 3, "older files are gone");
    let summary = verify(&all(&path)[..], None).unwrap();
    assert!(summary.follows.is_some() && summary.lines < 40, "{summary:?}");
    assert_eq!(summary.last.as_deref(), Some("2026-01-01T00:00:39.000Z"));
}

#[test]
fn a_line_that_was_cut_off_is_followed_and_counted() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("audit.log");
    log(&path, SMALL).add(line(0)).unwrap();
    OpenOptions::new().append(true).open(&path).unwrap().write_all(b"{\"previous\":\"12").unwrap();
    log(&path, SMALL).add(line(1)).unwrap();
    let summary = verify(&all(&path)[..], None).unwrap();
    assert_eq!((summary.lines, summary.torn), (2, 1));
}

#[test]
fn what_is_no_log_does_not_hold() {
    let random: Vec<u8> =
        (0u32..200).flat_map(|n| chain::hash(&n.to_le_bytes()).as_bytes().to_vec()).collect();
    for foreign in [&b"y\ny\n"[..], b"1\n2\n", b"{\"evil\":1}\n", b"\0\0\0", b"{\"previous\":", &random] {
        assert!(verify(foreign, None).is_err(), "{}", String::from_utf8_lossy(foreign));
    }
    assert_eq!(verify(&b""[..], None).unwrap(), Summary::default());
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("audit.log");
    let mut log = log(&path, SMALL);
    (0..3).for_each(|number| log.add(line(number)).unwrap());
    let whole = all(&path);
    let second = whole.split(|byte| *byte == b'\n').nth(1).map(chain::hash);
    assert!(verify(&whole[..], second).unwrap().has_asked);
    assert!(!verify(&whole[..], Some(chain::hash(b"another"))).unwrap().has_asked);
    assert!(verify(&[&whole[..], b"{\"evil\":1}\n"].concat()[..], None).is_err());
    // A power cut left zeros.
    assert_eq!(verify(&[&whole[..], &[0; 40]].concat()[..], None).unwrap().torn, 1);
}

#[test]
fn a_stop_between_two_files_loses_no_link() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("audit.log");
    log(&path, SMALL).add(line(0)).unwrap();
    std::fs::rename(&path, aside(&path, 1)).unwrap();
    log(&path, SMALL).add(line(1)).unwrap();
    assert_eq!(verify(&all(&path)[..], None).unwrap().lines, 2);
    std::fs::rename(&path, aside(&path, 1)).unwrap();
    File::create(&path).unwrap();
    log(&path, SMALL).add(line(2)).unwrap();
    assert_eq!(verify(&all(&path)[..], None).unwrap().lines, 2, "the empty file follows, too");
}

#[test]
fn half_a_line_is_taken_back_before_the_next() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("audit.log");
    let mut log = log(&path, SMALL);
    log.add(line(0)).unwrap();
    // As a full disk does it: some bytes, then an error; and nothing can be taken back either.
    let real =
        std::mem::replace(&mut log.open.file, OpenOptions::new().write(true).open("/dev/full").unwrap());
    OpenOptions::new().append(true).open(&path).unwrap().write_all(b"{\"previous\":\"12").unwrap();
    assert!(log.add(line(1)).is_err() && log.add(line(2)).is_err());
    log.open.file = real;
    log.add(line(3)).unwrap();
    let summary = verify(&all(&path)[..], None).unwrap();
    assert_eq!((summary.lines, summary.torn, summary.lost), (2, 0, 2), "what is not there is told");
}

#[test]
fn a_next_file_that_cannot_be_made_moves_none() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("audit.log");
    let mut log = log(&path, AuditRules { files: 9, ..SMALL });
    let next = directory.path().join("audit.log.next");
    std::fs::create_dir(&next).unwrap();
    let full = (0..20).find(|number| log.add(line(*number)).is_err()).unwrap();
    assert!((0..50).all(|number| log.add(line(number)).is_err()));
    assert_eq!(files(&path), std::slice::from_ref(&path));
    std::fs::remove_dir(&next).unwrap();
    (full..20).for_each(|number| log.add(line(number)).unwrap());
    assert_eq!(verify(&all(&path)[..], None).unwrap().lines, 20, "none of 20 is lost");
}

#[test]
fn files_behind_a_gap_are_kept_and_found() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("audit.log");
    let rules = AuditRules { files: 9, ..SMALL };
    let mut log = log(&path, rules);
    (0..12).for_each(|number| log.add(line(number)).unwrap());
    // An attempt moved all but the newest, and failed.
    let mut aside_now = files(&path).len() - 1;
    for number in (1..=aside_now).rev() {
        let number = u32::try_from(number).unwrap();
        std::fs::rename(aside(&path, number), aside(&path, number + 1)).unwrap();
    }
    aside_now = files(&path).len() - 1;
    assert!(aside_now >= 2 && verify(&all(&path)[..], None).unwrap().lines == 12);
    (12..20).for_each(|number| log.add(line(number)).unwrap());
    assert_eq!(verify(&all(&path)[..], None).unwrap().lines, 20);
}

#[test]
fn a_log_has_one_writer_by_whatever_name_and_its_next_file_too() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("audit.log");
    let mut first = log(&path, SMALL);
    let other = directory.path().join("other.log");
    std::os::unix::fs::symlink(&path, &other).unwrap();
    for number in 0..12 {
        first.add(line(number)).unwrap();
        for name in [&path, &other] {
            let refused = Writer::open(name, SMALL).unwrap_err();
            assert!(matches!(&refused, OpenError::InUse { path, .. } if path == name), "{refused}");
        }
    }
    assert!(files(&path).len() > 1, "it was put aside meanwhile");
    drop(first);
    log(&path, SMALL).add(line(12)).unwrap();
    assert_eq!(verify(&all(&path)[..], None).unwrap().lines, 13);
}

#[test]
fn a_log_that_is_moved_away_is_followed_at_its_place() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("audit.log");
    let mut writer = log(&path, AuditRules::default());
    let moved: Vec<PathBuf> = (0..4u32).map(|at| directory.path().join(format!("moved-{at}"))).collect();
    for (number, to) in (0u32..).zip(&moved) {
        writer.add(line(2 * number)).unwrap();
        writer.add(line(2 * number + 1)).unwrap();
        std::fs::rename(&path, to).unwrap();
        if number == 2 {
            // As logrotate does it with `create`.
            File::create(&path).unwrap();
        }
    }
    writer.add(line(8)).unwrap();
    let of = |files: Vec<PathBuf>| Inspection::of_files(files, None).unwrap();
    let whole = of(moved.iter().chain([&path]).cloned().collect());
    assert_eq!((whole.broken(), whole.json()["lines"].as_u64()), (None, Some(9)));
    let newest = of(vec![path.clone()]).json();
    assert_eq!(newest["follows"], of(vec![moved[3].clone()]).json()["head"]);
    // Cut off, and removed.
    File::create(&path).unwrap();
    writer.add(line(9)).unwrap();
    assert_eq!(of(vec![path.clone()]).json()["follows"], newest["head"]);
    std::fs::remove_file(&path).unwrap();
    writer.add(line(10)).unwrap();
    assert_eq!(of(vec![path]).json()["lines"], 1);
}

#[test]
fn a_log_that_is_replaced_by_one_without_its_newest_lines_does_not_hold() {
    let directory = tempfile::tempdir().unwrap();
    let (path, other) = (directory.path().join("audit.log"), directory.path().join("other.log"));
    let mut writer = log(&path, AuditRules::default());
    (0..10).for_each(|number| writer.add(line(number)).unwrap());
    let replace = |lines: usize| {
        let kept: Vec<u8> =
            all(&path).split_inclusive(|byte| *byte == b'\n').take(lines).flatten().copied().collect();
        std::fs::write(&other, kept).unwrap();
        std::fs::rename(&other, &path).unwrap();
    };
    // A copy, as an editor or a program that compresses leaves it.
    replace(10);
    writer.add(line(10)).unwrap();
    assert_eq!(verify(&all(&path)[..], None).unwrap().lines, 11);
    replace(6);
    writer.add(line(11)).unwrap();
    assert!(matches!(verify(&all(&path)[..], None), Err(Broken::Chain { line: 7 })));
    // Before anything was written.
    let fresh = directory.path().join("fresh.log");
    let mut writer = log(&fresh, SMALL);
    log(&other, SMALL).add(line(0)).unwrap();
    std::fs::rename(&other, &fresh).unwrap();
    writer.add(line(1)).unwrap();
    assert_eq!(verify(&all(&fresh)[..], None).unwrap().lines, 2, "nothing of ours is missing");
}

#[test]
fn a_log_that_is_emptied_while_half_a_line_could_not_be_taken_back_stays_without_a_hole() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("audit.log");
    let mut log = log(&path, SMALL);
    log.add(line(0)).unwrap();
    let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
    let real = std::mem::replace(&mut log.open.file, full);
    assert!(log.add(line(1)).is_err() && log.open.torn);
    // To make room.
    File::create(&path).unwrap();
    log.open.file = real;
    log.add(line(2)).unwrap();
    let whole = all(&path);
    assert!(!whole.contains(&0), "{}", String::from_utf8_lossy(&whole));
    let summary = verify(&whole[..], None).unwrap();
    assert_eq!((summary.lines, summary.torn, summary.lost, summary.follows.is_some()), (1, 0, 1, true));
}

#[test]
fn what_keeps_nothing_is_no_log_and_an_empty_one_is_said_to_be_empty() {
    let directory = tempfile::tempdir().unwrap();
    let (path, pipe) = (directory.path().join("audit.log"), directory.path().join("pipe"));
    File::create(&path).unwrap();
    let empty = Inspection::of_log(&path, None).unwrap();
    assert!(empty.broken().is_none() && empty.to_string().starts_with("no entries are in"), "{empty}");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    for special in [Path::new("/dev/null"), &pipe] {
        let refused = Inspection::of_files(vec![special.to_owned()], None).unwrap_err();
        assert!(matches!(&refused, crate::InspectError::Read { path, .. } if path == special), "{refused}");
        assert!(Inspection::of_log(special, None).is_err() && Writer::open(special, SMALL).is_err());
        assert!(matches!(crate::check_place(special), Err(crate::PlaceError::Special { .. })));
    }
}

proptest! {
    #[test]
    fn a_changed_missing_or_added_line_shows(at in 0usize..9, how in 0..3, byte in any::<prop::sample::Index>()) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("audit.log");
        let mut open = log(&path, AuditRules::default());
        (0..10).for_each(|number| open.add(line(number)).unwrap());
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
        let broken = matches!(verify(&changed[..], None), Err(Broken::Chain { .. } | Broken::Foreign { .. }));
        prop_assert!(broken, "{}", String::from_utf8_lossy(&changed));
    }
}

#[test]
fn a_log_is_read_as_of_one_moment_while_its_files_are_put_aside() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("audit.log");
    let rules = AuditRules { file_bytes: 1_000, files: 200 };
    let mut writer = log(&path, rules);
    writer.add(line(0)).unwrap();
    let (first, is_done) = (path.metadata().unwrap().ino(), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let writing = scope.spawn(|| {
            let mut number = 0;
            while !is_done.load(Ordering::Relaxed) {
                number += 1;
                writer.add(line(number)).unwrap();
            }
        });
        // Until the files were moved on between two readings often enough.
        let (mut moved, mut newest, mut wrong) = (0, first, None);
        while moved < 200 && wrong.is_none() {
            let Ok(inspection) = Inspection::of_log(&path, None) else { break };
            let said = inspection.json();
            if inspection.broken().is_some() || said["lines"].as_u64() == Some(0) {
                wrong = Some(said);
            }
            if let Ok(now) = path.metadata().map(|data| data.ino())
                && now != newest
            {
                (moved, newest) = (moved + 1, now);
            }
        }
        is_done.store(true, Ordering::Relaxed);
        writing.join().unwrap();
        assert_eq!((moved, wrong), (200, None));
    });
    // The newest are there, and what was put aside before them is gone.
    assert_eq!(files(&path).len(), 201);
}

#[test]
fn files_that_move_on_while_they_are_opened_are_met_once_and_in_order() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("audit.log");
    let mut writer = log(&path, SMALL);
    (0..18).for_each(|number| writer.add(line(number)).unwrap());
    // A second name is the same file.
    std::fs::hard_link(&path, aside(&path, 3)).unwrap();
    let (last, third) = (aside(&path, 2), aside(&path, 3));
    assert_eq!(files(&path), [third, last, aside(&path, 1)]);
}
