//! How much memory is asked of a device, and the walk that shows it.

use crate::wire::{DecodeError, Reader, Writer};

/// Where items must lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Space {
    /// The device's own memory.
    Device = 0,
    /// Memory of the host, read by the device over its link.
    Host = 1,
    /// A file on the node's disk.
    Disk = 2,
}

impl Space {
    /// All, from the fastest on. A run walks them from the slowest on: see [`crate::Challenge::spaces`].
    pub const ALL: [Self; 3] = [Self::Device, Self::Host, Self::Disk];

    /// The word in JSON and messages.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Device => "device",
            Self::Host => "host",
            Self::Disk => "disk",
        }
    }

    pub(crate) const fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            0 => Some(Self::Device),
            1 => Some(Self::Host),
            2 => Some(Self::Disk),
            _ => None,
        }
    }
}

impl std::fmt::Display for Space {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Fewest and most items: 64 KiB to 1 TiB.
pub const ITEMS_MIN: u64 = 1 << 10;
/// See [`ITEMS_MIN`].
pub const ITEMS_MAX: u64 = 1 << 34;
/// Most parents of an item.
pub const PARENTS_MAX: u16 = 1_024;
/// Parents of an item in a device's memory, unless a policy asks for more. With half of them what is missing of a card's memory
/// is made anew fast enough to matter beside what its host's link brings.
pub const PARENTS_DEFAULT: u16 = 128;
/// Most lanes of a walk.
pub const LANES_MAX: u32 = 1 << 20;
/// Most steps of a walk.
pub const STEPS_MAX: u32 = 1 << 17;
/// Most reads of a step.
pub const READS_MAX: u16 = 64;
/// Reads of a step unless a policy says otherwise: hashing a step costs 1,600 operations, so 100 per read.
pub const READS_DEFAULT: u16 = 16;
/// Most windows of a walk.
pub const WINDOWS_MAX: u16 = 64;
/// Most barriers of a walk.
pub const BARRIERS_MAX: u16 = 4_096;
/// Most steps that are opened.
pub const PICKS_MAX: u16 = 64;
/// Most lanes that are opened per step.
pub const LANES_PER_PICK_MAX: u16 = 64;
/// Most cache reads that checking one challenge may cost its verifier. At 0.3 µs each, measured on one core, ten seconds: what eight
/// cards of a policy's largest walk cost is an eighth of it.
pub const CHECK_READS_MAX: u64 = 1 << 25;

/// The memory asked of one device, and its walk. Values are in bounds by construction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ResidencyParams {
    space: Space,
    items: u64,
    parents: u16,
    walk: WalkParams,
}

/// The shape of a walk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct WalkParams {
    /// Chains of dependent reads that run side by side; a power of two.
    pub lanes: u32,
    /// Steps of each lane; all lanes commit together after each.
    pub steps: u32,
    /// Dependent reads of a step.
    pub reads: u16,
    /// Parts of the region, each read by its own lanes; see [`super::Walk::window`].
    pub windows: u16,
    /// Times that all devices of a node wait for each other and go on with a key made of all their roots; see [`super::Walk`].
    pub barriers: u16,
    /// Steps that are opened.
    pub picks: u16,
    /// Lanes that are opened at each of them.
    pub lanes_per_pick: u16,
}

impl WalkParams {
    /// Parts that the barriers cut a walk into.
    pub const fn segments(&self) -> u32 {
        self.barriers as u32 + 1
    }

    /// The segment that a step belongs to: barriers cut the steps into parts of equal length.
    pub fn segment(&self, step: u32) -> u32 {
        let segment = ((u64::from(step) + 1) * u64::from(self.segments()) - 1) / u64::from(self.steps);
        u32::try_from(segment).expect("at most as many as there are barriers")
    }

    /// The first step of a segment; the number of steps for the one after the last.
    pub fn segment_start(&self, segment: u32) -> u32 {
        let start = u64::from(segment) * u64::from(self.steps) / u64::from(self.segments());
        u32::try_from(start).expect("at most the number of steps")
    }

    /// Whether a step is the last of its segment.
    pub fn ends_segment(&self, step: u32) -> bool {
        step + 1 == self.segment_start(self.segment(step) + 1)
    }

    /// Siblings from a step to the root of its segment: as many for every segment.
    pub const fn segment_depth(&self) -> u32 {
        self.steps.div_ceil(self.segments()).next_power_of_two().trailing_zeros()
    }
}

