use std::fmt;
use std::path::Path;

use basilica_types::{Kept, quoted};
use serde::{Deserialize, Serialize};

use crate::Words;

/// The file system of something that is kept has little left.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LittleRoom {
    /// The key of the configuration that says where it is.
    pub key: Words,
    /// Where it is.
    pub path: Words,
    /// Bytes.
    pub free: u64,
}

impl LittleRoom {
    /// Less than this is little, in bytes: what a miner of some hundred nodes writes in weeks.
    const LITTLE: u64 = 256 << 20;
    /// With less than this nothing more can be relied on to be written: a log that is begun anew already takes a part of it.
    const NONE: u64 = 1 << 20;

    /// If so many bytes are little.
    pub fn of(kept: Kept, path: impl Into<Words>, free: u64) -> Option<Self> {
        (free < Self::LITTLE).then(|| Self { key: kept.key().into(), path: path.into(), free })
    }

    /// Whether it is the disk of that.
    pub fn is_of(&self, kept: Kept) -> bool {
        self.key.as_str() == kept.key()
    }

    /// Whether nothing is left.
    pub const fn is_none(&self) -> bool {
        self.free < Self::NONE
    }

    /// What to do.
    pub fn todo(&self) -> String {
        let path = Path::new(self.path.as_str());
        // What is to be there may not be yet.
        let directory = path.parent().filter(|path| !path.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let directory = quoted(&directory.to_string_lossy());
        format!("see what fills it (df -h {directory} names the disk) and remove what is not needed there")
    }
}

/// What, where, and how much: `74 MiB are free on the disk of /x/miner.db (database.url)`.
impl fmt::Display for LittleRoom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key, path, free } = self;
        if self.is_none() {
            write!(f, "no space is left on the device that holds {path} ({key}): less than 1 MiB is free")
        } else {
            write!(f, "little space is left on the device that holds {path} ({key}): {} MiB free", free >> 20)
        }
    }
}
