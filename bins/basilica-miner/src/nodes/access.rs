//! Logging in on a node of the operator's own, and saying what to do where that fails.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, anyhow, bail};
use basilica_console::Terminal;
use basilica_miner_service::operator_key::{self, Installed, Presence};
use basilica_ports::{AddressPolicy, Dial, HostKeyPolicy, Identity, NodeShell as _, Shell, ShellError};
use basilica_ssh::{Methods, RusshShell, create_key};
use basilica_status::span;
use basilica_system::OsEntropy;
use basilica_types::{HostKey, Millis, NodeAddress, SshPublicKey, quoted};
use basilica_wallet::read_secret_text;
use zeroize::Zeroizing;

use crate::program::Program;
use crate::wait::watched;

/// For each login and each command on a node. Longer than the service's: somebody sits in front and would rather wait than do it again.
pub(crate) const DEADLINE: Millis = Millis::from_secs(30);
/// What a key that we make says of itself.
pub(crate) const KEY_COMMENT: &str = "basilica-miner";
/// As ssh.
const PASSWORD_ATTEMPTS: usize = 3;

/// Where a node's own key can be read, for comparison.
const COMPARE: &str = "compare it on the node itself: ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub";

/// How to log in where the miner's key is not known yet.
#[derive(Debug, clap::Args)]
pub(super) struct WayIn {
    /// Private key that the server lets in already, for the first login.
    #[arg(long, value_name = "FILE", conflicts_with = "password_file")]
    identity: Option<PathBuf>,
    /// File of one line, mode 0600, with the account's password, for the first login [default: asked for].
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
}

/// A node, by which key it is known, and the key that the miner logs in with.
pub(crate) struct Access<'a> {
    pub(crate) address: &'a NodeAddress,
    pub(crate) host_key: &'a HostKey,
    pub(crate) key_path: &'a Path,
    /// For commands that are named where it fails.
    pub(crate) program: &'a Program,
}

/// How the miner's key came to be on the node.
pub(super) enum Key {
    /// It was there.
    Known,
    /// It was installed.
    Installed,
}

/// Makes the miner's key if there is none; true if it was made.
pub(crate) fn ensure_key(path: &Path) -> anyhow::Result<bool> {
    let is_there = path.try_exists().with_context(|| {
        format!(
            "the miner's SSH key {} cannot be looked at: run this as the user whose key it is, or set ssh_session.miner_node_key_path",
            path.display()
        )
    })?;
    if is_there {
        return Ok(false);
    }
    create_key(path, KEY_COMMENT, &OsEntropy).with_context(|| {
        format!(
            "the miner's SSH key {} cannot be made: run this as a user who may write there, or set ssh_session.miner_node_key_path",
            path.display()
        )
    })?;
    Ok(true)
}

