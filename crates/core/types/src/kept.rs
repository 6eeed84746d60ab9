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
