//! Servers that are not in the configuration and may let the miner's key in: in a file beside the key, `.owed`.
//!
//! **What is promised.** A server is noted before its line leaves the configuration, and one that is to be added before the key goes on it. It stays
//! noted until the key was seen to be off it, until it is listed, or until its operator gives it up. As long as one is noted, a rotation keeps the key that it may know.
//!
//! Beside the key, because it says who holds that key: it goes where the key goes, and where no miner has ever run it is there too.
//! **Rejected**: the database, which may not be there, and which is lost or restored by itself.

use std::fs::File;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow, ensure};
use basilica_console as console;
use basilica_types::NodeId;
use rustix::fs::{FlockOperation, Mode, OFlags, flock, open};

use super::{KeyFiles, with};
use crate::config_file::write_own;
use crate::keys::Host;
use crate::select::Named as _;

const ENDING: &str = ".owed";
const HEAD: &str = "# Servers that are not listed and may let in the miner's key. The next `nodes remove` or `keys rotate` that\n\
                    # reaches one takes the key off and this line out.\n";
/// More than a thousand servers fill.
const LONGEST: u64 = 1 << 20;

impl KeyFiles {
    fn owed_file(&self) -> PathBuf {
        self.beside(ENDING)
    }

    /// Who may still let the miner's key in, though it is listed no more.
    pub(crate) fn owed(&self) -> anyhow::Result<Vec<Host>> {
        Self::owed_beside(&self.current)
    }

    /// The same of the key at this path, for who only looks.
    pub(crate) fn owed_beside(key: &Path) -> anyhow::Result<Vec<Host>> {
        // One that is not there is told elsewhere, and then nothing is beside it.
        let key = key.canonicalize().unwrap_or_else(|_| key.to_owned());
        let path = with(&key, ENDING);
        let text = match regular(&path).and_then(|file| console::read_at_most(file, LONGEST)) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            text => text.with_context(|| format!("read {}", path.display()))?,
        };
        let text =
            String::from_utf8(text).with_context(|| format!("{} is not valid UTF-8", path.display()))?;
        let lines = text.lines().enumerate().filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
        lines
            .map(|(at, line)| {
                let help = "mend the line, or take it out, if the miner's key is off that server";
                read(line).map_err(|error| anyhow!("{}, line {}: {error:#}; {help}", path.display(), at + 1))
            })
            .collect()
    }

    /// Notes a server, in the place of what was noted of it.
    pub(crate) fn owe(&self, host: &Host) -> anyhow::Result<()> {
        self.change(|all| {
            all.retain(|other| other.id() != host.id());
            all.push(host.clone());
        })
    }

    /// The server needs no key any more.
    pub(crate) fn settle(&self, node: NodeId) -> anyhow::Result<()> {
        self.change(|all| all.retain(|other| other.id() != node))
    }

    fn change(&self, change: impl FnOnce(&mut Vec<Host>)) -> anyhow::Result<()> {
        // Commands that remove nodes hold the directory together; nobody else locks the key itself, and this is over at once.
        let key = File::open(&self.current).with_context(|| format!("open {}", self.current.display()))?;
        flock(&key, FlockOperation::LockExclusive).context("lock the miner's SSH key")?;
        let before = self.owed()?;
        let mut all = before.clone();
        change(&mut all);
        if all == before {
            return Ok(());
        }
        let path = self.owed_file();
        let written = if all.is_empty() {
            std::fs::remove_file(&path).map_err(Into::into)
        } else {
            let lines: String = all.iter().map(line).collect();
            key.metadata()
                .map_err(Into::into)
                .and_then(|like| write_own(&path, &format!("{HEAD}{lines}"), &like))
        };
        written.with_context(|| {
            format!("write {}, where servers stand that may still let in the miner's key", path.display())
        })?;
        self.directory.sync_all().context("write the directory of the keys")
    }
}

/// A file to read. What waits for a writer, as a pipe does, is refused.
fn regular(path: &Path) -> std::io::Result<File> {
    let file = File::from(open(path, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty())?);
    if file.metadata()?.is_file() {
        return Ok(file);
    }
    Err(std::io::Error::new(
        ErrorKind::InvalidInput,
        "it is no regular file, and notes no servers; put it away",
    ))
}

fn line(Host { address, host_key }: &Host) -> String {
    host_key.as_ref().map_or_else(|| format!("{address}\n"), |key| format!("{address} {key}\n"))
}

