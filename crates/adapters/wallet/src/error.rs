use std::io;
use std::path::PathBuf;

use basilica_types::{Coldkey, Hotkey, Ss58Error, WalletName, WalletNameError};
use basilica_wire::KeypairError;

use crate::{Encryption, PasswordError, SecretError};

/// Why a wallet cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum WalletError {
    /// The name would not be one path component.
    #[error(transparent)]
    Name(#[from] WalletNameError),
    /// There is no such hotkey.
    #[error(
        "hotkey {hotkey} of wallet {wallet} is not at {}; create it with: \
         basilica wallet new hotkey --wallet-name {wallet} --hotkey {hotkey}",
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
    #[error("keyfile {} exists already and stays as it is; choose another name or move the file away", path.display())]
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
    /// A public keyfile of that name is there and states another key.
    #[error("public keyfile {} states another key; choose another name or move the file away", path.display())]
    OtherPublic {
        /// The public keyfile.
        path: PathBuf,
    },
    /// A key was written, and its public half was not.
    #[error(
        "keyfile {} was written and holds the key {address}, but its public half was not; when the cause is gone, write it with: \
         basilica wallet import … --address {address}",
        path.display()
    )]
    Half {
        /// The secret's file.
        path: PathBuf,
        /// What the public half would state.
        address: Hotkey,
        /// Why.
        #[source]
        source: Box<Self>,
    },
    /// There is no such wallet.
    #[error("there is no wallet {wallet} below {}; `basilica wallet list` shows which there are", root.display())]
    NoWallet {
        /// The directory of wallets.
        root: PathBuf,
        /// The wallet asked for.
        wallet: WalletName,
    },
    /// The wallet has no key of the kind asked for.
    #[error(
        "wallet {wallet} has no such key at {}; make one with: basilica wallet new hotkey --wallet-name {wallet}",
        path.display()
    )]
    NoKey {
        /// The wallet's directory.
        path: PathBuf,
        /// The wallet.
        wallet: WalletName,
    },
    /// The directory of wallets cannot be read.
    #[error("read the wallets below {}", path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
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
    #[error("{}", refused(.0))]
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
    /// Encrypted, and nobody gave a password.
    #[error(
        "file is encrypted ({encryption}) and no password was given; name a file that holds it, or set {variable} as \
         the Bittensor SDK does"
    )]
    NoPassword {
        /// How it is encrypted.
        encryption: Encryption,
        /// The SDK's environment variable for this file.
        variable: String,
    },
    /// The password could not be had.
    #[error("file is encrypted and its password cannot be had")]
    Password(#[source] PasswordError),
    /// The authentication tag does not hold. Altered bytes give the same: nothing can tell them apart.
    #[error("password is wrong for this file ({0}), or the file was altered")]
    WrongPassword(Encryption),
    /// Its form says that it is encrypted, but it cannot be: cut off or overwritten.
    #[error(
        "file is a damaged keyfile ({encryption}): {what}; restore it from a backup or from its mnemonic"
    )]
    Damaged {
        /// The form that its first bytes announce.
        encryption: Encryption,
        /// What cannot be.
        what: &'static str,
    },
    /// The machine has not the memory that the form's key derivation takes.
    #[error(
        "the key derivation of this form takes {mebibytes} MiB of memory, which this machine does not give"
    )]
    Memory {
        /// MiB.
        mebibytes: u32,
    },
    /// The key derivation refused its input.
    #[error("key derivation failed")]
    Derivation(#[source] argon2::Error),
    /// A public keyfile was expected.
    #[error("file is encrypted ({0}), so it is no public keyfile")]
    NotPublic(Encryption),
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
    /// None of `privateKey`, `secretSeed` and `secretPhrase`.
    #[error("file holds no privateKey, no secretSeed and no secretPhrase")]
    NoSecret,
    /// `secretPhrase` stands alone and is no mnemonic.
    #[error("field secretPhrase is no mnemonic")]
    Phrase(#[source] SecretError),
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

/// What to do about it where that is known.
fn refused(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::PermissionDenied => {
            "file may not be used by this user; run this as its owner (ls -l names it)"
        }
        _ => "file cannot be used",
    }
}
