//! What a key is made from: a mnemonic, a seed, a development URI.

use std::fmt;
use std::str::FromStr;

use basilica_ports::{Entropy, EntropyRng};
use basilica_wire::{Keypair, KeypairError};
use bip39::{Language, Mnemonic};
use pbkdf2::pbkdf2_hmac;
use sha2::Sha512;
use zeroize::Zeroizing;

/// The phrase behind `//Alice` and the other development accounts of every Substrate chain. Known to everybody.
const DEV_PHRASE: &str = "bottom drive obey lake curtain smoke basket hold race lonely fit walk";
/// Longest text that is looked at: 24 words and a long path.
const LONGEST: usize = 1024;
/// Rounds of BIP-39.
const ROUNDS: u32 = 2048;

/// Why a text is no secret. Never quotes it.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// Not 12, 15, 18, 21 or 24 words.
    #[error("mnemonic has {0} words; it should have 12, 15, 18, 21 or 24")]
    WordCount(usize),
    /// No number at all.
    #[error("not a number of words; write 12, 15, 18, 21 or 24")]
    NoWordCount,
    /// A word that is not in the list.
    #[error("word {0} of the mnemonic is not in the English list of BIP-39")]
    Word(usize),
    /// The words are right, but not all of them or not in this order.
    #[error(
        "mnemonic fails its checksum: a word of the list stands in the place of another, or words are out of order"
    )]
    Checksum,
    /// Longer than 1,024 bytes.
    #[error("text is longer than {LONGEST} bytes, so it is no mnemonic, seed or URI")]
    Long,
    /// A path such as `//a///`, `a/`, or one whose junction is empty.
    #[error(
        "derivation path is broken: write //hard and /soft junctions, none of them empty, and ///password last"
    )]
    Path,
    /// Not 32 bytes of hex.
    #[error("seed is not 0x and 64 hex digits")]
    Seed,
    /// The bytes are no key.
    #[error("secret is no sr25519 key")]
    Key(#[source] KeypairError),
}

/// How many words a new mnemonic has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WordCount(u8);

impl WordCount {
    /// 12 (128 bits, what the SDK makes), 15, 18, 21 or 24.
    ///
    /// # Errors
    /// Any other number.
    pub const fn new(words: usize) -> Result<Self, SecretError> {
        match words {
            12 => Ok(Self(12)),
            15 => Ok(Self(15)),
            18 => Ok(Self(18)),
            21 => Ok(Self(21)),
            24 => Ok(Self(24)),
            other => Err(SecretError::WordCount(other)),
        }
    }

    /// Bytes of entropy: 11 bits a word, of which one in 33 is checksum.
    fn entropy_bytes(self) -> usize {
        usize::from(self.0) * 4 / 3
    }
}

impl FromStr for WordCount {
    type Err = SecretError;

    fn from_str(text: &str) -> Result<Self, SecretError> {
        Self::new(text.parse().map_err(|_| SecretError::NoWordCount)?)
    }
}

/// A key, and what it was made from as far as that is known. Wiped when dropped, never printed.
pub struct Secret {
    keypair: Keypair,
    seed: Option<Zeroizing<[u8; 32]>>,
    phrase: Option<Zeroizing<String>>,
}

impl Secret {
    /// A new key with a mnemonic of so many words.
    pub fn generate(words: WordCount, entropy: &dyn Entropy) -> Result<Self, SecretError> {
        let mut bytes = Zeroizing::new([0; 32]);
        let bytes = &mut bytes[..words.entropy_bytes()];
        entropy.fill(bytes);
        let mnemonic = Mnemonic::from_entropy_in(Language::English, bytes).map_err(explain)?;
        Self::from_mnemonic(&Zeroizing::new(mnemonic), "")
    }

    /// The key of an English BIP-39 mnemonic of 12 to 24 words, as Substrate derives it (from the entropy, not from
    /// BIP-39's seed).
    ///
    /// # Errors
    /// The words are not a mnemonic.
    pub fn from_phrase(phrase: &str) -> Result<Self, SecretError> {
        Self::from_mnemonic(&*parse_phrase(phrase)?, "")
    }

    /// The key of a secret URI: `[mnemonic | 0xSEED](//hard | /soft)*[///password]`. Without a mnemonic or seed in
    /// front it is the development phrase's, as for `//Alice`.
    ///
    /// `entropy` feeds the signing nonces of keys with soft junctions; it has no influence on the public key.
    ///
    /// # Errors
    /// The text is no such URI.
    pub fn from_uri(uri: &str, entropy: &dyn Entropy) -> Result<Self, SecretError> {
        let uri = uri.trim();
        if uri.len() > LONGEST {
            return Err(SecretError::Long);
        }
        let (rest, password) = uri.split_once("///").unwrap_or((uri, ""));
        let path_at = rest.find('/').unwrap_or(rest.len());
        let (root, path) = rest.split_at(path_at);
        let secret = match root.trim() {
            "" if uri.is_empty() => return Err(SecretError::WordCount(0)),
            "" => Self::from_mnemonic(&*parse_phrase(DEV_PHRASE)?, password)?,
            seed if seed.starts_with("0x") => Self::from_seed_hex(seed)?,
            phrase => Self::from_mnemonic(&*parse_phrase(phrase)?, password)?,
        };
        if path.is_empty() {
            return Ok(secret);
        }
        derive(secret.keypair, path, entropy).map(Self::from)
    }

