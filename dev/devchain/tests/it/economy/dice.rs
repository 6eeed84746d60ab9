//! Where choices come from: a random number and what there is on the chain of now.
//!
//! What a random number makes is something that a call often succeeds with: amounts, uids, salts and names come from few values,
//! so that a reveal meets its commit and a withdrawal its stake.

use std::collections::BTreeMap;
use std::sync::Mutex;

use basilica_devchain::runtime::newtypes::{MechId, NetUid};
use basilica_devchain::runtime::subtensor::commits::Reveal;
use basilica_devchain::runtime::subtensor::timelocked::Ciphertext;
use basilica_devchain::runtime::subtensor::weights::storage_index;
use basilica_devchain::runtime::{AccountId, Runtime, SubtensorModule, drand, subtensor};
use basilica_timelock::{Round, WeightsPayload, encrypt};
use basilica_types::Hotkey;
use rand_chacha::ChaCha20Rng;
use rand_core::{RngCore as _, SeedableRng as _};
use sp_core::H256;

use crate::support::account_of;

pub(super) const SUBNET: NetUid = NetUid(39);
/// Coldkeys with a balance; the last owns the subnet, the one before the first validator.
pub(super) const COLDKEYS: [&str; 4] = ["//Alice", "//Bob", "//Validator1Cold", "//OwnerCold"];
/// Hotkeys that are registered from the start.
pub(super) const HOTKEYS: [&str; 5] = ["//Owner", "//Validator1", "//Validator2", "//Miner1", "//Miner2"];
/// Hotkeys that may be registered later.
pub(super) const NEWCOMERS: [&str; 5] = ["//New1", "//New2", "//New3", "//New4", "//New5"];

/// What calls can refer to on the chain of now.
#[derive(Debug, Default)]
pub(super) struct Facts {
    /// The beacon's last round.
    round: u64,
    /// Hotkey, coldkey, subnet and alpha.
    positions: Vec<(AccountId, AccountId, NetUid, u64)>,
    /// Hotkey, subnet, mechanism and hash of commits that can be revealed.
    pub(super) commits: Vec<(AccountId, NetUid, MechId, H256)>,
    /// Subnets with their owners.
    pub(super) subnets: Vec<(NetUid, AccountId)>,
    /// Those that emit nothing yet.
    pub(super) unstarted: Vec<NetUid>,
}

impl Facts {
    /// Reads the state at hand.
    pub(super) fn now() -> Self {
        let positions = subtensor::Alpha::<Runtime>::iter_keys().map(|(hotkey, coldkey, netuid)| {
            let stake = SubtensorModule::stake_of(&hotkey, &coldkey, netuid).0;
            (hotkey, coldkey, netuid, stake)
        });
        let commits = subtensor::WeightCommits::<Runtime>::iter().flat_map(|(index, hotkey, commits)| {
            let mecid = MechId(u8::try_from(index.0 / 4_096).expect("few"));
            let netuid = NetUid(index.0 % 4_096);
            let ripe = move |dated| SubtensorModule::is_reveal_epoch(netuid, dated);
            let ripe = commits.into_iter().filter(move |commit| ripe(commit.1));
            ripe.map(move |commit| (hotkey.clone(), netuid, mecid, commit.0))
        });
        Self {
            round: drand::LastStoredRound::<Runtime>::get(),
            positions: positions.collect(),
            commits: commits.collect(),
            unstarted: SubtensorModule::netuids()
                .into_iter()
                .filter(|netuid| !subtensor::FirstEmissionBlockNumber::<Runtime>::contains_key(netuid))
                .collect(),
            subnets: subtensor::SubnetOwner::<Runtime>::iter().collect(),
        }
    }
}

/// Where choices come from.
pub(super) struct Dice<'chain> {
    random: ChaCha20Rng,
    pub(super) facts: &'chain Facts,
}

