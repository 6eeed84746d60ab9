//! What is opened: drawn from the validator's last nonce and everything that was committed.

use basilica_types::Digest;

use crate::challenge::{Challenge, DeviceChallenge};
use crate::params::{LEAF_CELLS, ProofParams};
use crate::residency::{ResidencyParams, Space};
use crate::seed::Fields;

const TAG: &[u8] = b"basilica-proof/v2/openings";

/// One thing to open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Query {
    /// A cell of a product.
    Cell(CellQuery),
    /// A step of a lane.
    Step(StepQuery),
}

/// One cell to open, with the leaf that binds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CellQuery {
    /// Position in the challenge's device list.
    pub device: u16,
    /// Round, from 0.
    pub round: u32,
    /// Leaf of the round's tree.
    pub leaf: u32,
    /// Cell within the leaf; the prover is not told which.
    pub cell: u32,
}

/// One step of a walk to open, in one lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StepQuery {
    /// Position in the challenge's device list.
    pub device: u16,
    /// Whose items are read.
    pub space: Space,
    /// Step, from 0.
    pub step: u32,
    /// Lane, from 0.
    pub lane: u32,
}

/// All queries of a run, device by device: its cells, then its steps by space. Every device has as many as its parameters
/// say: a share skipped on one card must not hide behind the honesty of the others.
///
/// `run` is the digest of everything up to the nonce (see [`crate::RunDigest`]): all roots, and the key of the run. Draws are
/// with replacement; the bias of the draws of rounds and steps is below 2⁻⁴⁸, sides, leaves and lanes are powers of two and have none.
pub fn queries(challenge: &Challenge, run: &Digest, nonce: &[u8; 32]) -> Vec<Query> {
    let per_device = |(position, device): (u16, &DeviceChallenge)| {
        let mut fields = Fields::new(TAG);
        fields.add(run.as_bytes());
        fields.add(nonce);
        fields.add(&position.to_le_bytes());
        let mut draw = Draw(fields.stream());
        let mut queries = draw.cells(position, device.params);
        device.residency.iter().for_each(|region| draw.steps(position, region, &mut queries));
        queries
    };
    (0u16..).zip(challenge.devices()).flat_map(per_device).collect()
}

struct Draw(blake3::OutputReader);

impl Draw {
    fn below(&mut self, range: u32) -> u32 {
        let mut bytes = [0u8; 8];
        self.0.fill(&mut bytes);
        let scaled = (u128::from(u64::from_le_bytes(bytes)) * u128::from(range)) >> 64;
        u32::try_from(scaled).expect("a fraction of a u32 is a u32")
    }

    fn cells(&mut self, device: u16, params: ProofParams) -> Vec<Query> {
        let cells = u32::try_from(LEAF_CELLS).expect("256");
        let mut cell = |_| {
            let (round, leaf) = (self.below(params.rounds()), self.below(params.leaves()));
            Query::Cell(CellQuery { device, round, leaf, cell: self.below(cells) })
        };
        (0..params.openings()).map(&mut cell).collect()
    }

    fn steps(&mut self, device: u16, region: &ResidencyParams, queries: &mut Vec<Query>) {
        let (space, walk) = (region.space(), region.walk());
        for _ in 0..walk.picks {
            let step = self.below(walk.steps);
            for _ in 0..walk.lanes_per_pick {
                queries.push(Query::Step(StepQuery { device, space, step, lane: self.below(walk.lanes) }));
            }
        }
    }
}