impl Access<'_> {
    async fn dial(&self, identity: Identity) -> Result<Arc<dyn Shell>, ShellError> {
        let dial = Dial {
            address: self.address.clone(),
            identity,
            host_keys: HostKeyPolicy::Pinned(vec![self.host_key.clone()]),
            addresses: AddressPolicy::Any,
            deadline: DEADLINE,
        };
        watched(&waits_for(self.address), RusshShell.connect(&dial)).await
    }

    /// A login with the miner's key.
    pub(crate) async fn log_in(&self) -> Result<Arc<dyn Shell>, ShellError> {
        self.dial(Identity::File(self.key_path.to_owned())).await
    }

    /// A login with the miner's key, or with the one whose place it took: a node that a rotation did not meet knows that alone. With the key
    /// that was let in.
    pub(crate) async fn log_in_with_either<'b>(
        &'b self,
        former: Option<&'b Path>,
    ) -> Result<(Arc<dyn Shell>, &'b Path), ShellError> {
        match (self.log_in().await, former) {
            (Err(ShellError::Denied { wants_more: false, .. }), Some(former)) => {
                Ok((self.dial(Identity::File(former.to_owned())).await?, former))
            }
            (outcome, _) => Ok((outcome?, self.key_path)),
        }
    }

    /// That these keys, of which no line was seen in `~/.ssh/authorized_keys` any more, are refused: sshd may read other files too. One login
    /// each, and no more than needed, because sshd can hold a refused one against this host.
    pub(crate) async fn are_off(&self, keys: impl Iterator<Item = &Path>) -> anyhow::Result<()> {
        let address = self.address;
        for key in keys {
            match self.dial(Identity::File(key.to_owned())).await {
                Err(ShellError::Denied { wants_more: false, .. }) => {}
                Ok(shell) => {
                    shell.close().await;
                    return Err(elsewhere(address));
                }
                Err(ShellError::Denied { wants_more: true, .. }) => return Err(elsewhere(address)),
                Err(error) => {
                    return Err(self.explained(error).context(format!(
                        "no line with the key is in ~/.ssh/authorized_keys on {address} any more, and whether it lets the key in all the \
                         same could not be seen"
                    )));
                }
            }
        }
        Ok(())
    }

    /// A login with the miner's key, which is installed first where the node does not know it; `note` comes right before.
    pub(super) async fn log_in_or_install(
        &self,
        key: &SshPublicKey,
        way_in: &WayIn,
        note: impl FnOnce() -> anyhow::Result<()>,
    ) -> anyhow::Result<(Arc<dyn Shell>, Key)> {
        match self.log_in().await {
            Ok(shell) => return Ok((shell, Key::Known)),
            Err(ShellError::Denied { wants_more: false, .. }) => {}
            Err(error) => return Err(self.explained(error)),
        }
        let first = self.first_login(way_in).await?;
        note()?;
        let installed = operator_key::install(first.as_ref(), DEADLINE, key).await;
        first.close().await;
        let installed = installed.with_context(|| format!("install the miner's key on {}", self.address))?;
        match self.log_in().await {
            Ok(shell) => Ok((shell, Key::Installed)),
            Err(ShellError::Denied { wants_more: false, .. }) => Err(self.ignored(installed)),
            Err(error) => Err(self.explained(error)),
        }
    }

    /// Why sshd may not let in a key that is in the file.
    fn ignored(&self, installed: Installed) -> anyhow::Error {
        let address = self.address;
        match installed {
            Installed { home_writable: true, .. } => anyhow!(
                "the miner's key is on {address}, but sshd ignores it because others may write the home directory; on the node: \
                 chmod go-w ~ , then run this command again"
            ),
            Installed { before: Presence::Restricted(options), .. } => anyhow!(
                "the miner's key was on {address} already, behind the options {options:?}, and is not let in with them; take them \
                 out of ~/.ssh/authorized_keys on the node, then run this command again"
            ),
            Installed { .. } => anyhow!(
                "the miner's key is in ~/.ssh/authorized_keys on {address}, and sshd does not let it in; look on the node at \
                 `sudo sshd -T | grep -iE 'authorizedkeysfile|pubkeyauthentication|allowusers|denyusers'` and at sshd's log \
                 (journalctl -u ssh)"
            ),
        }
    }

    /// A login by other means than the miner's key.
    async fn first_login(&self, way_in: &WayIn) -> anyhow::Result<Arc<dyn Shell>> {
        let (identity, what) = match (&way_in.identity, &way_in.password_file) {
            (Some(file), _) => (Identity::File(file.clone()), file),
            (None, Some(file)) => (Identity::Password(password_in(file)?), file),
            (None, None) => return self.ask_for_password().await,
        };
        match self.dial(identity).await {
            Err(ShellError::Denied { .. }) => bail!(
                "{} lets in neither the miner's key nor what is in {}; {}",
                self.address,
                what.display(),
                self.hint()
            ),
            other => other.map_err(|error| self.explained(error)),
        }
    }

    async fn ask_for_password(&self) -> anyhow::Result<Arc<dyn Shell>> {
        let (address, hint) = (self.address, self.hint());
        let (_, methods) = look(address).await.map_err(|error| self.explained(error))?;
        if !methods.password {
            bail!("{address} does not know the miner's key and takes no passwords; {hint}");
        }
        let Ok(mut terminal) = Terminal::open() else {
            bail!(
                "{address} does not know the miner's key, and there is no terminal to ask for a password at; {hint}"
            );
        };
        for _ in 0..PASSWORD_ATTEMPTS {
            let question = format!("Password of {}@{}: ", address.user, address.host);
            let password = terminal.ask_hidden(&question).context("ask for the password")?;
            match self.dial(Identity::Password(password)).await {
                Err(ShellError::Denied { .. }) => terminal.show("permission denied")?,
                other => return other.map_err(|error| self.explained(error)),
            }
        }
        bail!("{address} lets in neither the miner's key nor these passwords; {hint}")
    }

    /// A failed connection in the words of somebody who wants to have it work.
    pub(crate) fn explained(&self, error: ShellError) -> anyhow::Error {
        if let ShellError::HostKey { found, .. } = &error {
            let (address, program, expected) = (self.address, self.program, self.host_key.fingerprint());
            return anyhow!(
                "{address} presents the host key {found}, where {expected} was expected (known from before, or given); nothing was \
                 changed. {COMPARE}, and where {found} is the node's own, say so with: {program} nodes add {address} --fingerprint {found}"
            );
        }
        explained(error, self.address, self.program)
    }

    /// What else can be done.
    fn hint(&self) -> String {
        let NodeAddress { user, host, .. } = self.address;
        let mut public = self.key_path.as_os_str().to_owned();
        public.push(".pub");
        format!(
            "give --identity FILE or --password-file FILE, or install the key by other means, such as \
             ssh-copy-id -i {} -p {} {user}@{host} , and run this command again",
            quoted(&public.to_string_lossy()),
            self.address.port(),
        )
    }
}

