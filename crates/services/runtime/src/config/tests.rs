use std::collections::BTreeMap;

use basilica_types::Millis;
use serde::Deserialize;

use super::*;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    bittensor: Bittensor,
    #[serde(default)]
    nodes: Vec<Node>,
    #[serde(default)]
    labels: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Bittensor {
    wallet_name: String,
    netuid: u16,
    #[serde(default)]
    read_only: bool,
    #[serde(default)]
    strategy: Strategy,
    refresh: Option<DurationSetting>,
    #[serde(default)]
    fallback_endpoints: Vec<String>,
}

#[derive(Debug, Default, Deserialize, PartialEq)]
#[serde(rename_all = "snake_case")]
enum Strategy {
    #[default]
    HighestStake,
    FixedAssignment,
}

#[derive(Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
struct Node {
    host: String,
    port: u16,
}

const GOOD: &str = "[bittensor]\nwallet_name = \"miner\"\nnetuid = 39\n";

struct Scene<'a> {
    file: Option<&'a str>,
    env: &'a [(&'a str, &'a str)],
    overrides: Vec<(String, toml::Value)>,
    ignored: &'a [(&'a str, &'a str)],
}

impl<'a> Scene<'a> {
    const fn file(text: &'a str) -> Self {
        Self { file: Some(text), env: &[], overrides: Vec::new(), ignored: &[] }
    }

    /// The result, with the temporary directory cut out of every message.
    fn load(self) -> Result<Loaded<Config>, String> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("miner.toml");
        if let Some(text) = self.file {
            std::fs::write(&path, text).unwrap();
        }
        let source = ConfigSource {
            path: self.file.is_some().then_some(&path),
            env_prefix: "BASILICA_",
            legacy_env_prefix: Some("BASILCA_"),
            env: self.env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
            overrides: self.overrides,
            ignored: self.ignored,
        };
        let shorten = |text: String| text.replace(&format!("{}/", directory.path().display()), "");
        load::<Config>(&source).map_err(|error| shorten(error.to_string()))
    }

    fn refused(self) -> String {
        self.load().expect_err("this configuration is wrong")
    }
}

/// The words of every refusal are reviewed in one file; a change of words is a change there.
#[test]
fn refusals_name_place_key_and_remedy() {
    let cases = [
        ("malformed", "[bittensor]\nwallet_name = miner\n"),
        ("unclosed", "[bittensor]\nwallet_name = \"miner\n"),
        ("unclosed at the end", "[bittensor\n"),
        ("twice", "[bittensor]\nnetuid = 1\nnetuid = 2\n"),
        ("slip", "[bittensor]\nwallet_nam = \"miner\"\nnetuid = 39\n"),
        ("unknown", "[bittensor]\nwallet_name = \"miner\"\nnetuid = 39\nzebra = 1\n"),
        ("unknown section", "[bitensor]\nnetuid = 39\n"),
        ("wrong type", "[bittensor]\nwallet_name = \"miner\"\n\tnetuid = \"39\" # quoted\n"),
        ("number for text", "[bittensor]\nwallet_name = 7\nnetuid = 39\n"),
        ("out of range", "[bittensor]\nwallet_name = \"miner\"\nnetuid = 65536\n"),
        ("negative", "[bittensor]\nwallet_name = \"miner\"\nnetuid = -1\n"),
        ("truth", "[bittensor]\nwallet_name = \"miner\"\nnetuid = 39\nread_only = \"yes\"\n"),
        ("variant", "[bittensor]\nwallet_name = \"miner\"\nnetuid = 39\nstrategy = \"highest_steak\"\n"),
        ("variant type", "[bittensor]\nwallet_name = \"miner\"\nnetuid = 39\nstrategy = 7\n"),
        ("duration", "[bittensor]\nwallet_name = \"miner\"\nnetuid = 39\nrefresh = \"10 min\"\n"),
        ("negative duration", "[bittensor]\nwallet_name = \"miner\"\nnetuid = 39\nrefresh = -5\n"),
        ("duration type", "[bittensor]\nwallet_name = \"miner\"\nnetuid = 39\nrefresh = true\n"),
        ("missing section", "[[nodes]]\nhost = \"a\"\nport = 22\n"),
        ("missing section in an empty file", ""),
        ("missing key", "[bittensor]\nnetuid = 39\n"),
        (
            "array element",
            "[bittensor]\nwallet_name = \"ü\"\nnetuid = 39\n[[nodes]]\nhost = \"a\"\nport = 22\n[[nodes]]\nhost = \"b\"\nprt = 22\n",
        ),
        (
            "inline element",
            "nodes = [{ host = \"a\", port = 22 }, { host = \"ü\", port = \"22\" }]\n[bittensor]\nwallet_name = \"m\"\nnetuid = 39\n",
        ),
        (
            "missing in an element",
            "nodes = [{ host = \"a\" }]\n[bittensor]\nwallet_name = \"m\"\nnetuid = 39\n",
        ),
        ("section as value", "bittensor = 3\n"),
        ("value as section", "[bittensor.netuid]\nx = 1\n"),
    ];
    let report: String =
        cases.map(|(name, text)| format!("# {name}\n{}\n\n", Scene::file(text).refused())).concat();
    insta::assert_snapshot!(report);
}

