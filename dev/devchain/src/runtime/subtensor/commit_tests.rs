//! Weights that are committed as a hash: when they can be revealed, and everything that goes wrong.

use sp_core::H256;

use super::pallet::*;
use super::test_chain::{
    INDEX, NETUID, VALIDATOR, block, blocks_until, commit, events, on_chain, reveal, row, signed, try_reveal,
};
use super::tests::{error, key};
use crate::runtime::newtypes::{MechId, NetUid};
use crate::runtime::{Runtime, SubtensorModule};

#[test]
fn hash_commits_are_checked_in_the_chains_order() {
    on_chain(|| {
        let hash = H256::repeat_byte(1);
        let commit = |uri: &str, netuid: u16, mecid: u8| {
            SubtensorModule::commit_mechanism_weights(signed(uri), NetUid(netuid), MechId(mecid), hash)
        };
        SubtensorModule::set_commit_reveal(NETUID, false);
        assert_eq!(commit("//Nobody", 40, 0), error(Error::MechanismDoesNotExist));
        assert_eq!(commit("//Nobody", 39, 1), error(Error::MechanismDoesNotExist));
        assert_eq!(commit("//Nobody", 39, 0), error(Error::CommitRevealDisabled));
        SubtensorModule::set_commit_reveal(NETUID, true);
        assert_eq!(commit("//Nobody", 39, 0), error(Error::HotKeyNotRegisteredInSubNet));
        assert_eq!(commit(VALIDATOR, 39, 0), Ok(()));
        WeightsSetRateLimit::<Runtime>::insert(NETUID, 5);
        assert_eq!(commit(VALIDATOR, 39, 0), error(Error::CommittingWeightsTooFast));
        WeightsSetRateLimit::<Runtime>::insert(NETUID, 0);
        for _ in 1..10 {
            assert_eq!(commit(VALIDATOR, 39, 0), Ok(()));
        }
        assert_eq!(commit(VALIDATOR, 39, 0), error(Error::TooManyUnrevealedCommits));
        assert_eq!(commit("//Validator2", 39, 0), Ok(()), "the limit is each hotkey's own");
        let stored = WeightCommits::<Runtime>::get(INDEX, key(VALIDATOR)).expect("commits");
        assert_eq!(stored[0], (hash, 0, 1, 0));
        assert_eq!(LastUpdate::<Runtime>::get(INDEX)[1], 1, "a commit counts for the rate limit");
    });
}

#[test]
fn a_hash_commit_is_revealed_in_exactly_one_epoch() {
    on_chain(|| {
        assert_eq!(try_reveal(VALIDATOR, NETUID, 1), error(Error::NoWeightsCommitFound));
        let hash = commit(1);
        assert_eq!(events(), [Event::WeightsCommitted(key(VALIDATOR), INDEX, hash)]);
        blocks_until(19);
        assert_eq!(try_reveal(VALIDATOR, NETUID, 1), error(Error::RevealTooEarly));
        block();
        assert_eq!(try_reveal(VALIDATOR, NetUid(40), 1), error(Error::SubnetNotExists));
        assert_eq!(try_reveal(VALIDATOR, NETUID, 2), error(Error::InvalidRevealCommitHashNotMatch));
        assert_eq!(try_reveal("//Validator2", NETUID, 1), error(Error::NoWeightsCommitFound));
        SubtensorModule::set_commit_reveal(NETUID, false);
        assert_eq!(try_reveal(VALIDATOR, NETUID, 1), error(Error::CommitRevealDisabled));
        SubtensorModule::set_commit_reveal(NETUID, true);
        assert_eq!(try_reveal(VALIDATOR, NETUID, 1), Ok(()));
        assert_eq!(row(), [(4, 32_768), (5, 65_535)]);
        assert_eq!(events().last(), Some(&Event::WeightsRevealed(key(VALIDATOR), INDEX, hash)));
        assert_eq!(LastUpdate::<Runtime>::get(INDEX)[1], 1, "the commit was the update, not the reveal");
        assert_eq!(try_reveal(VALIDATOR, NETUID, 1), error(Error::NoWeightsCommitFound), "once only");
    });
}

#[test]
fn a_reveal_that_breaks_a_rule_leaves_its_commit() {
    on_chain(|| {
        commit(1);
        blocks_until(20);
        WeightsVersionKey::<Runtime>::insert(NETUID, 7);
        assert_eq!(try_reveal(VALIDATOR, NETUID, 1), error(Error::IncorrectWeightVersionKey));
        WeightsVersionKey::<Runtime>::insert(NETUID, 0);
        assert_eq!(try_reveal(VALIDATOR, NETUID, 1), Ok(()));
    });
}

