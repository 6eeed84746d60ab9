//! The file's text by itself, and the scripts under this machine's own `sh`.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use basilica_types::{Hotkey, SessionId, Timestamp};
use proptest::prelude::*;

use super::*;
use crate::authorized_keys::{KeyLine, KeyTag, rewrite};
use crate::local_shell::{KEY, LocalShell};

const DEADLINE: Millis = Millis::from_secs(20);
const OTHER: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIB8eHRwbGhkYFxYVFBMSERAPDg0MCwoJCAcGBQQDAgEA";

fn key() -> SshPublicKey {
    KEY.parse().unwrap()
}

fn validators_line(key: &str) -> KeyLine {
    KeyLine {
        tag: KeyTag { validator: Hotkey::from_bytes([1; 32]), session: SessionId::from_random([1; 8]) },
        expires_at: Timestamp::from_secs(1_900_000_000),
        expiry_time: None,
        key: key.parse().unwrap(),
    }
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[tokio::test]
async fn a_key_is_installed_once_and_removed_without_a_trace() {
    let others = format!("# mine\r\n{OTHER} me@laptop\nno newline at the end");
    let shell = LocalShell::with_file(others.as_bytes());
    let first = install(&shell, DEADLINE, &key()).await.unwrap();
    assert_eq!(first.before, Presence::Absent);
    assert_eq!(shell.text(), format!("{others}\n{KEY} basilica-miner\n"));
    assert_eq!(find(&shell, DEADLINE, &key()).await.unwrap(), Presence::Plain);
    let installed = shell.text();
    assert_eq!(install(&shell, DEADLINE, &key()).await.unwrap().before, Presence::Plain);
    assert_eq!(shell.text(), installed, "a second run changes nothing");
    let done = |removed| Removed { removed, left: Vec::new() };
    assert_eq!(remove(&shell, DEADLINE, &key(), Lines::Written).await.unwrap(), done(1));
    assert_eq!(shell.text(), format!("{others}\n"));
    assert_eq!(remove(&shell, DEADLINE, &key(), Lines::All).await.unwrap(), done(0));
    assert_eq!(shell.names(), ["authorized_keys"], "no temporary file is left");
}

#[tokio::test]
async fn lines_that_the_miner_did_not_write_go_only_when_that_is_asked_for() {
    let own = format!("from=\"10.0.0.0/8\" {KEY} basilica-miner\n{KEY} me@laptop\n");
    let shell = LocalShell::with_file(format!("# mine\n{KEY} basilica-miner\n{own}").as_bytes());
    let written = remove(&shell, DEADLINE, &key(), Lines::Written).await.unwrap();
    assert_eq!(shell.text(), format!("# mine\n{own}"));
    let left =
        ["line 2: from=\"10.0.0.0/8\" ssh-ed25519 ... basilica-miner", "line 3: ssh-ed25519 ... me@laptop"];
    assert_eq!(written, Removed { removed: 1, left: left.map(ToOwned::to_owned).to_vec() });
    let all = remove(&shell, DEADLINE, &key(), Lines::All).await.unwrap();
    assert_eq!((shell.text(), all), ("# mine\n".to_owned(), Removed { removed: 2, left: Vec::new() }));
}

#[tokio::test]
async fn a_node_without_ssh_folder_gets_one_that_sshd_accepts() {
    let shell = LocalShell::new();
    assert_eq!(find(&shell, DEADLINE, &key()).await.unwrap(), Presence::Absent);
    assert!(!shell.file().exists(), "looking creates nothing");
    let installed = install(&shell, DEADLINE, &key()).await.unwrap();
    assert_eq!(installed, Installed { before: Presence::Absent, home_writable: false });
    assert_eq!((mode(&shell.file()), mode(shell.file().parent().unwrap())), (0o600, 0o700));
}

#[tokio::test]
async fn what_others_may_write_is_closed_to_them_and_the_home_directory_is_told() {
    let shell = LocalShell::with_file(format!("{KEY} x\n").as_bytes());
    let chmod = |path: &Path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    chmod(&shell.file(), 0o666);
    chmod(shell.file().parent().unwrap(), 0o775);
    chmod(shell.home.path(), 0o770);
    let installed = install(&shell, DEADLINE, &key()).await.unwrap();
    assert_eq!(installed, Installed { before: Presence::Plain, home_writable: true });
    assert_eq!((mode(&shell.file()), mode(shell.file().parent().unwrap())), (0o644, 0o755));
    assert_eq!(mode(shell.home.path()), 0o770, "not ours to change");
}

#[tokio::test]
async fn a_link_stays_a_link() {
    let shell = LocalShell::with_file(b"");
    let real = shell.home.path().join("keys");
    std::fs::rename(shell.file(), &real).unwrap();
    std::os::unix::fs::symlink(&real, shell.file()).unwrap();
    install(&shell, DEADLINE, &key()).await.unwrap();
    assert!(shell.file().symlink_metadata().unwrap().is_symlink());
    assert_eq!(std::fs::read_to_string(&real).unwrap(), format!("{KEY} basilica-miner\n"));
}

#[tokio::test]
async fn another_editors_save_in_between_is_kept() {
    let shell = LocalShell::with_file(b"");
    let mut saved = false;
    *shell.before_write.lock().unwrap() = Some(Box::new(move |file| {
        if !std::mem::replace(&mut saved, true) {
            std::fs::write(file, format!("{OTHER} saved meanwhile\n")).unwrap();
        }
    }));
    install(&shell, DEADLINE, &key()).await.unwrap();
    assert_eq!(shell.text(), format!("{OTHER} saved meanwhile\n{KEY} basilica-miner\n"));
}

#[test]
fn options_are_told_and_a_line_is_known_by_its_key() {
    let plain = [KEY.to_owned(), format!("  {KEY} a comment\r"), KEY.replacen(' ', " \t ", 1)];
    for line in &plain {
        assert_eq!(presence(line.as_bytes(), &key()), Presence::Plain, "{line}");
    }
    for options in ["restrict", r#"from="10.0.0.0/8",no-pty"#, r#"command="echo \"a b\" ssh-rsa x""#] {
        let line = format!("{options} {KEY} comment\n");
        assert_eq!(presence(line.as_bytes(), &key()), Presence::Restricted(options.to_owned()));
    }
    let absent = [
        format!("# {KEY}"),
        format!("command=\"{KEY} never closed"),
        OTHER.to_owned(),
        "\0\u{ff}".to_owned(),
    ];
    for line in &absent {
        assert_eq!(presence(line.as_bytes(), &key()), Presence::Absent, "{line}");
    }
}

#[test]
fn a_validators_line_with_the_miners_key_is_neither_the_miners_nor_before_it() {
    let file = rewrite(format!("{OTHER} mine\n").as_bytes(), &[validators_line(KEY)]).unwrap();
    assert_eq!(presence(&file, &key()), Presence::Absent);
    assert_eq!(left(&file, &key()), [""; 0]);
    let installed = String::from_utf8(with(&file, &key(), b"").unwrap()).unwrap();
    assert!(installed.starts_with(&format!("{OTHER} mine\n{KEY} basilica-miner\n# BEGIN")), "{installed}");
    assert_eq!(left(installed.as_bytes(), &key()), ["line 2: ssh-ed25519 ... basilica-miner"]);
}

proptest! {
    #[test]
    fn installing_and_removing_keeps_every_line_of_others(
        lines in proptest::collection::vec(
            prop_oneof!["[ -~]{0,40}\n", Just("\0\u{e9}\r\n".to_owned()), Just(format!("{OTHER} x\n"))], 0..6),
        validators in any::<bool>(),
    ) {
        let wanted = if validators { vec![validators_line(OTHER)] } else { vec![] };
        let file = rewrite(lines.concat().as_bytes(), &wanted).unwrap();
        let installed = with(&file, &key(), b"").unwrap();
        prop_assert_eq!(presence(&installed, &key()), Presence::Plain);
        let kept = installed.split_inclusive(|byte| *byte == b'\n').filter(|line| !is_written(line, &key()));
        prop_assert_eq!(kept.flatten().copied().collect::<Vec<u8>>(), file);
    }

    #[test]
    fn no_file_panics(file in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = presence(&file, &key());
        prop_assert_eq!(left(&file, &key()), [""; 0]);
    }
}
