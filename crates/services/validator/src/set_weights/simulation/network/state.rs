//! The chain behind the endpoints: its blocks, its pool, and what befalls them.

use basilica_ports::{
    Beacon, BeaconClock, ChainError, CommitReveal, Consensus, Effect, EpochClock, Expiry, FailureClass,
    OpenCommit, OpenCommitForm, OwnNeuron, PreparedWeights, WeightRules, WeightsCall, WeightsOrder,
    WeightsOutcome,
};
use basilica_types::{BlockHash, BlockNumber, Digest, Hotkey, Millis, NetUid, Rao, Timestamp};

use super::super::ledger::{FIRST_ROUND, Ledger, NETUID, OWN, ROUNDS, digest};
use super::super::memory::Memory;
use super::{BLOCK, Built, Fate, State, unreachable_now};

/// Blocks after which nothing is left of what was meddled with.
const CALM: u64 = 16;

impl State {
    pub(in super::super) fn head(&self) -> &Ledger {
        self.blocks.last().unwrap()
    }

    pub(in super::super) fn final_ledger(&self) -> &Ledger {
        self.at(self.finalized)
    }

    pub(super) fn at(&self, number: u64) -> &Ledger {
        &self.blocks[usize::try_from(number - self.blocks[0].number).unwrap()]
    }

    pub(in super::super) fn longest_life(&self) -> u64 {
        self.era + self.lag
    }

    pub(in super::super) fn begin_storm(&mut self) {
        self.stormy = true;
        self.calm_from = u64::MAX;
    }

    /// The storm is over: whatever somebody has to mend is mended, and what is left is as the owner wants it.
    pub(in super::super) fn calm(&mut self) {
        self.stormy = false;
        self.calm_from = self.head().number;
        (self.away_until, self.silent_until) = (0, 0);
        let knobs = &mut self.blocks.last_mut().unwrap().knobs;
        (knobs.permit, knobs.version_key, knobs.beacon_runs) = (true, 0, true);
    }

    /// Timelocked commits whose round was public before the epoch in which the chain opens them began, and how many were
    /// looked at: those that were signed when nothing had been meddled with for a while, since nobody can foresee that.
    pub(in super::super) fn early_rounds(&self) -> (usize, Vec<String>) {
        let last = usize::try_from(self.finalized - self.blocks[0].number).unwrap();
        let (mut judged, mut early) = (0, Vec::new());
        for (at, block) in self.blocks[..=last].iter().enumerate() {
            for (bytes, _) in &block.included {
                let Built { prepared, order, .. } = &self.built[bytes];
                let WeightsCall::CommitTimelocked { ciphertext, reveal_round, .. } = &order.call else {
                    continue;
                };
                let held = block.timelocked.iter().find(|commit| commit.ciphertext == *ciphertext);
                let (Some(held), true) = (held, prepared.born.0 >= self.calm_from.saturating_add(CALM))
                else {
                    continue;
                };
                judged += 1;
                let due = held.epoch + block.knobs.period;
                let opens = self.blocks[at..].iter().find(|later| later.epoch() >= due);
                let opens = opens.map_or(self.time + 1, |block| block.time);
                let public = reveal_round.saturating_sub(FIRST_ROUND).div_ceil(ROUNDS);
                if public < opens && public <= self.time {
                    let number = block.number;
                    early.push(format!(
                        "block {number} took a commit whose round was public at {public}, and its epoch begins at {opens}"
                    ));
                }
            }
        }
        (judged, early)
    }

    pub(super) fn draw_fate(&mut self) -> (Fate, Option<Millis>) {
        if self.head().number < self.silent_until {
            return (Fate::Lost(unreachable_now()), None);
        }
        if !self.stormy {
            let slow = self.busy && self.rng.one_in(3);
            return (Fate::Answers, slow.then(|| Millis::from_secs(1 + self.rng.below(30))));
        }
        let delay = self.rng.one_in(12).then(|| Millis::from_secs(1 + self.rng.below(40)));
        let fate = match self.rng.below(100) {
            0..4 => Fate::Lost(unreachable_now()),
            4..7 => Fate::Unheard(ChainError::Deadline { call: "simulated" }),
            7..9 => Fate::Unheard(ChainError::Call { call: "simulated", source: "connection reset".into() }),
            9 if self.head().number < self.away_until => Fate::Answers,
            _ if self.head().number < self.away_until => {
                let item = "SubtensorModule.CommitRevealWeightsEnabled";
                Fate::Lost(ChainError::Unsupported { item, spec_version: 436 })
            }
            _ => Fate::Answers,
        };
        (fate, delay)
    }

    /// An endpoint may be some blocks behind.
    pub(super) fn seen_block(&mut self) -> u64 {
        let behind = if self.stormy && self.rng.one_in(8) { self.rng.below(6) } else { 0 };
        (self.finalized - behind.min(self.finalized - self.blocks[0].number)).max(self.blocks[0].number)
    }

