//! Where the miner listens and what it says of that to others.

use super::*;

#[test]
fn where_grpc_is_advertised_is_the_axon_and_requests_are_bounded_unless_that_is_off() {
    let home = Home::new();
    let (config, _) = home.check(MINIMAL).unwrap();
    let rate = config.listen.request_rate.unwrap();
    assert_eq!((rate.per_second.get(), rate.burst.get()), (10, 20));
    let text = MINIMAL.replace("[node_management]", "rate_limit.enabled = false\n[node_management]");
    let text = format!("{text}\n[advertised_addresses]\ngrpc_endpoint = \"http://9.9.9.10:7000\"");
    let (config, notices) = home.check(&text).unwrap();
    assert_eq!(config.listen.request_rate, None);
    assert_eq!(config.subnet.axon.unwrap().address.to_string(), "9.9.9.10:7000");
    assert_eq!(notices, Vec::<String>::new());
}

#[test]
fn the_second_health_port_is_off_unless_named_and_on_the_same_address() {
    let home = Home::new();
    let listen = home.check(MINIMAL).unwrap().0.listen;
    assert_eq!(listen.compat, None);
    let text = format!(
        "{MINIMAL}\n[health]\nlisten = \"127.0.0.2:1\"\ncompat_port = 8080\n[logging]\nformat = \"json\""
    );
    let (config, notices) = home.check(&text).unwrap();
    assert_eq!(config.listen.compat, Some(([127, 0, 0, 2], 8080).into()));
    assert_eq!(config.logging, LoggingConfig { level: LogLevel::Info, json: true });
    assert_eq!(notices, Vec::<String>::new());
}

#[test]
fn an_address_of_the_miner_that_is_not_of_the_internet_is_told_where_validators_are_elsewhere() {
    let home = Home::new();
    let told = |text: &str| {
        let (_, notices) = home.check(text).unwrap();
        notices.iter().filter(|notice| notice.contains("not an address of the internet")).count()
    };
    for ip in ["10.0.0.1", "192.168.1.1", "100.64.0.1", "169.254.1.1", "127.0.0.2", "203.0.113.7", "fd00::1"]
    {
        let text = MINIMAL.replace("9.9.9.9", ip);
        assert_eq!(told(&text), 1, "{ip}");
        assert_eq!(told(&text.replace("network = \"finney\"", "network = \"local\"")), 0, "{ip}");
        let both =
            format!("axon_endpoint = \"{ip}:1\"\ngrpc_endpoint = \"{ip}:1\"").replace("fd00::1", "[fd00::1]");
        assert_eq!(told(&format!("{MINIMAL}\n[advertised_addresses]\n{both}")), 1, "{ip}");
    }
    assert_eq!(told(MINIMAL), 0);
}

#[test]
fn a_port_may_be_used_on_two_addresses_and_once_on_each() {
    let home = Home::new();
    let text = |grpc: &str, health: &str| {
        let text =
            MINIMAL.replace("host = \"0.0.0.0\"\nport = 50051", &format!("host = \"{grpc}\"\nport = 7001"));
        home.check(&format!("{text}\n[health]\nlisten = \"{health}\"")).map(|(config, _)| config.listen)
    };
    assert!(text("127.0.0.2", "127.0.0.3:7001").is_ok());
    assert!(text("::1", "127.0.0.1:7001").is_ok());
    for (grpc, health) in [
        ("127.0.0.2", "127.0.0.2:7001"),
        ("127.0.0.2", "[::ffff:127.0.0.2]:7001"),
        ("0.0.0.0", "127.0.0.1:7001"),
        ("127.0.0.2", "[::]:7001"),
    ] {
        let refused = text(grpc, health).unwrap_err();
        assert!(refused.contains("`health.listen`: uses the same port as validator_comms.port"), "{refused}");
    }
}

#[test]
fn a_tls_key_that_others_can_read_is_refused_and_required_tls_is_warned_of() {
    use std::os::unix::fs::PermissionsExt as _;
    let home = Home::new();
    let certificate = home.path().join("server.crt");
    std::fs::write(&certificate, "").unwrap();
    let keys = "tls_enabled = true\ntls_required = true\ntls_cert_path = \"~/server.crt\"\ntls_key_path = \"~/server.key\"\n";
    let text = MINIMAL.replace("[node_management]", &format!("{keys}[node_management]"));
    let key = home.path().join("server.key");
    std::fs::write(&key, "").unwrap();
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o640)).unwrap();
    let error = home.check(&text).unwrap_err();
    assert!(error.contains("validator_comms.tls_key_path") && error.contains("chmod 600"), "{error}");
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
    let (config, notices) = home.check(&text).unwrap();
    assert_eq!(config.listen.tls, Some(TlsConfig { certificate, key, required: true }));
    assert!(notices[0].contains("none of them will reach this miner"), "{notices:?}");
}

/// A shipped example with the defaults that it shows made real; the validator's own tests hold them against its code.
fn with_defaults(example: &str) -> toml::Table {
    let line = |line: &str| match line.strip_prefix("# ") {
        Some(rest) if rest.starts_with("bind =") || rest.starts_with("port =") => format!("{rest}\n"),
        _ => format!("{line}\n"),
    };
    toml::from_str(&example.lines().map(line).collect::<String>()).unwrap()
}

#[test]
fn the_shipped_examples_run_on_one_host() {
    let home = Home::new();
    let (miner, _) = home.check(include_str!("../../../../../../config/miner.toml.example")).unwrap();
    let validator = with_defaults(include_str!("../../../../../../config/validator.toml.example"));
    let api: std::net::SocketAddr = validator["api"]["bind"].as_str().unwrap().parse().unwrap();
    let metrics = validator["metrics"]["prometheus"]["port"].as_integer().unwrap();
    let listen = miner.listen;
    let mut ports: Vec<i64> = [Some(listen.grpc), Some(listen.health), listen.metrics]
        .into_iter()
        .flatten()
        .map(|a| a.port().into())
        .collect();
    assert_eq!(ports, [50051, 8091, 9090], "what the seeds promise of a miner");
    ports.extend([i64::from(api.port()), metrics]);
    let distinct: std::collections::BTreeSet<i64> = ports.iter().copied().collect();
    assert_eq!(distinct.len(), ports.len(), "{ports:?}");
}
