//! Bittensor wallet directories: the hotkey that a server signs with, read from disk and nothing more.
//!
//! Promises: a secret leaves this crate only as a [`Keypair`] (zeroized on drop, never printed); a keyfile is used
//! only if nobody else on the host can read it and only if the address it claims is the address of its secret; a
//! keyfile is never overwritten. The layout and the JSON are those of the Python SDK, so wallets move freely between
//! it and us: `NAME/coldkeypub.txt`, `NAME/hotkeys/HOTKEY`, `NAME/hotkeys/HOTKEYpub.txt`.
//!
//! A server never needs a coldkey's secret, so there is no function that reads one. Encrypted keyfiles are
//! recognised and refused with what to do; a file that holds nothing but a mnemonic is refused likewise.
//! Rejected: accepting a keyfile with wide permissions after a warning (nobody reads it), and repairing the
//! permissions (the key may already be known; its owner should learn of it).

mod error;
mod keyfile;
mod name;
mod signer;
mod write;

use std::path::{Path, PathBuf};

use basilica_types::Coldkey;
use basilica_wire::Keypair;

pub use error::{Encryption, KeyfileError, WalletError};
pub use name::{NameError, WalletName};
pub use signer::WalletSigner;

/// A directory of wallets.
#[derive(Clone, Debug)]
pub struct Wallets {
    root: PathBuf,
}

impl Wallets {
    /// The wallets below `root`, which need not exist yet. A leading `~` is the caller's to resolve.
    pub fn at(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// Where the Python SDK keeps them: `HOME/.bittensor/wallets`.
    pub fn in_home(home: &Path) -> Self {
        Self::at(home.join(".bittensor").join("wallets"))
    }

    /// The directory itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where this hotkey's keyfile lies or would lie.
    pub fn hotkey_path(&self, wallet: &WalletName, hotkey: &WalletName) -> PathBuf {
        self.hotkeys_dir(wallet).join(hotkey.as_str())
    }

    /// Reads the secret of a hotkey.
    ///
    /// # Errors
    /// [`WalletError`] names the file, what is wrong with it and what to do.
    pub fn hotkey(&self, wallet: &str, hotkey: &str) -> Result<Keypair, WalletError> {
        let (wallet, hotkey): (WalletName, WalletName) = (wallet.parse()?, hotkey.parse()?);
        let path = self.hotkey_path(&wallet, &hotkey);
        keyfile::read_secret(&path).map_err(|source| match source {
            KeyfileError::Missing => WalletError::Missing { path, wallet, hotkey },
            source => WalletError::Keyfile { path, source },
        })
    }

    /// Reads the public key of a wallet's coldkey from `coldkeypub.txt`.
    ///
    /// # Errors
    /// The file is missing or is not a public keyfile.
    pub fn coldkey(&self, wallet: &str) -> Result<Coldkey, WalletError> {
        let wallet: WalletName = wallet.parse()?;
        let path = self.coldkeypub_path(&wallet);
        keyfile::read_public(&path)
            .map(|bytes| Coldkey::from_bytes(*bytes.as_bytes()))
            .map_err(|source| WalletError::Keyfile { path, source })
    }

    /// Writes a wallet directory with this hotkey in plain form, mode 0600 below directories of mode 0700.
    ///
    /// A wallet that exists gains the hotkey if it belongs to the same coldkey. Nothing is overwritten; the keyfile
    /// appears whole or not at all, and last, so that where it is, the rest is.
    ///
    /// # Errors
    /// [`WalletError::Exists`] if the hotkey is there already, [`WalletError::OtherColdkey`] if the wallet belongs to
    /// somebody else, [`WalletError::Keyfile`] if a file cannot be written.
    pub fn create(
        &self,
        wallet: &str,
        hotkey: &str,
        secret: &Keypair,
        coldkey: Coldkey,
    ) -> Result<(), WalletError> {
        let (wallet, hotkey): (WalletName, WalletName) = (wallet.parse()?, hotkey.parse()?);
        let path = self.hotkey_path(&wallet, &hotkey);
        if path.exists() {
            return Err(WalletError::Exists { path });
        }
        let at = |path: PathBuf| move |source| WalletError::Keyfile { path, source };
        let hotkeys = self.hotkeys_dir(&wallet);
        write::make_private_dirs(&hotkeys).map_err(at(hotkeys.clone()))?;
        self.write_coldkeypub(&wallet, coldkey)?;
        let public_path = hotkeys.join(format!("{hotkey}pub.txt"));
        write::new_or_equal(&public_path, &keyfile::public_json(secret.hotkey().as_bytes()))
            .map_err(at(public_path))?;
        match write::new_file(&path, &keyfile::secret_json(secret)) {
            Err(KeyfileError::Exists) => Err(WalletError::Exists { path }),
            other => other.map_err(at(path)),
        }
    }

    fn write_coldkeypub(&self, wallet: &WalletName, coldkey: Coldkey) -> Result<(), WalletError> {
        let path = self.coldkeypub_path(wallet);
        match write::new_file(&path, &keyfile::public_json(coldkey.as_bytes())) {
            Err(KeyfileError::Exists) => {
                let found = self.coldkey(wallet.as_str())?;
                if found == coldkey {
                    Ok(())
                } else {
                    Err(WalletError::OtherColdkey { path, found, wanted: coldkey })
                }
            }
            other => other.map_err(|source| WalletError::Keyfile { path, source }),
        }
    }

    fn hotkeys_dir(&self, wallet: &WalletName) -> PathBuf {
        self.root.join(wallet.as_str()).join("hotkeys")
    }

    fn coldkeypub_path(&self, wallet: &WalletName) -> PathBuf {
        self.root.join(wallet.as_str()).join("coldkeypub.txt")
    }
}