    pub(super) fn tick(&mut self, own: &Hotkey, store: &Memory) {
        if self.stormy {
            self.reorganise();
            self.meddle();
        }
        let mut next = self.head().next(own);
        if self.stormy && self.rng.one_in(25) {
            // Another process signs with the same hotkey.
            next.nonce += 1;
        }
        self.time += 1;
        next.time = self.time;
        if next.knobs.beacon_runs {
            // A beacon that was down catches up.
            next.round = next.round.max(FIRST_ROUND + self.time * ROUNDS);
        }
        let mut waiting = std::mem::take(&mut self.pool);
        waiting.sort_by_key(|bytes| self.built[bytes].prepared.nonce);
        for bytes in waiting {
            let Built { prepared, order, spec } = self.built[&bytes].clone();
            if next.number > prepared.dies.0 || prepared.nonce < next.nonce || spec != next.spec {
                continue;
            }
            if prepared.nonce == next.nonce && next.refuses(own, &order).is_some() {
                continue;
            }
            let forgotten = self.stormy && self.rng.one_in(8);
            let held_back = (self.busy && self.rng.one_in(2)) || (self.stormy && self.rng.one_in(4));
            let delayed = prepared.nonce > next.nonce || held_back;
            if delayed || forgotten {
                if !forgotten {
                    self.pool.push(bytes);
                }
                continue;
            }
            next.nonce += 1;
            // A refused call leaves nothing behind.
            let mut after = next.clone();
            let result = after.apply(own, &order);
            if result.is_ok() {
                next = after;
            }
            if store.holder(&bytes).is_none() {
                self.broken.push("a block took bytes that are in no window".to_owned());
            }
            next.included.push((bytes, result.err()));
        }
        self.blocks.push(next);
        let lag = if self.stormy && self.rng.one_in(10) { self.lag + 3 } else { self.lag };
        self.finalized =
            self.finalized.max(self.head().number.saturating_sub(lag)).max(self.blocks[0].number);
    }

    /// Drops blocks that are not final; their calls may or may not find back into the pool.
    fn reorganise(&mut self) {
        let depth = self.head().number - self.finalized;
        if depth == 0 || !self.rng.one_in(12) {
            return;
        }
        for _ in 0..=self.rng.below(depth) {
            let Some(dropped) = self.blocks.pop() else { return };
            for (bytes, _) in dropped.included {
                if !self.rng.one_in(3) {
                    self.pool.push(bytes);
                }
            }
            if self.head().number == self.finalized {
                return;
            }
        }
    }

    /// Owners, upgrades and epochs do what they may.
    fn meddle(&mut self) {
        let number = self.head().number;
        let (what, amount) = (self.rng.below(160), self.rng.below(8));
        if what == 0 {
            self.away_until = number + 4 + amount;
        }
        if what == 1 {
            self.silent_until = number + 4 + 2 * amount;
        }
        let head = self.blocks.last_mut().unwrap();
        let knobs = &mut head.knobs;
        match what {
            2..5 => knobs.commit_reveal = !knobs.commit_reveal,
            5..7 => knobs.tempo = 8 + u16::try_from(amount).unwrap(),
            7 => knobs.period = 1 + amount % 2,
            8..10 => knobs.rate_limit = amount,
            10..12 => knobs.permit = !knobs.permit,
            12 => knobs.version_key = if knobs.version_key == 0 { 9 } else { 0 },
            13..15 => knobs.beacon_runs = !knobs.beacon_runs,
            15 => head.pending = number + 1 + amount,
            // An upgrade that leaves every item as it was, and every signature void.
            17 | 18 => head.spec += 1,
            16 => {
                // Registered anew: the chain remembers nothing of before but the account.
                head.hashes.clear();
                head.timelocked.clear();
                head.weights.clear();
                (head.last_update, head.registered) = (number, number);
            }
            _ => {}
        }
    }

    pub(super) fn rules(&self, ledger: &Ledger) -> WeightRules {
        let knobs = &ledger.knobs;
        let hashes = ledger.hashes.iter().map(|(hash, epoch, block)| OpenCommit {
            form: OpenCommitForm::Hash(*hash),
            epoch: ledger.epoch_of_hash(*epoch, *block),
            block: BlockNumber(*block),
        });
        let timelocked = ledger.timelocked.iter().map(|commit| OpenCommit {
            form: OpenCommitForm::Timelocked { digest: digest(&commit.ciphertext), round: commit.round },
            epoch: commit.epoch,
            block: BlockNumber(commit.block),
        });
        WeightRules {
            block: BlockNumber(ledger.number),
            netuid: NetUid(NETUID),
            mechanism: ledger.mechanism,
            mechanism_exists: true,
            neurons: 4,
            uids: super::super::chain_view().metagraph.neurons.iter().map(|n| (n.hotkey, n.uid)).collect(),
            own: Some(OwnNeuron {
                uid: OWN,
                stake: Some(Rao(10)),
                is_owner: false,
                permit: knobs.permit,
                last_update: BlockNumber(ledger.last_update),
            }),
            stake_threshold: Rao(5),
            version_key: knobs.version_key,
            rate_limit: knobs.rate_limit,
            min_weights: 1,
            max_weight: u16::MAX,
            consensus: Consensus::Yuma,
            commit_reveal: knobs.commit_reveal.then_some(CommitReveal {
                version: Some(4),
                by_hash: self.by_hash,
                timelocked: self.timelocked,
            }),
            reveal_period: knobs.period,
            open_commits: hashes.chain(timelocked).collect(),
            epochs: epochs(ledger),
            beacon: self.timelocked.then(|| Beacon {
                public_key: vec![0; 96],
                clock: beacon_clock(),
                last_round: Some(ledger.round),
            }),
            block_time: BLOCK,
        }
    }

