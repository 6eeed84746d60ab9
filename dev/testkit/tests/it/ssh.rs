//! Commands on healthy nodes.

use basilica_ports::{ExitStatus, NodeShell as _, Output, OutputLimits, Shell, ShellError};
use basilica_ssh::RusshShell;
use basilica_testkit::{Nodes, eventually};
use basilica_types::{Argv, Millis};
use sha2::{Digest as _, Sha256};
use tokio::task::JoinSet;

const LIMITS: OutputLimits = OutputLimits { deadline: Millis::from_secs(30), stdout: 1 << 20, stderr: 4096 };

async fn run(shell: &dyn Shell, arguments: &[&str]) -> Output {
    let argv = Argv::new(arguments.iter().copied()).expect("arguments that can be sent");
    shell.run(&argv, b"", LIMITS).await.expect("the command runs")
}

#[tokio::test]
async fn a_command_runs_and_tells_output_and_status() {
    let nodes = Nodes::start(&["gpu-1", "gpu-2"]).await;
    for name in ["gpu-1", "gpu-2"] {
        let shell = nodes.shell(name).await;
        assert_eq!(shell.host_key(), nodes.node(name).host_key());
        let output = run(&*shell, &["sh", "-c", "echo out; echo err >&2"]).await;
        assert_eq!(
            output,
            Output { status: ExitStatus::Code(0), stdout: b"out\n".into(), stderr: b"err\n".into() }
        );
        if nodes.node(name).is_own_host() {
            assert_eq!(run(&*shell, &["hostname"]).await.stdout, format!("{name}\n").into_bytes());
        }
        shell.close().await;
        assert!(!shell.is_open());
    }
}

#[tokio::test]
async fn exit_codes_and_signals_arrive() {
    let nodes = Nodes::start(&["gpu-1"]).await;
    let shell = nodes.shell("gpu-1").await;
    assert_eq!(run(&*shell, &["sh", "-c", "exit 7"]).await.status, ExitStatus::Code(7));
    assert_eq!(run(&*shell, &["no-such-program"]).await.status, ExitStatus::Code(127));
    let killed = run(&*shell, &["sh", "-c", "kill -s KILL $$"]).await.status;
    // The login shell either becomes the command or reports its end as 128 + 9.
    assert!(
        matches!(&killed, ExitStatus::Signal(s) if s == "KILL") || killed == ExitStatus::Code(137),
        "{killed:?}"
    );
}

#[tokio::test]
async fn many_commands_share_one_login() {
    let nodes = Nodes::start(&["gpu-1"]).await;
    let shell = nodes.shell("gpu-1").await;
    let mut running = JoinSet::new();
    for i in 0..30 {
        let shell = std::sync::Arc::clone(&shell);
        running.spawn(async move {
            let text = format!("number {i}");
            let output = run(&*shell, &["sh", "-c", "sleep 0.05; printf %s \"$1\"", "sh", &text]).await;
            assert_eq!(output.stdout, text.into_bytes());
        });
    }
    assert_eq!(running.join_all().await.len(), 30);
    let logins = nodes.node("gpu-1").processes();
    let sessions = logins.iter().filter(|line| line.contains("@notty")).count();
    assert_eq!(sessions, 1, "{logins:?}");
}

#[tokio::test]
async fn hostile_arguments_stay_arguments_in_every_place() {
    let nodes = Nodes::start(&["gpu-1"]).await;
    let shell = nodes.shell("gpu-1").await;
    let trap = nodes.node("gpu-1").home().join("trap");
    let trap_text = trap.display().to_string();
    let attacks = [
        format!("$(touch {trap_text})"),
        format!("`touch {trap_text}`"),
        format!("; touch {trap_text}"),
        format!("\ntouch {trap_text}\n"),
        format!("' ; touch {trap_text} ; '"),
        format!("\" ; touch {trap_text} ; \""),
        format!("| touch {trap_text}"),
        format!("> {trap_text}"),
        format!("&& touch {trap_text} #"),
        "$HOME ~ * ? [a] {a,b} !! \\".to_owned(),
        "-rf".to_owned(),
        String::new(),
    ];
    for attack in &attacks {
        for place in 0..3 {
            let mut arguments = vec!["printf", "%s\\0", "a", "b", "c"];
            arguments[place + 2] = attack;
            let expected: String = arguments[2..].iter().map(|a| format!("{a}\0")).collect();
            let output = run(&*shell, &arguments).await;
            assert_eq!(String::from_utf8(output.stdout).unwrap(), expected, "{attack:?}");
        }
        if !attack.is_empty() {
            assert!(!run(&*shell, &[attack]).await.status.success(), "{attack:?} as a program");
        }
        let script = Argv::script("printf %s \"$1\"", [attack.as_str()]).unwrap();
        let output = shell.run(&script, b"", LIMITS).await.unwrap();
        assert_eq!(String::from_utf8(output.stdout).unwrap(), *attack);
    }
    assert!(nodes.node("gpu-1").read(&trap).is_err(), "an argument was run as code");
}

