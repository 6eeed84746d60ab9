//! Hotkey signatures: sr25519 under Substrate's context, as the chain and the Python SDKs make them.

use std::fmt;
use std::str::FromStr;

use basilica_types::Hotkey;
use rand_core::{CryptoRng, RngCore};
use schnorrkel::derive::{ChainCode, Derivation as _};
use schnorrkel::keys::{ExpansionMode, MiniSecretKey};
use schnorrkel::{PublicKey, SecretKey};
use zeroize::Zeroizing;

/// The signing context of every Substrate chain.
pub const SIGNING_CONTEXT: &[u8] = b"substrate";

/// A text that is not a signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("signature is not 128 hex digits")]
pub struct SignatureError;

/// A 64-byte sr25519 signature; hex on the wire.
#[derive(Clone, Copy, PartialEq, Eq, Hash, codec::Encode, codec::Decode)]
pub struct Signature([u8; 64]);

impl Signature {
    /// A signature received from elsewhere; says nothing about its validity.
    pub const fn from_bytes(bytes: [u8; 64]) -> Self {
        Self(bytes)
    }

    /// The bytes as they go into an extrinsic.
    pub const fn as_bytes(&self) -> &[u8; 64] {
        &self.0
    }

    /// Whether `signer` signed `payload`. A malformed key or signature is simply not valid.
    #[must_use]
    pub fn verifies(&self, signer: &Hotkey, payload: &[u8]) -> bool {
        let Ok(public) = PublicKey::from_bytes(signer.as_bytes()) else { return false };
        let Ok(signature) = schnorrkel::Signature::from_bytes(&self.0) else { return false };
        public.verify_simple(SIGNING_CONTEXT, payload, &signature).is_ok()
    }
}

impl FromStr for Signature {
    type Err = SignatureError;

    /// Hex with or without `0x`, either case.
    fn from_str(text: &str) -> Result<Self, SignatureError> {
        let mut bytes = [0u8; 64];
        hex::decode_to_slice(text.strip_prefix("0x").unwrap_or(text), &mut bytes)
            .map_err(|_| SignatureError)?;
        Ok(Self(bytes))
    }
}

impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Why bytes are not a secret key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeypairError {
    /// The 64 bytes are not a scalar and nonce as Substrate stores them.
    #[error("secret key bytes are not a valid sr25519 key")]
    Secret,
}

/// A hotkey's secret. Zeroized on drop, never printed.
pub struct Keypair {
    secret: SecretKey,
    public: PublicKey,
}

impl Keypair {
    /// The key of a 32-byte seed ("mini secret"), expanded as Substrate expands it.
    pub fn from_seed(seed: &[u8; 32]) -> Result<Self, KeypairError> {
        let mini = MiniSecretKey::from_bytes(seed).map_err(|_| KeypairError::Secret)?;
        let secret = mini.expand(ExpansionMode::Ed25519);
        Ok(Self { public: secret.to_public(), secret })
    }

    /// The key in the 64-byte form of a Bittensor keyfile's `privateKey`: canonical scalar ‖ nonce, as Substrate
    /// keeps it in memory.
    pub fn from_secret_bytes(bytes: &[u8; 64]) -> Result<Self, KeypairError> {
        let secret = SecretKey::from_bytes(bytes).map_err(|_| KeypairError::Secret)?;
        Ok(Self { public: secret.to_public(), secret })
    }

    /// The key in the other 64-byte form in use, that of polkadot-js: the scalar multiplied by the cofactor, as
    /// Ed25519 keeps it. The forms cannot be told apart by their bytes, only by the public key they should give.
    pub fn from_ed25519_secret_bytes(bytes: &[u8; 64]) -> Result<Self, KeypairError> {
        let secret = SecretKey::from_ed25519_bytes(bytes).map_err(|_| KeypairError::Secret)?;
        Ok(Self { public: secret.to_public(), secret })
    }

    /// The 64-byte form that [`Self::from_secret_bytes`] reads.
    pub fn to_secret_bytes(&self) -> Zeroizing<[u8; 64]> {
        Zeroizing::new(self.secret.to_bytes())
    }

    /// A hard-derived child, such as `//Alice` of Substrate's development seed.
    ///
    /// `junction` is taken as Substrate takes it: numbers as little-endian u64, texts as their SCALE encoding, hashed
    /// when longer than 32 bytes.
    #[must_use]
    pub fn derive_hard(&self, junction: &str) -> Self {
        let code = ChainCode(junction_code(junction));
        let (mini, _) = self.secret.hard_derive_mini_secret_key(Some(code), b"");
        let secret = mini.expand(ExpansionMode::Ed25519);
        Self { public: secret.to_public(), secret }
    }

    /// A soft-derived child, such as `/deposit`: its public key follows from the parent's public key.
    ///
    /// The junction is read as in [`Self::derive_hard`]. The child's public key is determined; the half of its secret
    /// that feeds the nonces of signatures is drawn from `rng`, as everywhere with this scheme.
    #[must_use]
    pub fn derive_soft<R: RngCore + CryptoRng>(&self, junction: &str, rng: R) -> Self {
        let code = ChainCode(junction_code(junction));
        let (secret, _) = self.secret.derived_key_simple_rng(code, b"", rng);
        Self { public: secret.to_public(), secret }
    }

