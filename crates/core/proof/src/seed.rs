//! Seeds: everything that a proof is bound to goes in, so that no work serves twice.

use basilica_types::Digest;

use crate::PROTOCOL_VERSION;
use crate::challenge::{Binding, DeviceChallenge};
use crate::wire::Writer;

const FIRST_TAG: &[u8] = b"basilica-proof/v2/seed";
const NEXT_TAG: &[u8] = b"basilica-proof/v1/next-seed";

/// The key of one round's matrices on one device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seed([u8; 32]);

impl Seed {
    /// The seed of round 0: BLAKE3 over length-prefixed fields. Class and parameters are included beyond what
    /// the reference lists, so that one seed names one computation. `start` is the validator's nonce after the acceptance:
    /// without it a prover could have worked while it was still said to be getting ready.
    pub fn first(binding: &Binding, device: &DeviceChallenge, start: &[u8; 32]) -> Self {
        let mut params = Writer::new();
        device.params.write(&mut params);
        let mut fields = Fields::new(FIRST_TAG);
        fields.add(&PROTOCOL_VERSION.to_le_bytes());
        fields.add(&binding.beacon);
        fields.add(&binding.validator_nonce);
        fields.add(binding.node.as_bytes());
        fields.add(&binding.host_key);
        fields.add(device.claim.uuid.as_bytes());
        fields.add(&device.claim.index.to_le_bytes());
        fields.add(device.claim.class.as_str().as_bytes());
        fields.add(&params.finish());
        fields.add(start);
        fields.add(&0u32.to_le_bytes());
        Self(*fields.hash().as_bytes())
    }

    /// The seed of `round` (from 1), which needs the root of the round before: rounds cannot overlap.
    pub fn next(&self, round: u32, root: &Digest) -> Self {
        let mut fields = Fields::new(NEXT_TAG);
        fields.add(&round.to_le_bytes());
        fields.add(&self.0);
        fields.add(root.as_bytes());
        Self(*fields.hash().as_bytes())
    }

    /// The bytes that key the PRF.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// A seed from raw bytes, for vectors and benches.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

/// BLAKE3 over fields behind u32 lengths: no two lists of fields hash alike by moving a border.
#[derive(Clone, Debug)]
pub(crate) struct Fields(blake3::Hasher);

impl Fields {
    pub(crate) fn new(tag: &[u8]) -> Self {
        let mut fields = Self(blake3::Hasher::new());
        fields.add(tag);
        fields
    }

    pub(crate) fn add(&mut self, field: &[u8]) {
        let length = u32::try_from(field.len()).expect("every field is bounded far below 4 GiB");
        self.0.update(&length.to_le_bytes());
        self.0.update(field);
    }

    pub(crate) fn hash(&self) -> blake3::Hash {
        self.0.finalize()
    }

    pub(crate) fn stream(&self) -> blake3::OutputReader {
        self.0.finalize_xof()
    }
}