#[test]
fn what_may_be_an_access_key_is_never_repeated() {
    let head = "[bittensor]\nwallet_name = \"m\"\nnetuid = 39\n";
    for text in [
        "fallback_endpoints = \"wss://user:hunter2@host\"\n",
        "fallback_endpoints = [\"ws://host\", 7, \"wss:/user:hunter2@host\"]\n",
        "fallback_endpoints = [\n  \"hunter2\", 7,\n  true, # hunter2\n]\n",
        "fallback_endpoints = [\"wss://host/hunter2\n",
        "chain_endpoint = \"wss://host/hunter2\"\n",
        "wallet = \"wss://host/hunter2\"\n",
    ] {
        let refused = Scene::file(&format!("{head}{text}")).refused();
        assert!(!refused.contains("hunter2"), "{refused}");
        assert!(refused.contains("miner.toml:"), "{refused}");
    }
    // Another key of the same line is complained of first.
    let beside = format!("nodes = [{{ host = \"h\", port = \"22\", ssh_password = \"hunter2\" }}]\n{head}");
    let refused = Scene::file(&beside).refused();
    assert!(!refused.contains("hunter2") && refused.contains("port = \"22\", ssh_password = …"), "{refused}");
    let env = &[("BASILICA_BITTENSOR__FALLBACK_ENDPOINTS", "wss://user:hunter2@host")];
    let refused = Scene { env, ..Scene::file(GOOD) }.refused();
    assert!(!refused.contains("hunter2") && refused.contains("expected an array"), "{refused}");
}

/// Files that somebody may name by mistake. What must not be seen of them is everything with a digit.
const OTHER_FILES: [&str; 16] = [
    "{\"accountId\":\"0x5ea1\",\"secretPhrase\":\"w1tch c0llapse\",\"secretSeed\":\"0xfac7\"}",
    "{\n  \"secretSeed\": \"0xfac7\"\n}",
    "w1tch c0llapse practice f33d shame\n",
    "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNz\nQAAAJgAAAAtz=\n",
    "b3blbnnza1rz=\n",
    "deadbeef0123=\n",
    "deadbeef0123456789 = x\n",
    "db:5432:basilica:hunt3r\n",
    "machine h0st login us3r password hunt3r\n",
    "password: hunt3r\n",
    "API_TOKEN=hunt3r\n",
    "password=hunt3r\n",
    "API_TOKEN=\"hunt3r\"\n",
    "[api]\ntoken = \"hunt3r\" # hunt3r\n",
    "api = { \"to#ken\" = \"hunt3r\", also = [\"hunt3r\", \"\"\"hunt3r\"\"\"] }\n",
    "bittensor = \"hunt3r\"\n",
];

#[test]
fn nothing_of_another_file_is_repeated() {
    for text in OTHER_FILES {
        // Also where a part of it is one of ours.
        for text in [text.to_owned(), format!("[bittensor]\nwallet_name = \"m\"\n{text}")] {
            let refused = Scene::file(&text).refused();
            let told = refused.strip_prefix("miner.toml").unwrap();
            let numbered = |word: &str| {
                word.trim_end_matches(':').split(':').all(|part| part.parse::<u32>().is_ok_and(|at| at < 100))
            };
            let repeated = |word: &&str| {
                word.contains(|c: char| c.is_ascii_digit()) && !numbered(word.trim_start_matches(':'))
            };
            assert_eq!(told.split_whitespace().find(repeated), None, "{text}\n{refused}");
        }
    }
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("data.db");
    for bytes in
        [&b"SQLite format 3\0\x10\0\x02 hunt3r\xff"[..], b"hunt3r\x1b[31m\xff", b"\xff = \"hunt3r\"\n"]
    {
        std::fs::write(&path, bytes).unwrap();
        let source = ConfigSource { path: Some(&path), ..ConfigSource::default() };
        let refused = load::<Config>(&source).expect_err("no configuration").to_string();
        assert!(refused.contains("data.db:1:") && refused.contains("is this the right file?"), "{refused}");
        assert!(!refused.contains("hunt3r") && !refused.contains(['\x1b', '\0']), "{refused:?}");
    }
}

