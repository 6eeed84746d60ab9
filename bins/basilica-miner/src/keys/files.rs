//! The key files of a rotation: the key in use, beside it `.next` until that takes its place, then `.former` until it is off all nodes.
//!
//! Each change is one rename, link or removal, and whatever a death between two of them leaves is what the next run expects. The key in
//! use is never absent: a rename puts the new one over it.

use std::ffi::OsString;
use std::fs::File;
use std::io::ErrorKind;
use std::os::unix::fs::{MetadataExt as _, chown};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use basilica_miner_service::rotation::KeysAtHand;
use basilica_ports::{Entropy, Identity, NodeShell as _};
use basilica_ssh::{RusshShell, create_key};
use basilica_types::SshPublicKey;
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use crate::nodes::KEY_COMMENT;

/// Where the keys are, for as long as nobody else may rotate them.
pub(super) struct KeyFiles {
    /// The key in use, with links followed: a link stays one.
    current: PathBuf,
    /// Locked.
    directory: File,
}

/// One change of the directory.
#[derive(Debug)]
enum Step {
    /// The second name becomes another one of the first file, if it is not one already and there is a first.
    Keep(PathBuf, PathBuf),
    /// The first file gets the second name, if there is a first.
    Rename(PathBuf, PathBuf),
    /// Gone, if it was there.
    Remove(PathBuf),
}

impl Step {
    fn take(&self) -> anyhow::Result<()> {
        let (done, harmless) = match self {
            Self::Keep(from, to) => {
                (std::fs::hard_link(from, to), [ErrorKind::NotFound, ErrorKind::AlreadyExists])
            }
            Self::Rename(from, to) => (std::fs::rename(from, to), [ErrorKind::NotFound; 2]),
            Self::Remove(path) => (std::fs::remove_file(path), [ErrorKind::NotFound; 2]),
        };
        match done {
            Err(error) if !harmless.contains(&error.kind()) => Err(error).with_context(|| match self {
                Self::Keep(from, to) => format!("keep {} as {}", from.display(), to.display()),
                Self::Rename(from, to) => format!("rename {} to {}", from.display(), to.display()),
                Self::Remove(path) => format!("remove {}", path.display()),
            }),
            _ => Ok(()),
        }
    }
}

impl KeyFiles {
    /// The files beside this key. Fails where another rotation is under way.
    pub(super) fn lock(key: &Path) -> anyhow::Result<Self> {
        let current =
            key.canonicalize().with_context(|| format!("find the miner's SSH key {}", key.display()))?;
        let parent = current.parent().context("a file is in a directory")?;
        let directory = File::open(parent).with_context(|| format!("open {}", parent.display()))?;
        match flock(&directory, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self { current, directory }),
            Err(Errno::WOULDBLOCK) => {
                bail!("another `keys rotate` is under way in {}; let it end", parent.display())
            }
            Err(error) => Err(error).with_context(|| format!("lock {}", parent.display())),
        }
    }

    pub(super) fn current(&self) -> &Path {
        &self.current
    }

    pub(super) fn next(&self) -> PathBuf {
        self.beside(".next")
    }

    pub(super) fn former(&self) -> PathBuf {
        self.beside(".former")
    }

    fn beside(&self, ending: &str) -> PathBuf {
        with(&self.current, ending)
    }

    /// The keys that are there.
    pub(super) fn at_hand(&self) -> anyhow::Result<KeysAtHand> {
        let optional = |path: PathBuf| if path.exists() { public(&path).map(Some) } else { Ok(None) };
        Ok(KeysAtHand {
            current: public(&self.current)?,
            next: optional(self.next())?,
            former: optional(self.former())?,
        })
    }

    /// A new key, for the owner of the one in use.
    pub(super) fn make(&self, entropy: &dyn Entropy) -> anyhow::Result<SshPublicKey> {
        let draft = self.beside(".making");
        // What a run left that ended before it had a whole key, and a key in use that was put aside and never replaced.
        let leftover = [draft.clone(), half(&draft), half(&self.next()), self.former(), half(&self.former())];
        self.take(&leftover.map(Step::Remove))?;
        let key = create_key(&draft, KEY_COMMENT, entropy).context("make the new SSH key")?;
        let owner = std::fs::metadata(&self.current).context("look at the key in use")?;
        for path in [&draft, &half(&draft)] {
            let made = std::fs::metadata(path).context("look at the new key")?;
            if (made.uid(), made.gid()) != (owner.uid(), owner.gid()) {
                chown(path, Some(owner.uid()), Some(owner.gid())).with_context(|| {
                    format!(
                        "give {} to the owner of the key in use; run this command as its owner or as root",
                        path.display()
                    )
                })?;
            }
        }
        self.take(&[Step::Rename(half(&draft), half(&self.next())), Step::Rename(draft, self.next())])?;
        Ok(key)
    }

    /// The new key takes the place of the one in use, which is kept.
    pub(super) fn switch(&self) -> anyhow::Result<()> {
        self.take(&self.switching())
    }

    fn switching(&self) -> [Step; 4] {
        let (current, next, former) = (&self.current, self.next(), self.former());
        [
            Step::Keep(half(current), half(&former)),
            Step::Keep(current.clone(), former),
            Step::Rename(next.clone(), current.clone()),
            Step::Rename(half(&next), half(current)),
        ]
    }

    /// The old key is forgotten.
    pub(super) fn finish(&self) -> anyhow::Result<()> {
        self.take(&self.finishing())
    }

    fn finishing(&self) -> [Step; 3] {
        let (next, former) = (self.next(), self.former());
        // The first is what a switch left that did not come to its end.
        [Step::Rename(half(&next), half(&self.current)), Step::Remove(half(&former)), Step::Remove(former)]
    }

    fn take(&self, steps: &[Step]) -> anyhow::Result<()> {
        steps.iter().try_for_each(Step::take)?;
        self.directory.sync_all().context("write the directory of the keys")
    }
}

