//! A disk that fills, by a real one of a few megabytes that only the program under test sees.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::Command;

use basilica_testkit::eventually;
use serde_json::Value;

use super::{Ended, Home, Running};

/// The program with a disk of its own, of so many KiB, where its data are. Root may make one, or whoever may make namespaces.
fn on_small_disk(home: &Home, kib: u32) -> Command {
    const SCRIPT: &str = r#"mount -t tmpfs -o "size=$1k,mode=700" tmpfs "$2" && shift 2 && exec "$@""#;
    let spaces: &[&str] = if rustix::process::geteuid().is_root() {
        &["--mount"]
    } else {
        &["--mount", "--user", "--map-root-user"]
    };
    let may = Command::new("unshare").args(spaces).args(["mount", "-t", "tmpfs", "tmpfs", "/mnt"]).output();
    let may = may.expect("unshare (util-linux) is needed for a disk of the test's own");
    let refused = String::from_utf8_lossy(&may.stderr);
    assert!(may.status.success(), "a disk of the test's own needs the right to mount one (root): {refused}");
    let program = home.command();
    let mut command = Command::new("unshare");
    command.env_clear().envs(std::env::var_os("PATH").map(|path| ("PATH", path)));
    command.envs(program.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command
        .args(spaces)
        .args(["--", "sh", "-c", SCRIPT, "sh", &kib.to_string()])
        .arg(home.path().join("data"));
    command.arg(program.get_program()).args(program.get_args());
    command
}

#[test]
fn a_first_start_on_a_full_disk_says_that_it_is_full() {
    let home = Home::new();
    // The file and nothing beside it; the file and half of what is written first.
    for kib in [4, 16, 48] {
        let mut command = on_small_disk(&home, kib);
        let ended = Ended::from(command.output().unwrap());
        let place = format!("{}/data/miner.db", home.path().display());
        ended.fails(1, &[&place, "no space is left on the device that holds it", "df -h"]);
        let mut command = on_small_disk(&home, kib);
        let ended = Ended::from(command.args(["config", "validate"]).output().unwrap());
        assert_eq!(ended.code, Some(0), "{}{}", ended.out, ended.err);
        let warning = format!("warning: no space is left on the device that holds {place} (database.url)");
        assert!(ended.out.contains(&warning), "{}{}", ended.out, ended.err);
    }
}

#[tokio::test]
async fn a_disk_that_fills_is_told_before_anything_fails_and_that_it_has_room_again() {
    let home = Home::new();
    let command = on_small_disk(&home, 16 * 1024);
    let mut running = Running::spawn(command);
    let alerts = || -> Vec<(String, String)> {
        let status: Option<Value> =
            running.try_get("/status.json").and_then(|(_, body)| serde_json::from_str(&body).ok());
        let alerts =
            status.as_ref().and_then(|status| status["alerts"].as_array()).cloned().unwrap_or_default();
        let text = |alert: &Value, key: &str| alert[key].as_str().unwrap().to_owned();
        alerts.iter().map(|alert| (text(alert, "code"), text(alert, "what"))).collect()
    };
    let told =
        |code: &str, words: &str| alerts().iter().any(|(found, what)| found == code && what.contains(words));
    eventually("little room is told", || told("disk_nearly_full", "little space is left on the device"))
        .await;
    assert!(!running.get("/ready").1.contains("no space"), "nothing is refused yet");
    // Its own disk, as it sees it.
    let seen = PathBuf::from(format!("/proc/{}/root", running.child.id()));
    let filler = seen.join(home.path().join("data/filler").strip_prefix("/").unwrap());
    let mut file = std::fs::File::create(&filler).unwrap();
    while file.write_all(&[7; 4096]).is_ok() {}
    let words = format!("no space is left on the device that holds {}/data/miner.db", home.path().display());
    eventually("a full disk is told", || told("database_failing", &words)).await;
    assert!(running.get("/ready").1.contains(&words));
    std::fs::remove_file(&filler).unwrap();
    drop(file);
    eventually("it has room again", || !running.get("/ready").1.contains(&words)).await;
    running.terminate();
}