#[test]
fn a_slip_is_shown_by_its_key_and_no_word_of_it_moves_a_terminal() {
    let refused = |line: &str| {
        let refused = Scene::file(&format!("[bittensor]\nwallet_name = \"m\"\n{line}\n")).refused();
        refused.split_once('\n').map(|(_, shown)| shown.to_owned()).unwrap()
    };
    assert_eq!(refused("netuid = 3 9 # mine"), "  |\n3 | netuid = …\n  |          ^");
    assert_eq!(refused("{ host = \"a\", port = }"), "  |\n3 | { host = …\n  | ^");
    assert_eq!(
        refused("netuid = { one = 1, two = [\"#\", 2] } # three"),
        "  |\n3 | netuid = { one = …, two = […, …] } \n  |          ^^^^^^^^^^^^^^^^^^^^^^^^^"
    );
    for text in ["netuid = \"\\u001b[31m\"", "\"\\u001b\" = 1", "strategy = \"\\u009b\""] {
        let said = Scene::file(&format!("{GOOD}{text}\n").replace("netuid = 39\nnetuid", "netuid")).refused();
        assert!(said.chars().all(|c| !c.is_control() || "\n\t".contains(c)), "{said:?}");
    }
}

#[test]
fn refusals_of_variables_and_flags_name_them() {
    let variable = |name, value| Scene { env: &[(name, value)], ..Scene::file(GOOD) }.refused();
    let flag =
        |key: &str, value| Scene { overrides: vec![(key.to_owned(), value)], ..Scene::file(GOOD) }.refused();
    let report = [
        variable("BASILICA_BITTENSOR__NETUID", "finney"),
        variable("BASILICA_BITTENSOR__NETUDI", "387"),
        variable("BASILCA_BITTENSOR__NETUID", "-4"),
        variable("BASILICA_BITENSOR__NETUID", "387"),
        flag("bittensor.netuid", toml::Value::Boolean(true)),
        flag("bittensor.colour", toml::Value::Integer(1)),
        Scene { env: &[("BASILICA_NODES__0__HOST", "x"), ("BASILICA_NODES__0", "{}")], ..Scene::file(GOOD) }
            .refused(),
        Scene {
            env: &[("BASILICA_NODES__0__HOST", "x")],
            ..Scene::file(
                "nodes = [{ host = \"a\", port = 22 }]\n[bittensor]\nwallet_name = \"m\"\nnetuid = 39\n",
            )
        }
        .refused(),
        Scene { file: None, env: &[], overrides: Vec::new(), ignored: &[] }.refused(),
    ]
    .join("\n\n");
    insta::assert_snapshot!(report);
}

#[test]
fn the_environment_beats_the_file_and_flags_beat_both() {
    let env = &[("BASILICA_BITTENSOR__NETUID", "387"), ("BASILICA_BITTENSOR__WALLET_NAME", "other")];
    let loaded = Scene { env, ..Scene::file(GOOD) }.load().unwrap();
    assert_eq!((loaded.value.bittensor.netuid, loaded.value.bittensor.wallet_name.as_str()), (387, "other"));
    assert!(loaded.notices.is_empty());
    assert_eq!(loaded.file().and_then(Path::file_name), Some("miner.toml".as_ref()));
    assert_eq!(loaded.variables(), ["BASILICA_BITTENSOR__NETUID", "BASILICA_BITTENSOR__WALLET_NAME"]);
    let overrides = vec![("bittensor.netuid".to_owned(), toml::Value::Integer(1))];
    let loaded = Scene { env, overrides, ..Scene::file(GOOD) }.load().unwrap();
    assert_eq!(loaded.value.bittensor.netuid, 1);
    assert_eq!(loaded.place("bittensor.netuid").to_string(), "command line (bittensor.netuid)");
    assert_eq!(
        loaded.place("bittensor.wallet_name").to_string(),
        "environment variable BASILICA_BITTENSOR__WALLET_NAME"
    );
}

