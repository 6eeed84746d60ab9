//! Regions: where an operator says that a node stands.

use std::fmt;
use std::str::FromStr;

use crate::text::serde_as_text;

/// Longest name.
const LONGEST: usize = 64;

/// Why a text cannot name a region.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RegionError {
    /// Nothing there, or more than 64 characters.
    #[error("name of a region has {0} characters, 1 to {LONGEST} are allowed")]
    Length(usize),
    /// Another character, which would not survive as a key of a configuration file or as a label.
    #[error("name of a region {0:?} may hold only lower-case letters, digits, '-' and '_'")]
    Character(String),
}

/// The operator's own name for a place, such as `eu-west`. It means nothing but to be equal to another or not.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Region(String);

impl FromStr for Region {
    type Err = RegionError;

    fn from_str(text: &str) -> Result<Self, RegionError> {
        let length = text.chars().count();
        if !(1..=LONGEST).contains(&length) {
            return Err(RegionError::Length(length));
        }
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_');
        if text.chars().all(plain) {
            Ok(Self(text.to_owned()))
        } else {
            Err(RegionError::Character(text.to_owned()))
        }
    }
}

impl fmt::Display for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

serde_as_text!(Region);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_region_is_one_plain_word() {
        for name in ["eu-west", "us_east_1", "7"] {
            assert_eq!(name.parse::<Region>().map(|region| region.to_string()), Ok(name.to_owned()));
        }
        assert_eq!("".parse::<Region>(), Err(RegionError::Length(0)));
        assert_eq!("a".repeat(65).parse::<Region>(), Err(RegionError::Length(65)));
        for name in ["EU", "eu west", "eu.west", "ü"] {
            assert_eq!(name.parse::<Region>(), Err(RegionError::Character(name.to_owned())));
        }
    }
}
