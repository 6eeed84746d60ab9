//! Bittensor wallet directories, shared with the Python SDK: keyfiles read in every form it has had, written in the
//! two it writes now.
//!
//! Promises: a secret leaves this crate only as a [`Keypair`] or [`Secret`] (zeroized on drop, never printed) or inside
//! a keyfile; a keyfile is used only if nobody else on the host can read it and only if the address it claims is the
//! address of its secret; a keyfile is never overwritten, and appears whole or not at all. The layout and the JSON are
//! the SDK's, so wallets move freely between it and us: `NAME/coldkey`, `NAME/coldkeypub.txt`, `NAME/hotkeys/HOTKEY`,
//! `NAME/hotkeys/HOTKEYpub.txt`.
//!
//! A server needs a hotkey and nothing else: [`Wallets::hotkey`] opens that one file. Only [`Wallets::inspect`], which
//! the command line calls for its user, looks at a coldkey's file.
//! Rejected: accepting a keyfile with wide permissions after a warning (nobody reads it), and repairing the
//! permissions (the key may already be known; its owner should learn of it).

mod encryption;
mod error;
mod file;
mod inspect;
mod keyfile;
mod name;
mod password;
mod secret;
mod signer;
mod write;

use std::path::{Path, PathBuf};

use basilica_types::{Coldkey, Hotkey, WalletName};
use basilica_wire::Keypair;

