//! From a finished try to a signed, stored verdict, or to another try.

mod holds;

use std::sync::Arc;

use basilica_ports::{CheckEntry, NodeKey, NodeRecord, Recorded, StoreError, VerdictSummary};
use basilica_runtime_service::within;
use basilica_types::{Digest, Millis, Timestamp};
use basilica_verification::fingerprint::Difference;
use basilica_verification::probe::Engine;
use basilica_verification::series::{self, Next, Series};
use basilica_verification::timing::{DeadlineRecord, Observed, Tests};
use basilica_verification::{
    Blame, CheckKind, Conclusion, Control, CountUnproven, Evidence, Fault, Finding, Outcome, Reason,
    Surroundings, Verdict, Witness, aborted,
};
use basilica_wire::EnvelopeError;
use codec::Encode as _;
use tracing::{debug, info, warn};

use crate::ask_registry;
use crate::check_node::Tried;
use crate::conclude_check::holds::Claim;
use crate::metrics::{ReasonLabel, type_of};
use crate::seen_engines;
use crate::sessions::Access;
use crate::shared::Shared;
use crate::sign::sign;

/// How long the control target may take.
const CONTROL_DEADLINE: Millis = Millis::from_secs(5);

/// A full check of somebody else is seldom at the same moment.
const SURVEYED_WITHIN: Millis = Millis::from_secs(1800);

/// Why a conclusion was not kept.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConcludeError {
    #[error("keep the check of node {node}", node = node.node)]
    Store {
        node: NodeKey,
        #[source]
        source: StoreError,
    },
    #[error("sign the verdict on node {node}", node = node.node)]
    Sign {
        node: NodeKey,
        #[source]
        source: EnvelopeError,
    },
}

/// Decides what a try means and keeps it.
pub(crate) async fn conclude(shared: &Shared, node: &NodeRecord, tried: Tried) -> Result<(), ConcludeError> {
    let Tried { conclusion, .. } = &tried;
    let plan = &conclusion.plan;
    let before = node.series.filter(|(kind, _)| *kind == plan.kind).map(|(_, series)| series);
    let before = before.filter(|series| series.is_continued(plan.started, &shared.settings.retries));
    let started = before.map_or(plan.started, |series| series.since);
    let tries = before.map_or(1, |s| s.failed.saturating_add(1));
    let failure = match conclusion.finding {
        Finding::Passed => None,
        Finding::Failed(reason) => {
            ask_for_session(shared, node.key, reason, tried.access.as_ref());
            let around = surroundings(shared, node.key, (reason, conclusion.probes.engine())).await?;
            Some((reason, conclusion.beside(reason, &around)))
        }
    };
    let deadlines = deadlines(node, conclusion, failure);
    let judged = |outcome| Judged { outcome, tries, started, deadlines };
    let confirmed = |reason| judged(Outcome::Failed { reason, fault: Fault::Node { confirmed: true } });
    // What bytes prove is said by its own name; the record stays and finds the node at the next check.
    let is_said_otherwise = failure.is_some_and(|(reason, _)| reason.blame() == Blame::Proven);
    let found = |record: DeadlineRecord| {
        record.found(&Tests::default(), &shared.settings.retries, conclusion.finished)
    };
    if let Some((reason, anew)) = deadlines.filter(|_| !is_said_otherwise).and_then(found) {
        let judged = Judged { deadlines: Some(anew), ..confirmed(reason) };
        let tried = Tried { conclusion: tried.conclusion.found(reason), ..tried };
        return keep(shared, node, tried, judged).await;
    }
    let quick = is_quick(shared, conclusion);
    if plan.kind == CheckKind::Full && !quick {
        shared.note_survey(node.key, failure.is_some_and(|(reason, _)| reason.is_beyond_quick()));
    }
    let Some((reason, control)) = failure else {
        if quick && is_open(shared, node) {
            return keep_aside(shared, node.key, tried, deadlines).await;
        }
        return keep(shared, node, tried, judged(Outcome::Passed)).await;
    };
    if aborts_confirm(shared, node.key, conclusion, reason, control).await? {
        return keep(shared, node, tried, confirmed(Reason::ProofIncompleteAfterNonce)).await;
    }
    match series::after_failure(before, reason, control, &shared.settings.retries, conclusion.finished) {
        Next::Conclude { fault, tries } => {
            let judged = Judged { tries, ..judged(Outcome::Failed { reason, fault }) };
            keep(shared, node, tried, judged).await
        }
        Next::Retry { series, at } => {
            shared.metrics.tries_inconclusive.inc();
            info!(target: "validator::verification", { node.id = %node.key.node, reason = reason.code(),
                tries = series.failed, ?control }, "check failed and is retried");
            keep_try(shared, node.key, tried, deadlines, (series, at)).await
        }
    }
}

