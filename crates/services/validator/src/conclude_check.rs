//! From a finished try to a signed, stored verdict, or to another try.

use basilica_ports::{CheckEntry, HotkeySigner, NodeKey, NodeRecord, Recorded, StoreError, VerdictSummary};
use basilica_runtime_service::within;
use basilica_types::{Digest, Millis, Timestamp};
use basilica_verification::series::{self, Next};
use basilica_verification::{Conclusion, Control, Evidence, Finding, Outcome, Reason, Verdict};
use basilica_wire::{EnvelopeError, Signed};
use codec::Encode as _;
use tracing::{debug, error, info, warn};

use crate::check_node::Tried;
use crate::metrics::{ReasonLabel, type_of};
use crate::shared::Shared;

/// How long the control target may take.
const CONTROL_DEADLINE: Millis = Millis::from_secs(5);

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
    let before =
        node.series.filter(|(kind, _)| *kind == tried.conclusion.plan.kind).map(|(_, series)| series);
    let started = before.map_or(tried.conclusion.plan.started, |series| series.since);
    let (outcome, tries) = match tried.conclusion.finding {
        Finding::Passed => (Outcome::Passed, before.map_or(1, |s| s.failed.saturating_add(1))),
        Finding::Failed(reason) => {
            ask_for_session(shared, node.key, reason);
            let control = control(shared, node.key).await;
            let next = series::after_failure(
                before,
                reason,
                control,
                &shared.settings.retries,
                tried.conclusion.finished,
            );
            match next {
                Next::Conclude { fault, tries } => (Outcome::Failed { reason, fault }, tries),
                Next::Retry { series, at } => {
                    shared.metrics.tries_inconclusive.inc();
                    info!(target: "validator::verification", { node.id = %node.key.node, reason = reason.code(),
                        tries = series.failed, ?control }, "check failed and is retried");
                    let kind = tried.conclusion.plan.kind;
                    let kept = shared.ports.store.record_try(node.key, kind, series, at).await;
                    return kept.map_err(|source| ConcludeError::Store { node: node.key, source });
                }
            }
        }
    };
    keep(shared, node, tried, Judged { outcome, tries, started }).await
}

/// A node that denies its key, or has let it run out, needs its miner to deploy it again.
fn ask_for_session(shared: &Shared, node: NodeKey, reason: Reason) {
    if matches!(reason, Reason::LoginDenied | Reason::SessionExpired) {
        shared.drop_access(&node.miner);
    }
    if matches!(reason, Reason::LoginDenied | Reason::SessionExpired | Reason::NoSession) {
        shared.discover_now.notify_one();
    }
}

/// Whether something beside this node answers now: another miner's node passed a check a moment ago, or the chain does.
///
/// The chain alone says little where its endpoint is on this host; a second validator that confirms is missing.
async fn control(shared: &Shared, node: NodeKey) -> Control {
    let recent = shared.now() - shared.settings.retries.interval;
    if let Ok(Some(at)) = shared.ports.store.last_pass_elsewhere(node.miner).await
        && at >= recent
    {
        return Control::Reachable;
    }
    match within(shared.ports.clock.as_ref(), CONTROL_DEADLINE, shared.ports.chain.head()).await {
        Ok(Ok(_)) => Control::Reachable,
        Ok(Err(_)) | Err(_) => Control::Silent,
    }
}

#[derive(Clone, Copy)]
struct Judged {
    outcome: Outcome,
    tries: u8,
    started: Timestamp,
}

async fn keep(shared: &Shared, node: &NodeRecord, tried: Tried, judged: Judged) -> Result<(), ConcludeError> {
    let Tried { conclusion, transcript } = tried;
    let entry = entry(shared, node, &conclusion, judged)?;
    let entry = CheckEntry { transcript, ..entry };
    match store(shared, &entry).await? {
        Recorded::Stored => announce(shared, &entry),
        Recorded::NotNext => not_next(node.key),
        Recorded::GpuTaken { owner } => {
            warn!(target: "validator::verification", { node.id = %node.key.node, owner.id = %owner.node,
                owner.miner = %owner.miner }, "gpu belongs to another node; on hold");
            let Outcome::Failed { reason, fault } = held() else { return Ok(()) };
            let judged = Judged { outcome: Outcome::Failed { reason, fault }, ..judged };
            let held = self::entry(shared, node, &conclusion.on_hold(), judged)?;
            let held = CheckEntry { transcript: entry.transcript, ..held };
            match store(shared, &held).await? {
                Recorded::Stored => announce(shared, &held),
                Recorded::NotNext | Recorded::GpuTaken { .. } => not_next(node.key),
            }
        }
    }
    Ok(())
}

fn held() -> Outcome {
    let reason = Reason::GpuClaimedElsewhere;
    Outcome::Failed { reason, fault: basilica_verification::Fault::Unknown }
}

async fn store(shared: &Shared, entry: &CheckEntry) -> Result<Recorded, ConcludeError> {
    let recorded = shared.ports.store.record_check(entry).await;
    let recorded = recorded.map_err(|source| ConcludeError::Store { node: entry.key, source })?;
    shared.store_ready.ready();
    Ok(recorded)
}

/// Someone else wrote a verdict on this node since it was read: this one would break the chain and is dropped.
fn not_next(node: NodeKey) {
    error!(target: "validator::verification", { node.id = %node.node }, "another verdict came first; this one is dropped");
}

fn entry(
    shared: &Shared,
    node: &NodeRecord,
    conclusion: &Conclusion,
    judged: Judged,
) -> Result<CheckEntry, ConcludeError> {
    let kind = conclusion.plan.kind;
    let finished = conclusion.finished;
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
        policy: shared.policy(conclusion.plan.gpus).digest(),
        evidence: Evidence {
            host_key: conclusion.host_key,
            tries: judged.tries,
            claims: conclusion.claims.clone(),
            transcript: conclusion.transcript,
            prover: shared.prover.name(),
        },
    };
    let signed = sign(shared.ports.signer.as_ref(), verdict)
        .map_err(|source| ConcludeError::Sign { node: node.key, source })?;
    let digest: Digest = signed.digest();
    Ok(CheckEntry {
        key: node.key,
        verdict: signed.encode(),
        digest,
        previous,
        started: judged.started,
        summary: VerdictSummary { digest, kind, outcome: judged.outcome, finished },
        gpus: conclusion.gpus.clone(),
        gpus_stale_before: finished - shared.settings.gpu_ownership_ttl,
        transcript: None,
        due: node.due.after(kind, &judged.outcome, &shared.settings.intervals, finished),
    })
}

fn sign(signer: &dyn HotkeySigner, verdict: Verdict) -> Result<Signed<Verdict>, EnvelopeError> {
    let signature = signer.sign(&Signed::signing_payload(&verdict, &signer.hotkey()));
    Signed::assemble(verdict, signer.hotkey(), signature)
}

fn announce(shared: &Shared, entry: &CheckEntry) {
    let summary = &entry.summary;
    shared.metrics.verifications.get_or_create(&type_of(summary.kind)).inc();
    match summary.outcome {
        Outcome::Passed => {
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
mod tests;
