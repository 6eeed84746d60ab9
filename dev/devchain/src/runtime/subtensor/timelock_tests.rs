//! What is committed under a timelock: weights of every mechanism and commitments, the beacon's pulses that open them, and what the
//! pool refuses.

use basilica_timelock::{BeaconSecret, Round, RoundSignature, WeightsPayload, encrypt, verify};
use frame_support::traits::OnTimestampSet as _;
use rand_core::{CryptoRng, RngCore};
use sp_core::H256;
use sp_runtime::DispatchError;

use super::commits::{Reveal, hotkey_of};
use super::pallet::*;
use super::test_chain::{
    INDEX, NETUID, START_MS, VALIDATOR, block, blocks_until, commit, events, now, on_chain, reveal, row,
    signed, try_reveal,
};
use super::tests::{error, key};
use super::timelocked::Ciphertext;
use crate::runtime::extensions::CustomError;
use crate::runtime::newtypes::{AlphaBalance, MechId, NetUid, NetUidStorageIndex};
use crate::runtime::{Commitments, Drand, Runtime, SubtensorModule, drand, marker, weights_guard};

/// Counts up: the tests' ciphertexts need to differ, not to be secret.
struct Counter(u64);
impl RngCore for Counter {
    fn next_u32(&mut self) -> u32 {
        u32::from_le_bytes(self.next_u64().to_le_bytes()[..4].try_into().expect("4 bytes"))
    }
    fn next_u64(&mut self) -> u64 {
        self.0 += 1;
        self.0
    }
    fn fill_bytes(&mut self, bytes: &mut [u8]) {
        for byte in bytes {
            *byte = self.next_u64().to_le_bytes()[0];
        }
    }
    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), rand_core::Error> {
        self.fill_bytes(bytes);
        Ok(())
    }
}
impl CryptoRng for Counter {}

fn sealed(plaintext: &[u8], round: u64) -> Ciphertext {
    let bytes = encrypt(&drand::development_key(), Round(round), plaintext, &mut Counter(round))
        .expect("short enough");
    Ciphertext::try_from(bytes).expect("short enough")
}

fn payload(owner: &str, value: u16) -> Vec<u8> {
    WeightsPayload::new(&hotkey_of::<Runtime>(&key(owner)), vec![4, 5], vec![value, 2], 0).to_bytes()
}

fn latest() -> u64 {
    drand::LastStoredRound::<Runtime>::get()
}

fn timelock(uri: &str, ciphertext: Ciphertext, round: u64) -> Result<(), DispatchError> {
    SubtensorModule::commit_timelocked_weights(signed(uri), NETUID, ciphertext, round, 4)
}

#[test]
fn timelocked_commits_are_checked_in_the_chains_order() {
    on_chain(|| {
        let commit = |uri: &str, netuid: u16, mecid: u8, version: u16| {
            SubtensorModule::commit_timelocked_mechanism_weights(
                signed(uri),
                NetUid(netuid),
                MechId(mecid),
                Ciphertext::default(),
                9,
                version,
            )
        };
        SubtensorModule::set_commit_reveal(NETUID, false);
        assert_eq!(commit("//Nobody", 40, 0, 3), error(Error::MechanismDoesNotExist));
        assert_eq!(commit("//Nobody", 39, 1, 3), error(Error::MechanismDoesNotExist));
        assert_eq!(commit("//Nobody", 39, 0, 3), error(Error::CommitRevealDisabled));
        SubtensorModule::set_commit_reveal(NETUID, true);
        assert_eq!(commit("//Nobody", 39, 0, 3), error(Error::IncorrectCommitRevealVersion));
        assert_eq!(commit("//Nobody", 39, 0, 4), error(Error::HotKeyNotRegisteredInSubNet));
        assert_eq!(commit(VALIDATOR, 39, 0, 4), Ok(()));
        WeightsSetRateLimit::<Runtime>::insert(NETUID, 5);
        assert_eq!(commit(VALIDATOR, 39, 0, 4), error(Error::CommittingWeightsTooFast));
        WeightsSetRateLimit::<Runtime>::insert(NETUID, 0);
        for _ in 1..10 {
            assert_eq!(commit(VALIDATOR, 39, 0, 4), Ok(()));
        }
        assert_eq!(commit(VALIDATOR, 39, 0, 4), error(Error::TooManyUnrevealedCommits));
        assert_eq!(commit("//Validator2", 39, 0, 4), Ok(()));
        SubtensorModule::set_commit_reveal_version(5);
        let unversioned = SubtensorModule::commit_crv3_mechanism_weights(
            signed(VALIDATOR),
            NETUID,
            MechId::MAIN,
            Ciphertext::default(),
            9,
        );
        assert_eq!(unversioned, error(Error::IncorrectCommitRevealVersion));
    });
}