/// Whether less was asked than a full check asks, because others waited.
fn is_quick(shared: &Shared, conclusion: &Conclusion) -> bool {
    conclusion.plan.kind == CheckKind::Full && conclusion.plan.probes != shared.settings.probes
}

/// Whether a failure stands, or is being tried again, that a quick check does not ask about.
fn is_open(shared: &Shared, node: &NodeRecord) -> bool {
    let stands =
        |outcome: &Outcome| matches!(outcome, Outcome::Failed { reason, .. } if reason.is_beyond_quick());
    node.last_full.is_some_and(|full| stands(&full.outcome)) || shared.fails_survey(node.key)
}

/// Keeps what a quick check shows of a node's proofs, and nothing else: with a verdict that it passed, it would open the gate that
/// another failure has closed, end the retries of that, and make the next one an event of its own.
async fn keep_aside(
    shared: &Shared,
    node: NodeKey,
    tried: Tried,
    deadlines: Option<DeadlineRecord>,
) -> Result<(), ConcludeError> {
    let Tried { conclusion, transcript, room: _until_stored, .. } = tried;
    debug!(target: "validator::verification", { node.id = %node.node }, "quick check passed; what it does not ask about stands");
    keep_proof(shared, node, &conclusion, transcript, deadlines).await
}

/// Keeps what a proof shows without a verdict.
async fn keep_proof(
    shared: &Shared,
    node: NodeKey,
    conclusion: &Conclusion,
    transcript: Option<(Digest, Vec<u8>)>,
    deadlines: Option<DeadlineRecord>,
) -> Result<(), ConcludeError> {
    let store = &shared.ports.store;
    let failed = |source| ConcludeError::Store { node, source };
    if let Some(deadlines) = deadlines {
        store.record_deadlines(node, deadlines).await.map_err(failed)?;
    }
    if let Some((digest, bytes)) = transcript {
        store.record_transcript(node, conclusion.finished, digest, &bytes).await.map_err(failed)?;
    }
    Ok(())
}

/// Keeps a try that decides nothing yet. Of a proof that was broken off the transcript stays: who hung up when.
async fn keep_try(
    shared: &Shared,
    node: NodeKey,
    tried: Tried,
    deadlines: Option<DeadlineRecord>,
    (series, at): (Series, Timestamp),
) -> Result<(), ConcludeError> {
    let Tried { conclusion, transcript, room: _until_stored, .. } = tried;
    keep_proof(shared, node, &conclusion, transcript, deadlines).await?;
    // Two validators whose proofs met on one card would else meet at every retry.
    let chance = u64::from_le_bytes(shared.ports.entropy.array());
    let at = at + shared.settings.retries.jitter(chance);
    let recorded = shared.ports.store.record_try(node, conclusion.plan.kind, series, at).await;
    recorded.map_err(|source| ConcludeError::Store { node, source })
}

/// The node's record with what this try adds, if it adds anything (RULES R4: no pass erases a miss, or a break).
fn deadlines(
    node: &NodeRecord,
    conclusion: &Conclusion,
    failure: Option<(Reason, Control)>,
) -> Option<DeadlineRecord> {
    let control = failure.map_or(Control::Reachable, |(_, control)| control);
    let observed = conclusion.observed(control)?;
    if let (Observed::Missed(_) | Observed::Broken(_), Some((reason, control))) = (observed, failure) {
        info!(target: "validator::verification", { node.id = %node.key.node, reason = reason.code(), ?control },
            "node was late or broke its proof off; it is kept in mind");
    }
    Some(node.deadlines.after(observed, &Tests::default(), conclusion.finished))
}

/// A node that denies its key, or has let it run out, needs its miner to deploy it again.
fn ask_for_session(shared: &Shared, node: NodeKey, reason: Reason, access: Option<&Arc<Access>>) {
    if let (Reason::LoginDenied | Reason::SessionExpired, Some(access)) = (reason, access) {
        shared.refuse_access(node, access);
    }
    if matches!(reason, Reason::LoginDenied | Reason::SessionExpired | Reason::NoSession) {
        shared.discover_now.notify_one();
    }
}