#[test]
fn a_service_needs_no_file() {
    let env = &[("BASILICA_BITTENSOR__NETUID", "387"), ("BASILICA_BITTENSOR__WALLET_NAME", "miner")];
    let loaded = Scene { file: None, env, overrides: Vec::new(), ignored: &[] }.load().unwrap();
    assert_eq!(loaded.value.bittensor.netuid, 387);
    assert_eq!(
        loaded.origin(),
        "no file, the defaults alone; and BASILICA_BITTENSOR__NETUID, BASILICA_BITTENSOR__WALLET_NAME"
    );
}

#[test]
fn variables_are_read_by_the_type_of_their_key() {
    let env = &[
        ("BASILICA_BITTENSOR__WALLET_NAME", "42"),
        ("BASILICA_BITTENSOR__READ_ONLY", "true"),
        ("BASILICA_BITTENSOR__STRATEGY", "fixed_assignment"),
        ("BASILICA_BITTENSOR__REFRESH", "5m"),
        ("BASILICA_BITTENSOR__FALLBACK_ENDPOINTS", "[\"ws://a\", \"ws://b\"]"),
        ("BASILICA_LABELS__DAY", "2026-01-01"),
        ("BASILICA_LABELS__TRICK", "1\nnetuid = 2"),
    ];
    let config = Scene { env, ..Scene::file(GOOD) }.load().unwrap().value;
    assert_eq!(config.bittensor.wallet_name, "42");
    assert!(config.bittensor.read_only);
    assert_eq!(config.bittensor.strategy, Strategy::FixedAssignment);
    assert_eq!(config.bittensor.refresh.map(DurationSetting::millis), Some(Millis(300_000)));
    assert_eq!(config.bittensor.fallback_endpoints, ["ws://a", "ws://b"]);
    assert_eq!((&*config.labels["day"], &*config.labels["trick"]), ("2026-01-01", "1\nnetuid = 2"));
}

#[test]
fn variables_that_are_not_configuration_are_left_alone() {
    let env = &[("BASILICA_BIN_DIR", "/x"), ("BASILICAX__Y", "1"), ("PATH", "/bin"), ("BASILICA___Y", "1")];
    Scene { env, ..Scene::file(GOOD) }.load().expect("none of them is a key");
}

#[test]
fn the_misspelt_prefix_works_with_a_notice_and_loses_to_the_right_one() {
    let env = &[("BASILCA_BITTENSOR__NETUID", "387")];
    let loaded = Scene { env, ..Scene::file(GOOD) }.load().unwrap();
    assert_eq!(loaded.value.bittensor.netuid, 387);
    assert_eq!(
        loaded.notices[0].to_string(),
        "environment variable BASILCA_BITTENSOR__NETUID: the prefix BASILCA_ is misspelt and will go; \
         write BASILICA_BITTENSOR__NETUID"
    );
    let env = &[("BASILICA_BITTENSOR__NETUID", "1"), ("BASILCA_BITTENSOR__NETUID", "387")];
    assert_eq!(Scene { env, ..Scene::file(GOOD) }.load().unwrap().value.bittensor.netuid, 1);
}

#[test]
fn a_seeds_key_is_answered_with_a_notice() {
    let text = format!(
        "{GOOD}max_weight_uids = 256\n[grafana]\nurl = \"x\"\n\
         [[nodes]]\nhost = \"a\"\nport = 22\n[[nodes]]\nhost = \"b\"\nport = 23\nadditional_opts = \"-v\"\n"
    );
    let ignored = &[
        ("bittensor.max_weight_uids", "the chain's limit is used"),
        ("grafana", "every metric is served"),
        ("nodes.*.additional_opts", "ssh options are fixed"),
        ("bittensor.never_written", "is not told of"),
    ];
    let env = &[("BASILICA_GRAFANA__URL", "y")];
    let loaded = Scene { env, ignored, ..Scene::file(&text) }.load().unwrap();
    let notices: Vec<String> = loaded
        .notices
        .iter()
        .map(|notice| notice.to_string())
        .map(|text| text.rsplit_once('/').map_or(text.clone(), |(_, name)| name.to_owned()))
        .collect();
    assert_eq!(
        notices,
        [
            "miner.toml:4:1: `bittensor.max_weight_uids`: the chain's limit is used",
            "miner.toml:5:2: `grafana`: every metric is served",
            "environment variable BASILICA_GRAFANA__URL: every metric is served",
            "miner.toml:13:1: `nodes.1.additional_opts`: ssh options are fixed",
        ]
    );
}

