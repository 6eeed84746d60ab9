//! SCALE values under a domain tag and a signature (RULES R20).

use basilica_types::{Digest, Hotkey};
use blake2::Digest as _;
use codec::{Decode, DecodeAll, Encode};
use rand_core::{CryptoRng, RngCore};

use crate::{Keypair, Signature};

/// Largest signed value that is decoded, in bytes.
pub const MAX_ENVELOPE: usize = 1 << 20;

/// A kind of signed content. The tag keeps a signature over one kind from passing for another.
pub trait Domain: Encode + Decode {
    /// `basilica/…/v1`: unique in the workspace, ends in its version.
    const TAG: &'static str;
}

/// Why bytes are not a signed value of the expected kind.
#[derive(Debug, thiserror::Error)]
pub enum EnvelopeError {
    /// Refused before decoding.
    #[error("signed value is larger than 1 MiB")]
    TooLarge,
    /// Not SCALE of this kind, or bytes left over.
    #[error("decode signed value")]
    Decode(#[source] codec::Error),
    /// Decodes, but another encoding of the same value is the canonical one.
    #[error("signed value is not in canonical form")]
    NotCanonical,
    /// Another kind of content, or another version of this kind.
    #[error("signed value is tagged {found:?}, expected {expected:?}")]
    Domain {
        /// The tag of the kind that was asked for.
        expected: &'static str,
        /// What the bytes carry.
        found: String,
    },
    /// The signature is not the signer's over this content.
    #[error("signature of {signer} does not verify")]
    Signature {
        /// Who is said to have signed.
        signer: Hotkey,
    },
}

/// A value with the hotkey that vouches for it. Existing is not being valid: [`Signed::decode_verified`] or
/// [`Signed::verify`] decide.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Signed<T> {
    tag: String,
    content: T,
    signer: [u8; 32],
    signature: Signature,
}

/// The bytes that a signature covers: tag, signer and content, each length-delimited by SCALE, hashed.
fn payload<T: Domain>(content: &T, signer: &Hotkey) -> [u8; 32] {
    let mut bytes = Vec::new();
    T::TAG.encode_to(&mut bytes);
    signer.as_bytes().encode_to(&mut bytes);
    content.encode_to(&mut bytes);
    blake2_256(&bytes)
}

fn blake2_256(bytes: &[u8]) -> [u8; 32] {
    blake2::Blake2b::<blake2::digest::consts::U32>::digest(bytes).into()
}

impl<T: Domain> Signed<T> {
    /// Signs `content` as `signer`.
    pub fn new<R: RngCore + CryptoRng>(content: T, signer: &Keypair, rng: R) -> Self {
        let hotkey = signer.hotkey();
        let signature = signer.sign(&payload(&content, &hotkey), rng);
        Self { tag: T::TAG.to_owned(), content, signer: *hotkey.as_bytes(), signature }
    }

    /// The bytes to be signed by a signer that is behind a port; finish with [`Signed::assemble`].
    pub fn signing_payload(content: &T, signer: &Hotkey) -> [u8; 32] {
        payload(content, signer)
    }

    /// Joins content and signature; verifies, so a wrong signature never becomes an envelope.
    pub fn assemble(content: T, signer: Hotkey, signature: Signature) -> Result<Self, EnvelopeError> {
        let signed = Self { tag: T::TAG.to_owned(), content, signer: *signer.as_bytes(), signature };
        signed.verify()?;
        Ok(signed)
    }

    /// What was signed.
    pub const fn content(&self) -> &T {
        &self.content
    }

    /// Who signed it.
    pub const fn signer(&self) -> Hotkey {
        Hotkey::from_bytes(self.signer)
    }

    /// Hash of the whole envelope; links the next verdict to this one.
    pub fn digest(&self) -> Digest {
        Digest::from_bytes(blake2_256(&self.encode()))
    }

