//! What the client has no method for: any call and any answer, by the metadata of the chain at hand.

use std::sync::Arc;

use basilica_ports::HotkeySigner as _;
use basilica_system::OsEntropy;
use basilica_wallet::WalletSigner;
use subxt::OnlineClient;
use subxt::client::OnlineClientAtBlock;
use subxt::config::DefaultExtrinsicParamsBuilder;
use subxt::config::substrate::{AccountId32, MultiSignature, SubstrateConfig};
use subxt::dynamic::{self, Value};
use subxt::ext::scale_value::Composite;

use crate::devchain::{Devchain, hotkey, keypair};

/// A connection that knows nothing of this product.
pub(crate) struct Raw(OnlineClient<SubstrateConfig>);

impl Raw {
    pub(crate) async fn connect(devchain: &Devchain) -> Self {
        Self(OnlineClient::from_insecure_url(&devchain.url).await.unwrap())
    }

    /// The newest finalised block.
    pub(crate) async fn at(&self) -> OnlineClientAtBlock<SubstrateConfig> {
        self.0.at_current_block().await.unwrap()
    }

    /// Signs a call with the key of a development URI, and waits until it has succeeded in a final block.
    pub(crate) async fn submit(&self, uri: &str, call: (&str, &str), arguments: Vec<(&str, Value)>) {
        let at = self.at().await;
        let account = AccountId32(*hotkey(uri).as_bytes());
        let payload = dynamic::tx(call.0, call.1, Composite::named(arguments));
        let params = DefaultExtrinsicParamsBuilder::<SubstrateConfig>::new().build();
        let mut signable = at.transactions().create_signable(&payload, &account, params).await.unwrap();
        let signer = WalletSigner::new(keypair(uri), Arc::new(OsEntropy));
        let signature = signer.sign(&signable.signer_payload().unwrap());
        let signature = MultiSignature::Sr25519(*signature.as_bytes());
        let signed = signable.sign_with_account_and_signature(&account, &signature).unwrap();
        let included = signed.submit_and_watch().await.unwrap().wait_for_finalized_success().await;
        included.unwrap_or_else(|error| panic!("{}.{} of {uri}: {error}", call.0, call.1));
    }
}

pub(crate) fn number(number: impl Into<u128>) -> Value {
    Value::u128(number.into())
}

pub(crate) fn account(uri: &str) -> Value {
    Value::from_bytes(hotkey(uri).as_bytes())
}