/// A parameter outside the bounds of this protocol version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ResidencyError {
    /// The number of items.
    #[error("{0} items are not from {ITEMS_MIN} to {ITEMS_MAX}")]
    Items(u64),
    /// The number of parents.
    #[error("{0} parents of an item are not from 1 to {PARENTS_MAX}")]
    Parents(u16),
    /// The number of lanes.
    #[error("{0} lanes are not a power of two from 2 to {LANES_MAX}")]
    Lanes(u32),
    /// The number of steps.
    #[error("{0} steps are not from 1 to {STEPS_MAX}")]
    Steps(u32),
    /// The reads of a step.
    #[error("{0} reads of a step are not from 1 to {READS_MAX}")]
    Reads(u16),
    /// The parts of the region.
    #[error("{0} windows are not from 1 to {WINDOWS_MAX}")]
    Windows(u16),
    /// The barriers.
    #[error("{0} barriers are not at most {BARRIERS_MAX} and fewer than the steps")]
    Barriers(u16),
    /// What is opened.
    #[error("{0} steps of {1} lanes cannot be opened: 1 to {PICKS_MAX} of 1 to {LANES_PER_PICK_MAX}")]
    Picks(u16, u16),
}

impl ResidencyParams {
    /// Checks every bound.
    pub fn new(space: Space, items: u64, parents: u16, walk: WalkParams) -> Result<Self, ResidencyError> {
        let WalkParams { lanes, steps, reads, windows, barriers, picks, lanes_per_pick } = walk;
        if !(ITEMS_MIN..=ITEMS_MAX).contains(&items) {
            return Err(ResidencyError::Items(items));
        }
        if !(1..=PARENTS_MAX).contains(&parents) {
            return Err(ResidencyError::Parents(parents));
        }
        if !lanes.is_power_of_two() || !(2..=LANES_MAX).contains(&lanes) {
            return Err(ResidencyError::Lanes(lanes));
        }
        if !(1..=STEPS_MAX).contains(&steps) {
            return Err(ResidencyError::Steps(steps));
        }
        if !(1..=READS_MAX).contains(&reads) {
            return Err(ResidencyError::Reads(reads));
        }
        if !(1..=WINDOWS_MAX).contains(&windows) {
            return Err(ResidencyError::Windows(windows));
        }
        if barriers > BARRIERS_MAX || u32::from(barriers) >= steps {
            return Err(ResidencyError::Barriers(barriers));
        }
        if !(1..=PICKS_MAX).contains(&picks) || !(1..=LANES_PER_PICK_MAX).contains(&lanes_per_pick) {
            return Err(ResidencyError::Picks(picks, lanes_per_pick));
        }
        Ok(Self { space, items, parents, walk })
    }

    /// Where the items lie.
    pub const fn space(&self) -> Space {
        self.space
    }

    /// How many there are, of 64 bytes each.
    pub const fn items(&self) -> u64 {
        self.items
    }

    /// Cache blocks that go into an item, one after another.
    pub const fn parents(&self) -> u16 {
        self.parents
    }

    /// The walk.
    pub const fn walk(&self) -> &WalkParams {
        &self.walk
    }

    /// Bytes that must be resident.
    pub const fn bytes(&self) -> u64 {
        self.items * super::BLOCK_BYTES as u64
    }

    /// Bytes that the walk reads.
    pub const fn bytes_read(&self) -> u64 {
        let WalkParams { lanes, steps, reads, .. } = self.walk;
        lanes as u64 * steps as u64 * reads as u64 * super::BLOCK_BYTES as u64
    }

    /// Lane steps that are opened.
    pub const fn openings(&self) -> u32 {
        self.walk.picks as u32 * self.walk.lanes_per_pick as u32
    }

    /// Siblings from a lane to the root of its step.
    pub const fn depth(&self) -> u32 {
        self.walk.lanes.trailing_zeros()
    }

    /// Siblings from a lane at a step to the root of the step's segment.
    pub const fn path(&self) -> u32 {
        self.depth() + self.walk.segment_depth()
    }

    /// Reads of the cache that checking the walk costs.
    pub const fn check_reads(&self) -> u64 {
        self.openings() as u64 * self.walk.reads as u64 * self.parents as u64
    }

    pub(crate) fn write(&self, writer: &mut Writer) {
        writer.u8(self.space as u8);
        writer.u64(self.items);
        writer.u16(self.parents);
        writer.u32(self.walk.lanes);
        writer.u32(self.walk.steps);
        writer.u16(self.walk.reads);
        writer.u16(self.walk.windows);
        writer.u16(self.walk.barriers);
        writer.u16(self.walk.picks);
        writer.u16(self.walk.lanes_per_pick);
    }

    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let space = reader.u8()?;
        let space = Space::from_byte(space).ok_or(DecodeError::Space(space))?;
        let (items, parents) = (reader.u64()?, reader.u16()?);
        let (lanes, steps) = (reader.u32()?, reader.u32()?);
        let (reads, windows) = (reader.u16()?, reader.u16()?);
        let (barriers, picks, lanes_per_pick) = (reader.u16()?, reader.u16()?, reader.u16()?);
        let walk = WalkParams { lanes, steps, reads, windows, barriers, picks, lanes_per_pick };
        Ok(Self::new(space, items, parents, walk)?)
    }
}
