//! Tiers T3 and T4 on a device: memory filled with items, and walks through it.
//!
//! The device's own space is one allocation; the host's is pinned memory that kernels read over the link, so that its walk
//! shows the link too. Roots are read back sixteen steps at a time: reading each would have the device wait between steps.
//! A step is three launches, its own, the lanes' hashes and the tree; it keeps two trees at most, on the host, while
//! picks are traced.

use std::collections::BTreeMap;
use std::sync::Arc;

use basilica_proof::merkle;
use basilica_proof::prover::{BackendError, Pick, Traced};
use basilica_proof::residency::{self, Block, Cache, Region, Space, Walk};
use basilica_proof::wire::LaneState;
use basilica_types::Digest;

use crate::driver::{Buffer, Context, CudaError, Event, HostBuffer};
use crate::kernels::{BLOCK_BYTES, HASH_BYTES, Heap, ItemsAt, Kernels};
use crate::work::RESERVE_BYTES;

/// Steps whose roots are read back together.
const ROOTS_AT_ONCE: u32 = 16;

/// Where a region's items lie.
#[derive(Debug)]
enum Stored {
    Device(Buffer),
    Host(HostBuffer),
}

impl Stored {
    const fn at(&self, count: u64) -> ItemsAt {
        let address = match self {
            Self::Device(buffer) => buffer.address(),
            Self::Host(buffer) => buffer.address(),
        };
        ItemsAt { address, count }
    }
}

/// Milliseconds that a fill took on the device.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FillTime {
    /// The cache's way to the device.
    pub upload: f32,
    /// Making the items.
    pub items: f32,
}

/// Regions that are filled.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    regions: Vec<(Region, Stored)>,
}

impl Memory {
    /// Fills a region; see [`basilica_proof::prover::Backend::fill`].
    pub(crate) fn fill(
        &mut self,
        (context, kernels): (&Context, &Kernels),
        region: &Region,
        cache: &Arc<Cache>,
    ) -> Result<FillTime, CudaError> {
        let params = region.params();
        let (space, items, count) = (params.space(), params.bytes(), params.items());
        let blocks = cache.bytes() as u64;
        let (free, _) = context.memory()?;
        let room = free.saturating_sub(RESERVE_BYTES + blocks);
        let available = match space {
            Space::Device => room,
            Space::Host => host_memory_free(),
            Space::Disk => 0,
        };
        if items > available || free < RESERVE_BYTES + blocks {
            return Err(CudaError::Memory { space, needed: items, available });
        }
        let stored = match space {
            Space::Device => Stored::Device(context.allocate(items)?),
            Space::Host | Space::Disk => Stored::Host(context.allocate_host(items)?),
        };
        let begin = context.event()?;
        let mut on_device = context.allocate(blocks)?;
        on_device.write(0, as_bytes(cache.blocks()))?;
        let uploaded = context.event()?;
        kernels.fill(region.key(), &on_device, params.parents(), stored.at(count))?;
        let end: Event = context.event()?;
        context.synchronize()?;
        self.regions.push((*region, stored));
        Ok(FillTime { upload: uploaded.since(&begin)?, items: end.since(&uploaded)? })
    }

    fn items(&self, walk: &Walk) -> Option<ItemsAt> {
        let (region, stored) = self.regions.iter().find(|(region, _)| region == walk.region())?;
        Some(stored.at(region.params().items()))
    }

    /// A walk; see [`basilica_proof::prover::Backend::walk`].
    pub(crate) fn walk(
        &self,
        tools: (&Context, &Kernels),
        walk: &Walk,
        on_root: &mut dyn FnMut(Digest) -> bool,
    ) -> Result<(), BackendError> {
        let mut lanes = Lanes::start(tools, self.items(walk), walk)?;
        let steps = walk.region().params().walk().steps;
        let mut roots = tools.0.allocate(u64::from(ROOTS_AT_ONCE) * HASH_BYTES)?;
        let mut bytes = [0; ROOTS_AT_ONCE as usize * 32];
        for first in (0..steps).step_by(ROOTS_AT_ONCE as usize) {
            let count = ROOTS_AT_ONCE.min(steps - first);
            for slot in 0..count {
                lanes.advance()?;
                roots.copy(u64::from(slot) * HASH_BYTES, &lanes.heap.nodes, HASH_BYTES, HASH_BYTES)?;
            }
            let bytes = &mut bytes[..count as usize * 32];
            roots.read(0, bytes)?;
            if !bytes.as_chunks::<32>().0.iter().all(|root| on_root(Digest::from_bytes(*root))) {
                return Ok(());
            }
        }
        Ok(())
    }

