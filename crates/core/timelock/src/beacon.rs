//! A drand beacon: its public key, its rounds and their signatures (unchained, signatures in G1, as quicknet has them).

use std::fmt;

use ark_ec::{AdditiveGroup, CurveGroup};
use ark_serialize::{CanonicalDeserialize, CanonicalSerialize};
use sha2::{Digest, Sha256};
use timelock::engines::{EngineBLS, drand::TinyBLS381};
use timelock::ibe::fullident::Identity;

use crate::TimelockError;

pub(crate) type KeyPoint = <TinyBLS381 as EngineBLS>::PublicKeyGroup;
pub(crate) type SignaturePoint = <TinyBLS381 as EngineBLS>::SignatureGroup;

/// A round of a beacon; the first is 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, codec::Encode, codec::Decode)]
pub struct Round(pub u64);

impl fmt::Display for Round {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Round {
    /// What the beacon signs and what ciphertexts are made for.
    pub(crate) fn identity(self) -> Identity {
        Identity::new(b"", &Sha256::digest(self.0.to_be_bytes()))
    }
}

/// The public key of a beacon: a valid point of G2, not the point at infinity.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct BeaconKey {
    bytes: [u8; 96],
    point: KeyPoint,
}

/// The compressed public key of drand's quicknet, to which the public chain's clients encrypt.
const QUICKNET: &str = "83cf0f2896adee7eb8b5f01fcad3912212c437e0073e911fb90022d3e760183c8c4b450b6a0a6c3ac6a5776a2d106451\
0d1fec758c921cc22b0e17e63aaf4bcb5ed66304de9cf809bd274ca73bab4af5a6e9c76a4bc09e76eae8991ef5ece45a";

impl BeaconKey {
    /// Length of a compressed key.
    pub const LENGTH: usize = 96;

    /// drand's quicknet.
    ///
    /// # Panics
    /// Never: a test decodes the constant.
    #[must_use]
    pub fn quicknet() -> Self {
        let bytes = hex::decode(QUICKNET).expect("the constant is hex");
        Self::from_bytes(&bytes).expect("the constant is quicknet's key")
    }

    /// The key of these compressed bytes, as `Drand.BeaconConfig` holds them.
    ///
    /// # Errors
    /// [`TimelockError::Key`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, TimelockError> {
        let bytes: [u8; Self::LENGTH] = bytes.try_into().map_err(|_| TimelockError::Key)?;
        let point = KeyPoint::deserialize_compressed(&bytes[..]).map_err(|_| TimelockError::Key)?;
        if point == KeyPoint::ZERO {
            return Err(TimelockError::Key);
        }
        Ok(Self { bytes, point })
    }

    /// The compressed bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; Self::LENGTH] {
        &self.bytes
    }

    pub(crate) const fn point(&self) -> KeyPoint {
        self.point
    }
}

impl fmt::Debug for BeaconKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BeaconKey({})", hex::encode(&self.bytes[..8]))
    }
}

/// A beacon's signature of a round: a valid point of G1. That it belongs to a round is for [`verify`] to say.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct RoundSignature {
    bytes: [u8; 48],
    point: SignaturePoint,
}

impl RoundSignature {
    /// Length of a compressed signature.
    pub const LENGTH: usize = 48;

    /// The signature of these compressed bytes, as `Drand.Pulses` holds them.
    ///
    /// # Errors
    /// [`TimelockError::Signature`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, TimelockError> {
        let bytes: [u8; Self::LENGTH] = bytes.try_into().map_err(|_| TimelockError::Signature)?;
        let point =
            SignaturePoint::deserialize_compressed(&bytes[..]).map_err(|_| TimelockError::Signature)?;
        if point == SignaturePoint::ZERO {
            return Err(TimelockError::Signature);
        }
        Ok(Self { bytes, point })
    }

    /// The compressed bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; Self::LENGTH] {
        &self.bytes
    }

    /// The round's public randomness: the hash of its signature.
    #[must_use]
    pub fn randomness(&self) -> [u8; 32] {
        Sha256::digest(self.bytes).into()
    }

    pub(crate) const fn point(&self) -> SignaturePoint {
        self.point
    }
}

impl fmt::Debug for RoundSignature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RoundSignature({})", hex::encode(&self.bytes[..8]))
    }
}

/// Whether the beacon of `key` made `signature` for `round`: `e(signature, g2) == e(H(round), key)`.
#[must_use]
pub fn verify(key: &BeaconKey, round: Round, signature: &RoundSignature) -> bool {
    let message = round.identity().public::<TinyBLS381>().into_affine();
    let pairs = [
        (
            TinyBLS381::minus_generator_of_public_key_group_prepared(),
            TinyBLS381::prepare_signature(signature.point.into_affine()),
        ),
        (TinyBLS381::prepare_public_key(key.point.into_affine()), TinyBLS381::prepare_signature(message)),
    ];
    TinyBLS381::final_exponentiation(TinyBLS381::miller_loop(pairs.iter()))
        .is_some_and(|product| product == ark_ec::pairing::PairingOutput::ZERO)
}

#[cfg(feature = "beacon")]
mod secret {
    use ark_ec::PrimeGroup;
    use ark_ff::PrimeField;
    use sha2::Sha512;
    use zeroize::Zeroize;

    use super::*;

    type Scalar = <TinyBLS381 as EngineBLS>::Scalar;

    /// The secret key of a development beacon. Zeroized on drop, never printed.
    pub struct BeaconSecret(Scalar);

    impl BeaconSecret {
        /// The secret that belongs to a seed; the same seed gives the same beacon.
        #[must_use]
        pub fn from_seed(seed: &[u8]) -> Self {
            let mut wide: [u8; 64] = Sha512::digest(seed).into();
            let scalar = Scalar::from_be_bytes_mod_order(&wide);
            wide.zeroize();
            Self(scalar)
        }

        /// The beacon's public key.
        ///
        /// # Panics
        /// If the seed hashed to zero, which nobody can bring about.
        #[must_use]
        pub fn public(&self) -> BeaconKey {
            let point = KeyPoint::generator() * self.0;
            let mut bytes = [0; BeaconKey::LENGTH];
            point.serialize_compressed(&mut bytes[..]).expect("a compressed G2 point has 96 bytes");
            BeaconKey { bytes, point }
        }

        /// Signs a round.
        ///
        /// # Panics
        /// Never: a compressed G1 point has 48 bytes.
        #[must_use]
        pub fn sign(&self, round: Round) -> RoundSignature {
            let point = round.identity().public::<TinyBLS381>() * self.0;
            let mut bytes = [0; RoundSignature::LENGTH];
            point.serialize_compressed(&mut bytes[..]).expect("a compressed G1 point has 48 bytes");
            RoundSignature { bytes, point }
        }
    }

    impl Drop for BeaconSecret {
        fn drop(&mut self) {
            self.0.zeroize();
        }
    }

    impl fmt::Debug for BeaconSecret {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("BeaconSecret")
        }
    }
}

#[cfg(feature = "beacon")]
pub use secret::BeaconSecret;
