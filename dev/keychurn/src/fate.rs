//! What befalls the miner, its nodes and the subnet.

use std::sync::Arc;
use std::time::Duration;

use basilica_localnet::nodes::NodeHosts;
use basilica_testkit::{Devchain, hotkey};
use codec::Encode as _;
use rustix::process::Signal;
use serde_json::Value;
use tokio::task::JoinSet;

use crate::dice::Dice;
use crate::lateness::{BOUND, SETTLING, Why};
use crate::miner::{Miner, Variant};
use crate::world::World;

const TICK: Duration = Duration::from_millis(50);
/// Longer than a miner gives its nodes and itself when it is told to end.
const ENDING: Duration = Duration::from_secs(40);
const SUBNET: u16 = 39;
/// `SubtensorModule.add_stake`.
const ADD_STAKE: [u8; 2] = [7, 2];
/// Who buys stake for validators.
pub(crate) const STAKER: &str = "//Bob";
pub(crate) const STAKE_RAO: u64 = 100_000_000_000_000;

/// What falls on the miner, its nodes or the subnet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Blow {
    /// SIGKILL.
    Kill,
    /// SIGTERM.
    End,
    /// Another validator has the most stake.
    Stakes,
    /// `sessions revoke --validator`.
    RevokeOne,
    /// `sessions revoke --all`.
    RevokeAll,
    /// A node is not listed for a while.
    Unlist,
    /// `nodes drain`.
    Drain,
}

const BLOWS_PER_CALM: usize = 20;
/// Each once.
const BLOWS: [Blow; 7] =
    [Blow::Kill, Blow::End, Blow::Stakes, Blow::RevokeOne, Blow::RevokeAll, Blow::Unlist, Blow::Drain];
const VARIANTS: [Variant; 3] = [Variant::Open, Variant::OpenToFew, Variant::HighestStake];

pub(crate) struct Fate {
    pub(crate) world: Arc<World>,
    pub(crate) dice: Dice,
    pub(crate) miner: Miner,
    pub(crate) chain: Devchain,
    pub(crate) hosts: NodeHosts,
    /// What each validator has.
    pub(crate) stakes: Vec<u64>,
    hung: Vec<(usize, Duration)>,
    out: Option<(usize, Why, Duration)>,
    /// What has not happened yet, and has to before anything happens again.
    blows: Vec<Blow>,
    variants: Vec<Variant>,
    struck: usize,
    next_blow: Duration,
    next_hang: Duration,
    commands: JoinSet<()>,
}

