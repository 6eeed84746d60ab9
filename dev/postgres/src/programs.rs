//! Where the server's programs are, and as whom they run.

use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where Debian and Red Hat keep the programs that they leave out of `PATH`.
const PLACES: [&str; 2] = ["/usr/lib/postgresql", "/usr/pgsql"];

/// A program of Postgres.
pub(crate) fn program(name: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    for place in PLACES {
        let versions = std::fs::read_dir(place).into_iter().flatten().flatten();
        let mut found: Vec<PathBuf> = versions.map(|version| version.path().join("bin")).collect();
        // The newest one first.
        found.sort_by_key(|bin| std::cmp::Reverse(version(bin)));
        folders.extend(found);
    }
    let found = folders.into_iter().map(|folder| folder.join(name)).find(|file| file.is_file());
    found.unwrap_or_else(|| {
        panic!("the program {name} of Postgres is missing; install it: apt-get install postgresql")
    })
}

fn version(bin: &Path) -> u32 {
    let name = bin.parent().and_then(Path::file_name).and_then(|name| name.to_str());
    name.and_then(|name| name.parse().ok()).unwrap_or(0)
}

/// As whom the server runs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Account {
    uid: u32,
    gid: u32,
    /// Whether that is somebody else than this process.
    other: bool,
}

impl Account {
    pub(crate) fn to_run_as() -> Self {
        let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        if uid != 0 {
            return Self { uid, gid, other: false };
        }
        let accounts = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
        let find = |name: &str| {
            let line = accounts.lines().find(|line| line.split(':').next() == Some(name))?;
            let mut fields = line.split(':').skip(2);
            Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
        };
        let (uid, gid) = find("postgres").or_else(|| find("nobody")).unwrap_or((65_534, 65_534));
        Self { uid, gid, other: true }
    }

    pub(crate) const fn uid(&self) -> u32 {
        self.uid
    }

    /// Has a command run as this account.
    pub(crate) fn apply(&self, command: &mut Command) {
        if self.other {
            command.uid(self.uid).gid(self.gid);
        }
    }

    /// Makes a file its own.
    pub(crate) fn give(&self, path: &Path) {
        if self.other {
            chown(path, Some(self.uid), Some(self.gid)).expect("root may give files away");
        }
    }
}
