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
}

impl Default for Patience {
    fn default() -> Self {
        Self { login: Millis::from_secs(15), command: Millis::from_secs(60), check: Millis::from_secs(3_600) }
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

    /// Makes the changes that these findings of one node ask for; each says what was before and what is now.
    ///
    /// # Errors
    /// If no login works that could make them.
    pub async fn fix(
        self,
        address: &NodeAddress,
        known: &[HostKey],
        findings: &[Finding],
    ) -> Result<Vec<Change>, String> {
        let mut remedies: Vec<Remedy> = findings.iter().filter_map(|finding| finding.fixable).collect();
        remedies.sort_unstable();
        remedies.dedup();
        remedies.retain(|remedy| *remedy != Remedy::KeyFileMode);
        let Some(key) = self.key.filter(|_| !remedies.is_empty()) else { return Ok(Vec::new()) };
        let own = self.log_in(address, self.identity, known).await.shell.ok();
        let mut changes = Vec::new();
        for remedy in remedies {
            let with = |shell: Arc<dyn Shell>| async move {
                fix::apply(shell.as_ref(), remedy, &address.user, key, self.patience.command).await
            };
            // What the user may not, another login may.
            let done = match &own {
                Some(shell) => with(Arc::clone(shell)).await,
                None => Err(NO_LOGIN.to_owned()),
            };
            changes.push(match done {
                Ok(change) => change,
                Err(why) => with(self.enter_other(address, known).await.ok_or(why)??).await?,
            });
        }
        Ok(changes)
    }
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
