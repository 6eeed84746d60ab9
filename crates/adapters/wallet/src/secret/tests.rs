use proptest::prelude::*;

use super::*;

/// Gives what it was filled with; the public keys below must not depend on it.
struct Fixed(u8);

impl Entropy for Fixed {
    fn fill(&self, bytes: &mut [u8]) {
        bytes.fill(self.0);
    }
}

fn address(uri: &str) -> String {
    Secret::from_uri(uri, &Fixed(7)).unwrap().keypair().hotkey().to_string()
}

/// Addresses that the Python SDK 11.3.0 gives.
#[test]
fn uris_give_the_keys_that_the_python_sdk_gives() {
    let phrase = DEV_PHRASE;
    for (uri, want) in [
        ("//Alice".to_owned(), "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY"),
        (phrase.to_owned(), "5DfhGyQdFobKM8NsWvEeAKk5EQQgYe9AydgJ7rMB6E1EqRzV"),
        (format!("{phrase}//Alice"), "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY"),
        (format!("{phrase}///pw"), "5HVquMWVR2cemSfuHeWupmEEgiTDjdNpCrPk4iKeBmL9qnKD"),
        ("//Alice/soft".to_owned(), "5C8PhJPLE54x23RjmqBcEEnALryCDWdTJM5xLaoL9W8XEpnt"),
        ("//Alice/soft//2".to_owned(), "5FRcv8UfFPfNUoP5oh1DqS5Pa6szH5TAEdRcTdaE87SKmruC"),
        ("//Alice/soft//2/3///pw".to_owned(), "5EZRCm6suvM3w8ZwvxNWHfoP3pZKh3QbaZftoziz1gYx9qWa"),
        ("/soft".to_owned(), "5F4g82upwXKNJWdotdSwkALpdNRNnuNBLQeZ6YUYBoSK3rcj"),
        ("//1".to_owned(), "5GBNeWRhZc2jXu7D55rBimKYDk8PGk8itRYFTPfC8RJLKG5o"),
        ("//Alice//stash".to_owned(), "5GNJqTPyNqANBkUVMN1LPPrxXnFouWXoe2wNSmmEoLctxiZY"),
        ("//Alice/0".to_owned(), "5FKxrLQM24ZhLxcaQfJR3uMxMZh5gU6E4CP3yghPJLzCDnHN"),
        (format!("//{}", "long".repeat(20)), "5FdzQpPm9dzt6ebbpGsKuUBfvA5JKWorKbRRpMsRKFQFv8qN"),
        (format!("0x{}", "11".repeat(32)), "5DtDLm5rQHShDqojQpsvcN8tRXHVFaecfDoRet1SU6BFD9Fi"),
    ] {
        assert_eq!(address(&uri), want, "{uri}");
    }
}

/// One of each length, made by the SDK 11.3.0 with the address beside it.
#[test]
fn mnemonics_of_every_length_give_the_keys_that_the_python_sdk_gives() {
    for (phrase, want) in [
        (
            "vicious debate menu fever crush ask brick sorry pipe stick chronic job",
            "5D2Lsi22epEadFePxsZKWrREvF9fR7gLQhBiUvSJh6YtucH1",
        ),
        (
            "bread lion salute spice crop loop drama taste idle radar worth outside elder have normal",
            "5EHYByEcMrPn9B3GZoYABkYdzDrq1syvnR4ZyJs1KuGko3hP",
        ),
        (
            "bag exhaust model chronic author fiscal popular flush canal soul glad since unfold normal sample \
             tonight pluck universe",
            "5Cf6n45Jmy73WWSujihSr9uZZ78gvRuUf7Pi2aa5AWaJLhZR",
        ),
        (
            "thunder earn typical pizza river gather bomb minute animal elevator access whisper language unable \
             arctic suspect output bamboo income enhance reopen",
            "5FxRk3VW6HdemCPJ2Jr79snqptVLxoFh9iBjcFNmLTCqwgiF",
        ),
        (
            "smooth digital march wrestle bottom abuse video license habit sail trim smile praise crowd height bar \
             estate shaft until parent object sense teach fever",
            "5DksAHi1xTfg9ebJeKeiY8mt5pCKjb9M3YTGRFtPT1zxqepb",
        ),
    ] {
        let secret = Secret::from_phrase(&format!("  {} \n", phrase.to_uppercase())).unwrap();
        assert_eq!(secret.keypair().hotkey().to_string(), want);
        assert_eq!(secret.phrase(), Some(phrase));
        assert!(secret.seed().is_some());
    }
}

#[test]
fn broken_texts_are_explained_without_quoting_them() {
    let words = DEV_PHRASE.replace("walk", "hunter2");
    let swapped = DEV_PHRASE.replace("bottom drive", "drive bottom");
    for (uri, want) in [
        ("", "mnemonic has 0 words"),
        ("hunter2", "mnemonic has 1 words"),
        (&words, "word 12 of the mnemonic"),
        (&swapped, "checksum"),
        ("0xhunter2", "seed is not"),
        ("//Alice/", "derivation path"),
        ("//Alice//", "derivation path"),
        (&"hunter2 ".repeat(200), "longer than"),
    ] {
        let fault = Secret::from_uri(uri, &Fixed(0)).unwrap_err();
        assert!(fault.to_string().contains(want), "{uri}: {fault}");
        assert!(!format!("{fault:?} {fault}").contains("hunter2"), "{fault:?}");
    }
}

#[test]
fn a_new_key_comes_back_from_its_words_and_depends_on_chance() {
    for count in [12, 15, 18, 21, 24] {
        let words = WordCount::new(count).unwrap();
        let made = Secret::generate(words, &Fixed(3)).unwrap();
        let phrase = made.phrase().unwrap();
        assert_eq!(phrase.split(' ').count(), count);
        let back = Secret::from_phrase(phrase).unwrap();
        assert_eq!(back.keypair().hotkey(), made.keypair().hotkey());
        let other = Secret::generate(words, &Fixed(4)).unwrap();
        assert_ne!(other.keypair().hotkey(), made.keypair().hotkey());
    }
    assert!(matches!(WordCount::new(13), Err(SecretError::WordCount(13))));
}

#[test]
fn words_are_kept_only_where_they_alone_give_the_key() {
    let kept = |uri: &str| Secret::from_uri(uri, &Fixed(0)).unwrap().phrase().is_some();
    assert!(kept(DEV_PHRASE));
    assert!(!kept(&format!("{DEV_PHRASE}///pw")));
    assert!(!kept(&format!("{DEV_PHRASE}//Alice")));
    let shown = format!("{:?}", Secret::from_phrase(DEV_PHRASE).unwrap());
    assert!(shown.contains("redacted") && !shown.contains("bottom"), "{shown}");
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in "[/0xa-f é]{0,40}") {
        let _either = Secret::from_uri(&text, &Fixed(0)).is_ok();
    }
}
