//! A node without namespaces: an sshd of the current user on a loopback address, with a home directory of its own
//! (RULES R23). For machines where we are not root; it shares files, processes and host name with the machine.

use std::net::{IpAddr, Ipv4Addr, TcpListener};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::control::Control;
use super::inside::Tree;
use super::scripts::WATCHED;
use super::sshd::{self, KeyPair, LoginCheck};
use super::{NodeFile, NodeSpec, NodesError, Place};

/// Between choosing a port and listening on it, somebody else may take it.
const PORT_ATTEMPTS: usize = 5;
const STEM: &str = "basilica-node-";

#[derive(Debug)]
pub(super) struct SharedHost {
    home: TempDir,
    sshd: Option<(Control, u32)>,
    ip: IpAddr,
    port: u16,
    user: String,
}

impl SharedHost {
    pub(super) async fn start(index: usize, spec: &NodeSpec, key: &KeyPair) -> Result<Self, NodesError> {
        let home = tempfile::Builder::new()
            .prefix(&format!("{STEM}{}-", std::process::id()))
            .tempdir()
            .map_err(NodesError::Files)?;
        // 127.0.0.1 is left to the machine's own services.
        let last = u8::try_from(index + 2).map_err(|_| NodesError::TooMany)?;
        let ip = IpAddr::V4(Ipv4Addr::new(127, 0, 0, last));
        let mut host = Self { home, sshd: None, ip, port: 0, user: current_user().await? };
        host.furnish(spec, key).map_err(NodesError::Files)?;
        host.listen_somewhere(&spec.name).await?;
        host.refuse_unless_confined(&spec.name, key).await?;
        Ok(host)
    }

    fn furnish(&self, spec: &NodeSpec, key: &KeyPair) -> std::io::Result<()> {
        for directory in [".ssh", ".sshd"] {
            std::fs::DirBuilder::new().mode(0o700).create(self.home().join(directory))?;
        }
        let keys = spec.authorized_keys_text();
        self.tree().write(Path::new(".ssh/authorized_keys"), 0o600, keys.as_bytes())?;
        self.set_host_key(key)?;
        if rustix::process::geteuid().is_root() {
            // sshd started by root insists on its empty directory.
            std::fs::DirBuilder::new().recursive(true).mode(0o755).create("/run/sshd")?;
        }
        spec.files.iter().try_for_each(|file| self.place(file))
    }

    pub(super) fn place(&self, file: &NodeFile) -> std::io::Result<()> {
        let path = match &file.place {
            Place::Program(name) => Path::new("bin").join(name),
            Place::Home(path) => path.clone(),
            // Only a host of its own has a file system of its own.
            Place::Anywhere(_) => return Err(std::io::ErrorKind::Unsupported.into()),
        };
        self.tree().write(&path, file.mode, &file.bytes)
    }

    pub(super) fn set_host_key(&self, key: &KeyPair) -> std::io::Result<()> {
        self.tree().write(Path::new(".sshd/host_key"), 0o600, &key.private)
    }

    async fn listen_somewhere(&mut self, name: &str) -> Result<(), NodesError> {
        let mut outcome = Err(NodesError::TooMany);
        for _ in 0..PORT_ATTEMPTS {
            let free = TcpListener::bind((self.ip, 0)).and_then(|l| l.local_addr());
            self.port = free.map_err(NodesError::Files)?.port();
            outcome = self.up(name).await;
            if outcome.is_ok() {
                break;
            }
            self.down().await;
        }
        outcome
    }

    /// Starts sshd and waits until it listens.
    pub(super) async fn up(&mut self, name: &str) -> Result<(), NodesError> {
        let (config, log) = (self.home().join(".sshd/config"), self.home().join(".sshd/log"));
        let text = sshd::shared_config(self.home(), self.ip, self.port);
        std::fs::write(&config, text).map_err(NodesError::Files)?;
        // An earlier sshd's log would say too early that it listens.
        std::fs::write(&log, "").map_err(NodesError::Files)?;
        let (config, log_text) = (config.display().to_string(), log.display().to_string());
        let what = format!("node {name}");
        let arguments = ["-c", WATCHED, "basilica-node", sshd::program()?, &config, &log_text];
        let mut control = Control::spawn(&what, "sh", &arguments)?;
        let pid = control.pid(&what).await?;
        self.sshd = Some((control, pid));
        super::until_listening(name, || std::fs::read(&log)).await
    }