impl<'chain> Dice<'chain> {
    pub(super) fn new(seed: u64, facts: &'chain Facts) -> Self {
        Self { random: ChaCha20Rng::seed_from_u64(seed), facts }
    }

    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.random.next_u64() % bound
    }

    pub(super) fn flag(&mut self) -> bool {
        self.below(2) == 0
    }

    pub(super) fn pick<V: Clone>(&mut self, of: &[V]) -> V {
        let position = self.below(of.len() as u64);
        of[usize::try_from(position).expect("small")].clone()
    }

    /// Mostly what somebody may have, sometimes an edge.
    pub(super) fn amount(&mut self) -> u64 {
        match self.below(8) {
            0 => {
                self.pick(&[0, 1, 499, 500, 501, 1_999_999, 2_000_000, u64::MAX / 2, u64::MAX - 1, u64::MAX])
            }
            1 => self.random.next_u64(),
            2 => 2_000_000 + self.below(100_000_000_000_000),
            _ => 2_000_000 + self.below(1_000_000_000_000),
        }
    }

    pub(super) fn number(&mut self) -> u16 {
        match self.below(4) {
            0 => u16::MAX,
            1 => u16::try_from(self.below(65_536)).expect("16 bits"),
            _ => u16::try_from(self.below(20)).expect("small"),
        }
    }

    pub(super) fn byte(&mut self) -> u8 {
        u8::try_from(self.below(256)).expect("8 bits")
    }

    pub(super) fn mecid(&mut self) -> MechId {
        MechId(self.pick(&[0, 0, 0, 0, 0, 1, 2, 255]))
    }

    pub(super) fn netuid(&mut self) -> NetUid {
        let known = [SUBNET, SUBNET, SUBNET, SUBNET, NetUid(1), NetUid(2), NetUid::ROOT, NetUid(u16::MAX)];
        self.pick(&known)
    }

    /// Mostly the subnet that has neurons from the start.
    pub(super) fn main_netuid(&mut self) -> NetUid {
        if self.below(8) == 0 { self.netuid() } else { SUBNET }
    }

    pub(super) fn hotkey(&mut self) -> AccountId {
        let of = if self.below(4) == 0 { &NEWCOMERS } else { &HOTKEYS };
        account_of(self.pick(of))
    }

    /// One of some, if there are any.
    pub(super) fn chance<V: Clone>(&mut self, of: &[V]) -> Option<V> {
        (!of.is_empty()).then(|| self.pick(of))
    }

    /// A position: often one that the signer has, with a part of it or a little more.
    pub(super) fn position(&mut self, signer: &str) -> (AccountId, NetUid, u64) {
        let signer = account_of(signer);
        let own: Vec<_> =
            self.facts.positions.iter().filter(|(_, coldkey, ..)| *coldkey == signer).cloned().collect();
        match self.chance(&own) {
            Some((hotkey, _, netuid, all)) if self.below(4) > 0 => {
                let part = self.pick(&[all, all, all / 2, all / 3, all / 1_000, all.saturating_add(1)]);
                (hotkey, netuid, part)
            }
            _ => (self.hotkey(), self.netuid(), self.amount()),
        }
    }

    pub(super) fn coldkey(&mut self) -> AccountId {
        account_of(self.pick(&COLDKEYS))
    }

    pub(super) fn bytes(&mut self, most: u64) -> Vec<u8> {
        (0..self.below(most + 1)).map(|_| self.byte()).collect()
    }

    /// Weights, mostly on neurons that exist.
    pub(super) fn weights(&mut self) -> (Vec<u16>, Vec<u16>) {
        let first = self.pick(&[0, 3, 4, 5]);
        let mut uids: Vec<u16> = (first..6).collect();
        if self.below(8) == 0 {
            uids.push(self.number());
        }
        let mut values: Vec<u16> = uids.iter().map(|_| self.number()).collect();
        if self.below(16) == 0 {
            values.pop();
        }
        (uids, values)
    }

    pub(super) fn commit(&mut self, signer: &str, netuid: NetUid, mecid: MechId) -> H256 {
        let salt = u16::try_from(self.below(3)).expect("small");
        reveal(salt).hash::<Runtime>(&account_of(signer), storage_index(netuid, mecid))
    }

    /// A reveal, often of a commit that there is.
    pub(super) fn reveal(&mut self, signer: &str) -> (NetUid, MechId, Reveal) {
        let signer = account_of(signer);
        let own: Vec<_> =
            self.facts.commits.iter().filter(|(hotkey, ..)| *hotkey == signer).cloned().collect();
        match self.chance(&own) {
            Some((_, netuid, mecid, hash)) if self.below(8) > 0 => {
                let index = storage_index(netuid, mecid);
                let is_it = |salt: &u16| reveal(*salt).hash::<Runtime>(&signer, index) == hash;
                (netuid, mecid, reveal((0..3).find(is_it).unwrap_or(0)))
            }
            _ => (self.netuid(), self.mecid(), reveal(0)),
        }
    }

    /// Weights under a timelock that opens in a few rounds, or what opens to nothing.
    pub(super) fn sealed(&mut self, signer: &'static str) -> (Ciphertext, u64) {
        let round = self.facts.round + 1 + self.below(4);
        (sealed(round, signer, self.below(4) > 0), round)
    }
}

fn reveal(salt: u16) -> Reveal {
    Reveal { uids: vec![4, 5], values: vec![salt + 1, 7], salt: vec![salt; 4], version_key: 0 }
}

/// Encrypting takes long where nothing is optimised, and the sequences have the same rounds.
fn sealed(round: u64, signer: &'static str, opens: bool) -> Ciphertext {
    type Known = BTreeMap<(u64, &'static str, bool), Ciphertext>;
    static KNOWN: Mutex<Known> = Mutex::new(BTreeMap::new());
    let fresh = || {
        let hotkey = Hotkey::from_bytes(account_of(signer).into());
        let weights = WeightsPayload::new(&hotkey, vec![4, 5], vec![3, 9], 0).to_bytes();
        let payload = if opens { weights } else { vec![7; 9] };
        let mut random = ChaCha20Rng::seed_from_u64(round);
        let bytes = encrypt(&drand::development_key(), Round(round), &payload, &mut random);
        bytes.expect("short").try_into().expect("short")
    };
    let mut known = KNOWN.lock().expect("nothing panics under the lock");
    known.entry((round, signer, opens)).or_insert_with(fresh).clone()
}
