//! The scripts run under this machine's own `sh`, in a home directory of their own.

use std::path::Path;
use std::time::Duration;

use async_trait::async_trait;
use basilica_types::{Hotkey, SessionId};
use proptest::prelude::*;

use super::*;
use crate::local_shell::{KEY, LocalShell};

const DEADLINE: Millis = Millis::from_secs(20);

/// The real time, moved by some seconds.
struct ShiftedClock(i64);

#[async_trait]
impl Clock for ShiftedClock {
    #[expect(clippy::disallowed_methods, reason = "the scripts read the machine's clock, so the test has to")]
    fn now(&self) -> Timestamp {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        Timestamp(i64::try_from(since.as_millis()).unwrap() + self.0 * 1000)
    }
    fn monotonic(&self) -> Duration {
        Duration::ZERO
    }
    async fn sleep(&self, _: Millis) {}
}

fn wanted(seed: u8) -> WantedKey {
    WantedKey {
        tag: KeyTag { validator: Hotkey::from_bytes([seed; 32]), session: SessionId::from_random([seed; 8]) },
        expires_at: Timestamp::from_secs(ShiftedClock(0).now().as_secs() + 3600),
        key: KEY.parse().unwrap(),
    }
}

async fn edit(shell: &LocalShell, keys: &[WantedKey]) -> Result<Edited, KeyEditError> {
    edit_at(shell, 0, keys).await
}

/// All keys of these tests are ours, at a time that is moved by some seconds.
async fn edit_at(shell: &LocalShell, shift: i64, keys: &[WantedKey]) -> Result<Edited, KeyEditError> {
    let ours: BTreeSet<KeyTag> = (0..=9).map(|seed| wanted(seed).tag).collect();
    let mut edited = Edited::default();
    apply(shell, &ShiftedClock(shift), DEADLINE, (&ours, keys), &mut edited).await.map(|()| edited)
}

/// Only `ours`, and those that are written, are ours.
async fn edit_as(shell: &LocalShell, ours: &BTreeSet<KeyTag>, keys: &[WantedKey]) -> Edited {
    let mut edited = Edited::default();
    apply(shell, &ShiftedClock(0), DEADLINE, (ours, keys), &mut edited).await.unwrap();
    edited
}

#[tokio::test]
async fn a_missing_file_is_made_for_its_user_only() {
    use std::os::unix::fs::PermissionsExt as _;
    let shell = LocalShell::new();
    let edited = edit(&shell, &[wanted(1)]).await.unwrap();
    assert_eq!((edited.added, edited.removed), (vec![wanted(1).tag], vec![]));
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&shell.file()), mode(shell.file().parent().unwrap())), (0o600, 0o700));
    assert!(shell.text().contains(",expiry-time=\""), "{}", shell.text());
    let edited = edit(&shell, &[]).await.unwrap();
    assert_eq!(edited.removed, [wanted(1).tag]);
    assert_eq!(shell.text(), "");
    assert_eq!(shell.names(), ["authorized_keys"], "no temporary file is left");
}

#[tokio::test]
async fn another_editors_save_in_between_is_kept() {
    let shell = LocalShell::with_file(b"ssh-ed25519 AAAA one\n");
    let mut saved = false;
    *shell.before_write.lock().unwrap() = Some(Box::new(move |file| {
        if !std::mem::replace(&mut saved, true) {
            std::fs::write(file, "ssh-ed25519 AAAA one\nssh-ed25519 AAAA two").unwrap();
        }
    }));
    edit(&shell, &[wanted(1)]).await.unwrap();
    assert!(shell.text().starts_with("ssh-ed25519 AAAA one\nssh-ed25519 AAAA two\n"), "{}", shell.text());
    assert!(shell.text().contains(&wanted(1).tag.to_string()));
}

/// A node where this happens to the file, which is `$file`, just before the program that replaces it: without perl, `mv`.
fn just_before(program: &str, file: &[u8], happens: &str) -> LocalShell {
    use std::os::unix::fs::PermissionsExt as _;
    let shell = LocalShell::with_file(file);
    let bin = shell.home.path().join("bin");
    std::fs::create_dir(&bin).unwrap();
    let place = |name: &str, text: String| {
        std::fs::write(bin.join(name), text).unwrap();
        std::fs::set_permissions(bin.join(name), std::fs::Permissions::from_mode(0o755)).unwrap();
    };
    place("perl", "#!/bin/sh\nexit 127\n".to_owned());
    let file = shell.file().display().to_string();
    let happens = format!("file='{file}'\n{happens}");
    place(program, format!("#!/bin/sh\n{happens}\nPATH=${{PATH#*:}} exec {program} \"$@\"\n"));
    shell
}

