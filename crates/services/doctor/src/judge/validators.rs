//! What the validators' own check says, as far as nothing that was seen before explains it.

use basilica_verification::probe::Found;
use basilica_verification::{Blame, Fault, Finding as CheckFinding, ProbeRules, Reason};

use super::{Checked, Inside, inside};
use crate::finding::{Code, Finding};

/// Findings beside `own`.
pub(super) fn findings(inside: &Inside, own: &[Code]) -> Vec<Finding> {
    let mut found = Vec::new();
    let rules = ProbeRules::default();
    let reason = match &inside.checked {
        Checked::Done(done) => match done.finding {
            CheckFinding::Passed => return found,
            CheckFinding::Failed(reason) => Some(reason),
        },
        Checked::Not(why) => {
            let told = ["see what is said of this machine"];
            found.extend(why.as_ref().map(|why| Finding::new(Code::CheckOpen, why.clone(), &told)));
            let surveyed = inside.survey.as_ref().and_then(|survey| survey.failure(&rules));
            surveyed.filter(|reason| *reason == Reason::StorageTooSmall)
        }
    };
    if let Some(reason) = reason.filter(|reason| !explained(*reason, own)) {
        found.push(of(reason, inside));
    }
    found
}

/// Whether a cause of this reason is among what was found.
fn explained(reason: Reason, own: &[Code]) -> bool {
    let causes: &[Code] = match reason {
        Reason::ContainerRuntimeMissing => &[Code::DockerMissing],
        Reason::ContainerRuntimeDown => &[Code::DockerDenied, Code::DockerDown],
        Reason::ContainerGpuDenied => &[Code::DockerNoGpu],
        Reason::NoGpu | Reason::ProverFailed | Reason::CudaTooOld => {
            &[Code::DriverMissing, Code::DriverBroken, Code::NoGpu, Code::CudaTooOld, Code::HomeNoexec]
        }
        Reason::ProverUploadFailed | Reason::ProverAltered => {
            &[Code::HomeFull, Code::HomeUnwritable, Code::HomeNoexec, Code::ToolsMissing]
        }
        Reason::CommandTimeout => &[Code::NodeSlow],
        Reason::CommandFailed => &[Code::ToolsMissing],
        Reason::ConnectionLost => &[Code::SshdMaxSessions],
        _ => &[],
    };
    causes.iter().any(|cause| own.contains(cause))
}

fn of(reason: Reason, inside: &Inside) -> Finding {
    let words = format!("{}: {}", reason.code(), reason.explanation());
    match reason {
        Reason::ContainerGpuDenied => inside::no_gpu_in_containers(words),
        Reason::ImagePullFailed => Finding::new(
            Code::ImagePull,
            words,
            &["on the node: docker pull nvidia/cuda:12.8.0-runtime-ubuntu22.04 (it says why)"],
        ),
        Reason::StorageTooSmall => Finding::new(
            Code::StorageSmall,
            room(inside).unwrap_or(words),
            &[
                "on the node: docker system df; docker system prune; or move docker's data-root to a larger disk",
            ],
        ),
        Reason::PortUnreachable => Finding::new(
            Code::PortsBlocked,
            words,
            &["on the node: sudo ufw allow 20000:32767/tcp, and the same in the provider's firewall"],
        ),
        Reason::CudaTooOld => Finding::new(
            Code::CudaTooOld,
            words,
            &["on the node: sudo apt-get install nvidia-driver-570-server, then sudo reboot"],
        ),
        Reason::NoGpu => {
            Finding::new(Code::NoGpu, words, &["on the node: nvidia-smi -L; sudo dmesg | grep -i nvrm"])
        }
        Reason::CommandTimeout => Finding::new(
            Code::NodeSlow,
            words,
            &["on the node: look at its load and disks (uptime, iostat, dmesg)"],
        ),
        _ => {
            let code = match reason.blame() {
                Blame::Elsewhere(Fault::Validator | Fault::Network | Fault::Unknown) => Code::CheckOpen,
                _ => Code::CheckFailed,
            };
            Finding::new(code, words, &["see docs/reasons.md"])
        }
    }
}

fn room(inside: &Inside) -> Option<String> {
    let (of_check, of_survey) = match &inside.checked {
        Checked::Done(done) => (done.probes.storage.as_ref(), None),
        Checked::Not(_) => (None, inside.survey.as_ref()?.storage.as_ref()),
    };
    let storage = of_check.or(of_survey).and_then(Found::read)?;
    let needed = ProbeRules::default().storage_bytes;
    Some(format!("{} bytes are free, validators ask for {needed}", storage.available_bytes))
}
