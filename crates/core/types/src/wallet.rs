//! Names of wallets and of their hotkeys.

use std::fmt;
use std::str::FromStr;

use crate::text::serde_as_text;

/// Longest name; far below any file system's limit, with room for `pub.txt`.
const LONGEST: usize = 64;

/// Why a text cannot name a wallet or hotkey.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WalletNameError {
    /// Nothing there.
    #[error("wallet name is empty")]
    Empty,
    /// More than 64 characters.
    #[error("wallet name has {0} characters, at most {LONGEST} are allowed")]
    Long(usize),
    /// A path separator, a leading dot or another character that has no place in a file name of ours.
    #[error("wallet name {0:?} may hold only letters, digits, '-', '_' and '.', and not start with '.'")]
    Character(String),
    /// The name of a public keyfile.
    #[error("wallet name {0:?} ends in 'pub.txt', as the public keyfiles beside the keys do; choose another")]
    Public(String),
}

/// The name of a wallet or of a hotkey inside one: one path component, never a path.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WalletName(String);

impl WalletName {
    /// The name as it stands on disk.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for WalletName {
    type Err = WalletNameError;

    fn from_str(text: &str) -> Result<Self, WalletNameError> {
        if text.is_empty() {
            return Err(WalletNameError::Empty);
        }
        let length = text.chars().count();
        if length > LONGEST {
            return Err(WalletNameError::Long(length));
        }
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if text.starts_with('.') || !text.chars().all(plain) {
            return Err(WalletNameError::Character(text.to_owned()));
        }
        if text.ends_with("pub.txt") {
            return Err(WalletNameError::Public(text.to_owned()));
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for WalletName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

serde_as_text!(WalletName);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usual_names_pass() {
        for name in ["default", "miner_wallet", "hk-1", "v1.2", "A"] {
            assert_eq!(name.parse::<WalletName>().map(|n| n.to_string()), Ok(name.to_owned()));
        }
    }

    #[test]
    fn a_name_cannot_leave_the_wallet_directory() {
        for name in ["..", ".", ".hidden", "../x", "a/b", "/etc/passwd", "a\\b", "a\0b", "ü", "a b", "~"] {
            assert_eq!(
                name.parse::<WalletName>(),
                Err(WalletNameError::Character(name.to_owned())),
                "{name}"
            );
        }
        assert_eq!("".parse::<WalletName>(), Err(WalletNameError::Empty));
        assert_eq!("hkpub.txt".parse::<WalletName>(), Err(WalletNameError::Public("hkpub.txt".to_owned())));
        assert_eq!("a".repeat(65).parse::<WalletName>(), Err(WalletNameError::Long(65)));
    }
}
