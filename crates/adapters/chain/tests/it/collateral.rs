//! Collateral as the chain keeps it and as the client reads it.

use basilica_ports::{
    Chain as _, Clock as _, Collateral, HotkeySigner, SubnetReads as _, WeightsCall, WeightsOrder,
};
use basilica_system::{OsEntropy, SystemClock};
use basilica_types::{MechanismId, Millis, Rao, Uid, Weight};
use basilica_wallet::WalletSigner;
use serde_json::json;
use std::sync::Arc;

use crate::devchain::{Devchain, SUBNET, hotkey, keypair, permitted, soon};
use crate::raw::{Raw, account, number};

/// 0.001 alpha, which a miner of these chains earns in an epoch.
const FLOOR: u64 = 1_000_000;

fn signer(uri: &str) -> impl HotkeySigner {
    WalletSigner::new(keypair(uri), Arc::new(OsEntropy))
}

#[tokio::test]
async fn a_registrations_share_is_locked_and_read_by_hotkey() {
    let devchain = Devchain::of("newest", json!({}));
    let (chain, raw) = (devchain.client("//Newcomer"), Raw::connect(&devchain).await);
    assert_eq!(chain.registration_terms(SUBNET).await.unwrap().collateral_share, Some(0));
    assert!(chain.collateral(SUBNET).await.unwrap().unwrap().is_empty());
    let share = vec![("netuid", number(39u16)), ("lock_share", number(32_768u16))];
    raw.submit("//OwnerCold", ("AdminUtils", "sudo_set_collateral_lock_share"), share).await;
    let terms = chain.registration_terms(SUBNET).await.unwrap();
    assert_eq!(terms.collateral_share, Some(32_768));
    let newcomer = hotkey("//Newcomer");
    chain.register(&signer("//Validator1Cold"), SUBNET, &newcomer, Rao(terms.price.0 * 2)).await.unwrap();
    let collateral = chain.collateral(SUBNET).await.unwrap().unwrap();
    let Collateral { locked, minimum, earned } = collateral[&newcomer];
    // Half of the price at one TAO for an alpha, less what the market takes; the price decays until the block.
    assert!(locked.0 > terms.price.0 * 45 / 100 && locked.0 <= terms.price.0 / 2, "{locked:?} of {terms:?}");
    assert_eq!((minimum, earned, collateral.len()), (Rao(0), Rao(0), 1));
}

#[tokio::test]
async fn what_a_miner_earns_fills_its_floor() {
    let devchain = Devchain::of("newest", json!({}));
    let (chain, raw) = (devchain.client("//Validator1"), Raw::connect(&devchain).await);
    let floor =
        vec![("netuid", number(39u16)), ("hotkey", account("//Miner1")), ("min_locked", number(FLOOR))];
    raw.submit("//Miner1Cold", ("SubtensorModule", "set_min_collateral"), floor).await;
    let collateral = chain.collateral(SUBNET).await.unwrap().unwrap();
    let expected = Collateral { locked: Rao(0), minimum: Rao(FLOOR), earned: Rao(0) };
    assert_eq!(collateral.get(&hotkey("//Miner1")), Some(&expected));

    permitted(&chain).await;
    let call = WeightsCall::Set { weights: vec![(Uid(4), Weight(u16::MAX))], version_key: 0 };
    let order = WeightsOrder { netuid: SUBNET, mechanism: MechanismId(0), call };
    let prepared = chain.prepare_weights(&order).await.unwrap();
    chain.conclude_weights(&prepared).await.unwrap();
    soon("the floor is filled", async {
        loop {
            let of_miner = chain.collateral(SUBNET).await.unwrap().unwrap()[&hotkey("//Miner1")];
            assert!(of_miner.locked <= of_miner.minimum, "{of_miner:?}");
            if of_miner.locked == of_miner.minimum {
                assert!(of_miner.earned >= of_miner.locked, "{of_miner:?}");
                return;
            }
            SystemClock::new().sleep(Millis(100)).await;
        }
    })
    .await;

    // A top-up of stake that is free already, by the coldkey.
    let top_up = vec![
        ("netuid", number(39u16)),
        ("hotkey", account("//Validator1")),
        ("alpha", number(5_000_000_000u64)),
        ("limit_price", number(0u64)),
    ];
    raw.submit("//Validator1Cold", ("SubtensorModule", "add_collateral"), top_up).await;
    let collateral = chain.collateral(SUBNET).await.unwrap().unwrap();
    let of_validator = collateral[&hotkey("//Validator1")];
    assert!(of_validator.locked > Rao(0) && of_validator.locked <= Rao(5_000_000_000), "{of_validator:?}");
    assert_eq!(of_validator.minimum, Rao(0));
}

#[tokio::test]
async fn a_runtime_without_collateral_has_none_to_read() {
    let devchain = Devchain::of("legacy", json!({}));
    let chain = devchain.client("//Validator1");
    assert_eq!(chain.collateral(SUBNET).await.unwrap(), None);
    assert_eq!(chain.registration_terms(SUBNET).await.unwrap().collateral_share, None);
}
