//! The JSON of a keyfile: compact, hex with `0x`, in any key order; every field but one secret may be absent.

use std::fmt;
use std::path::Path;

use basilica_ports::Entropy;
use basilica_types::Hotkey;
use basilica_wire::Keypair;
use serde::{Deserialize, Deserializer};
use zeroize::Zeroizing;

use crate::secret::Secret;
use crate::{Encryption, KeyfileError, Password, PasswordSource, encryption, file, password};

const SR25519: u64 = 1;

/// A text that is wiped when dropped and cannot be printed.
struct Hidden(Zeroizing<String>);

impl<'de> Deserialize<'de> for Hidden {
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
    private_key: Option<Hidden>,
    secret_seed: Option<Hidden>,
    secret_phrase: Option<Hidden>,
    #[serde(alias = "crypto_type")]
    crypto_type: Option<u64>,
}

/// How the key in a file is kept.
#[derive(Clone, Copy)]
pub enum Protection<'a> {
    /// As JSON that anybody who can read the file can use.
    Plain,
    /// As `$NACL`, with a nonce drawn from the port.
    Encrypted(&'a Password, &'a dyn Entropy),
}

impl fmt::Debug for Protection<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Plain => "Plain",
            Self::Encrypted(..) => "Encrypted",
        })
    }
}

/// Reads a keyfile with a secret; it must be readable by its owner only. The password is asked for only if the file is
/// encrypted.
pub(crate) fn read_secret(path: &Path, passwords: &dyn PasswordSource) -> Result<Secret, KeyfileError> {
    decode(&file::read_private(path)?, path, passwords)
}

/// The secret in the bytes of the file at `path`.
pub(crate) fn decode(
    bytes: &[u8],
    path: &Path,
    passwords: &dyn PasswordSource,
) -> Result<Secret, KeyfileError> {
    let Some(encryption) = Encryption::of(bytes) else { return parse(bytes)?.into_secret() };
    let asked = passwords.password(path).map_err(KeyfileError::Password)?;
    let password = asked
        .ok_or_else(|| KeyfileError::NoPassword { encryption, variable: password::sdk_variable(path) })?;
    let plain = encryption.open(bytes, &password)?;
    parse(&plain)?.into_secret()
}

/// Reads the public key of a file that need not be private.
pub(crate) fn read_public(path: &Path) -> Result<Hotkey, KeyfileError> {
    public_key(&file::read_public(path)?)
}

/// The public key that these bytes of a plain or public keyfile state.
pub(crate) fn public_key(bytes: &[u8]) -> Result<Hotkey, KeyfileError> {
    if let Some(encryption) = Encryption::of(bytes) {
        return Err(KeyfileError::NotPublic(encryption));
    }
    parse(bytes)?.claimed_key()?.ok_or(KeyfileError::NoPublic)
}

fn parse(bytes: &[u8]) -> Result<Keyfile, KeyfileError> {
    serde_json::from_slice(bytes)
        .map_err(|error| KeyfileError::Json { line: error.line(), column: error.column() })
}

impl Keyfile {
    fn into_secret(self) -> Result<Secret, KeyfileError> {
        if let Some(other) = self.crypto_type.filter(|kind| *kind != SR25519) {
            return Err(KeyfileError::CryptoType(other));
        }
        let claimed = self.claimed_key()?;
        let private = self.private_key.as_ref().map(|secret| private_keypair(secret, claimed)).transpose()?;
        let seed = self.secret_seed.as_ref().map(|s| hex_bytes::<32>("secretSeed", &s.0)).transpose()?;
        let seeded = seed.as_ref().map(seeded_keypair).transpose()?;
        let keypair = match (private, seeded) {
            (Some(private), Some(seeded)) if private.hotkey() != seeded.hotkey() => {
                return Err(KeyfileError::Mismatch { field: "secretSeed" });
            }
            (Some(keypair), _) | (None, Some(keypair)) => Some(keypair),
            (None, None) => None,
        };
        let secret = match (keypair, self.secret_phrase) {
            // The words are kept beside the key, and believed only where they give it: some tools leave the words of
            // a key that was derived further.
            (Some(keypair), phrase) => Secret::from_parts(keypair, seed, phrase.map(|text| text.0)),
            (None, Some(phrase)) => Secret::from_phrase(&phrase.0).map_err(KeyfileError::Phrase)?,
            (None, None) => return Err(KeyfileError::NoSecret),
        };
        match claimed {
            Some(claimed) if claimed != secret.keypair().hotkey() => {
                let field = if self.public_key.is_some() { "publicKey" } else { "ss58Address" };
                Err(KeyfileError::Mismatch { field })
            }
            _ => Ok(secret),
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
fn private_keypair(secret: &Hidden, claimed: Option<Hotkey>) -> Result<Keypair, KeyfileError> {
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

fn seeded_keypair(seed: &Zeroizing<[u8; 32]>) -> Result<Keypair, KeyfileError> {
    Keypair::from_seed(seed).map_err(|source| KeyfileError::Secret { field: "secretSeed", source })
}

fn hex_bytes<const N: usize>(field: &'static str, text: &str) -> Result<Zeroizing<[u8; N]>, KeyfileError> {
    let mut bytes = Zeroizing::new([0u8; N]);
    hex::decode_to_slice(text.strip_prefix("0x").unwrap_or(text), bytes.as_mut_slice())
        .map_err(|_| KeyfileError::Hex { field, digits: 2 * N })?;
    Ok(bytes)
}

/// The whole content of a keyfile for this secret.
pub(crate) fn encode(
    secret: &Secret,
    protection: Protection<'_>,
) -> Result<Zeroizing<Vec<u8>>, KeyfileError> {
    let json = secret_json(secret);
    match protection {
        Protection::Plain => Ok(Zeroizing::new(json.as_bytes().to_vec())),
        Protection::Encrypted(password, entropy) => encryption::seal(json.as_bytes(), password, entropy),
    }
}

// Hex digits, base58 and the words of a mnemonic need no escaping in JSON.
fn secret_json(secret: &Secret) -> Zeroizing<String> {
    let keypair = secret.keypair();
    // Room for every field: growing would leave copies of the secret behind.
    let mut json = Zeroizing::new(String::with_capacity(2048));
    json.push('{');
    json.push_str(&public_fields(keypair.hotkey().as_bytes()));
    let private = Zeroizing::new(hex::encode(keypair.to_secret_bytes().as_slice()));
    let seed = secret.seed().map(|seed| Zeroizing::new(format!("0x{}", &*Zeroizing::new(hex::encode(seed)))));
    let mut field = |name: &str, parts: &[&str]| {
        [",\"", name, "\":\""].iter().chain(parts).chain(&["\""]).for_each(|part| json.push_str(part));
    };
    field("privateKey", &["0x", &private]);
    if let Some(phrase) = secret.own_phrase() {
        field("secretPhrase", &[phrase]);
    }
    if let Some(seed) = &seed {
        field("secretSeed", &[seed]);
    }
    json.push_str(&format!(",\"cryptoType\":{SR25519}}}"));
    json
}

/// The keyfile of a public key.
pub(crate) fn public_json(public: &[u8; 32]) -> String {
    format!("{{{},\"cryptoType\":{SR25519}}}", public_fields(public))
}

fn public_fields(public: &[u8; 32]) -> String {
    let digits = hex::encode(public);
    let address = Hotkey::from_bytes(*public);
    format!("\"accountId\":\"0x{digits}\",\"publicKey\":\"0x{digits}\",\"ss58Address\":\"{address}\"")
}