    /// Whether tag and signature are right.
    pub fn verify(&self) -> Result<(), EnvelopeError> {
        if self.tag != T::TAG {
            return Err(EnvelopeError::Domain { expected: T::TAG, found: self.tag.clone() });
        }
        let signer = self.signer();
        let valid = self.signature.verifies(&signer, &payload(&self.content, &signer));
        if valid { Ok(()) } else { Err(EnvelopeError::Signature { signer }) }
    }

    /// Reads an envelope: bounded, nothing left over, canonical, of this kind and truly signed.
    pub fn decode_verified(bytes: &[u8]) -> Result<Self, EnvelopeError> {
        let signed = Self::decode_unverified(bytes)?;
        signed.verify()?;
        Ok(signed)
    }

    /// The same of an envelope that is the reader's own: whether it is truly signed is not looked at.
    pub fn decode_unverified(bytes: &[u8]) -> Result<Self, EnvelopeError> {
        if bytes.len() > MAX_ENVELOPE {
            return Err(EnvelopeError::TooLarge);
        }
        // The tag stands first: an unknown kind or version is named as such instead of failing somewhere in its
        // content.
        let tag = String::decode(&mut &bytes[..]).map_err(EnvelopeError::Decode)?;
        if tag != T::TAG {
            return Err(EnvelopeError::Domain { expected: T::TAG, found: tag });
        }
        let signed = Self::decode_all(&mut &bytes[..]).map_err(EnvelopeError::Decode)?;
        if signed.encode() != bytes {
            return Err(EnvelopeError::NotCanonical);
        }
        Ok(signed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::discovery::tests::{Counter, keypair};

    #[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
    struct Note {
        text: String,
    }
    impl Domain for Note {
        const TAG: &'static str = "basilica/test-note/v1";
    }

    #[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
    struct OtherNote {
        text: String,
    }
    impl Domain for OtherNote {
        const TAG: &'static str = "basilica/test-note/v2";
    }

    fn note() -> Signed<Note> {
        Signed::new(Note { text: "hello".into() }, &keypair(1), Counter(0))
    }

    #[test]
    fn an_envelope_round_trips() {
        let bytes = note().encode();
        assert_eq!(Signed::<Note>::decode_verified(&bytes).unwrap(), note());
    }

    #[test]
    fn a_forged_envelope_reads_only_unverified() {
        let mut forged = note();
        forged.signature = keypair(2).sign(b"x", Counter(0));
        assert_eq!(Signed::<Note>::decode_unverified(&forged.encode()).unwrap(), forged);
        assert!(matches!(
            Signed::<Note>::decode_verified(&forged.encode()),
            Err(EnvelopeError::Signature { .. })
        ));
    }

    #[test]
    fn any_changed_bit_is_refused() {
        let bytes = note().encode();
        for bit in 0..bytes.len() * 8 {
            let mut changed = bytes.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert!(Signed::<Note>::decode_verified(&changed).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn leftovers_other_kinds_and_giants_are_refused() {
        let mut bytes = note().encode();
        assert!(matches!(
            Signed::<OtherNote>::decode_verified(&bytes),
            Err(EnvelopeError::Domain { found, .. }) if found == "basilica/test-note/v1"
        ));
        bytes.push(0);
        assert!(matches!(Signed::<Note>::decode_verified(&bytes), Err(EnvelopeError::Decode(_))));
        let giant = vec![0u8; MAX_ENVELOPE + 1];
        assert!(matches!(Signed::<Note>::decode_verified(&giant), Err(EnvelopeError::TooLarge)));
    }

    #[test]
    fn a_wrong_signature_cannot_be_assembled() {
        let wrong = keypair(2).sign(b"x", Counter(0));
        let assembled = Signed::assemble(Note { text: "a".into() }, keypair(2).hotkey(), wrong);
        assert!(matches!(assembled, Err(EnvelopeError::Signature { .. })));
    }
}