pub use encryption::Encryption;
pub use error::{KeyfileError, WalletError};
pub use inspect::{
    FileReport, Form, KeyReport, ListedKey, Listing, Problem, WalletListing, WalletReport, Which,
};
pub use keyfile::Protection;
pub use name::KeyName;
pub use password::read_secret_text;
pub use password::{NoPassword, Password, PasswordError, PasswordSource, Unattended, sdk_variable};
pub use secret::{Secret, SecretError, WordCount};
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

    /// Where this key's secret lies or would lie.
    pub fn key_path(&self, wallet: &WalletName, key: &KeyName) -> PathBuf {
        let wallet = self.root.join(wallet.as_str());
        match key {
            KeyName::Coldkey => wallet.join("coldkey"),
            KeyName::Hotkey(hotkey) => wallet.join("hotkeys").join(hotkey.as_str()),
        }
    }

    /// Where this key's public half lies or would lie.
    pub fn public_path(&self, wallet: &WalletName, key: &KeyName) -> PathBuf {
        let wallet = self.root.join(wallet.as_str());
        match key {
            KeyName::Coldkey => wallet.join("coldkeypub.txt"),
            KeyName::Hotkey(hotkey) => wallet.join("hotkeys").join(format!("{hotkey}pub.txt")),
        }
    }

    /// Reads the secret of a hotkey, and touches no other file. The password is asked for only if the file is
    /// encrypted; unlocking the SDK's present form takes 512 MiB of memory and seconds of one core.
    ///
    /// # Errors
    /// [`WalletError`] names the file, what is wrong with it and what to do.
    pub fn hotkey(
        &self,
        wallet: &str,
        hotkey: &str,
        passwords: &dyn PasswordSource,
    ) -> Result<Keypair, WalletError> {
        let (wallet, hotkey): (WalletName, WalletName) = (wallet.parse()?, hotkey.parse()?);
        let path = self.key_path(&wallet, &KeyName::Hotkey(hotkey.clone()));
        keyfile::read_secret(&path, passwords).map(Secret::into_keypair).map_err(|source| match source {
            KeyfileError::Missing => WalletError::Missing { path, wallet, hotkey },
            source => WalletError::Keyfile { path, source },
        })
    }

    /// Reads the public key of a wallet's coldkey from `coldkeypub.txt`.
    ///
    /// # Errors
    /// The file is missing or is not a public keyfile.
    pub fn coldkey(&self, wallet: &str) -> Result<Coldkey, WalletError> {
        let path = self.public_path(&wallet.parse()?, &KeyName::Coldkey);
        keyfile::read_public(&path)
            .map(|key| Coldkey::from_bytes(*key.as_bytes()))
            .map_err(|source| WalletError::Keyfile { path, source })
    }

    /// Reads any keyfile, wherever it lies: what an import starts from.
    ///
    /// # Errors
    /// [`WalletError::Keyfile`] says what is wrong with it.
    pub fn read_keyfile(path: &Path, passwords: &dyn PasswordSource) -> Result<Secret, WalletError> {
        keyfile::read_secret(path, passwords)
            .map_err(|source| WalletError::Keyfile { path: path.to_owned(), source })
    }

    /// Writes a wallet directory with this hotkey in plain form, mode 0600 below directories of mode 0700.
    ///
    /// A wallet that exists gains the hotkey if it belongs to the same coldkey.
    ///
    /// # Errors
    /// As [`Self::add`].
    pub fn create(
        &self,
        wallet: &str,
        hotkey: &str,
        secret: &Secret,
        coldkey: Coldkey,
    ) -> Result<(), WalletError> {
        let (wallet, key) = (wallet.parse()?, KeyName::Hotkey(hotkey.parse()?));
        self.vacant(&wallet, &key)?;
        self.add_public(&wallet, &KeyName::Coldkey, Hotkey::from_bytes(*coldkey.as_bytes()))?;
        self.add(&wallet, &key, secret, Protection::Plain)
    }

    /// Whether a new secret of this name could be written; to be asked before a user is troubled for a password.
    ///
    /// # Errors
    /// [`WalletError::Exists`] if it is there already.
    pub fn vacant(&self, wallet: &WalletName, key: &KeyName) -> Result<(), WalletError> {
        let path = self.key_path(wallet, key);
        if is_there(&path)? { Err(WalletError::Exists { path }) } else { Ok(()) }
    }

    /// Whether neither half of a key of this name is there; to be asked of every key before the first of several new ones is
    /// made, because a public half that is there states another key than any new one.
    ///
    /// # Errors
    /// [`WalletError::Exists`] or [`WalletError::OtherPublic`].
    pub fn unclaimed(&self, wallet: &WalletName, key: &KeyName) -> Result<(), WalletError> {
        self.vacant(wallet, key)?;
        let path = self.public_path(wallet, key);
        if is_there(&path)? { Err(WalletError::OtherPublic { path }) } else { Ok(()) }
    }

    /// Writes a key and its public half, mode 0600 below directories of mode 0700.
    ///
    /// Nothing is overwritten; each file appears whole or not at all. The secret comes first: what an interruption leaves
    /// is a key that can be used, never the public half of one that is lost.
    ///
    /// # Errors
    /// [`WalletError::Exists`] if the secret is there already; [`WalletError::OtherColdkey`] and
    /// [`WalletError::OtherPublic`] if a public keyfile of that name belongs to another key; [`WalletError::Keyfile`]
    /// if a file cannot be written. With any of them nothing was written. [`WalletError::Half`] if only the secret was.
    pub fn add(
        &self,
        wallet: &WalletName,
        key: &KeyName,
        secret: &Secret,
        protection: Protection<'_>,
    ) -> Result<(), WalletError> {
        self.vacant(wallet, key)?;
        let (path, public) = (self.key_path(wallet, key), secret.keypair().hotkey());
        if is_there(&self.public_path(wallet, key))? {
            self.agrees(wallet, key, public)?;
        }
        let at = |source| WalletError::Keyfile { path: path.clone(), source };
        let content = keyfile::encode(secret, protection).map_err(at)?;
        write::make_private_dirs(path.parent().unwrap_or(&self.root)).map_err(at)?;
        match write::new_file(&path, &content) {
            Err(KeyfileError::Exists) => return Err(WalletError::Exists { path }),
            other => other.map_err(at)?,
        }
        self.add_public(wallet, key, public).map_err(|source| WalletError::Half {
            path,
            address: public,
            source: Box::new(source),
        })
    }

    /// Writes only the public half of a key; content with one that says the same.
    ///
    /// # Errors
    /// As [`Self::add`].
    pub fn add_public(&self, wallet: &WalletName, key: &KeyName, public: Hotkey) -> Result<(), WalletError> {
        let path = self.public_path(wallet, key);
        let at = |source| WalletError::Keyfile { path: path.clone(), source };
        write::make_private_dirs(path.parent().unwrap_or(&self.root)).map_err(at)?;
        match write::new_file(&path, keyfile::public_json(public.as_bytes()).as_bytes()) {
            Err(KeyfileError::Exists) => self.agrees(wallet, key, public),
            other => other.map_err(at),
        }
    }

    /// Whether the public half that is there states this key.
    fn agrees(&self, wallet: &WalletName, key: &KeyName, public: Hotkey) -> Result<(), WalletError> {
        let path = self.public_path(wallet, key);
        let read = keyfile::read_public(&path);
        let found = read.map_err(|source| WalletError::Keyfile { path: path.clone(), source })?;
        match key {
            _ if found == public => Ok(()),
            KeyName::Hotkey(_) => Err(WalletError::OtherPublic { path }),
            KeyName::Coldkey => {
                let coldkey = |key: Hotkey| Coldkey::from_bytes(*key.as_bytes());
                let (found, wanted) = (coldkey(found), coldkey(public));
                Err(WalletError::OtherColdkey { path, found, wanted })
            }
        }
    }
}

/// Whether there is anything at all of this name.
fn is_there(path: &Path) -> Result<bool, WalletError> {
    match path.symlink_metadata() {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(WalletError::Keyfile { path: path.to_owned(), source: KeyfileError::Io(error) }),
    }
}
