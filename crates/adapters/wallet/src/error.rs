use std::fmt;
use std::io;
use std::path::PathBuf;

use basilica_types::{Coldkey, Ss58Error};
use basilica_wire::KeypairError;

use crate::{NameError, WalletName};

/// How a keyfile that we cannot read yet is encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encryption {
    /// `$NACL`: argon2i and XSalsa20-Poly1305, the SDK's present form.
    Nacl,
    /// `$ANSIBLE_VAULT`, the SDK's former form.
    AnsibleVault,
    /// `gAAAA…`: Fernet, the oldest.
    Fernet,
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

/// Why a wallet cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum WalletError {
    /// The name would not be one path component.
    #[error(transparent)]
    Name(#[from] NameError),
    /// There is no such hotkey.
    #[error(
        "hotkey {hotkey} of wallet {wallet} is not at {}; create it with: \
         btcli wallet new_hotkey --wallet.name {wallet} --wallet.hotkey {hotkey} --no-use-password",
        path.display()
    )]
    Missing {
        /// Where it was looked for.
        path: PathBuf,
        /// The wallet asked for.
        wallet: WalletName,
        /// The hotkey asked for.
        hotkey: WalletName,
    },
    /// The file is there but cannot be used, or could not be written.
    #[error("keyfile {}", path.display())]
    Keyfile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: KeyfileError,
    },
    /// A keyfile is never overwritten.
    #[error("keyfile {} exists already; choose another hotkey name or move the file away", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// The wallet belongs to another coldkey.
    #[error("wallet of {} belongs to coldkey {found}, not {wanted}", path.display())]
    OtherColdkey {
        /// The wallet's `coldkeypub.txt`.
        path: PathBuf,
        /// Who it belongs to.
        found: Coldkey,
        /// Who was to own the new hotkey.
        wanted: Coldkey,
    },
}

/// What is wrong with one keyfile.
#[derive(Debug, thiserror::Error)]
pub enum KeyfileError {
    /// There is no such file.
    #[error("file does not exist")]
    Missing,
    /// There is such a file, and it stays as it is.
    #[error("file exists already")]
    Exists,
    /// The operating system refused.
    #[error("file cannot be used")]
    Io(#[source] io::Error),
    /// Not a regular file.
    #[error("not a regular file")]
    NotAFile,
    /// Others on this host can read or change the secret.
    #[error("Permissions {mode:04o} for '{}' are too open; run: chmod 600 '{}'", path.display(), path.display())]
    TooOpen {
        /// The file's permission bits.
        mode: u32,
        /// The file.
        path: PathBuf,
    },
    /// Larger than any keyfile.
    #[error("file is larger than {0} bytes, so it is no keyfile")]
    TooLarge(u64),
    /// Encrypted.
    #[error(
        "file is encrypted ({0}), which is not supported yet; servers read plain hotkeys (a hotkey holds no funds): \
         re-create it from its mnemonic with `btcli wallet regen_hotkey --no-use-password`"
    )]
    Encrypted(Encryption),
    /// Not the JSON that the SDK writes. The cause is left out on purpose: it could quote the secret.
    #[error("file is not a keyfile (JSON broken or of another shape at line {line}, column {column})")]
    Json {
        /// 1-based.
        line: usize,
        /// 1-based.
        column: usize,
    },
    /// A field is not hex of the right length.
    #[error("field {field} is not 0x and {digits} hex digits")]
    Hex {
        /// Its name in the JSON.
        field: &'static str,
        /// How many digits it should have.
        digits: usize,
    },
    /// Neither `privateKey` nor `secretSeed`.
    #[error(
        "file holds no privateKey and no secretSeed; keyfiles with only a mnemonic are not supported yet"
    )]
    NoSecret,
    /// The secret bytes are no key.
    #[error("field {field} is no sr25519 secret")]
    Secret {
        /// Its name in the JSON.
        field: &'static str,
        /// What is wrong with it.
        #[source]
        source: KeypairError,
    },
    /// A field contradicts the secret or another field: the file is damaged or was edited.
    #[error("field {field} does not belong to the key in this file")]
    Mismatch {
        /// Its name in the JSON.
        field: &'static str,
    },
    /// `ss58Address` is not an address.
    #[error("field ss58Address is not an address of this network")]
    Address(#[source] Ss58Error),
    /// Neither `publicKey` nor `ss58Address`.
    #[error("file holds no publicKey and no ss58Address")]
    NoPublic,
    /// Ed25519 or ECDSA.
    #[error("cryptoType {0} is not supported: hotkeys of this network are sr25519 (1)")]
    CryptoType(u64),
}
