//! What people are shown of a running miner.

use super::*;

#[tokio::test]
async fn a_running_miner_tells_its_status_as_a_page_and_to_the_command() {
    let home = Home::new();
    home.configure("[node_management]\nnodes = [{ host = \"127.0.0.1\", port = 1, username = \"gpu\" }]");
    let miner = Running::start(&home);
    let page = || serde_json::from_str::<Value>(&miner.try_get("/status.json")?.1).ok();
    eventually("the first round on the node ends", || {
        page().is_some_and(|page| page["nodes"][0]["state"] == "unreachable")
    })
    .await;
    let page = page().unwrap();
    assert_eq!((&page["form"], &page["miner"]["network"]), (&Value::from(1), &Value::from("local")));
    let told = page["alerts"].as_array().unwrap().iter().any(|alert| alert["code"] == "node_unreachable");
    assert!(told, "{page:#}");

    let paste = format!("basilica-miner -c {} doctor", home.config().display());
    assert!(page["nodes"][0]["advice"].as_str().unwrap().contains(&paste), "{page:#}");

    let (_, overview) = miner.get("/");
    assert!(overview.contains("gpu@127.0.0.1:1</a>") && overview.contains("</html>"), "{overview}");
    let (_, node) = miner.get(&format!("/nodes/{}", page["nodes"][0]["id"].as_str().unwrap()));
    assert!(node.contains("<h1>gpu@127.0.0.1:1"), "{node}");
    assert!(miner.get("/style.css").1.contains("prefers-color-scheme"));
    assert!(miner.get("/nodes/none").0.contains("404"));

    let asked = |arguments: &[&str]| {
        let mut command = home.command();
        command.env("BASILICA_HEALTH__LISTEN", miner.health.to_string()).args(arguments);
        Ended::from(command.output().unwrap())
    };
    let words = asked(&["status"]);
    assert_eq!(words.code, Some(0), "{}", words.err);
    for line in
        ["running: 0.1.0 for ", "states: 1 unreachable", "warning: gpu@127.0.0.1:1 cannot be logged into"]
    {
        assert!(words.out.contains(line), "{line}\n{}", words.out);
    }
    // Without a terminal, `top` is one frame.
    for frame in [asked(&["top"]), asked(&["top", "--once"])] {
        assert_eq!(frame.code, Some(0), "{}", frame.err);
        assert!(frame.out.contains("\ngpu@127.0.0.1:1  unreachable  "), "{}", frame.out);
    }
    let by_address = home.run(&["--json", "top", "--address", &miner.health.to_string()]);
    let json: Value = serde_json::from_str(&by_address.out).unwrap();
    assert_eq!(json["nodes"][0]["state"], "unreachable");
    let json: Value = serde_json::from_str(&asked(&["--json", "status"]).out).unwrap();
    assert_eq!(json["status"]["nodes"][0]["address"], "gpu@127.0.0.1:1");
}

#[test]
fn a_miner_that_is_anothers_or_does_not_answer_is_not_taken_for_this_one() {
    let (home, other) = (Home::new(), Home::new());
    home.configure("");
    other.configure("");
    other.run(&["migrate"]);
    let mut miner = Running::start(&home);
    let asked = |home: &Home, arguments: &[&str]| {
        let mut command = home.command();
        command.env("BASILICA_HEALTH__LISTEN", miner.health.to_string()).args(arguments);
        Ended::from(command.output().unwrap())
    };
    let not_running = |home: &Home| {
        let report: Value = serde_json::from_str(&asked(home, &["--json", "doctor", "--quick"]).out).unwrap();
        let here = report["here"].as_array().unwrap();
        let found = here.iter().find(|finding| finding["code"] == "not-running");
        assert!(here.iter().all(|finding| finding["code"] != "port-taken"), "{report:#}");
        found.map(|finding| finding["seen"].as_str().unwrap().to_owned())
    };
    assert_eq!(not_running(&home), None);
    let words = format!("the miner that answers on {} is another one", miner.health);
    let status = asked(&other, &["status"]);
    assert_eq!(status.code, Some(1));
    assert!(status.out.starts_with(&format!("not running: {words}")), "{}", status.out);
    assert!(!status.out.contains("hotkey: "), "{}", status.out);
    asked(&other, &["top", "--once"]).fails(1, &[&words]);
    assert!(not_running(&other).is_some_and(|seen| seen.contains(&words)));

    let pid = rustix::process::Pid::from_child(&miner.child);
    rustix::process::kill_process(pid, rustix::process::Signal::STOP).unwrap();
    let words = format!("process {} has the database and does not answer", miner.child.id());
    assert!(not_running(&home).is_some_and(|seen| seen.contains(&words)));
    assert!(asked(&home, &["status"]).out.starts_with(&words));
    rustix::process::kill_process(pid, rustix::process::Signal::CONT).unwrap();
    miner.terminate();
}

/// Runs `top` in a terminal of its own until the first node is on the screen, presses `key`, and reads to the end.
fn top_in_a_terminal(miner: &Running, key: &[u8]) -> (std::process::ExitStatus, String) {
    let program = env!("CARGO_BIN_EXE_basilica-miner");
    let line = format!("stty rows 24 cols 100; exec {program} top --address {}", miner.health);
    let mut terminal = Command::new("script")
        .args(["--quiet", "--return", "--echo", "never", "--command", &line, "/dev/null"])
        .env("TERM", "xterm-256color")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let (mut out, mut seen, mut keys) = (terminal.stdout.take().unwrap(), Vec::new(), terminal.stdin.take());
    let mut buffer = [0; 4096];
    loop {
        let read = out.read(&mut buffer).unwrap();
        seen.extend_from_slice(&buffer[..read]);
        if read == 0 {
            break;
        }
        if String::from_utf8_lossy(&seen).contains("gpu@127.0.0.1:1")
            && let Some(mut keys) = keys.take()
        {
            keys.write_all(key).unwrap();
        }
    }
    (terminal.wait().unwrap(), String::from_utf8_lossy(&seen).into_owned())
}

#[tokio::test]
async fn top_gives_the_terminal_back_as_it_was() {
    let home = Home::new();
    home.configure("[node_management]\nnodes = [{ host = \"127.0.0.1\", port = 1, username = \"gpu\" }]");
    let miner = Running::start(&home);
    eventually("the snapshot is there", || {
        miner.try_get("/status.json").is_some_and(|(head, _)| head.contains("200"))
    })
    .await;
    for key in [&b"q"[..], b"\x03"] {
        let (ended, seen) = top_in_a_terminal(&miner, key);
        assert!(ended.success(), "{ended}: {seen:?}");
        let (entered, left) = (seen.find("\x1b[?1049h"), seen.rfind("\x1b[?1049l"));
        assert!(entered.is_some() && entered < left, "{seen:?}");
        assert!(seen.rfind("\x1b[?25h") > entered, "the cursor is shown again: {seen:?}");
    }
}

#[test]
fn who_waits_at_a_terminal_is_told_what_for() {
    let home = Home::new();
    for (command, words) in [
        (&["service", "test-bittensor"][..], "asking the chain at ws://127.0.0.1:1"),
        (&["health-check"], "looking at this machine and the chain"),
    ] {
        let mut program = home.command();
        let (_, shown) = basilica_testkit::at_a_terminal(program.args(command), &[]);
        assert!(shown.contains(words), "{shown}");
    }
}
