//! Where the password of an encrypted keyfile comes from. Never from the command line, which every user of the host
//! can read.

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use crate::{KeyfileError, file};

/// Longest password, in bytes: what nobody types, and far below what would slow the key derivation.
const LONGEST: usize = 1024;

/// Why there is no usable password.
#[derive(Debug, thiserror::Error)]
pub enum PasswordError {
    /// Nothing there.
    #[error("password is empty")]
    Empty,
    /// Longer than 1,024 bytes.
    #[error("password is longer than {LONGEST} bytes")]
    Long,
    /// More than one line.
    #[error("secret file {} has more than one line", path.display())]
    Lines {
        /// The file.
        path: PathBuf,
    },
    /// The password file cannot be read.
    #[error("secret file {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: Box<KeyfileError>,
    },
    /// The password file is not UTF-8.
    #[error("secret file {} is not UTF-8", path.display())]
    FileText {
        /// The file.
        path: PathBuf,
    },
    /// The variable is set, but not as the SDK sets it.
    #[error(
        "environment variable {name} is not a password as the Bittensor SDK stores it (base64, obfuscated)"
    )]
    Variable {
        /// The variable.
        name: String,
    },
    /// Nobody could be asked.
    #[error("no password could be read from the terminal")]
    Terminal(#[source] std::io::Error),
    /// The two answers differ.
    #[error("the two passwords differ; nothing was written")]
    Differ,
}

/// A password. Wiped when dropped, never printed.
pub struct Password(Zeroizing<String>);

impl Password {
    /// Takes a password over; its text is wiped when this is dropped.
    ///
    /// # Errors
    /// It is empty or longer than 1,024 bytes.
    pub fn new(text: Zeroizing<String>) -> Result<Self, PasswordError> {
        match text.len() {
            0 => Err(PasswordError::Empty),
            1..=LONGEST => Ok(Self(text)),
            _ => Err(PasswordError::Long),
        }
    }

    /// Reads a password from a file of one line that only its owner can read.
    ///
    /// # Errors
    /// The file cannot be read, others can read it, or it is not one line of UTF-8.
    pub fn from_file(path: &Path) -> Result<Self, PasswordError> {
        let text = read_secret_text(path)?;
        let line = text.strip_suffix('\n').unwrap_or(&text);
        let line = line.strip_suffix('\r').unwrap_or(line);
        if line.contains(['\n', '\r']) {
            return Err(PasswordError::Lines { path: path.to_owned() });
        }
        Self::new(Zeroizing::new(line.to_owned()))
    }

    /// Reads the form that the SDK's `save_password_to_env` leaves in the environment: base64 of the password XORed
    /// with the variable's own name. It hides nothing; it is read so that set-ups made for the SDK go on working.
    ///
    /// # Errors
    /// The value has another form.
    pub fn from_sdk_variable(name: &str, value: &str) -> Result<Self, PasswordError> {
        let broken = || PasswordError::Variable { name: name.to_owned() };
        if value.len() > 2 * LONGEST {
            return Err(broken());
        }
        let mut bytes = Zeroizing::new(STANDARD.decode(value.trim()).map_err(|_| broken())?);
        for (byte, mask) in bytes.iter_mut().zip(name.bytes().cycle()) {
            *byte ^= mask;
        }
        let text = str::from_utf8(&bytes).map_err(|_| broken())?;
        Self::new(Zeroizing::new(text.to_owned()))
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(redacted)")
    }
}

/// Reads a text that only its owner can read: a password, a mnemonic.
///
/// # Errors
/// The file cannot be read, others can read it, or it is not UTF-8.
pub fn read_secret_text(path: &Path) -> Result<Zeroizing<String>, PasswordError> {
    let bytes = file::read_private(path)
        .map_err(|source| PasswordError::File { path: path.to_owned(), source: Box::new(source) })?;
    let text = str::from_utf8(&bytes).map_err(|_| PasswordError::FileText { path: path.to_owned() })?;
    Ok(Zeroizing::new(text.to_owned()))
}

/// Asked for the password of a keyfile, and only if that file is encrypted.
pub trait PasswordSource {
    /// The password of the keyfile at this path; `None` if this source has none.
    ///
    /// # Errors
    /// A password was named but cannot be had.
    fn password(&self, keyfile: &Path) -> Result<Option<Password>, PasswordError>;
}

/// No password: encrypted keyfiles are refused.
#[derive(Clone, Copy, Debug)]
pub struct NoPassword;

impl PasswordSource for NoPassword {
    fn password(&self, _: &Path) -> Result<Option<Password>, PasswordError> {
        Ok(None)
    }
}

/// The name of the environment variable in which the SDK keeps the password of this keyfile.
pub fn sdk_variable(keyfile: &Path) -> String {
    let path = keyfile.to_string_lossy().replace(['/', '.'], "_").to_uppercase();
    format!("BT_PW_{path}")
}

/// For programs that nobody sits in front of: a file if one is named, else the SDK's variable for the keyfile.
pub struct Unattended<V> {
    file: Option<PathBuf>,
    variables: V,
}

impl<V: Fn(&str) -> Option<OsString>> Unattended<V> {
    /// A password file, if there is one, and how to look a variable up (`std::env::var_os`).
    pub const fn new(file: Option<PathBuf>, variables: V) -> Self {
        Self { file, variables }
    }
}

impl<V: Fn(&str) -> Option<OsString>> PasswordSource for Unattended<V> {
    fn password(&self, keyfile: &Path) -> Result<Option<Password>, PasswordError> {
        if let Some(file) = &self.file {
            return Password::from_file(file).map(Some);
        }
        let name = sdk_variable(keyfile);
        match (self.variables)(&name) {
            Some(value) => {
                let value = Zeroizing::new(
                    value.into_string().map_err(|_| PasswordError::Variable { name: name.clone() })?,
                );
                Password::from_sdk_variable(&name, &value).map(Some)
            }
            None => Ok(None),
        }
    }
}

impl<V> fmt::Debug for Unattended<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Unattended").field("file", &self.file).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the SDK 11.3.0's `save_password_to_environment` left for the password `a` × 44.
    const STORED: &str = "IzU+MTY+PjMuLjU+LS4vJiQzLyAsJCM1PjE2Pj4zLi41Pi0uLyYkMy8gLCQ=";

    #[test]
    fn the_sdk_s_variable_is_read_as_it_writes_it() {
        let password = Password::from_sdk_variable("BT_PW__ROOT_LONGERNAME", STORED).unwrap();
        assert_eq!(password.as_bytes(), [b'a'; 44]);
        assert_eq!(
            sdk_variable(Path::new("/root/.bittensor/wallets/w/hotkeys/h-1")),
            "BT_PW__ROOT__BITTENSOR_WALLETS_W_HOTKEYS_H-1"
        );
    }

    #[test]
    fn other_values_of_the_variable_are_refused_without_quoting_them() {
        for value in ["hunter2!", "", "////", &"A".repeat(5000)] {
            let fault = Password::from_sdk_variable("BT_PW_X", value).unwrap_err();
            assert!(!format!("{fault:?} {fault}").contains("hunter2"), "{fault}");
        }
    }

    #[test]
    fn a_password_has_bounds_and_is_never_printed() {
        let new = |text: &str| Password::new(Zeroizing::new(text.to_owned()));
        assert!(matches!(new(""), Err(PasswordError::Empty)));
        assert!(matches!(new(&"a".repeat(1025)), Err(PasswordError::Long)));
        assert_eq!(format!("{:?}", new("hunter2").unwrap()), "Password(redacted)");
    }
}
