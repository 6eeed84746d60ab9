//! What the compiler made of `proto/`.
#![expect(unreachable_pub, clippy::allow_attributes, clippy::too_many_lines, reason = "generated code")]

/// Generated code names its neighbours by their package's path, so the modules are nested as the packages are.
mod basilca {
    pub(crate) mod common {
        pub(crate) mod v1 {
            tonic::include_proto!("basilca.common.v1");
        }
    }
    pub(crate) mod miner {
        pub(crate) mod v1 {
            tonic::include_proto!("basilca.miner.v1");
        }
    }
}

pub(crate) use basilca::common::v1 as common;
pub(crate) use basilca::miner::v1 as miner;

/// The same service under the correct spelling; it uses the messages above.
pub(crate) mod spelt {
    tonic::include_proto!("basilica.miner.v1");
}

/// All of `proto/`, for server reflection.
pub(crate) const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
