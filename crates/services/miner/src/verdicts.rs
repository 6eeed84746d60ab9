//! What validators think of this miner's nodes, asked of themselves.
//!
//! Asked are the validators to which nodes are assigned and those with a session, at the place that the configuration names or, without
//! one, at their axon; at most [`VALIDATORS`], [`AT_ONCE`] side by side, every minute, and less and less often while one does not answer.
//! None takes longer than [`ASK`] in all, whatever it sends how slowly; what one said is shown while others are asked, and kept of nodes of
//! ours only. When one is due goes by the clock that nobody sets.
//! Nothing of the miner's work waits for it or follows from it: it is shown to the operator.
//!
//! What a validator says beside its verdicts (score, ramp, ban, next check) is its word and shown as that. A verdict is shown only if
//! its signature is the validator's own and it is about this very node of this miner; its reason is explained in this program's
//! words, not in the validator's.

mod judging;
mod share;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use basilica_ports::{AddressPolicy, Chain, Clock, Entropy, ValidatorApi, ValidatorPlace};
use basilica_runtime_service::{Backoff, ErrorChain, Stop, TaskSet, within};
use basilica_status::{Judgement, Share, ValidatorStatus, Words};
use basilica_types::{Digest, Host, Hotkey, Millis, NetUid, Network, NodeId};
use tokio::sync::watch;
use tracing::debug;

use self::judging::Verdicts;
use crate::config::VerdictsConfig;
use crate::status::StatusView;
use crate::subnet::{Snapshot, SubnetView};

/// Most validators that are asked.
const VALIDATORS: usize = 16;
/// Of these, at the same time: those that drag their answers out must not keep the others' from being seen.
const AT_ONCE: usize = 4;
/// Between two rounds; each validator is asked once in a round.
const EVERY: Millis = Millis::from_secs(60);
/// Of one validator's answer and the verdicts that it names.
const ASK: Millis = Millis::from_secs(30);
/// Between two looks at whose time has come.
const LOOK: Millis = Millis::from_secs(5);
/// Longest pause for a validator that does not answer.
const RETRY_MOST: Millis = Millis::from_secs(900);
/// Between two estimates of the share: weights change once in an epoch.
const SHARE_EVERY: Millis = Millis::from_secs(600);

/// All that is known of what validators think.
#[derive(Clone, Debug, Default)]
pub(crate) struct Opinions {
    pub(crate) validators: Vec<ValidatorStatus>,
    pub(crate) judgements: BTreeMap<NodeId, Vec<Judgement>>,
    pub(crate) share: Option<Share>,
}

/// Keeps [`Opinions`] up to date.
pub(crate) struct VerdictsFollower {
    pub(crate) asker: Arc<Asker>,
    pub(crate) chain: Arc<dyn Chain>,
    pub(crate) netuid: NetUid,
    pub(crate) subnet: SubnetView,
    pub(crate) status: StatusView,
    pub(crate) opinions: watch::Sender<Arc<Opinions>>,
}

/// Asks validators.
pub(crate) struct Asker {
    pub(crate) api: Arc<dyn ValidatorApi>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<dyn Entropy>,
    pub(crate) own: Hotkey,
    pub(crate) network: Network,
    pub(crate) config: VerdictsConfig,
}

/// What a round is about.
struct About<'a> {
    snapshot: &'a Snapshot,
    /// Whose sessions are open.
    sessions: &'a [Hotkey],
    /// Our own; a validator may tell of others too.
    nodes: &'a BTreeSet<NodeId>,
}

/// What is kept of one validator from one question to the next.
#[derive(Clone)]
struct Asked {
    status: ValidatorStatus,
    /// By the monotonic clock.
    due: Duration,
    backoff: Backoff,
    judgements: BTreeMap<NodeId, Judgement>,
    verdicts: Verdicts,
}

impl Asked {
    fn new(hotkey: Hotkey, due: Duration) -> Self {
        let status = ValidatorStatus {
            hotkey,
            place: None,
            assigned: false,
            asked: None,
            answered: None,
            error: None,
        };
        let (judgements, verdicts) = (BTreeMap::new(), Verdicts::default());
        Self { status, due, backoff: Backoff::new(EVERY, RETRY_MOST), judgements, verdicts }
    }
}

