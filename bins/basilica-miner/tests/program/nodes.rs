//! `nodes drain | undrain | recover`, with and without a running miner.

use basilica_testkit::{eventually, free_address};
use serde_json::Value;

use super::{Home, Running};

fn home() -> Home {
    let home = Home::new();
    home.configure(
        "[node_management]\nnodes = [\n{ host = \"127.0.0.1\", port = 1, username = \"a\" },\n\
         { host = \"127.0.0.1\", port = 2, username = \"a\" },\n\
         { host = \"127.0.0.2\", port = 1, username = \"b\", maintenance = true },\n]",
    );
    std::fs::remove_file(home.path().join("node_key")).unwrap();
    let made = std::process::Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "", "-f"])
        .arg(home.path().join("node_key"))
        .status();
    assert!(made.unwrap().success());
    home.run(&["migrate"]);
    home
}

fn json(home: &Home, arguments: &[&str]) -> Value {
    let ended = home.run(&[&["--json"], arguments].concat());
    assert_eq!(ended.code, Some(0), "{}{}", ended.out, ended.err);
    serde_json::from_str(&ended.out).unwrap()
}

#[test]
fn a_node_is_named_by_id_address_or_host_and_never_guessed() {
    let home = home();
    home.run(&["nodes", "drain"]).fails(2, &["NODE"]);
    home.run(&["nodes", "drain", "c@192.0.2.9:22"])
        .fails(1, &["there is no node", "a@127.0.0.1:1", "b@127.0.0.2:1"]);
    home.run(&["nodes", "drain", "127.0.0.1"]).fails(1, &["several nodes", "a@127.0.0.1:2"]);
    let by_host = json(&home, &["nodes", "drain", "127.0.0.2"]);
    assert_eq!(by_host[0]["address"], "b@127.0.0.2:1");
    let id = by_host[0]["node_id"].as_str().unwrap();
    let by_id = json(&home, &["nodes", "drain", id, "b@127.0.0.2:1"]);
    assert_eq!((by_id.as_array().unwrap().len(), &by_id[0]["already"]), (1, &Value::from(true)));
}

#[test]
fn a_drained_node_stays_out_until_it_is_taken_back_and_the_allowance_is_told() {
    let home = home();
    let drained = home.run(&["nodes", "drain", "a@127.0.0.1:1", "--reason", "new fans"]);
    assert_eq!(drained.code, Some(0), "{}", drained.err);
    for words in
        ["a@127.0.0.1:1: taken out (new fans)", "no miner runs", "of 4 h; more than that counts as downtime"]
    {
        assert!(drained.out.contains(words), "{words}: {}", drained.out);
    }
    let again = json(&home, &["nodes", "drain", "a@127.0.0.1:1", "--wait"]);
    assert_eq!((&again[0]["already"], &again[0]["reason"]), (&Value::from(true), &Value::from("new fans")));
    assert_eq!((&again[0]["clean"], &again[0]["miner_running"]), (&Value::from(true), &Value::from(false)));
    assert_eq!(again[0]["maintenance_allowance_ms"], 14_400_000);
    let reworded = home.run(&["nodes", "drain", "a@127.0.0.1:1", "--reason", "old fans"]).out;
    assert!(reworded.contains("its reason is now old fans (before: new fans)"), "{reworded}");
    let again = json(&home, &["nodes", "drain", "a@127.0.0.1:1"]);
    assert_eq!((&again[0]["reason"], &again[0]["earlier_reason"]), (&Value::from("old fans"), &Value::Null));
    let back = json(&home, &["nodes", "undrain", "a@127.0.0.1:1"]);
    assert_eq!(back[0]["was_drained"], true);
    assert!(home.run(&["nodes", "undrain", "a@127.0.0.1:1"]).out.contains("was not taken out"));
}

#[test]
fn the_configurations_own_maintenance_wins_and_says_so() {
    let home = home();
    let says = |command: &str, words: &[&str]| {
        let ended = home.run(&["nodes", command, "127.0.0.2"]);
        let said = format!("{}{}", ended.out, ended.err);
        assert_eq!(ended.code, Some(i32::from(command == "undrain")), "{said}");
        for words in words {
            assert!(said.contains(words), "{words}: {said}");
        }
    };
    let wins = "stays in maintenance: `maintenance = true` in the configuration wins; remove it there";
    says("undrain", &[wins, "no command had taken it out"]);
    let back = format!(
        "`maintenance = true` for it too: it is back when that is gone and after `basilica-miner -c {} nodes undrain b@127.0.0.2:1`",
        home.config().display()
    );
    says("drain", &["b@127.0.0.2:1: taken out", &back]);
    says("drain", &["was taken out already, at 2", &back]);
    assert_eq!(json(&home, &["nodes", "drain", "127.0.0.2"])[0]["configured"], true);
    assert!(home.run(&["nodes", "list"]).out.contains("maintenance: set in the configuration; drained"));
    says("undrain", &[wins, "the order of `nodes drain` is taken back after"]);
    says("undrain", &[wins, "no command had taken it out"]);
}

