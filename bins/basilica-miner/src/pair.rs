//! A key and its certificate: two files that are replaced together.
//!
//! **What is promised.** No system call replaces two files, so a death between the two renames leaves the new key beside the old
//! certificate, for which it does not serve. Then the new certificate lies beside, whole, and [`completion`] tells the command
//! that puts it in its place, which a start of the miner says. At every other moment the old pair or the new one is there. What was
//! there is kept, both halves under one number, and never overwritten by a later run. A directory that is missing is made; a run that
//! ends before the first of the files is in its place leaves nothing.
//!
//! **Rejected**: a directory for each pair behind a link that is renamed, which is switched at once, but where the two files are is the
//! operator's choice.

use std::fs::{DirBuilder, File, Permissions};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use basilica_rpc::{ServerTls, TlsError};
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use crate::config_file::{keep_owner, kept_names};

/// The program's own key is for nobody else; a certificate is for everybody.
const PRIVATE: u32 = 0o600;
const PUBLIC: u32 = 0o644;
/// The same of the directories that they are in, where these are made.
const PRIVATE_DIRECTORY: u32 = 0o700;
const PUBLIC_DIRECTORY: u32 = 0o755;

/// Where both are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pair<'a> {
    pub(crate) key: &'a Path,
    pub(crate) certificate: &'a Path,
}

/// One change.
enum Step<'a> {
    /// The whole new file lies beside.
    Draft { path: &'a Path, text: &'a str, mode: u32 },
    /// What was there has another name too.
    Keep { path: &'a Path, as_: PathBuf },
    /// The new file takes its place, which was empty if nothing is to be replaced.
    Publish { path: &'a Path, replaces: bool },
}

impl<'a> Pair<'a> {
    /// Writes both; tells as what the old ones are kept, if there were any and `force` says that they are replaced.
    pub(crate) fn write(
        self,
        key: &'a str,
        certificate: &'a str,
        force: bool,
    ) -> anyhow::Result<Vec<PathBuf>> {
        let _made = Made::for_both(self)?;
        let directory = directory_of(self.certificate)?;
        let lock = File::open(&directory).with_context(|| format!("open {}", directory.display()))?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => {
                bail!("another command works in {}; let it end, then run this one again", directory.display())
            }
            Err(error) => return Err(error).with_context(|| format!("lock {}", directory.display())),
        }
        let steps = self.steps(key, certificate, force)?;
        for (at, step) in steps.iter().enumerate() {
            if let Err(error) = step.take() {
                undo(&steps, at);
                return Err(error);
            }
        }
        Ok(steps.into_iter().filter_map(Step::kept).collect())
    }

    /// The key first: a certificate without one would be found by a start between the two.
    fn steps(self, key: &'a str, certificate: &'a str, force: bool) -> anyhow::Result<Vec<Step<'a>>> {
        let Self { key: key_path, certificate: certificate_path } = self;
        let mut steps = vec![
            Step::Draft { path: key_path, text: key, mode: PRIVATE },
            Step::Draft { path: certificate_path, text: certificate, mode: PUBLIC },
        ];
        if force {
            let paths = [key_path, certificate_path];
            let names = kept_names(&paths)?;
            let there = paths.into_iter().zip(names).filter(|(path, _)| path.symlink_metadata().is_ok());
            steps.extend(there.map(|(path, as_)| Step::Keep { path, as_ }));
        }
        steps.extend([key_path, certificate_path].map(|path| Step::Publish { path, replaces: force }));
        Ok(steps)
    }

    fn load(self) -> Result<ServerTls, TlsError> {
        ServerTls::load(self.certificate, self.key)
    }
}

impl Step<'_> {
    fn take(&self) -> anyhow::Result<()> {
        match self {
            Self::Draft { path, text, mode } => draft(path, text, *mode),
            Self::Keep { path, as_ } => std::fs::hard_link(path, as_)
                .with_context(|| format!("keep {} as {}", path.display(), as_.display())),
            Self::Publish { path, replaces } => publish(path, *replaces),
        }
    }

    fn kept(self) -> Option<PathBuf> {
        match self {
            Self::Keep { as_, .. } => Some(as_),
            _ => None,
        }
    }
}

