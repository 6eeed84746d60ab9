//! `$NACL` ‖ nonce (24) ‖ tag (16) ‖ ciphertext: XSalsa20-Poly1305 under argon2i 1.3 of the password with PyNaCl's
//! "sensitive" cost and a salt that is the same for everybody (the SDK's choice; a precomputed table for it costs its
//! maker the full 512 MiB and 8 passes per guess all the same).

use argon2::{Algorithm, Argon2, Block, Params, Version};
use crypto_secretbox::aead::Aead as _;
use crypto_secretbox::{KeyInit as _, XSalsa20Poly1305};
use zeroize::{Zeroize as _, Zeroizing};

use super::Encryption::Nacl;
use crate::{KeyfileError, Password};

pub(super) const MARK: &[u8] = b"$NACL";
const SALT: [u8; 16] = *b"\x13\x71\x83\xdf\xf1\x5a\x09\xbc\x9c\x90\xb5\x51\x87\x39\xe9\xb1";
const MEMORY_KIB: u32 = 512 * 1024;
const PASSES: u32 = 8;
const NONCE: usize = 24;
const TAG: usize = 16;

pub(super) fn open(file: &[u8], password: &Password) -> Result<Zeroizing<Vec<u8>>, KeyfileError> {
    let (nonce, sealed) = parts(file)?;
    unseal(&*key(password)?, nonce, sealed)
}

pub(super) fn seal(
    plain: &[u8],
    password: &Password,
    nonce: &[u8; NONCE],
) -> Result<Zeroizing<Vec<u8>>, KeyfileError> {
    let key = key(password)?;
    let sealed = XSalsa20Poly1305::new((&*key).into())
        .encrypt(nonce.into(), plain)
        .map_err(|_| KeyfileError::TooLarge(crate::file::LARGEST))?;
    Ok(Zeroizing::new([MARK, nonce, &sealed].concat()))
}

fn parts(file: &[u8]) -> Result<(&[u8; NONCE], &[u8]), KeyfileError> {
    let body = file.strip_prefix(MARK).ok_or(Nacl.damaged("its mark is missing"))?;
    let (nonce, sealed) = body.split_first_chunk().ok_or(Nacl.damaged("it ends within the nonce"))?;
    if sealed.len() <= TAG {
        return Err(Nacl.damaged("it ends within the tag"));
    }
    Ok((nonce, sealed))
}

fn unseal(key: &[u8; 32], nonce: &[u8; NONCE], sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, KeyfileError> {
    XSalsa20Poly1305::new(key.into())
        .decrypt(nonce.into(), sealed)
        .map(Zeroizing::new)
        .map_err(|_| KeyfileError::WrongPassword(Nacl))
}

fn key(password: &Password) -> Result<Zeroizing<[u8; 32]>, KeyfileError> {
    let out_of_memory = |_| KeyfileError::Memory { mebibytes: MEMORY_KIB / 1024 };
    let params = Params::new(MEMORY_KIB, PASSES, 1, Some(32)).map_err(KeyfileError::Derivation)?;
    let mut memory = Vec::new();
    memory.try_reserve_exact(params.block_count()).map_err(out_of_memory)?;
    memory.resize(params.block_count(), Block::new());
    let mut key = Zeroizing::new([0; 32]);
    let derived = Argon2::new(Algorithm::Argon2i, Version::V0x13, params).hash_password_into_with_memory(
        password.as_bytes(),
        &SALT,
        key.as_mut_slice(),
        &mut memory,
    );
    memory.iter_mut().for_each(Block::zeroize);
    derived.map_err(KeyfileError::Derivation)?;
    Ok(key)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const KEY: [u8; 32] = [7; 32];

    proptest! {
        #[test]
        fn any_changed_byte_is_refused(plain in proptest::collection::vec(any::<u8>(), 1..200), at in any::<prop::sample::Index>(), flip in 1u8..) {
            let nonce = [3; NONCE];
            let mut sealed = XSalsa20Poly1305::new(&KEY.into()).encrypt(&nonce.into(), plain.as_slice()).unwrap();
            prop_assert_eq!(&**unseal(&KEY, &nonce, &sealed).unwrap(), &plain);
            let at = at.index(sealed.len());
            sealed[at] ^= flip;
            prop_assert!(matches!(unseal(&KEY, &nonce, &sealed), Err(KeyfileError::WrongPassword(Nacl))));
        }

        #[test]
        fn shapes_are_judged_before_any_key_is_derived(body in proptest::collection::vec(any::<u8>(), 0..=NONCE + TAG)) {
            let file = [MARK, &body].concat();
            let damaged = matches!(parts(&file), Err(KeyfileError::Damaged { .. }));
            prop_assert!(damaged);
        }
    }
}