/// What works beside this node now, as far as it matters for what failed, by which container engine. A second validator that confirms is missing.
pub(crate) async fn surroundings(
    shared: &Shared,
    node: NodeKey,
    (reason, engine): (Reason, Option<Engine>),
) -> Result<Surroundings, ConcludeError> {
    let failed = |source| ConcludeError::Store { node, source };
    let recent = shared.now() - shared.settings.retries.interval;
    let store = &shared.ports.store;
    let passed = store.last_pass_elsewhere(node.miner).await.map_err(failed)?;
    let prover_works = store.prover_passed_elsewhere(shared.prover.name(), node).await.map_err(failed)?;
    let gave_gpus_elsewhere = match engine.filter(|_| reason.witness() == Witness::Containing) {
        Some(engine) => {
            seen_engines::gave_gpus_elsewhere(shared, &node.miner, engine).await.map_err(failed)?
        }
        None => false,
    };
    let head = within(shared.ports.clock.as_ref(), CONTROL_DEADLINE, shared.ports.chain.head()).await;
    Ok(Surroundings {
        passed_elsewhere: passed.is_some_and(|at| at >= recent),
        chain: match head {
            Ok(Ok(head)) => Some(shared.look_at_head(head)),
            Ok(Err(_)) | Err(_) => None,
        },
        resolved_elsewhere: shared.resolved_elsewhere(&node.miner, recent),
        prover_works,
        reached_elsewhere: shared.reached_elsewhere(&node.miner, shared.now() - SURVEYED_WITHIN),
        image_offered: reason.witness() == Witness::Pulling && ask_registry::is_offered(shared).await,
        gave_gpus_elsewhere,
        pulled_elsewhere: shared.pulled_elsewhere(&node.miner, shared.now() - SURVEYED_WITHIN),
    })
}

/// Keeps an opening that was cut off after its nonce, and whether this one makes them a confirmed fault (see
/// [`aborted`]). One beside which nothing else is seen to work may be ours, and does not count.
async fn aborts_confirm(
    shared: &Shared,
    node: NodeKey,
    conclusion: &Conclusion,
    reason: Reason,
    control: Control,
) -> Result<bool, ConcludeError> {
    if !conclusion.after_nonce || reason.blame() != Blame::Suspected || control != Control::Reachable {
        return Ok(false);
    }
    let at = conclusion.finished;
    let kept = shared.ports.store.record_aborted_opening(node, at, at - aborted::WINDOW).await;
    let kept = kept.map_err(|source| ConcludeError::Store { node, source })?;
    warn!(target: "validator::verification", { node.id = %node.node, reason = reason.code(),
        openings.aborted = kept.len() }, "node cut its answer off after it knew what to open");
    Ok(aborted::is_confirmed(&kept, &shared.settings.retries, at))
}

#[derive(Clone, Copy)]
struct Judged {
    outcome: Outcome,
    tries: u8,
    started: Timestamp,
    deadlines: Option<DeadlineRecord>,
}

async fn keep(shared: &Shared, node: &NodeRecord, tried: Tried, judged: Judged) -> Result<(), ConcludeError> {
    let Tried { conclusion, transcript, together, room: _until_stored, .. } = tried;
    tell_differences(node.key, &conclusion);
    let claim = holds::claim(shared, node.key, &conclusion, &judged.outcome, together.as_ref()).await?;
    let entry = CheckEntry { transcript, ..entry(shared, node, &conclusion, judged, &claim)? };
    match store(shared, &entry).await? {
        Recorded::Stored => tell(shared, &entry, &claim),
        Recorded::NotNext => not_next(node.key),
        // It was proved elsewhere since the claimants were read.
        Recorded::GpuTaken { owner } => {
            let claim = claim.taken_by(owner);
            let held = self::entry(shared, node, &conclusion, judged, &claim)?;
            let held = CheckEntry { transcript: entry.transcript, ..held };
            match store(shared, &held).await? {
                Recorded::Stored => tell(shared, &held, &claim),
                Recorded::NotNext | Recorded::GpuTaken { .. } => not_next(node.key),
            }
        }
    }
    Ok(())
}

fn tell(shared: &Shared, entry: &CheckEntry, claim: &Claim) {
    claim.tell(entry.key);
    announce(shared, entry);
}

/// What a GPU is not, or no longer is, goes into the log by name: the verdict carries the reason alone.
fn tell_differences(node: NodeKey, conclusion: &Conclusion) {
    if let Some(Difference { uuid, fields }) = &conclusion.difference {
        warn!(target: "validator::verification", { node.id = %node.node, miner.hotkey = %node.miner, gpu.uuid = %uuid,
            fields = ?fields }, "gpu is not what it is said to be, or not what it was");
    }
    for Difference { uuid, fields } in &conclusion.noted {
        info!(target: "validator::verification", { node.id = %node.node, gpu.uuid = %uuid, fields = ?fields },
            "gpu was moved or its driver renewed");
    }
}

async fn store(shared: &Shared, entry: &CheckEntry) -> Result<Recorded, ConcludeError> {
    let recorded = shared.ports.store.record_check(entry).await;
    let recorded = recorded.map_err(|source| ConcludeError::Store { node: entry.key, source })?;
    shared.store_ready.ready();
    Ok(recorded)
}