#[tokio::test]
async fn where_there_is_perl_no_save_before_the_rename_is_lost() {
    for save in [
        // By renaming, in place, and by adding a line.
        r#"echo 'ssh-ed25519 AAAA two' > "$file.n"; mv "$file.n" "$file""#,
        r#"echo 'ssh-ed25519 AAAA two' > "$file""#,
        r#"echo 'ssh-ed25519 AAAA two' >> "$file""#,
    ] {
        let once = format!("[ -e \"$file.once\" ] || {{ : > \"$file.once\"; {save}; }}");
        let shell = just_before("perl", b"ssh-ed25519 AAAA one\n", &once);
        edit(&shell, &[wanted(1)]).await.unwrap();
        let text = shell.text();
        assert!(
            text.contains("ssh-ed25519 AAAA two\n# BEGIN") && text.ends_with("# END basilica\n"),
            "{text}"
        );
        assert_eq!(shell.names(), ["authorized_keys", "authorized_keys.once"]);
    }
}

#[tokio::test]
async fn no_piece_of_a_file_that_is_written_anew_in_place_becomes_a_line() {
    let rewrite = r#"echo 'command="x",no-pty ssh-ed25519 AAAA two' > "$file""#;
    let shell = just_before("mv", b"0123456789012345678\n", rewrite);
    edit(&shell, &[wanted(1)]).await.unwrap();
    let text = shell.text();
    assert!(text.starts_with("0123456789012345678\n# BEGIN") && text.ends_with("# END basilica\n"), "{text}");
}

#[tokio::test]
async fn what_is_appended_between_the_check_and_the_rename_is_kept() {
    let append = "echo 'ssh-ed25519 AAAA two' >> \"$file\"";
    let shell = just_before("mv", b"ssh-ed25519 AAAA one\n", append);
    edit(&shell, &[wanted(1)]).await.unwrap();
    let text = shell.text();
    assert!(text.starts_with("ssh-ed25519 AAAA one\n# BEGIN"), "{text}");
    assert!(text.ends_with("# END basilica\nssh-ed25519 AAAA two\n"), "{text}");
}

#[tokio::test]
async fn a_file_that_never_rests_is_given_up_unharmed() {
    let shell = LocalShell::with_file(b"");
    let mut saves = 0u32;
    *shell.before_write.lock().unwrap() = Some(Box::new(move |file| {
        saves += 1;
        std::fs::write(file, format!("# save {saves}\n")).unwrap();
    }));
    assert!(matches!(edit(&shell, &[wanted(1)]).await, Err(KeyEditError::Contended)));
    assert_eq!(shell.text(), "# save 5\n");
}

#[tokio::test]
async fn a_node_with_a_wrong_clock_gets_no_key_and_loses_those_it_has() {
    let shell = LocalShell::with_file(b"# mine\n");
    edit(&shell, &[wanted(1)]).await.unwrap();
    for shift in [120, -120] {
        let error = edit_at(&shell, shift, &[wanted(1)]).await.unwrap_err();
        assert!(matches!(error, KeyEditError::Skew { seconds: 110..=130 }), "{error}");
        assert_eq!(shell.text(), "# mine\n");
    }
    let edited = edit_at(&shell, 30, &[wanted(1)]).await.unwrap();
    assert_eq!(edited.added, [wanted(1).tag]);
}

#[tokio::test]
async fn a_key_that_takes_the_place_of_its_sessions_key_is_told_as_written_and_none_as_removed() {
    let shell = LocalShell::with_file(b"# mine\n");
    edit(&shell, &[wanted(1)]).await.unwrap();
    let mut blob = wanted(1).key.blob().to_vec();
    *blob.last_mut().unwrap() ^= 1;
    let replaced = WantedKey { key: SshPublicKey::from_blob(&blob).unwrap(), ..wanted(1) };
    let edited = edit(&shell, std::slice::from_ref(&replaced)).await.unwrap();
    assert_eq!((edited.added, edited.removed), (vec![wanted(1).tag], vec![]));
    let longer = WantedKey { expires_at: replaced.expires_at + Millis::from_secs(60), ..replaced };
    let edited = edit(&shell, &[longer]).await.unwrap();
    assert_eq!((edited.added, edited.removed), (vec![], vec![]), "the same key, for longer");
}

