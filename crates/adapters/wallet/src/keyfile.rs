//! The JSON of a keyfile: compact, hex with `0x`, in any key order; every field but one secret may be absent.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use basilica_types::Hotkey;
use basilica_wire::Keypair;
use serde::{Deserialize, Deserializer};
use zeroize::Zeroizing;

use crate::{Encryption, KeyfileError};

/// Real keyfiles have about 600 bytes.
const LARGEST: u64 = 64 * 1024;
const SR25519: u64 = 1;

/// A text that is wiped when dropped and cannot be printed.
struct Secret(Zeroizing<String>);

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|text| Self(Zeroizing::new(text)))
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Keyfile {
    account_id: Option<String>,
    public_key: Option<String>,
    ss58_address: Option<String>,
    private_key: Option<Secret>,
    secret_seed: Option<Secret>,
    crypto_type: Option<u64>,
}

/// Reads a keyfile with a secret; it must be readable by its owner only.
pub(crate) fn read_secret(path: &Path) -> Result<Keypair, KeyfileError> {
    let file = open(path)?;
    let mode = file.metadata().map_err(KeyfileError::Io)?.permissions().mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(KeyfileError::TooOpen { mode, path: path.to_owned() });
    }
    parse(&contents(file)?)?.into_keypair()
}

/// Reads the public key of a file that need not be private.
pub(crate) fn read_public(path: &Path) -> Result<Hotkey, KeyfileError> {
    let keyfile = parse(&contents(open(path)?)?)?;
    keyfile.claimed_key()?.ok_or(KeyfileError::NoPublic)
}

fn open(path: &Path) -> Result<File, KeyfileError> {
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => KeyfileError::Missing,
        _ => KeyfileError::Io(error),
    };
    // Asked before opening, because opening a pipe waits for its other end, and after it, because only then it holds.
    let is_file =
        |metadata: std::fs::Metadata| if metadata.is_file() { Ok(()) } else { Err(KeyfileError::NotAFile) };
    is_file(path.metadata().map_err(failed)?)?;
    let file = File::open(path).map_err(failed)?;
    is_file(file.metadata().map_err(KeyfileError::Io)?)?;
    Ok(file)
}

fn contents(file: File) -> Result<Zeroizing<Vec<u8>>, KeyfileError> {
    let length = file.metadata().map_err(KeyfileError::Io)?.len();
    if length > LARGEST {
        return Err(KeyfileError::TooLarge(LARGEST));
    }
    // Allocated once at full size: growing would leave copies of the secret behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(usize::try_from(LARGEST).unwrap_or(usize::MAX)));
    file.take(LARGEST).read_to_end(&mut bytes).map_err(KeyfileError::Io)?;
    Ok(bytes)
}

fn parse(bytes: &[u8]) -> Result<Keyfile, KeyfileError> {
    let marks: [(&[u8], Encryption); 3] = [
        (b"$NACL", Encryption::Nacl),
        (b"$ANSIBLE_VAULT", Encryption::AnsibleVault),
        (b"gAAAA", Encryption::Fernet),
    ];
    if let Some((_, encryption)) = marks.iter().find(|(mark, _)| bytes.starts_with(mark)) {
        return Err(KeyfileError::Encrypted(*encryption));
    }
    serde_json::from_slice(bytes)
        .map_err(|error| KeyfileError::Json { line: error.line(), column: error.column() })
}

impl Keyfile {
    fn into_keypair(self) -> Result<Keypair, KeyfileError> {
        if let Some(other) = self.crypto_type.filter(|kind| *kind != SR25519) {
            return Err(KeyfileError::CryptoType(other));
        }
        let claimed = self.claimed_key()?;
        let private = self.private_key.as_ref().map(|secret| private_keypair(secret, claimed)).transpose()?;
        let seeded = self.secret_seed.as_ref().map(seeded_keypair).transpose()?;
        let keypair = match (private, seeded) {
            (Some(private), Some(seeded)) if private.hotkey() != seeded.hotkey() => {
                return Err(KeyfileError::Mismatch { field: "secretSeed" });
            }
            (Some(keypair), _) | (None, Some(keypair)) => keypair,
            (None, None) => return Err(KeyfileError::NoSecret),
        };
        match claimed {
            Some(claimed) if claimed != keypair.hotkey() => {
                let field = if self.public_key.is_some() { "publicKey" } else { "ss58Address" };
                Err(KeyfileError::Mismatch { field })
            }
            _ => Ok(keypair),
        }
    }

