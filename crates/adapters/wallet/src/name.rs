use std::fmt;

use basilica_types::WalletName;

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
