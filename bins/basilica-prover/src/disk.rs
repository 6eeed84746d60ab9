//! A region on the node's disk, and where it lies.
//!
//! Items are written to a file beside this program, which has no name from the moment it is opened, so that nothing stays
//! behind however the run ends. It is forced to the disk and the system is asked to forget its pages, so that the
//! walk's reads are the disk's. A node can hold the items elsewhere as well as here: what shows is the speed.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use basilica_proof::prover::{BackendError, Memory, Ram, Resident};
use basilica_proof::residency::{BLOCK_BYTES, Block, Cache, Items, Region, Space, from_bytes, to_bytes};

/// Items made and written at a time: 1 MiB.
const PIECE: u64 = 1 << 14;
/// Bytes that a region leaves free on its disk.
const RESERVE_BYTES: u64 = 1 << 30;

/// The node's memory and its disk.
#[derive(Clone, Debug)]
pub(crate) struct NodeMemory {
    ram: Ram,
    folder: PathBuf,
}

impl NodeMemory {
    /// Memory as a CPU backend has it, and the disk that this program lies on.
    pub(crate) fn of_this_program() -> std::io::Result<Self> {
        let program = std::env::current_exe()?;
        Ok(Self::new(program.parent().unwrap_or(Path::new("."))))
    }

    fn new(folder: &Path) -> Self {
        Self { ram: Ram::DEFAULT, folder: folder.to_owned() }
    }

    /// Bytes that a region may have on the disk.
    fn available(&self) -> Result<u64, BackendError> {
        let disk = rustix::fs::statvfs(&self.folder).map_err(|error| failed("ask for free space", error))?;
        Ok(disk.f_bavail.saturating_mul(disk.f_frsize).saturating_sub(RESERVE_BYTES))
    }

    /// A file without a name.
    fn file(&self) -> Result<File, BackendError> {
        let mut name = [0; 8];
        getrandom::fill(&mut name).map_err(|error| failed("draw a file's name", error))?;
        let path = self.folder.join(format!(".basilica-region-{:016x}", u64::from_le_bytes(name)));
        let mut options = File::options();
        let file = options.read(true).write(true).create_new(true).open(&path);
        let file = file.map_err(|error| failed("make a file for the region", error))?;
        std::fs::remove_file(&path).map_err(|error| failed("take the file's name away", error))?;
        Ok(file)
    }
}

fn failed(what: &str, error: impl std::fmt::Display) -> BackendError {
    BackendError::Device(format!("{what}: {error}"))
}

impl Memory for NodeMemory {
    fn fill(&self, region: &Region, cache: &Cache, threads: usize) -> Result<Resident, BackendError> {
        let (space, asked) = (region.params().space(), region.params().bytes());
        if space != Space::Disk {
            return self.ram.fill(region, cache, threads);
        }
        let available = self.available()?;
        if asked > available {
            return Err(BackendError::Memory { space, asked, available });
        }
        let file = self.file()?;
        write(&file, region, cache, threads)?;
        file.sync_all().map_err(|error| failed("force the region to the disk", error))?;
        // Advice: where the system does not take it, reads come from its pages.
        let _ = rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed);
        Ok(Box::new(OnDisk(Arc::new(file))))
    }
}

/// Makes all items on `threads` threads, each writing every so many pieces, up to the first failure.
fn write(file: &File, region: &Region, cache: &Cache, threads: usize) -> Result<(), BackendError> {
    let items = region.params().items();
    let threads = threads.max(1) as u64;
    let stopped = AtomicBool::new(false);
    let share = |thread: u64| -> Result<(), BackendError> {
        let mut bytes = Vec::new();
        let (mut first, stride) = (thread * PIECE, threads * PIECE);
        while first < items && !stopped.load(Ordering::Relaxed) {
            bytes.clear();
            for index in first..items.min(first + PIECE) {
                bytes.extend_from_slice(&to_bytes(&region.item(cache, index)));
            }
            let written = file.write_all_at(&bytes, first * BLOCK_BYTES as u64);
            written.map_err(|error| {
                stopped.store(true, Ordering::Relaxed);
                failed("write the region", error)
            })?;
            first += stride;
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let share = &share;
        let writing: Vec<_> = (0..threads).map(|thread| scope.spawn(move || share(thread))).collect();
        let panicked = |_| Err(BackendError::Device("a thread that writes the region panicked".to_owned()));
        writing.into_iter().try_for_each(|thread| thread.join().unwrap_or_else(panicked))
    })
}

struct OnDisk(Arc<File>);

impl Items for OnDisk {
    type Error = BackendError;

    fn item(&self, index: u64) -> Result<Block, BackendError> {
        let mut bytes = [0; BLOCK_BYTES];
        let read = self.0.read_exact_at(&mut bytes, index * BLOCK_BYTES as u64);
        read.map_err(|error| failed("read the region", error))?;
        Ok(from_bytes(&bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use basilica_proof::residency::{ResidencyParams, WalkParams};
    use basilica_proof::seed::Seed;

    fn region(items: u64) -> Region {
        let walk =
            WalkParams { lanes: 8, steps: 4, reads: 2, windows: 1, barriers: 1, picks: 1, lanes_per_pick: 1 };
        let params = ResidencyParams::new(Space::Disk, items, 3, walk).unwrap();
        Region::new(&Seed::from_bytes([1; 32]), params)
    }

    #[test]
    fn every_item_is_on_the_disk_and_no_name_is() {
        let folder = tempfile::tempdir().unwrap();
        let (region, cache) = (region(2 * PIECE + 77), Cache::new([2; 32], 10));
        for threads in [1, 3] {
            let held = NodeMemory::new(folder.path()).fill(&region, &cache, threads).unwrap();
            assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
            for index in [0, 1, PIECE - 1, PIECE, 2 * PIECE, 2 * PIECE + 76] {
                assert_eq!(held.item(index).unwrap(), region.item(&cache, index));
            }
            held.item(2 * PIECE + 77).unwrap_err();
        }
    }

    #[test]
    fn more_than_the_disk_has_is_refused_before_anything_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let refused = NodeMemory::new(folder.path()).fill(&region(1 << 34), &Cache::new([2; 32], 10), 1);
        assert!(
            matches!(refused, Err(BackendError::Memory { space: Space::Disk, asked, .. }) if asked == 1 << 40)
        );
        let nowhere =
            NodeMemory::new(&folder.path().join("nowhere")).fill(&region(2_048), &Cache::new([2; 32], 10), 1);
        assert!(matches!(nowhere, Err(BackendError::Device(_))));
    }
}
