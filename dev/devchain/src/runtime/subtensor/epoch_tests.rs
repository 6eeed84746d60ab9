//! What an epoch reads from the chain.

use super::pallet::*;
use super::test_chain::{INDEX, NETUID, VALIDATOR, block, blocks_until, commit, on_chain, signed};
use crate::profile::Profile;
use crate::runtime::newtypes::MechId;
use crate::runtime::{Runtime, SubtensorModule, marker};

fn commit_hash(salt: u16) {
    assert_ne!(commit(salt), Default::default());
}

fn commit_timelocked() {
    let beyond_all = u64::MAX;
    let made = SubtensorModule::commit_timelocked_mechanism_weights(
        signed(VALIDATOR),
        NETUID,
        MechId::MAIN,
        vec![1].try_into().expect("short"),
        beyond_all,
        4,
    );
    assert_eq!(made, Ok(()));
}

/// What the two miners earn at the epoch of a block.
fn incentives_of(epoch: u64) -> [u16; 2] {
    blocks_until(epoch);
    let all = Incentive::<Runtime>::get(INDEX);
    [4, 5].map(|uid: usize| all[uid].deconstruct())
}

/// Weights on both miners; a commit, then the second miner's uid changes hands, then another commit.
fn commit_around_a_registration(commit: impl Fn(u16)) {
    Weights::<Runtime>::insert(INDEX, 1, vec![(4, 1), (5, 1)]);
    commit(1);
    block();
    BlockAtRegistration::<Runtime>::insert(NETUID, 5, SubtensorModule::block_now());
    block();
    commit(2);
}

const BOTH: [u16; 2] = [32_767, 32_767];
const FIRST_ALONE: [u16; 2] = [65_535, 0];

#[test]
fn weights_on_who_came_after_an_open_commit_do_not_count() {
    for timelocked in [false, true] {
        on_chain(|| {
            commit_around_a_registration(|salt| match timelocked {
                true => commit_timelocked(),
                false => commit_hash(salt),
            });
            assert_eq!(incentives_of(20), FIRST_ALONE, "the first commit can be revealed in this epoch");
            assert_eq!(incentives_of(40), BOTH, "no commit can be revealed any more");
        });
    }
}

#[test]
fn a_later_commit_alone_masks_nothing() {
    on_chain(|| {
        commit_around_a_registration(|salt| {
            if salt == 2 {
                commit_hash(salt);
            }
        });
        assert_eq!(incentives_of(20), BOTH);
    });
}

#[test]
fn commits_mask_nothing_where_weights_are_not_committed() {
    on_chain(|| {
        commit_around_a_registration(commit_hash);
        CommitRevealWeightsEnabled::<Runtime>::insert(NETUID, false);
        assert_eq!(incentives_of(20), BOTH);
    });
}

#[test]
fn legacy_counts_a_commit_as_open_to_the_end_of_its_reveal_epoch() {
    for timelocked in [false, true] {
        on_chain(|| {
            marker::Profile::<Runtime>::put(Profile::Legacy);
            // Index = (block + 40) / 21, and its last block is its epoch: 22, 43, 64.
            block();
            commit_around_a_registration(|salt| match timelocked {
                true => commit_timelocked(),
                false => commit_hash(salt),
            });
            assert_eq!(incentives_of(22), FIRST_ALONE);
            assert_eq!(incentives_of(43), FIRST_ALONE, "it may be revealed in this very block");
            assert_eq!(incentives_of(64), BOTH);
        });
    }
}
