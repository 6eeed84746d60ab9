//! Looks at one node.

use basilica_ports::{Clock, Entropy, Identity, NodeShell, Shell};
use basilica_probing_service::Probing;
use basilica_runtime_service::within;
use basilica_types::{Digest, HostKey, Millis, NodeAddress, SshPublicKey, Username};
use basilica_verification::GpuRules;
use std::sync::Arc;

use crate::check::Patient;
use crate::examine::Examined;
use crate::fix::{self, Change};
use crate::judge::{Checked, Inside, NodeSeen};
use crate::login::{Login, log_in};
use crate::shell::{self, Commands};
use crate::sshd::{self, SshdChange};
use crate::{Finding, Remedy};

/// How long each step may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// A login.
    pub login: Millis,
    /// A short command.
    pub command: Millis,
    /// A whole check with its proof.
    pub check: Millis,
    /// How long changed settings of sshd wait for a new login before they are taken back.
    pub confirm: Millis,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            login: Millis::from_secs(15),
            command: Millis::from_secs(60),
            check: Millis::from_secs(3_600),
            confirm: Millis::from_secs(90),
        }
    }
}

/// A login of the operator's that works where the miner's does not.
#[derive(Clone, Debug)]
pub struct OtherLogin {
    /// As whom.
    pub user: Username,
    /// With which key.
    pub identity: Identity,
}

/// With what the validators' check is run.
#[derive(Clone, Copy, Debug)]
pub enum Proving<'a> {
    /// Not at all: nobody wants to wait for it.
    NotAsked(Probing<'a>),
    /// It cannot be.
    Impossible(Probing<'a>, &'a str),
    /// With these rules.
    With(Probing<'a>, &'a GpuRules),
}

/// What looking at nodes takes.
#[derive(Clone, Copy)]
pub struct Doctor<'a> {
    /// SSH.
    pub nodes: &'a dyn NodeShell,
    /// Time.
    pub clock: &'a dyn Clock,
    /// Chance.
    pub entropy: &'a dyn Entropy,
    /// The miner's key.
    pub identity: &'a Identity,
    /// Its public half; none where it cannot be used.
    pub key: Option<&'a SshPublicKey>,
    /// Another way in.
    pub other: Option<&'a OtherLogin>,
    /// The validators' check.
    pub proving: Proving<'a>,
    /// On the network meant, addresses that are not public are taken.
    pub takes_private: bool,
    /// Deadlines.
    pub patience: Patience,
}

impl std::fmt::Debug for Doctor<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Doctor").field("patience", &self.patience).finish_non_exhaustive()
    }
}

