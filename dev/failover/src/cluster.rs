//! The two validators, what they share, and what befalls them.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use basilica_localnet::nodes::{Lan, Reach, Station};
use basilica_ports::Entropy;
use basilica_postgres::Postgres;
use basilica_system::OsEntropy;
use basilica_testkit::{Devchain, eventually, hotkey};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::runtime::{Handle, RuntimeFlavor};

use crate::history::Record;
use crate::link::Link;
use crate::member::Member;
use crate::observer::Observer;
use crate::relay::Relay;
use crate::seed;

const SUBNET: u16 = 39;
const NAMES: [&str; 2] = ["val-1", "val-2"];

/// What befalls the leader, or all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// SIGKILL.
    Kill,
    /// SIGSTOP until the other one leads, and then SIGCONT.
    Pause,
    /// It is cut off until the other one leads, and then healed: on one machine from the database, which what was held back then
    /// reaches; in a namespace of its own from everything, without anybody being told.
    Partition,
    /// SIGTERM.
    Terminate,
    /// The database crashes and is started again.
    Restart,
}

fn genesis() -> Value {
    json!({ "profile": "newest", "block_time_ms": 200, "tempo": 10, "weights_rate_limit": 2,
        "commit_reveal": false, "drand_period_s": 1 })
}

/// Two validators on one Postgres and one chain.
#[derive(Debug)]
pub struct Cluster {
    members: [Member; 2],
    chain: Devchain,
    postgres: Postgres,
    observer: Observer,
    skewed: bool,
    /// Ends after those who are in it.
    _lan: Option<Lan>,
    _home: TempDir,
}

impl Cluster {
    /// Starts all of it, and waits until one leads and writes. `skews` are the seconds that each validator's clock is ahead.
    pub async fn start(skews: [i64; 2]) -> Self {
        let postgres = Postgres::start();
        let chain = Devchain::start(&genesis(), &[]);
        let mut links = Vec::new();
        for _ in NAMES {
            let relay = Relay::before(postgres.socket()).await;
            links.push((relay.address, Link::Relay(relay)));
        }
        Self::begin(postgres, chain, None, links, skews).await
    }

    /// The same with each validator in a network namespace of its own, and database and chain in another. The calling thread
    /// moves there: call it first, on a single-threaded runtime.
    ///
    /// # Panics
    /// Where no namespaces can be made.
    pub async fn start_apart() -> Self {
        assert!(
            Handle::current().runtime_flavor() == RuntimeFlavor::CurrentThread,
            "only the thread that starts the network is in it"
        );
        let lan = Lan::start(Reach::Entrants).await.unwrap_or_else(|error| panic!("{error}"));
        lan.enter().unwrap();
        let here = IpAddr::V4(lan.gateway());
        let postgres = Postgres::start_on(here);
        let chain = Devchain::start_on(here, &genesis(), &[]);
        let mut links = Vec::new();
        for index in 0..NAMES.len() {
            let station = Station::start(&lan, index).await.unwrap();
            links.push((postgres.address().expect("it listens"), Link::Station(Box::new(station))));
        }
        Self::begin(postgres, chain, Some(lan), links, [0, 0]).await
    }

    async fn begin(
        postgres: Postgres,
        chain: Devchain,
        lan: Option<Lan>,
        links: Vec<(SocketAddr, Link)>,
        skews: [i64; 2],
    ) -> Self {
        let url = postgres.database();
        seed::serve_axons(&chain, SUBNET);
        seed::fill(&url.parse().unwrap()).await;
        let mut observer = Observer::new(&url);
        observer.install().await;
        let home = tempfile::tempdir().unwrap();
        let mut members = Vec::new();
        for ((name, skew), (database, link)) in NAMES.into_iter().zip(skews).zip(links) {
            members.push(Member::new(home.path(), name, link, (database, &chain.url), skew));
        }
        let members = <[Member; 2]>::try_from(members).unwrap_or_else(|_| unreachable!("two names"));
        let skewed = skews[0] != skews[1];
        let mut cluster = Self { members, chain, postgres, observer, skewed, _lan: lan, _home: home };
        cluster.members[0].start();
        cluster.members[0].until_role("leader").await;
        cluster.members[1].start();
        cluster.members[1].until_role("standby").await;
        cluster.observer.write_after(0).await;
        cluster
    }

    fn leader(&self) -> usize {
        let leads = |member: &Member| member.role().as_deref() == Some("leader");
        self.members.iter().position(leads).unwrap_or_else(|| panic!("nobody leads:\n{}", self.tails()))
    }

