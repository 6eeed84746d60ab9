use basilica_ports::{Chain as _, ChainError, FailureClass, HotkeySigner, SubnetReads as _};
use basilica_system::OsEntropy;
use basilica_types::{BlockNumber, NetUid, Rao};
use basilica_wallet::WalletSigner;
use serde_json::json;
use std::sync::Arc;

use crate::devchain::{Devchain, SUBNET, hotkey, keypair};

fn signer(uri: &str) -> impl HotkeySigner {
    WalletSigner::new(keypair(uri), Arc::new(OsEntropy))
}

fn refused(result: Result<BlockNumber, ChainError>) -> (String, FailureClass) {
    match result {
        Err(ChainError::Preflight { rule, class }) => (rule, class),
        other => panic!("expected a refusal by our own check, got {other:?}"),
    }
}

#[tokio::test]
async fn a_hotkey_is_registered_at_the_price_and_only_once() {
    for profile in ["newest", "legacy"] {
        let devchain = Devchain::of(profile, json!({}));
        let chain = devchain.client("//Newcomer");
        let (payer, newcomer) = (signer("//Validator1Cold"), hotkey("//Newcomer"));
        let price = chain.registration_terms(SUBNET).await.unwrap().price;
        let low = chain.register(&payer, SUBNET, &newcomer, Rao(price.0 - 1)).await;
        let (rule, class) = refused(low);
        assert!(rule.contains(&format!("the price is {} rao", price.0)), "{profile}: {rule}");
        assert_eq!(class, FailureClass::Transient);
        // A hotkey of the development chain that owns nothing.
        let poor = chain.register(&signer("//Nobody"), SUBNET, &newcomer, Rao(price.0 * 2)).await;
        let (rule, class) = refused(poor);
        assert!(rule.ends_with("the coldkey can spend 0 rao; fund it"), "{profile}: {rule}");
        assert_eq!(class, FailureClass::Permanent);
        let block = chain.register(&payer, SUBNET, &newcomer, Rao(price.0 * 2)).await.unwrap();
        let metagraph = chain.metagraph(SUBNET).await.unwrap();
        let neuron = metagraph.neuron(&newcomer).unwrap();
        assert_eq!(neuron.coldkey.as_bytes(), payer.hotkey().as_bytes(), "{profile}");
        assert!(neuron.last_update <= block, "{profile}: {neuron:?}");
        let (rule, class) = refused(chain.register(&payer, SUBNET, &newcomer, Rao(u64::MAX)).await);
        assert!(rule.contains("registered on subnet 39 already"), "{profile}: {rule}");
        assert_eq!(class, FailureClass::Invalid);
        let nowhere = refused(chain.register(&payer, NetUid(40), &newcomer, Rao(u64::MAX)).await);
        assert!(nowhere.0.contains("subnet 40 does not exist"), "{profile}: {nowhere:?}");
    }
}