#[test]
fn a_late_reveal_finds_its_commit_expired() {
    on_chain(|| {
        commit(1);
        blocks_until(39);
        commit(2);
        blocks_until(40);
        assert_eq!(try_reveal(VALIDATOR, NETUID, 1), error(Error::ExpiredWeightCommit));
        assert_eq!(try_reveal(VALIDATOR, NETUID, 2), Ok(()));
        assert!(WeightCommits::<Runtime>::get(INDEX, key(VALIDATOR)).is_none());
    });
}

#[test]
fn a_longer_reveal_period_moves_the_epoch() {
    on_chain(|| {
        assert_eq!(SubtensorModule::set_reveal_period(NETUID, 0), error(Error::RevealPeriodTooSmall));
        assert_eq!(SubtensorModule::set_reveal_period(NETUID, 101), error(Error::RevealPeriodTooLarge));
        assert_eq!(SubtensorModule::set_reveal_period(NETUID, 2), Ok(()));
        commit(1);
        blocks_until(39);
        assert_eq!(try_reveal(VALIDATOR, NETUID, 1), error(Error::RevealTooEarly));
        blocks_until(40);
        assert_eq!(try_reveal(VALIDATOR, NETUID, 1), Ok(()));
    });
}

#[test]
fn batches_go_on_after_a_failure_and_reveals_are_all_or_none() {
    on_chain(|| {
        use codec::Compact;
        let netuids = |numbers: &[u16]| numbers.iter().map(|n| Compact(NetUid(*n))).collect::<Vec<_>>();
        let hashes: Vec<H256> =
            [1, 2].iter().map(|salt| reveal(*salt).hash::<Runtime>(&key(VALIDATOR), INDEX)).collect();
        let batch = SubtensorModule::batch_commit_weights;
        assert_eq!(
            batch(signed(VALIDATOR), netuids(&[39]), hashes.clone()),
            error(Error::InputLengthsUnequal)
        );
        let three = vec![hashes[0], H256::zero(), hashes[1]];
        assert_eq!(batch(signed(VALIDATOR), netuids(&[39, 40, 39]), three), Ok(()));
        let told = events();
        assert!(told.contains(&Event::BatchCompletedWithErrors()));
        assert!(told.contains(&Event::BatchWeightItemFailed(Error::<Runtime>::MechanismDoesNotExist.into())));
        assert_eq!(told.last(), Some(&Event::BatchWeightsCompleted(netuids(&[39, 40, 39]), key(VALIDATOR))));

        let reveals = |salts: &[u16]| {
            let (uids, values) = (vec![vec![4, 5]; salts.len()], vec![vec![1, 2]; salts.len()]);
            let salts: Vec<Vec<u16>> = salts.iter().map(|salt| vec![*salt; 8]).collect();
            let versions = vec![0; salts.len()];
            frame_support::storage::with_storage_layer(|| {
                SubtensorModule::batch_reveal_weights(
                    signed(VALIDATOR),
                    NETUID,
                    uids,
                    values,
                    salts,
                    versions,
                )
            })
        };
        assert_eq!(reveals(&[1, 2]), error(Error::RevealTooEarly));
        blocks_until(20);
        assert_eq!(reveals(&[1, 3]), error(Error::InvalidRevealCommitHashNotMatch));
        assert_eq!(row(), [], "the first of them was not revealed alone");
        assert_eq!(reveals(&[1, 1]), error(Error::InvalidRevealCommitHashNotMatch));
        assert_eq!(reveals(&[2, 1]), Ok(()));
        assert_eq!(row(), [(4, 32_768), (5, 65_535)]);
        let uneven = SubtensorModule::batch_reveal_weights(
            signed(VALIDATOR),
            NETUID,
            vec![vec![4]],
            vec![],
            vec![],
            vec![],
        );
        assert_eq!(uneven, error(Error::InputLengthsUnequal));

        let weights = vec![vec![(Compact(4), Compact(1))]; 2];
        let versions = vec![Compact(0); 2];
        let set = SubtensorModule::batch_set_weights;
        assert_eq!(set(signed(VALIDATOR), netuids(&[39, 40]), weights.clone(), versions.clone()), Ok(()));
        let told = events();
        assert!(told.contains(&Event::BatchWeightItemFailed(Error::<Runtime>::CommitRevealEnabled.into())));
        SubtensorModule::set_commit_reveal(NETUID, false);
        assert_eq!(set(signed(VALIDATOR), netuids(&[39, 40]), weights, versions), Ok(()));
        assert_eq!(row(), [(4, 65_535)]);
    });
}
