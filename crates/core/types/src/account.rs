//! Bittensor accounts: 32 bytes, printed as SS58 with prefix 42.

use std::fmt;
use std::str::FromStr;

use blake2::{Blake2b512, Digest as _};

/// The SS58 address format of the chain ("generic Substrate").
const PREFIX: u8 = 42;
const CHECKSUM_CONTEXT: &[u8] = b"SS58PRE";

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
    bs58::encode(bytes).into_string()
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

    proptest! {
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