#[tokio::test]
async fn an_edit_that_fails_after_its_write_tells_what_it_removed() {
    // What is written without the key cannot be read back.
    let giant = "grep -q ^restrict, \"$2\" || head -c 300000 /dev/zero | tr '\\0' '#' >> \"$2\"";
    let shell = just_before("mv", b"# mine\n", giant);
    edit(&shell, &[wanted(1)]).await.unwrap();
    let ours = BTreeSet::from([wanted(1).tag]);
    let mut edited = Edited::default();
    let failed = apply(&shell, &ShiftedClock(0), DEADLINE, (&ours, &[]), &mut edited).await;
    assert!(matches!(failed, Err(KeyEditError::TooLarge)), "{failed:?}");
    assert_eq!(edited.removed, [wanted(1).tag]);
}

#[tokio::test]
async fn two_miners_on_one_node_leave_each_others_keys_alone() {
    let shell = LocalShell::with_file(b"# mine\n");
    let none = BTreeSet::new();
    let (one, two) = (wanted(1), wanted(2));
    edit_as(&shell, &none, std::slice::from_ref(&one)).await;
    let second = edit_as(&shell, &none, std::slice::from_ref(&two)).await;
    assert_eq!((second.added, second.removed), (vec![two.tag], vec![]));
    assert_eq!(second.others, [one.tag]);
    let both = shell.text();
    for keys in [std::slice::from_ref(&one), std::slice::from_ref(&two)] {
        let again = edit_as(&shell, &none, keys).await;
        assert_eq!((again.added, again.removed), (vec![], vec![]));
        assert_eq!(shell.text(), both, "nothing is left to do for either");
    }
    let first = edit_as(&shell, &BTreeSet::from([one.tag]), &[]).await;
    assert_eq!(first.removed, [one.tag]);
    assert!(shell.text().contains(&two.tag.to_string()));
}

#[tokio::test]
async fn another_miners_key_goes_once_its_time_is_up() {
    let mut over = wanted(1);
    over.expires_at = Timestamp::from_secs(ShiftedClock(0).now().as_secs() - 5);
    let shell = LocalShell::with_file(b"");
    edit(&shell, &[over.clone()]).await.unwrap();
    let edited = edit_as(&shell, &BTreeSet::new(), &[wanted(2)]).await;
    assert_eq!((edited.removed, edited.others), (vec![over.tag], vec![]));
}

#[tokio::test]
async fn what_an_interrupted_write_left_behind_is_removed_but_no_write_at_work() {
    let shell = LocalShell::with_file(b"# mine\n");
    let beside = |name: &str| shell.file().with_file_name(name);
    let (stale, fresh) =
        (beside(".authorized_keys.basilica.AAAAAAAA"), beside(".authorized_keys.basilica.BBBBBBBB"));
    let other = beside(".authorized_keys.of-mine");
    for file in [&stale, &fresh, &other] {
        std::fs::write(file, "half").unwrap();
    }
    for old in [&stale, &other] {
        let touched =
            std::process::Command::new("touch").args(["-d", "1 hour ago"]).arg(old).status().unwrap();
        assert!(touched.success());
    }
    edit(&shell, &[wanted(1)]).await.unwrap();
    assert_eq!([stale.exists(), fresh.exists(), other.exists()], [false, true, true]);
}

#[tokio::test]
async fn a_giant_file_is_left_alone() {
    let giant = vec![b'#'; MAX_FILE + 1];
    let shell = LocalShell::with_file(&giant);
    assert!(matches!(edit(&shell, &[wanted(1)]).await, Err(KeyEditError::TooLarge)));
    assert_eq!(std::fs::read(shell.file()).unwrap(), giant);
}