impl VerdictsFollower {
    pub(crate) async fn run(&self, stop: Stop) {
        let clock = &self.asker.clock;
        let mut asked: BTreeMap<Hotkey, Asked> = BTreeMap::new();
        let (mut share, mut share_due) = (None, clock.monotonic());
        loop {
            let round = async {
                let Some(snapshot) = self.subnet.borrow().clone() else { return };
                let Some(status) = self.status.newest() else { return };
                let sessions: Vec<Hotkey> = status.sessions.iter().map(|session| session.validator).collect();
                let nodes: BTreeSet<NodeId> = status.nodes.iter().map(|node| node.id).collect();
                let about = About { snapshot: &snapshot, sessions: &sessions, nodes: &nodes };
                self.asker.round(&about, &mut asked, &|asked| self.publish(asked, share)).await;
                if share_due <= clock.monotonic() {
                    share_due = clock.monotonic() + SHARE_EVERY.as_duration();
                    share = self.share(&snapshot).await.or(share);
                }
            };
            tokio::select! {
                () = stop.requested() => return,
                () = round => {}
            }
            self.publish(&asked, share);
            tokio::select! {
                () = stop.requested() => return,
                () = clock.sleep(LOOK) => {}
            }
        }
    }

    fn publish(&self, asked: &BTreeMap<Hotkey, Asked>, share: Option<Share>) {
        let mut judgements: BTreeMap<NodeId, Vec<Judgement>> = BTreeMap::new();
        for (id, judgement) in asked.values().flat_map(|asked| &asked.judgements) {
            judgements.entry(*id).or_default().push(judgement.clone());
        }
        let validators = asked.values().map(|asked| asked.status.clone()).collect();
        self.opinions.send_replace(Arc::new(Opinions { validators, judgements, share }));
    }

    /// By the weights on chain of the validators with the most stake; none where the chain does not tell.
    async fn share(&self, snapshot: &Snapshot) -> Option<Share> {
        let own = snapshot.metagraph.neuron(&self.asker.own)?.uid;
        let mut rows = Vec::new();
        let mut block = snapshot.metagraph.block;
        for neuron in share::heaviest(&snapshot.metagraph) {
            let answer = self.chain.weights_of(self.netuid, share::MECHANISM, &neuron.hotkey).await;
            match answer {
                Ok((at, Some(weights))) => {
                    block = at;
                    rows.push((neuron.stake, weights));
                }
                Ok((_, None)) => {}
                Err(error) => {
                    debug!(error = %ErrorChain(&error), "weights cannot be read");
                    return None;
                }
            }
        }
        share::estimate(own, &rows).map(|(share, validators)| Share { share, validators, block })
    }
}

impl Asker {
    /// Asks everybody whose time has come, tells `each` after every one, and forgets those who are no longer asked.
    async fn round(
        self: &Arc<Self>,
        about: &About<'_>,
        asked: &mut BTreeMap<Hotkey, Asked>,
        each: &(dyn Fn(&BTreeMap<Hotkey, Asked>) + Sync),
    ) {
        let mut due = self.due(about, asked).into_iter();
        let nodes = Arc::new(about.nodes.clone());
        let mut asking = TaskSet::new();
        loop {
            while asking.len() < AT_ONCE
                && let Some((hotkey, place, mut entry)) = due.next()
            {
                let (asker, nodes) = (Arc::clone(self), Arc::clone(&nodes));
                asking.spawn("ask_validator", async move {
                    let answered = asker.ask(hotkey, &place, &mut entry, &nodes);
                    if let Err(elapsed) = within(asker.clock.as_ref(), ASK, answered).await {
                        asker.silent(hotkey, &mut entry, elapsed.to_string());
                    }
                    (hotkey, entry)
                });
            }
            match asking.next().await {
                Some(Ok((hotkey, entry))) => {
                    asked.insert(hotkey, entry);
                    each(asked);
                }
                Some(Err(panic)) => panic!("{panic}"),
                None => return,
            }
        }
    }

