//! Encrypted extrinsics, which clients send so that nobody can act on them before they are in a block.
//!
//! A client encrypts a signed extrinsic for the next block's author (ML-KEM-768 and XChaCha20-Poly1305) and submits it
//! inside of `submit_encrypted`; the author decrypts it while making the block and puts the inner extrinsic right behind
//! its carrier, as one of the block's own. The newest SDK registers neurons in no other way, so a chain without this
//! pallet has no registration for it.
//!
//! The key pair of this chain comes from a constant seed and never rotates: it hides nothing, and every snapshot, restart and
//! reorganisation can open what was sealed before. Rejected: rotating keys as the public chain's authors do. Clients
//! read `NextKey` right before they encrypt and cannot tell.
#![expect(
    missing_docs,
    missing_debug_implementations,
    clippy::cast_possible_truncation,
    reason = "the pallet macros generate undocumented items, and encode call indexes"
)]

use chacha20poly1305::aead::{Aead as _, KeyInit as _};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use ml_kem::kem::{Decapsulate as _, KeyExport as _};
use ml_kem::ml_kem_768::{Ciphertext, DecapsulationKey};
use sp_io::hashing::twox_128;

pub use pallet::*;

use super::RuntimeCall;

/// The public seed of the chain's key pair.
const SEED: [u8; 64] = *b"basilica-devchain: this key seals nothing, it is in the sources.";
/// Bytes of a key's hash.
const HASH: usize = 16;
/// Bytes of a nonce.
const NONCE: usize = 24;
/// The longest `ciphertext`; the public chain's.
pub const MAX_CIPHERTEXT: u32 = 8_192;
/// The longest key in storage; the public chain's.
pub const MAX_KEY: u32 = 2_048;

/// The parts of a `ciphertext`: `[hash of the key 16][length u16 LE][encapsulated key][nonce 24][sealed extrinsic]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sealed<'a> {
    /// Of the key it is for.
    pub key_hash: [u8; HASH],
    encapsulated: &'a [u8],
    nonce: [u8; NONCE],
    extrinsic: &'a [u8],
}

impl<'a> Sealed<'a> {
    /// Takes a `ciphertext` apart; none if it is too short for its parts.
    #[must_use]
    pub fn parse(ciphertext: &'a [u8]) -> Option<Self> {
        let (key_hash, rest) = ciphertext.split_first_chunk::<HASH>()?;
        let (length, rest) = rest.split_first_chunk::<2>()?;
        let (encapsulated, rest) = rest.split_at_checked(u16::from_le_bytes(*length).into())?;
        let (nonce, extrinsic) = rest.split_first_chunk::<NONCE>()?;
        Some(Self { key_hash: *key_hash, encapsulated, nonce: *nonce, extrinsic })
    }

    /// Whether it is for this chain's key.
    #[must_use]
    pub fn is_ours(&self) -> bool {
        self.key_hash == twox_128(&public_key())
    }

    /// The extrinsic inside; none if it was not sealed for this chain's key.
    #[must_use]
    pub fn open(&self) -> Option<Vec<u8>> {
        let encapsulated = Ciphertext::try_from(self.encapsulated).ok()?;
        let shared = pair().decapsulate(&encapsulated);
        let cipher = XChaCha20Poly1305::new_from_slice(&shared).ok()?;
        cipher.decrypt(&XNonce::from(self.nonce), self.extrinsic).ok()
    }
}

/// The `ciphertext` that a call carries, if it does.
#[must_use]
pub fn sealed_in(call: &RuntimeCall) -> Option<Vec<u8>> {
    match call {
        RuntimeCall::MevShield(Call::submit_encrypted { ciphertext }) => Some(ciphertext.to_vec()),
        _ => None,
    }
}

fn pair() -> DecapsulationKey {
    DecapsulationKey::from_seed(SEED.into())
}

/// The key that clients encrypt for, 1,184 bytes.
#[must_use]
pub fn public_key() -> Vec<u8> {
    pair().encapsulation_key().to_bytes().to_vec()
}

#[frame_support::pallet]
pub mod pallet {
    use frame_support::pallet_prelude::*;
    use frame_system::pallet_prelude::*;

    use super::{MAX_CIPHERTEXT, MAX_KEY};

