//! Reading private files: regular, small, and closed to everybody else on the host.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use zeroize::Zeroizing;

use crate::KeyfileError;

/// Real keyfiles have about 600 bytes; an Ansible vault of one has 3,000.
pub(crate) const LARGEST: u64 = 64 * 1024;

/// The bytes of a file that must be readable by its owner only.
pub(crate) fn read_private(path: &Path) -> Result<Zeroizing<Vec<u8>>, KeyfileError> {
    let file = open(path)?;
    let mode = mode_of(&file)?;
    if is_open(mode) {
        return Err(KeyfileError::TooOpen { mode, path: path.to_owned() });
    }
    contents(file)
}

/// The bytes of a file that need not be private.
pub(crate) fn read_public(path: &Path) -> Result<Zeroizing<Vec<u8>>, KeyfileError> {
    contents(open(path)?)
}

/// The bytes of a file and its permission bits, whatever they are.
pub(crate) fn read_with_mode(path: &Path) -> Result<(Zeroizing<Vec<u8>>, u32), KeyfileError> {
    let file = open(path)?;
    let mode = mode_of(&file)?;
    Ok((contents(file)?, mode))
}

/// Whether anybody but the owner may do anything with a file of these permissions.
pub(crate) const fn is_open(mode: u32) -> bool {
    mode & 0o077 != 0
}

fn mode_of(file: &File) -> Result<u32, KeyfileError> {
    Ok(file.metadata().map_err(KeyfileError::Io)?.permissions().mode() & 0o7777)
}

fn open(path: &Path) -> Result<File, KeyfileError> {
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => KeyfileError::Missing,
        _ => KeyfileError::Io(error),
    };
    // Asked before opening, because opening a pipe waits for its other end, and after it, because only then it holds.
    let is_file =
        |metadata: std::fs::Metadata| if metadata.is_file() { Ok(()) } else { Err(KeyfileError::NotAFile) };
    is_file(path.metadata().map_err(failed)?)?;
    let file = File::open(path).map_err(failed)?;
    is_file(file.metadata().map_err(KeyfileError::Io)?)?;
    Ok(file)
}

fn contents(file: File) -> Result<Zeroizing<Vec<u8>>, KeyfileError> {
    let length = file.metadata().map_err(KeyfileError::Io)?.len();
    if length > LARGEST {
        return Err(KeyfileError::TooLarge(LARGEST));
    }
    // Allocated once at full size: growing would leave copies of the secret behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(usize::try_from(LARGEST).unwrap_or(usize::MAX)));
    file.take(LARGEST).read_to_end(&mut bytes).map_err(KeyfileError::Io)?;
    Ok(bytes)
}
