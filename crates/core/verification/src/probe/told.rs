//! What probes found, in lines for a person.

use super::{ContainerHost, ContainerRun, EngineState, Found, Hardware, Probes, Storage};
use crate::probe::reach::ReachEnd;

pub(super) fn lines(probes: &Probes) -> Vec<String> {
    let cards = probes.cards.as_ref().map(|cards| {
        let cuda = cards.cuda.map_or_else(|| "of an unknown version".to_owned(), |cuda| cuda.to_string());
        let [major, minor] = cards.capability;
        let mig = if cards.mig { ", split (mig)" } else { "" };
        format!("driver {}, cuda {cuda}, compute capability {major}.{minor}{mig}", cards.driver)
    });
    let run = probes.container_run.map(|run| match run {
        ContainerRun::SawAll => "a container saw all gpus".to_owned(),
        ContainerRun::SawAllUnpulled => {
            "a container saw all gpus, of an image that was there: pulling it failed".to_owned()
        }
        ContainerRun::NoImage => "the image could not be pulled".to_owned(),
        ContainerRun::PullPutOff => {
            "the image could not be pulled for now: too many requests, a connection that broke, an error of its registry, or no end in time"
                .to_owned()
        }
        ContainerRun::Failed => "no container could be run with gpus".to_owned(),
        ContainerRun::Missed(count) => format!("a container did not see {count} of the gpus"),
    });
    let reach = probes.reach.map(|reach| {
        let did = match reach.end {
            ReachEnd::Answered => "answered",
            ReachEnd::Refused => "refused the connection",
            ReachEnd::Silent => "did not answer",
            ReachEnd::Wrong => "answered with something else",
        };
        format!("port {} {did}", reach.port)
    });
    let hardware = found(probes.hardware.as_ref(), "processor, memory and system", hardware);
    let containers = found(probes.containers.as_ref(), "the container engine", containers);
    let storage = found(probes.storage.as_ref(), "the storage", storage);
    [cards, hardware, containers, storage, run, reach].into_iter().flatten().collect()
}

fn found<T>(found: Option<&Found<T>>, what: &str, tell: impl FnOnce(&T) -> String) -> Option<String> {
    found.map(|found| match found {
        Found::Read(value) => tell(value),
        Found::Unreadable => format!("{what} could not be read"),
    })
}

fn hardware(found: &Hardware) -> String {
    let Hardware { cpu_model, cpus, memory_bytes, os, kernel } = found;
    format!("{cpus} cpus {cpu_model}, {memory_bytes} bytes of memory, {os}, {kernel}")
}

fn containers(host: &ContainerHost) -> String {
    match host.engine {
        EngineState::NotAsked | EngineState::Absent => "neither docker nor podman is there".to_owned(),
        EngineState::Silent(engine) => format!("{} does not answer", engine.program()),
        EngineState::Answers(engine) => {
            format!("{} {} on {}", engine.program(), host.version, host.storage_driver)
        }
    }
}

fn storage(found: &Storage) -> String {
    format!("{} of {} bytes are free", found.available_bytes, found.total_bytes)
}
