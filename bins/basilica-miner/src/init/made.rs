//! What was made on the way to a configuration, and goes again where that is refused.

use std::path::{Path, PathBuf};

/// Files and directories that were not there before, the outer ones first. They go with this value unless they are kept.
#[derive(Default)]
pub(super) struct Made(Vec<PathBuf>);

impl Made {
    /// Notes `path`, which is made next, and the directories above it, as far as they are not there.
    pub(super) fn next(&mut self, path: &Path) {
        let missing = path.ancestors().take_while(|path| path.symlink_metadata().is_err());
        let mut missing: Vec<PathBuf> = missing.map(Path::to_owned).collect();
        missing.reverse();
        self.0.extend(missing);
    }

    pub(super) fn keep(mut self) {
        self.0.clear();
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        for path in self.0.iter().rev() {
            // A directory in which somebody else has put something stays.
            let _ = if path.is_dir() { std::fs::remove_dir(path) } else { std::fs::remove_file(path) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_there_and_what_others_made_stays() {
        let home = tempfile::tempdir().unwrap();
        let at = |name: &str| home.path().join(name);
        let make = || {
            let mut made = Made::default();
            made.next(&at("a/b"));
            std::fs::create_dir_all(at("a/b")).unwrap();
            made.next(&at("a/file"));
            std::fs::write(at("a/file"), "").unwrap();
            made
        };
        drop(make());
        assert!(!at("a").exists());
        let made = make();
        std::fs::write(at("a/b/theirs"), "").unwrap();
        drop(made);
        assert!(at("a/b/theirs").exists() && !at("a/file").exists());
        make().keep();
        assert!(at("a/file").exists());
        drop(make());
        assert!(at("a/file").exists(), "it was there before");
    }
}