    /// The public key that the file states, if it states one; all its statements must agree.
    fn claimed_key(&self) -> Result<Option<Hotkey>, KeyfileError> {
        let from_hex = |field, text: &Option<String>| -> Result<_, KeyfileError> {
            text.as_deref()
                .map(|text| hex_bytes::<32>(field, text).map(|b| Hotkey::from_bytes(*b)))
                .transpose()
        };
        let public = from_hex("publicKey", &self.public_key)?;
        let account = from_hex("accountId", &self.account_id)?;
        let address = self
            .ss58_address
            .as_deref()
            .map(str::parse::<Hotkey>)
            .transpose()
            .map_err(KeyfileError::Address)?;
        let claimed = public.or(account).or(address);
        for (field, stated) in [("accountId", account), ("ss58Address", address)] {
            if stated.is_some() && stated != claimed {
                return Err(KeyfileError::Mismatch { field });
            }
        }
        Ok(claimed)
    }
}

/// Tools disagree about the form of `privateKey`; the public key that the file states decides. Without one, the form
/// is the SDK's.
fn private_keypair(secret: &Secret, claimed: Option<Hotkey>) -> Result<Keypair, KeyfileError> {
    let field = "privateKey";
    let bytes = hex_bytes::<64>(field, &secret.0)?;
    let canonical = Keypair::from_secret_bytes(&bytes);
    let fits = |keypair: &Keypair| claimed.is_some_and(|claimed| claimed == keypair.hotkey());
    if canonical.as_ref().is_ok_and(fits) {
        return canonical.map_err(|source| KeyfileError::Secret { field, source });
    }
    match Keypair::from_ed25519_secret_bytes(&bytes) {
        Ok(other) if fits(&other) => Ok(other),
        _ => canonical.map_err(|source| KeyfileError::Secret { field, source }),
    }
}

fn seeded_keypair(secret: &Secret) -> Result<Keypair, KeyfileError> {
    let field = "secretSeed";
    let bytes = hex_bytes::<32>(field, &secret.0)?;
    Keypair::from_seed(&bytes).map_err(|source| KeyfileError::Secret { field, source })
}

fn hex_bytes<const N: usize>(field: &'static str, text: &str) -> Result<Zeroizing<[u8; N]>, KeyfileError> {
    let mut bytes = Zeroizing::new([0u8; N]);
    hex::decode_to_slice(text.strip_prefix("0x").unwrap_or(text), bytes.as_mut_slice())
        .map_err(|_| KeyfileError::Hex { field, digits: 2 * N })?;
    Ok(bytes)
}

/// The keyfile of a secret, as the SDK writes it for a key without mnemonic.
pub(crate) fn secret_json(keypair: &Keypair) -> Zeroizing<String> {
    let secret = Zeroizing::new(hex::encode(keypair.to_secret_bytes().as_slice()));
    let public = public_fields(keypair.hotkey().as_bytes());
    Zeroizing::new(format!("{{{public},\"privateKey\":\"0x{}\",\"cryptoType\":{SR25519}}}", *secret))
}

/// The keyfile of a public key.
pub(crate) fn public_json(public: &[u8; 32]) -> Zeroizing<String> {
    Zeroizing::new(format!("{{{},\"cryptoType\":{SR25519}}}", public_fields(public)))
}

// Hex digits and base58 need no escaping in JSON.
fn public_fields(public: &[u8; 32]) -> String {
    let digits = hex::encode(public);
    let address = Hotkey::from_bytes(*public);
    format!("\"accountId\":\"0x{digits}\",\"publicKey\":\"0x{digits}\",\"ss58Address\":\"{address}\"")
}
