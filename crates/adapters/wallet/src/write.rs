//! New files and directories of a wallet: private, whole or absent, never over something that exists.

use std::fs::{DirBuilder, File, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::Path;

use crate::KeyfileError;

/// Creates the directory and what is missing above it, mode 0700.
pub(crate) fn make_private_dirs(path: &Path) -> Result<(), KeyfileError> {
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(KeyfileError::Io)
}

/// Writes a file of mode 0600 that must not exist yet; durable when this returns.
pub(crate) fn new_file(path: &Path, content: &[u8]) -> Result<(), KeyfileError> {
    let directory = path.parent().ok_or(KeyfileError::NotAFile)?;
    let mut file = tempfile::Builder::new()
        .prefix(".new-")
        .permissions(Permissions::from_mode(0o600))
        .tempfile_in(directory)
        .map_err(KeyfileError::Io)?;
    file.write_all(content).and_then(|()| file.as_file().sync_all()).map_err(KeyfileError::Io)?;
    file.persist_noclobber(path).map_err(|failed| match failed.error.kind() {
        io::ErrorKind::AlreadyExists => KeyfileError::Exists,
        _ => KeyfileError::Io(failed.error),
    })?;
    File::open(directory).and_then(|directory| directory.sync_all()).map_err(KeyfileError::Io)
}
