//! The key that a prover makes for one run, and its signature over all of it (the seeds' P256 attestation signature).
//!
//! It shows that the process which accepted the challenge, and whose key the openings were drawn from, is the one that
//! finished the run: an answer cannot be put together from several runs, and a recorded one cannot be
//! continued. It says nothing about hardware, and a key of the node's owner is as good as ours: RULES D4, nothing
//! secret is in the binary.

use basilica_types::Digest;
use p256::ecdsa::signature::{Signer, Verifier};
use p256::ecdsa::{Signature, SigningKey, VerifyingKey};

/// Bytes of a public key: a compressed point (SEC 1 §2.3.3).
pub const RUN_KEY_BYTES: usize = 33;
/// Bytes of a signature: r and s (IEEE P1363).
pub const SIGNATURE_BYTES: usize = 64;

const SECRET_TAG: &str = "basilica-proof 2026-11 run key";

/// The secret key of one run.
pub struct RunKey(SigningKey);

impl RunKey {
    /// The key that follows from 32 random bytes.
    pub fn from_entropy(entropy: &[u8; 32]) -> Self {
        let mut stream = blake3::Hasher::new_derive_key(SECRET_TAG).update(entropy).finalize_xof();
        loop {
            let mut scalar = [0; 32];
            stream.fill(&mut scalar);
            // All but 2⁻³² of these numbers are scalars.
            if let Ok(key) = SigningKey::from_bytes(&scalar.into()) {
                return Self(key);
            }
        }
    }

    /// The public key.
    pub fn public(&self) -> [u8; RUN_KEY_BYTES] {
        let point = self.0.verifying_key().to_sec1_point(true);
        point.as_bytes().try_into().expect("a compressed point has 33 bytes")
    }

    /// Signs a run's digest: ECDSA over SHA-256, nonce by RFC 6979, s in its lower half.
    pub fn sign(&self, run: &Digest) -> [u8; SIGNATURE_BYTES] {
        let signature: Signature = self.0.sign(run.as_bytes());
        signature.normalize_s().to_bytes().into()
    }
}

impl std::fmt::Debug for RunKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RunKey")
    }
}

/// Whether `signature` is `key`'s over `run`, in its one form.
pub(crate) fn is_signed(key: &[u8; RUN_KEY_BYTES], run: &Digest, signature: &[u8; SIGNATURE_BYTES]) -> bool {
    let (Ok(key), Ok(signature)) = (VerifyingKey::from_sec1_bytes(key), Signature::from_slice(signature))
    else {
        return false;
    };
    signature.normalize_s() == signature && key.verify(run.as_bytes(), &signature).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_signed_digest_and_the_one_form_hold() {
        let key = RunKey::from_entropy(&[1; 32]);
        let run = Digest::from_bytes([2; 32]);
        let signature = key.sign(&run);
        assert!(is_signed(&key.public(), &run, &signature));
        assert!(!is_signed(&key.public(), &Digest::from_bytes([3; 32]), &signature));
        assert!(!is_signed(&RunKey::from_entropy(&[2; 32]).public(), &run, &signature));
        let (r, s) = Signature::from_slice(&signature).unwrap().split_scalars();
        let other = Signature::from_scalars(r.to_bytes(), (-*s).to_bytes()).unwrap();
        assert!(!is_signed(&key.public(), &run, &other.to_bytes().into()), "s of the upper half");
        assert!(!is_signed(&[0; 33], &run, &signature));
        assert!(!is_signed(&key.public(), &run, &[0; 64]));
    }

    #[test]
    fn a_key_is_not_shown() {
        assert_eq!(format!("{:?}", RunKey::from_entropy(&[1; 32])), "RunKey");
    }
}
