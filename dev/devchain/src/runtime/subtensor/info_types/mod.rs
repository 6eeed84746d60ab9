//! The types that clients decode: stored ones here, those that only runtime APIs answer in [`records`].
//!
//! Field names and their order are the public chain's (runtime 393): the order is the wire format. Types must carry the
//! names seen in its metadata, because some SDKs decode by name.
#![expect(
    missing_docs,
    reason = "the fields are the public chain's and documented there; only the shape matters"
)]

pub mod records;

use std::collections::BTreeSet;

use codec::{Decode, DecodeWithMemTracking, Encode, MaxEncodedLen};
use frame_support::BoundedVec;
use frame_support::traits::ConstU32;
use scale_info::TypeInfo;

pub use records::*;

use crate::runtime::newtypes::{AlphaBalance, NetUid};

/// A published endpoint.
#[derive(Encode, Decode, DecodeWithMemTracking, TypeInfo, Clone, PartialEq, Eq, Debug, Default)]
pub struct AxonInfo {
    pub block: u64,
    pub version: u32,
    pub ip: u128,
    pub port: u16,
    pub ip_type: u8,
    pub protocol: u8,
    pub placeholder1: u8,
    pub placeholder2: u8,
}

/// A published metrics endpoint.
#[derive(Encode, Decode, DecodeWithMemTracking, TypeInfo, Clone, PartialEq, Eq, Debug, Default)]
pub struct PrometheusInfo {
    pub block: u64,
    pub version: u32,
    pub ip: u128,
    pub port: u16,
    pub ip_type: u8,
}

/// A TLS key published with an endpoint.
#[derive(Encode, Decode, DecodeWithMemTracking, TypeInfo, Clone, PartialEq, Eq, Debug)]
pub struct NeuronCertificate {
    pub public_key: BoundedVec<u8, ConstU32<64>>,
    pub algorithm: u8,
}

impl NeuronCertificate {
    /// The first byte is the algorithm, the rest the key, of 64 bytes at most.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let (algorithm, key) = bytes.split_first()?;
        let public_key = BoundedVec::try_from(key.to_vec()).ok()?;
        Some(Self { public_key, algorithm: *algorithm })
    }
}

/// How a subnet turns weights into consensus.
#[derive(
    Encode, Decode, DecodeWithMemTracking, TypeInfo, MaxEncodedLen, Clone, Copy, PartialEq, Eq, Debug, Default,
)]
pub enum EpochConsensus {
    #[default]
    Yuma,
    Null,
}

/// What a miner has at stake on a subnet beyond its stake: alpha that only earned emission releases.
#[derive(Encode, Decode, DecodeWithMemTracking, TypeInfo, Clone, PartialEq, Eq, Debug, Default)]
pub struct MinerCollateralState {
    pub locked: AlphaBalance,
    pub drain_ratio: FixedU128,
    pub min_locked: AlphaBalance,
    pub earned: AlphaBalance,
}

/// What a coldkey says of itself.
#[derive(Encode, Decode, DecodeWithMemTracking, TypeInfo, Clone, PartialEq, Eq, Debug, Default)]
pub struct ChainIdentityV2 {
    pub name: Vec<u8>,
    pub url: Vec<u8>,
    pub github_repo: Vec<u8>,
    pub image: Vec<u8>,
    pub discord: Vec<u8>,
    pub description: Vec<u8>,
    pub additional: Vec<u8>,
}

/// What a subnet says of itself.
#[derive(Encode, Decode, DecodeWithMemTracking, TypeInfo, Clone, PartialEq, Eq, Debug, Default)]
pub struct SubnetIdentityV3 {
    pub subnet_name: Vec<u8>,
    pub github_repo: Vec<u8>,
    pub subnet_contact: Vec<u8>,
    pub subnet_url: Vec<u8>,
    pub discord: Vec<u8>,
    pub description: Vec<u8>,
    pub logo_url: Vec<u8>,
    pub additional: Vec<u8>,
}

/// A signed number in 128 bits, of which 32 (prices) or 64 (flows) are its fraction.
#[derive(Encode, Decode, TypeInfo, Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct FixedI128 {
    pub bits: i128,
}

/// A number with 64 fractional bits, in 128 bits.
#[derive(Encode, Decode, DecodeWithMemTracking, TypeInfo, Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct FixedU128 {
    pub bits: u128,
}

/// A signed number with 32 fractional bits, in 64 bits.
#[derive(Encode, Decode, TypeInfo, Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct FixedI64 {
    pub bits: i64,
}

/// What becomes of alpha that the weights give to the subnet's owner.
#[derive(Encode, Decode, DecodeWithMemTracking, TypeInfo, Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum RecycleOrBurnEnum {
    #[default]
    Burn,
    Recycle,
}

/// What a coldkey of spec 365 wants to get for its stake on the root network.
#[derive(Encode, Decode, DecodeWithMemTracking, TypeInfo, Clone, PartialEq, Eq, Debug, Default)]
pub enum RootClaimTypeEnum {
    #[default]
    Swap,
    Keep,
    KeepSubnets {
        subnets: BTreeSet<NetUid>,
    },
}

/// Alpha that its coldkey has locked for the sake of conviction.
#[derive(Encode, Decode, DecodeWithMemTracking, TypeInfo, Clone, PartialEq, Eq, Debug)]
pub struct LockState {
    pub locked_mass: AlphaBalance,
    pub conviction: FixedU128,
    pub last_update: u64,
}
