//! The audit log of SSH: kept by a running miner, checked by `audit`.

use basilica_testkit::eventually;
use serde_json::Value;

use super::{Ended, Home, Running};

/// With a node that nobody can log into, and a log.
fn home(log: &str) -> Home {
    let home = Home::new();
    let node = "[node_management]\nnodes = [{ host = \"127.0.0.1\", port = 1, username = \"gpu\" }]\nhealth_check_interval = \"200ms\"\n";
    home.configure(node);
    let text = std::fs::read_to_string(home.config()).unwrap();
    let path = home.path().join(log);
    let text =
        text.replace("[ssh_session]", &format!("[ssh_session]\naudit_log_path = \"{}\"", path.display()));
    std::fs::write(home.config(), text).unwrap();
    home
}

fn json(home: &Home, arguments: &[&str], code: i32) -> Value {
    let ended = home.run(&[&["--json"], arguments].concat());
    assert_eq!(ended.code, Some(code), "{}{}", ended.out, ended.err);
    serde_json::from_str(&ended.out).unwrap()
}

#[tokio::test]
async fn what_a_running_miner_does_on_nodes_is_in_the_log_and_a_change_in_it_is_named() {
    let home = home("audit.log");
    let path = home.path().join("audit.log");
    home.run(&["audit"]).fails(1, &["there is no audit log at", "audit.log"]);
    let mut running = Running::start(&home);
    let read = || std::fs::read_to_string(&path).unwrap_or_default();
    eventually("two logins are written down", || read().lines().count() >= 2).await;
    running.terminate();
    let text = read();
    let first: Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    assert_eq!((&first["operation"], &first["node"]), (&"login".into(), &"gpu@127.0.0.1:1".into()));
    let good = json(&home, &["audit"], 0);
    assert_eq!(
        (&good["holds"], good["lines"].as_u64()),
        (&Value::from(true), Some(text.lines().count() as u64))
    );
    let head = good["head"].as_str().unwrap();
    assert!(home.run(&["audit", "--head", head]).out.contains(head));
    home.run(&["audit", "--head", &"07".repeat(32)]).fails(1, &["no line of this log has the hash 0707"]);
    std::fs::write(&path, text.replacen("gpu@127.0.0.1:1", "gpu@127.0.0.2:1", 1)).unwrap();
    home.run(&["audit"]).fails(1, &["line 2 does not follow"]);
    assert_eq!(json(&home, &["audit"], 1)["holds"], false);
}

#[test]
fn a_log_that_cannot_be_kept_is_named_and_one_that_is_off_is_not_asked_for() {
    let home = home("nowhere/audit.log");
    let words = ["ssh_session.audit_log_path", "nowhere does not exist; make that directory first"];
    home.run(&["config", "validate"]).fails(1, &words);
    home.run(&[]).fails(1, &["open the audit log"]);
    let text = std::fs::read_to_string(home.config()).unwrap();
    let off = text.replace("[ssh_session]", "[ssh_session]\nenable_audit_logging = false");
    std::fs::write(home.config(), off).unwrap();
    assert_eq!(home.run(&["config", "validate"]).code, Some(0));
    home.run(&["audit"]).fails(1, &["ssh_session.audit_log_path"]);
}

#[tokio::test]
async fn two_miners_do_not_share_a_log_and_one_that_is_moved_away_goes_on() {
    let home = home("audit.log");
    let path = home.path().join("audit.log");
    let mut running = Running::start(&home);
    eventually("a login is written down", || std::fs::metadata(&path).is_ok_and(|data| data.len() > 0)).await;
    assert_eq!(home.run(&["config", "validate"]).code, Some(0), "of its own miner");
    let other = |arguments: &[&str]| {
        let url = format!("sqlite://{}/data/other.db", home.path().display());
        let mut command = home.command();
        Ended::from(command.env("BASILICA_DATABASE__URL", url).args(arguments).output().unwrap())
    };
    let held = format!("audit.log is being written by process {}", running.child.id());
    for arguments in [&[][..], &["config", "validate"]] {
        other(arguments).fails(1, &[&held, "ssh_session.audit_log_path"]);
    }
    let moved = home.path().join("moved.log");
    std::fs::rename(&path, &moved).unwrap();
    eventually("it goes on", || std::fs::metadata(&path).is_ok_and(|data| data.len() > 0)).await;
    running.terminate();
    let (moved, path) = (moved.to_str().unwrap(), path.to_str().unwrap());
    assert_eq!(json(&home, &["audit", moved, path], 0)["follows"], Value::Null);
    assert_eq!(json(&home, &["audit"], 0)["follows"], json(&home, &["audit", moved], 0)["head"]);
    home.run(&["audit", "/dev/null"]).fails(1, &["read /dev/null", "no regular file"]);
}