fn read(line: &str) -> anyhow::Result<Host> {
    let (address, key) = line.split_once(' ').map_or((line, None), |(address, key)| (address, Some(key)));
    let host = Host { address: address.parse()?, host_key: key.map(str::parse).transpose()? };
    ensure!(self::line(&host).trim_end() == line, "is not as it was written");
    Ok(host)
}

#[cfg(test)]
mod tests {
    use basilica_ssh::create_key;
    use basilica_system::OsEntropy;
    use rustix::fs::{CWD, FileType, mknodat};

    use super::*;

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f";

    #[test]
    fn who_may_hold_the_key_is_known_until_it_is_settled_and_a_line_that_cannot_be_read_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        create_key(&path, "test", &OsEntropy).unwrap();
        let files = KeyFiles::to_use(&path).unwrap();
        assert_eq!(files.owed().unwrap(), []);
        let host = |address: &str, key: Option<&str>| Host {
            address: address.parse().unwrap(),
            host_key: key.map(|key| key.parse().unwrap()),
        };
        let (one, two) = (host("root@10.0.0.1:22", Some(KEY)), host("root@[2001:db8::1]:2222", None));
        files.owe(&host("root@10.0.0.1:22", None)).unwrap();
        files.owe(&one).unwrap();
        files.owe(&two).unwrap();
        assert_eq!(KeyFiles::to_use(&path).unwrap().owed().unwrap(), [one.clone(), two.clone()]);
        files.settle(one.id()).unwrap();
        files.settle(one.id()).unwrap();
        assert_eq!(files.owed().unwrap(), std::slice::from_ref(&two));
        files.settle(two.id()).unwrap();
        let owed = folder.path().join("key.owed");
        assert!(!owed.exists());
        for bad in ["gpu-1", "root@10.0.0.1:22 ssh-ed25519", "root@10.0.0.1:22  ", "root@10.0.0.1"] {
            std::fs::write(&owed, format!("{HEAD}{bad}\n")).unwrap();
            let said = format!("{:#}", files.owed().unwrap_err());
            assert!(
                said.contains("key.owed, line 3: ") && said.contains("; mend the line, or"),
                "{bad}: {said}"
            );
        }
        std::fs::remove_file(&owed).unwrap();
        mknodat(CWD, &owed, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        let said = format!("{:#}", files.owed().unwrap_err());
        assert!(said.contains("it is no regular file"), "nobody writes to it: {said}");
    }

    #[test]
    fn nothing_that_somebody_put_beside_the_key_is_written_or_given_away() {
        use std::os::unix::fs::{MetadataExt as _, chown, symlink};

        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        create_key(&path, "test", &OsEntropy).unwrap();
        let files = KeyFiles::to_use(&path).unwrap();
        // Only who may give files away can be made to.
        let is_root = chown(&path, Some(1), Some(1)).is_ok();
        let victim = folder.path().join("victim");
        std::fs::write(&victim, "secret").unwrap();
        let before = std::fs::metadata(&victim).unwrap();
        for name in ["key.owed.making", "key.owed"] {
            symlink(&victim, folder.path().join(name)).unwrap();
        }
        let host = Host { address: "root@10.0.0.1:22".parse().unwrap(), host_key: None };
        // The list itself is read through a link, as any file, and this one is none.
        assert!(files.owe(&host).is_err());
        std::fs::remove_file(folder.path().join("key.owed")).unwrap();
        files.owe(&host).unwrap();
        let after = std::fs::metadata(&victim).unwrap();
        assert_eq!(std::fs::read_to_string(&victim).unwrap(), "secret");
        assert_eq!((after.uid(), after.gid(), after.mode()), (before.uid(), before.gid(), before.mode()));
        let owed = folder.path().join("key.owed").symlink_metadata().unwrap();
        assert_eq!((owed.is_file(), owed.mode() & 0o777), (true, 0o600));
        assert!(!is_root || owed.uid() == 1);
    }

    #[test]
    fn commands_that_note_servers_at_the_same_time_lose_none() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        create_key(&path, "test", &OsEntropy).unwrap();
        std::thread::scope(|scope| {
            for at in 0..16 {
                let path = &path;
                scope.spawn(move || {
                    let files = KeyFiles::to_use(path).unwrap();
                    let address = format!("root@10.0.0.{at}:22").parse().unwrap();
                    files.owe(&Host { address, host_key: None }).unwrap();
                });
            }
        });
        assert_eq!(KeyFiles::to_use(&path).unwrap().owed().unwrap().len(), 16);
    }
}