/// Fresh: tests of this crate may run side by side on one machine.
fn tag(last: u8) -> KeyTag {
    let [a, b, c, d] = std::process::id().to_le_bytes();
    KeyTag {
        validator: Hotkey::from_bytes([7; 32]),
        session: SessionId::from_random([a, b, c, d, 7, 7, 7, last]),
    }
}

#[tokio::test]
async fn only_processes_with_exactly_this_tag_are_ended() {
    let shell = LocalShell::new();
    let sleeper = |name: &str, value: String| {
        std::process::Command::new("sleep").arg("300").env(name, value).spawn().unwrap()
    };
    let mut ended = sleeper("BASILICA_KEY", tag(1).to_string());
    let mut others = [
        sleeper("BASILICA_KEY", tag(2).to_string()),
        sleeper("BASILICA_KEY", format!("{}0", tag(1))),
        sleeper("X_BASILICA_KEY", tag(1).to_string()),
    ];
    end_processes(&shell, DEADLINE, &[tag(1)]).await.unwrap();
    assert!(!ended.wait().unwrap().success());
    for other in &mut others {
        assert_eq!(other.try_wait().unwrap(), None, "still running");
        other.kill().unwrap();
        other.wait().unwrap();
    }
}

#[tokio::test]
async fn the_pauses_before_a_process_is_killed_do_not_count_against_its_node() {
    let mut stubborn = std::process::Command::new("sh")
        .args(["-c", "trap '' TERM; exec sleep 300"])
        .env("BASILICA_KEY", tag(3).to_string())
        .spawn()
        .unwrap();
    end_processes(&LocalShell::new(), Millis(END_PAUSE.0 / 2), &[tag(3)]).await.unwrap();
    assert!(!stubborn.wait().unwrap().success());
}

#[test]
fn an_answer_is_read_with_any_file_content() {
    let answer = b"now 1800000000\nssh OpenSSH_9.2p1 Debian-2, OpenSSL 3\nexpiry 1800003600 20270115090000 1800003600\n\
                   expiry 5 - -\nfile\nabc\0\nnow 7\n";
    let inspection = Inspection::parse(answer).unwrap();
    assert_eq!(inspection.now_secs, 1_800_000_000);
    assert_eq!(inspection.file.as_deref(), Some(&b"abc\0\nnow 7\n"[..]));
    assert_eq!(inspection.expiries, [(1_800_003_600, NodeLocalTime::parse("20270115090000")), (5, None)]);
    assert_eq!(Inspection::parse(b"now 1\nabsent\n").unwrap().file, None);
    for bad in [&b""[..], b"absent\n", b"now x\nabsent\n", b"now 1\n", b"Welcome!\nnow 1\nabsent\n"] {
        assert!(Inspection::parse(bad).is_err());
    }
}

#[test]
fn a_local_time_must_be_read_back_as_its_moment() {
    assert!(local_time(7_200, Some("20270115090000"), Some("7200")).is_some());
    assert!(local_time(7_200, Some("20270115090000"), Some("3600")).is_some(), "the hour that comes twice");
    assert!(local_time(7_200, Some("20270115090000"), Some("3599")).is_none());
    assert!(local_time(7_200, Some("20270115090000"), Some("-")).is_none());
    assert!(local_time(7_200, Some("-"), Some("7200")).is_none());
}

#[test]
fn only_old_servers_are_spared_the_option() {
    for (version, knows) in [
        ("OpenSSH_7.6p1", false),
        ("OpenSSH_7.7p1", true),
        ("OpenSSH_9.2p1", true),
        ("OpenSSH_10.0", true),
        ("", true),
    ] {
        assert_eq!(knows_expiry_time(version), knows, "{version}");
    }
}

#[test]
fn skew_leaves_the_time_of_the_question_out() {
    let inspection =
        |now_secs| Inspection { now_secs, knows_expiry_time: true, expiries: vec![], file: None };
    let (asked, answered) = (Timestamp(100_000), Timestamp(109_500));
    assert_eq!(inspection(100).skew(asked, answered), 0);
    assert_eq!(inspection(110).skew(asked, answered), 0);
    assert_eq!(inspection(170).skew(asked, answered), 60);
    assert_eq!(inspection(30).skew(asked, answered), 70);
}

proptest! {
    #[test]
    fn no_answer_panics(answer in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = Inspection::parse(&answer);
    }
}