#[test]
fn a_timelocked_commit_opens_in_the_first_block_of_its_epoch() {
    on_chain(|| {
        let round = latest() + 5;
        assert_eq!(timelock(VALIDATOR, sealed(&payload(VALIDATOR, 1), round), round), Ok(()));
        blocks_until(19);
        assert_eq!(row(), [], "the pulse is there, the epoch is not");
        block();
        assert_eq!(row(), [(4, 32_768), (5, 65_535)]);
        assert!(events().contains(&Event::TimelockedWeightsRevealed(INDEX, key(VALIDATOR))));
        assert_eq!(TimelockedWeightCommits::<Runtime>::iter().count(), 0);
    });
}

#[test]
fn a_missing_pulse_is_waited_for_to_the_end_of_the_epoch() {
    on_chain(|| {
        let round = latest() + 5;
        assert_eq!(timelock(VALIDATOR, sealed(&payload(VALIDATOR, 1), round), round), Ok(()));
        blocks_until(2);
        let never = latest() + 10_000;
        assert_eq!(timelock("//Validator2", sealed(&payload("//Validator2", 1), never), never), Ok(()));
        marker::BeaconPaused::<Runtime>::put(true);
        blocks_until(30);
        assert_eq!(row(), []);
        assert_eq!(TimelockedWeightCommits::<Runtime>::get(INDEX, 0).len(), 2, "both wait");
        marker::BeaconPaused::<Runtime>::put(false);
        block();
        assert_eq!(row(), [], "a block's reveals come before its pulses");
        block();
        assert_eq!(row(), [(4, 32_768), (5, 65_535)], "retried in each block of the epoch");
        blocks_until(39);
        assert_eq!(TimelockedWeightCommits::<Runtime>::get(INDEX, 0).len(), 1);
        block();
        assert_eq!(TimelockedWeightCommits::<Runtime>::iter().count(), 0, "the epoch is over");
        assert_eq!(Weights::<Runtime>::get(INDEX, 2), []);
    });
}

#[test]
fn what_does_not_open_or_breaks_a_rule_is_dropped_and_harms_nobody() {
    on_chain(|| {
        let round = latest() + 3;
        let good = sealed(&payload(VALIDATOR, 1), round);
        let mut altered = good.to_vec();
        altered[200] ^= 1;
        let garbage = [vec![], vec![0xff; 5_000], vec![0; 96], good[..good.len() - 20].to_vec(), altered];
        for bytes in garbage {
            assert_eq!(timelock("//Validator2", Ciphertext::try_from(bytes).expect("fits"), round), Ok(()));
        }
        // Somebody else's ciphertext, copied; a payload of nonsense; another round's.
        assert_eq!(timelock("//Validator2", good.clone(), round), Ok(()));
        assert_eq!(timelock("//Validator2", sealed(b"nonsense", round), round), Ok(()));
        assert_eq!(timelock("//Validator2", sealed(&payload("//Validator2", 1), round + 1), round), Ok(()));
        // Without a permit, and with a uid that does not exist.
        TotalHotkeyAlpha::<Runtime>::insert(key("//Miner1"), NETUID, AlphaBalance(u64::MAX / 4));
        assert_eq!(timelock("//Miner1", sealed(&payload("//Miner1", 1), round), round), Ok(()));
        let hotkey = hotkey_of::<Runtime>(&key("//Validator3"));
        let wrong = WeightsPayload::new(&hotkey, vec![99], vec![1], 0).to_bytes();
        assert_eq!(timelock("//Validator3", sealed(&wrong, round), round), Ok(()));
        assert_eq!(timelock(VALIDATOR, good, round), Ok(()));
        blocks_until(20);
        assert_eq!(row(), [(4, 32_768), (5, 65_535)]);
        for uid in [2, 3, 4] {
            assert_eq!(Weights::<Runtime>::get(INDEX, uid), [], "uid {uid}");
        }
        assert_eq!(TimelockedWeightCommits::<Runtime>::iter().count(), 0);
    });
}

