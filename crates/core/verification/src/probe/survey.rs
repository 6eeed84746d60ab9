//! A full check's survey of the machine: one command, before the proof.

#![expect(
    clippy::cast_possible_truncation,
    reason = "the derive of codec casts the variant indexes that stand here"
)]

use codec::{Decode, Encode};
use serde::Serialize;

use super::containers::{ContainerHost, Engine, EngineState};
use super::hardware::{Hardware, UNKNOWN, lscpu, meminfo, os_release, uname};
use super::sections::{Section, SectionError, Wanted, sections};
use super::storage::Storage;
use super::{Demand, ProbeRules};
use crate::Reason;

const WANTED: &Wanted = &[
    ("lscpu", 16 * 1024),
    ("meminfo", 16 * 1024),
    ("os-release", 4 * 1024),
    ("uname", 1024),
    ("docker", 64 * 1024),
    ("podman", 64 * 1024),
    ("df", 4 * 1024),
];

/// What one probe of a survey came to.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Found<T> {
    /// What was read.
    #[codec(index = 0)]
    Read(T),
    /// The tool is not there, failed, or printed something else.
    #[codec(index = 1)]
    Unreadable,
}

impl<T> Found<T> {
    /// What was read, if anything was.
    pub const fn read(&self) -> Option<&T> {
        match self {
            Self::Read(value) => Some(value),
            Self::Unreadable => None,
        }
    }
}

/// A survey, read. What was not asked for is absent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Survey {
    /// Processor, memory, system.
    pub hardware: Option<Found<Hardware>>,
    /// The container engine.
    pub containers: Option<Found<ContainerHost>>,
    /// Room for images and data.
    pub storage: Option<Found<Storage>>,
}

impl Survey {
    /// Reads the output of the command that was given these rules.
    pub fn parse(output: &[u8], rules: &ProbeRules) -> Result<Self, SectionError> {
        let all = sections(output, WANTED)?;
        let asked = |demand: Demand| demand.is_asked().then_some(());
        Ok(Self {
            hardware: asked(rules.hardware).map(|()| hardware(&all).map_or(Found::Unreadable, Found::Read)),
            containers: rules.asks_containers().then(|| containers(&all)),
            storage: asked(rules.storage).map(|()| {
                let df = body(&all, "df").and_then(|output| Storage::parse(output).ok());
                df.map_or(Found::Unreadable, Found::Read)
            }),
        })
    }

    /// Why it fails its node, if it does: the first of what is required.
    pub fn failure(&self, rules: &ProbeRules) -> Option<Reason> {
        let containers = match &self.containers {
            Some(Found::Unreadable) => Some(Reason::ProbeOutputInvalid),
            Some(Found::Read(host)) => host.failure(),
            None => None,
        };
        let hardware = (self.hardware == Some(Found::Unreadable)).then_some(Reason::ProbeOutputInvalid);
        let storage = match &self.storage {
            Some(Found::Unreadable) => Some(Reason::ProbeOutputInvalid),
            Some(Found::Read(storage)) if storage.available_bytes < rules.storage_bytes => {
                Some(Reason::StorageTooSmall)
            }
            _ => None,
        };
        let required = |demand: Demand, failure: Option<Reason>| failure.filter(|_| demand.is_required());
        let must_run = rules.containers.is_required() || rules.gpu_containers.is_required();
        required(rules.hardware, hardware)
            .or(containers.filter(|_| must_run))
            .or(required(rules.storage, storage))
    }
}

fn body<'a>(all: &[Section<'a>], name: &str) -> Option<&'a [u8]> {
    all.iter().find(|section| section.name == name && section.code == 0).map(|section| section.body)
}

