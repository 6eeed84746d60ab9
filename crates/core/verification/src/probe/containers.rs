//! Container engines: which one runs here, and which of its containers are rentals.

#![expect(
    clippy::cast_possible_truncation,
    reason = "the derive of codec casts the variant indexes that stand here"
)]

use std::collections::{BTreeMap, BTreeSet};

use basilica_types::GpuUuid;
use codec::{Decode, Encode};
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

use super::text::{ParseError, text, utf8};
use crate::Reason;
use crate::registry::is_put_off;

/// A program that runs containers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Engine {
    /// Docker Engine.
    #[codec(index = 0)]
    Docker,
    /// Podman.
    #[codec(index = 1)]
    Podman,
}

impl Engine {
    /// In the order in which they are looked for.
    pub const ALL: [Self; 2] = [Self::Docker, Self::Podman];

    /// The program, and the name of its section.
    pub const fn program(self) -> &'static str {
        match self {
            Self::Docker => "docker",
            Self::Podman => "podman",
        }
    }
}

/// Whether there is an engine, and whether it answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum EngineState {
    /// It was not asked for.
    #[codec(index = 0)]
    NotAsked,
    /// Neither program is there.
    #[codec(index = 1)]
    Absent,
    /// One is there, and does not answer this user.
    #[codec(index = 2)]
    Silent(Engine),
    /// It answers.
    #[codec(index = 3)]
    Answers(Engine),
}

/// Most rental containers that are listed of one node.
const RENTALS_MAX: usize = 64;
/// Longest rental id.
const RENTAL_ID_MAX: usize = 64;

/// A running container that says it is a rental (label `basilica.rental_id`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RentalContainer {
    /// The engine's id, 64 hex digits.
    pub id: String,
    /// The label's value.
    pub rental: String,
}

/// Lines that no engine prints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the list of containers is not one")]
pub struct ListingError;

/// What `ps --no-trunc --filter label=basilica.rental_id --format '{{.ID}} {{.Label "basilica.rental_id"}}'` printed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing(pub Vec<RentalContainer>);

impl Listing {
    /// Reads the lines.
    pub fn parse(output: &[u8]) -> Result<Self, ListingError> {
        let text = std::str::from_utf8(output).map_err(|_| ListingError)?;
        let mut all: Vec<RentalContainer> = Vec::new();
        for line in text.split_terminator('\n') {
            let (id, rental) = line.split_once(' ').ok_or(ListingError)?;
            let is_id =
                id.len() == 64 && id.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
            let is_rental = (1..=RENTAL_ID_MAX).contains(&rental.len())
                && rental.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'));
            if !is_id || !is_rental || all.len() >= RENTALS_MAX || all.iter().any(|other| other.id == id) {
                return Err(ListingError);
            }
            all.push(RentalContainer { id: id.to_owned(), rental: rental.to_owned() });
        }
        Ok(Self(all))
    }
}