#[test]
fn the_payload_without_a_hotkey_still_opens_and_the_last_commit_wins() {
    on_chain(|| {
        use codec::Encode as _;
        let round = latest() + 3;
        assert_eq!(timelock(VALIDATOR, sealed(&payload(VALIDATOR, 1), round), round), Ok(()));
        let legacy = (vec![4u16], vec![9u16], 0u64).encode();
        assert_eq!(timelock(VALIDATOR, sealed(&legacy, round), round), Ok(()));
        blocks_until(20);
        assert_eq!(row(), [(4, 65_535)]);
    });
}

#[test]
fn mechanisms_have_weights_and_commits_of_their_own_and_share_the_emission() {
    on_chain(|| {
        let count = |n| SubtensorModule::do_set_mechanism_count(NETUID, MechId(n));
        assert_eq!(count(2), error(Error::TooManyUIDsPerMechanism));
        MaxAllowedUids::<Runtime>::insert(NETUID, 16);
        assert_eq!(count(0), error(Error::InvalidValue));
        assert_eq!(count(17), error(Error::InvalidValue));
        assert_eq!(count(3), Ok(()));
        let second = NetUidStorageIndex(4_096 + 39);
        let hash = reveal(1).hash::<Runtime>(&key(VALIDATOR), second);
        let commit = SubtensorModule::commit_mechanism_weights;
        assert_eq!(commit(signed(VALIDATOR), NETUID, MechId(1), hash), Ok(()));
        blocks_until(20);
        let Reveal { uids, values, salt, version_key } = reveal(1);
        let revealed = SubtensorModule::reveal_mechanism_weights(
            signed(VALIDATOR),
            NETUID,
            MechId(1),
            uids,
            values,
            salt,
            version_key,
        );
        assert_eq!(revealed, Ok(()));
        assert_eq!(Weights::<Runtime>::get(second, 1), [(4, 32_768), (5, 65_535)]);
        assert_eq!(row(), []);

        let split = |parts: &[u16]| SubtensorModule::do_set_emission_split(NETUID, Some(parts.to_vec()));
        let shares = |rao| SubtensorModule::split_emission(NETUID, AlphaBalance(rao));
        assert_eq!(shares(100), [34, 33, 33].map(AlphaBalance));
        assert_eq!(split(&[65_535]), error(Error::InvalidValue));
        assert_eq!(split(&[1, 1, 1]), error(Error::InvalidValue));
        assert_eq!(split(&[32_768, 32_767, 0]), Ok(()));
        assert_eq!(shares(1_001).iter().map(|share| share.0).sum::<u64>(), 1_001);
        assert_eq!(shares(1_001)[2], AlphaBalance(0));
        assert_eq!(count(1), Ok(()));
        assert_eq!(Weights::<Runtime>::get(second, 1), []);
        assert_eq!(shares(100), [AlphaBalance(100)]);
    });
}

