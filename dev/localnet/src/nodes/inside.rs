//! Files of a node, seen from outside.
//!
//! Paths are resolved by the kernel with the node's root as `/` (`openat2`, `RESOLVE_IN_ROOT`). A plain path below
//! `/proc/PID/root` would follow a node's absolute links into the machine's own files.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};

/// Larger files are no fixture's.
const MAX_READ: u64 = 64 * 1024 * 1024;

/// A node's file tree.
#[derive(Clone, Debug)]
pub(super) struct Tree {
    root: PathBuf,
}

impl Tree {
    /// The tree below `root`, which may be `/proc/PID/root`.
    pub(super) fn at(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    pub(super) fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let file = File::from(self.open(path, OFlags::RDONLY, Mode::empty())?);
        let mut bytes = Vec::new();
        file.take(MAX_READ).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// Writes a file with its parents; what was there is replaced.
    pub(super) fn write(&self, path: &Path, mode: u32, bytes: &[u8]) -> io::Result<()> {
        if let Some(parent) = path.parent() {
            self.make_directories(parent)?;
        }
        let mode = Mode::from_raw_mode(mode);
        let fd = self.open(path, OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC, mode)?;
        rustix::fs::fchmod(&fd, mode)?;
        File::from(fd).write_all(bytes)
    }

    fn make_directories(&self, path: &Path) -> io::Result<()> {
        let mut missing: Vec<&Path> = Vec::new();
        for ancestor in path.ancestors().filter(|a| !a.as_os_str().is_empty()) {
            match self.open(ancestor, OFlags::PATH | OFlags::DIRECTORY, Mode::empty()) {
                Ok(_) => break,
                Err(error) if error.kind() == io::ErrorKind::NotFound => missing.push(ancestor),
                Err(error) => return Err(error),
            }
        }
        for directory in missing.into_iter().rev() {
            let (Some(parent), Some(name)) = (directory.parent(), directory.file_name()) else { continue };
            let parent = if parent.as_os_str().is_empty() { Path::new("/") } else { parent };
            let parent = self.open(parent, OFlags::PATH | OFlags::DIRECTORY, Mode::empty())?;
            rustix::fs::mkdirat(&parent, name, Mode::from_raw_mode(0o755))?;
        }
        Ok(())
    }

    fn open(&self, path: &Path, flags: OFlags, mode: Mode) -> io::Result<OwnedFd> {
        let directory = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::openat(CWD, &self.root, directory, Mode::empty())?;
        let inside = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        Ok(rustix::fs::openat2(&root, path, flags | OFlags::CLOEXEC, mode, inside)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    #[test]
    fn files_are_written_with_parents_and_mode_and_read_back() {
        let directory = tempfile::tempdir().unwrap();
        let tree = Tree::at(directory.path());
        tree.write(Path::new("/a/b/c"), 0o750, b"one").unwrap();
        tree.write(Path::new("a/b/c"), 0o640, b"two").unwrap();
        assert_eq!(tree.read(Path::new("/a/b/c")).unwrap(), b"two");
        let mode = std::fs::metadata(directory.path().join("a/b/c")).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o640);
    }

    #[test]
    fn links_of_a_node_cannot_lead_out_of_it() {
        let machine = tempfile::tempdir().unwrap();
        std::fs::write(machine.path().join("secret"), b"machine").unwrap();
        let node = tempfile::tempdir().unwrap();
        symlink(machine.path(), node.path().join("absolute")).unwrap();
        symlink("../../../../../../../../../../etc", node.path().join("relative")).unwrap();
        let tree = Tree::at(node.path());
        assert!(tree.read(Path::new("/absolute/secret")).is_err());
        assert!(tree.read(Path::new("/relative/passwd")).is_err());
        assert!(tree.read(Path::new("/../../../etc/passwd")).is_err());
        // Writing follows the link inside the node: it makes the missing directories there or fails, never outside.
        let _ = tree.write(Path::new("/absolute/secret"), 0o600, b"node");
        assert_eq!(std::fs::read(machine.path().join("secret")).unwrap(), b"machine");
    }
}