/// An engine as it describes itself.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize)]
pub struct ContainerHost {
    /// Which one, and whether it answers.
    pub engine: EngineState,
    /// Its version; empty where it does not answer.
    pub version: String,
    /// How it stores images.
    pub storage_driver: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DockerInfo {
    server_version: String,
    driver: String,
}

#[derive(Deserialize)]
struct PodmanInfo {
    store: PodmanStore,
    version: PodmanVersion,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PodmanStore {
    graph_driver_name: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct PodmanVersion {
    version: String,
}

impl ContainerHost {
    /// Of an engine that does not answer.
    pub const fn none(engine: EngineState) -> Self {
        Self { engine, version: String::new(), storage_driver: String::new() }
    }

    /// Of `docker info --format '{{json .}}'` or the same of podman.
    pub fn parse(engine: Engine, output: &[u8]) -> Result<Self, ParseError> {
        // One object, and each of its fields once: the second of two would be read by whom?
        let _: BTreeMap<String, IgnoredAny> =
            serde_json::from_slice(output).map_err(|_| ParseError("info is no json object"))?;
        let (version, driver) = match engine {
            Engine::Docker => serde_json::from_slice(output)
                .map(|info: DockerInfo| (info.server_version, info.driver))
                .map_err(|_| ParseError("docker info has another form"))?,
            Engine::Podman => serde_json::from_slice(output)
                .map(|info: PodmanInfo| (info.version.version, info.store.graph_driver_name))
                .map_err(|_| ParseError("podman info has another form"))?,
        };
        Ok(Self {
            engine: EngineState::Answers(engine),
            version: text(&version, "the engine's version is no text")?,
            storage_driver: text(&driver, "the engine's storage driver is no text")?,
        })
    }

    /// Why containers cannot be run here, if they cannot.
    pub const fn failure(&self) -> Option<Reason> {
        match self.engine {
            EngineState::Absent => Some(Reason::ContainerRuntimeMissing),
            EngineState::Silent(_) => Some(Reason::ContainerRuntimeDown),
            EngineState::NotAsked | EngineState::Answers(_) => None,
        }
    }
}

/// Most GPUs that are read of one container.
const GPUS_MAX: usize = basilica_proof::claim::DEVICES_MAX;

/// The GPUs that a container sees, of `nvidia-smi -L`: `GPU 0: NVIDIA H100 80GB HBM3 (UUID: GPU-…)`. Lines of MIG devices are
/// indented below their GPU and name no further one.
pub fn visible_gpus(output: &[u8]) -> Result<BTreeSet<GpuUuid>, ParseError> {
    const WHAT: ParseError = ParseError("nvidia-smi -L printed another list");
    let output = utf8(output, "nvidia-smi printed no text")?;
    let mut found = BTreeSet::new();
    for line in output.split_terminator('\n') {
        if line.starts_with("  MIG ") {
            continue;
        }
        let rest = line.strip_prefix("GPU ").ok_or(WHAT)?;
        let (index, _) = rest.split_once(": ").ok_or(WHAT)?;
        let uuid = rest.rsplit_once("(UUID: ").and_then(|(_, uuid)| uuid.strip_suffix(')')).ok_or(WHAT)?;
        super::sections::decimal(index).ok_or(WHAT)?;
        if found.len() >= GPUS_MAX || !found.insert(uuid.parse().map_err(|_| WHAT)?) {
            return Err(WHAT);
        }
    }
    Ok(found)
}

/// What became of a container that was to show the GPUs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ContainerRun {
    /// It ran and saw every GPU that is to be proved.
    #[codec(index = 0)]
    SawAll,
    /// The image could not be pulled.
    #[codec(index = 1)]
    NoImage,
    /// It did not run with GPUs, or what it printed is no list of them.
    #[codec(index = 2)]
    Failed,
    /// It ran and did not see so many of the GPUs.
    #[codec(index = 3)]
    Missed(u8),
    /// It ran of an image that was there, because pulling it failed, and saw every GPU.
    #[codec(index = 4)]
    SawAllUnpulled,
    /// The image could not be pulled by what may pass: the registry asked for patience or failed, the connection broke, or the pull had
    /// no end.
    #[codec(index = 5)]
    PullPutOff,
}

/// Bytes of what an engine wrote while it could not pull.
const PULL_ERRORS_MAX: usize = 2 * 1024;

impl ContainerRun {
    /// Of the sections `pull` with what failed, unless it was not pulled, `image` and `gpus`; `wanted` are to be seen.
    pub fn parse(output: &[u8], wanted: &BTreeSet<GpuUuid>) -> Result<Self, super::sections::SectionError> {
        let known = [("pull", PULL_ERRORS_MAX), ("image", 0), ("gpus", 16 * 1024)];
        let all = super::sections::sections(output, &known)?;
        let find = |name| all.iter().find(|section| section.name == name);
        let pull = find("pull");
        if find("image").is_none_or(|image| image.code != 0) {
            let put_off = pull.is_some_and(|pull| is_put_off(pull.code, pull.body));
            return Ok(if put_off { Self::PullPutOff } else { Self::NoImage });
        }
        let pulled = pull.is_none_or(|pull| pull.code == 0);
        let gpus = find("gpus").filter(|gpus| gpus.code == 0);
        let Some(seen) = gpus.and_then(|gpus| visible_gpus(gpus.body).ok()) else { return Ok(Self::Failed) };
        match wanted.difference(&seen).count() {
            0 if pulled => Ok(Self::SawAll),
            0 => Ok(Self::SawAllUnpulled),
            missed => Ok(Self::Missed(u8::try_from(missed).unwrap_or(u8::MAX))),
        }
    }

