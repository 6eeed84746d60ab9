use std::fmt;
use std::str::FromStr;

/// Longest name; far below any file system's limit, with room for `pub.txt`.
const LONGEST: usize = 64;

/// Why a text cannot name a wallet or hotkey.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
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
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        if text.is_empty() {
            return Err(NameError::Empty);
        }
        let length = text.chars().count();
        if length > LONGEST {
            return Err(NameError::Long(length));
        }
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if text.starts_with('.') || !text.chars().all(plain) {
            return Err(NameError::Character(text.to_owned()));
        }
        if text.ends_with("pub.txt") {
            return Err(NameError::Public(text.to_owned()));
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for WalletName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One key of a wallet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyName {
    /// The key that owns the funds.
    Coldkey,
    /// A key that a server signs with.
    Hotkey(WalletName),
}

impl fmt::Display for KeyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Coldkey => f.write_str("coldkey"),
            Self::Hotkey(name) => write!(f, "hotkey {name}"),
        }
    }
}

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
            assert_eq!(name.parse::<WalletName>(), Err(NameError::Character(name.to_owned())), "{name}");
        }
        assert_eq!("".parse::<WalletName>(), Err(NameError::Empty));
        assert_eq!("hkpub.txt".parse::<WalletName>(), Err(NameError::Public("hkpub.txt".to_owned())));
        assert_eq!("a".repeat(65).parse::<WalletName>(), Err(NameError::Long(65)));
    }
}
