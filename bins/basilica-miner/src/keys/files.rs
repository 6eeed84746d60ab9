//! The key files of a rotation: the key in use, beside it `.next` until that takes its place, then `.former` until it is off all nodes.
//!
//! Each change is one rename, link or removal, and whatever a death between two of them leaves is what the next run expects. The key in
//! use is never absent: a rename puts the new one over it.
//!
//! **Who works with them** holds a lock on their directory: many commands at a time that put the key on nodes or take it off, or one
//! that replaces it. A node would otherwise be left with the old key alone, or keep the new one.

mod holders;
mod owed;

use std::ffi::OsString;
use std::fs::{File, Metadata};
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow, ensure};
use basilica_miner_service::rotation::KeysAtHand;
use basilica_ports::{Entropy, Identity, NodeShell as _};
use basilica_ssh::{RusshShell, create_key};
use basilica_types::SshPublicKey;
use rustix::fs::{FlockOperation, Mode, OFlags, flock, open};
use rustix::io::Errno;
use rustix::process::geteuid;

use crate::config_file::keep_owner;
use crate::nodes::KEY_COMMENT;

/// Where the keys are, for as long as they are held.
pub(crate) struct KeyFiles {
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
    /// The files beside this key, which nobody replaces meanwhile. Fails where somebody does.
    pub(crate) fn to_use(key: &Path) -> anyhow::Result<Self> {
        Self::lock(key, FlockOperation::NonBlockingLockShared)
    }

    /// The files beside this key, with which nobody else works meanwhile. Fails where somebody does.
    pub(super) fn to_replace(key: &Path) -> anyhow::Result<Self> {
        Self::lock(key, FlockOperation::NonBlockingLockExclusive)
    }

    fn lock(key: &Path, operation: FlockOperation) -> anyhow::Result<Self> {
        let current = resolved(key)?;
        let parent = current.parent().context("a file is in a directory")?;
        let directory = File::open(parent).with_context(|| format!("open {}", parent.display()))?;
        match flock(&directory, operation) {
            Ok(()) => Ok(Self { current, directory }),
            Err(Errno::WOULDBLOCK) => Err(anyhow!(
                "the miner's SSH key {} is in use by {}; let that end, then run this command again",
                current.display(),
                holders::of(&directory)
            )),
            Err(error) => Err(error).with_context(|| format!("lock {}", parent.display())),
        }
    }

    /// Whether this is the key in use.
    pub(super) fn is_of(&self, key: &Path) -> bool {
        resolved(key).is_ok_and(|path| path == self.current)
    }

    pub(crate) fn current(&self) -> &Path {
        &self.current
    }

    pub(super) fn next(&self) -> PathBuf {
        self.beside(".next")
    }

    /// The old key, as long as a node may know it alone.
    pub(crate) fn former(&self) -> PathBuf {
        self.beside(".former")
    }

    fn beside(&self, ending: &str) -> PathBuf {
        with(&self.current, ending)
    }

    /// The key in use.
    pub(crate) fn public(&self) -> anyhow::Result<SshPublicKey> {
        public(&self.current)
    }

    /// The keys that are there.
    pub(crate) fn at_hand(&self) -> anyhow::Result<KeysAtHand> {
        let optional = |path: PathBuf| if path.exists() { public(&path).map(Some) } else { Ok(None) };
        Ok(KeysAtHand {
            current: self.public()?,
            next: optional(self.next())?,
            former: optional(self.former())?,
        })
    }

    /// A new key, for the owner of the one in use.
    pub(super) fn make(&self, entropy: &dyn Entropy) -> anyhow::Result<SshPublicKey> {
        self.take(&self.clearing())?;
        let key = self.draft(entropy)?;
        self.take(&self.publishing())?;
        Ok(key)
    }

    fn making(&self) -> PathBuf {
        self.beside(".making")
    }

    /// What a run left that ended before it had a whole key, and a key in use that was put aside and never replaced.
    fn clearing(&self) -> [Step; 5] {
        let (draft, next, former) = (self.making(), self.next(), self.former());
        [half(&draft), draft, half(&next), half(&former), former].map(Step::Remove)
    }

    fn draft(&self, entropy: &dyn Entropy) -> anyhow::Result<SshPublicKey> {
        let draft = self.making();
        let key = create_key(&draft, KEY_COMMENT, entropy).context("make the new SSH key")?;
        let owner = std::fs::metadata(&self.current).context("look at the key in use")?;
        for path in [&draft, &half(&draft)] {
            give(path, &owner)
                .with_context(|| format!("give {} to the owner of the key in use", path.display()))?;
        }
        Ok(key)
    }

    fn publishing(&self) -> [Step; 2] {
        let (draft, next) = (self.making(), self.next());
        [Step::Rename(half(&draft), half(&next)), Step::Rename(draft, next)]
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

/// Gives a file that this process has just made to an owner. Who may write in the directory can have put another one in its place, of which
/// only a name is there: neither a link nor a second name of a file is given away.
fn give(path: &Path, owner: &Metadata) -> anyhow::Result<()> {
    let flags = (OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty());
    let file = File::from(open(path, flags.0, flags.1).context("open it")?);
    let made = file.metadata().context("look at it")?;
    let is_ours = made.is_file() && made.nlink() == 1 && made.uid() == geteuid().as_raw();
    ensure!(is_ours, "it is not the file that was made; who else writes in this directory?");
    keep_owner(&file, owner, path)
}

/// The public half's file.
pub(crate) fn half(key: &Path) -> PathBuf {
    with(key, ".pub")
}

pub(super) fn with(path: &Path, ending: &str) -> PathBuf {
    let mut name: OsString = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

/// With links followed.
fn resolved(key: &Path) -> anyhow::Result<PathBuf> {
    key.canonicalize().with_context(|| format!("find the miner's SSH key {}", key.display()))
}

fn public(path: &Path) -> anyhow::Result<SshPublicKey> {
    Ok(RusshShell.public_key(&Identity::File(path.to_owned()))?)
}

#[cfg(test)]
mod tests;
