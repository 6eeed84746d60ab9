//! What befalls the miner, its nodes and the subnet.

use std::sync::Arc;
use std::time::Duration;

use basilica_localnet::nodes::NodeHosts;
use basilica_testkit::{Devchain, hotkey};
use codec::Encode as _;
use rustix::process::Signal;
use tokio::task::JoinSet;

use crate::dice::Dice;
use crate::miner::{Miner, Variant};
use crate::world::World;

const TICK: Duration = Duration::from_millis(50);
/// Commands under way at a time.
const COMMANDS: usize = 2;
/// Longer than a miner gives its nodes and itself when it is told to end.
const ENDING: Duration = Duration::from_secs(40);
const SUBNET: u16 = 39;
/// `SubtensorModule.add_stake`.
const ADD_STAKE: [u8; 2] = [7, 2];
/// Who buys stake for validators.
pub(crate) const STAKER: &str = "//Bob";
pub(crate) const STAKE_RAO: u64 = 100_000_000_000_000;

/// How a node was taken out.
#[derive(Clone, Copy)]
enum Out {
    /// It is not listed.
    Unlisted,
    /// `nodes drain`.
    Drained,
}

pub(crate) struct Fate {
    pub(crate) world: Arc<World>,
    pub(crate) dice: Dice,
    pub(crate) miner: Miner,
    pub(crate) chain: Devchain,
    pub(crate) hosts: NodeHosts,
    /// What each validator has.
    pub(crate) stakes: Vec<u64>,
    hung: Vec<(usize, Duration)>,
    out: Option<(usize, Out, Duration)>,
    next_blow: Duration,
    next_hang: Duration,
    commands: JoinSet<()>,
}

impl Fate {
    pub(crate) fn new(
        world: &Arc<World>,
        dice: Dice,
        (miner, chain, hosts): (Miner, Devchain, NodeHosts),
        validators: u8,
    ) -> Self {
        let world = Arc::clone(world);
        let now = world.now();
        Self {
            world,
            dice,
            miner,
            chain,
            hosts,
            stakes: vec![STAKE_RAO; usize::from(validators)],
            hung: Vec::new(),
            out: None,
            next_blow: now + Duration::from_secs(3),
            next_hang: now + Duration::from_secs(2),
            commands: JoinSet::new(),
        }
    }

    /// Until `enough`.
    pub(crate) async fn run(&mut self, mut enough: impl FnMut() -> bool) {
        while !enough() {
            tokio::time::sleep(TICK).await;
            let now = self.world.now();
            self.release(now).await;
            if let Some(status) = self.miner.ended() {
                let words = Miner::last_words(&self.miner.home);
                self.world.wrong(format!("the miner ended by itself with {status}:\n{words}"));
                self.start_again();
            }
            while self.commands.try_join_next().is_some() {}
            if now >= self.next_hang {
                self.hang(now).await;
                self.next_hang = self.world.now() + self.dice.millis(3_000, 9_000);
            }
            if now >= self.next_blow {
                self.strike(now).await;
                self.next_blow = self.world.now() + self.dice.millis(2_000, 8_000);
            }
        }
    }

    /// Nodes whose time is over answer again.
    async fn release(&mut self, now: Duration) {
        let (over, rest): (Vec<_>, Vec<_>) = self.hung.drain(..).partition(|(_, until)| *until <= now);
        self.hung = rest;
        for (node, _) in over {
            self.hosts.nodes_mut()[node].resume().await.unwrap();
            self.world.sheets[node].rest(false);
        }
        if let Some((node, how, until)) = self.out
            && until <= now
        {
            self.out = None;
            match how {
                Out::Unlisted => self.list(None),
                Out::Drained => self.order(&["nodes", "undrain"], Some(node)),
            }
        }
    }

    async fn hang(&mut self, now: Duration) {
        let node = self.dice.below(self.hosts.nodes().len());
        let until = now + self.dice.millis(300, 5_000);
        if self.hung.len() >= 2 || self.hung.iter().any(|(other, _)| *other == node) {
            return;
        }
        self.world.sheets[node].rest(true);
        self.hosts.nodes_mut()[node].hang().await.unwrap();
        self.hung.push((node, until));
        self.world.count("nodes hung");
    }

    async fn strike(&mut self, now: Duration) {
        match self.dice.below(20) {
            0..8 => {
                self.miner.kill();
                self.world.count("the miner killed");
                tokio::time::sleep(self.dice.millis(0, 1_500)).await;
                self.start_again();
            }
            8..10 => self.end_and_start().await,
            10..14 => self.switch(),
            14..17 => self.revoke(),
            _ => self.take_out(now),
        }
    }