/// What anybody sees who connects: the host key, and how one can log in.
async fn look(address: &NodeAddress) -> Result<(HostKey, Methods), ShellError> {
    watched(&waits_for(address), Box::pin(RusshShell.look(address, DEADLINE))).await
}

fn waits_for(address: &NodeAddress) -> String {
    format!("waiting for an answer of {address}, up to {}", span(DEADLINE))
}

fn password_in(file: &Path) -> anyhow::Result<Zeroizing<String>> {
    let text = read_secret_text(file).context("read the password for the first login")?;
    let line = text.strip_suffix('\n').unwrap_or(&text);
    let line = line.strip_suffix('\r').unwrap_or(line);
    if line.is_empty() || line.contains(['\n', '\0']) {
        bail!("the password in {} is not one line of text", file.display());
    }
    Ok(Zeroizing::new(line.to_owned()))
}

/// Which host key to believe, and who vouches for it.
#[derive(Debug, clap::Args)]
pub(super) struct Vouched {
    /// The server's host key, as a line of OpenSSH.
    #[arg(long, value_name = "KEY", conflicts_with = "fingerprint")]
    host_key: Option<HostKey>,
    /// The fingerprint of the server's host key, as `ssh-keygen -lf` shows it on the server.
    #[arg(long, value_name = "SHA256:...", value_parser = fingerprint)]
    fingerprint: Option<String>,
}

fn fingerprint(text: &str) -> Result<String, String> {
    let is_base64 = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'+' || byte == b'/';
    let shown = text.strip_prefix("SHA256:");
    if shown.is_some_and(|digest| digest.len() == 43 && digest.bytes().all(is_base64)) {
        return Ok(text.to_owned());
    }
    Err("write it as ssh-keygen -lf prints it: SHA256: and 43 characters".to_owned())
}