#[test]
fn the_pool_refuses_with_the_chains_numbers() {
    on_chain(|| {
        let refused = |uri: &str, call: Call<Runtime>| weights_guard::broken_rule(&key(uri), &call);
        let round = latest();
        let timelocked = |reveal_round| Call::commit_timelocked_weights {
            netuid: NETUID,
            commit: Ciphertext::default(),
            reveal_round,
            commit_reveal_version: 4,
        };
        let revealing = |salt: u16| {
            let Reveal { uids, values, salt, version_key } = reveal(salt);
            Call::reveal_weights { netuid: NETUID, uids, values, salt, version_key }
        };
        let committing = Call::commit_weights { netuid: NETUID, commit_hash: H256::zero() };
        let uneven = Call::batch_commit_weights { netuids: vec![], commit_hashes: vec![H256::zero()] };
        assert_eq!(refused("//Miner1", uneven), Some(CustomError::InputLengthsUnequal));
        assert_eq!(refused("//Miner1", committing.clone()), Some(CustomError::StakeAmountTooLow));
        assert_eq!(refused("//Owner", committing.clone()), None, "the owner needs no stake");
        assert_eq!(refused(VALIDATOR, timelocked(round - 1)), Some(CustomError::InvalidRevealRound));
        assert_eq!(refused(VALIDATOR, timelocked(round)), None, "the latest round is let through");
        assert_eq!(refused(VALIDATOR, revealing(1)), Some(CustomError::CommitNotFound));
        commit(1);
        assert_eq!(refused(VALIDATOR, revealing(1)), Some(CustomError::CommitBlockNotInRevealRange));
        assert_eq!(refused(VALIDATOR, revealing(2)), Some(CustomError::CommitNotFound));
        WeightsSetRateLimit::<Runtime>::insert(NETUID, 5);
        assert_eq!(refused(VALIDATOR, committing), Some(CustomError::RateLimitExceeded));
        blocks_until(20);
        assert_eq!(refused(VALIDATOR, revealing(1)), None);
    });
}

#[test]
fn pulses_follow_the_chains_clock_and_are_pruned() {
    on_chain(|| {
        let first = latest();
        let clock = Drand::clock();
        let expected =
            clock.latest(basilica_types::Timestamp(i64::try_from(START_MS).expect("fits") + 1_000));
        assert_eq!(Some(first), expected);
        let pulse = drand::Pulses::<Runtime>::get(first).expect("a pulse");
        let signature = RoundSignature::from_bytes(&pulse.signature).expect("a point");
        assert!(verify(&drand::development_key(), Round(first), &signature));
        assert_eq!(pulse.randomness.to_vec(), signature.randomness());
        let config = drand::BeaconConfig::<Runtime>::get();
        assert_eq!(
            config.public_key.to_vec(),
            BeaconSecret::from_seed(drand::BEACON_SEED).public().as_bytes()
        );

        // A jump of a day: the latest rounds, and the one that a commit waits for.
        let awaited = first + 1_000;
        assert_eq!(timelock(VALIDATOR, sealed(&payload(VALIDATOR, 1), awaited), awaited), Ok(()));
        let at = |seconds: u64| Drand::on_timestamp_set(START_MS + seconds * 1_000);
        at(86_400);
        let jumped = latest();
        assert_eq!(jumped, first + 86_399);
        assert!(drand::Pulses::<Runtime>::contains_key(awaited));
        assert!(drand::Pulses::<Runtime>::contains_key(jumped - 49));
        assert!(!drand::Pulses::<Runtime>::contains_key(jumped - 50));
        for second in 0..200 {
            at(86_400 + second);
        }
        let kept = drand::Pulses::<Runtime>::iter_keys().count();
        assert_eq!(kept, 129, "128 and the awaited one");
        assert_eq!(drand::OldestStoredRound::<Runtime>::get(), latest() - 127);
        let before = latest();
        at(10);
        assert_eq!(latest(), before, "time that goes back publishes nothing");
    });
}

