//! The host's file systems.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use basilica_ports::{Disks, FileSystem, Room};
use basilica_types::Kept;
use rustix::fs::StatVfs;

/// Those that hold what a program keeps. What is not there yet stands for its nearest directory that is.
#[derive(Clone, Debug)]
pub struct HostDisks {
    kept: Vec<(Kept, PathBuf)>,
}

impl HostDisks {
    /// The most needed first: of two things on one file system the first stands for both.
    pub const fn of(kept: Vec<(Kept, PathBuf)>) -> Self {
        Self { kept }
    }
}

impl Disks for HostDisks {
    fn room(&self) -> Vec<Room> {
        let is_root = rustix::process::geteuid().is_root();
        let mut devices = Vec::new();
        let mut found = Vec::new();
        for (kept, path) in &self.kept {
            let device = there(path).find_map(|path| Some(path.metadata().ok()?.dev()));
            let free = stat_of(path).and_then(|stat| told_by(&stat).free_bytes(is_root));
            let (Some(device), Some(free_bytes)) = (device, free) else { continue };
            if !devices.contains(&device) {
                devices.push(device);
                found.push(Room { kept: *kept, path: path.clone(), free_bytes });
            }
        }
        found
    }
}

const fn told_by(stat: &StatVfs) -> FileSystem {
    FileSystem {
        block_bytes: stat.f_frsize,
        blocks: stat.f_blocks,
        free: stat.f_bfree,
        available: stat.f_bavail,
    }
}

/// The file system that a file is on, or will be.
pub(crate) fn stat_of(file: &Path) -> Option<StatVfs> {
    there(file).find_map(|path| rustix::fs::statvfs(path).ok())
}

/// The path and the directories that lead to it, the nearest first.
fn there(file: &Path) -> impl Iterator<Item = &Path> {
    file.ancestors().map(|path| if path.as_os_str().is_empty() { Path::new(".") } else { path })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_system_is_told_once_and_by_what_is_most_needed_on_it() {
        let disks = HostDisks::of(vec![
            (Kept::Database, "not/there/yet.db".into()),
            (Kept::AuditLog, "nor/this.log".into()),
        ]);
        let room = disks.room();
        assert_eq!(room.len(), 1, "{room:?}");
        assert_eq!((room[0].kept, room[0].path.as_path()), (Kept::Database, Path::new("not/there/yet.db")));
        assert!(room[0].free_bytes > 0);
        let kept = vec![(Kept::Database, "/proc/x.db".into()), (Kept::AuditLog, "x.log".into())];
        let room = HostDisks::of(kept).room();
        assert!(room.len() == 1 && room[0].kept == Kept::AuditLog, "a size of nothing is none: {room:?}");
    }
}
