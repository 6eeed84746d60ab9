//! What is wrong on the miner's own machine. Pure, as [`crate::judge()`] is.

use std::net::SocketAddr;
use std::path::PathBuf;

use basilica_status::LittleRoom;
use basilica_types::{Kept, Millis, Timestamp, quoted};

use crate::finding::{Code, Finding, Remedy};

/// A newest finalised block is older than this only where the clock is ahead, or the chain stands still.
const OLD_BLOCK: Millis = Millis::from_secs(300);
/// Clocks of validators and ours may differ.
const AHEAD: Millis = Millis::from_secs(30);

/// Why the miner's key cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyFault {
    /// There is no such file.
    Missing,
    /// It cannot be read.
    Unreadable,
    /// Others can read it.
    TooOpen,
    /// It has a passphrase.
    Passphrase,
    /// It is no key.
    Invalid,
}

/// Why the miner's database cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DatabaseFault {
    /// The file cannot be made, read or written.
    Unwritable,
    /// Its pages are not what was written, or it was never a database.
    Damaged,
    /// A miner runs on it, and it is not there any more.
    Gone,
    /// It is another program's.
    Foreign,
    /// A newer version migrated it.
    Newer,
    /// An older version made it, or nobody has, and a start may not.
    Outdated,
}

/// A place on the chain, as far as it could be read.
#[derive(Clone, Debug)]
pub struct OnChain {
    /// Time of the newest finalised block; none on a development chain, whose blocks come when somebody likes.
    pub block_time: Option<Timestamp>,
    /// Whether the hotkey has a uid.
    pub registered: bool,
    /// Its address on the chain.
    pub axon: Option<SocketAddr>,
}

/// Whether the advertised address answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reached {
    /// A miner answered there.
    Yes,
    /// It did not; why.
    No(String),
    /// It did not, and may be the address of a router that does not lead back in; why.
    Unclear(String),
}

/// Whether a miner of a configuration runs, as it looks from outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Presence {
    /// It answers on its health address.
    Runs,
    /// A process has its database, and nothing answers on its health address.
    Silent {
        /// Its number, where that can be seen.
        pid: Option<i32>,
        /// Where it was asked.
        health: SocketAddr,
    },
    /// A miner answers on its health address that has not its database, or not its hotkey.
    Another {
        /// Where that one answers.
        health: SocketAddr,
    },
    /// Nobody does.
    Absent,
}

impl Presence {
    /// In words, for whoever looks for the miner.
    pub fn words(&self) -> String {
        match self {
            Self::Runs => "it runs".to_owned(),
            Self::Silent { pid, health } => {
                let who = pid.map_or_else(|| "a miner".to_owned(), |pid| format!("process {pid}"));
                format!("{who} has the database and does not answer on {health}")
            }
            Self::Another { health } => {
                format!(
                    "the miner that answers on {health} is another one; none has this configuration's database"
                )
            }
            Self::Absent => "its health address does not answer".to_owned(),
        }
    }

    const fn fix(&self) -> &'static str {
        match self {
            Self::Runs | Self::Absent => {
                "start it: sudo systemctl start basilica-miner; how it is: basilica-miner status"
            }
            Self::Silent { .. } => {
                "its log says what it is doing; if it was started with another health.listen, or hangs, end that process and start it again"
            }
            Self::Another { .. } => {
                "give each miner a health.listen of its own in its miner.toml, then start this one"
            }
        }
    }
}

