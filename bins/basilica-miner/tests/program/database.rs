//! `database health|migrate|backup|restore`, beside a running miner and without one.

use basilica_store::MinerLock;
use serde_json::Value;

use super::{Ended, Home, Running};

fn json(home: &Home, arguments: &[&str]) -> Value {
    let ended = home.run(&[&["--json"], arguments].concat());
    assert_eq!(ended.code, Some(0), "{}{}", ended.out, ended.err);
    serde_json::from_str(&ended.out).unwrap()
}

#[test]
fn a_database_is_made_looked_at_copied_and_restored() {
    let home = Home::new();
    let absent = ["does not exist", " database migrate`"];
    home.run(&["database", "health"]).fails(1, &absent);
    let copy = home.path().join("copy");
    let copy = copy.to_str().unwrap();
    home.run(&["database", "backup", "--to", copy]).fails(1, &absent);
    home.run(&["database", "restore", "--from", copy]).fails(1, &["read the copy", "No such file"]);
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

/// A miner of the version before may run on it, and goes back if this one does not do.
#[test]
fn an_older_database_is_migrated_only_by_who_asks_for_it_and_under_no_miner() {
    let home = Home::new();
    let current = json(&home, &["database", "migrate"])["to"].as_u64().unwrap();
    let file = home.path().join("data/miner.db");
    let mut bytes = std::fs::read(&file).unwrap();
    // SQLite's `user_version`.
    bytes[60..64].copy_from_slice(&u32::try_from(current - 1).unwrap().to_be_bytes());
    std::fs::write(&file, &bytes).unwrap();
    let due = ["has schema", " database migrate` or set"];
    home.run(&["nodes", "list"]).fails(1, &due);
    assert_eq!(std::fs::read(&file).unwrap(), bytes);
    let url = format!("sqlite://{}", file.display()).parse().unwrap();
    let miner = MinerLock::take(&url).unwrap();
    home.run(&["database", "migrate"]).fails(1, &["runs already", "stop that process"]);
    assert_eq!(std::fs::read(&file).unwrap(), bytes);
    drop(miner);
    let migrated = json(&home, &["database", "migrate"]);
    assert_eq!((migrated["from"].as_u64(), migrated["to"].as_u64()), (Some(current - 1), Some(current)));
    let miner = MinerLock::take(&url).unwrap();
    assert!(home.run(&["database", "migrate"]).out.contains("already"), "which changes nothing");
    let status = home.run(&["status"]);
    let told = format!("process {} has the database and does not answer", std::process::id());
    assert!(status.code == Some(1) && status.out.contains(&told), "{}{}", status.out, status.err);
    drop(miner);
    assert!(home.run(&["status"]).out.contains("not running"));
}

/// What `database health` says of a file that was whole before `damage`.
fn health_of(damage: impl FnOnce(&mut Vec<u8>)) -> (Value, String) {
    let home = Home::new();
    json(&home, &["database", "migrate"]);
    let file = home.path().join("data/miner.db");
    let mut bytes = std::fs::read(&file).unwrap();
    damage(&mut bytes);
    std::fs::write(&file, &bytes).unwrap();
    let ended = home.run(&["--json", "database", "health"]);
    assert_eq!(ended.code, Some(1), "{}{}", ended.out, ended.err);
    let health: Value = serde_json::from_str(&ended.out).unwrap();
    assert_eq!(health["healthy"], false);
    assert_eq!(health["bytes"], bytes.len());
    let told = home.run(&["database", "health"]);
    assert_eq!(told.code, Some(1), "{}{}", told.out, told.err);
    let damage = health["damage"].as_str().unwrap();
    assert!(!damage.contains('\n') && !damage.contains("***"), "{damage}");
    assert!(told.out.contains(&format!("is DAMAGED: {damage}")), "{}{}", told.out, told.err);
    assert!(told.out.contains("database restore --from"), "{}", told.out);
    // Nor does a miner start on it, to fail at whatever meets the damage first.
    home.run(&["config", "validate"]).fails(1, &["could not start", "data/miner.db"]);
    home.run(&[]).fails(1, &["data/miner.db"]);
    assert_eq!(std::fs::read(&file).unwrap(), bytes, "nothing was changed");
    (health, told.out)
}

#[test]
fn a_damaged_database_is_said_to_be_damaged_whichever_part_it_is() {
    let (health, _) = health_of(|bytes| {
        // The second page is a table's; later ones may be free.
        bytes[4096..8192].fill(0xab);
    });
    assert_eq!(health["tables"], Value::Object(serde_json::Map::new()), "rows of a damaged file say nothing");
    assert!(health["schema"].is_number());
    health_of(|bytes| bytes.truncate(bytes.len() / 2));
    let (health, told) = health_of(|bytes| bytes[100..4096].fill(0xab));
    assert!(health["schema"].is_null() && told.contains("schema unknown"), "{told}");
    health_of(|bytes| {
        *bytes = b"this is a letter, not a database, and long enough to be read as one".to_vec()
    });
}

#[test]
fn a_file_that_is_no_database_is_said_to_be_none_once() {
    let home = Home::new();
    let letter = "this is a letter, not a database, and long enough to be read as one";
    std::fs::write(home.path().join("data/miner.db"), letter).unwrap();
    for command in
        [&["status"][..], &["nodes", "drain", "x"], &["host-key", "list"], &["config", "validate"], &[]]
    {
        let ended = home.run(command);
        let said = format!("{}{}", ended.out, ended.err);
        assert!(said.matches("file is not a database").count() <= 1, "{command:?}: {said}");
    }
    let once = "miner.db: error returned from database: (code: 26) file is not a database\n";
    home.run(&["host-key", "list"]).fails(1, &[once]);
}

#[test]
fn a_database_that_is_taken_from_under_a_running_miner_is_told_by_everybody() {
    let home = Home::new();
    let mut running = Running::start(&home);
    let beside = |arguments: &[&str]| {
        let mut command = home.command();
        command.env("BASILICA_HEALTH__LISTEN", running.health.to_string()).args(arguments);
        Ended::from(command.output().unwrap())
    };
    let file = home.path().join("data/miner.db");
    let first = beside(&["status"]);
    assert_eq!(first.code, Some(0), "{}{}", first.out, first.err);
    let held = format!("is held by process {}; stop that process", running.child.id());
    home.run(&[]).fails(1, &["runs already", &held]);
    std::fs::rename(&file, file.with_extension("away")).unwrap();
    let status = beside(&["status"]);
    assert_eq!(status.code, Some(0), "it runs: {}", status.err);
    assert!(
        status.out.starts_with("running: ") && status.out.contains("is gone, and a miner runs on it"),
        "{}",
        status.out
    );
    // Making another one would leave the miner with none.
    home.run(&["database", "migrate"]).fails(1, &["is gone, and a miner runs on it"]);
    assert!(!file.exists());
    let checked = beside(&["health-check"]);
    assert!(checked.out.contains("FAIL database"), "{}{}", checked.out, checked.err);
    let doctor: Value = serde_json::from_str(&beside(&["doctor", "--quick", "--json"]).out).unwrap();
    let mut codes = doctor["here"].as_array().unwrap().iter().map(|finding| &finding["code"]);
    assert!(codes.any(|code| code == "database-gone"), "{doctor}");
    running.terminate();
}

#[test]
fn what_is_no_database_file_is_said_to_be_what_it_is_and_nothing_is_waited_for() {
    let home = Home::new();
    let path = |name: &str| home.path().join(name).to_str().unwrap().to_owned();
    let pipe = path("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let restore = |from: &str| home.run(&["database", "restore", "--from", from]);
    restore(&path("data")).fails(1, &["the copy ", "data is a directory, not a file"]);
    restore(&pipe).fails(1, &["is a pipe or a device, not a file"]);
    json(&home, &["database", "migrate"]);
    let backup = |to: &str| home.run(&["database", "backup", "--to", to]);
    backup(&path("not/there/copy")).fails(1, &["not/there does not exist; make it with: mkdir -p /"]);
    backup("-").fails(2, &["a backup goes to a file; one of that name is ./-"]);
    let unknown = home.run(&["host-key", "list"]);
    assert!(unknown.out.starts_with("no host key of a node is known"), "{}", unknown.out);
    let copy = path("copy");
    assert_eq!(backup(&copy).code, Some(0));
    let file = home.path().join("data/miner.db");
    std::fs::write(&file, "").unwrap();
    let empty = ["data/miner.db is empty", "restore a backup", "database migrate`"];
    for command in [&["database", "health"][..], &["nodes", "list"], &["database", "backup", "--to", "x"]] {
        home.run(command).fails(1, &empty);
    }
    std::fs::remove_file(&file).unwrap();
    let restored = restore(&copy);
    let told = "For the first 5 min after the miner's start validators are refused";
    assert!(restored.code == Some(0) && restored.out.contains(told), "{}{}", restored.out, restored.err);
    std::fs::remove_file(&file).unwrap();
    std::fs::create_dir(&file).unwrap();
    for command in [&["config", "validate"][..], &["database", "health"], &[]] {
        home.run(command)
            .fails(1, &["data/miner.db is a directory, not a file; name a file in database.url"]);
    }
}
