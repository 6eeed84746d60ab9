//! What is committed: weights under a timelock, or the hash of weights and a salt.

use basilica_types::Hotkey;
use blake2::digest::consts::U32;
use blake2::{Blake2b, Digest};
use codec::{Decode, Encode};

use crate::TimelockError;

/// The weights of a timelocked commit. Uids and values go pairwise.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct WeightsPayload {
    hotkey: Vec<u8>,
    /// Whom the weights are for.
    pub uids: Vec<u16>,
    /// The weights, not yet upscaled.
    pub values: Vec<u16>,
    /// The validator's weights version.
    pub version_key: u64,
}

impl WeightsPayload {
    /// The weights that `hotkey` commits to.
    #[must_use]
    pub fn new(hotkey: &Hotkey, uids: Vec<u16>, values: Vec<u16>, version_key: u64) -> Self {
        Self { hotkey: hotkey.as_bytes().to_vec(), uids, values, version_key }
    }

    /// The bytes to encrypt.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        self.encode()
    }
}

/// The form without a hotkey, which the chain still takes.
#[derive(Decode)]
struct LegacyPayload {
    uids: Vec<u16>,
    values: Vec<u16>,
    version_key: u64,
}

/// Weights out of an opened commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenedPayload {
    /// Whom the weights are for.
    pub uids: Vec<u16>,
    /// The weights, not yet upscaled.
    pub values: Vec<u16>,
    /// The validator's weights version.
    pub version_key: u64,
}

impl OpenedPayload {
    /// The weights in `bytes` that `committer` committed, read as the chain reads them: the current form if the bytes
    /// begin like one with at least 32 bytes of hotkey, else the legacy form, which names nobody. Bytes after the end
    /// are not minded.
    ///
    /// # Errors
    /// [`TimelockError::OtherHotkey`] for somebody else's payload, [`TimelockError::Payload`] for anything else.
    pub fn open(bytes: &[u8], committer: &Hotkey) -> Result<Self, TimelockError> {
        if let Ok(payload) = WeightsPayload::decode(&mut &bytes[..])
            && let Some(hotkey) = payload.hotkey.first_chunk::<32>()
        {
            return if hotkey == committer.as_bytes() {
                let WeightsPayload { uids, values, version_key, .. } = payload;
                Ok(Self { uids, values, version_key })
            } else {
                Err(TimelockError::OtherHotkey)
            };
        }
        let legacy = LegacyPayload::decode(&mut &bytes[..]).map_err(|_| TimelockError::Payload)?;
        Ok(Self { uids: legacy.uids, values: legacy.values, version_key: legacy.version_key })
    }
}

/// The hash of a hash commit: Blake2b-256 over the SCALE encoding of hotkey, `storage_index` (mechanism × 4096 + subnet),
/// uids, values, salt and version key.
#[must_use]
pub fn commit_hash(
    hotkey: &Hotkey,
    storage_index: u16,
    weights: (&[u16], &[u16]),
    salt: &[u16],
    version_key: u64,
) -> [u8; 32] {
    let (uids, values) = weights;
    let preimage = (hotkey.as_bytes(), storage_index, uids, values, salt, version_key).encode();
    Blake2b::<U32>::digest(preimage).into()
}
