//! Who takes part: the development accounts that the development chain registers, and their wallets on disk.

use anyhow::Context as _;
use basilica_types::{Coldkey, Hotkey};
use basilica_wallet::{Secret, Wallets};
use basilica_wire::Keypair;

/// Seed of "bottom drive obey lake curtain smoke basket hold race lonely fit walk", public since Substrate's first
/// days: nothing of value may ever stand under it.
const DEVELOPMENT_SEED: [u8; 32] = [
    0xfa, 0xc7, 0x95, 0x9d, 0xbf, 0xe7, 0x2f, 0x05, 0x2e, 0x5a, 0x0c, 0x3c, 0x8d, 0x65, 0x30, 0xf2, 0x02,
    0xb0, 0x2f, 0xd8, 0xf9, 0xf5, 0xca, 0x35, 0x80, 0xec, 0x8d, 0xeb, 0x77, 0x97, 0x47, 0x9e,
];

/// A participant with a wallet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// The validator that runs: the one with the highest stake.
    Validator,
    /// The first miner.
    Miner1,
    /// The second miner.
    Miner2,
}

impl Role {
    /// Name of the wallet directory and of the process.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Validator => "validator",
            Self::Miner1 => "miner-1",
            Self::Miner2 => "miner-2",
        }
    }

    /// Junction below the development seed, as `basilica-devchain` prints it.
    const fn junction(self) -> &'static str {
        match self {
            Self::Validator => "Validator1",
            Self::Miner1 => "Miner1",
            Self::Miner2 => "Miner2",
        }
    }

    fn hotkey_pair(self) -> anyhow::Result<Keypair> {
        Ok(Keypair::from_seed(&DEVELOPMENT_SEED)?.derive_hard(self.junction()))
    }

    /// Its identity.
    pub(crate) fn hotkey(self) -> anyhow::Result<Hotkey> {
        Ok(self.hotkey_pair()?.hotkey())
    }

    fn coldkey(self) -> anyhow::Result<Coldkey> {
        let owner = Keypair::from_seed(&DEVELOPMENT_SEED)?.derive_hard(&format!("{}Cold", self.junction()));
        Ok(Coldkey::from_bytes(*owner.hotkey().as_bytes()))
    }

    /// Writes its wallet, with the hotkey `default`, as the Python SDK lays wallets out.
    pub(crate) fn write_wallet(self, wallets: &Wallets) -> anyhow::Result<()> {
        wallets
            .create(self.name(), "default", &Secret::from(self.hotkey_pair()?), self.coldkey()?)
            .with_context(|| format!("write the wallet of {}", self.name()))
    }
}