    /// The public identity.
    pub fn hotkey(&self) -> Hotkey {
        Hotkey::from_bytes(self.public.to_bytes())
    }

    /// Signs `payload`. sr25519 signatures are randomised; the randomness is the caller's, so that a seeded run
    /// repeats (RULES R21).
    pub fn sign<R: RngCore + CryptoRng>(&self, payload: &[u8], rng: R) -> Signature {
        let transcript = schnorrkel::signing_context(SIGNING_CONTEXT).bytes(payload);
        let signed = self.secret.sign(schnorrkel::context::attach_rng(transcript, rng), &self.public);
        Signature(signed.to_bytes())
    }
}

fn junction_code(junction: &str) -> [u8; 32] {
    use blake2::Digest as _;
    let encoded = match junction.parse::<u64>() {
        Ok(number) => number.to_le_bytes().to_vec(),
        Err(_) => codec::Encode::encode(junction),
    };
    let mut code = [0u8; 32];
    if encoded.len() > 32 {
        code.copy_from_slice(&blake2::Blake2b::<blake2::digest::consts::U32>::digest(&encoded));
    } else {
        code[..encoded.len()].copy_from_slice(&encoded);
    }
    code
}

impl fmt::Debug for Keypair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keypair({}, secret redacted)", self.hotkey())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::discovery::tests::Counter;

    /// Substrate's development seed: "bottom drive obey lake curtain smoke basket hold race lonely fit walk".
    const DEV_SEED: &str = "fac7959dbfe72f052e5a0c3c8d6530f202b02fd8f9f5ca3580ec8deb7797479e";

    fn alice() -> Keypair {
        let mut seed = [0u8; 32];
        hex::decode_to_slice(DEV_SEED, &mut seed).unwrap();
        Keypair::from_seed(&seed).unwrap().derive_hard("Alice")
    }

    #[test]
    fn development_accounts_are_those_of_substrate() {
        assert_eq!(alice().hotkey().to_string(), "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY");
    }

    #[test]
    fn soft_and_hard_junctions_mix_as_in_the_python_sdk() {
        for seed in [0, 1] {
            let soft = alice().derive_soft("soft", Counter(seed));
            assert_eq!(soft.hotkey().to_string(), "5C8PhJPLE54x23RjmqBcEEnALryCDWdTJM5xLaoL9W8XEpnt");
            let hard = soft.derive_hard("2");
            assert_eq!(hard.hotkey().to_string(), "5FRcv8UfFPfNUoP5oh1DqS5Pa6szH5TAEdRcTdaE87SKmruC");
            assert!(soft.sign(b"x", Counter(2)).verifies(&soft.hotkey(), b"x"));
        }
    }

    #[test]
    fn a_signature_covers_signer_and_payload() {
        let alice = alice();
        let signature = alice.sign(b"hello", Counter(0));
        assert!(signature.verifies(&alice.hotkey(), b"hello"));
        assert!(!signature.verifies(&alice.hotkey(), b"hellp"));
        assert!(!signature.verifies(&Hotkey::from_bytes([9; 32]), b"hello"));
        assert!(!Signature::from_bytes([0; 64]).verifies(&alice.hotkey(), b"hello"));
        assert_eq!(signature.to_string().parse(), Ok(signature));
    }

    #[test]
    fn equal_randomness_gives_equal_signatures() {
        assert_eq!(alice().sign(b"x", Counter(0)), alice().sign(b"x", Counter(0)));
        assert_ne!(alice().sign(b"x", Counter(0)), alice().sign(b"x", Counter(1)));
    }

    #[test]
    fn keyfile_form_round_trips() {
        let alice = alice();
        let back = Keypair::from_secret_bytes(&alice.to_secret_bytes()).unwrap();
        assert_eq!(back.hotkey(), alice.hotkey());
        assert!(back.sign(b"x", Counter(3)).verifies(&alice.hotkey(), b"x"));
    }

    /// As the Python SDK 11.3.0 writes `//Alice` into a keyfile.
    const ALICE_PRIVATE: &str = "33a6f3093f158a7109f679410bef1a0c54168145e0cecb4df006c1c2fffb1f09\
                                 925a225d97aa00682d6a59b95b18780c10d7032336e88f3442b42361f4a66011";

    #[test]
    fn keyfile_form_is_that_of_the_python_sdk() {
        assert_eq!(hex::encode(alice().to_secret_bytes().as_slice()), ALICE_PRIVATE);
    }

    #[test]
    fn the_ed25519_form_of_a_secret_gives_the_same_key() {
        let ed25519: [u8; 64] = alice().secret.to_ed25519_bytes();
        assert_eq!(Keypair::from_ed25519_secret_bytes(&ed25519).unwrap().hotkey(), alice().hotkey());
        let misread = Keypair::from_secret_bytes(&ed25519);
        assert!(misread.map_or(true, |key| key.hotkey() != alice().hotkey()));
    }

    #[test]
    fn a_keypair_is_never_printed() {
        assert!(format!("{:?}", alice()).contains("redacted"));
    }
}