    /// The user's own authorized_keys must be out of reach: a login has to see our directory as its home.
    async fn refuse_unless_confined(&self, name: &str, host_key: &KeyPair) -> Result<(), NodesError> {
        let key = KeyPair::generate().await?;
        let directory = self.home().join(".sshd");
        let seen = sshd::home_seen_by_login(&LoginCheck {
            directory: &directory,
            key: &key,
            host_key: &host_key.public,
            user: &self.user,
            ip: self.ip,
            port: self.port,
        })
        .await?;
        if seen == self.home() {
            return Ok(());
        }
        Err(NodesError::HomeNotConfined { node: name.to_owned(), expected: self.home().to_owned(), seen })
    }

    pub(super) fn signal_all(&self, signal: Signal) {
        let Some((_, sshd)) = self.sshd.as_ref() else { return };
        for pid in super::tree::with_descendants(*sshd) {
            if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
                // A process that has ended meanwhile needs no signal.
                let _ = kill_process(pid, signal);
            }
        }
    }

    /// Kills sshd and every session.
    pub(super) async fn down(&mut self) {
        self.signal_all(Signal::KILL);
        if let Some((control, _)) = self.sshd.take() {
            control.end().await;
        }
    }

    pub(super) fn tree(&self) -> Tree {
        Tree::at(self.home())
    }

    pub(super) fn home(&self) -> &Path {
        self.home.path()
    }

    pub(super) const fn ip(&self) -> IpAddr {
        self.ip
    }

    pub(super) const fn port(&self) -> u16 {
        self.port
    }

    pub(super) fn user(&self) -> &str {
        &self.user
    }

    /// Processes of sshd and its sessions.
    pub(super) fn pids(&self) -> Vec<u32> {
        self.sshd.as_ref().map(|(_, pid)| super::tree::with_descendants(*pid)).unwrap_or_default()
    }
}

impl Drop for SharedHost {
    fn drop(&mut self) {
        self.signal_all(Signal::KILL);
    }
}

async fn current_user() -> Result<String, NodesError> {
    let output = tokio::process::Command::new("id").arg("-un").output().await.map_err(|source| {
        NodesError::Spawn { what: "the user's name".to_owned(), program: "id".to_owned(), source }
    })?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Removes what runs that were killed have left: directories named after processes that are gone.
pub(super) fn sweep() {
    let Ok(entries) = std::fs::read_dir(std::env::temp_dir()) else { return };
    let stale = |path: &PathBuf| {
        let name = path.file_name()?.to_str()?;
        let (pid, _) = name.strip_prefix(STEM)?.split_once('-')?;
        let pid: u32 = pid.parse().ok()?;
        (!Path::new("/proc").join(pid.to_string()).exists()).then_some(())
    };
    for path in entries.flatten().map(|entry| entry.path()) {
        if stale(&path).is_some()
            && let Err(error) = std::fs::remove_dir_all(&path)
        {
            tracing::debug!(path = %path.display(), %error, "a stale node directory stays");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_sshd_that_shows_the_real_home_is_refused() {
        let key = KeyPair::generate().await.unwrap();
        let spec = NodeSpec::new("gpu-1", &key.public);
        let host = SharedHost::start(0, &spec, &key).await.unwrap();
        host.refuse_unless_confined("gpu-1", &key).await.unwrap();
        // The same sshd, reading its configuration again without the line that confines it.
        let (config, log) = (host.home().join(".sshd/config"), host.home().join(".sshd/log"));
        let text = std::fs::read_to_string(&config).unwrap();
        let unconfined: Vec<&str> = text.lines().filter(|line| !line.starts_with("SetEnv")).collect();
        std::fs::write(&config, unconfined.join("\n") + "\n").unwrap();
        let listening = || std::fs::read_to_string(&log).unwrap().matches("Server listening").count();
        let before = listening();
        host.signal_all(Signal::HUP);
        while listening() == before {
            tokio::time::sleep(std::time::Duration::from_millis(3)).await;
        }
        let refused = host.refuse_unless_confined("gpu-1", &key).await;
        assert!(matches!(refused, Err(NodesError::HomeNotConfined { .. })), "{refused:?}");
    }

    #[test]
    fn only_directories_of_processes_that_are_gone_are_swept() {
        // No process has a number above the kernel's limit of 2^22.
        let stale = std::env::temp_dir().join(format!("{STEM}4194305-{}", std::process::id()));
        let own =
            tempfile::Builder::new().prefix(&format!("{STEM}{}-", std::process::id())).tempdir().unwrap();
        std::fs::create_dir(&stale).unwrap();
        sweep();
        assert!(!stale.exists() && own.path().exists());
    }
}