#[test]
fn values_that_do_not_fit_are_refused_at_their_line() {
    let text = format!("{GOOD}[[nodes]]\nhost = \"a\"\nport = 22\n");
    let loaded = Scene::file(&text).load().unwrap();
    assert_eq!(loaded.value.nodes, [Node { host: "a".to_owned(), port: 22 }]);
    let port = loaded.place("nodes.0.port");
    assert!(matches!(&port, Place::File { line: 6, column: 8, shown: Some(Shown { width: 2, .. }), .. }));
    assert!(matches!(loaded.place("nodes.0.rate"), Place::File { line: 4, .. }), "the element that lacks it");
    let error = loaded.reject("nodes.0.port", "is not open", Some("open it".to_owned())).to_string();
    assert!(
        error.ends_with(
            "6:8: `nodes.0.port`: is not open\n  |\n6 | port = 22\n  |        ^^\n  = help: open it"
        ),
        "{error}"
    );
}

#[test]
fn debugging_output_names_sources_and_repeats_no_value() {
    const SECRET: &str = "pass-4711";
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("miner.toml");
    let text =
        format!("{GOOD}fallback_endpoints = [\"wss://{SECRET}\"] # {SECRET}\nlabels.a = \"{SECRET}\"\n");
    std::fs::write(&path, &text).unwrap();
    let source = ConfigSource {
        path: Some(&path),
        env_prefix: "BASILICA_",
        env: vec![("BASILICA_LABELS__B".to_owned(), SECRET.to_owned())],
        overrides: vec![("labels.c".to_owned(), SECRET.into())],
        ..ConfigSource::default()
    };
    let document = Document::parse(&path, text.into_bytes()).unwrap();
    let loaded = load::<toml::Table>(&source).unwrap();
    assert!(format!("{:?}", loaded.value).contains(SECRET));
    for (shown, names) in [
        (format!("{document:?}"), &["miner.toml"][..]),
        (format!("{loaded:?}"), &["miner.toml", "BASILICA_LABELS__B", "labels.c"]),
        (format!("{source:?}"), &["miner.toml", "labels.c"]),
    ] {
        assert!(!shown.contains(SECRET), "{shown}");
        for name in names {
            assert!(shown.contains(name), "{name}: {shown}");
        }
    }
}

#[test]
fn unreadable_files_are_named() {
    let load = |path: &Path| {
        load::<Config>(&ConfigSource { path: Some(path), ..ConfigSource::default() }).map(|_| ())
    };
    let directory = tempfile::tempdir().unwrap();
    let missing = directory.path().join("missing.toml");
    assert!(matches!(load(&missing), Err(ConfigError::Read { path, .. }) if path == missing));
    assert!(matches!(load(directory.path()), Err(ConfigError::Read { .. })));
    let long = directory.path().join("long.toml");
    std::fs::write(&long, vec![b'#'; usize::try_from(FILE_LIMIT).unwrap() + 1]).unwrap();
    assert!(matches!(load(&long), Err(ConfigError::TooLong { limit: FILE_LIMIT, .. })));
    let binary = directory.path().join("binary.toml");
    std::fs::write(&binary, b"[a]\nb = \"\xff\"\n").unwrap();
    let error = load(&binary).expect_err("not UTF-8").to_string();
    assert!(error.contains("binary.toml:2:6: not valid UTF-8"), "{error}");
}

proptest::proptest! {
    #[test]
    fn any_bytes_are_answered(bytes: Vec<u8>) {
        let _ = Document::parse(Path::new("x.toml"), bytes);
    }

    #[test]
    fn any_broken_line_is_answered_with_its_line(text in "[a-z\\[\\]{}=\"'.0-9é \t\n\r#,]{0,60}") {
        if let Err(diagnostic) = Document::parse(Path::new("x.toml"), text.into_bytes()) {
            proptest::prop_assert!(diagnostic.to_string().starts_with("x.toml:"), "{}", diagnostic);
        }
    }

    #[test]
    fn any_variable_is_answered(name in "BASILICA_[A-Z_]{0,20}", value in "\\PC{0,30}") {
        let env = &[(name.as_str(), value.as_str())];
        let _ = Scene { env, ..Scene::file(GOOD) }.load();
    }
}
