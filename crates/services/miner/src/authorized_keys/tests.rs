use basilica_types::Hotkey;
use proptest::prelude::*;

use super::*;

const ED25519: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f";

fn line(seed: u8) -> KeyLine {
    let mut blob = ED25519.parse::<SshPublicKey>().unwrap().blob().to_vec();
    *blob.last_mut().unwrap() = seed;
    KeyLine {
        tag: KeyTag { validator: Hotkey::from_bytes([seed; 32]), session: SessionId::from_random([seed; 8]) },
        expires_at: Timestamp::from_secs(1_800_000_000 + i64::from(seed)),
        expiry_time: (!seed.is_multiple_of(3)).then(|| NodeLocalTime::parse("20270115080000").unwrap()),
        key: SshPublicKey::from_blob(&blob).unwrap(),
    }
}

fn foreign_bytes(file: &[u8]) -> Vec<u8> {
    let kept = lines(file).into_iter().filter(|(l, inside)| matches!(owner(l, *inside), Owner::Other));
    kept.flat_map(|(l, _)| l.to_vec()).collect()
}

#[test]
fn a_line_reads_exactly_as_the_rules_say() {
    let line = line(1);
    let tag = line.tag.to_string();
    let expected = format!(
        "restrict,expiry-time=\"20270115080000\",command=\"[ $(date +%s) -lt 1800000001 ] && \
         grep -q {tag} ~/.ssh/authorized_keys && BASILICA_KEY={tag} exec sh -c \\\"$SSH_ORIGINAL_COMMAND\\\"; \
         exit 97\" {} {tag}",
        line.key
    );
    assert_eq!(line.to_string(), expected);
    assert_eq!(KeyLine::parse(&expected), Some(line));
}

#[test]
fn keys_are_added_replaced_and_removed_between_the_users_own() {
    let user = "# my keys\nssh-ed25519 AAAAuser1 me@laptop\n\nssh-rsa AAAAuser2 validator-room printer";
    let first = rewrite(user.as_bytes(), &[line(1), line(2)]).unwrap();
    assert!(first.starts_with(user.as_bytes()));
    assert_eq!(tags(&first).len(), 2);
    let second = rewrite(&first, &[line(2)]).unwrap();
    assert_eq!(tags(&second), [line(2).tag]);
    let nothing = rewrite(&second, &[]).unwrap();
    assert_eq!(nothing, [user.as_bytes(), b"\n"].concat());
    assert_eq!(rewrite(user.as_bytes(), &[]).unwrap(), user.as_bytes());
}

#[test]
fn users_lines_that_look_like_ours_stay() {
    let tag = line(1).tag;
    for foreign in [
        format!("{ED25519} validator-{}", Hotkey::from_bytes([1; 32])),
        format!("{ED25519} {tag}"),
        format!("restrict {ED25519} {tag}"),
        format!("# {BEGIN}"),
        format!(" {}", line(1)),
        format!("{} more", line(1)),
        format!("#{}", line(1)),
        "validator-".to_owned(),
        "\0\u{fffd}validator-x".to_owned(),
    ] {
        let file = format!("{foreign}\r\nother\n");
        let with = rewrite(file.as_bytes(), &[line(1)]).unwrap();
        assert!(with.starts_with(file.as_bytes()), "{foreign}");
        assert_eq!(rewrite(&with, &[]).unwrap(), file.as_bytes(), "{foreign}");
    }
}

#[test]
fn broken_markers_neither_hide_a_key_nor_take_a_foreign_one() {
    let ours = line(1).to_string();
    let tampered = ours.replace("restrict,", "");
    let user = "ssh-ed25519 AAAAuser me";
    for (file, kept) in [
        (format!("{BEGIN}\n{ours}\n{user}\n"), format!("{user}\n")),
        (format!("{ours}\n{END}\n{user}\n"), format!("{user}\n")),
        (format!("{BEGIN}\n{BEGIN}\n{ours}\n{user}\n{END}\n{END}\n"), format!("{user}\n")),
        (format!("{END}\n{user}\n{BEGIN}\n{ours}"), format!("{user}\n")),
        (format!("{BEGIN}\r\n{ours}\r\n{user}\r\n{END}\r\n"), format!("{user}\r\n")),
        (format!("{BEGIN}\n{tampered}\n{END}\n{user}\n"), format!("{user}\n")),
        (format!("{BEGIN}\n{user}\n{tampered}\n"), format!("{user}\n{tampered}\n")),
    ] {
        assert_eq!(String::from_utf8(rewrite(file.as_bytes(), &[]).unwrap()).unwrap(), kept, "{file:?}");
        let with = rewrite(file.as_bytes(), &[line(2)]).unwrap();
        assert_eq!(tags(&with), [line(2).tag], "{file:?}");
    }
}

