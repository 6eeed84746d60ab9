//! What a validator asks of a node: the binding, and per device a claim with its work.

use basilica_types::{Digest, GpuUuid, NodeId};

use crate::PROTOCOL_VERSION;
use crate::claim::{self, ClassName, DeviceClaim};
use crate::params::ProofParams;
use crate::residency::{CACHE_LOG2_MAX, CACHE_LOG2_MIN, CHECK_READS_MAX, ResidencyParams, Space};
use crate::wire::{DecodeError, FRAME_HEADER_BYTES, Message, Reader, Writer};

/// Most bytes of an SSH host key blob; an RSA key of 16,384 bits has about 2 KiB.
pub const HOST_KEY_BYTES_MAX: usize = 4_096;
/// Most bytes of an encoded challenge.
pub const CHALLENGE_BYTES_MAX: u32 = 32 * 1024;
/// Most bytes that a prover may send in answer to one challenge.
pub const ANSWER_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Echoes of a run: round trips that deadlines are made from.
pub const ECHOES: u8 = 8;

const TEXT_MAX: usize = 128;

/// To whom and when a proof belongs. Every field enters every seed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binding {
    /// Public randomness that nobody knew before a certain block, as the validator chooses it; keys the cache of memory proofs.
    pub beacon: [u8; 32],
    /// Fresh per challenge, sent only over the pinned SSH channel.
    pub validator_nonce: [u8; 32],
    /// The node.
    pub node: NodeId,
    /// The node's pinned SSH host key as its public key blob (RFC 4253 §6.6).
    pub host_key: Vec<u8>,
}

/// One device, and the work and memory asked of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceChallenge {
    /// The claim under test.
    pub claim: DeviceClaim,
    /// Its work.
    pub params: ProofParams,
    /// Its memory: at most one region in each space, in the order of the spaces.
    pub residency: Vec<ResidencyParams>,
}

impl DeviceChallenge {
    /// What is asked of it in a space.
    pub fn region(&self, space: Space) -> Option<&ResidencyParams> {
        self.residency.iter().find(|params| params.space() == space)
    }
}

/// A whole challenge; every instance is within all bounds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Challenge {
    binding: Binding,
    cache_log2: Option<u8>,
    devices: Vec<DeviceChallenge>,
}

/// A challenge that may not be sent.
#[derive(Debug, thiserror::Error)]
pub enum ChallengeError {
    /// No device is challenged.
    #[error("challenge names no device")]
    Empty,
    /// The host key blob is empty or too long.
    #[error("host key blob of {0} bytes is not 1 to {HOST_KEY_BYTES_MAX}")]
    HostKey(usize),
    /// The device list is not acceptable.
    #[error("challenge device list")]
    Devices(#[from] claim::ClaimError),
    /// Devices that walk through the same space do not meet equally often.
    #[error("walks through the {0} memory of different devices have different numbers of barriers")]
    Barriers(Space),
    /// The spaces of a device's memory do not ascend.
    #[error("device {0} is asked for memory in a space twice or out of order")]
    Spaces(u16),
    /// Memory is asked for without a cache, or a cache is named that nothing needs, or one out of bounds.
    #[error(
        "{}: memory needs a cache of 2^{CACHE_LOG2_MIN} to 2^{CACHE_LOG2_MAX} blocks, and nothing else has one",
        .0.map_or_else(|| "no cache".to_owned(), |log2| format!("a cache of 2^{log2} blocks"))
    )]
    Cache(Option<u8>),
    /// Checking the answer would take too long.
    #[error("checking the walks takes {0} reads of the cache, at most {CHECK_READS_MAX} are allowed")]
    CheckReads(u64),
    /// The answer would exceed [`ANSWER_BYTES_MAX`].
    #[error("challenge asks for an answer of {0} bytes, at most {ANSWER_BYTES_MAX} are allowed")]
    AnswerTooLarge(u64),
}

impl Challenge {
    /// Checks all bounds. `cache_log2` is the binary logarithm of the blocks in the beacon's cache, for challenges that ask
    /// for memory and only for those.
    pub fn new(
        binding: Binding,
        cache_log2: Option<u8>,
        devices: Vec<DeviceChallenge>,
    ) -> Result<Self, ChallengeError> {
        if devices.is_empty() {
            return Err(ChallengeError::Empty);
        }
        if !(1..=HOST_KEY_BYTES_MAX).contains(&binding.host_key.len()) {
            return Err(ChallengeError::HostKey(binding.host_key.len()));
        }
        let claims: Vec<DeviceClaim> = devices.iter().map(|device| device.claim.clone()).collect();
        claim::check_devices(&claims)?;
        for device in &devices {
            if !device.residency.is_sorted_by(|one, next| one.space() < next.space()) {
                return Err(ChallengeError::Spaces(device.claim.index));
            }
        }
        for space in Space::ALL {
            let mut walks =
                devices.iter().filter_map(|device| device.region(space)).map(|region| region.walk());
            let first = walks.next();
            if walks.any(|walk| Some(walk.barriers) != first.map(|first| first.barriers)) {
                return Err(ChallengeError::Barriers(space));
            }
        }
        let fits = cache_log2.is_none_or(|log2| (CACHE_LOG2_MIN..=CACHE_LOG2_MAX).contains(&log2));
        let needed = devices.iter().any(|device| !device.residency.is_empty());
        if !fits || needed != cache_log2.is_some() {
            return Err(ChallengeError::Cache(cache_log2));
        }
        let reads =
            devices.iter().flat_map(|device| &device.residency).map(ResidencyParams::check_reads).sum();
        if reads > CHECK_READS_MAX {
            return Err(ChallengeError::CheckReads(reads));
        }
        let challenge = Self { binding, cache_log2, devices };
        match challenge.answer_bytes() {
            bytes if bytes > ANSWER_BYTES_MAX => Err(ChallengeError::AnswerTooLarge(bytes)),
            _ => Ok(challenge),
        }
    }