    /// A walk again; see [`basilica_proof::prover::Backend::trace`].
    pub(crate) fn trace(
        &self,
        tools: (&Context, &Kernels),
        walk: &Walk,
        picks: &[Pick],
    ) -> Result<Vec<Traced>, BackendError> {
        let mut wanted: BTreeMap<u32, BTreeMap<u32, Option<LaneState>>> = BTreeMap::new();
        for Pick { step, lane } in picks {
            for step in step.checked_sub(1).into_iter().chain([*step]) {
                wanted.entry(step).or_default().insert(*lane, None);
            }
        }
        let mut lanes = Lanes::start(tools, self.items(walk), walk)?;
        for (step, picked) in &mut wanted {
            while lanes.step <= *step {
                lanes.advance()?;
            }
            let taken = lanes.snapshot()?;
            for (lane, kept) in picked {
                *kept = taken.state(*lane);
            }
        }
        let kept = |step: u32, lane: u32| {
            let state = wanted.get(&step).and_then(|lanes| lanes.get(&lane)).cloned().flatten();
            state.ok_or_else(|| BackendError::Device(format!("there is no lane {lane} at step {step}")))
        };
        let traced = |&Pick { step, lane }: &Pick| {
            let before = step.checked_sub(1).map(|before| kept(before, lane)).transpose()?;
            Ok(Traced { before, after: kept(step, lane)? })
        };
        picks.iter().map(traced).collect()
    }
}

/// All lanes of a walk on the device.
#[derive(Debug)]
struct Lanes<'a> {
    kernels: &'a Kernels,
    walk: &'a Walk,
    items: ItemsAt,
    /// The next step.
    step: u32,
    states: Buffer,
    heap: Heap,
}

impl<'a> Lanes<'a> {
    fn start(
        (context, kernels): (&Context, &'a Kernels),
        items: Option<ItemsAt>,
        walk: &'a Walk,
    ) -> Result<Self, BackendError> {
        let params = walk.region().params();
        let items = items.ok_or(BackendError::NotFilled(params.space()))?;
        let (lanes, depth) = (params.walk().lanes, params.depth());
        let needed = u64::from(lanes) * BLOCK_BYTES + Heap::bytes(depth);
        let (available, _) = context.memory()?;
        if needed > available {
            return Err(CudaError::Memory { space: Space::Device, needed, available }.into());
        }
        let states = context.allocate(u64::from(lanes) * BLOCK_BYTES)?;
        kernels.start(walk.key(), lanes, &states)?;
        Ok(Self { kernels, walk, items, step: 0, states, heap: Heap::new(context, depth)? })
    }

    /// Takes the next step and makes its tree.
    fn advance(&mut self) -> Result<(), CudaError> {
        self.kernels.step(self.walk, self.step, self.items, &self.states)?;
        self.kernels.hash_lanes(residency::lane_key(), &self.states, &self.heap)?;
        self.kernels.climb(merkle::node_key(), &self.heap)?;
        self.step += 1;
        Ok(())
    }

    /// The last step's states and tree.
    fn snapshot(&self) -> Result<Snapshot, CudaError> {
        let lanes = 1usize << self.heap.depth;
        let (mut states, mut nodes) = (vec![0; lanes * 64], vec![0; lanes * 64]);
        self.states.read(0, &mut states)?;
        self.heap.nodes.read(0, &mut nodes)?;
        Ok(Snapshot { depth: self.heap.depth, states, nodes })
    }
}

/// A step on the host.
struct Snapshot {
    depth: u32,
    states: Vec<u8>,
    nodes: Vec<u8>,
}

impl Snapshot {
    /// A lane's state and its path; nothing for a lane that is not there.
    fn state(&self, lane: u32) -> Option<LaneState> {
        let state: Block = residency::from_bytes(self.states.as_chunks::<64>().0.get(lane as usize)?);
        let nodes = self.nodes.as_chunks::<32>().0;
        let leaf = (1usize << self.depth) + lane as usize;
        let sibling = |level: u32| nodes.get((leaf >> level) ^ 1).map(|node| Digest::from_bytes(*node));
        let siblings = (0..self.depth).map(sibling).collect::<Option<_>>()?;
        Some(LaneState { state, siblings })
    }
}

/// Bytes of host memory that can be pinned: what the kernel calls available.
fn host_memory_free() -> u64 {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    let kib = line.and_then(|line| line.trim().trim_end_matches("kB").trim().parse::<u64>().ok());
    kib.unwrap_or(0).saturating_mul(1_024)
}

const fn as_bytes(blocks: &[Block]) -> &[u8] {
    const { assert!(cfg!(target_endian = "little"), "blocks are little-endian words") };
    // SAFETY: an array of words is as many bytes without gaps, all of which are initialised; the borrow is carried over.
    unsafe { std::slice::from_raw_parts(blocks.as_ptr().cast(), std::mem::size_of_val(blocks)) }
}
