//! The shipped example, the seeds' files, and wrong ones.

use std::path::Path;

use basilica_runtime_service::{ConfigSource, load};

use super::*;
use crate::Settings;

const EXAMPLE: &str = include_str!("../../../../../config/validator.toml.example");

fn read(text: &str) -> Result<(ValidatorConfig, Vec<String>), String> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("validator.toml");
    std::fs::write(&path, text).unwrap();
    let source = ConfigSource {
        path: Some(Path::new(&path)),
        env_prefix: "BASILICA_",
        ignored: IGNORED,
        ..ConfigSource::default()
    };
    let loaded = load::<ValidatorConfig>(&source).map_err(|error| error.to_string())?;
    Settings::new(&loaded).map_err(|error| error.to_string())?;
    let notices = loaded.notices.iter().map(|notice| notice.key.clone()).collect();
    Ok((loaded.value, notices))
}

/// The example with every commented default made real.
fn uncommented() -> String {
    let is_setting = |text: &str| {
        let key = text.split(" =").next().unwrap_or("");
        let named = !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        (named && text.contains(" = ")) || text.starts_with("[emission")
    };
    let line = |line: &str| match line.strip_prefix("# ") {
        Some(rest) if is_setting(rest) && !rest.contains('{') => rest.to_owned(),
        _ => line.to_owned(),
    };
    EXAMPLE.lines().map(line).collect::<Vec<_>>().join("\n")
}

#[test]
fn the_example_parses_without_notices() {
    let (_, notices) = read(EXAMPLE).unwrap();
    assert!(notices.is_empty(), "{notices:?}");
}

#[test]
fn what_the_example_calls_default_is_the_default() {
    let (config, notices) = read(&uncommented()).unwrap();
    assert!(notices.is_empty(), "{notices:?}");
    let shown = ValidatorConfig {
        bittensor: BittensorConfig {
            wallet_path: Some("~/.bittensor/wallets".into()),
            wallet_password_file: Some("/opt/basilica/hotkey.password".into()),
            chain_endpoint: Some(Network::Finney.endpoint()),
            ..BittensorConfig::default()
        },
        api: ApiConfig {
            bind: Some(SocketAddr::from((Ipv4Addr::LOCALHOST, 8080))),
            api_key_file: Some("/etc/basilica/api-key".into()),
            ..ApiConfig::default()
        },
        ssh_session: SshConfig {
            audit_log_path: Some("/var/lib/basilica/ssh_audit.log".into()),
            ..SshConfig::default()
        },
        // Set, not shown as a default: beside a miner's example the default would collide (RULES R22).
        metrics: MetricsConfig {
            prometheus: PrometheusConfig { port: 9091, ..PrometheusConfig::default() },
            ..MetricsConfig::default()
        },
        verification: VerificationConfig {
            prover_path: Some("/opt/basilica/bin/basilica-prover".into()),
            ..VerificationConfig::default()
        },
        ..ValidatorConfig::default()
    };
    assert_eq!(format!("{config:#?}"), format!("{shown:#?}"));
    assert_eq!(ValidatorConfig::default().api_address(), config.api_address());
    assert_eq!(ValidatorConfig::default().chain_endpoints(), config.chain_endpoints());
}

#[test]
fn the_example_names_every_key() {
    let (config, _) = read(&uncommented()).unwrap();
    let printed = format!("{config:#?}");
    let keys = printed.lines().filter_map(|line| line.trim().split_once(": ")).map(|(key, _)| key);
    for key in keys.filter(|key| key.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')) {
        assert!(EXAMPLE.contains(key), "{key} is not documented in config/validator.toml.example");
    }
}

