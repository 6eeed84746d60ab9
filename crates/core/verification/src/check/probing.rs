//! What a full check asks between claims and proof: the machine, a container, a port.

use basilica_proof::claim::{ClaimReport, DeviceReport};
use basilica_types::Timestamp;

use super::{Conclusion, Effect, Phase, Ready, Stepped};
use crate::probe::{Cards, ContainerRun, EngineState, Found, Probes, Reach, Survey};
use crate::{Control, Reason, Surroundings, UnacceptableGpu};

/// A failed probe that the node need not have caused: a registry or our own way out may be down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Survivable {
    Image,
    Port,
}

impl Survivable {
    const fn of(reason: Reason) -> Option<Self> {
        match reason {
            Reason::ImagePullFailed => Some(Self::Image),
            Reason::PortUnreachable => Some(Self::Port),
            _ => None,
        }
    }

    const fn reason(self) -> Reason {
        match self {
            Self::Image => Reason::ImagePullFailed,
            Self::Port => Reason::PortUnreachable,
        }
    }
}

impl Conclusion {
    /// What works beside this try, which failed so. A node that a registry asked for patience is not at fault because others are not
    /// asked for it.
    pub fn beside(&self, reason: Reason, around: &Surroundings) -> Control {
        let put_off = self.probes.container_run == Some(ContainerRun::PullPutOff);
        match around.beside(reason) {
            Control::Reachable if put_off && reason == Reason::ImagePullFailed => Control::Absent,
            control => control,
        }
    }

    /// That a card is not what it is called because it is split says more by that name.
    pub(super) fn split(&mut self, report: &ClaimReport, refused: &UnacceptableGpu) -> Option<Reason> {
        let uuid = refused.difference.as_ref()?.uuid;
        let device = report.devices.iter().find(|device| device.uuid == uuid)?;
        if !self.plan.probes.cards.is_required() || device.facts.mig != Some(true) {
            return None;
        }
        self.probes.cards = Cards::of(std::slice::from_ref(device));
        Some(Reason::GpuMigEnabled)
    }

    /// What the GPUs would need to be asked, if they must have it.
    pub(super) fn lacks(&mut self, asked: &[DeviceReport]) -> Option<Reason> {
        let rules = &self.plan.probes;
        if !rules.cards.is_asked() {
            return None;
        }
        self.probes.cards = Cards::of(asked);
        let lacking = self.probes.cards.as_ref()?.lacks(&rules.card_rules);
        lacking.filter(|_| rules.cards.is_required())
    }

    pub(super) fn surveys(self, ready: Ready) -> Stepped {
        if self.plan.probes.surveys() {
            return self.goes_on(Phase::Surveying(ready), Effect::Survey);
        }
        self.reaches(ready)
    }

    pub(super) fn surveyed(mut self, ready: Ready, output: &[u8], now: Timestamp) -> Stepped {
        let rules = self.plan.probes;
        let Ok(survey) = Survey::parse(output, &rules) else {
            return self.failed(Reason::ProbeOutputInvalid, now);
        };
        let failure = survey.failure(&rules);
        let engine = match &survey.containers {
            Some(Found::Read(host)) => host.engine,
            _ => EngineState::NotAsked,
        };
        let Survey { hardware, containers, storage } = survey;
        self.probes = Probes { hardware, containers, storage, ..self.probes };
        match (failure, engine) {
            (Some(reason), _) => self.failed(reason, now),
            (None, EngineState::Answers(engine)) if rules.gpu_containers.is_asked() => {
                self.goes_on(Phase::Containing(ready), Effect::RunContainer(engine))
            }
            (None, _) => self.reaches(ready),
        }
    }

    pub(super) fn container_ran(mut self, ready: Ready, output: &[u8], now: Timestamp) -> Stepped {
        let wanted = ready.report.devices.iter().map(|device| device.uuid).collect();
        let Ok(run) = ContainerRun::parse(output, &wanted) else {
            return self.failed(Reason::ProbeOutputInvalid, now);
        };
        self.probes.container_run = Some(run);
        match run.failure().filter(|_| self.plan.probes.gpu_containers.is_required()) {
            Some(reason) => self.fails_or_survives(ready, reason, now),
            None => self.reaches(ready),
        }
    }

    /// Without a witness the failure is written down and the proof goes on: else everybody's last full check would grow old
    /// while a registry, or our own way out, is down.
    pub(super) fn fails_or_survives(self, ready: Ready, reason: Reason, now: Timestamp) -> Stepped {
        match Survivable::of(reason) {
            Some(failed) => {
                self.goes_on(Phase::Witnessing { ready, failed }, Effect::SeekWitness(failed.reason()))
            }
            None => self.failed(reason, now),
        }
    }

    pub(super) fn witnessed(self, ready: Ready, failed: Survivable, seen: bool, now: Timestamp) -> Stepped {
        match failed {
            _ if seen => self.failed(failed.reason(), now),
            Survivable::Image => self.reaches(ready),
            Survivable::Port => self.proves(ready),
        }
    }

    pub(super) fn reaches(self, ready: Ready) -> Stepped {
        if self.plan.probes.reachability.is_asked() {
            return self.goes_on(Phase::Reaching(ready), Effect::Reach);
        }
        self.proves(ready)
    }

    pub(super) fn reached(mut self, ready: Ready, reach: Reach, now: Timestamp) -> Stepped {
        self.probes.reach = Some(reach);
        match reach.failure().filter(|_| self.plan.probes.reachability.is_required()) {
            Some(reason) => self.fails_or_survives(ready, reason, now),
            None => self.proves(ready),
        }
    }
}
