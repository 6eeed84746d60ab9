//! The numbers that the public chain's newest runtimes name: they encode as the plain number, and metadata shows the name.
//!
//! SDKs take the unit of a number from the last segment of its type's name (`TaoBalance` is rao of the token,
//! `AlphaBalance` rao of a subnet's alpha, `PerU16` parts of 65,535), so each is a type of its own here too. Runtimes up
//! to 393 show the plain number instead.

use codec::{CompactAs, Decode, DecodeWithMemTracking, Encode, MaxEncodedLen};
use scale_info::TypeInfo;
pub use sp_runtime::PerU16;

macro_rules! newtype {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(
            Encode, Decode, DecodeWithMemTracking, CompactAs, MaxEncodedLen, TypeInfo,
            Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default,
        )]
        pub struct $name(
            #[doc = "The plain number."]
            pub $inner,
        );

        impl From<$inner> for $name {
            fn from(plain: $inner) -> Self {
                Self(plain)
            }
        }

        impl From<$name> for $inner {
            fn from(named: $name) -> Self {
                named.0
            }
        }

        impl core::fmt::Display for $name {
            fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                self.0.fmt(formatter)
            }
        }
    };
}

newtype! {
    /// A subnet's number; 0 is the root network.
    NetUid(u16)
}
newtype! {
    /// A mechanism of a subnet; every subnet has mechanism 0.
    MechId(u8)
}
newtype! {
    /// Where the weights of one mechanism of a subnet are stored: mechanism × 4096 + netuid.
    NetUidStorageIndex(u16)
}
newtype! {
    /// Rao of the token.
    TaoBalance(u64)
}
newtype! {
    /// Rao of a subnet's alpha.
    AlphaBalance(u64)
}

impl NetUid {
    /// The root network, which has no miners and takes no weights.
    pub const ROOT: Self = Self(0);

    /// Whether this is the root network.
    #[must_use]
    pub fn is_root(self) -> bool {
        self == Self::ROOT
    }
}

impl MechId {
    /// The mechanism that every subnet has.
    pub const MAIN: Self = Self(0);
}

macro_rules! balance {
    ($name:ident) => {
        impl $name {
            /// Nothing.
            pub const ZERO: Self = Self(0);

            /// The sum, at most the largest amount.
            #[must_use]
            pub fn saturating_add(self, other: Self) -> Self {
                Self(self.0.saturating_add(other.0))
            }

            /// The difference, at least zero.
            #[must_use]
            pub fn saturating_sub(self, other: Self) -> Self {
                Self(self.0.saturating_sub(other.0))
            }
        }
    };
}
balance!(TaoBalance);
balance!(AlphaBalance);