#[tokio::test]
async fn the_configurations_own_maintenance_counts_as_any_does_while_it_is_there() {
    let home = home();
    let mut running = Running::start(&home);
    let node = |running: &Running| {
        let status = running.try_get("/status.json").map(|(_, body)| body).unwrap_or_default();
        let status: Value = serde_json::from_str(&status).unwrap_or_default();
        let nodes = status["nodes"].as_array().cloned().unwrap_or_default();
        nodes.into_iter().find(|node| node["address"] == "b@127.0.0.2:1").unwrap_or_default()
    };
    eventually("its time counts", || node(&running)["maintenance"]["used"].as_u64() > Some(0)).await;
    let undrain = ["nodes", "undrain", "127.0.0.2"];
    let wins = "configuration wins; remove it there, then make the running miner read it";
    home.run(&undrain).fails(1, &[wins]);
    // A command's order is one of its own, also where the configuration's was there first.
    let both = json(&home, &["nodes", "drain", "127.0.0.2"]);
    let own = (&both[0]["already"], &both[0]["configured"], &both[0]["reason"]);
    assert_eq!(own, (&Value::from(false), &Value::from(true), &Value::Null));
    let ended = home.run(&undrain);
    assert!(ended.out.contains("the order of `nodes drain` is taken back after"), "{}", ended.out);
    let good = std::fs::read_to_string(home.config()).unwrap();
    let without = good.replace(", maintenance = true", "");
    std::fs::write(home.config(), &without).unwrap();
    let unread =
        "`maintenance = true` is gone from the configuration, which the running miner has not read since";
    let drained = home.run(&["nodes", "drain", "127.0.0.2"]);
    assert!(
        drained.out.contains("it is back when the running miner has read the configuration"),
        "{}",
        drained.out
    );
    let ended = home.run(&undrain);
    assert!(
        ended.out.contains("is taken back after") && ended.out.contains("but it stays in maintenance"),
        "{}",
        ended.out
    );
    ended.fails(1, &[unread]);
    hang_up(&running);
    eventually("it is over", || home.run(&undrain).out.contains("was not taken out")).await;
    eventually("and seen", || node(&running)["state"] != "maintenance").await;
    // What a command ordered outlives the configuration's word, also where the running miner has that still.
    std::fs::write(home.config(), &good).unwrap();
    home.run(&undrain)
        .fails(1, &["b@127.0.0.2:1 is back only until the running miner reads the configuration"]);
    hang_up(&running);
    eventually("it is out again", || node(&running)["state"] == "maintenance").await;
    let again = removed_second(&without);
    std::fs::write(home.config(), &again).unwrap();
    assert_eq!(json(&home, &["nodes", "drain", "127.0.0.2"])[0]["configured"], false);
    hang_up(&running);
    eventually("the file is read", || nodes_of(&running) == 2).await;
    let ordered = json(&home, &["nodes", "drain", "127.0.0.2"]);
    assert_eq!((&ordered[0]["already"], &node(&running)["state"]), (&true.into(), &"maintenance".into()));
    json(&home, &undrain);
    eventually("it is taken back", || node(&running)["state"] != "maintenance").await;
    running.terminate();
}

#[tokio::test]
async fn the_log_says_of_each_node_whether_the_configuration_or_a_command_has_it_out() {
    let home = home();
    json(&home, &["nodes", "drain", "a@127.0.0.1:1", "--reason", "new fans"]);
    let (log, health) = (home.path().join("log"), free_address());
    let file = std::fs::File::create(&log).unwrap();
    let mut command = home.command();
    command.env("BASILICA_HEALTH__LISTEN", health.to_string()).arg("--json");
    command.stdout(file.try_clone().unwrap()).stderr(file);
    let mut running = Running { child: command.spawn().unwrap(), health };
    let said = |words: &str| -> Vec<Value> {
        let log = std::fs::read_to_string(&log).unwrap();
        log.lines()
            .filter(|line| line.contains(words))
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect()
    };
    eventually("all are told", || said("Node registered").len() == 3).await;
    for (address, configured, drained) in
        [("a@127.0.0.1:1", false, true), ("a@127.0.0.1:2", false, false), ("b@127.0.0.2:1", true, false)]
    {
        let line = said("Node registered").into_iter().find(|line| line["node.address"] == address).unwrap();
        assert_eq!(
            (&line["configured.maintenance"], &line["drained"]),
            (&configured.into(), &drained.into()),
            "{line}"
        );
    }
    json(&home, &["nodes", "drain", "a@127.0.0.1:1", "--reason", "old fans"]);
    eventually("the reason is told", || said("for another reason").len() == 1).await;
    assert_eq!(said("for another reason")[0]["reason"], "old fans");
    running.terminate();
}

