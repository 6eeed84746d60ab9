use std::path::PathBuf;

use basilica_types::Kept;

/// What is left on the file system that holds something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Room {
    /// What.
    pub kept: Kept,
    /// Where it is, or will be.
    pub path: PathBuf,
    /// For this process, in bytes.
    pub free_bytes: u64,
}

/// A file system as it tells of itself (`statvfs`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileSystem {
    /// Of one block.
    pub block_bytes: u64,
    /// Blocks in all.
    pub blocks: u64,
    /// Of these, unused.
    pub free: u64,
    /// Of these, unused and not kept for the administrator.
    pub available: u64,
}

impl FileSystem {
    /// What a process can still write, in bytes: one of the administrator also what is kept for that. None without any size: there is
    /// no limit then, or it is not told.
    pub const fn free_bytes(&self, is_root: bool) -> Option<u64> {
        let blocks = if is_root { self.free } else { self.available };
        if self.blocks > 0 { Some(blocks.saturating_mul(self.block_bytes)) } else { None }
    }
}

/// The file systems that hold what a program keeps.
pub trait Disks: Send + Sync {
    /// What is left on each of them, of what is most needed there; one that cannot be asked is left out. Blocks for as long as they
    /// need to answer, which may be for good.
    fn room(&self) -> Vec<Room>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_for_the_administrator_is_free_for_that_alone() {
        let ext4 = FileSystem { block_bytes: 4_096, blocks: 1_000, free: 50, available: 0 };
        assert_eq!((ext4.free_bytes(true), ext4.free_bytes(false)), (Some(50 * 4_096), Some(0)));
        let proc = FileSystem { blocks: 0, ..ext4 };
        assert_eq!((proc.free_bytes(true), proc.free_bytes(false)), (None, None));
    }
}