    /// Why it fails its node, if it does.
    pub const fn failure(self) -> Option<Reason> {
        match self {
            // What pulling it anew failed by may be the registry's, and renters bring images of their own.
            Self::SawAll | Self::SawAllUnpulled => None,
            Self::NoImage | Self::PullPutOff => Some(Reason::ImagePullFailed),
            Self::Failed | Self::Missed(_) => Some(Reason::ContainerGpuDenied),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Recorded of Docker 20.10.24 and Podman 4.3.1 (Debian 12); names, paths and the kernel's release are replaced.
    const DOCKER_INFO: &[u8] = include_bytes!("recorded/docker-info-20.10.json");
    const PODMAN_INFO: &[u8] = include_bytes!("recorded/podman-info-4.3.json");
    /// Written after NVIDIA's documentation of `nvidia-smi -L`.
    const CARDS: &[u8] = b"GPU 0: NVIDIA H100 80GB HBM3 (UUID: GPU-5d2e8a3c-9b41-4f07-8a6e-0c1d2e3f4a5b)
GPU 1: NVIDIA A100-SXM4-40GB (UUID: GPU-5d2e8a3c-9b41-4f07-8a6e-0c1d2e3f4a5c)
  MIG 1g.5gb      Device  0: (UUID: MIG-c6d4f1ef-42e4-5de3-91c7-45d71c87eb3f)";

    #[test]
    fn engines_describe_themselves() {
        let docker = ContainerHost::parse(Engine::Docker, DOCKER_INFO).unwrap();
        assert_eq!((docker.version.as_str(), docker.storage_driver.as_str()), ("20.10.24+dfsg1", "vfs"));
        let podman = ContainerHost::parse(Engine::Podman, PODMAN_INFO).unwrap();
        assert_eq!((podman.version.as_str(), podman.storage_driver.as_str()), ("4.3.1", "overlay"));
        assert_eq!(podman.engine, EngineState::Answers(Engine::Podman));
        assert_eq!(podman.failure(), None);
        let none = ContainerHost::none(EngineState::Absent);
        assert_eq!(none.failure(), Some(Reason::ContainerRuntimeMissing));
    }

    #[test]
    fn hostile_descriptions_are_refused() {
        let twice = br#"{"ServerVersion":"1","ServerVersion":"2","Driver":"x"}"#;
        let deep = "[".repeat(10_000);
        let long = format!(r#"{{"ServerVersion":"{}","Driver":"x"}}"#, "1".repeat(200));
        for bad in [
            &b""[..],
            b"{}",
            b"[]",
            b"\xff",
            twice,
            br#"{"ServerVersion":"","Driver":"x"}"#,
            br#"{"ServerVersion":"\u001b[31m","Driver":"x"}"#,
            br#"{"ServerVersion":1,"Driver":"x"}"#,
            &DOCKER_INFO[..500],
            deep.as_bytes(),
            long.as_bytes(),
            PODMAN_INFO,
        ] {
            assert!(ContainerHost::parse(Engine::Docker, bad).is_err(), "{:?}", String::from_utf8_lossy(bad));
        }
    }

    #[test]
    fn what_a_container_sees_is_compared_with_what_is_to_be_proved() {
        let cards = visible_gpus(CARDS).unwrap();
        assert_eq!(cards.len(), 2);
        let run = |pull: u8, gpus: u8, body: &[u8]| {
            let head = format!("pull {pull} 0\n\nimage {pull} 0\n\ngpus {gpus} {}\n", body.len());
            let mut output = head.into_bytes();
            output.extend(body);
            output.extend(b"\nend 0 0\n\n");
            ContainerRun::parse(&output, &cards).unwrap()
        };
        assert_eq!(run(0, 0, CARDS), ContainerRun::SawAll);
        assert_eq!(run(1, 0, CARDS), ContainerRun::NoImage);
        assert_eq!(run(0, 125, b""), ContainerRun::Failed);
        assert_eq!(run(0, 0, b"NVIDIA-SMI has failed"), ContainerRun::Failed);
        let one = CARDS.split(|byte| *byte == b'\n').next().unwrap();
        assert_eq!(run(0, 0, one), ContainerRun::Missed(1));
        assert_eq!(ContainerRun::Missed(1).failure(), Some(Reason::ContainerGpuDenied));
        let later = b"pull 1 15\ntoomanyrequests\nimage 1 0\n\nend 0 0\n\n";
        let later = ContainerRun::parse(later, &cards).unwrap();
        assert_eq!((later, later.failure()), (ContainerRun::PullPutOff, Some(Reason::ImagePullFailed)));
        let stale =
            [b"pull 1 0\n\nimage 0 0\n\ngpus 0 ", CARDS.len().to_string().as_bytes(), b"\n", CARDS].concat();
        let stale = ContainerRun::parse(&[&stale[..], b"\nend 0 0\n\n"].concat(), &cards).unwrap();
        assert_eq!((stale, stale.failure()), (ContainerRun::SawAllUnpulled, None), "what is there is run");
        let twice = [one, b"\n", one].concat();
        assert!(visible_gpus(&twice).is_err() && visible_gpus(b"GPU x: y (UUID: z)").is_err());
    }

    /// Recorded of Docker 20.10.24 and of the client 28.2.2 against it: both print the same.
    const DOCKER: &[u8] = b"9a8ed659bc17b7571b9ed947907e0f2d596e370ef35713676316270916938ae8 rental-1\n";

    #[test]
    fn what_docker_prints_is_read() {
        let read = Listing::parse(DOCKER).unwrap();
        assert_eq!(read.0.len(), 1);
        assert_eq!(read.0[0].rental, "rental-1");
        assert_eq!(Listing::parse(b""), Ok(Listing::default()), "no rentals: nothing is printed");
    }

    #[test]
    fn nothing_else_is() {
        let twice = [DOCKER, DOCKER].concat();
        let many: Vec<u8> = (0..=RENTALS_MAX).flat_map(|n| format!("{n:064x} r\n").into_bytes()).collect();
        let long = format!("{} {}\n", "a".repeat(64), "r".repeat(65));
        let coloured = format!("{} \u{1b}[31mr\n", "a".repeat(64));
        let cases: [&[u8]; 8] =
            [b"\n", b"short r\n", b"\xff\xfe", b"\0", &twice, &many, long.as_bytes(), coloured.as_bytes()];
        for bad in cases {
            assert_eq!(Listing::parse(bad), Err(ListingError), "{:?}", String::from_utf8_lossy(bad));
        }
        assert!(Listing::parse(&DOCKER[..30]).is_err(), "cut off");
    }
}