#[test]
fn a_note_of_unlisted_servers_that_cannot_be_read_is_told_beside_what_is_listed() {
    let home = home();
    std::fs::write(home.path().join("node_key.owed"), "gpu-1\n").unwrap();
    let words = "node_key.owed, line 1: ";
    let listed = home.run(&["nodes", "list"]);
    assert!(listed.out.contains("a@127.0.0.1:1"), "{}", listed.out);
    listed.fails(1, &[words, "mend the line"]);
    let valid = home.run(&["--json", "config", "validate"]);
    assert!(valid.out.contains(words), "{}{}", valid.out, valid.err);
}

/// The configuration without its second node.
fn removed_second(text: &str) -> String {
    let line = "{ host = \"127.0.0.1\", port = 2, username = \"a\" },\n";
    assert!(text.contains(line));
    text.replace(line, "")
}

fn hang_up(running: &Running) {
    let pid = rustix::process::Pid::from_child(&running.child);
    rustix::process::kill_process(pid, rustix::process::Signal::HUP).unwrap();
}

/// Why the configuration was not taken up, as the running miner tells it.
fn not_reloaded(running: &Running) -> Option<String> {
    let status = running.try_get("/status.json").map(|(_, body)| body)?;
    let status: Value = serde_json::from_str(&status).unwrap();
    let alerts = status["alerts"].as_array().unwrap();
    let alert = alerts.iter().find(|alert| alert["code"] == "not_reloaded")?;
    Some(alert["what"].as_str().unwrap().to_owned())
}

/// A file that was emptied by mistake, or is another's, is readable TOML: it would give up all nodes.
#[tokio::test]
async fn a_hang_up_with_a_file_that_is_not_this_miners_changes_nothing_and_is_told() {
    let home = home();
    let mut running = Running::start(&home);
    eventually("three at first", || nodes_of(&running) == 3).await;
    let good = std::fs::read_to_string(home.config()).unwrap();
    let without_nodes = &good[good.find("[bittensor]").unwrap()..];
    let other_subnet = good.replace("read_only = true", "read_only = true\nnetuid = 40");
    for (text, words) in [
        ("", "names another miner than the one that runs: "),
        ("# nothing\n", "database.url"),
        ("nonsense = [", "miner.toml:1:"),
        (without_nodes, "has no [node_management], and the miner has nodes"),
        (&other_subnet, "bittensor.netuid changed, which takes a restart"),
    ] {
        std::fs::write(home.config(), text).unwrap();
        hang_up(&running);
        eventually(words, || not_reloaded(&running).is_some_and(|told| told.contains(words))).await;
        assert_eq!(nodes_of(&running), 3);
    }
    std::fs::write(home.config(), removed_second(&good)).unwrap();
    hang_up(&running);
    eventually("the good one is taken up", || nodes_of(&running) == 2 && not_reloaded(&running).is_none())
        .await;
    running.terminate();
}

/// How many nodes the running miner has.
fn nodes_of(running: &Running) -> usize {
    let status = running.try_get("/status.json").map(|(_, body)| body).unwrap_or_default();
    let status: Value = serde_json::from_str(&status).unwrap_or_default();
    status["nodes"].as_array().map_or(0, Vec::len)
}

#[tokio::test]
async fn a_hang_up_takes_up_a_changed_list_and_a_wrong_file_changes_nothing() {
    let home = home();
    let mut running = Running::start(&home);
    eventually("three at first", || nodes_of(&running) == 3).await;
    let good = std::fs::read_to_string(home.config()).unwrap();
    std::fs::write(home.config(), "nonsense = [").unwrap();
    hang_up(&running);
    std::fs::write(home.config(), removed_second(&good)).unwrap();
    hang_up(&running);
    eventually("one is removed", || nodes_of(&running) == 2).await;
    // Its line is back, and the miner was not told.
    std::fs::write(home.config(), &good).unwrap();
    let unread =
        "a@127.0.0.1:2 is not in service: the running miner has not read yet that it is in the configuration";
    home.run(&["nodes", "undrain", "a@127.0.0.1:2"]).fails(1, &[unread]);
    running.terminate();
    let undrained = home.run(&["nodes", "undrain", "a@127.0.0.1:2"]);
    assert!(undrained.out.contains("was not taken out; no miner runs"), "{}{}", undrained.out, undrained.err);
}

#[test]
fn a_running_miner_takes_orders_and_a_second_one_is_kept_away() {
    let home = home();
    let mut running = Running::start(&home);
    let drained = json(&home, &["nodes", "drain", "a@127.0.0.1:2", "--wait"]);
    assert_eq!(
        (&drained[0]["clean"], &drained[0]["miner_running"]),
        (&Value::from(true), &Value::from(true))
    );
    let waiting = home.run(&["nodes", "recover", "a@127.0.0.1:2"]);
    assert_eq!(
        (waiting.code, waiting.out.contains("does not wait for you")),
        (Some(0), true),
        "{}",
        waiting.err
    );
    home.run(&[]).fails(1, &["basilica-miner runs already on database file", "stop that process"]);
    running.terminate();
}