    /// Has something befall the leader, once it has done something and then at a moment drawn at random; returns how long it took until the next one's first write was committed. Leaves
    /// both up, one of them leading.
    pub async fn strike(&mut self, fault: Fault) -> Duration {
        let old = self.leader();
        let token = self.observer.token().await.expect("the server is up");
        if self.skewed {
            // Whose clock is behind finds no node due after the other one has led.
            self.observer.writes_under(token).await;
        } else {
            self.observer.verdicts_under(token).await;
        }
        // At any point between two renewals of its lease.
        let chance: [u8; 1] = (&OsEntropy as &dyn Entropy).array();
        tokio::time::sleep(Duration::from_millis(u64::from(chance[0]) * 4)).await;
        if fault == Fault::Restart {
            return self.restart_database().await;
        }
        let began = now();
        match fault {
            Fault::Kill => self.members[old].kill(),
            Fault::Pause => self.members[old].pause(),
            Fault::Partition => self.members[old].link.cut().await,
            Fault::Terminate => self.members[old].terminate(),
            Fault::Restart => {}
        }
        self.observer.write_after_token(token).await;
        let took = began.elapsed();
        match fault {
            Fault::Kill => self.members[old].start(),
            Fault::Pause => self.members[old].resume(),
            Fault::Partition => {
                // It knows by its own clock that it does not lead: nobody can have told it.
                let role = self.members[old].role();
                assert!(role.as_deref().is_some_and(|role| role != "leader"), "cut off, it is {role:?}");
                self.members[old].link.heal().await;
            }
            Fault::Terminate => {
                self.members[old].ended();
                self.members[old].start();
            }
            Fault::Restart => {}
        }
        self.members[old].until_role("standby").await;
        assert_eq!(self.members[1 - old].role().as_deref(), Some("leader"));
        took
    }

    async fn restart_database(&mut self) -> Duration {
        let before = self.observer.last_write().await.expect("the server is up");
        let began = now();
        self.postgres.crash();
        self.postgres.start_again();
        self.observer.write_after(before).await;
        let took = began.elapsed();
        let members = &self.members;
        eventually("one leads and the other stands by", || {
            let mut roles = members.each_ref().map(Member::role);
            roles.sort();
            roles == [Some("leader".to_owned()), Some("standby".to_owned())]
        })
        .await;
        took
    }

    /// What each validator says of a page, the leader first.
    pub fn pages(&self, path: &str) -> [Option<Value>; 2] {
        let leader = self.leader();
        [leader, 1 - leader].map(|member| self.members[member].get(path))
    }

    /// Waits until so many windows of weights were opened.
    pub async fn until_windows(&mut self, count: usize) {
        let wait = async {
            while self.observer.calls().await.len() < count {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let came = tokio::time::timeout(Duration::from_secs(60), wait).await;
        assert!(came.is_ok(), "no {count} windows within a minute:\n{}", self.tails());
    }

    /// Ends both the hard way and tells all that is known of the run.
    pub async fn end(mut self) -> Record {
        for member in &mut self.members {
            member.kill();
        }
        // What they had submitted is taken or not, before it is counted.
        let end = self.height() + 3;
        eventually("the chain goes on", || self.height() >= end).await;
        self.chain.stand_still();
        let mut acknowledged = BTreeSet::new();
        for member in &self.members {
            for line in member.log().lines() {
                let Ok(line) = serde_json::from_str::<Value>(line) else { continue };
                acknowledged.extend(line["verdict.digest"].as_str().map(str::to_owned));
            }
        }
        Record {
            writes: self.observer.writes().await,
            verdicts: self.observer.verdicts().await,
            acknowledged,
            calls: self.observer.calls().await,
            extrinsics: self.chain.extrinsics().into_iter().map(|(_, bytes)| bytes).collect(),
            nonce: self.chain.nonce(&hotkey("//Validator1")),
        }
    }

    fn height(&self) -> u64 {
        let header = self.chain.ask("chain_getHeader", &json!([]));
        u64::from_str_radix(header["number"].as_str().unwrap().trim_start_matches("0x"), 16).unwrap()
    }

    /// The ends of both logs.
    pub fn tails(&self) -> String {
        self.members.iter().map(|member| format!("== {}\n{}\n", member.name, member.tail())).collect()
    }
}

#[expect(clippy::disallowed_methods, reason = "how long real processes take is what is measured")]
fn now() -> Instant {
    Instant::now()
}