    type Key = BoundedVec<u8, ConstU32<MAX_KEY>>;

    #[pallet::pallet]
    #[pallet::without_storage_info]
    pub struct Pallet<T>(_);

    #[pallet::config]
    pub trait Config: frame_system::Config {}

    #[pallet::storage]
    pub type CurrentKey<T: Config> = StorageValue<_, Key, OptionQuery>;
    #[pallet::storage]
    pub type PendingKey<T: Config> = StorageValue<_, Key, OptionQuery>;
    #[pallet::storage]
    pub type NextKey<T: Config> = StorageValue<_, Key, OptionQuery>;
    #[pallet::storage]
    pub type PendingKeyExpiresAt<T: Config> = StorageValue<_, BlockNumberFor<T>, OptionQuery>;
    #[pallet::storage]
    pub type NextKeyExpiresAt<T: Config> = StorageValue<_, BlockNumberFor<T>, OptionQuery>;

    #[pallet::event]
    #[pallet::generate_deposit(pub(super) fn deposit_event)]
    pub enum Event<T: Config> {
        /// A sealed extrinsic is in the block.
        EncryptedSubmitted { id: T::Hash, who: T::AccountId },
    }

    #[pallet::call]
    impl<T: Config> Pallet<T> {
        /// Takes a sealed extrinsic into the block, and makes its author open it.
        #[pallet::call_index(1)]
        #[pallet::weight(Weight::from_parts(207_500_000, 0))]
        pub fn submit_encrypted(
            origin: OriginFor<T>,
            ciphertext: BoundedVec<u8, ConstU32<MAX_CIPHERTEXT>>,
        ) -> DispatchResult {
            use sp_runtime::traits::Hash as _;

            let who = ensure_signed(origin)?;
            let id = T::Hashing::hash_of(&(&who, &ciphertext));
            Self::deposit_event(Event::EncryptedSubmitted { id, who });
            Ok(())
        }
    }

    impl<T: Config> Pallet<T> {
        /// Announces the chain's key, for good.
        pub fn install_genesis() {
            let key: Key = super::public_key()
                .try_into()
                .expect("an encapsulation key has 1,184 bytes, less than the bound");
            CurrentKey::<T>::put(&key);
            PendingKey::<T>::put(&key);
            NextKey::<T>::put(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use chacha20poly1305::aead::Aead as _;
    use ml_kem::ml_kem_768::EncapsulationKey;

    use super::*;

    /// As clients do it.
    fn seal(extrinsic: &[u8]) -> Vec<u8> {
        let public = public_key();
        let key =
            EncapsulationKey::new(public.as_slice().try_into().expect("1,184 bytes")).expect("our own key");
        let (encapsulated, shared) = key.encapsulate_deterministic(&[7; 32].into());
        let cipher = XChaCha20Poly1305::new_from_slice(&shared).expect("32 bytes");
        let nonce = [9; NONCE];
        let sealed = cipher.encrypt(&XNonce::from(nonce), extrinsic).expect("fits");
        let length = u16::try_from(encapsulated.len()).expect("1,088 bytes");
        [&twox_128(&public)[..], &length.to_le_bytes(), &encapsulated, &nonce, &sealed].concat()
    }

    #[test]
    fn what_is_sealed_for_the_announced_key_opens() {
        let ciphertext = seal(b"an extrinsic");
        let sealed = Sealed::parse(&ciphertext).expect("has all parts");
        assert!(sealed.is_ours());
        assert_eq!(sealed.open().as_deref(), Some(&b"an extrinsic"[..]));
    }

    #[test]
    fn anything_else_does_not_open_and_does_not_panic() {
        let ciphertext = seal(b"an extrinsic");
        // Every byte of the head, and some of each part after it.
        let positions = (0..HASH + 2).chain((HASH + 2..ciphertext.len()).step_by(61));
        for position in positions.chain([ciphertext.len() - 1]) {
            let mut other = ciphertext.clone();
            other[position] ^= 1;
            let opened = Sealed::parse(&other).filter(Sealed::is_ours).and_then(|sealed| sealed.open());
            assert_eq!(opened, None, "with byte {position} changed");
            let short = Sealed::parse(&ciphertext[..position]).and_then(|sealed| sealed.open());
            assert_eq!(short, None, "cut to {position} bytes");
        }
    }
}