    pub(super) fn build(
        &mut self,
        ledger: &Ledger,
        order: &WeightsOrder,
    ) -> Result<PreparedWeights, ChainError> {
        if (order.netuid, order.mechanism) != (NetUid(NETUID), ledger.mechanism) {
            self.broken.push(format!("weights for another subnet or mechanism: {order:?}"));
        }
        self.rules(ledger).check(order).map_err(|rule| ChainError::Preflight {
            rule: rule.to_string(),
            class: FailureClass::Transient,
        })?;
        let waiting = self.pool.iter().map(|bytes| self.built[bytes].prepared.nonce + 1).max();
        let nonce = waiting.unwrap_or(0).max(self.head().nonce);
        // Signatures differ, so that no call is built twice with the same bytes.
        let extrinsic = (self.built.len() as u64).to_le_bytes().to_vec();
        let prepared = PreparedWeights {
            hash: digest(&extrinsic),
            extrinsic: extrinsic.clone(),
            nonce,
            netuid: order.netuid,
            mechanism: order.mechanism,
            effect: Effect::from(&order.call),
            genesis: BlockHash::from_bytes([9; 32]),
            born: BlockNumber(ledger.number),
            born_hash: Digest::from_bytes([8; 32]),
            dies: BlockNumber(ledger.number + order.call.era(self.era) - 1),
        };
        let built = Built { prepared: prepared.clone(), order: order.clone(), spec: ledger.spec };
        self.built.insert(extrinsic, built);
        Ok(prepared)
    }

    /// What the final blocks say of a call.
    pub(super) fn outcome(&self, prepared: &PreparedWeights) -> Option<WeightsOutcome> {
        for number in prepared.born.0 + 1..=self.finalized.min(prepared.dies.0) {
            let block = self.at(number);
            if let Some((_, error)) = block.included.iter().find(|(bytes, _)| *bytes == prepared.extrinsic) {
                let block = BlockNumber(number);
                return Some(match error {
                    None => WeightsOutcome::Set { block },
                    Some(name) => WeightsOutcome::Failed { block, error: format!("SubtensorModule.{name}") },
                });
            }
        }
        if self.finalized > prepared.dies.0 {
            return Some(WeightsOutcome::Expired(Expiry::EraOver));
        }
        let taken = self.final_ledger().nonce > prepared.nonce;
        taken.then_some(WeightsOutcome::Expired(Expiry::NonceTaken))
    }

    /// Timelocked commits whose weights the chain took in a final block, and whether a registration took them away again.
    pub(in super::super) fn final_openings(&self) -> Vec<(u64, Digest, bool)> {
        let last = usize::try_from(self.finalized - self.blocks[0].number).unwrap();
        let registered = self.final_ledger().registered;
        let of = |ledger: &Ledger| {
            let (number, gone) = (ledger.number, ledger.number <= registered);
            ledger.opened.iter().map(|digest| (number, *digest, gone)).collect::<Vec<_>>()
        };
        self.blocks[..=last].iter().flat_map(of).collect()
    }

    /// Our calls in final blocks, with the order that each carries.
    pub(in super::super) fn final_calls(&self) -> Vec<(u64, Vec<u8>, WeightsOrder, bool)> {
        let last = usize::try_from(self.finalized - self.blocks[0].number).unwrap();
        let calls = self.blocks[..=last].iter().flat_map(|ledger| {
            let number = ledger.number;
            let order = |bytes: &Vec<u8>| self.built[bytes].order.clone();
            ledger
                .included
                .iter()
                .map(move |(bytes, error)| (number, bytes.clone(), order(bytes), error.is_none()))
        });
        calls.collect()
    }
}

/// At [`FIRST_ROUND`] when the virtual clock starts.
fn beacon_clock() -> BeaconClock {
    let passed = 3 * i64::try_from(FIRST_ROUND - 1).unwrap();
    BeaconClock { genesis: Timestamp::from_secs(1_735_689_600 - passed), period: Millis::from_secs(3) }
}

/// Where the subnet stands, as the client reads it.
pub(in super::super) fn epochs(ledger: &Ledger) -> EpochClock {
    if ledger.stateful {
        EpochClock::Stateful {
            last_epoch: BlockNumber(ledger.last_epoch),
            pending_at: BlockNumber(ledger.pending),
            index: ledger.index,
            since_last_step: ledger.since,
            tempo: ledger.knobs.tempo,
        }
    } else {
        EpochClock::Modular { tempo: ledger.knobs.tempo }
    }
}
