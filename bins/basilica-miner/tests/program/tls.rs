//! `tls self-signed`, what `config validate` says of certificates, and a miner that shows one.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;

use basilica_testkit::free_address;
use serde_json::Value;

use super::{Ended, Home, Running};

fn home() -> Home {
    let home = Home::new();
    std::fs::create_dir(home.path().join("certs")).unwrap();
    home
}

/// With TLS in its configuration.
fn configured(more: &str) -> Home {
    let home = home();
    let certs = home.path().join("certs");
    let certs = certs.display();
    home.configure(&format!(
        "[validator_comms]\ntls_enabled = true\ntls_cert_path = \"{certs}/server.crt\"\ntls_key_path = \"{certs}/server.key\"\n{more}"
    ));
    home
}

const MAKE: [&str; 4] = ["tls", "self-signed", "--host", "127.0.0.1"];

fn json(home: &Home, arguments: &[&str]) -> Value {
    let ended = home.run(&[&["--json"], arguments].concat());
    assert_eq!(ended.code, Some(0), "{}{}", ended.out, ended.err);
    serde_json::from_str(&ended.out).unwrap()
}

#[test]
fn a_certificate_is_made_where_it_is_asked_for_and_never_over_another() {
    let home = home();
    home.run(&MAKE).fails(1, &["--cert FILE", "validator_comms.tls_cert_path"]);
    home.run(&["tls", "self-signed", "--host", "a b", "--cert", "x", "--key", "y"]).fails(2, &["a b"]);
    let (certificate, key) = (home.path().join("certs/a.crt"), home.path().join("certs/a.key"));
    let places = ["--cert", certificate.to_str().unwrap(), "--key", key.to_str().unwrap()];
    let make = [&MAKE[..], &places].concat();
    let made = home.run(&make);
    assert_eq!(made.code, Some(0), "{}", made.err);
    for words in ["SHA-256 fingerprint: ", "for this user only", "tls_enabled = true", "tls_key_path = \"/"] {
        assert!(made.out.contains(words), "{words}: {}", made.out);
    }
    assert_eq!(std::fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
    let first = std::fs::read_to_string(&key).unwrap();
    home.run(&make).fails(1, &["is there already", "--force"]);
    assert_eq!(std::fs::read_to_string(&key).unwrap(), first);
    let again = json(&home, &[&make[..], &["--force"]].concat());
    assert_eq!((&again["configured"], &again["hosts"][0]), (&Value::from(false), &Value::from("127.0.0.1")));
    let kept = |name: &str| std::fs::read_to_string(home.path().join("certs").join(name)).unwrap();
    assert_eq!(kept("a.key.old"), first);
    let second = std::fs::read_to_string(&key).unwrap();
    let third = json(&home, &[&make[..], &["--force"]].concat());
    assert!(third["kept"][0].as_str().unwrap().ends_with("certs/a.key.old.2"), "{third}");
    assert_eq!((kept("a.key.old"), kept("a.key.old.2")), (first, second), "nothing that was kept is lost");
    assert_eq!(std::fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn a_directory_that_is_missing_is_made_and_goes_again_if_nothing_came_into_it() {
    let home = Home::new();
    let at = |name: &str| home.path().join(name);
    let make = |certificate: &str, key: &str| {
        let mut command = home.command();
        command.args(MAKE).args(["--cert", certificate, "--key", key]).current_dir(home.path());
        Ended::from(command.output().unwrap())
    };
    let mode = |name: &str| std::fs::metadata(at(name)).unwrap().permissions().mode() & 0o777;
    let made = make("certs/server.crt", "certs/server.key");
    assert_eq!(made.code, Some(0), "{}", made.err);
    assert_eq!((mode("certs"), mode("certs/server.key")), (0o700, 0o600));
    let made = make("public/server.crt", "private/server.key");
    assert_eq!(made.code, Some(0), "{}", made.err);
    assert_eq!((mode("public"), mode("private")), (0o755, 0o700));

    // More than one is not made, and the message names the whole path of what is missing.
    let missing = at("a/b").display().to_string();
    let advice = format!("sudo install -d -m 755 -o $USER {missing}");
    make("a/b/server.crt", "other/server.key").fails(1, &[&missing, &advice, "No such file or directory"]);
    make("miner.toml/server.crt", "other/server.key").fails(1, &["miner.toml"]);
    // Neither half where one cannot be written.
    std::fs::create_dir_all(at("full/server.crt.new/x")).unwrap();
    make("full/server.crt", "other/server.key").fails(1, &["full/server.crt.new"]);
    make("full/server.crt", "full/server.key").fails(1, &["full/server.crt.new"]);
    for name in ["a", "other", "full/server.key", "full/server.key.new"] {
        assert!(!at(name).exists(), "{name} is left behind");
    }
}

#[test]
fn validation_says_what_is_wrong_with_a_certificate() {
    let home = configured("");
    home.run(&["config", "validate"]).fails(78, &["tls_cert_path", "does not exist", "tls self-signed"]);
    assert_eq!(json(&home, &MAKE)["configured"], true);
    assert_eq!(home.run(&["config", "validate"]).code, Some(0));
    let key = home.path().join("certs/server.key");
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).unwrap();
    home.run(&["config", "validate"]).fails(78, &["tls_key_path", "0644", "chmod 600"]);
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
    let other = home.path().join("certs/other.key");
    let places = ["--cert", "/dev/null/x", "--key", other.to_str().unwrap()];
    home.run(&[&MAKE[..], &places].concat()).fails(1, &["/dev/null"]);
    assert!(!other.exists(), "no key without its certificate");
    let places =
        ["--cert", home.path().join("certs/other.crt").to_str().unwrap(), "--key", other.to_str().unwrap()]
            .map(ToOwned::to_owned);
    let places: Vec<&str> = places.iter().map(String::as_str).collect();
    assert_eq!(json(&home, &[&MAKE[..], &places].concat())["configured"], false);
    let configured = home.path().join("certs/server.crt");
    let mixed = ["--force", "--cert", configured.to_str().unwrap(), "--key", other.to_str().unwrap()];
    let made = home.run(&[&MAKE[..], &mixed].concat());
    let shown = format!("tls_key_path = \"{}\"", other.display());
    assert!(made.out.contains(&shown), "half of the configured pair is not that pair: {}", made.out);
    assert_eq!(json(&home, &[&MAKE[..], &["--force"]].concat())["configured"], true);
    std::fs::copy(&other, &key).unwrap();
    let mismatch =
        ["does not serve for the certificate", "server.key", "server.crt", "tls self-signed --force --host"];
    home.run(&["config", "validate"]).fails(1, &mismatch);
    home.run(&[]).fails(1, &mismatch);
}

/// The first byte of what the port answers to a TLS record that is none.
fn answer_to_garbage(address: std::net::SocketAddr) -> u8 {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(&[0x16, 3, 1, 0, 5, 0xff, 0, 0, 1, 0]).unwrap();
    let mut first = [0];
    stream.read_exact(&mut first).unwrap();
    first[0]
}

#[test]
fn a_running_miner_speaks_tls_and_takes_a_new_certificate_up() {
    const ALERT: u8 = 0x15;
    let home = configured("");
    json(&home, &MAKE);
    let grpc = free_address();
    let mut command = home.command();
    command.env("BASILICA_VALIDATOR_COMMS__HOST", grpc.ip().to_string());
    command.env("BASILICA_VALIDATOR_COMMS__PORT", grpc.port().to_string());
    let mut running = Running::spawn(command);
    assert_eq!(answer_to_garbage(grpc), ALERT);
    let renewed = json(&home, &[&MAKE[..], &["--force"]].concat());
    assert_eq!(renewed["miner"]["told"], true, "{renewed}");
    assert_eq!(answer_to_garbage(grpc), ALERT);
    running.terminate();
}