fn hardware(all: &[Section<'_>]) -> Option<Hardware> {
    let (cpu_model, cpus) = lscpu(body(all, "lscpu")?).ok()?;
    // Minimal systems have no such file.
    let os = body(all, "os-release").map_or_else(|| Ok(UNKNOWN.to_owned()), os_release).ok()?;
    Some(Hardware {
        cpu_model,
        cpus,
        memory_bytes: meminfo(body(all, "meminfo")?).ok()?,
        os,
        kernel: uname(body(all, "uname")?).ok()?,
    })
}

/// The first engine that answers in its own form; where none does, the first that is there. What is called `docker` may be a script
/// before podman, which is then asked by its own name.
fn containers(all: &[Section<'_>]) -> Found<ContainerHost> {
    let (mut state, mut unreadable) = (EngineState::Absent, false);
    for engine in Engine::ALL {
        let Some(section) = all.iter().find(|section| section.name == engine.program()) else { continue };
        if section.code == 0 {
            match ContainerHost::parse(engine, section.body) {
                Ok(host) => return Found::Read(host),
                Err(_) => unreadable = true,
            }
        } else if state == EngineState::Absent {
            state = EngineState::Silent(engine);
        }
    }
    if unreadable { Found::Unreadable } else { Found::Read(ContainerHost::none(state)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOCKER: &[u8] = include_bytes!("recorded/docker-info-20.10.json");
    const LSCPU: &[u8] = b"CPU(s): 64\nModel name: AMD EPYC 7543";
    const MEMINFO: &[u8] = b"MemTotal:       24684084 kB";
    const OS: &[u8] = b"PRETTY_NAME=\"Ubuntu 24.04 LTS\"";
    const DF: &[u8] =
        b"Filesystem 1-blocks Used Available Capacity Mounted on\n/dev/a 4000000000000 1 2000000000000 50% /";

    /// Name, exit code and output of a tool.
    type Printed<'a> = (&'a str, u8, &'a [u8]);

    fn framed(sections: &[Printed<'_>]) -> Vec<u8> {
        let mut output = Vec::new();
        for (name, code, body) in sections {
            output.extend(format!("{name} {code} {}\n", body.len()).into_bytes());
            output.extend(*body);
            output.push(b'\n');
        }
        output.extend(b"end 0 0\n\n");
        output
    }

    /// A whole machine with some of its sections replaced.
    fn survey(replaced: &[Printed<'_>]) -> Survey {
        let whole: [Printed<'_>; 6] = [
            ("lscpu", 0, LSCPU),
            ("meminfo", 0, MEMINFO),
            ("os-release", 0, OS),
            ("uname", 0, b"Linux 6.8.0-31-generic"),
            ("docker", 0, DOCKER.trim_ascii_end()),
            ("df", 0, DF),
        ];
        let chosen =
            whole.map(|section| *replaced.iter().find(|other| other.0 == section.0).unwrap_or(&section));
        let kept: Vec<_> = chosen.into_iter().filter(|section| section.1 != 127).collect();
        Survey::parse(&framed(&kept), &ProbeRules::default()).unwrap()
    }

    #[test]
    fn each_required_probe_fails_for_its_own_reason() {
        let rules = ProbeRules { gpu_containers: Demand::Off, ..ProbeRules::default() };
        let small = String::from_utf8_lossy(DF).replace("2000000000000", "1000000000000");
        let cases: [(&[Printed<'_>], Option<Reason>); 7] = [
            (&[], None),
            (&[("lscpu", 127, b"")], Some(Reason::ProbeOutputInvalid)),
            (&[("meminfo", 0, b"\x1b")], Some(Reason::ProbeOutputInvalid)),
            (&[("docker", 127, b"")], Some(Reason::ContainerRuntimeMissing)),
            (&[("docker", 1, b"")], Some(Reason::ContainerRuntimeDown)),
            (&[("docker", 0, b"{}")], Some(Reason::ProbeOutputInvalid)),
            (&[("df", 0, small.as_bytes())], Some(Reason::StorageTooSmall)),
        ];
        for (replaced, reason) in cases {
            let survey = survey(replaced);
            assert_eq!(survey.failure(&rules), reason, "{replaced:?}");
            let recorded = ProbeRules {
                hardware: Demand::Recorded,
                containers: Demand::Recorded,
                gpu_containers: Demand::Recorded,
                storage: Demand::Recorded,
                ..rules
            };
            assert_eq!(survey.failure(&recorded), None);
        }
    }

    #[test]
    fn an_engine_that_answers_in_anothers_form_gives_way_to_the_next() {
        let podman = include_bytes!("recorded/podman-info-4.3.json").trim_ascii_end();
        let read = |survey: Survey| match survey.containers {
            Some(Found::Read(host)) => Some(host.engine),
            _ => None,
        };
        // As podman-docker installs it.
        let shim = framed(&[("docker", 0, podman), ("podman", 0, podman)]);
        let survey = Survey::parse(&shim, &ProbeRules::default()).unwrap();
        assert_eq!(read(survey), Some(EngineState::Answers(Engine::Podman)));
        let alone = framed(&[("docker", 0, podman)]);
        assert_eq!(read(Survey::parse(&alone, &ProbeRules::default()).unwrap()), None);
        let reason = Reason::ProbeOutputInvalid;
        assert_eq!(
            reason.blame(),
            crate::Blame::Elsewhere(crate::Fault::Unknown),
            "what we cannot read is no crime"
        );
    }

    #[test]
    fn a_system_without_a_name_is_a_system() {
        let os = |replaced: &[Printed<'_>]| match self::survey(replaced).hardware {
            Some(Found::Read(machine)) => Some(machine.os),
            _ => None,
        };
        assert_eq!(os(&[("os-release", 127, b"")]).as_deref(), Some(UNKNOWN));
        assert_eq!(os(&[("os-release", 0, b"ID=arch")]).as_deref(), Some(UNKNOWN));
        assert_eq!(os(&[("os-release", 0, b"NAME=Arch\nID=arch")]).as_deref(), Some("Arch"));
        assert_eq!(os(&[("os-release", 0, b"NAME=a\x1b[2J")]), None);
    }

    #[test]
    fn what_is_not_asked_is_absent_and_what_is_no_survey_is_refused() {
        assert_eq!(Survey::parse(&framed(&[]), &ProbeRules::NONE), Ok(Survey::default()));
        assert!(Survey::parse(b"", &ProbeRules::default()).is_err());
        let big = vec![b'x'; 70_000];
        assert_eq!(
            Survey::parse(&framed(&[("docker", 0, &big)]), &ProbeRules::default()),
            Err(SectionError::TooLong)
        );
    }
}
