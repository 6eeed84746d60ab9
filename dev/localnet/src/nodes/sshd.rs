//! The sshd program, its keys and its configuration.

use std::path::{Path, PathBuf};

use basilica_types::HostKey;
use tokio::process::Command;

use super::NodesError;

/// Where distributions put it; sshd insists on an absolute path.
const PLACES: [&str; 4] = ["/usr/sbin/sshd", "/usr/local/sbin/sshd", "/sbin/sshd", "/usr/bin/sshd"];

/// What is common to both kinds of node: keys only, no PAM, room for a validator's many connections at once.
const COMMON: &str = "PidFile none
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
MaxStartups 100:30:200
PrintMotd no
Subsystem sftp internal-sftp
";

pub(super) fn program() -> Result<&'static str, NodesError> {
    PLACES
        .into_iter()
        .find(|place| Path::new(place).is_file())
        .ok_or(NodesError::Missing { program: "sshd", package: "openssh-server" })
}

/// For a node that is a host of its own.
pub(super) fn host_config() -> String {
    format!("Port 22\nListenAddress 0.0.0.0\nHostKey /etc/ssh/basilica_host_key\n{COMMON}")
}

/// For an sshd that shares the machine: everything that it reads lies in `home`, which is also what `$HOME` says.
pub(super) fn shared_config(home: &Path, ip: std::net::IpAddr, port: u16) -> String {
    let home = home.display();
    format!(
        "Port {port}\nListenAddress {ip}\nHostKey \"{home}/.sshd/host_key\"\n\
         AuthorizedKeysFile \"{home}/.ssh/authorized_keys\" \"{home}/.sshd/check.pub\"\n\
         StrictModes no\n\
         SetEnv \"HOME={home}\" \"PATH={home}/bin:/usr/local/bin:/usr/bin:/bin\"\n{COMMON}"
    )
}

/// A fresh Ed25519 key pair.
#[derive(Clone)]
pub(super) struct KeyPair {
    pub(super) private: Vec<u8>,
    pub(super) public: HostKey,
}

impl KeyPair {
    pub(super) async fn generate() -> Result<Self, NodesError> {
        let directory = tempfile::tempdir().map_err(NodesError::Files)?;
        let path = directory.path().join("key");
        let output = Command::new("ssh-keygen")
            .args(["-q", "-t", "ed25519", "-N", "", "-C", "", "-f"])
            .arg(&path)
            .output()
            .await
            .map_err(|source| NodesError::Spawn {
                what: "a host key".to_owned(),
                program: "ssh-keygen".to_owned(),
                source,
            })?;
        let failed = |output: String| NodesError::Failed { what: "ssh-keygen".to_owned(), output };
        if !output.status.success() {
            return Err(failed(String::from_utf8_lossy(&output.stderr).into_owned()));
        }
        let private = std::fs::read(&path).map_err(NodesError::Files)?;
        let line = std::fs::read_to_string(path.with_extension("pub")).map_err(NodesError::Files)?;
        let public = line.parse().map_err(|_| failed(line))?;
        Ok(Self { private, public })
    }
}

/// What is run on a node: `$HOME` as a login sees it, asked with a key that only this check uses.
pub(super) async fn home_seen_by_login(check: &LoginCheck<'_>) -> Result<PathBuf, NodesError> {
    let LoginCheck { directory, key, host_key, user, ip, port } = check;
    let private = directory.join("check");
    let known = directory.join("known_hosts");
    let files = super::inside::Tree::at(*directory);
    files.write(Path::new("check"), 0o600, &key.private).map_err(NodesError::Files)?;
    files
        .write(Path::new("check.pub"), 0o600, format!("{}\n", key.public).as_bytes())
        .map_err(NodesError::Files)?;
    files
        .write(Path::new("known_hosts"), 0o600, format!("[{ip}]:{port} {host_key}\n").as_bytes())
        .map_err(NodesError::Files)?;
    let output = Command::new("ssh")
        .args(["-F", "none", "-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes", "-o", "ConnectTimeout=10"])
        .args(["-o", "StrictHostKeyChecking=yes", "-o", "GlobalKnownHostsFile=none"])
        .arg("-o")
        .arg(format!("UserKnownHostsFile={}", known.display()))
        .arg("-i")
        .arg(&private)
        .args(["-p", &port.to_string(), "-l", user, &ip.to_string(), "printf %s \"$HOME\""])
        .output()
        .await;
    for name in ["check", "check.pub", "known_hosts"] {
        std::fs::remove_file(directory.join(name)).map_err(NodesError::Files)?;
    }
    let output = output.map_err(|source| NodesError::Spawn {
        what: "the check of $HOME".to_owned(),
        program: "ssh".to_owned(),
        source,
    })?;
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(NodesError::Failed { what: "the check of $HOME by a login".to_owned(), output: text });
    }
    Ok(PathBuf::from(String::from_utf8_lossy(&output.stdout).into_owned()))
}

/// A login that asks for `$HOME`.
pub(super) struct LoginCheck<'a> {
    /// Where sshd's own files lie.
    pub(super) directory: &'a Path,
    pub(super) key: &'a KeyPair,
    pub(super) host_key: &'a HostKey,
    pub(super) user: &'a str,
    pub(super) ip: std::net::IpAddr,
    pub(super) port: u16,
}
