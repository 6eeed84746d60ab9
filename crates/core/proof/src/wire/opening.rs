//! What is opened after the last nonce: leaves of products, and steps of walks.

use basilica_types::Digest;

use super::codec::{DecodeError, Reader, Writer};
use crate::merkle::Leaf;
use crate::params::SIDE_MAX;
use crate::residency::{Block, LANES_MAX, STEPS_MAX, Space, from_bytes, to_bytes};

/// Deepest tree: 65,536² cells in leaves of 256.
const DEPTH_MAX: usize = 2 * SIDE_MAX.trailing_zeros() as usize - 8;
const WALK_DEPTH_MAX: usize = (LANES_MAX.trailing_zeros() + STEPS_MAX.trailing_zeros()) as usize;

/// One leaf with its path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opening {
    /// Position in the challenge's device list.
    pub device: u16,
    /// Round, from 0.
    pub round: u32,
    /// Leaf in row-major order.
    pub leaf: u32,
    /// The leaf's cells.
    pub cells: Leaf,
    /// Siblings from the leaf upwards.
    pub siblings: Vec<Digest>,
}

/// A lane's state with its path to the root of its step's segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LaneState {
    /// The state.
    pub state: Block,
    /// Siblings from the lane upwards.
    pub siblings: Vec<Digest>,
}

/// One step of one lane: where it came from and where it led.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WalkOpening {
    /// Position in the challenge's device list.
    pub device: u16,
    /// Whose items were read.
    pub space: Space,
    /// Step, from 0.
    pub step: u32,
    /// Lane, from 0.
    pub lane: u32,
    /// The state that the step before led to; nothing for step 0, whose state follows from the nonce.
    pub before: Option<LaneState>,
    /// The state that this step led to.
    pub after: LaneState,
}

impl Opening {
    pub(super) fn write(&self, writer: &mut Writer) {
        writer.u16(self.device);
        writer.u32(self.round);
        writer.u32(self.leaf);
        writer.raw(&self.cells.to_bytes());
        write_path(writer, &self.siblings);
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let (device, round, leaf) = (reader.u16()?, reader.u32()?, reader.u32()?);
        let cells = Leaf::from_bytes(&reader.array()?);
        Ok(Self { device, round, leaf, cells, siblings: read_path(reader, DEPTH_MAX)? })
    }
}

impl WalkOpening {
    pub(super) fn write(&self, writer: &mut Writer) {
        writer.u16(self.device);
        writer.u8(self.space as u8);
        writer.u32(self.step);
        writer.u32(self.lane);
        writer.u8(u8::from(self.before.is_some()));
        for LaneState { state, siblings } in self.before.iter().chain([&self.after]) {
            writer.raw(&to_bytes(state));
            write_path(writer, siblings);
        }
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let device = reader.u16()?;
        let space = reader.u8()?;
        let space = Space::from_byte(space).ok_or(DecodeError::Space(space))?;
        let (step, lane) = (reader.u32()?, reader.u32()?);
        let before = match reader.u8()? {
            0 => None,
            1 => Some(LaneState::read(reader)?),
            other => return Err(DecodeError::Flag(other)),
        };
        Ok(Self { device, space, step, lane, before, after: LaneState::read(reader)? })
    }
}

impl LaneState {
    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self { state: from_bytes(&reader.array()?), siblings: read_path(reader, WALK_DEPTH_MAX)? })
    }
}

fn write_path(writer: &mut Writer, siblings: &[Digest]) {
    writer.u8(u8::try_from(siblings.len()).expect("trees are at most 37 deep"));
    siblings.iter().for_each(|sibling| writer.raw(sibling.as_bytes()));
}

fn read_path(reader: &mut Reader<'_>, limit: usize) -> Result<Vec<Digest>, DecodeError> {
    let depth = usize::from(reader.u8()?);
    if depth > limit {
        return Err(DecodeError::FieldTooLong { length: depth, limit });
    }
    (0..depth).map(|_| reader.array().map(Digest::from_bytes)).collect()
}
