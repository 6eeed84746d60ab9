//! Ansible vault 1.1: hex in lines over hex of salt, HMAC and ciphertext; AES-256-CTR under PBKDF2-HMAC-SHA256.

use aes::Aes256;
use aes::cipher::{KeyIvInit as _, StreamCipher as _};
use ctr::Ctr128BE;
use hmac::{Hmac, Mac as _};
use pbkdf2::pbkdf2_hmac;
use sha2::Sha256;
use zeroize::Zeroizing;

use super::Encryption::AnsibleVault;
use crate::{KeyfileError, Password};

pub(super) const MARK: &[u8] = b"$ANSIBLE_VAULT";
const HEADER: &[u8] = b"$ANSIBLE_VAULT;1.1;AES256";
const ROUNDS: u32 = 10_000;
const BLOCK: usize = 16;

pub(super) fn open(file: &[u8], password: &Password) -> Result<Zeroizing<Vec<u8>>, KeyfileError> {
    let Parts { salt, tag, mut text } = parts(file)?;
    // Cipher key, HMAC key and counter, in this order.
    let mut keys = Zeroizing::new([0; 80]);
    pbkdf2_hmac::<Sha256>(password.as_bytes(), &salt, ROUNDS, keys.as_mut_slice());
    let (cipher_key, rest) = keys.split_at(32);
    let (mac_key, counter) = rest.split_at(32);
    let mut mac =
        Hmac::<Sha256>::new_from_slice(mac_key).map_err(|_| AnsibleVault.damaged("its key has no length"))?;
    mac.update(&text);
    mac.verify_slice(&tag).map_err(|_| KeyfileError::WrongPassword(AnsibleVault))?;
    let mut cipher = Ctr128BE::<Aes256>::new_from_slices(cipher_key, counter)
        .map_err(|_| AnsibleVault.damaged("its key has no length"))?;
    cipher.apply_keystream(&mut text);
    unpad(&mut text)?;
    Ok(text)
}

struct Parts {
    salt: Vec<u8>,
    tag: Vec<u8>,
    text: Zeroizing<Vec<u8>>,
}

fn parts(file: &[u8]) -> Result<Parts, KeyfileError> {
    let end = file.iter().position(|byte| *byte == b'\n').unwrap_or(file.len());
    let (header, body) = file.split_at(end);
    if header.trim_ascii_end() != HEADER {
        return Err(AnsibleVault.damaged("its header is not $ANSIBLE_VAULT;1.1;AES256"));
    }
    let digits: Vec<u8> = body.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect();
    let inner = hex::decode(digits).map_err(|_| AnsibleVault.damaged("its body is not hex"))?;
    let mut parts = inner.split(|byte| *byte == b'\n').map(hex::decode);
    let mut part = || match parts.next() {
        Some(Ok(bytes)) if !bytes.is_empty() => Ok(bytes),
        _ => Err(AnsibleVault.damaged("it lacks salt, HMAC or ciphertext in hex")),
    };
    let found = Parts { salt: part()?, tag: part()?, text: Zeroizing::new(part()?) };
    if parts.next().is_some() {
        return Err(AnsibleVault.damaged("it has more parts than salt, HMAC and ciphertext"));
    }
    if found.tag.len() != 32 || !found.text.len().is_multiple_of(BLOCK) {
        return Err(AnsibleVault.damaged("a part has a wrong length"));
    }
    Ok(found)
}

/// PKCS #7. Nobody learns anything from this failing: the tag has been checked.
fn unpad(text: &mut Vec<u8>) -> Result<(), KeyfileError> {
    let broken = AnsibleVault.damaged("its padding is broken");
    let Some(&last) = text.last() else { return Err(broken) };
    let length = usize::from(last);
    if !(1..=BLOCK).contains(&length) || text.len() < length {
        return Err(broken);
    }
    let kept = text.len() - length;
    if text[kept..].iter().any(|byte| *byte != last) {
        return Err(broken);
    }
    text.truncate(kept);
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn hostile_vaults_never_panic(body in "[0-9a-f\n]{0,300}", password in "[a-z]{1,9}") {
            let file = [HEADER, b"\n", body.as_bytes()].concat();
            let password = Password::new(Zeroizing::new(password)).unwrap();
            prop_assert!(open(&file, &password).is_err());
        }

        #[test]
        fn padding_is_taken_off_or_refused(mut text in proptest::collection::vec(0u8..20, 0..40)) {
            let before = text.clone();
            if unpad(&mut text).is_ok() {
                prop_assert!(before.starts_with(&text) && (1..=BLOCK).contains(&(before.len() - text.len())));
            }
        }
    }
}
