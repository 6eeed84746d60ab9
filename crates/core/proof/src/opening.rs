//! Which cells are opened: drawn from the validator's late nonce and everything that was committed.

use basilica_types::Digest;

use crate::challenge::Challenge;
use crate::params::{LEAF_CELLS, ProofParams};
use crate::seed::Fields;

const TAG: &[u8] = b"basilica-proof/v1/openings";

/// One cell to open, with the leaf that binds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Query {
    /// Position in the challenge's device list.
    pub device: u16,
    /// Round, from 0.
    pub round: u32,
    /// Leaf of the round's tree.
    pub leaf: u32,
    /// Cell within the leaf; the prover is not told which.
    pub cell: u32,
}

/// All queries of a run, device by device, as many per device as its parameters say: a share skipped on one card
/// must not hide behind the honesty of the others.
///
/// `roots` holds, per device, the roots of all its rounds. Draws are with replacement; the bias of the round's
/// draw is below 2⁻⁵², sides and leaves are powers of two and have none.
pub fn queries(challenge: &Challenge, roots: &[Vec<Digest>], nonce: &[u8; 32]) -> Vec<Query> {
    let digest = challenge.digest();
    let per_device = |(position, params): (u16, &ProofParams)| {
        let mut fields = Fields::new(TAG);
        fields.add(digest.as_bytes());
        fields.add(nonce);
        fields.add(&position.to_le_bytes());
        roots.iter().flatten().for_each(|root| fields.add(root.as_bytes()));
        draw(fields.stream(), position, *params)
    };
    (0u16..).zip(challenge.devices().iter().map(|device| &device.params)).flat_map(per_device).collect()
}

fn draw(mut stream: blake3::OutputReader, device: u16, params: ProofParams) -> Vec<Query> {
    let mut below = |range: u32| {
        let mut bytes = [0u8; 8];
        stream.fill(&mut bytes);
        let scaled = (u128::from(u64::from_le_bytes(bytes)) * u128::from(range)) >> 64;
        u32::try_from(scaled).expect("a fraction of a u32 is a u32")
    };
    let cells = u32::try_from(LEAF_CELLS).expect("256");
    (0..params.openings())
        .map(|_| Query {
            device,
            round: below(params.rounds()),
            leaf: below(params.leaves()),
            cell: below(cells),
        })
        .collect()
}
