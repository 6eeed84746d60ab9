//! The chain on which tests go block by block, with what they commit and reveal there.

use frame_support::traits::{Hooks as _, OnTimestampSet as _};
use sp_core::H256;
use sp_runtime::DispatchError;

use super::commits::Reveal;
use super::pallet::*;
use super::tests::key;
use crate::genesis::Settings;
use crate::runtime::newtypes::{NetUid, NetUidStorageIndex};
use crate::runtime::{Commitments, Drand, Runtime, RuntimeEvent, RuntimeOrigin, SubtensorModule, System};

pub(super) const NETUID: NetUid = NetUid(39);
pub(super) const INDEX: NetUidStorageIndex = NetUidStorageIndex(39);
pub(super) const TEMPO: u16 = 20;
/// The chain's clock at block 0; a second passes per block.
pub(super) const START_MS: u64 = 1_800_000_000_000;
pub(super) const VALIDATOR: &str = "//Validator1";

pub(super) fn signed(uri: &str) -> RuntimeOrigin {
    RuntimeOrigin::signed(key(uri))
}

/// Runs on a chain with commit-reveal in block 1, whose validators have permits; no rate limit.
pub(super) fn on_chain(test: impl FnOnce()) {
    let settings = Settings {
        commit_reveal: true,
        tempo: TEMPO,
        weights_rate_limit: 0,
        drand_period_s: 1,
        ..Settings::default()
    };
    let state = settings.resolve().expect("valid").state().expect("builds");
    let storage = sp_core::storage::Storage { top: state, children_default: Default::default() };
    sp_state_machine::BasicExternalities::new(storage).execute_with(|| {
        ValidatorPermit::<Runtime>::insert(NETUID, vec![false, true, true, true, false, false]);
        block();
        test();
    });
}

pub(super) fn now() -> u64 {
    SubtensorModule::block_now()
}

/// The next block up to its extrinsics.
pub(super) fn block() {
    let number = System::block_number() + 1;
    System::set_block_number(number);
    System::reset_events();
    SubtensorModule::on_initialize(number);
    Commitments::on_initialize(number);
    Drand::on_timestamp_set(START_MS + u64::from(number) * 1_000);
}

pub(super) fn blocks_until(number: u64) {
    while now() < number {
        block();
    }
}

pub(super) fn events() -> Vec<Event<Runtime>> {
    System::events()
        .into_iter()
        .filter_map(|record| match record.event {
            RuntimeEvent::SubtensorModule(event) => Some(event),
            _ => None,
        })
        .collect()
}

pub(super) fn reveal(salt: u16) -> Reveal {
    Reveal { uids: vec![4, 5], values: vec![1, 2], salt: vec![salt; 8], version_key: 0 }
}

pub(super) fn commit(salt: u16) -> H256 {
    let hash = reveal(salt).hash::<Runtime>(&key(VALIDATOR), INDEX);
    assert_eq!(SubtensorModule::commit_weights(signed(VALIDATOR), NETUID, hash), Ok(()));
    hash
}

pub(super) fn try_reveal(uri: &str, netuid: NetUid, salt: u16) -> Result<(), DispatchError> {
    // A failed call leaves nothing behind, as in a block.
    frame_support::storage::with_storage_layer(|| {
        let Reveal { uids, values, salt, version_key } = reveal(salt);
        SubtensorModule::reveal_weights(signed(uri), netuid, uids, values, salt, version_key)
    })
}

pub(super) fn row() -> Vec<(u16, u16)> {
    Weights::<Runtime>::get(INDEX, 1)
}
