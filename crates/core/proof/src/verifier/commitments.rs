//! What was committed to so far: roots of products with the seeds that they lead to, and roots of the walks' segments.

use std::time::Duration;

use basilica_types::Digest;

use super::Deadlines;
use crate::challenge::Challenge;
use crate::rejection::{Rejection, Stage};
use crate::residency::{Region, Space, Walk, WalkParams, meeting};
use crate::seed::Seed;
use crate::wire::{Root, SegmentRoot};

/// See the module. The default is that of a run that has not started.
#[derive(Debug, Default)]
pub(super) struct Commitments {
    products: Vec<Product>,
    regions: Vec<(u16, Region)>,
    walks: Vec<Walked>,
    /// Messages that the stage under way still waits for.
    missing: u64,
}

/// One device's rounds.
#[derive(Debug)]
struct Product {
    rounds: u32,
    roots: Vec<Digest>,
    seeds: Vec<Seed>,
    times: Vec<Duration>,
}

/// One walk, as far as it has come.
#[derive(Debug)]
pub(super) struct Walked {
    device: u16,
    walk: Walk,
    /// Of its segments.
    roots: Vec<Digest>,
    /// From the walk's nonce to its last root.
    took: Duration,
}

/// A device's fill under way.
#[derive(Debug)]
pub(super) struct Filling(Vec<u16>);

impl Commitments {
    /// Those of a run that `start` starts: nothing yet, and all rounds are waited for.
    pub(super) fn new(challenge: &Challenge, start: &[u8; 32]) -> Self {
        let devices = challenge.devices();
        let seeds = devices.iter().map(|device| (device, Seed::first(challenge.binding(), device, start)));
        let product = |(device, seed): (&crate::DeviceChallenge, Seed)| Product {
            rounds: device.params.rounds(),
            roots: Vec::new(),
            seeds: vec![seed],
            times: Vec::new(),
        };
        let regions = (0u16..).zip(seeds.clone()).flat_map(|(position, (device, seed))| {
            device.residency.iter().map(move |params| (position, Region::new(&seed, *params)))
        });
        Self {
            regions: regions.collect(),
            products: seeds.map(product).collect(),
            walks: Vec::new(),
            missing: devices.iter().map(|device| u64::from(device.params.rounds())).sum(),
        }
    }

    pub(super) const fn missing(&self) -> u64 {
        self.missing
    }

    pub(super) fn walks(&self) -> &[Walked] {
        &self.walks
    }

    /// The seed and the root of a round that was committed.
    pub(super) fn round(&self, device: u16, round: u32) -> (&Seed, &Digest) {
        let product = &self.products[usize::from(device)];
        (&product.seeds[round as usize], &product.roots[round as usize])
    }

    pub(super) fn last_root(&self, device: usize) -> Option<Digest> {
        self.products.get(device)?.roots.last().copied()
    }

    pub(super) fn take_times(&mut self) -> Vec<Vec<Duration>> {
        self.products.iter_mut().map(|product| std::mem::take(&mut product.times)).collect()
    }

    pub(super) fn on_root(&mut self, message: &Root, elapsed: Duration) -> Result<(), Rejection> {
        let Root { device, round, root } = *message;
        let product = self.products.get_mut(usize::from(device)).ok_or(Rejection::UnknownDevice(device))?;
        let expected = u32::try_from(product.roots.len()).expect("at most 4,096 rounds");
        if expected == product.rounds {
            return Err(Rejection::RootCountMismatch { device, rounds: product.rounds });
        }
        if round != expected {
            return Err(Rejection::RootOrder { device, round, expected });
        }
        if expected + 1 < product.rounds {
            let seed = product.seeds[expected as usize].next(expected + 1, &root);
            product.seeds.push(seed);
        }
        product.roots.push(root);
        product.times.push(elapsed);
        self.missing -= 1;
        Ok(())
    }

    /// Begins to wait for all devices' memory to be filled.
    pub(super) fn begin_fill(&mut self) -> Filling {
        let mut devices: Vec<u16> = self.regions.iter().map(|(device, _)| *device).collect();
        devices.dedup();
        self.missing = devices.len() as u64;
        Filling(devices)
    }

    pub(super) fn on_filled(&mut self, filling: &mut Filling, device: u16) -> Result<(), Rejection> {
        if usize::from(device) >= self.products.len() {
            return Err(Rejection::UnknownDevice(device));
        }
        let position = filling.0.iter().position(|waiting| *waiting == device);
        filling.0.swap_remove(position.ok_or(Rejection::FillRepeated { device })?);
        self.missing -= 1;
        Ok(())
    }

    /// Begins the walks of a space from a nonce.
    pub(super) fn begin_walks(&mut self, space: Space, nonce: &[u8; 32]) {
        let asked = self.regions.iter().filter(|(_, region)| region.params().space() == space);
        let walks = asked.map(|(device, region)| Walked {
            device: *device,
            walk: Walk::new(*region, nonce),
            roots: Vec::new(),
            took: Duration::ZERO,
        });
        let before = self.walks.len();
        self.walks.extend(walks);
        self.missing = self.walks[before..].iter().map(|walked| u64::from(walked.shape().segments())).sum();
    }

    /// Takes a root of the walks through a space, `since_nonce` after the nonce.
    pub(super) fn on_segment_root(
        &mut self,
        message: &SegmentRoot,
        space: Space,
        since_nonce: Duration,
        deadlines: &Deadlines,
    ) -> Result<(), Rejection> {
        let SegmentRoot { device, segment, root } = *message;
        let walked = self.walks.iter_mut().find(|walked| walked.key() == (device, space));
        let walked = walked.ok_or(Rejection::UnknownDevice(device))?;
        let expected = u32::try_from(walked.roots.len()).expect("at most 4,097 segments");
        let segments = walked.shape().segments();
        if segment != expected || expected == segments {
            return Err(Rejection::SegmentOrder { device, segment, expected });
        }
        let limit = deadlines.pace(segment, segments);
        if since_nonce > limit {
            return Err(Rejection::DeadlineMissed { stage: Stage::Walk, limit });
        }
        walked.roots.push(root);
        walked.took = since_nonce;
        self.missing -= 1;
        Ok(())
    }

    /// All roots of the walks through a space are there: passes their barriers, so that every step has its key.
    pub(super) fn pass_barriers(&mut self, space: Space) {
        let walks: Vec<&Walked> = self.walks.iter().filter(|walked| walked.key().1 == space).collect();
        let barriers = walks.first().map_or(0, |walked| walked.shape().barriers);
        let meetings: Vec<Digest> = (0..barriers)
            .map(|ended| {
                let roots = walks.iter().filter_map(|walked| walked.roots.get(usize::from(ended)));
                meeting(u32::from(ended) + 1, roots)
            })
            .collect();
        for walked in self.walks.iter_mut().filter(|walked| walked.key().1 == space) {
            meetings.iter().for_each(|meeting| {
                walked.walk.pass(meeting);
            });
        }
    }
}

impl Walked {
    pub(super) const fn key(&self) -> (u16, Space) {
        (self.device, self.walk.region().params().space())
    }

    pub(super) const fn walk(&self) -> &Walk {
        &self.walk
    }

    pub(super) const fn took(&self) -> Duration {
        self.took
    }

    const fn shape(&self) -> &WalkParams {
        self.walk.region().params().walk()
    }

    /// The root of the segment that a step belongs to.
    pub(super) fn root(&self, step: u32) -> &Digest {
        &self.roots[self.shape().segment(step) as usize]
    }
}
