//! One validator of the two.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use basilica_testkit::{built, eventually, write_validator};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::link::Link;

/// Sets the clock of a program elsewhere: what `CLOCK_REALTIME` says is shifted, and nothing else.
const SKEWED_CLOCK: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <time.h>
int clock_gettime(clockid_t id, struct timespec *out) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    int answer = real(id, out);
    if (answer == 0 && id == CLOCK_REALTIME) out->tv_sec += atol(getenv("CLOCK_SKEW_SECONDS"));
    return answer;
}
"#;

/// For an answer of a validator, which has longer ones cut off itself.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) name: &'static str,
    directory: PathBuf,
    pub(crate) link: Link,
    /// Seconds that its clock is ahead.
    skew: i64,
    child: Option<Child>,
}

impl Member {
    /// Writes its configuration; `shared` are the database and the chain, as this end of the link reaches them.
    pub(crate) fn new(
        home: &Path,
        name: &'static str,
        link: Link,
        shared: (SocketAddr, &str),
        skew: i64,
    ) -> Self {
        let directory = home.join(name);
        std::fs::create_dir(&directory).unwrap();
        std::fs::write(directory.join("prover"), b"\x7fELF\x02 that is never run").unwrap();
        let (database, chain) = shared;
        let database = format!("postgres://postgres@{database}/db0?sslmode=disable&application_name={name}");
        write_validator(&directory, &[chain], &database, &config(&directory, name));
        Self { name, directory, link, skew, child: None }
    }

    pub(crate) fn start(&mut self) {
        assert!(self.child.is_none(), "{} runs", self.name);
        let log = File::options().create(true).append(true).open(self.log_path()).unwrap();
        let mut command = self.link.command(&built("basilica-validator"));
        command.args(["--json", "-c"]).arg(self.directory.join("validator.toml")).arg("start");
        command.env_clear().env("HOME", &self.directory).stdin(Stdio::null());
        if self.skew != 0 {
            command.env("LD_PRELOAD", skewed_clock(&self.directory));
            command.env("CLOCK_SKEW_SECONDS", self.skew.to_string());
        }
        self.child = Some(command.stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap());
    }

    fn signal(&self, signal: Signal) {
        let child = self.child.as_ref().expect("it runs");
        kill_process(Pid::from_child(child), signal).unwrap();
    }

    pub(crate) fn pause(&self) {
        self.signal(Signal::STOP);
    }

    pub(crate) fn resume(&self) {
        self.signal(Signal::CONT);
    }

    pub(crate) fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    pub(crate) fn kill(&mut self) {
        let mut child = self.child.take().expect("it runs");
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Waits for the end that it was asked for.
    pub(crate) fn ended(&mut self) {
        let status = self.child.take().expect("it runs").wait().unwrap();
        assert!(status.success(), "{} ended with {status}: {}", self.name, self.tail());
    }

    /// Waits until it has this role in its own words.
    pub(crate) async fn until_role(&self, role: &str) {
        eventually(&format!("{} is {role}", self.name), || self.role().as_deref() == Some(role)).await;
    }

    pub(crate) fn role(&self) -> Option<String> {
        let page = self.get("/leadership")?;
        Some(page["role"].as_str()?.to_owned())
    }

    /// A page of its API as JSON.
    pub(crate) fn get(&self, path: &str) -> Option<Value> {
        let log = self.log();
        // The latest start's.
        let started = log.lines().rev().find_map(|line| {
            let line: Value = serde_json::from_str(line).ok()?;
            line["api.address"].as_str().map(str::to_owned)
        })?;
        let mut stream = self.link.connect(started.parse().ok()?).ok()?;
        stream.set_read_timeout(Some(PATIENCE)).ok()?;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: {started}\r\nConnection: close\r\n\r\n").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        serde_json::from_str(answer.split_once("\r\n\r\n")?.1).ok()
    }

    fn log_path(&self) -> PathBuf {
        self.directory.join("validator.log")
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    pub(crate) fn tail(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // It may have ended by itself.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn skewed_clock(directory: &Path) -> PathBuf {
    let (source, library) = (directory.join("clock.c"), directory.join("clock.so"));
    std::fs::write(&source, SKEWED_CLOCK).unwrap();
    let built = Command::new("cc")
        .args(["-shared", "-fPIC", "-O1", "-o"])
        .args([&library, &source])
        .arg("-ldl")
        .status();
    assert!(
        built.is_ok_and(|status| status.success()),
        "cc is missing; install it: apt-get install gcc libc6-dev"
    );
    library
}

fn config(directory: &Path, name: &str) -> String {
    let home = directory.display();
    format!(
        r#"
[ha]
name = "{name}"

[metrics]
enabled = false

[verification]
prover_path = "{home}/prover"
session_grace = "0s"
verification_interval = "500ms"
failing_interval = "500ms"
retries = 0
retry_interval = "100ms"
retry_span = "0s"
cache_miner_info_ttl = "500ms"
tick = "50ms"

[scoring]
interval = "200ms"
ramp_duration = "2h"

[emission]
burn_percentage = 10.0
burn_uid = 0
gpu_allocations = {{ H100 = 100 }}
weight_set_interval_blocks = 10
poll_interval = "100ms"
"#
    )
}
