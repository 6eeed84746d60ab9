//! `database health|migrate|backup|restore`, beside a running miner and without one.

use serde_json::Value;

use super::{Home, Running};

fn json(home: &Home, arguments: &[&str]) -> Value {
    let ended = home.run(&[&["--json"], arguments].concat());
    assert_eq!(ended.code, Some(0), "{}{}", ended.out, ended.err);
    serde_json::from_str(&ended.out).unwrap()
}

#[test]
fn a_database_is_made_looked_at_copied_and_restored() {
    let home = Home::new();
    let absent = ["does not exist", "basilica-miner database migrate"];
    home.run(&["database", "health"]).fails(1, &absent);
    let copy = home.path().join("copy");
    let copy = copy.to_str().unwrap();
    home.run(&["database", "backup", "--to", copy]).fails(1, &absent);
    assert_eq!(json(&home, &["database", "migrate"])["from"], 0);
    let health = json(&home, &["database", "health"]);
    assert_eq!((&health["healthy"], &health["running"]), (&Value::from(true), &Value::from(false)));
    assert_eq!(health["tables"]["sessions"], 0);
    let mut running = Running::start(&home);
    let pid = running.child.id();
    let health = home.run(&["database", "health"]);
    assert!(
        health.out.contains("is healthy; schema") && health.out.contains(&format!("process {pid}")),
        "{}",
        health.out
    );
    let written = json(&home, &["database", "backup", "--to", copy]);
    assert_eq!(written["file"], copy);
    home.run(&["database", "backup", "--to", copy]).fails(1, &["there already"]);
    home.run(&["database", "restore", "--from", copy]).fails(1, &["runs already", "stop that process"]);
    running.terminate();
    home.run(&["database", "restore", "--from", copy])
        .fails(1, &["miner.db is there already", "move it away"]);
    for entry in std::fs::read_dir(home.path().join("data")).unwrap() {
        std::fs::remove_file(entry.unwrap().path()).unwrap();
    }
    assert_eq!(json(&home, &["database", "restore", "--from", copy])["schema"], written["schema"]);
    assert_eq!(json(&home, &["database", "health"])["healthy"], true);
    let mut running = Running::start(&home);
    assert!(running.get("/live").0.contains("200"));
    running.terminate();
}

#[test]
fn a_damaged_database_is_not_well() {
    let home = Home::new();
    json(&home, &["database", "migrate"]);
    let file = home.path().join("data/miner.db");
    let mut bytes = std::fs::read(&file).unwrap();
    let last = bytes.len() - 4096;
    bytes[last..].fill(0xab);
    std::fs::write(&file, bytes).unwrap();
    let ended = home.run(&["database", "health"]);
    assert_eq!(ended.code, Some(1), "{}{}", ended.out, ended.err);
    assert!(ended.out.contains("DAMAGED") || ended.err.contains("malformed"), "{}{}", ended.out, ended.err);
}