    pub(crate) fn start_again(&mut self) {
        let variant = match self.dice.below(10) {
            0..6 => Variant::Open,
            6..8 => Variant::OpenToFew,
            _ => Variant::HighestStake,
        };
        self.miner.start(variant, self.dice.below(3) == 0);
        self.world.count("the miner started");
    }

    /// Ends it in order; where it takes its keys along, no node is in its way.
    async fn end_and_start(&mut self) {
        self.release(Duration::MAX).await;
        self.end().await;
        self.world.count("the miner ended in order");
        self.start_again();
    }

    pub(crate) async fn end(&mut self) {
        self.miner.signal(Signal::TERM);
        let miner = &mut self.miner;
        let ended = async {
            loop {
                if let Some(status) = miner.ended() {
                    return status;
                }
                tokio::time::sleep(TICK).await;
            }
        };
        match tokio::time::timeout(ENDING, ended).await {
            Ok(status) if status.success() => {}
            Ok(status) => self.world.wrong(format!("told to end, the miner ended with {status}")),
            Err(_) => self.world.wrong(format!("told to end, the miner did not within {ENDING:?}")),
        }
        self.miner.kill();
    }

    /// Another validator has the most stake from now on.
    fn switch(&mut self) {
        let most = self.stakes.iter().max().copied().unwrap_or_default();
        let behind: Vec<usize> = (0..self.stakes.len()).filter(|at| self.stakes[*at] < most).collect();
        let chosen = if behind.is_empty() { 0 } else { *self.dice.of(&behind) };
        let amount = most - self.stakes[chosen] + most / 30;
        let account = hotkey(&validator(chosen));
        let call = [&ADD_STAKE[..], account.as_bytes(), &(SUBNET, amount).encode()].concat();
        self.chain.submit(STAKER, &call);
        self.stakes[chosen] += amount;
        self.world.count("stakes changed");
    }

    fn revoke(&mut self) {
        let whose = hotkey(&validator(self.dice.below(self.stakes.len()))).to_string();
        if self.dice.below(3) == 0 {
            self.order(&["sessions", "revoke", "--all", "--yes"], None);
        } else {
            self.order(&["sessions", "revoke", "--yes", "--validator", &whose], None);
        }
    }

    fn take_out(&mut self, now: Duration) {
        if self.out.is_some() {
            return;
        }
        let node = self.dice.below(self.hosts.nodes().len());
        let until = now + self.dice.millis(1_000, 8_000);
        if self.dice.below(2) == 0 {
            self.list(Some(node));
            self.out = Some((node, Out::Unlisted, until));
        } else {
            self.order(&["nodes", "drain"], Some(node));
            self.out = Some((node, Out::Drained, until));
        }
        self.world.count("nodes taken out");
    }

    /// Lists all nodes but this one; a miner that runs is told.
    fn list(&mut self, absent: Option<usize>) {
        self.miner.absent = absent;
        self.miner.configure();
        self.miner.signal(Signal::HUP);
    }

    /// Runs a command beside everything else. What it says is not looked at: the miner may be killed meanwhile, and nodes hang.
    fn order(&mut self, arguments: &[&str], node: Option<usize>) {
        let address = node.map(|node| self.hosts.nodes()[node].address().to_string());
        let arguments: Vec<&str> = arguments.iter().copied().chain(address.as_deref()).collect();
        if self.commands.len() >= COMMANDS && arguments[0] == "sessions" {
            return;
        }
        let mut command = self.miner.command(&arguments);
        let world = Arc::clone(&self.world);
        let sessions = arguments[0] == "sessions";
        self.commands.spawn(async move {
            let ended = command.output().await.unwrap();
            match (sessions, ended.status.success()) {
                (true, true) => world.count("sessions revoked"),
                (true, false) => world.count("sessions revoked: none open, or not gone from a node in time"),
                (false, true) => world.count("nodes drained or undrained"),
                (false, false) => world.count("drain or undrain failed: the node was not listed"),
            }
        });
    }

    /// Everything is as it should be again, but for what was deployed: all nodes answer and are listed, and a miner runs.
    pub(crate) async fn relent(&mut self) {
        self.release(Duration::MAX).await;
        while self.commands.join_next().await.is_some() {}
        for node in self.hosts.nodes() {
            // Most were not taken out.
            self.miner.command(&["nodes", "undrain", &node.address().to_string()]).output().await.unwrap();
        }
        if self.miner.ended().is_some() || self.miner.child.is_none() {
            self.start_again();
        }
    }
}

/// The development name of the validator with this number.
pub(crate) fn validator(at: usize) -> String {
    format!("//Validator{}", at + 1)
}