#[test]
fn legacy_dates_hash_commits_by_block_and_follows_the_block_number() {
    on_chain(|| {
        marker::Profile::<Runtime>::put(crate::profile::Profile::Legacy);
        // Index = (block + 40) / 21: a new one begins at 2, 23, 44.
        blocks_until(22);
        let hash = commit(1);
        let stored = WeightCommits::<Runtime>::get(INDEX, key(VALIDATOR)).expect("a commit");
        assert_eq!(stored[0], (hash, 22, 23, 43));
        assert_eq!(try_reveal(VALIDATOR, NETUID, 1), error(Error::RevealTooEarly));
        block();
        assert_eq!(try_reveal(VALIDATOR, NETUID, 1), Ok(()));
        let round = latest() + 1;
        assert_eq!(timelock(VALIDATOR, sealed(&payload(VALIDATOR, 2), round), round), Ok(()));
        blocks_until(43);
        assert_ne!(row(), [(4, 65_535), (5, 65_535)]);
        block();
        assert_eq!(row(), [(4, 65_535), (5, 65_535)]);
    });
}

#[test]
fn timelocked_commitments_are_opened_by_the_chain_and_space_is_bounded() {
    use crate::runtime::commitment_data::Data;
    use crate::runtime::commitments::{self, CommitmentInfo, CommitmentOf, RevealedCommitments};
    on_chain(|| {
        let set = |uri: &str, fields: Vec<Data>| {
            let info = CommitmentInfo { fields: fields.try_into().expect("at most three") };
            Commitments::set_commitment(signed(uri), NETUID, info)
        };
        let round = latest() + 3;
        let locked = |plaintext: &[u8], reveal_round: u64| Data::TimelockEncrypted {
            encrypted: sealed(plaintext, reveal_round).to_vec().try_into().expect("fits"),
            reveal_round,
        };
        assert_eq!(
            set("//Nobody", vec![Data::None]),
            Err(commitments::Error::<Runtime>::AccountNotAllowedCommit.into())
        );
        let garbage = Data::TimelockEncrypted {
            encrypted: vec![1; 300].try_into().expect("fits"),
            reveal_round: round,
        };
        assert_eq!(set("//Miner2", vec![garbage]), Ok(()));
        let fields = vec![locked(b"first", round), Data::Raw2([1, 2]), locked(b"second", round + 5)];
        assert_eq!(set("//Miner1", fields), Ok(()));
        while latest() < round {
            block();
        }
        assert!(RevealedCommitments::<Runtime>::get(NETUID, key("//Miner1")).is_none());
        block();
        let opened_in = now();
        let revealed = RevealedCommitments::<Runtime>::get(NETUID, key("//Miner1")).expect("opened");
        assert_eq!(revealed, [(b"first".to_vec(), opened_in)]);
        let left = CommitmentOf::<Runtime>::get(NETUID, key("//Miner1")).expect("a commitment");
        assert_eq!(left.info.fields.len(), 2);
        assert!(CommitmentOf::<Runtime>::get(NETUID, key("//Miner2")).is_none(), "what does not open goes");
        while latest() < round + 5 {
            block();
        }
        block();
        let revealed = RevealedCommitments::<Runtime>::get(NETUID, key("//Miner1")).expect("opened");
        assert_eq!(revealed[1], (b"second".to_vec(), now()));
        assert_eq!(commitments::TimelockedIndex::<Runtime>::get().len(), 0);

        let big = || Data::BigRaw(vec![0; 512].try_into().expect("fits"));
        let mut room = 3_100;
        while room >= 1_024 {
            assert_eq!(set("//Validator2", vec![big(), big()]), Ok(()));
            room -= 1_024;
        }
        assert_eq!(
            set("//Validator2", vec![big()]),
            Err(commitments::Error::<Runtime>::SpaceLimitExceeded.into())
        );
        blocks_until(20);
        assert_eq!(set("//Validator2", vec![big()]), Ok(()), "a new epoch");
    });
}
