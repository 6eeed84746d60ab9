//! The pallet's storage by concern. Each module is a section that the pallet imports (`#[import_section]`), so their
//! items live in [`super::pallet`]; what they `use` must be imported there.
//!
//! Names, hashers, key and value types are the public chain's. A new item goes into the section of its concern; one that
//! spec 365 has must equal it after newtypes are erased, one that is younger must be known to the profile `legacy`.

pub mod collateral;
pub mod economy;
pub mod epochs;
pub mod hyperparameters;
pub mod neurons;
pub mod stake;
pub mod subnets;
pub mod weights;
