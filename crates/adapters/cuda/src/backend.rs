//! One device as the proof's protocol sees it.

use std::sync::Arc;

use basilica_proof::ProofParams;
use basilica_proof::merkle::Leaf;
use basilica_proof::prover::{Advance, Backend, BackendError, Pick, Traced};
use basilica_proof::residency::{Cache, Region, Walk};
use basilica_proof::seed::Seed;
use basilica_types::{Digest, ErrorChain};

use crate::driver::{Context, CudaError, Device};
use crate::kernels::Kernels;
use crate::memory::{FillTime, Memory};
use crate::work::{RoundTimes, Work};

/// A device with its kernels loaded, what it has committed to, and the memory it has filled.
#[derive(Debug)]
pub struct CudaBackend {
    work: Work,
    memory: Memory,
    kernels: Kernels,
    context: Context,
}

impl CudaBackend {
    /// Takes a device and has its driver compile the kernels.
    pub fn new(device: &Device) -> Result<Self, CudaError> {
        let context = device.context()?;
        let kernels = Kernels::load(device, &context)?;
        Ok(Self { work: Work::default(), memory: Memory::default(), kernels, context })
    }

    /// Times one round that is not committed to.
    pub fn time_round(&mut self, seed: &Seed, params: &ProofParams) -> Result<RoundTimes, CudaError> {
        self.work.time((&self.context, &self.kernels), seed, params)
    }

    /// As [`Backend::fill`], with what it took.
    pub fn time_fill(&mut self, region: &Region, cache: &Arc<Cache>) -> Result<FillTime, CudaError> {
        self.work.release();
        self.memory.fill((&self.context, &self.kernels), region, cache)
    }

    /// Bytes of device memory that a region could have now, beside a cache of `cache` bytes.
    pub fn fillable(&self, cache: u64) -> Result<u64, CudaError> {
        let (free, _) = self.context.memory()?;
        Ok(free.saturating_sub(crate::work::RESERVE_BYTES + cache))
    }
}

impl Backend for CudaBackend {
    fn commit(&mut self, seed: &Seed, params: &ProofParams) -> Result<Digest, BackendError> {
        Ok(self.work.commit((&self.context, &self.kernels), seed, params)?)
    }

    fn open(&mut self, round: u32, leaf: u32) -> Result<(Leaf, Vec<Digest>), BackendError> {
        let opened = self.work.open((&self.context, &self.kernels), round, leaf)?;
        opened.ok_or(BackendError::NotCommitted { round, leaf })
    }

    fn fill(&mut self, region: &Region, cache: &Arc<Cache>) -> Result<(), BackendError> {
        self.time_fill(region, cache)?;
        Ok(())
    }

    fn walk(&mut self, walk: &Walk, on_root: &mut dyn FnMut(Digest) -> Advance) -> Result<(), BackendError> {
        self.memory.walk((&self.context, &self.kernels), walk, on_root)
    }

    fn trace(&mut self, walk: &Walk, picks: &[Pick]) -> Result<Vec<Traced>, BackendError> {
        self.memory.trace((&self.context, &self.kernels), walk, picks)
    }
}

impl From<CudaError> for BackendError {
    fn from(error: CudaError) -> Self {
        match error {
            CudaError::Memory { space, needed: asked, available } => Self::Memory { space, asked, available },
            other => Self::Device(ErrorChain(&other).to_string()),
        }
    }
}