    /// Whose time has come, and what is known of them; the others stay as they are.
    fn due(
        &self,
        about: &About<'_>,
        asked: &mut BTreeMap<Hotkey, Asked>,
    ) -> Vec<(Hotkey, ValidatorPlace, Asked)> {
        let wanted = self.wanted(about.snapshot, about.sessions);
        asked.retain(|hotkey, _| wanted.contains_key(hotkey));
        let now = self.clock.monotonic();
        let mut due = Vec::new();
        for (hotkey, (assigned, place)) in wanted {
            let entry = asked.entry(hotkey).or_insert_with(|| Asked::new(hotkey, now));
            entry.status.assigned = assigned;
            let told = place.as_ref().map(|place| Words::new(&place.to_string()));
            if told != entry.status.place {
                (entry.status.place, entry.due) = (told, now);
            }
            if let Some(place) = place.filter(|_| entry.due <= now) {
                due.push((hotkey, place, entry.clone()));
            }
        }
        due
    }

    /// Who is asked, whether nodes are theirs, and where: those with nodes first.
    fn wanted(
        &self,
        snapshot: &Snapshot,
        sessions: &[Hotkey],
    ) -> BTreeMap<Hotkey, (bool, Option<ValidatorPlace>)> {
        let assigned: BTreeSet<Hotkey> = snapshot.assignment.counts().into_keys().collect();
        let others: BTreeSet<Hotkey> = sessions.iter().copied().collect();
        let all = assigned.iter().chain(others.difference(&assigned)).take(VALIDATORS);
        all.map(|hotkey| (*hotkey, (assigned.contains(hotkey), self.place(hotkey, snapshot)))).collect()
    }

    fn place(&self, hotkey: &Hotkey, snapshot: &Snapshot) -> Option<ValidatorPlace> {
        if let Some(named) = self.config.validators.get(hotkey) {
            return Some(named.clone());
        }
        let axon = snapshot.metagraph.neuron(hotkey)?.axon.filter(|axon| axon.has_usable_ip())?.address;
        let addresses =
            if self.network == Network::Local { AddressPolicy::Any } else { AddressPolicy::PublicOnly };
        Some(ValidatorPlace { host: Host::Ip(axon.ip()), port: axon.port(), addresses })
    }

    /// Asks one that does not answer less and less often.
    fn silent(&self, hotkey: Hotkey, asked: &mut Asked, why: String) {
        let pause = asked.backoff.next(self.entropy.as_ref());
        debug!(validator.hotkey = %hotkey, error = why, retry_in = %pause, "validator tells no verdicts");
        (asked.status.asked, asked.status.error) = (Some(self.clock.now()), Some(why.into()));
        asked.due = self.clock.monotonic() + pause.as_duration();
    }

    async fn ask(&self, hotkey: Hotkey, place: &ValidatorPlace, asked: &mut Asked, own: &BTreeSet<NodeId>) {
        let answer = self.api.nodes(place, self.own).await;
        let now = self.clock.now();
        let mut nodes = match answer {
            Ok(judged) => judged.nodes,
            Err(error) => return self.silent(hotkey, asked, ErrorChain(&error).to_string()),
        };
        nodes.retain(|node| own.contains(&node.node));
        asked.status.asked = Some(now);
        (asked.status.answered, asked.status.error) = (Some(now), None);
        asked.due = self.clock.monotonic() + EVERY.as_duration();
        let digests: Vec<(NodeId, Digest)> = judging::named(&nodes);
        for (node, digest) in asked.verdicts.missing(&digests) {
            match self.api.verdict(place, digest).await {
                Ok(Some(bytes)) => {
                    let about = judging::About { validator: hotkey, miner: self.own, node };
                    if let Err(why) = asked.verdicts.take(digest, &bytes, &about) {
                        asked.status.error =
                            Some(format!("a verdict that it serves is not valid: {why}").into());
                    }
                }
                Ok(None) => {}
                Err(error) => {
                    asked.status.error = Some(ErrorChain(&error).to_string().into());
                    break;
                }
            }
        }
        asked.verdicts.keep(&digests);
        asked.judgements = nodes
            .into_iter()
            .map(|node| (node.node, judging::judgement(hotkey, now, &node, &asked.verdicts)))
            .collect();
        // Only a whole answer: one that drags its verdicts out every time is asked less and less, too.
        asked.backoff.reset();
    }
}

#[cfg(test)]
mod tests;