    /// To whom and when the proof belongs.
    pub const fn binding(&self) -> &Binding {
        &self.binding
    }

    /// The devices by ascending index; messages name a device by its position here.
    pub fn devices(&self) -> &[DeviceChallenge] {
        &self.devices
    }

    /// Binary logarithm of the blocks in the beacon's cache, if memory is asked for.
    pub const fn cache_log2(&self) -> Option<u8> {
        self.cache_log2
    }

    /// The spaces in which any device is asked for memory, in the order in which they are walked: from the slowest on, when all are
    /// filled. What is still to be walked fills the faster memory, so that little of it is free to serve for the slower one.
    pub fn spaces(&self) -> impl Iterator<Item = Space> {
        Space::ALL
            .into_iter()
            .rev()
            .filter(|space| self.devices.iter().any(|device| device.region(*space).is_some()))
    }

    /// BLAKE3 of the canonical encoding.
    pub fn digest(&self) -> Digest {
        Digest::from_bytes(*blake3::hash(&Message::Challenge(self.clone()).encode()).as_bytes())
    }

    /// Most bytes, frame headers included, of a complete answer; exact but for openings of a walk's first step, which are
    /// shorter.
    pub fn answer_bytes(&self) -> u64 {
        let framed = |body: u32| u64::from(body) + FRAME_HEADER_BYTES as u64;
        let per_region = |region: &ResidencyParams| {
            u64::from(region.walk().segments()) * framed(Message::ROOT_BYTES)
                + u64::from(region.openings()) * framed(Message::walk_opening_bytes(region.path()))
        };
        let per_device = |device: &DeviceChallenge| {
            let params = &device.params;
            u64::from(params.rounds()) * framed(Message::ROOT_BYTES)
                + u64::from(params.openings()) * framed(Message::opening_bytes(params.depth()))
                + u64::from(!device.residency.is_empty()) * framed(Message::FILLED_BYTES)
                + device.residency.iter().map(per_region).sum::<u64>()
        };
        framed(Message::ACCEPT_BYTES)
            + u64::from(ECHOES) * framed(Message::ECHOED_BYTES)
            + self.devices.iter().map(per_device).sum::<u64>()
            + framed(Message::SIGNATURE_BYTES)
    }

    pub(crate) fn write(&self, writer: &mut Writer) {
        writer.u16(PROTOCOL_VERSION);
        writer.raw(&self.binding.beacon);
        writer.raw(&self.binding.validator_nonce);
        writer.raw(self.binding.node.as_bytes());
        writer.bytes(&self.binding.host_key);
        writer.u8(self.cache_log2.unwrap_or(0));
        writer.u16(u16::try_from(self.devices.len()).expect("at most 64 devices"));
        for device in &self.devices {
            writer.u16(device.claim.index);
            writer.raw(device.claim.uuid.as_bytes());
            writer.bytes(device.claim.class.as_str().as_bytes());
            device.params.write(writer);
            writer.u8(u8::try_from(device.residency.len()).expect("three spaces"));
            device.residency.iter().for_each(|region| region.write(writer));
        }
    }

    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        match reader.u16()? {
            PROTOCOL_VERSION => {}
            other => return Err(DecodeError::Version(other)),
        }
        let binding = Binding {
            beacon: reader.array()?,
            validator_nonce: reader.array()?,
            node: NodeId::from_bytes(reader.array()?),
            host_key: reader.bytes(HOST_KEY_BYTES_MAX)?.to_vec(),
        };
        let cache_log2 = Some(reader.u8()?).filter(|log2| *log2 != 0);
        let count = usize::from(reader.u16()?);
        if count > claim::DEVICES_MAX {
            return Err(DecodeError::Devices);
        }
        let devices = (0..count).map(|_| read_device(reader)).collect::<Result<_, _>>()?;
        Self::new(binding, cache_log2, devices).map_err(|error| match error {
            ChallengeError::Empty
            | ChallengeError::Devices(_)
            | ChallengeError::Spaces(_)
            | ChallengeError::Barriers(_) => DecodeError::Devices,
            // Zero is how the wire spells that there is none.
            ChallengeError::Cache(log2) => DecodeError::Cache(log2.unwrap_or(0)),
            ChallengeError::HostKey(length) => {
                DecodeError::FieldTooLong { length, limit: HOST_KEY_BYTES_MAX }
            }
            ChallengeError::CheckReads(much) | ChallengeError::AnswerTooLarge(much) => {
                DecodeError::TooMuchWork(much)
            }
        })
    }
}

fn read_device(reader: &mut Reader<'_>) -> Result<DeviceChallenge, DecodeError> {
    let claim = DeviceClaim {
        index: reader.u16()?,
        uuid: GpuUuid::from_bytes(reader.array()?),
        class: reader.text::<ClassName>(TEXT_MAX, "gpu class")?,
    };
    let params = ProofParams::read(reader)?;
    let regions = usize::from(reader.u8()?);
    if regions > Space::ALL.len() {
        return Err(DecodeError::FieldTooLong { length: regions, limit: Space::ALL.len() });
    }
    let residency = (0..regions).map(|_| ResidencyParams::read(reader)).collect::<Result<_, _>>()?;
    Ok(DeviceChallenge { claim, params, residency })
}