#[tokio::test]
async fn an_upload_through_standard_input_arrives_whole() {
    let nodes = Nodes::start(&["gpu-1"]).await;
    let shell = nodes.shell("gpu-1").await;
    let path = nodes.node("gpu-1").home().join("uploaded file");
    let content: Vec<u8> =
        (0..5_000_000u32).flat_map(|i| i.wrapping_mul(2_654_435_761).to_le_bytes()).take(7_000_001).collect();
    let upload = Argv::script("cat >\"$1\" && sha256sum <\"$1\"", [path.display().to_string()]).unwrap();
    let output = shell.run(&upload, &content, LIMITS).await.unwrap();
    let expected: String = Sha256::digest(&content).iter().map(|b| format!("{b:02x}")).collect();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), format!("{expected}  -\n"));
    assert_eq!(nodes.node("gpu-1").read(&path).unwrap(), content);
}

#[tokio::test]
async fn a_command_that_ignores_its_input_still_ends() {
    let nodes = Nodes::start(&["gpu-1"]).await;
    let shell = nodes.shell("gpu-1").await;
    let output = shell.run(&Argv::new(["true"]).unwrap(), &vec![0; 8 << 20], LIMITS).await.unwrap();
    assert_eq!(output.status, ExitStatus::Code(0));
}

#[tokio::test]
async fn output_beyond_the_limit_ends_the_command_and_not_the_connection() {
    let nodes = Nodes::start(&["gpu-1"]).await;
    let shell = nodes.shell("gpu-1").await;
    for _ in 0..12 {
        // More often than sshd allows sessions at once: each must really be gone.
        let flood = shell.run(&Argv::new(["cat", "/dev/zero"]).unwrap(), b"", LIMITS).await;
        assert!(matches!(flood, Err(ShellError::TooMuchOutput { limit: 1_048_576 })), "{flood:?}");
    }
    let exact = run(&*shell, &["head", "-c", "1048576", "/dev/zero"]).await;
    assert_eq!(exact.stdout.len(), 1 << 20);
    let errors = run(&*shell, &["sh", "-c", "head -c 3000000 /dev/zero >&2; echo done"]).await;
    assert_eq!((errors.stderr.len(), errors.stdout), (4096, b"done\n".to_vec()));
    let node = nodes.node("gpu-1");
    eventually("cat is killed", || !node.processes().iter().any(|line| line.contains("/dev/zero"))).await;
}

#[tokio::test]
async fn a_command_past_its_deadline_loses_its_channel() {
    let nodes = Nodes::start(&["gpu-1"]).await;
    let shell = nodes.shell("gpu-1").await;
    let limits = OutputLimits { deadline: Millis(300), ..LIMITS };
    let mut process = shell.start(&Argv::new(["cat", "-"]).unwrap()).await.unwrap();
    process.send(b"x").await.unwrap();
    let late =
        shell.run(&Argv::script("sleep 0.5; exec tail -f /dev/null", [""; 0]).unwrap(), b"", limits).await;
    assert!(matches!(late, Err(ShellError::Deadline { limit: Millis(300), .. })), "{late:?}");
    drop(process);
    let node = nodes.node("gpu-1");
    eventually("cat ends", || !node.processes().iter().any(|line| line == "cat -")).await;
    assert_eq!(run(&*shell, &["echo", "alive"]).await.stdout, b"alive\n");
}

/// sshd delivers signals to users other than root.
#[tokio::test]
async fn abandoned_commands_of_a_plain_user_are_killed() {
    let nodes = Nodes::start(&["gpu-1"]).await;
    let node = nodes.node("gpu-1");
    let mut dial = nodes.dial("gpu-1");
    if node.is_own_host() {
        // Root there; a plain user is made, which the machine does not know.
        let add = "echo worker:x:4711:4711::/home/worker:/bin/sh >>/etc/passwd; \
                   echo 'worker:*:19000::::::' >>/etc/shadow; \
                   mkdir -m 700 /home/worker /home/worker/.ssh; \
                   cp /root/.ssh/authorized_keys /home/worker/.ssh/; chown -R 4711:4711 /home/worker";
        assert!(run(&*nodes.shell("gpu-1").await, &["sh", "-c", add]).await.status.success());
        dial.address = format!("worker@{}:22", dial.address.host).parse().unwrap();
    }
    let shell = RusshShell.connect(&dial).await.unwrap();
    for _ in 0..12 {
        // More often than sshd allows sessions at once: each must really be gone.
        let process = shell.start(&Argv::new(["sleep", "4243"]).unwrap()).await.unwrap();
        // Before that, it has no process group yet that sshd could signal.
        eventually("sleep runs", || node.processes().iter().any(|line| line == "sleep 4243")).await;
        drop(process);
        eventually("sleep is killed", || !node.processes().iter().any(|l| l.contains("4243"))).await;
    }
    let limits = OutputLimits { deadline: Millis(300), ..LIMITS };
    let late = shell.run(&Argv::new(["sleep", "4243"]).unwrap(), b"", limits).await;
    assert!(matches!(late, Err(ShellError::Deadline { .. })), "{late:?}");
    eventually("sleeps are killed", || !node.processes().iter().any(|line| line.contains("4243"))).await;
    assert_ne!(run(&*shell, &["id", "-u"]).await.stdout, b"0\n");
}

