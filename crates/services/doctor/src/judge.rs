//! From what was seen of a node to what is wrong with it. Pure: the same observations give the same findings.

mod account;
mod inside;
mod validators;

use std::net::SocketAddr;

use basilica_types::{Host, Millis, NodeAddress, SshPublicKey, Timestamp};
use basilica_verification::Conclusion;
use basilica_verification::probe::Survey;

pub use self::inside::docker_denies;
use crate::examine::Examined;
use crate::finding::{Code, Finding, root_causes};
use crate::login::{NoLogin, is_ipv6_only};
use crate::shell::Commands;

/// What the validators' own check came to.
#[derive(Clone, Debug)]
pub enum Checked {
    /// It was not run; why. None: nobody asked for it.
    Not(Option<String>),
    /// Its conclusion.
    Done(Box<Conclusion>),
}

/// What was seen behind a login.
#[derive(Clone, Debug)]
pub struct Inside {
    /// What commands come to.
    pub commands: Commands,
    /// Why a second command does not run beside the first, if it does not.
    pub second_refused: Option<String>,
    /// What the node says of itself, or why it does not; none where commands do not work.
    pub examined: Option<Result<Examined, String>>,
    /// Our clock before and after that.
    pub between: (Timestamp, Timestamp),
    /// The machine, as a validator reads it.
    pub survey: Option<Survey>,
    /// The whole check.
    pub checked: Checked,
}

/// Everything seen of one node.
#[derive(Clone, Debug)]
pub struct NodeSeen {
    /// Which.
    pub address: NodeAddress,
    /// The miner's key, as it should stand on the node; none where it cannot be used.
    pub key: Option<SshPublicKey>,
    /// What the name stands for.
    pub addresses: Vec<SocketAddr>,
    /// On the network meant, addresses that are not public are taken.
    pub takes_private: bool,
    /// What the login took.
    pub took: Millis,
    /// Behind the login, or why there is none.
    pub login: Result<Box<Inside>, NoLogin>,
    /// What another login says of this user's account; none where there is no other login.
    pub by_other: Option<Result<Examined, String>>,
}

impl NodeSeen {
    /// What the node is, in its own words; none without a look inside.
    pub fn about(&self) -> Option<String> {
        let examined = self.login.as_ref().ok()?.examined.as_ref()?.as_ref().ok()?;
        let version =
            examined.one("openssh").map(|words| words.split(',').next().unwrap_or(words).to_owned());
        let driver =
            examined.driver().filter(|said| said.code == 0).map(|said| format!("driver {}", said.words));
        let engine = examined.engines().into_iter().find(|engine| engine.said.code == 0);
        let parts = [version, driver, engine.map(|engine| engine.program)];
        Some(parts.into_iter().flatten().collect::<Vec<_>>().join(", "))
    }
}

/// What is wrong with a node: root causes only, the worst first.
pub fn judge(seen: &NodeSeen) -> Vec<Finding> {
    let mut found = match &seen.login {
        Err(why) => outside(seen, why),
        Ok(inside) => inside::findings(seen, inside),
    };
    found.extend(addresses(seen));
    root_causes(found.into_iter().map(|finding| finding.on(&seen.address)).collect())
}

fn addresses(seen: &NodeSeen) -> Vec<Finding> {
    let mut found = Vec::new();
    let shown = || seen.addresses.iter().map(|at| at.ip().to_string()).collect::<Vec<_>>().join(", ");
    if is_ipv6_only(&seen.addresses) {
        let fix = ["give the node an IPv4 address too, and its name an A record"];
        found.push(Finding::new(Code::AddressIpv6, shown(), &fix));
    }
    let public = |at: &SocketAddr| Host::is_public_address(at.ip());
    if !seen.takes_private && !seen.addresses.is_empty() && !seen.addresses.iter().any(public) {
        let fix = ["in miner.toml: set host to an address at which the whole internet reaches the node"];
        found.push(Finding::new(Code::AddressNotPublic, shown(), &fix));
    }
    found
}