#[test]
fn a_seeds_file_starts_with_notices() {
    let seed = r#"
        [verification]
        verification_interval = 600
        max_concurrent_full_validations = 1
        min_score_threshold = 0.1
        use_dynamic_discovery = true
        [verification.binary_validation]
        execution_timeout_secs = 1200
        [ssh_session]
        strict_host_key_checking = false
        [emission]
        burn_percentage = 95.0
        burn_uid = 204
        gpu_allocations = { A100 = { weight = 100.0, min_gpu_count = 1 } }
        [server]
        host = "127.0.0.1"
        port = 8081
    "#;
    let (config, notices) = read(seed).unwrap();
    assert_eq!(config.verification.verification_interval, secs(600));
    assert_eq!(config.api_address().to_string(), "127.0.0.1:8081");
    let expected = [
        "verification.min_score_threshold",
        "verification.use_dynamic_discovery",
        "verification.binary_validation",
        "ssh_session.strict_host_key_checking",
    ];
    assert!(expected.iter().all(|key| notices.iter().any(|n| n == key)), "{notices:?}");
}

#[test]
fn wrong_settings_are_refused_where_they_stand() {
    for (text, expected) in [
        ("[verification]\nretires = 3", "retries"),
        ("[verification.proof]\nside = 100", "power of two"),
        ("[verification]\ntick = 0", "longer than zero"),
        ("[emission]\nburn_percentage = 101", "percentage"),
        ("[emission]\ngpu_allocations = { H100 = 60, H200 = 30 }", "sum to 9000"),
        ("[emission]\ngpu_allocations = { V100 = 100 }", "V100"),
        ("[emission]\ngpu_allocations = { H100 = -1, H200 = 101 }", "from 0 to 100"),
        ("[emission]\ngpu_allocations = { H100 = \"half\" }", "expected a percentage such as 25.0"),
        (
            "[emission]\ngpu_allocations = { H100 = { wait = 1 } }",
            "known keys: weight, min_gpu_count, min_gpu_vram",
        ),
        ("[emission]\ngpu_allocations = { H100 = { min_gpu_count = 1 } }", "missing key"),
        ("[emission]\nweight_commit = 7", "expected a text in quotes"),
        ("[verification]\nmax_concurrent_verifications = 0", "from 1 to"),
        (
            "[[verification.gpu_cards]]\nname = \"X\"\ncategory = \"V100\"\nmin_vram_mib = 1\nmax_vram_mib = 2",
            "`V100` is not a possible value",
        ),
        ("[[verification.gpu_cards]]\nname = \"X\"\ncategory = \"H100\"\nmin_vram_mib = 9000", "missing key"),
        ("[[verification.gpu_cards]]\nname = \"\"", "1 to 64 printable"),
        ("[verification]\ngpu_assignment_cleanup_ttl = \"2h\"", "full_max_age"),
        ("[verification]\nnode_validation_interval = \"12h\"", "would lapse"),
        ("[verification]\nprover_path = \"\"", "is empty"),
        ("[bittensor]\nwallet_path = \"~bob/wallets\"", "of another user"),
        ("[bittensor]\nwallet_name = \"a/b\"", "may hold only"),
        ("[bittensor]\nhotkey_name = \"\"", "is empty"),
        ("[bittensor]\nnetwork = \"foo\"", "finney, test, local"),
        ("[bittensor]\nnetwork = \"finny\"", "did you mean `finney`?"),
        ("[bittensor]\nnetuid = 0", "root network"),
        ("[bittensor]\nchain_endpoint = \"http://x y\"", "not a WebSocket URL"),
        ("[bittensor]\nchain_endpoint = \"ws://\"", "no host"),
        ("[bittensor]\nchain_endpoint = \"https://user:secret@host\"", "not a WebSocket URL"),
        ("[bittensor]\nchain_endpoint = \"wss:/user:secret@host\"", "not a WebSocket URL"),
        ("[bittensor]\nfallback_endpoints = [\"ws://a\", \"ws://b:x\"]", "fallback_endpoints.1"),
        ("[database]\nurl = \"mysql://u:secret@h/x\"", "sqlite:"),
        ("[database]\nurl = \"sqlite::memory:\"", "names no file"),
        ("[database]\nurl = \"postgres://u:secret@h/x\"\npassword_file = \"/p\"", "both give a password"),
        ("[database]\npassword_file = \"/p\"", "of no use"),
        ("[ha]\nlease = \"500ms\"", "from 1s to 60s"),
        ("[ha]\nrenew_interval = \"2s\"", "half of ha.lease"),
        ("[ha]\npoll_interval = \"5s\"", "from 50ms"),
        ("[ha]\nname = \"\"", "1 to 64"),
        ("[database]\nmax_connections = 0", "from 1 to 64"),
        ("[emission]\nweight_set_interval_blocks = 0", "from 1 to 65535 blocks"),
        ("[emission]\nweight_set_interval_blocks = 65536", "from 1 to 65535 blocks"),
        ("[emission]\npoll_interval = \"11m\"", "at most 10 min"),
        ("[emission]\nweight_mechanism = 16", "from 0 to 15"),
        ("[scoring]\nramp_duration = 0", "longer than zero"),
        ("[scoring]\nattempt_window = 0", "longer than zero"),
        ("[automatic_verification]\nrediscovery_pause = 0", "longer than zero"),
        ("[api]\nbind = \"127.0.0.1:9090\"", "give each listener a port of its own"),
        ("[api]\nbind = \"0.0.0.0:9090\"", "like the API"),
    ] {
        let error = read(text).unwrap_err();
        assert!(error.contains(expected), "{text}: {error}");
        assert!(!error.contains("secret"), "{error}");
        assert!(error.contains("validator.toml:"), "the place is named: {error}");
    }
}