/// What was seen here.
#[derive(Clone, Debug)]
pub struct HereSeen {
    /// The miner's key, and what is wrong with it.
    pub key: Option<(PathBuf, KeyFault, String)>,
    /// Why the wallet cannot be read.
    pub wallet: Option<String>,
    /// Why the database cannot be used, in a word and in the words of what was tried.
    pub database: Option<(DatabaseFault, String)>,
    /// Disks of what the miner keeps that are nearly full.
    pub little_room: Vec<LittleRoom>,
    /// The chain, or why it does not answer; none where it was not asked.
    pub chain: Option<Result<OnChain, String>>,
    /// The time when that was read.
    pub now: Timestamp,
    /// What the configuration would publish.
    pub axon: Option<SocketAddr>,
    /// Whether that answers; none where it was not tried.
    pub reached: Option<Reached>,
    /// Whether a miner of this configuration runs.
    pub presence: Presence,
    /// Ports that it needs and others have, the keys of the configuration that say which, and why they cannot be had.
    pub taken: Vec<(SocketAddr, &'static str, String)>,
    /// How many nodes there are.
    pub nodes: usize,
    /// What the configuration should be told of.
    pub notices: Vec<String>,
    /// Why there is no prover, where one was wanted.
    pub prover: Option<String>,
}

impl HereSeen {
    /// Nothing has been looked at yet.
    pub const fn nothing(now: Timestamp) -> Self {
        Self {
            key: None,
            wallet: None,
            database: None,
            little_room: Vec::new(),
            chain: None,
            now,
            axon: None,
            reached: None,
            presence: Presence::Absent,
            taken: Vec::new(),
            nodes: 0,
            notices: Vec::new(),
            prover: None,
        }
    }
}

/// What is wrong here, the worst first.
pub fn judge_here(seen: &HereSeen) -> Vec<Finding> {
    let mut found = Vec::new();
    found.extend(seen.key.as_ref().map(key));
    found.extend(seen.wallet.as_ref().map(|why| {
        Finding::new(
            Code::WalletUnreadable,
            why,
            &["check bittensor.wallet_name and hotkey_name in miner.toml: basilica wallet list; of another user's files nothing can be read: run \
               this as the user the miner runs as"],
        )
    }));
    found.extend(seen.database.as_ref().map(|(fault, words)| database(*fault, words)));
    let full = |room: &LittleRoom| {
        let is_log = room.is_of(Kept::AuditLog);
        let code = if is_log { Code::AuditDiskFullHere } else { Code::DiskFullHere };
        Finding::new(code, room.to_string(), &[&room.todo()])
    };
    found.extend(seen.little_room.iter().map(full));
    found.extend(chain(seen));
    found.extend(seen.taken.iter().map(|(address, key, why)| {
        let fix = format!(
            "sudo ss -tlnp 'sport = :{}' shows which program; stop it, or set another port in {key}",
            address.port()
        );
        Finding::new(Code::PortTaken, format!("{address} ({key}): {why}"), &[&fix])
    }));
    if seen.presence != Presence::Runs && seen.taken.is_empty() {
        found.push(Finding::new(Code::NotRunning, seen.presence.words(), &[seen.presence.fix()]));
    }
    found.extend(seen.prover.as_ref().map(|why| {
        let fix = [
            "./scripts/miner/build.sh builds it; put basilica-prover beside basilica-miner",
            "or name it: basilica-miner doctor --prover FILE; or do without: basilica-miner doctor --quick",
        ];
        Finding::new(Code::NoProver, why, &fix)
    }));
    found.extend(reach(seen));
    if seen.nodes == 0 {
        found.push(Finding::new(
            Code::NoNodes,
            "node_management.nodes is empty",
            &["basilica-miner nodes add USER@HOST --hourly-rate-per-gpu USD"],
        ));
    }
    found.extend(seen.notices.iter().map(|notice| Finding::new(Code::ConfigNotice, notice, &[])));
    found.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    found
}

fn key((path, fault, words): &(PathBuf, KeyFault, String)) -> Finding {
    let path = path.to_string_lossy();
    let public = quoted(&format!("{path}.pub"));
    let path = quoted(&path);
    match fault {
        KeyFault::Missing => {
            let fix = format!(
                "ssh-keygen -t ed25519 -N '' -f {path}; then put {public} into authorized_keys on every node"
            );
            Finding::new(Code::KeyMissing, words, &[&fix])
        }
        KeyFault::Unreadable => Finding::new(
            Code::KeyUnreadable,
            words,
            &[
                &format!("run this as the user the miner runs as: ls -l {path} says who has the key"),
                &format!("if that should be you: sudo chown \"$(id -un)\" {path} && chmod 600 {path}"),
            ],
        ),
        KeyFault::TooOpen => Finding::new(Code::KeyTooOpen, words, &[&format!("chmod 600 {path}")])
            .healed_by(Remedy::KeyFileMode),
        KeyFault::Passphrase => {
            Finding::new(Code::KeyPassphrase, words, &[&format!("ssh-keygen -p -N '' -f {path}")])
        }
        KeyFault::Invalid => {
            let fix = "set ssh_session.miner_node_key_path to a private key that is whole, not to its .pub";
            Finding::new(Code::KeyInvalid, words, &[fix])
        }
    }
}

fn database(fault: DatabaseFault, words: &str) -> Finding {
    let (code, fix): (_, &[&str]) = match fault {
        DatabaseFault::Unwritable => {
            (Code::DatabaseUnwritable, &["let this user write the file of database.url, and its directory"])
        }
        DatabaseFault::Damaged => (
            Code::DatabaseDamaged,
            &[
                "if database.url names something else's file: give it a path of its own",
                "else stop the miner, move the file and those beside it (-wal, -shm) away, and put a backup in its place: basilica-miner \
                 database restore --from FILE",
                "without a backup: start the miner, which makes a new one; validators authenticate anew, and nodes that were drained are \
                 served again",
            ],
        ),
        DatabaseFault::Gone => (
            Code::DatabaseGone,
            &[
                "put the file back where it was, if it was moved; else stop the miner and restore a backup: basilica-miner database restore \
                 --from FILE",
                "without a backup: restart the miner, which makes a new one; validators authenticate anew, and nodes that were drained are \
                 served again",
            ],
        ),
        DatabaseFault::Foreign => (
            Code::DatabaseForeign,
            &["give database.url in miner.toml a file of its own, such as sqlite://./data/miner.db"],
        ),
        DatabaseFault::Newer => (
            Code::DatabaseNewer,
            &[
                "run the version that migrated it, or a newer one",
                "or go back to a backup of before: move the file and those beside it (-wal, -shm) away, then: basilica-miner database \
                 restore --from FILE",
            ],
        ),
        DatabaseFault::Outdated => (Code::DatabaseOutdated, &["basilica-miner database migrate"]),
    };
    Finding::new(code, words, fix)
}

fn chain(seen: &HereSeen) -> Vec<Finding> {
    let mut found = Vec::new();
    let chain = match &seen.chain {
        None => return found,
        Some(Err(why)) => {
            let fix =
                ["check bittensor.network and chain_endpoint in miner.toml, and this machine's way out"];
            return vec![Finding::new(Code::ChainUnreachable, why, &fix)];
        }
        Some(Ok(chain)) => chain,
    };
    if let Some(block) = chain.block_time {
        let (behind, ahead) = (block.since(seen.now), seen.now.since(block));
        let off = if behind > AHEAD {
            Some(format!("the chain's newest block is {behind} ahead of it"))
        } else if ahead > OLD_BLOCK {
            Some(format!("the chain's newest block is {ahead} old"))
        } else {
            None
        };
        found.extend(off.map(|words| {
            Finding::new(Code::ClockHere, words, &["sudo timedatectl set-ntp true; then: timedatectl"])
        }));
    }
    if !chain.registered {
        let fix = ["btcli subnet register --netuid 39 --wallet.name NAME --wallet.hotkey NAME"];
        found.push(Finding::new(Code::NotRegistered, "the metagraph has no neuron with this hotkey", &fix));
        return found;
    }
    if seen.wallet.is_some() {
        // Whose axon, nobody knows.
        return found;
    }
    match (chain.axon, seen.axon) {
        (None, _) => found.push(Finding::new(
            Code::AxonMissing,
            "the metagraph has no axon of this hotkey",
            &["set bittensor.external_ip in miner.toml and start the miner: it publishes the address"],
        )),
        (Some(published), Some(configured)) if published != configured => {
            let fix = if seen.presence == Presence::Runs {
                "see that no other miner runs with this hotkey; this one publishes its address again later (basilica-miner status says when), and \
                 at once when it starts"
            } else {
                "see that no other miner runs with this hotkey, then start this one: it publishes its address"
            };
            let words = format!("the chain says {published}, the configuration {configured}");
            found.push(Finding::new(Code::AxonDiffers, words, &[fix]));
        }
        _ => {}
    }
    found
}

fn reach(seen: &HereSeen) -> Option<Finding> {
    match seen.reached.as_ref()? {
        Reached::Yes => None,
        // A miner that does not run answers nowhere.
        Reached::No(_) | Reached::Unclear(_) if seen.presence != Presence::Runs => None,
        Reached::No(why) => Some(Finding::new(
            Code::AxonUnreachable,
            why,
            &[
                "sudo ufw allow 50051/tcp (or your axon_port), and the same in the provider's firewall or router",
            ],
        )),
        Reached::Unclear(why) => Some(Finding::new(
            Code::AxonUnknown,
            why,
            &["from another machine: grpcurl -plaintext ADDRESS:PORT list"],
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn codes(seen: &HereSeen) -> Vec<&'static str> {
        judge_here(seen).iter().map(|finding| finding.code.as_str()).collect()
    }

    #[test]
    fn a_path_with_a_space_is_one_word_in_what_is_to_be_pasted() {
        for fault in [KeyFault::Missing, KeyFault::Unreadable, KeyFault::TooOpen, KeyFault::Passphrase] {
            let found = key(&("/my keys/id".into(), fault, String::new()));
            assert!(found.fix[0].contains("'/my keys/id'"), "{:?}", found.fix);
        }
    }

    fn well() -> HereSeen {
        let now = Timestamp(1_750_000_000_000);
        let axon = Some("203.0.113.9:50051".parse().unwrap());
        let on_chain = OnChain { block_time: Some(now), registered: true, axon };
        HereSeen {
            chain: Some(Ok(on_chain)),
            now,
            axon,
            reached: Some(Reached::Yes),
            presence: Presence::Runs,
            nodes: 1,
            ..HereSeen::nothing(now)
        }
    }

    #[test]
    fn nothing_is_wrong_where_all_is_well() {
        assert_eq!(codes(&well()), Vec::<&str>::new());
    }

    #[test]
    fn each_thing_that_can_be_wrong_here_has_its_code() {
        let key = |fault| Some((PathBuf::from("/k"), fault, String::new()));
        let database = |fault| Some((fault, String::new()));
        let no_chain = |why: &str| Some(Err(why.to_owned()));
        let chain = |change: fn(&mut OnChain)| {
            let mut seen = well();
            let Some(Ok(on_chain)) = &mut seen.chain else { unreachable!() };
            change(on_chain);
            seen
        };
        for (seen, code) in [
            (HereSeen { key: key(KeyFault::Missing), ..well() }, "key-missing"),
            (HereSeen { key: key(KeyFault::Unreadable), ..well() }, "key-unreadable"),
            (HereSeen { key: key(KeyFault::TooOpen), ..well() }, "key-too-open"),
            (HereSeen { key: key(KeyFault::Passphrase), ..well() }, "key-passphrase"),
            (HereSeen { key: key(KeyFault::Invalid), ..well() }, "key-invalid"),
            (HereSeen { wallet: Some(String::new()), ..well() }, "wallet-unreadable"),
            (HereSeen { database: database(DatabaseFault::Unwritable), ..well() }, "database-unwritable"),
            (HereSeen { database: database(DatabaseFault::Damaged), ..well() }, "database-damaged"),
            (HereSeen { database: database(DatabaseFault::Gone), ..well() }, "database-gone"),
            (HereSeen { database: database(DatabaseFault::Foreign), ..well() }, "database-foreign"),
            (HereSeen { database: database(DatabaseFault::Newer), ..well() }, "database-newer"),
            (HereSeen { database: database(DatabaseFault::Outdated), ..well() }, "database-outdated"),
            (
                HereSeen {
                    little_room: LittleRoom::of(Kept::Database, "/x", 1).into_iter().collect(),
                    ..well()
                },
                "disk-full-here",
            ),
            (
                HereSeen {
                    little_room: LittleRoom::of(Kept::AuditLog, "/x", 1).into_iter().collect(),
                    ..well()
                },
                "audit-disk-full-here",
            ),
            (HereSeen { chain: no_chain("down"), ..well() }, "chain-unreachable"),
            (chain(|chain| chain.registered = false), "not-registered"),
            (chain(|chain| chain.axon = None), "axon-missing"),
            (chain(|chain| chain.axon = Some("203.0.113.8:1".parse().unwrap())), "axon-differs"),
            (chain(|chain| chain.block_time = Some(Timestamp(1_750_000_100_000))), "clock-here"),
            (chain(|chain| chain.block_time = Some(Timestamp(1_749_999_000_000))), "clock-here"),
            (HereSeen { reached: Some(Reached::No(String::new())), ..well() }, "axon-unreachable"),
            (HereSeen { reached: Some(Reached::Unclear(String::new())), ..well() }, "axon-unknown"),
            (HereSeen { presence: Presence::Absent, ..well() }, "not-running"),
            (
                HereSeen {
                    taken: vec![("0.0.0.0:1".parse().unwrap(), "health.listen", String::new())],
                    presence: Presence::Absent,
                    ..well()
                },
                "port-taken",
            ),
            (HereSeen { nodes: 0, ..well() }, "no-nodes"),
            (HereSeen { notices: vec![String::new()], ..well() }, "config-notice"),
            (HereSeen { prover: Some(String::new()), ..well() }, "no-prover"),
        ] {
            assert_eq!(codes(&seen), [code]);
        }
    }
}