/// Takes back what was done before step `failed`, unless one of the files is in its place already: then the other one is needed.
fn undo(steps: &[Step<'_>], failed: usize) {
    let (done, failed) = steps.split_at(failed);
    if done.iter().any(|step| matches!(step, Step::Publish { .. })) {
        return;
    }
    // A draft that failed may be half written; of the others, what failed is not ours.
    let half = failed.iter().take(1).filter(|step| matches!(step, Step::Draft { .. }));
    for step in done.iter().chain(half) {
        // What cannot be removed does no harm.
        let _ = match step {
            Step::Draft { path, .. } => std::fs::remove_file(new(path)),
            // A second name of a file that is still there.
            Step::Keep { as_, .. } => std::fs::remove_file(as_),
            Step::Publish { .. } => Ok(()),
        };
    }
}

/// Directories that this run has made. What is still empty at its end is removed.
struct Made(Vec<PathBuf>);

impl Made {
    fn for_both(pair: Pair<'_>) -> anyhow::Result<Self> {
        let mut made = Self(Vec::new());
        // The key's first: where it is the certificate's too, it is for nobody else.
        for (path, mode) in [(pair.key, PRIVATE_DIRECTORY), (pair.certificate, PUBLIC_DIRECTORY)] {
            let directory = directory_of(path)?;
            match DirBuilder::new().mode(mode).create(&directory) {
                Ok(()) => made.0.push(directory),
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
                // One only: of several that are missing, the first is more often misspelt than meant.
                Err(error) => {
                    let shown = directory.display();
                    return Err(error).with_context(|| {
                        format!("make directory {shown}; make it with: sudo install -d -m {mode:o} -o $USER {shown}")
                    });
                }
            }
        }
        Ok(made)
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        for directory in &self.0 {
            // The system removes none that has anything in it.
            let _ = std::fs::remove_dir(directory);
        }
    }
}

/// In full, so that an error tells where it is.
fn directory_of(path: &Path) -> anyhow::Result<PathBuf> {
    let whole = std::path::absolute(path).with_context(|| format!("resolve {}", path.display()))?;
    Ok(whole.parent().map_or_else(|| whole.clone(), Path::to_owned))
}

fn draft(path: &Path, text: &str, mode: u32) -> anyhow::Result<()> {
    let beside = new(path);
    let write = || {
        // What a run left that ended here.
        match std::fs::remove_file(&beside) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = File::options().write(true).create_new(true).open(&beside)?;
        file.set_permissions(Permissions::from_mode(mode))?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        Ok(file)
    };
    let file = write().with_context(|| format!("write {}", beside.display()))?;
    match std::fs::metadata(path) {
        Ok(before) => keep_owner(&file, &before, path),
        Err(_) => Ok(()),
    }
}

fn publish(path: &Path, replaces: bool) -> anyhow::Result<()> {
    let beside = new(path);
    let published = if replaces {
        std::fs::rename(&beside, path)
    } else {
        // Unlike a rename, a link never replaces what somebody else put there meanwhile.
        std::fs::hard_link(&beside, path).and_then(|()| std::fs::remove_file(&beside))
    };
    published.with_context(|| format!("write {}", path.display()))?;
    if let Some(directory) = path.parent() {
        // The change is made either way; this is for a power cut in the next seconds.
        let _ = File::open(directory).and_then(|directory| directory.sync_all());
    }
    Ok(())
}

fn new(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    name.into()
}

/// Loads the pair. Where key and certificate do not belong together, the error says what to do.
pub(crate) fn load(pair: Pair<'_>) -> anyhow::Result<ServerTls> {
    let error = match pair.load() {
        Ok(loaded) => return Ok(loaded),
        Err(error) => error,
    };
    let is_pair = matches!(error, TlsError::Pair { .. });
    let error = anyhow::Error::new(error);
    Err(if is_pair { anyhow::anyhow!("{error:#}; {}", completion(pair)) } else { error })
}

/// What makes them belong together.
fn completion(pair: Pair<'_>) -> String {
    let next = new(pair.certificate);
    if (Pair { certificate: &next, ..pair }).load().is_ok() {
        return format!(
            "a replacement was cut off between the two, and the new certificate is there; put it in its place with: mv {} {}",
            next.display(),
            pair.certificate.display()
        );
    }
    format!(
        "put back the one that belongs to the other, or make both anew with: basilica-miner tls self-signed --force --host \
         YOUR_PUBLIC_IP --cert {} --key {}",
        pair.certificate.display(),
        pair.key.display()
    )
}

#[cfg(test)]
mod tests {
    use basilica_rpc::{SelfSigned, self_signed};
    use basilica_types::{Millis, Timestamp};

    use super::*;

    fn made() -> SelfSigned {
        self_signed(&["127.0.0.1".to_owned()], Timestamp::from_secs(1_700_000_000), Millis(60_000)).unwrap()
    }

    fn text(path: &Path) -> String {
        std::fs::read_to_string(path).unwrap()
    }

    fn mode(path: &Path) -> u32 {
        std::fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn wherever_a_replacement_is_cut_off_one_of_the_pairs_is_there_or_one_command_away_and_nothing_is_lost() {
        let (first, second, third) = (made(), made(), made());
        let (mut cut, mut mismatches) = (0, 0);
        loop {
            let folder = tempfile::tempdir().unwrap();
            let at = |name: &str| folder.path().join(name);
            let (key, certificate) = (at("a.key"), at("a.crt"));
            let pair = Pair { key: &key, certificate: &certificate };
            assert_eq!(
                pair.write(&first.key, &first.certificate, false).unwrap(),
                [""; 0].map(PathBuf::from)
            );
            let steps = pair.steps(&second.key, &second.certificate, true).unwrap();
            let whole = cut == steps.len();
            steps.iter().take(cut).for_each(|step| step.take().unwrap());
            match load(pair).map(|shown| shown.fingerprint()) {
                Ok(shown) if whole => assert_eq!(shown, second.fingerprint),
                Ok(shown) => assert_eq!(shown, first.fingerprint, "cut after {cut}"),
                Err(error) => {
                    mismatches += 1;
                    let said = error.to_string();
                    let words = said.rsplit_once("put it in its place with: mv ").unwrap().1;
                    assert_eq!(words, format!("{} {}", at("a.crt.new").display(), certificate.display()));
                    std::fs::rename(at("a.crt.new"), &certificate).unwrap();
                    assert_eq!(load(pair).unwrap().fingerprint(), second.fingerprint);
                }
            }
            let kept = pair.write(&third.key, &third.certificate, true).unwrap();
            assert_eq!(load(pair).unwrap().fingerprint(), third.fingerprint);
            assert_eq!((mode(&key), mode(&certificate)), (PRIVATE, PUBLIC));
            assert_eq!(kept.len(), 2, "cut after {cut}: {kept:?}");
            let entries = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path());
            let all: Vec<String> = entries.map(|path| text(&path)).collect();
            assert!(all.contains(&first.key) && all.contains(&first.certificate), "cut after {cut}");
            assert!(!at("a.key.new").exists() && !at("a.crt.new").exists());
            if whole {
                assert_eq!(kept, [at("a.key.old.2"), at("a.crt.old.2")]);
                assert_eq!(text(&at("a.key.old")), *first.key);
                assert_eq!((text(&kept[0]), text(&kept[1])), ((*second.key).clone(), second.certificate));
                break;
            }
            cut += 1;
        }
        assert_eq!((cut, mismatches), (6, 1), "between the two renames, and nowhere else");
    }

    #[test]
    fn a_key_of_another_certificate_is_told_with_what_makes_a_pair() {
        let folder = tempfile::tempdir().unwrap();
        let (key, certificate) = (folder.path().join("a.key"), folder.path().join("a.crt"));
        let pair = Pair { key: &key, certificate: &certificate };
        pair.write(&made().key, &made().certificate, false).unwrap();
        let said = load(pair).unwrap_err().to_string();
        for words in ["does not serve for the certificate", "tls self-signed --force --host", "--key "] {
            assert!(said.contains(words), "{words}: {said}");
        }
        let refused = pair.write("x", "y", false).unwrap_err();
        assert!(format!("{refused:#}").contains("a.key"), "{refused:#}");
        let _held = {
            let lock = File::open(folder.path()).unwrap();
            flock(&lock, FlockOperation::NonBlockingLockExclusive).unwrap();
            lock
        };
        let said = pair.write("x", "y", true).unwrap_err().to_string();
        assert!(said.contains("another command works in"), "{said}");
    }
}