/// An entry of the table of cards.
fn card(name: &str, category: &str, min: u64, max: u64) -> String {
    format!(
        "[[verification.gpu_cards]]\nname = \"{name}\"\ncategory = \"{category}\"\nmin_vram_mib = {min}\nmax_vram_mib = {max}\n"
    )
}

#[test]
fn what_a_miners_doctor_probes_with_are_the_defaults() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("validator.toml");
    std::fs::write(&path, "").unwrap();
    let source = ConfigSource { path: Some(&path), env_prefix: "BASILICA_", ..ConfigSource::default() };
    let settings = Settings::new(&load::<ValidatorConfig>(&source).unwrap()).unwrap();
    assert_eq!(settings.probing, basilica_probing_service::ProbingSettings::default());
    assert_eq!(settings.probes, basilica_verification::ProbeRules::default());
}

#[test]
fn cards_of_the_configuration_stand_beside_the_built_in_ones() {
    let text =
        card("NVIDIA GH200 480GB", "H100", 90_000, 105_000) + &card("NVIDIA H200", "OTHER", 140_000, 150_000);
    let (config, _) = read(&text).unwrap();
    assert_eq!(config.verification.gpu_cards.len(), 2);
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("validator.toml");
    std::fs::write(&path, &text).unwrap();
    let source = ConfigSource { path: Some(&path), env_prefix: "BASILICA_", ..ConfigSource::default() };
    let settings = Settings::new(&load::<ValidatorConfig>(&source).unwrap()).unwrap();
    let category = |name: &str, mib: u64| settings.cards.category(&name.parse().unwrap(), mib << 20);
    assert_eq!(category("NVIDIA GH200 480GB", 97_871), Category::H100);
    assert_eq!(category("NVIDIA H200", 143_771), Category::Other);
    assert_eq!(category("NVIDIA H100 PCIe", 81_559), Category::H100);
}

#[test]
fn cards_that_could_never_be_are_refused_with_what_to_do() {
    let twice = card("NVIDIA L40", "OTHER", 40_000, 50_000).repeat(2);
    for (text, why, help) in [
        (twice, "gpu_cards.1.name", "remove one of the entries"),
        (card("NVIDIA H100 PCIe", "H100", 80, 82), "80 MiB is no card's memory", "nvidia-smi --query-gpu"),
        (
            card("NVIDIA L40", "OTHER", 50_000, 40_000),
            "no memory is at least 50000",
            "exchange the two bounds",
        ),
        (card("NVIDIA H100 PCIe", "H100", 90_000, 99_000), "no card would fit", "on both sides of 81559"),
        (card("Nvidia H100 PCIe", "H100", 80_000, 82_000), "compared exactly", "write `NVIDIA H100 PCIe`"),
    ] {
        let error = read(&text).unwrap_err();
        assert!(error.contains(why) && error.contains(help), "{error}");
        assert!(error.contains("validator.toml:"), "the place is named: {error}");
    }
}