    /// The key of a seed in hex, with or without `0x`.
    ///
    /// # Errors
    /// It is not 64 hex digits.
    pub fn from_seed_hex(text: &str) -> Result<Self, SecretError> {
        let mut seed = Zeroizing::new([0; 32]);
        let digits = text.trim();
        hex::decode_to_slice(digits.strip_prefix("0x").unwrap_or(digits), seed.as_mut_slice())
            .map_err(|_| SecretError::Seed)?;
        Self::from_seed(seed)
    }

    /// The key of a 32-byte seed.
    ///
    /// # Errors
    /// The bytes are no seed.
    pub fn from_seed(seed: Zeroizing<[u8; 32]>) -> Result<Self, SecretError> {
        let keypair = Keypair::from_seed(&seed).map_err(SecretError::Key)?;
        Ok(Self { keypair, seed: Some(seed), phrase: None })
    }

    fn from_mnemonic(mnemonic: &Mnemonic, password: &str) -> Result<Self, SecretError> {
        let (entropy, length) = mnemonic.to_entropy_array();
        let entropy = Zeroizing::new(entropy);
        let salt = Zeroizing::new(format!("mnemonic{password}"));
        let mut long = Zeroizing::new([0; 64]);
        pbkdf2_hmac::<Sha512>(&entropy[..length], salt.as_bytes(), ROUNDS, long.as_mut_slice());
        let mut seed = Zeroizing::new([0; 32]);
        seed.copy_from_slice(&long[..32]);
        let mut secret = Self::from_seed(seed)?;
        // With a password the words alone would give another key: they are not kept, as in the SDK.
        if password.is_empty() {
            let mut phrase = Zeroizing::new(String::with_capacity(LONGEST));
            for word in mnemonic.words() {
                if !phrase.is_empty() {
                    phrase.push(' ');
                }
                phrase.push_str(word);
            }
            secret.phrase = Some(phrase);
        }
        Ok(secret)
    }

    pub(crate) fn from_parts(
        keypair: Keypair,
        seed: Option<Zeroizing<[u8; 32]>>,
        phrase: Option<Zeroizing<String>>,
    ) -> Self {
        Self { keypair, seed, phrase }
    }

    /// The key.
    pub const fn keypair(&self) -> &Keypair {
        &self.keypair
    }

    /// The key alone.
    pub fn into_keypair(self) -> Keypair {
        self.keypair
    }

    /// The mnemonic, if the key has one. Whoever sees it owns the key.
    pub fn phrase(&self) -> Option<&str> {
        self.phrase.as_deref().map(String::as_str)
    }

    /// The mnemonic, if it alone gives this key: what may be written beside it.
    pub(crate) fn own_phrase(&self) -> Option<&str> {
        let same = |phrase: &&str| {
            Self::from_phrase(phrase).is_ok_and(|other| other.keypair.hotkey() == self.keypair.hotkey())
        };
        self.phrase().filter(same)
    }

    pub(crate) fn seed(&self) -> Option<&[u8; 32]> {
        self.seed.as_deref()
    }
}

/// A key whose origin is not known.
impl From<Keypair> for Secret {
    fn from(keypair: Keypair) -> Self {
        Self { keypair, seed: None, phrase: None }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret({}, redacted)", self.keypair.hotkey())
    }
}

fn parse_phrase(text: &str) -> Result<Zeroizing<Mnemonic>, SecretError> {
    if text.len() > LONGEST {
        return Err(SecretError::Long);
    }
    let text = Zeroizing::new(text.to_ascii_lowercase());
    Mnemonic::parse_in_normalized(Language::English, &text).map(Zeroizing::new).map_err(explain)
}

fn explain(error: bip39::Error) -> SecretError {
    match error {
        bip39::Error::BadWordCount(words) => SecretError::WordCount(words),
        bip39::Error::UnknownWord(index) => SecretError::Word(index + 1),
        bip39::Error::BadEntropyBitCount(bits) => SecretError::WordCount(bits * 3 / 32),
        bip39::Error::InvalidChecksum | bip39::Error::AmbiguousLanguages(_) => SecretError::Checksum,
    }
}

/// Follows a path such as `//hard/soft`.
fn derive(mut keypair: Keypair, path: &str, entropy: &dyn Entropy) -> Result<Keypair, SecretError> {
    let mut rest = path;
    while !rest.is_empty() {
        let (hard, tail) = match rest.strip_prefix("//") {
            Some(tail) => (true, tail),
            None => (false, rest.strip_prefix('/').ok_or(SecretError::Path)?),
        };
        let (junction, after) = tail.split_at(tail.find('/').unwrap_or(tail.len()));
        if junction.is_empty() {
            return Err(SecretError::Path);
        }
        keypair = if hard {
            keypair.derive_hard(junction)
        } else {
            keypair.derive_soft(junction, EntropyRng(entropy))
        };
        rest = after;
    }
    Ok(keypair)
}

#[cfg(test)]
mod tests;
