use std::path::{Path, PathBuf};

use basilica_runtime_service::{ConfigSource, Loaded, load};

use basilica_types::{BasisPoints, Rao};

use super::*;
use crate::assignment::{AssignmentRule, Geographic, HighestStake};

mod listen;

struct Home(tempfile::TempDir);

impl Home {
    /// A home directory with the operator's key in it.
    fn new() -> Self {
        use std::os::unix::fs::PermissionsExt as _;
        let home = Self(tempfile::tempdir().unwrap());
        std::fs::create_dir(home.path().join(".ssh")).unwrap();
        std::fs::write(home.key(), "key").unwrap();
        std::fs::set_permissions(home.key(), std::fs::Permissions::from_mode(0o600)).unwrap();
        home
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn key(&self) -> PathBuf {
        self.path().join(".ssh/miner_node_key")
    }

    fn load(&self, text: &str) -> Result<Loaded<Settings>, String> {
        let file = self.path().join("miner.toml");
        std::fs::write(&file, text).unwrap();
        let source = ConfigSource {
            path: Some(&file),
            env_prefix: "BASILICA_",
            ignored: IGNORED,
            ..Default::default()
        };
        load(&source).map_err(|e| e.to_string())
    }

    fn check(&self, text: &str) -> Result<(MinerConfig, Vec<String>), String> {
        let loaded = self.load(text)?;
        let (config, notices) = check(&loaded, Some(self.path())).map_err(|e| e.to_string())?;
        Ok((config, notices.iter().map(ToString::to_string).collect()))
    }
}

/// The seed's minimal example, with its placeholders filled in.
const MINIMAL: &str = r#"
[bittensor]
wallet_name = "your_wallet"
hotkey_name = "your_hotkey"
external_ip = "9.9.9.9"
axon_port = 50051
network = "finney"
netuid = 39
chain_endpoint = "wss://entrypoint-finney.opentensor.ai:443"
[database]
url = "sqlite:///opt/basilica/data/miner.db"
[validator_comms]
host = "0.0.0.0"
port = 50051
[node_management]
nodes = [
{ host = "192.0.2.7", port = 22, username = "basilica", hourly_rate_per_gpu = 2.50 },
]
[ssh_session]
miner_node_key_path = "~/.ssh/miner_node_key"
default_node_username = "basilica"
[validator_assignment]
strategy = "highest_stake"
"#;

#[test]
fn the_seeds_minimal_example_is_accepted_without_a_word() {
    let home = Home::new();
    let (config, notices) = home.check(MINIMAL).unwrap();
    assert_eq!(notices, Vec::<String>::new());
    assert_eq!(config.listen.grpc.to_string(), "0.0.0.0:50051");
    assert_eq!(config.subnet.axon.unwrap().address.to_string(), "9.9.9.9:50051");
    assert_eq!(config.subnet.network, Network::Finney, "which chain is meant, beside where it is asked");
    assert_eq!(config.fleet.ssh_key, home.key());
    assert_eq!(config.wallet.root, home.path().join(".bittensor/wallets"));
    let node = &config.fleet.nodes[0];
    assert_eq!(node.address.to_string(), "basilica@192.0.2.7:22");
    assert_eq!(node.hourly_rate_per_gpu, Some(UsdMicros(2_500_000)));
    assert_eq!(node.id, node.address.node_id());
    assert_eq!(config.subnet.assignment, AssignmentConfig::highest_stake());
}

/// Every key of the seeds.
fn every_key(home: &Home) -> String {
    format!(
        r#"
[bittensor]
wallet_name = "w"
hotkey_name = "h"
coldkey_name = "default"
network = "test"
netuid = 387
fallback_endpoints = ["wss://other.example:443"]
weight_interval_secs = 300
read_only = true
connection_pool_size = 3
health_check_interval = 60
circuit_breaker_threshold = 5
circuit_breaker_recovery = 60
max_weight_uids = 256
[database]
url = "sqlite:./x.db"
max_connections = 50
min_connections = 1
connect_timeout = 30
connection_timeout = 10
idle_timeout = 600
max_lifetime = 3600
run_migrations = true
[metrics]
enabled = true
collection_interval = 30
retention_period = 604800
[metrics.prometheus]
host = "127.0.0.1"
port = 9090
path = "/metrics"
[metrics.default_labels]
service = "miner"
[validator_comms]
request_timeout = 30
tls_enabled = true
tls_cert_path = "{key}"
tls_key_path = "{key}"
[validator_comms.rate_limit]
enabled = true
requests_per_second = 10
burst_capacity = 20
[node_management]
nodes = [{{ host = "192.0.2.7", port = 22, username = "u", hourly_rate_per_gpu = 2, additional_opts = "-o X=no" }}]
health_check_interval = 60
health_check_timeout = 10
max_retry_attempts = 5
auto_recovery = false
[security]
verify_signatures = true
private_key_file = "/z"
[ssh_session]
miner_node_key_path = "{key}"
max_concurrent_sessions = 5
session_rate_limit = 20
[advertised_addresses]
grpc_endpoint = "http://9.9.9.10:50051"
axon_endpoint = "http://9.9.9.10:50051"
metrics_endpoint = "http://9.9.9.10:9090"
[validator_assignment]
enabled = true
strategy = "fixed_assignment"
min_stake_threshold = 12000.0
validator_hotkey = "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY"
[logging]
level = "debug"
"#,
        key = home.key().display()
    )
}

#[test]
fn every_documented_key_of_the_seeds_is_honoured_or_answered() {
    let home = Home::new();
    let (config, notices) = home.check(&every_key(&home)).unwrap();
    assert!(notices.len() >= 14, "{notices:#?}");
    assert!(notices.iter().any(|notice| notice.contains("additional_opts")), "{notices:#?}");
    assert_eq!(config.logging, LoggingConfig { level: LogLevel::Debug, json: false });
    let tls = config.listen.tls.unwrap();
    assert_eq!((tls.certificate, tls.key, tls.required), (home.key(), home.key(), false));
    let endpoints = [Network::Test.endpoint(), "wss://other.example:443".parse().unwrap()];
    assert_eq!(config.subnet.endpoints, endpoints);
    assert_eq!((config.database.readers, config.subnet.axon), (50, None));
    let assignment = (config.subnet.assignment.rule, config.subnet.assignment.min_stake);
    assert!(matches!(assignment, (AssignmentRule::Fixed(_), Some(Rao(12_000_000_000_000)))));
}

#[test]
fn how_often_a_node_is_tried_and_whether_it_is_taken_back_is_the_operators_choice() {
    let home = Home::new();
    let (config, _) = home.check(MINIMAL).unwrap();
    assert_eq!((config.fleet.retries, config.fleet.auto_recovery), (3, true));
    let with = |keys: &str| MINIMAL.replace("[node_management]", &format!("[node_management]\n{keys}"));
    let (config, notices) = home.check(&with("max_retry_attempts = 0\nauto_recovery = false")).unwrap();
    assert_eq!((config.fleet.retries, config.fleet.auto_recovery), (0, false));
    assert!(notices.iter().any(|n| n.contains("basilica-miner nodes recover")), "{notices:#?}");
    let error = home.check(&with("max_retry_attempts = 21")).unwrap_err();
    assert!(error.contains("max_retry_attempts") && error.contains("at most 20"), "{error}");
}

#[test]
fn prices_are_exact_in_every_spelling() {
    let home = Home::new();
    for (written, micros) in [
        ("2.50", 2_500_000),
        ("2", 2_000_000),
        ("0.1", 100_000),
        ("\"1.234567\"", 1_234_567),
        ("0.29", 290_000),
        ("1234.56", 1_234_560_000),
    ] {
        let (config, _) = home.check(&MINIMAL.replace("2.50", written)).unwrap();
        assert_eq!(config.fleet.nodes[0].hourly_rate_per_gpu, Some(UsdMicros(micros)), "{written}");
    }
    for bad in ["-1.0", "-1", "nan", "inf", "0.1234567", "1e300", "true"] {
        let error = home.check(&MINIMAL.replace("2.50", bad)).unwrap_err();
        assert!(error.contains("hourly_rate_per_gpu"), "{bad}: {error}");
    }
}

#[test]
fn a_missing_price_is_a_notice_that_names_the_line() {
    let home = Home::new();
    let (config, notices) = home.check(&MINIMAL.replace(", hourly_rate_per_gpu = 2.50", "")).unwrap();
    assert_eq!(config.fleet.nodes[0].hourly_rate_per_gpu, None);
    assert!(
        notices[0].contains("miner.toml:17:") && notices[0].contains("never offered for rent"),
        "{notices:?}"
    );
}

#[test]
fn wrong_settings_are_answered_with_key_and_help() {
    let home = Home::new();
    let hotkey = "validator_hotkey = \"5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY\"";
    for (from, to, expected) in [
        ("wallet_name", "walet_name", "did you mean `wallet_name`?"),
        ("netuid = 39", "netuid = 0", "root network"),
        ("netuid = 39", "netuid = \"x\"", "bittensor.netuid"),
        ("\"finney\"", "\"finny\"", "did you mean `finney`?"),
        ("\"finney\"", "\"foo\"", "finney, test, local"),
        (
            "9.9.9.9",
            "127.0.0.1",
            "does not take 127.0.0.1 as an address; where all is on this machine, 127.0.0.2",
        ),
        ("9.9.9.9", "239.1.2.3", "no single machine"),
        ("9.9.9.9", "0.1.2.3", "no single machine"),
        ("9.9.9.9", "0.0.0.0", "does not take 0.0.0.0"),
        ("your_wallet", "your/wallet", "may hold only"),
        ("wss://entrypoint-finney.opentensor.ai:443", "wss://entry point", "no URL has"),
        ("axon_port = 50051", "axon_port = 0", "0 is not a port"),
        (
            "[database]",
            "[advertised_addresses]\naxon_endpoint = \"9.9.9.10:0\"\n[database]",
            "0 is not a port",
        ),
        (
            "[database]",
            "[advertised_addresses]\naxon_endpoint = \"9.9.9.10:1\"\ngrpc_endpoint = \"9.9.9.10:2\"\n[database]",
            "another address than axon_endpoint",
        ),
        ("[node_management]", "rate_limit.burst_capacity = 0\n[node_management]", "at least 1"),
        ("port = 50051\n[node", "tls_required = true\n[node", "without tls_enabled"),
        ("port = 50051\n[node", "tls_enabled = true\n[node", "tls self-signed"),
        (
            "port = 50051\n[node",
            "tls_enabled = true\ntls_cert_path = \"/absent\"\ntls_key_path = \"x\"\n[node",
            "certificate /absent does not exist",
        ),
        ("wss://entrypoint", "https://entrypoint", "WebSocket"),
        ("9.9.9.9", "<your public ip>", "curl -4 ifconfig.me"),
        ("sqlite:///opt", "postgres:///opt", "sqlite:"),
        ("0.0.0.0", "example.com", "IP address to listen on"),
        ("port = 50051\n[node", "port = 8091\n[node", "same port"),
        ("[database]", "[health]\ncompat_port = 50051\n[database]", "same port"),
        ("[database]", "[logging]\nlevel = \"debg\"\n[database]", "did you mean `debug`?"),
        ("[database]", "[logging]\nformat = \"xml\"\n[database]", "json"),
        ("192.0.2.7", "-oProxyCommand=x", "host"),
        ("port = 22", "port = 0", "port"),
        ("\"basilica\", hourly", "\"a b\", hourly", "user name"),
        ("\"highest_stake\"", "\"fixed_assignment\"", "validator_hotkey"),
        ("\"highest_stake\"", "\"lowest_stake\"", "lowest_stake"),
        (
            "miner_node_key_path = \"~/.ssh/miner_node_key\"",
            "miner_node_key_path = \"~/nowhere\"",
            "ssh-keygen",
        ),
        (
            "strategy = \"highest_stake\"",
            "strategy = \"fixed_assignment\"\nvalidator_hotkey = \"5Grw\"",
            "ss58",
        ),
        ("\"highest_stake\"", "\"geographic\"", "at least one region"),
        ("\"highest_stake\"", "\"highest_stake\"\nmin_stake_threshold = -1", "amount of TAO"),
        ("\"highest_stake\"", "\"highest_stake\"\nstake_margin_percent = 101", "above 100 percent"),
        ("[ssh_session]", "[ssh_session]\nmax_concurrent_sessions = 0", "from 1 to 64"),
        ("[ssh_session]", "[ssh_session]\nsession_rate_limit = 10001", "at most 10000"),
        ("port = 22", "port = 22, region = \"EU West\"", "lower-case"),
        ("[database]", "[security]\nverify_signatures = false\n[database]", "always verified"),
    ] {
        let text = MINIMAL.replace(from, to);
        assert_ne!(text, MINIMAL, "{from}");
        let error = home.check(&text).unwrap_err();
        assert!(error.contains(expected), "{to}: expected {expected:?} in\n{error}");
    }
    let fixed = format!("strategy = \"fixed_assignment\"\n{hotkey}");
    assert!(home.check(&MINIMAL.replace("strategy = \"highest_stake\"", &fixed)).is_ok());
}

const HOTKEY: &str = "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY";

#[test]
fn open_access_is_warned_of_and_still_asks_for_the_least_stake() {
    let home = Home::new();
    let open = MINIMAL.replace("strategy = \"highest_stake\"", "enabled = false\nmin_stake_threshold = 0.5");
    let (config, notices) = home.check(&open).unwrap();
    assert_eq!(config.subnet.assignment.rule, AssignmentRule::Open);
    assert_eq!(config.subnet.assignment.min_stake, Some(Rao(500_000_000)));
    assert!(notices[0].contains("every validator with a permit gets keys on all nodes"), "{notices:?}");
}

#[test]
fn a_node_that_validators_cannot_reach_is_told() {
    let home = Home::new();
    for (address, told) in
        [("192.168.1.100", true), ("100.64.0.1", true), ("fd00::1", true), ("192.0.2.7", false)]
    {
        let text = MINIMAL.replace("192.0.2.7", address);
        let (_, notices) = home.check(&text).unwrap();
        assert_eq!(notices.iter().any(|notice| notice.contains("private network")), told, "{notices:?}");
        let local = text.replace("network = \"finney\"", "network = \"local\"");
        assert!(home.check(&local).unwrap().1.iter().all(|notice| !notice.contains("private network")));
    }
}

#[test]
fn regions_are_read_and_what_does_not_count_is_told() {
    let home = Home::new();
    let regions =
        format!("stake_margin_percent = 2.5\n[validator_assignment.regions]\neu = [\"{HOTKEY}\"]\nus = []");
    let text = MINIMAL.replace("port = 22", "port = 22, region = \"eu\"");
    let chosen = text.replace("\"highest_stake\"", &format!("\"geographic\"\n{regions}"));
    let (config, notices) = home.check(&chosen).unwrap();
    assert_eq!(config.fleet.nodes[0].region, Some("eu".parse().unwrap()));
    let preferred = [("eu".parse().unwrap(), vec![HOTKEY.parse().unwrap()]), ("us".parse().unwrap(), vec![])];
    let others = HighestStake::new(BasisPoints::new(250).unwrap());
    let geographic = Geographic::new(preferred.into_iter().collect(), others);
    assert_eq!(config.subnet.assignment.rule, AssignmentRule::Geographic(geographic));
    assert!(notices.len() == 1 && notices[0].contains("regions.us"), "{notices:?}");
    let unused = text.replace(
        "\"highest_stake\"",
        &format!("\"highest_stake\"\nvalidator_hotkey = \"{HOTKEY}\"\n{regions}"),
    );
    let (_, notices) = home.check(&unused).unwrap();
    assert!(notices[0].contains("validator_hotkey") && notices[1].contains("regions"), "{notices:?}");
}

#[test]
fn one_address_is_one_node() {
    let home = Home::new();
    let twice = MINIMAL.replace("},\n]", "},\n{ host = \"192.0.2.7\", username = \"basilica\" },\n]");
    let error = home.check(&twice).unwrap_err();
    assert!(error.contains("is node 0 already"), "{error}");
}

#[test]
fn a_node_that_is_given_away_is_told_and_what_is_out_of_range_is_shown() {
    let home = Home::new();
    let free = MINIMAL.replace("hourly_rate_per_gpu = 2.50", "hourly_rate_per_gpu = 0");
    let (_, notices) = home.check(&free).unwrap();
    assert!(notices.iter().any(|notice| notice.contains("pays nothing")), "{notices:?}");
    let error = home.check(&MINIMAL.replace("[database]", "[database]\nmax_connections = 1000")).unwrap_err();
    assert!(
        error.contains("is 1000, and must be from 1 to 64") && error.contains("10 is the default"),
        "{error}"
    );
}

#[test]
fn two_logins_of_one_machine_are_told_and_two_ports_are_not() {
    let home = Home::new();
    for (other, told) in
        [("port = 22, username = \"root\"", true), ("port = 2222, username = \"basilica\"", false)]
    {
        let node = format!("{{ host = \"192.0.2.7\", {other}, hourly_rate_per_gpu = 1 }}");
        let (_, notices) = home.check(&MINIMAL.replace("},\n]", &format!("}},\n{node},\n]"))).unwrap();
        let found = notices.iter().any(|notice| {
            notice.contains("nodes.1")
                && notice.contains("of node 0 (")
                && notice.contains("its GPUs count once")
        });
        assert_eq!(found, told, "{other}: {notices:?}");
    }
}

#[test]
fn a_key_that_others_can_read_is_refused() {
    use std::os::unix::fs::PermissionsExt as _;
    let home = Home::new();
    std::fs::set_permissions(home.key(), std::fs::Permissions::from_mode(0o644)).unwrap();
    let error = home.check(MINIMAL).unwrap_err();
    assert!(error.contains("Permissions 0644 for") && error.contains("too open"), "{error}");
    // Not what can be said of these two, and no chmod helps.
    let public = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl me@home\n";
    std::fs::write(home.key(), public).unwrap();
    let error = home.check(MINIMAL).unwrap_err();
    assert!(error.contains("is a public key") && !error.contains("chmod"), "{error}");
    std::fs::remove_file(home.key()).unwrap();
    std::fs::create_dir(home.key()).unwrap();
    let error = home.check(MINIMAL).unwrap_err();
    assert!(error.contains("is a directory") && !error.contains("chmod"), "{error}");
}

#[test]
fn accepting_the_first_version_is_warned_of() {
    let home = Home::new();
    let text = format!(
        "{MINIMAL}\n[security]\naccept_discover_v1 = [\"5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY\"]"
    );
    let (config, notices) = home.check(&text).unwrap();
    assert_eq!(config.admission.accept_discover_v1.len(), 1);
    assert!(notices[0].contains("neither the SSH key nor the target"), "{notices:?}");
}
