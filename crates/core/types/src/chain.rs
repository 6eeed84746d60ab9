//! Numbers of the Bittensor chain.

use crate::Digest;
use crate::text::number_id;

number_id! {
    /// A subnet: 39 on the main network, 387 on the test network.
    NetUid(u16)
}
number_id! {
    /// One of a subnet's mechanisms, each with weights of its own; 0 is the one that every subnet has.
    MechanismId(u8)
}
number_id! {
    /// A neuron's slot within one subnet; reused after deregistration, so never an identity on its own.
    Uid(u16)
}
number_id! {
    /// Height of a block.
    BlockNumber(u64)
}
number_id! {
    /// A weight as the chain stores it, 0..=65,535.
    Weight(u16)
}
number_id! {
    /// The chain's smallest unit of money: 10^9 rao are one TAO.
    Rao(u64)
}

/// Hash of a block, blake2-256 of its header.
pub type BlockHash = Digest;
