//! Fernet (the oldest form): base64url of version ‖ time ‖ IV ‖ AES-128-CBC ‖ HMAC-SHA256 under PBKDF2-HMAC-SHA256
//! with ten million rounds and a salt that is the same for everybody. The time is not looked at: a key does not expire.

use aes::Aes128;
use aes::cipher::block_padding::Pkcs7;
use aes::cipher::{BlockModeDecrypt as _, KeyIvInit as _};
use base64::Engine as _;
use base64::alphabet::URL_SAFE;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use cbc::Decryptor;
use hmac::{Hmac, Mac as _};
use pbkdf2::pbkdf2_hmac;
use sha2::Sha256;
use zeroize::Zeroizing;

use super::Encryption::Fernet;
use crate::{KeyfileError, Password};

pub(super) const MARK: &[u8] = b"gAAAA";
const SALT: &[u8] = b"Iguesscyborgslikemyselfhaveatendencytobeparanoidaboutourorigins";
const ROUNDS: u32 = 10_000_000;
const VERSION: u8 = 0x80;
const HEAD: usize = 1 + 8 + 16;
const TAG: usize = 32;
const BLOCK: usize = 16;
/// Some writers leave the `=` at the end away.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

pub(super) fn open(file: &[u8], password: &Password) -> Result<Zeroizing<Vec<u8>>, KeyfileError> {
    let token = token(file)?;
    let mut key = Zeroizing::new([0; 32]);
    pbkdf2_hmac::<Sha256>(password.as_bytes(), SALT, ROUNDS, key.as_mut_slice());
    decrypt(&token, &key)
}

fn token(file: &[u8]) -> Result<Vec<u8>, KeyfileError> {
    let token = BASE64.decode(file.trim_ascii()).map_err(|_| Fernet.damaged("it is not base64url"))?;
    if token.first() != Some(&VERSION) {
        return Err(Fernet.damaged("its version is not 0x80"));
    }
    let text = token.len().checked_sub(HEAD + TAG).ok_or(Fernet.damaged("it is too short"))?;
    if text == 0 || !text.is_multiple_of(BLOCK) {
        return Err(Fernet.damaged("its ciphertext is not whole blocks"));
    }
    Ok(token)
}

fn decrypt(token: &[u8], key: &[u8; 32]) -> Result<Zeroizing<Vec<u8>>, KeyfileError> {
    let (mac_key, cipher_key) = key.split_at(16);
    let (signed, tag) = token.split_at(token.len() - TAG);
    let no_length = || Fernet.damaged("its key has no length");
    let mut mac = Hmac::<Sha256>::new_from_slice(mac_key).map_err(|_| no_length())?;
    mac.update(signed);
    mac.verify_slice(tag).map_err(|_| KeyfileError::WrongPassword(Fernet))?;
    let mut text = Zeroizing::new(signed[HEAD..].to_vec());
    let cipher = Decryptor::<Aes128>::new_from_slices(cipher_key, &signed[HEAD - 16..HEAD])
        .map_err(|_| no_length())?;
    let length =
        cipher.decrypt_padded::<Pkcs7>(&mut text).map_err(|_| Fernet.damaged("its padding is broken"))?.len();
    text.truncate(length);
    Ok(text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn hostile_tokens_never_panic(body in proptest::collection::vec(any::<u8>(), 0..200), key in any::<[u8; 32]>()) {
            let file = BASE64.encode([&[VERSION, 0, 0, 0], body.as_slice()].concat());
            if let Ok(token) = token(file.as_bytes()) {
                prop_assert!(matches!(decrypt(&token, &key), Err(KeyfileError::WrongPassword(Fernet))));
            }
        }
    }

    /// The test vector of the Fernet specification (github.com/fernet/spec, verify.json).
    #[test]
    fn the_specification_s_token_opens() {
        let mut key = [0; 32];
        BASE64.decode_slice("cw_0x689RpI-jtRR7oE8h_eQsKImvJapLeSbXpwF4e4=", &mut key).unwrap();
        let text = "gAAAAAAdwJ6wAAECAwQFBgcICQoLDA0ODy021cpGVWKZ_eEwCGM4BLLF_5CV9dOPmrhuVUPgJobwOz7JcbmrR64jVmpU4IwqDA==";
        let token = token(text.as_bytes()).unwrap();
        assert_eq!(&**decrypt(&token, &key).unwrap(), b"hello");
    }
}