impl Fate {
    pub(crate) fn new(
        world: &Arc<World>,
        mut dice: Dice,
        (miner, chain, hosts): (Miner, Devchain, NodeHosts),
        validators: u8,
    ) -> Self {
        let world = Arc::clone(world);
        let now = world.now();
        let (blows, variants) = (dice.shuffled(&BLOWS), dice.shuffled(&VARIANTS));
        Self {
            world,
            dice,
            blows,
            variants,
            struck: 0,
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

    /// Until `enough`, and until everything has happened once. There are calms between the blows, and one in the end.
    pub(crate) async fn run(&mut self, mut enough: impl FnMut() -> bool) {
        while !enough() || !self.blows.is_empty() || !self.variants.is_empty() {
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
                self.struck += 1;
                if self.struck.is_multiple_of(BLOWS_PER_CALM) {
                    self.calm().await;
                }
                self.next_blow = self.world.now() + self.dice.millis(2_000, 8_000);
            }
        }
        self.calm().await;
    }

    /// Nothing befalls the miner until all keys are gone that have to go, or until they are later than they may be: a miner that is started
    /// looks at everything anew, and under nothing but blows would hide that it does not otherwise.
    async fn calm(&mut self) {
        self.release(Duration::MAX).await;
        while self.commands.join_next().await.is_some() {}
        tokio::time::sleep(SETTLING).await;
        self.switch();
        self.order(&["--json", "sessions", "revoke", "--all", "--yes"], None);
        let how = *self.dice.of(&[Why::Unlisted, Why::Drained]);
        self.take_out(how, self.world.now());
        let until = self.world.now() + BOUND + SETTLING;
        while self.world.now() < until {
            tokio::time::sleep(TICK).await;
            while self.commands.try_join_next().is_some() {}
            if self.commands.is_empty() && self.world.clerk().due() == 0 {
                break;
            }
        }
        self.world.count("calms");
    }

    /// Nodes whose time is over answer again.
    async fn release(&mut self, now: Duration) {
        let (over, rest): (Vec<_>, Vec<_>) = self.hung.drain(..).partition(|(_, until)| *until <= now);
        self.hung = rest;
        for (node, _) in over {
            self.hosts.nodes_mut()[node].resume().await.unwrap();
            self.world.sheets[node].rest(false, self.world.now());
            self.world.clerk().hangs(node, false, self.world.now());
        }
        if let Some((node, how, until)) = self.out
            && until <= now
        {
            self.out = None;
            self.world.clerk().back(node);
            match how {
                Why::Unlisted => self.list(None),
                _ => self.order(&["nodes", "undrain"], Some(node)),
            }
        }
    }

    async fn hang(&mut self, now: Duration) {
        let node = self.dice.below(self.hosts.nodes().len());
        let until = now + self.dice.millis(300, 5_000);
        if self.hung.len() >= 2 || self.hung.iter().any(|(other, _)| *other == node) {
            return;
        }
        self.world.sheets[node].rest(true, now);
        self.world.clerk().hangs(node, true, now);
        self.hosts.nodes_mut()[node].hang().await.unwrap();
        self.hung.push((node, until));
        self.world.count("nodes hung");
    }

    async fn strike(&mut self, now: Duration) {
        let blow = self.blows.pop().unwrap_or_else(|| match self.dice.below(20) {
            0..8 => Blow::Kill,
            8..10 => Blow::End,
            10..14 => Blow::Stakes,
            14 => Blow::RevokeAll,
            15..17 => Blow::RevokeOne,
            17 => Blow::Unlist,
            _ => Blow::Drain,
        });
        match blow {
            Blow::Kill => {
                self.miner.kill();
                self.world.clerk().ended();
                self.world.count("the miner killed");
                tokio::time::sleep(self.dice.millis(0, 1_500)).await;
                self.start_again();
            }
            Blow::End => self.end_and_start().await,
            Blow::Stakes => self.switch(),
            Blow::RevokeAll => self.order(&["--json", "sessions", "revoke", "--all", "--yes"], None),
            Blow::RevokeOne => {
                let whose = hotkey(&validator(self.dice.below(self.stakes.len()))).to_string();
                self.order(&["--json", "sessions", "revoke", "--yes", "--validator", &whose], None);
            }
            // One at a time; it falls later.
            Blow::Unlist | Blow::Drain if self.out.is_some() => self.blows.insert(0, blow),
            Blow::Unlist => self.take_out(Why::Unlisted, now),
            Blow::Drain => self.take_out(Why::Drained, now),
        }
    }

    pub(crate) fn start_again(&mut self) {
        let variant = self.variants.pop().unwrap_or_else(|| match self.dice.below(10) {
            0..4 => Variant::Open,
            4..7 => Variant::OpenToFew,
            _ => Variant::HighestStake,
        });
        self.miner.start(variant, self.dice.below(3) == 0);
        self.world.clerk().started(variant == Variant::HighestStake, self.world.now());
        self.world.count(variant.name());
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
        self.world.clerk().ended();
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

    fn take_out(&mut self, how: Why, now: Duration) {
        let node = self.dice.below(self.hosts.nodes().len());
        let until = now + self.dice.millis(1_000, 8_000);
        self.out = Some((node, how, until));
        if how == Why::Unlisted {
            self.list(Some(node));
            let mut clerk = self.world.clerk();
            let ticket = clerk.ticket(node);
            clerk.out(node, how, ticket);
            self.world.count("nodes unlisted");
        } else {
            self.order(&["nodes", "drain"], Some(node));
        }
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
        let mut command = self.miner.command(&arguments);
        let world = Arc::clone(&self.world);
        let (what, began) = (arguments.contains(&"sessions").then_some(()), world.now());
        let drains = arguments.contains(&"drain").then_some(node).flatten();
        let drains = drains.map(|node| (node, world.clerk().ticket(node)));
        self.commands.spawn(async move {
            let ended = command.output().await.unwrap();
            match (what, ended.status.success()) {
                (Some(()), _) => {
                    let sessions = revoked(&ended.stdout);
                    world.count(if sessions.is_empty() { "revocations of nothing" } else { "revocations" });
                    world.clerk().revoked(sessions, began);
                }
                (None, true) => {
                    if let Some((node, ticket)) = drains {
                        world.clerk().out(node, Why::Drained, ticket);
                    }
                    world.count(if drains.is_some() { "nodes drained" } else { "nodes undrained" });
                }
                (None, false) => world.count("drain or undrain failed: the node was not listed"),
            }
        });
    }

    /// Everything is as it should be again, but for what was deployed: all nodes answer and are listed, and a miner runs.
    pub(crate) async fn relent(&mut self) {
        self.release(Duration::MAX).await;
        for node in 0..self.hosts.nodes().len() {
            self.world.clerk().back(node);
        }
        while self.commands.join_next().await.is_some() {}
        for node in self.hosts.nodes() {
            // Most were not taken out.
            self.miner.command(&["nodes", "undrain", &node.address().to_string()]).output().await.unwrap();
        }
        if self.miner.ended().is_some() || self.miner.child.is_none() {
            self.start_again();
        }
        // Some have long to live.
        self.order(&["--json", "sessions", "revoke", "--all", "--yes"], None);
        while self.commands.join_next().await.is_some() {}
    }
}

/// The sessions that the command says it revoked.
fn revoked(said: &[u8]) -> Vec<String> {
    let said: Value = serde_json::from_slice(said).unwrap_or_default();
    let sessions = said["revoked"].as_array().cloned().unwrap_or_default();
    sessions.iter().filter_map(|session| Some(session["id"].as_str()?.to_owned())).collect()
}

/// The development name of the validator with this number.
pub(crate) fn validator(at: usize) -> String {
    format!("//Validator{}", at + 1)
}
