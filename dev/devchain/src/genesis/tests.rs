//! Which settings are refused, and what the others make.

use sp_runtime::DispatchError;

use super::*;
use crate::runtime::{RuntimeOrigin, System, subtensor};

fn refusal(text: &str) -> String {
    match Settings::parse(text) {
        Err(error) => error.to_string(),
        Ok(settings) => settings.resolve().expect_err("must be refused").to_string(),
    }
}

#[test]
fn unusable_settings_name_what_is_wrong() {
    for (text, part) in [
        (r#"{"netuid": 0}"#, "netuid = 0"),
        (r#"{"netuid": 4096}"#, "netuid = 4096"),
        (r#"{"tempo": 1}"#, "tempo = 1"),
        (r#"{"block_time_ms": 1}"#, "block_time_ms = 1"),
        (r#"{"profile": "old"}"#, "unknown variant `old`"),
        (r#"{"drand_period_s": 0}"#, "drand_period_s = 0"),
        (r#"{"temp": 1}"#, "unknown field `temp`"),
        (r#"{"owner": {"hotkey": "Alice"}}"#, "\"Alice\" of owner hotkey"),
        (r#"{"owner": {"hotkey": "//Miner1"}}"#, "\"//Miner1\" of miner 1 is that of owner too"),
        (r#"{"owner": {"hotkey": "//Neuron9"}, "neurons": 12}"#, "of neuron 9 is that of owner too"),
        (r#"{"miners": [{"hotkey": "//A", "coldkey": "x"}]}"#, "\"x\" of miner 1 coldkey"),
        (r#"{"balances": [{"account": "//Bob"}]}"#, "missing field `rao`"),
        ("[]", "expected a map"),
        (r#"{"min_allowed_weights": 0}"#, "min_allowed_weights = 0"),
        (r#"{"min_allowed_weights": 257}"#, "min_allowed_weights = 257"),
        (r#"{"neurons": 3}"#, "neurons = 3"),
        (
            r#"{"validators": [{"hotkey": "//V", "stake_rao": 18446744073709551615},
                               {"hotkey": "//W", "stake_rao": 18446744073709551615}]}"#,
            "sum of stake_rao",
        ),
        (r#"{"balances": [{"account": "//Bob", "rao": 18446744073709551615}]}"#, "balances[0].rao"),
        (
            r#"{"balances": [{"account": "//Bob", "rao": 15000000000000000},
                             {"account": "//Eve", "rao": 15000000000000000}]}"#,
            "balances[1].rao",
        ),
        (
            r#"{"balances": [{"account": "//Bob", "rao": 500}, {"account": "//Bob", "rao": 500}]}"#,
            "balances[1].account = //Bob",
        ),
        (r#"{"balances": [{"account": "//Eve", "rao": 499}]}"#, "balances[0].rao = 499"),
    ] {
        let message = refusal(text);
        assert!(message.contains(part), "{text} says {message:?}, not {part:?}");
    }
}

#[test]
fn an_ss58_hotkey_needs_its_coldkey_named() {
    let address = "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY";
    let alone = format!(r#"{{"miners": [{{"hotkey": "{address}"}}]}}"#);
    assert!(refusal(&alone).contains("miner 1 coldkey"));
    let elsewhere = AccountId::from_ss58check(address)
        .expect("an address")
        .to_ss58check_with_version(Ss58AddressFormat::custom(0));
    assert!(refusal(&format!(r#"{{"sudo": "{elsewhere}"}}"#)).contains("prefix 42"));
    let named = format!(r#"{{"miners": [{{"hotkey": "{address}", "coldkey": "//Cold"}}]}}"#);
    let settings: Settings = serde_json::from_str(&named).expect("parses");
    let genesis = settings.resolve().expect("resolves");
    assert_eq!(genesis.subnet.neurons.last().map(|n| n.hotkey.to_ss58check()), Some(address.to_owned()));
}

#[test]
fn a_pair_is_that_of_its_uri() {
    for uri in ["//Alice", "//Alice/soft//1", "//Alice///password", &format!("{DEV_PHRASE}//Bob")] {
        let expected = sr25519::Pair::from_string(uri, None).expect("a secret uri").public();
        assert_eq!(dev_pair(uri).expect("a secret uri").public(), expected, "{uri}");
    }
    assert!(dev_pair("no phrase").is_err());
}

#[test]
fn a_subnet_is_filled_up_to_the_number_asked_for() {
    let genesis = Settings { neurons: 256, ..Settings::default() }.resolve().expect("resolves");
    assert_eq!((genesis.subnet.neurons.len(), genesis.unlisted), (256, 250));
    let last = dev_pair("//Neuron255").expect("a dev uri").public().0;
    assert_eq!(genesis.subnet.neurons[255].hotkey, AccountId::new(last));
    assert!(refusal(r#"{"neurons": 257}"#).contains("at most 256"));
}

#[test]
fn an_account_owns_what_the_file_says_and_the_extremes_make_a_chain() {
    let text = r#"{"balances": [{"account": "//Miner1Cold", "rao": 500}, {"account": "//Miner2Cold", "rao": 0},
                                {"account": "//Rich", "rao": 19960000000000000}],
                   "validators": [{"hotkey": "//V", "stake_rao": 21000000000000000}]}"#;
    let genesis = Settings::parse(text).expect("parses").resolve().expect("resolves");
    let owns = |uri| genesis.balance_of(&AccountId::new(dev_pair(uri).expect("a dev uri").public().0));
    assert_eq!(["//Miner1Cold", "//Miner2Cold", "//OwnerCold"].map(owns), [500, 0, DEV_BALANCE]);
    let mut state = genesis.state().expect("builds");
    let mut parent = (executor::hash_of(&crate::chain::genesis_header(&state)), 0);
    for number in 1..=40 {
        let built = executor::build_block(&state, parent, u64::from(number) * 250, &[]).expect("builds");
        (state, parent) = (built.state, (executor::hash_of(&built.header), number));
    }
}

#[test]
fn every_setting_shows_in_the_genesis_hash() {
    let hash = |settings: &Settings| {
        let state = settings.resolve().expect("resolves").state().expect("builds");
        executor::hash_of(&crate::chain::genesis_header(&state))
    };
    let default = hash(&Settings::default());
    assert_eq!(default, hash(&Settings::default()), "the same settings make the same chain");
    assert_ne!(default, hash(&Settings { block_time_ms: 500, ..Settings::default() }));
    assert_ne!(default, hash(&Settings { profile: Profile::Legacy, ..Settings::default() }));
    assert_ne!(default, hash(&Settings { tempo: 21, ..Settings::default() }));
    assert_ne!(default, hash(&Settings { neurons: 7, ..Settings::default() }));
    assert_ne!(default, hash(&Settings { miners: Vec::new(), ..Settings::default() }));
}

/// Blocks past the first epoch.
const SOME_BLOCKS: u32 = 25;

fn after_some_blocks(settings: &Settings) -> State {
    let mut state = settings.resolve().expect("resolves").state().expect("builds");
    let mut parent = (executor::hash_of(&crate::chain::genesis_header(&state)), 0);
    for number in 1..=SOME_BLOCKS {
        let built = executor::build_block(&state, parent, u64::from(number) * 250, &[]).expect("builds");
        (state, parent) = (built.state, (executor::hash_of(&built.header), number));
    }
    state
}

#[test]
fn empty_subnets_take_up_every_number_below_and_nothing_else() {
    for profile in [Profile::Newest, Profile::Legacy] {
        let alone = Settings { profile, empty_subnets: Some(false), ..Settings::default() };
        let alone_at_first = alone.resolve().expect("resolves").state().expect("builds");
        let with_empty = Settings { profile, ..Settings::default() };
        let at_first = with_empty.resolve().expect("resolves").state().expect("builds");
        let netuids = |state| executor::read(state, SubtensorModule::netuids).expect("reads");
        assert_eq!(netuids(&at_first), (0..=39).map(NetUid).collect::<Vec<_>>());
        assert_eq!(netuids(&alone_at_first), [NetUid(0), NetUid(39)]);
        let count = |state| executor::read(state, subtensor::TotalNetworks::<Runtime>::get).expect("reads");
        assert_eq!([count(&at_first), count(&alone_at_first)], [40, 2]);

        // An epoch later all else is as without them, but for what tells one chain's blocks from another's.
        let mut later = after_some_blocks(&with_empty);
        let own = executor::changes(&alone_at_first, &at_first);
        assert_eq!(own.len(), 38 * 4 + 1, "four values each, and the number of subnets");
        for (key, value) in &own {
            assert_eq!(later.remove(key), *value, "nothing of them changes");
        }
        let mut expected = after_some_blocks(&alone);
        expected.retain(|key, _| !own.iter().any(|(of_empty, _)| of_empty == key));
        let system = sp_io::hashing::twox_128(b"System");
        for state in [&mut later, &mut expected] {
            state.retain(|key, _| !key.starts_with(&system));
        }
        assert!(later == expected, "{profile}: {:?}", executor::changes(&expected, &later));
    }
}

#[test]
fn nobody_gets_into_an_empty_subnet_and_a_new_one_comes_after_them() {
    let state = Settings::default().resolve().expect("resolves").state().expect("builds");
    let account = |uri| AccountId::new(dev_pair(uri).expect("a dev uri").public().0);
    let (bob, hotkey, empty) =
        (|| RuntimeOrigin::signed(account("//Bob")), account("//Validator1"), NetUid(7));
    let refused = |error: subtensor::Error<Runtime>| Err::<(), _>(DispatchError::from(error));
    let outcome = executor::read(&state, || {
        System::set_block_number(50);
        let staked = SubtensorModule::add_stake(bob(), hotkey.clone(), empty, TaoBalance(RAO));
        let registered = SubtensorModule::burned_register(bob(), empty, account("//BobHot"));
        let begun = SubtensorModule::start_call(bob(), empty);
        let next = SubtensorModule::next_epoch_start(empty);
        let bought = SubtensorModule::register_network(bob(), account("//BobHot"));
        (staked, registered, begun, next, bought, SubtensorModule::netuids().pop())
    });
    let expected = (
        refused(subtensor::Error::SubtokenDisabled),
        refused(subtensor::Error::SubNetRegistrationDisabled),
        refused(subtensor::Error::NotSubnetOwner),
        None,
        Ok(()),
        Some(NetUid(40)),
    );
    assert_eq!(outcome.expect("does not panic"), expected);
}

#[test]
fn numbers_are_filled_up_to_as_many_subnets_as_the_public_chain_has_unless_asked_for() {
    let made = |text: &str| {
        let state =
            Settings::parse(text).expect("parses").resolve().expect("resolves").state().expect("builds");
        executor::read(&state, || {
            (SubtensorModule::netuids().len(), subtensor::SubnetLimit::<Runtime>::get())
        })
        .expect("reads")
    };
    assert_eq!(made(r#"{"netuid": 1}"#), (2, 128));
    assert_eq!(made(r#"{"netuid": 128}"#), (129, 191), "there is room for more");
    assert_eq!(made(r#"{"netuid": 129}"#), (2, 128));
    assert_eq!(made(r#"{"netuid": 129, "empty_subnets": true}"#), (130, 192));
    assert_eq!(made(r#"{"empty_subnets": false}"#), (2, 128));
}
