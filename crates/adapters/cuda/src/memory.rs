//! Tiers T3 and T4 on a device: memory filled with items, and walks through it.
//!
//! The device's own space is one allocation; the host's is pinned memory that kernels read over the link, so that its walk
//! shows the link too. A step of a walk is one launch, which also hashes what earlier steps left ([`Lanes`]); roots are read
//! back sixteen at a time, as reading each would have the device wait between steps. While picks are traced, two
//! steps at most are held on the host.

use std::collections::BTreeMap;
use std::sync::Arc;

use basilica_proof::prover::{BackendError, Pick, Traced};
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
        let steps = walk.region().params().walk().steps;
        let mut lanes = Lanes::start(tools, self.items(walk), walk, steps)?;
        let mut bytes = [0; ROOTS_AT_ONCE as usize * 32];
        for first in (0..steps).step_by(ROOTS_AT_ONCE as usize) {
            let count = ROOTS_AT_ONCE.min(steps - first);
            while lanes.finished() < first + count {
                lanes.turn()?;
            }
            let bytes = &mut bytes[..count as usize * 32];
            lanes.roots.read(0, bytes)?;
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
        let steps = wanted.last_key_value().map_or(0, |(last, _)| last + 1);
        let mut lanes = Lanes::start(tools, self.items(walk), walk, steps)?;
        // States are there one turn after their step and trees three turns after, so states wait for their trees.
        let mut waiting: BTreeMap<u32, Vec<u8>> = BTreeMap::new();
        while lanes.finished() < steps {
            lanes.turn()?;
            let stepped = lanes.turns - 1;
            if wanted.contains_key(&stepped) {
                waiting.insert(stepped, lanes.states()?);
            }
            let finished = lanes.finished().checked_sub(1);
            if let Some((finished, states)) = finished.and_then(|step| Some((step, waiting.remove(&step)?))) {
                let taken = Snapshot { depth: lanes.heaps[0].depth, states, nodes: lanes.tree()? };
                for (lane, kept) in wanted.entry(finished).or_default().iter_mut() {
                    *kept = taken.state(*lane);
                }
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

/// All lanes of a walk on the device. In turn t, step t is taken (from one buffer of states into the other), the states
/// after step t − 1 are hashed, and the tree of step t − 2 is finished.
#[derive(Debug)]
struct Lanes<'a> {
    kernels: &'a Kernels,
    walk: &'a Walk,
    items: ItemsAt,
    /// Steps to take.
    steps: u32,
    /// Turns taken.
    turns: u32,
    states: [Buffer; 2],
    heaps: [Heap; 2],
    /// The last roots, at their step's number modulo their count.
    roots: Buffer,
}

impl<'a> Lanes<'a> {
    fn start(
        (context, kernels): (&Context, &'a Kernels),
        items: Option<ItemsAt>,
        walk: &'a Walk,
        steps: u32,
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
        kernels.start(walk.key(), lanes, &states[0])?;
        let heaps = [Heap::new(context, depth)?, Heap::new(context, depth)?];
        Ok(Self { kernels, walk, items, steps, turns: 0, states, heaps, roots: context.allocate(roots)? })
    }

    fn turn(&mut self) -> Result<(), CudaError> {
        let turn = self.turns;
        let ([even, odd], [lower, upper]) = (&self.states, &self.heaps);
        let even_turn = turn.is_multiple_of(2);
        let slot = turn.saturating_sub(2) % ROOTS_AT_ONCE;
        self.kernels.turn(
            self.walk,
            self.items,
            &Turn {
                step: (turn < self.steps).then_some(turn),
                states: if even_turn { [even, odd] } else { [odd, even] },
                lower: (1..=self.steps).contains(&turn),
                upper: turn >= 2,
                heaps: if even_turn { [lower, upper] } else { [upper, lower] },
                roots: &self.roots,
                root: u64::from(slot) * HASH_BYTES,
            },
        )?;
        self.turns += 1;
        Ok(())
    }

    /// Steps whose trees are finished.
    const fn finished(&self) -> u32 {
        self.turns.saturating_sub(2)
    }

    /// The states after the step of the last turn.
    fn states(&self) -> Result<Vec<u8>, CudaError> {
        let states = &self.states[usize::from(!self.turns.is_multiple_of(2))];
        let mut bytes = vec![0; 64 << self.heaps[0].depth];
        states.read(0, &mut bytes)?;
        Ok(bytes)
    }

    /// The tree that the last turn has finished.
    fn tree(&self) -> Result<Vec<u8>, CudaError> {
        let heap = &self.heaps[usize::from(!self.turns.is_multiple_of(2))];
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