#[test]
fn a_shortened_line_between_the_markers_is_found_by_its_tag() {
    let naked = format!("{BEGIN}\n{} {}\n{END}\n", line(4).key, line(4).tag);
    assert_eq!(tags(naked.as_bytes()), [line(4).tag]);
    assert_eq!(rewrite(naked.as_bytes(), &[]).unwrap(), b"");
}

#[test]
fn a_giant_file_is_refused() {
    let giant = vec![b'x'; MAX_FILE];
    let error = rewrite(&giant, &[line(1)]).unwrap_err();
    assert!(matches!(error, AuthorizedKeysError::TooLarge(n) if n > MAX_FILE));
}

#[test]
fn local_times_are_14_digits() {
    assert!(NodeLocalTime::parse("20261121103000").is_some());
    for bad in ["", "2026112110300", "20261121103000Z", "2026-11-21 10:3", "２026112110300"] {
        assert!(NodeLocalTime::parse(bad).is_none(), "{bad}");
    }
}

/// A piece of a hostile file.
fn piece() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        Just(format!("{BEGIN}\n").into_bytes()),
        Just(format!("{END}\n").into_bytes()),
        Just(format!("{BEGIN}\r\n").into_bytes()),
        (0u8..6).prop_map(|seed| format!("{}\n", line(seed)).into_bytes()),
        (0u8..6).prop_map(|seed| line(seed).to_string().into_bytes()),
        (0u8..6, 1usize..150)
            .prop_map(|(seed, cut)| format!("{}\n", &line(seed).to_string()[cut..]).into_bytes()),
        (0u8..6).prop_map(|seed| format!("{} {}\n", line(seed).key, line(seed).tag).into_bytes()),
        proptest::collection::vec(any::<u8>(), 0..40),
        Just(b"ssh-ed25519 AAAA validator-me\n".to_vec()),
        Just(b"\n".to_vec()),
    ]
}

fn file() -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(piece(), 0..12).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn other_lines_are_never_touched(file in file(), wanted in proptest::collection::vec(0u8..6, 0..5)) {
        let wanted: Vec<KeyLine> = wanted.into_iter().map(line).collect();
        let before = foreign_bytes(&file);
        let after = foreign_bytes(&rewrite(&file, &wanted).unwrap());
        // The only byte that may come: the newline that the last line of the file had lacked.
        if after != before {
            let ended = before.iter().copied().chain([b'\n']).collect::<Vec<u8>>();
            prop_assert!(!before.ends_with(b"\n"));
            prop_assert_eq!(after, ended);
        }
    }

    #[test]
    fn the_result_holds_each_wanted_key_once_and_no_other_of_ours(
        file in file(), wanted in proptest::collection::vec(0u8..6, 0..5),
    ) {
        let wanted: Vec<KeyLine> = wanted.into_iter().map(line).collect();
        let result = rewrite(&file, &wanted).unwrap();
        let mut expected: Vec<KeyTag> = wanted.iter().map(|l| l.tag).collect();
        expected.sort_unstable();
        expected.dedup();
        prop_assert_eq!(tags(&result), expected);
        for key in &wanted {
            let printed = key.to_string();
            let count = lines(&result).into_iter().filter(|(l, _)| text(l) == Some(printed.as_str())).count();
            prop_assert_eq!(count, 1);
        }
    }

    #[test]
    fn rewriting_again_changes_nothing(file in file(), wanted in proptest::collection::vec(0u8..6, 0..5)) {
        let wanted: Vec<KeyLine> = wanted.into_iter().map(line).collect();
        let once = rewrite(&file, &wanted).unwrap();
        prop_assert_eq!(rewrite(&once, &wanted).unwrap(), once);
    }
}
