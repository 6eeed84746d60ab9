//! Tiers T3 and T4 on a device: memory filled with items, and walks through it.
//!
//! The device's own space is one allocation; the host's is pinned memory that kernels read over the link, so that its walk
//! shows the link too. A step of a walk is one launch, which also hashes what earlier steps left ([`Lanes`]); roots are read
//! back sixteen at a time, as reading each would have the device wait between steps. While picks are traced, two
//! steps at most are held on the host.

use std::collections::BTreeMap;
use std::sync::Arc;

use basilica_proof::prover::{Advance, BackendError, Pick, Traced, Tracing};
use basilica_proof::residency::{self, Block, Cache, Region, Space, Walk};
use basilica_proof::wire::LaneState;
use basilica_types::Digest;

use crate::driver::{Buffer, Context, CudaError, Event, HostBuffer};
use crate::kernels::{BLOCK_BYTES, HASH_BYTES, Heap, ItemsAt, Kernels, Turn};
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
            Space::Host => host_memory_free()?,
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
        on_root: &mut dyn FnMut(Digest) -> Advance,
    ) -> Result<(), BackendError> {
        let shape = *walk.region().params().walk();
        let segment_end = |from: u32| (from..shape.steps).find(|step| shape.ends_segment(*step));
        let end = |from: u32| segment_end(from).map_or(shape.steps, |last| last + 1);
        let mut lanes = Lanes::start(tools, self.items(walk), walk.clone(), end(0))?;
        let mut bytes = [0; ROOTS_AT_ONCE as usize * 32];
        while lanes.finished < shape.steps {
            let first = lanes.finished;
            lanes.batch = first;
            let count = ROOTS_AT_ONCE.min(lanes.end - first);
            while lanes.finished < first + count {
                lanes.turn()?;
            }
            let bytes = &mut bytes[..count as usize * 32];
            lanes.roots.read(0, bytes)?;
            for (step, root) in (first..).zip(bytes.as_chunks::<32>().0) {
                match on_root(Digest::from_bytes(*root)) {
                    Advance::Go => {}
                    Advance::Rekey(key) => lanes.begin(key, end(step + 1)),
                    Advance::Stop => return Ok(()),
                }
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
        let mut tracing = Tracing::new(picks);
        let steps = tracing.steps().last().map_or(0, |last| last + 1);
        let mut lanes = Lanes::start(tools, self.items(walk), walk.clone(), steps)?;
        // States are there one turn after their step and trees three turns after, so states wait for their trees.
        let mut waiting: BTreeMap<u32, Vec<u8>> = BTreeMap::new();
        while lanes.finished < steps {
            lanes.turn()?;
            if let Some(stepped) = lanes.hashing.filter(|stepped| tracing.wants(*stepped)) {
                waiting.insert(stepped, lanes.states(stepped)?);
            }
            let finished = lanes.finished.checked_sub(1);
            if let Some((finished, states)) = finished.and_then(|step| Some((step, waiting.remove(&step)?))) {
                let taken = Snapshot { depth: lanes.heaps[0].depth, states, nodes: lanes.tree(finished)? };
                tracing.keep(finished, |lane| taken.state(lane));
            }
        }
        tracing.finish()
    }
}

/// All lanes of a walk on the device. In one turn a step is taken (from one buffer of states into the other), the states
/// after the step before are hashed, and the tree of the one before that is finished. At a barrier no step is taken until
/// the tree of the last one is finished and the next key is there.
#[derive(Debug)]
struct Lanes<'a> {
    kernels: &'a Kernels,
    walk: Walk,
    items: ItemsAt,
    /// The step to take next.
    next: u32,
    /// Where steps stop: a barrier, or the walk's end.
    end: u32,
    /// The step whose states are hashed next.
    hashing: Option<u32>,
    /// The step whose tree is finished next.
    finishing: Option<u32>,
    /// Steps whose trees are finished.
    finished: u32,
    states: [Buffer; 2],
    heaps: [Heap; 2],
    /// The last roots: of a batch, from its first.
    roots: Buffer,
    /// The first step of the batch.
    batch: u32,
}