/// The public half's file.
fn half(key: &Path) -> PathBuf {
    with(key, ".pub")
}

fn with(path: &Path, ending: &str) -> PathBuf {
    let mut name: OsString = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

fn public(path: &Path) -> anyhow::Result<SshPublicKey> {
    Ok(RusshShell.public_key(&Identity::File(path.to_owned()))?)
}

#[cfg(test)]
mod tests {
    use basilica_miner_service::rotation::Stage;
    use basilica_system::OsEntropy;

    use super::*;

    fn folder() -> (tempfile::TempDir, PathBuf, SshPublicKey) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        let key = create_key(&path, KEY_COMMENT, &OsEntropy).unwrap();
        (folder, path, key)
    }

    fn names(folder: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(folder).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort_unstable();
        names
    }

    /// Goes on wherever the files say that it stands, until nothing is left to do; the keys that were in use on the way.
    fn go_on(path: &Path) -> Vec<SshPublicKey> {
        let mut used = Vec::new();
        for _ in 0..4 {
            let files = KeyFiles::lock(path).unwrap();
            let keys = files.at_hand().unwrap();
            used.push(keys.current.clone());
            match keys.stage().unwrap() {
                Stage::Make if used.len() > 1 => break,
                Stage::Make => drop(files.make(&OsEntropy).unwrap()),
                Stage::Spread { .. } => files.switch().unwrap(),
                Stage::Retire { .. } => files.finish().unwrap(),
            }
        }
        used.dedup();
        used
    }

    #[test]
    fn a_rotation_ends_with_the_new_key_alone_and_both_its_halves() {
        let (folder, path, old) = folder();
        let used = go_on(&path);
        assert_eq!((used.len(), &used[0]), (2, &old));
        assert_eq!(names(folder.path()), ["key", "key.pub"]);
        let half = std::fs::read_to_string(half(&path)).unwrap();
        assert!(half.starts_with(&used[1].to_string()), "{half}");
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
    }

    #[test]
    fn wherever_a_switch_or_the_end_is_cut_off_the_next_run_comes_to_the_same() {
        for cut in 0..=7 {
            let (folder, path, old) = folder();
            let new = {
                let files = KeyFiles::lock(&path).unwrap();
                let new = files.make(&OsEntropy).unwrap();
                let steps = files.switching().into_iter().chain(files.finishing());
                steps.take(cut).for_each(|step| step.take().unwrap());
                new
            };
            assert!(
                [&old, &new].contains(&&public(&path).unwrap()),
                "cut after {cut}: a key is always in use"
            );
            if cut < 7 {
                go_on(&path);
            }
            assert_eq!(public(&path).unwrap(), new, "cut after {cut}");
            assert_eq!(names(folder.path()), ["key", "key.pub"], "cut after {cut}");
            let half = std::fs::read_to_string(half(&path)).unwrap();
            assert!(half.starts_with(&new.to_string()), "cut after {cut}: {half}");
        }
    }

    #[test]
    fn a_key_that_was_half_made_is_made_anew() {
        let (folder, path, _) = folder();
        for name in ["key.making", "key.making.pub", "key.next.pub"] {
            std::fs::write(folder.path().join(name), "half").unwrap();
        }
        assert_eq!(go_on(&path).len(), 2);
        assert_eq!(names(folder.path()), ["key", "key.pub"]);
    }

    #[test]
    fn two_at_once_are_refused_and_a_link_stays_one() {
        let (folder, path, _) = folder();
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        {
            let _first = KeyFiles::lock(&path).unwrap();
            assert!(KeyFiles::lock(&link).is_err_and(|error| error.to_string().contains("under way")));
        }
        assert_eq!(go_on(&link).len(), 2);
        assert!(link.is_symlink());
        assert_eq!(names(folder.path()), ["key", "key.pub", "link"]);
    }
}