#[tokio::test]
async fn a_process_is_talked_to_line_by_line() {
    let nodes = Nodes::start(&["gpu-1"]).await;
    let shell = nodes.shell("gpu-1").await;
    let mut process = shell.start(&Argv::new(["cat"]).unwrap()).await.unwrap();
    for i in 0..50 {
        let line = format!("round {i}\n").into_bytes();
        process.send(&line).await.unwrap();
        let mut answer = Vec::new();
        while answer.len() < line.len() {
            answer.extend(process.receive().await.unwrap().expect("cat goes on"));
        }
        assert_eq!(answer, line);
    }
    // More than all buffers on the way out: written while the echo piles up, then read.
    let block = vec![b'x'; 200_000];
    process.send(&block).await.unwrap();
    let mut echoed = 0;
    while echoed < block.len() {
        let piece = process.receive().await.unwrap().expect("cat goes on");
        assert!(piece.len() <= 256 * 1024);
        echoed += piece.len();
    }
    assert_eq!(process.finish().await.unwrap(), ExitStatus::Code(0));
}

#[tokio::test]
async fn a_process_ends_with_its_output_error_text_and_status() {
    let nodes = Nodes::start(&["gpu-1"]).await;
    let shell = nodes.shell("gpu-1").await;
    let script = Argv::script("echo out; head -c 20000 /dev/zero >&2; exit 3", [""; 0]).unwrap();
    let mut process = shell.start(&script).await.unwrap();
    let mut stdout = Vec::new();
    while let Some(piece) = process.receive().await.unwrap() {
        stdout.extend(piece);
    }
    assert_eq!(stdout, b"out\n");
    assert!(process.receive().await.unwrap().is_none());
    assert!(process.stderr().len() <= 16 * 1024);
    assert_eq!(process.finish().await.unwrap(), ExitStatus::Code(3));
    let mut ended = shell.start(&Argv::new(["true"]).unwrap()).await.unwrap();
    assert!(ended.receive().await.unwrap().is_none());
    let refused = loop {
        // Until the close has arrived, input may still be accepted.
        if let Err(error) = ended.send(&[0; 1024]).await {
            break error;
        }
    };
    assert!(matches!(refused, ShellError::Lost { .. }), "{refused:?}");
}

#[tokio::test]
async fn a_connection_whose_sessions_are_used_up_is_no_longer_open() {
    let nodes = Nodes::start(&["gpu-1"]).await;
    let shell = nodes.shell("gpu-1").await;
    // Under a forced command, sshd lets nobody signal; `sleep` neither reads nor writes.
    let stuck = Argv::script("trap '' HUP; exec sleep 4244", [""; 0]).unwrap();
    let node = nodes.node("gpu-1");
    let mut started = 0;
    let refused = loop {
        match shell.start(&stuck).await {
            Ok(process) => drop(process),
            Err(error) => break error,
        }
        started += 1;
        assert!(started <= 10, "sshd's MaxSessions is 10");
        if !node.is_own_host() {
            // Not root: sshd kills them, and the connection stays.
            eventually("sleeps are killed", || !node.processes().iter().any(|l| l.contains("4244"))).await;
            return;
        }
    };
    assert!(matches!(refused, ShellError::Lost { .. }), "{refused:?}");
    assert!(!shell.is_open());
    assert_eq!(run(&*nodes.shell("gpu-1").await, &["echo", "fresh"]).await.stdout, b"fresh\n");
}

#[tokio::test]
async fn the_public_half_of_an_identity_is_what_nodes_let_in() {
    let nodes = Nodes::start(&["gpu-1"]).await;
    let node = nodes.node("gpu-1");
    let keys = node.read(&node.home().join(".ssh/authorized_keys")).unwrap();
    let public = RusshShell.public_key(nodes.operator()).unwrap();
    assert!(String::from_utf8(keys).unwrap().starts_with(&public.to_string()));
}
