use std::path::PathBuf;

/// What a program keeps on a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kept {
    /// Its database.
    Database,
    /// The log of what it does over SSH.
    AuditLog,
}

impl Kept {
    /// The key of the configuration that says where.
    pub const fn key(self) -> &'static str {
        match self {
            Self::Database => "database.url",
            Self::AuditLog => "ssh_session.audit_log_path",
        }
    }
}

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

/// The file systems that hold what a program keeps.
pub trait Disks: Send + Sync {
    /// What is left on each of them, of what is most needed there; one that cannot be asked is left out.
    fn room(&self) -> Vec<Room>;
}
