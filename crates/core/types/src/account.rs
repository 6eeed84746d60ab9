//! Bittensor accounts: 32 bytes, printed as SS58 with prefix 42.

use std::fmt;
use std::str::FromStr;

use blake2::{Blake2b512, Digest as _};

/// The SS58 address format of the chain ("generic Substrate").
const PREFIX: u8 = 42;
const CHECKSUM_CONTEXT: &[u8] = b"SS58PRE";
/// Of base58, as Bitcoin has it.
const ALPHABET: &[u8; 58] = b"123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";
/// Digits that are taken from the number at once: as many as a 32-bit word holds.
const DIGITS: usize = 5;
const DIVISOR: u64 = 58u64.pow(5);

/// Why a text is not an account of this network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Ss58Error {
    /// A character outside the base58 alphabet, or nothing at all.
    #[error("ss58 address is not base58: letters and digits without 0, O, I and l")]
    Alphabet,
    /// Neither a 32-byte account nor anything else that we accept.
    #[error("ss58 address holds {0} bytes, expected 35: a character is missing, or one too many")]
    Length(usize),
    /// The address belongs to another network.
    #[error("ss58 address has prefix {0}, expected 42: it is one of another network; ours begin with 5")]
    Prefix(u8),
    /// Most often a typing error.
    #[error("ss58 address has a wrong checksum: a character is wrong; copy it again")]
    Checksum,
}

fn checksum(prefixed: &[u8]) -> [u8; 2] {
    let hash = Blake2b512::new().chain_update(CHECKSUM_CONTEXT).chain_update(prefixed).finalize();
    [hash[0], hash[1]]
}

fn encode(account: &[u8; 32]) -> String {
    let mut bytes = [0u8; 35];
    bytes[0] = PREFIX;
    bytes[1..33].copy_from_slice(account);
    let sum = checksum(&bytes[..33]);
    bytes[33..].copy_from_slice(&sum);
    base58(&bytes)
}

/// The 48 digits of 35 bytes of which the first is [`PREFIX`]; other first bytes may have fewer.
///
/// Not by bs58 as decoding is, which carries every digit through every byte: a pair of requests to a miner prints a dozen addresses, and
/// that took 3 of 100 parts of its processor at 2,000 pairs a second.
fn base58(bytes: &[u8; 35]) -> String {
    let mut words = [0u32; 9];
    for (word, bytes) in words.iter_mut().rev().zip(bytes.rchunks(4)) {
        *word = bytes.iter().fold(0, |word, byte| word << 8 | u32::from(*byte));
    }
    let mut digits = [0u8; 10 * DIGITS];
    for some in digits.rchunks_exact_mut(DIGITS) {
        let mut rest = 0u64;
        for word in &mut words {
            let dividend = rest << 32 | u64::from(*word);
            *word =
                u32::try_from(dividend / DIVISOR).expect("what is above the word is less than the divisor");
            rest = dividend % DIVISOR;
        }
        for digit in some.iter_mut().rev() {
            *digit = ALPHABET[usize::try_from(rest % 58).expect("a digit")];
            rest /= 58;
        }
    }
    // 58 to the 48th is the first power above any number of 35 bytes that begins with 42.
    digits[2..].iter().map(|digit| char::from(*digit)).collect()
}

fn decode(text: &str) -> Result<[u8; 32], Ss58Error> {
    // 35 bytes are at most 48 base58 digits: anything longer is refused before the quadratic decoder sees it.
    if text.len() > 64 {
        return Err(Ss58Error::Length(text.len()));
    }
    let bytes = bs58::decode(text).into_vec().map_err(|_| Ss58Error::Alphabet)?;
    let bytes: [u8; 35] = bytes.as_slice().try_into().map_err(|_| Ss58Error::Length(bytes.len()))?;
    if bytes[0] != PREFIX {
        return Err(Ss58Error::Prefix(bytes[0]));
    }
    if checksum(&bytes[..33]) != bytes[33..] {
        return Err(Ss58Error::Checksum);
    }
    let mut account = [0u8; 32];
    account.copy_from_slice(&bytes[1..33]);
    Ok(account)
}

macro_rules! account {
    ($(#[$meta:meta])* $name:ident) => {
        $(#[$meta])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; 32]);

        impl $name {
            /// The account of these 32 public-key bytes; any value is a valid account.
            pub const fn from_bytes(bytes: [u8; 32]) -> Self {
                Self(bytes)
            }

            /// The 32 bytes as they stand in storage and payloads of the chain.
            pub const fn as_bytes(&self) -> &[u8; 32] {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&encode(&self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&encode(&self.0))
            }
        }

        impl FromStr for $name {
            type Err = Ss58Error;

            fn from_str(text: &str) -> Result<Self, Ss58Error> {
                decode(text).map(Self)
            }
        }

        crate::text::serde_as_text!($name);
    };
}

account! {
    /// The sr25519 identity under which a miner or validator acts. Printed in SS58.
    Hotkey
}
account! {
    /// The account that owns a hotkey and its stake. No server of ours ever holds its secret.
    Coldkey
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ALICE: &str = "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY";
    const ALICE_HEX: &str = "d43593c715fdd31c61141abd04a99fd6822c8558854ccde39a5684e7a56da27d";

    #[test]
    fn well_known_address_matches_its_public_key() {
        let alice: Hotkey = ALICE.parse().unwrap();
        assert_eq!(hex::encode(alice.as_bytes()), ALICE_HEX);
        assert_eq!(alice.to_string(), ALICE);
    }

    #[test]
    fn wrong_addresses_are_refused_with_their_reason() {
        assert_eq!("".parse::<Hotkey>(), Err(Ss58Error::Length(0)));
        assert_eq!("0OIl".parse::<Hotkey>(), Err(Ss58Error::Alphabet));
        let typo = ALICE.replace("KutQY", "KutQZ");
        assert_eq!(typo.parse::<Hotkey>(), Err(Ss58Error::Checksum));
        let polkadot = "15oF4uVJwmo4TdGW7VfQxNLavjCXviqxT9S1MgbjMNHr6Sp5";
        assert_eq!(polkadot.parse::<Hotkey>(), Err(Ss58Error::Prefix(0)));
        assert_eq!("1".repeat(5000).parse::<Hotkey>(), Err(Ss58Error::Length(5000)));
    }

    #[test]
    fn the_least_and_the_greatest_account_print_with_48_digits() {
        for byte in [0, 255] {
            let printed = Hotkey::from_bytes([byte; 32]).to_string();
            assert_eq!(printed.len(), 48);
            assert_eq!(printed.parse(), Ok(Hotkey::from_bytes([byte; 32])));
        }
    }

    proptest! {
        #[test]
        fn addresses_are_what_bs58_makes_of_them(bytes: [u8; 32]) {
            let whole = [&[PREFIX], bytes.as_slice(), &checksum(&[&[PREFIX], bytes.as_slice()].concat())].concat();
            prop_assert_eq!(Hotkey::from_bytes(bytes).to_string(), bs58::encode(whole).into_string());
        }

        #[test]
        fn every_account_prints_and_parses(bytes: [u8; 32]) {
            let key = Hotkey::from_bytes(bytes);
            prop_assert_eq!(key.to_string().parse(), Ok(key));
        }

        #[test]
        fn no_text_panics(text in ".{0,80}") {
            let _ = text.parse::<Hotkey>();
        }
    }
}
