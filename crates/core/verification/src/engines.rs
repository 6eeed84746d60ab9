//! Which container engines gave their containers GPUs lately: what must be seen with others before a container without GPUs speaks
//! against its node.
//!
//! How a container is given GPUs is said in flags of ours, one way for each engine. If ours are wrong for an engine, or for what
//! everybody now runs of it, each of its nodes fails, and however often that is repeated it remains our doing. So only an engine
//! whose containers saw their GPUs on nodes of at least [`WITNESSES`] other miners speaks against a node of that engine. Its full
//! check passed, so those nodes proved GPUs; that a container saw them is their word, and one miner's word is not enough.
//!
//! Without that the check fails all the same, with nobody at fault, and its last pass counts until it is too old.
//!
//! **Rejected**: going on to the proof without a witness, as where an image cannot be pulled for a while: a registry that is down
//! comes back, but whoever picks an engine that few have would be paid for ever for GPUs that no container sees. One witness for
//! all engines: the flags are not the same.

use std::collections::BTreeSet;

use basilica_types::{Hotkey, Timestamp};

use crate::probe::{ContainerRun, Engine, EngineState, Found};
use crate::{CheckKind, Outcome, Probes, Verdict};

/// Of so many other miners nodes must have passed.
pub const WITNESSES: usize = 2;

/// A passed full check in which a container saw the GPUs that were proved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GaveGpus {
    miner: Hotkey,
    engine: Engine,
    at: Timestamp,
}

impl GaveGpus {
    /// What a verdict tells of that, if it does.
    pub fn of(verdict: &Verdict) -> Option<Self> {
        let probes = &verdict.evidence.probes;
        let saw = matches!(probes.container_run, Some(ContainerRun::SawAll | ContainerRun::SawAllUnpulled));
        let passed = verdict.kind == CheckKind::Full && verdict.outcome == Outcome::Passed;
        let engine = probes.engine().filter(|_| saw && passed)?;
        Some(Self { miner: verdict.miner, engine, at: verdict.finished })
    }
}

/// Whether nodes of enough miners other than `miner` passed by this engine since then.
pub fn gave_gpus_elsewhere<'a>(
    seen: impl IntoIterator<Item = &'a GaveGpus>,
    miner: &Hotkey,
    engine: Engine,
    since: Timestamp,
) -> bool {
    let others = seen.into_iter().filter(|seen| {
        let GaveGpus { miner: other, engine: by, at } = seen;
        other != miner && *by == engine && *at >= since
    });
    others.map(|seen| seen.miner).collect::<BTreeSet<_>>().len() >= WITNESSES
}

impl Probes {
    /// The container engine that answered a full check, if one was asked and did.
    pub const fn engine(&self) -> Option<Engine> {
        match &self.containers {
            Some(Found::Read(host)) => match host.engine {
                EngineState::Answers(engine) => Some(engine),
                EngineState::NotAsked | EngineState::Absent | EngineState::Silent(_) => None,
            },
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::ContainerHost;
    use crate::verdict::tests::verdict;
    use crate::{Fault, Reason};

    const SINCE: Timestamp = Timestamp::from_secs(1_800_000_000);

    fn miner(number: u8) -> Hotkey {
        Hotkey::from_bytes([number; 32])
    }

    fn told(by: u8, engine: Engine, run: ContainerRun) -> Verdict {
        let mut verdict =
            Verdict { miner: miner(by), outcome: Outcome::Passed, finished: SINCE, ..verdict() };
        let host = ContainerHost::none(EngineState::Answers(engine));
        verdict.evidence.probes =
            Probes { containers: Some(Found::Read(host)), container_run: Some(run), ..Probes::default() };
        verdict
    }

    #[test]
    fn a_witness_is_a_passed_full_check_whose_container_saw_every_gpu() {
        let good = told(1, Engine::Podman, ContainerRun::SawAll);
        let expected = GaveGpus { miner: miner(1), engine: Engine::Podman, at: SINCE };
        assert_eq!(GaveGpus::of(&good), Some(expected));
        assert_eq!(GaveGpus::of(&told(1, Engine::Podman, ContainerRun::SawAllUnpulled)), Some(expected));
        for run in
            [ContainerRun::NoImage, ContainerRun::PullPutOff, ContainerRun::Failed, ContainerRun::Missed(1)]
        {
            assert_eq!(GaveGpus::of(&told(1, Engine::Podman, run)), None, "{run:?}");
        }
        let reason = Reason::ProofOpeningMismatch;
        let outcome = Outcome::Failed { reason, fault: Fault::Node { confirmed: true } };
        assert_eq!(GaveGpus::of(&Verdict { outcome, ..good.clone() }), None, "it proved nothing");
        assert_eq!(GaveGpus::of(&Verdict { kind: CheckKind::Light, ..good.clone() }), None);
        let mut nameless = good.clone();
        nameless.evidence.probes.containers = Some(Found::Unreadable);
        assert_eq!(GaveGpus::of(&nameless), None);
        nameless.evidence.probes = Probes { container_run: None, ..good.evidence.probes };
        assert_eq!(GaveGpus::of(&nameless), None, "it was not asked");
    }

    #[test]
    fn an_engine_is_shown_by_recent_passes_of_two_other_miners_with_that_engine() {
        let seen: Vec<_> =
            [(1, Engine::Docker), (2, Engine::Docker), (1, Engine::Docker), (1, Engine::Podman)]
                .into_iter()
                .filter_map(|(by, engine)| GaveGpus::of(&told(by, engine, ContainerRun::SawAll)))
                .collect();
        let told = |to, engine, since| gave_gpus_elsewhere(&seen, &miner(to), engine, since);
        assert!(told(3, Engine::Docker, SINCE));
        assert!(
            !told(1, Engine::Docker, SINCE) && !told(2, Engine::Docker, SINCE),
            "no miner is its own witness"
        );
        assert!(!told(3, Engine::Podman, SINCE), "one miner, and the other engine shows nothing");
        assert!(!told(3, Engine::Docker, SINCE + basilica_types::Millis(1)), "too long ago");
        assert!(!gave_gpus_elsewhere(&[], &miner(3), Engine::Docker, SINCE));
    }
}