impl<'a> Lanes<'a> {
    fn start(
        (context, kernels): (&Context, &'a Kernels),
        items: Option<ItemsAt>,
        walk: Walk,
        end: u32,
    ) -> Result<Self, BackendError> {
        let params = walk.region().params();
        let items = items.ok_or(BackendError::NotFilled(params.space()))?;
        let (lanes, depth) = (params.walk().lanes, params.depth());
        let (states, roots) = (u64::from(lanes) * BLOCK_BYTES, u64::from(ROOTS_AT_ONCE) * HASH_BYTES);
        let needed = 2 * (states + Heap::bytes(depth)) + roots;
        let (available, _) = context.memory()?;
        if needed > available {
            return Err(CudaError::Memory { space: Space::Device, needed, available }.into());
        }
        let states = [context.allocate(states)?, context.allocate(states)?];
        kernels.start(walk.key(0), lanes, &states[0])?;
        let heaps = [Heap::new(context, depth)?, Heap::new(context, depth)?];
        let roots = context.allocate(roots)?;
        let (hashing, finishing) = (None, None);
        Ok(Self {
            kernels,
            walk,
            items,
            next: 0,
            end,
            hashing,
            finishing,
            finished: 0,
            states,
            heaps,
            roots,
            batch: 0,
        })
    }

    /// Goes on to the next barrier, with the key of the segment before it.
    fn begin(&mut self, key: [u8; 32], end: u32) {
        self.walk.begin(key);
        self.end = end;
    }

    fn turn(&mut self) -> Result<(), CudaError> {
        let step = (self.next < self.end).then_some(self.next);
        let odd = |number: Option<u32>| number.is_some_and(|number| !number.is_multiple_of(2));
        // A step reads the states that the step before left, which are those that are hashed.
        let from = odd(step) || step.is_none() && self.hashing.is_some_and(|hashed| hashed.is_multiple_of(2));
        let ([even_states, odd_states], [even, other]) = (&self.states, &self.heaps);
        let lower_odd = odd(self.hashing) || self.hashing.is_none() && !odd(self.finishing);
        let slot = self.finishing.map_or(0, |finishing| (finishing - self.batch) % ROOTS_AT_ONCE);
        self.kernels.turn(
            &self.walk,
            self.items,
            &Turn {
                step,
                states: if from { [odd_states, even_states] } else { [even_states, odd_states] },
                lower: self.hashing.is_some(),
                upper: self.finishing.is_some(),
                heaps: if lower_odd { [other, even] } else { [even, other] },
                roots: &self.roots,
                root: u64::from(slot) * HASH_BYTES,
            },
        )?;
        self.finished += u32::from(self.finishing.is_some());
        self.finishing = self.hashing;
        self.hashing = step;
        self.next += u32::from(step.is_some());
        Ok(())
    }

    /// The states after a step that the last turn took.
    fn states(&self, step: u32) -> Result<Vec<u8>, CudaError> {
        let states = &self.states[usize::from(step.is_multiple_of(2))];
        let mut bytes = vec![0; 64 << self.heaps[0].depth];
        states.read(0, &mut bytes)?;
        Ok(bytes)
    }

    /// The tree of a step that the last turn has finished.
    fn tree(&self, step: u32) -> Result<Vec<u8>, CudaError> {
        let heap = &self.heaps[usize::from(!step.is_multiple_of(2))];
        let mut bytes = vec![0; 64 << heap.depth];
        heap.nodes.read(0, &mut bytes)?;
        Ok(bytes)
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
fn host_memory_free() -> Result<u64, CudaError> {
    let text = std::fs::read_to_string("/proc/meminfo").map_err(CudaError::HostMemory)?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    let kib = line.and_then(|line| line.trim().trim_end_matches("kB").trim().parse::<u64>().ok());
    let kib = kib.ok_or_else(|| {
        CudaError::HostMemory(std::io::Error::new(
            std::io::ErrorKind::InvalidData,
            "no number behind MemAvailable",
        ))
    })?;
    Ok(kib.saturating_mul(1_024))
}

const fn as_bytes(blocks: &[Block]) -> &[u8] {
    const { assert!(cfg!(target_endian = "little"), "blocks are little-endian words") };
    // SAFETY: an array of words is as many bytes without gaps, all of which are initialised; the borrow is carried over.
    unsafe { std::slice::from_raw_parts(blocks.as_ptr().cast(), std::mem::size_of_val(blocks)) }
}