/// Since the node was read, someone else wrote a verdict on it, or discovery pinned another host key: this verdict would
/// break the chain or speak of a host that is gone. It is dropped, and the check is still due.
fn not_next(node: NodeKey) {
    warn!(target: "validator::verification", { node.id = %node.node }, "node changed during its check; the verdict is dropped");
}

fn entry(
    shared: &Shared,
    node: &NodeRecord,
    conclusion: &Conclusion,
    judged: Judged,
    claim: &Claim,
) -> Result<CheckEntry, ConcludeError> {
    let kind = conclusion.plan.kind;
    let finished = conclusion.finished;
    let judged = Judged { outcome: claim.outcome(judged.outcome), ..judged };
    let conclusion =
        claim.reason().map_or_else(|| conclusion.clone(), |reason| conclusion.clone().on_hold(reason));
    let previous = node.last_verdict.map(|verdict| verdict.digest);
    let verdict = Verdict {
        miner: node.key.miner,
        node: node.key.node,
        validator: shared.ports.signer.hotkey(),
        previous,
        kind,
        started: judged.started,
        finished,
        outcome: judged.outcome,
        gpus: conclusion.gpus.clone(),
        policy: shared.policy(&conclusion.plan.gpus).digest(),
        evidence: Evidence {
            host_key: conclusion.host_key,
            tries: judged.tries,
            claims: conclusion.claims.clone(),
            transcript: conclusion.transcript,
            prover: shared.prover.name(),
            measured: conclusion.measured.clone(),
            probes: conclusion.probes.clone(),
        },
    };
    let signed = sign(shared.ports.signer.as_ref(), verdict)
        .map_err(|source| ConcludeError::Sign { node: node.key, source })?;
    let digest: Digest = signed.digest();
    let mut due = node.due.after(kind, &judged.outcome, &shared.settings.intervals, finished);
    if is_quick(shared, &conclusion) && judged.outcome == Outcome::Passed {
        // It passed what others can be asked at once with it; what takes long is still due.
        let soon = finished + shared.settings.retries.interval;
        due.full = due.full.min(node.due.full.max(soon));
    }
    let last_full_passed = node.last_full.is_some_and(|full| full.outcome == Outcome::Passed);
    if conclusion.wants_full() && last_full_passed {
        // Where the last one failed, the next one comes with its own pace, or a node could have itself asked without end.
        due.full = due.full.min(finished);
    }
    if claim.is_fresh_hold() {
        // The challenge that may end it comes with the pace of retries.
        due.full = due.full.min(finished + shared.settings.retries.interval);
    }
    Ok(CheckEntry {
        key: node.key,
        verdict: signed.encode(),
        digest,
        previous,
        started: judged.started,
        host_keys: node.host_keys.clone(),
        prover: shared.prover.name(),
        summary: VerdictSummary { digest, kind, outcome: judged.outcome, finished },
        gpus: conclusion.gpus.clone(),
        fingerprints: conclusion.fingerprints,
        identities: claim.identities(),
        held_by: claim.held_by(),
        apart_from: claim.apart_from.clone(),
        gpus_stale_before: finished - shared.settings.gpu_ownership_ttl,
        deadlines: judged.deadlines,
        transcript: None,
        due,
    })
}

fn announce(shared: &Shared, entry: &CheckEntry) {
    let summary = &entry.summary;
    shared.metrics.verifications.get_or_create(&type_of(summary.kind)).inc();
    match summary.outcome {
        Outcome::Passed => {
            if entry.gpus.len() < entry.fingerprints.len() {
                info!(target: "validator::verification", { node.id = %entry.key.node, miner.hotkey = %entry.key.miner,
                    code = CountUnproven::CODE, gpus.claimed = entry.fingerprints.len(), gpus.paid = entry.gpus.len() },
                    "fewer cards than claimed could have met the deadlines; those that are told apart count");
            }
            shared.metrics.successes.get_or_create(&type_of(summary.kind)).inc();
            debug!(target: "validator::verification", { node.id = %entry.key.node, check.kind = summary.kind.as_str(),
                gpus = entry.gpus.len(), verdict.digest = %summary.digest }, "check passed");
        }
        Outcome::Failed { reason, fault } => {
            shared.metrics.failures.get_or_create(&ReasonLabel { reason: reason.code() }).inc();
            info!(target: "validator::verification", { node.id = %entry.key.node, miner.hotkey = %entry.key.miner,
                check.kind = summary.kind.as_str(), reason = reason.code(), fault = %fault,
                verdict.digest = %summary.digest }, "check failed");
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