impl Doctor<'_> {
    /// Looks at a node that is known by these keys; a node that is known by none may show any.
    pub async fn look(self, address: &NodeAddress, known: &[HostKey]) -> NodeSeen {
        let Login { addresses, shell, took } = self.log_in(address, self.identity, known).await;
        let login = match shell {
            Ok(shell) => {
                let inside = self.inside(address, &shell, addresses.first()).await;
                shell.close().await;
                Ok(Box::new(inside))
            }
            Err(why) => Err(why),
        };
        let mut seen = NodeSeen {
            address: address.clone(),
            key: self.key.cloned(),
            addresses,
            takes_private: self.takes_private,
            took,
            login,
            by_other: None,
        };
        if needs_other(&seen) {
            seen.by_other = self.ask_other(address, known).await;
        }
        seen
    }

    async fn log_in(self, address: &NodeAddress, identity: &Identity, known: &[HostKey]) -> Login {
        log_in(self.nodes, self.clock, address, identity, known, self.patience.login).await
    }

    async fn inside(
        self,
        address: &NodeAddress,
        shell: &Arc<dyn Shell>,
        at: Option<&std::net::SocketAddr>,
    ) -> Inside {
        let nonce = Digest::from_bytes(self.entropy.array()).to_string();
        let commands = shell::commands(shell.as_ref(), &nonce, self.patience.command).await;
        let before = self.clock.now();
        let mut inside = Inside {
            commands,
            second_refused: None,
            examined: None,
            between: (before, before),
            survey: None,
            checked: Checked::Not(None),
        };
        let (Commands::Work, Some(key)) = (&inside.commands, self.key) else { return inside };
        inside.second_refused = shell::second_session(shell.as_ref()).await;
        let before = self.clock.now();
        let examined = shell::examine(shell, &address.user, key, self.patience.command).await;
        inside.between = (before, self.clock.now());
        let is_usable = examined.as_ref().is_ok_and(is_usable);
        inside.examined = Some(examined);
        let Some(at) = at.filter(|_| is_usable) else { return inside };
        let mut patient = Patient { address, shell: Arc::clone(shell), at: at.ip() };
        match self.proving {
            Proving::NotAsked(probing) => inside.survey = patient.survey(probing).await,
            Proving::Impossible(probing, why) => {
                inside.survey = patient.survey(probing).await;
                inside.checked = Checked::Not(Some(why.to_owned()));
            }
            Proving::With(probing, gpus) => {
                let check = patient.full_check(probing, gpus.clone());
                // Boxed: the talk with the prover would make every future that holds it large.
                let check = within(self.clock, self.patience.check, Box::pin(check)).await;
                inside.checked = match check.ok().flatten() {
                    Some(conclusion) => Checked::Done(Box::new(conclusion)),
                    None => Checked::Not(Some("the check did not come to its end in time".to_owned())),
                };
            }
        }
        inside
    }

    /// What the other login says; none where there is no other.
    async fn ask_other(self, address: &NodeAddress, known: &[HostKey]) -> Option<Result<Examined, String>> {
        let key = self.key?;
        Some(match self.enter_other(address, known).await? {
            Err(why) => Err(why),
            Ok(shell) => {
                let examined = shell::examine(&shell, &address.user, key, self.patience.command).await;
                shell.close().await;
                examined
            }
        })
    }

    async fn enter_other(
        self,
        address: &NodeAddress,
        known: &[HostKey],
    ) -> Option<Result<Arc<dyn Shell>, String>> {
        let other = self.other?;
        let mut as_other = address.clone();
        as_other.user = other.user.clone();
        let Login { shell, .. } = self.log_in(&as_other, &other.identity, known).await;
        Some(shell.map_err(|why| format!("{as_other} cannot log in either: {why:?}")))
    }

    /// Makes the changes that these findings of one node ask for, as far as they are `allowed`.
    pub async fn fix(
        self,
        address: &NodeAddress,
        known: &[HostKey],
        findings: &[Finding],
        allowed: fn(Remedy) -> bool,
    ) -> Fixed {
        let asked = findings.iter().filter_map(|finding| Some((finding.fixable?, finding.code)));
        let asked = asked.filter(|(remedy, _)| *remedy != Remedy::KeyFileMode && allowed(*remedy));
        let (sshd, mut files): (Vec<_>, Vec<_>) = asked.partition(|(remedy, _)| *remedy == Remedy::Sshd);
        files.sort_unstable_by_key(|(remedy, _)| *remedy);
        files.dedup_by_key(|(remedy, _)| *remedy);
        let mut fixed = Fixed::default();
        let mut done = |change: Result<Change, String>| match change {
            Ok(change) => fixed.changes.push(change),
            Err(why) => fixed.not_fixed.push(why),
        };
        if let Some(key) = self.key.filter(|_| !files.is_empty()) {
            let own = self.log_in(address, self.identity, known).await.shell.ok();
            for (remedy, _) in files {
                done(self.set_files(address, known, remedy, key, own.as_ref()).await);
            }
        }
        for setting in sshd.into_iter().filter_map(|(_, code)| sshd::setting(code)) {
            done(self.set_sshd(address, known, setting).await);
        }
        fixed
    }

    async fn set_files(
        self,
        address: &NodeAddress,
        known: &[HostKey],
        remedy: Remedy,
        key: &SshPublicKey,
        own: Option<&Arc<dyn Shell>>,
    ) -> Result<Change, String> {
        let with = |shell: Arc<dyn Shell>| async move {
            fix::apply(shell.as_ref(), remedy, &address.user, key, self.patience.command).await
        };
        let done = match own {
            Some(shell) => with(Arc::clone(shell)).await,
            None => Err(NO_LOGIN.to_owned()),
        };
        match done {
            Ok(change) => Ok(change),
            // What the user may not, another login may.
            Err(why) => with(self.enter_other(address, known).await.ok_or(why)??).await,
        }
    }

    async fn enter(self, address: &NodeAddress, known: &[HostKey]) -> Result<Arc<dyn Shell>, String> {
        let login = self.log_in(address, self.identity, known).await;
        login.shell.map_err(|why| format!("{why:?}"))
    }

    /// Keeps a setting of sshd only after a login that was made since.
    async fn set_sshd(
        self,
        address: &NodeAddress,
        known: &[HostKey],
        setting: &str,
    ) -> Result<Change, String> {
        let change = SshdChange {
            tag: Digest::from_bytes(self.entropy.array()),
            confirm: self.patience.confirm,
            deadline: self.patience.command,
        };
        let first = self.enter(address, known).await?;
        let made = change.make(first.as_ref(), setting).await?;
        let mut second = self.enter(address, known).await;
        for _ in 1..sshd::LOGINS {
            if second.is_err() {
                self.clock.sleep(sshd::PAUSE).await;
                second = self.enter(address, known).await;
            }
        }
        let kept = match second {
            Ok(second) => {
                let kept = change.keep(second.as_ref()).await;
                second.close().await;
                kept
            }
            Err(why) => Err(why),
        };
        if let Err(why) = kept {
            // Where this connection is gone too, the node does it by itself.
            let _ = change.take_back(first.as_ref()).await;
            return Err(format!("no login worked after sshd had read {setting}, so it is taken back: {why}"));
        }
        first.close().await;
        Ok(made)
    }
}

/// What came of changing a node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fixed {
    /// What was changed.
    pub changes: Vec<Change>,
    /// Why the rest was not.
    pub not_fixed: Vec<String>,
}

/// Nothing can be changed without a login.
const NO_LOGIN: &str = "the miner cannot log in; give --admin-key and --admin-user of a login that works";

/// Whether a validator's probes can say more: on a node without the tools they fail for that.
fn is_usable(examined: &Examined) -> bool {
    !examined.has("missing")
}

/// Whether only another login can say more.
fn needs_other(seen: &NodeSeen) -> bool {
    match &seen.login {
        Err(crate::NoLogin::Denied { .. }) => true,
        Err(_) => false,
        Ok(inside) => matches!(inside.commands, Commands::Forced(_) | Commands::Lost(_)),
    }
}