impl Vouched {
    /// The key to believe: the one named here, the known one, or the one that is shown now, if the operator says so.
    pub(super) async fn key(
        &self,
        address: &NodeAddress,
        known: Option<&HostKey>,
        yes: bool,
        program: &Program,
    ) -> anyhow::Result<HostKey> {
        if let Some(key) = &self.host_key {
            return Ok(key.clone());
        }
        if let (None, Some(known)) = (&self.fingerprint, known) {
            return Ok(known.clone());
        }
        let looked = look(address).await;
        let (shown, _) = looked.map_err(|error| explained(error, address, program))?;
        let (found, kind) = (shown.fingerprint(), shown.algorithm());
        match &self.fingerprint {
            Some(wanted) if *wanted == found => return Ok(shown),
            Some(wanted) => bail!(
                "{address} shows the {kind} host key {found}, not {wanted}; nothing was changed. It is another host, or somebody sits \
                 between: {COMPARE}"
            ),
            None if yes => return Ok(shown),
            None => {}
        }
        let Ok(mut terminal) = Terminal::open() else {
            bail!(
                "nobody has vouched for the host key of {address}, and there is no terminal to ask at; it shows {found} ({kind}); \
                 {COMPARE}, and give --fingerprint {found} , or --yes to believe it unseen"
            );
        };
        terminal.show(&format!("{address} shows the {kind} host key\n  {found}\n{COMPARE}"))?;
        match terminal.ask("Is it the node's? [y/N] ")?.to_ascii_lowercase().as_str() {
            "y" | "yes" => Ok(shown),
            _ => bail!("the host key of {address} was not accepted; nothing was changed"),
        }
    }
}

fn elsewhere(address: &NodeAddress) -> anyhow::Error {
    anyhow!(
        "{address} still lets the key in by another file than ~/.ssh/authorized_keys: look at ~/.ssh/authorized_keys2 there, and at \
         AuthorizedKeysFile and AuthorizedKeysCommand of its sshd (`sudo sshd -T | grep -i authorizedkeys`)"
    )
}

/// What is known of a removed server that refuses the miner's key.
pub(crate) fn refused(address: &NodeAddress, wants_more: bool) -> String {
    if wants_more {
        return format!(
            "{address} accepts the miner's key and asks for something besides (AuthenticationMethods of its sshd): the key is on it, and \
             cannot be taken off from here"
        );
    }
    format!(
        "{address} refuses the miner's key, which does not show that the key is gone from it: a home directory that is not mounted, or a rule \
         of its sshd, looks the same"
    )
}

fn explained(error: ShellError, address: &NodeAddress, program: &Program) -> anyhow::Error {
    let (user, host, port) = (&address.user, &address.host, address.port());
    let help = match &error {
        ShellError::Connect { .. } | ShellError::Deadline { .. } | ShellError::Lost { .. } => format!(
            "see if anything answers there: ssh -v -p {port} {user}@{host} ; is sshd running, and does the firewall let this host in?"
        ),
        ShellError::Resolve { .. } => format!("see if the name is known here: getent hosts {host}"),
        ShellError::LockedOut { .. } => {
            "wait some minutes; sshd lets this host in again then (its log tells when and why)".to_owned()
        }
        ShellError::Denied { wants_more: true, .. } => format!(
            "the miner has nothing but its key, so let the key alone be enough for {user} there (`sudo sshd -T | grep -i authenticationmethods`)"
        ),
        ShellError::Denied { .. } => {
            format!("the node does not know the miner's key; install it with: {program} nodes add {address}")
        }
        // Whom to believe was not known there, or is said by who knows it.
        ShellError::HostKey { .. }
        | ShellError::Identity { .. }
        | ShellError::ForbiddenAddress { .. }
        | ShellError::TooMuchOutput { .. } => {
            return error.into();
        }
    };
    let cause = anyhow::Error::new(error);
    anyhow!("{cause:#}; {help}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_with_the_keys_path_can_be_pasted() {
        let program = Program::with(Path::new("miner.toml"));
        let host_key: HostKey =
            "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f"
                .parse()
                .unwrap();
        let (address, key_path) = ("root@gpu-1:2222".parse().unwrap(), Path::new("/my keys/node"));
        let access = Access { address: &address, host_key: &host_key, key_path, program: &program };
        let hint = access.hint();
        assert!(hint.contains(" ssh-copy-id -i '/my keys/node.pub' -p 2222 root@gpu-1 ,"), "{hint}");
    }
}
