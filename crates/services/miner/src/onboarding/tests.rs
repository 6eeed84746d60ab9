use std::path::Path;

use proptest::prelude::*;

use super::*;
use crate::local_shell::LocalShell;

const DEADLINE: Millis = Millis::from_secs(30);

/// A node whose commands are these scripts.
async fn look_with(programs: &[(&str, &str)]) -> NodeLook {
    let shell = LocalShell::new();
    for (name, script) in programs {
        write_program(shell.home.path(), name, script);
    }
    look(&shell, DEADLINE).await.unwrap()
}

fn write_program(home: &Path, name: &str, script: &str) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::create_dir_all(home.join("bin")).unwrap();
    let path = home.join("bin").join(name);
    std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

#[tokio::test]
async fn containers_and_gpus_are_told_as_the_login_sees_them() {
    let gpus = "test \"$1\" = --query-gpu=name && printf 'NVIDIA H100 PCIe\\nNVIDIA H100 PCIe\\n'";
    let found = look_with(&[("docker", "exit 0"), ("nvidia-smi", gpus)]).await;
    assert_eq!(found.engine, Engine::Usable("docker".to_owned()));
    assert_eq!(found.gpus, Gpus::Seen(vec!["NVIDIA H100 PCIe".to_owned(); 2]));

    let denied = "echo 'permission denied while trying to connect to the daemon' >&2; exit 1";
    let found = look_with(&[("docker", denied), ("nvidia-smi", "exit 9")]).await;
    let why = "permission denied while trying to connect to the daemon".to_owned();
    assert_eq!(found.engine, Engine::Denied { program: "docker".to_owned(), why });
    assert_eq!(found.gpus, Gpus::DriverFails);

    let found = look_with(&[("docker", denied), ("podman", "exit 0")]).await;
    assert_eq!(found.engine, Engine::Usable("podman".to_owned()));
}

#[test]
fn noise_before_the_answer_is_skipped_and_noise_instead_is_told() {
    let found = parse("Welcome!\nlast login: gpu\nlogin\nengine docker\n").unwrap();
    assert_eq!(found, NodeLook { engine: Engine::Usable("docker".to_owned()), gpus: Gpus::NoDriver });
    let error = parse("\x1b[2JThis account is for file transfer only\n").unwrap_err();
    assert!(error.to_string().contains("\"[2JThis account is for file transfer only\""), "{error}");
}

proptest! {
    #[test]
    fn no_answer_panics_or_grows(answer in "(login\n)?(.{0,30}\n){0,5}(gpu x\n){0,3}") {
        if let Ok(NodeLook { gpus: Gpus::Seen(names), .. }) = parse(&answer) {
            prop_assert!(names.iter().all(|name| !name.contains('\n')));
        }
    }
}
