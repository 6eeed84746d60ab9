//! The encrypted forms of a keyfile: recognised by their first bytes, all three read, the SDK's present one written.
//!
//! Promises: key derivation has the fixed cost of its form, so a hostile file cannot ask for memory or time; a file is
//! checked for its shape before any key is derived; nothing is decrypted before its authentication tag holds. A tag that
//! does not hold means a wrong password or altered bytes, which nothing can tell apart: both are
//! [`KeyfileError::WrongPassword`]. A shape that cannot be is [`KeyfileError::Damaged`].
//!
//! Rejected: the crates `fernet` (OpenSSL or MPL parts for forty lines) and `ansible-vault` (unwraps on input).

mod ansible;
mod fernet;
mod nacl;

use std::fmt;

use basilica_ports::Entropy;
use zeroize::Zeroizing;

use crate::{KeyfileError, Password};

/// How a keyfile is encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encryption {
    /// `$NACL`: argon2i and XSalsa20-Poly1305, the SDK's present form.
    Nacl,
    /// `$ANSIBLE_VAULT`, the SDK's former form.
    AnsibleVault,
    /// `gAAAA…`: Fernet, the oldest.
    Fernet,
}

impl Encryption {
    /// The form of these bytes; `None` if they are not encrypted in any known way.
    pub(crate) fn of(bytes: &[u8]) -> Option<Self> {
        let marks: [(&[u8], Self); 3] =
            [(nacl::MARK, Self::Nacl), (ansible::MARK, Self::AnsibleVault), (fernet::MARK, Self::Fernet)];
        marks.iter().find(|(mark, _)| bytes.starts_with(mark)).map(|(_, encryption)| *encryption)
    }

    /// Decrypts a whole file.
    pub(crate) fn open(self, file: &[u8], password: &Password) -> Result<Zeroizing<Vec<u8>>, KeyfileError> {
        match self {
            Self::Nacl => nacl::open(file, password),
            Self::AnsibleVault => ansible::open(file, password),
            Self::Fernet => fernet::open(file, password),
        }
    }

    const fn damaged(self, what: &'static str) -> KeyfileError {
        KeyfileError::Damaged { encryption: self, what }
    }
}

/// Encrypts in the form that is written, `$NACL`.
pub(crate) fn seal(
    plain: &[u8],
    password: &Password,
    entropy: &dyn Entropy,
) -> Result<Zeroizing<Vec<u8>>, KeyfileError> {
    nacl::seal(plain, password, &entropy.array())
}

impl fmt::Display for Encryption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nacl => "NaCl secret box",
            Self::AnsibleVault => "Ansible vault",
            Self::Fernet => "Fernet",
        })
    }
}