/// Findings where there is no login.
fn outside(seen: &NodeSeen, why: &NoLogin) -> Vec<Finding> {
    let address = &seen.address;
    let (host, port) = (&address.host, address.port());
    let one = |code, words: String, fix: &[&str]| vec![Finding::new(code, words, fix)];
    match why {
        NoLogin::OwnKey(_) => Vec::new(),
        NoLogin::Unresolved(words) => one(
            Code::AddressUnresolved,
            words.clone(),
            &["correct host in miner.toml, or the name's DNS record"],
        ),
        NoLogin::NoWay(words) if is_ipv6_only(&seen.addresses) => one(
            Code::AddressIpv6Only,
            words.clone(),
            &["give the node an IPv4 address and its name an A record, then set host in miner.toml"],
        ),
        NoLogin::Refused(words) => one(
            Code::PortClosed,
            words.clone(),
            &[
                "on the node: sudo systemctl enable --now ssh",
                "or correct port in miner.toml: on the node, sudo ss -tlnp | grep sshd",
            ],
        ),
        NoLogin::NoWay(words) => {
            one(Code::HostUnreachable, words.clone(), &["check the node's network, and host in miner.toml"])
        }
        NoLogin::Filtered => one(
            Code::PortFiltered,
            format!("Connection to {host}:{port} timed out"),
            &[&format!("on the node: sudo ufw allow {port}/tcp, and the same in the provider's firewall")],
        ),
        NoLogin::Silent(step) => one(
            Code::SshdSilent,
            format!("Connection to {host}:{port} timed out during {step}"),
            &[
                "on the node: look at its load and sudo journalctl -u ssh -n 50; then sudo systemctl restart ssh",
            ],
        ),
        NoLogin::NotSsh(words) => one(
            Code::NotSsh,
            words.clone(),
            &["correct port in miner.toml: on the node, sudo ss -tlnp | grep sshd"],
        ),
        NoLogin::LockedOut(words) => one(
            Code::SshdLocksOut,
            words.clone(),
            &[
                "wait ten minutes and try again; fail2ban: sudo fail2ban-client status sshd",
                "on the node, in /etc/ssh/sshd_config: MaxStartups 100:30:200, and PerSourcePenalties no",
                "then: sudo sshd -t && sudo systemctl reload ssh",
            ],
        ),
        NoLogin::Incompatible(words) => one(
            Code::SshdIncompatible,
            words.clone(),
            &[
                "on the node: remove Ciphers, KexAlgorithms, HostKeyAlgorithms and MACs from /etc/ssh/sshd_config, or update OpenSSH",
            ],
        ),
        NoLogin::Lost(words) => {
            one(Code::ConnectionLost, words.clone(), &["on the node: sudo journalctl -u ssh -n 50"])
        }
        NoLogin::HostKey { found, known } => one(
            Code::HostKeyChanged,
            format!("it shows {found}, and is known by {}", known.join(", ")),
            &[
                "on the node: ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub",
                &format!(
                    "if that is the key shown: basilica-miner nodes add {address} --fingerprint {found}"
                ),
            ],
        ),
        NoLogin::Denied { takes_keys } => denied(seen, *takes_keys),
    }
}

fn denied(seen: &NodeSeen, takes_keys: bool) -> Vec<Finding> {
    let words = format!("Failed to connect to node {}: Permission denied (publickey)", seen.address);
    match &seen.by_other {
        Some(Ok(examined)) => {
            let found = account::findings(seen, examined, &words);
            if !found.is_empty() {
                return found;
            }
        }
        Some(Err(why)) => {
            let fix = ["give --admin-key and --admin-user of a login that works on the node"];
            return vec![Finding::new(Code::LoginDenied, format!("{words}; the other login: {why}"), &fix)];
        }
        None => {}
    }
    if !takes_keys {
        return vec![Finding::new(Code::PublickeyOff, words, account::PUBLICKEY_FIX)];
    }
    let (user, node) = (&seen.address.user, &seen.address);
    let key = seen.key.as_ref().map_or_else(String::new, ToString::to_string);
    vec![Finding::new(
        Code::LoginDenied,
        words,
        &[
            &format!(
                "to see why: basilica-miner doctor --node {node} --admin-user root --admin-key A_KEY_THAT_WORKS"
            ),
            &format!("or on the node, as {user}: chmod go-w ~ && mkdir -p -m 700 ~/.ssh && chmod 700 ~/.ssh"),
            &format!(
                "then: echo '{key} basilica-miner' >> ~/.ssh/authorized_keys && chmod 600 ~/.ssh/authorized_keys"
            ),
        ],
    )]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_of_ipv6_that_refuses_was_reached() {
        let codes = |login: NoLogin| -> Vec<&'static str> {
            let seen = NodeSeen {
                address: "gpu@[::1]:22".parse().unwrap(),
                key: None,
                addresses: vec!["[::1]:22".parse().unwrap()],
                takes_private: true,
                took: Millis(1),
                login: Err(login),
                by_other: None,
            };
            judge(&seen).iter().map(|finding| finding.code.as_str()).collect()
        };
        let refused = codes(NoLogin::Refused(String::new()));
        assert!(refused.contains(&"port-closed") && !refused.contains(&"address-ipv6-only"), "{refused:?}");
        let no_way = codes(NoLogin::NoWay(String::new()));
        assert!(no_way.contains(&"address-ipv6-only"), "{no_way:?}");
    }
}
