//! Our own client, which must find on the chain what another one tells of it.

use std::sync::Arc;

use basilica_chain::{ChainOptions, SubtensorChain};
use basilica_ports::{Chain as _, ChainError, OpenCommitForm, SubnetReads as _};
use basilica_system::{OsEntropy, SystemClock};
use basilica_testkit::{Devchain, keypair};
use basilica_types::{Coldkey, Digest, Hotkey, MechanismId, NetUid, Uid};
use basilica_wallet::WalletSigner;
use serde_json::{Value, json};

const SUBNET: NetUid = NetUid(39);
const MAIN: MechanismId = MechanismId(0);
/// twox128 of `System` and of `Account`.
const ACCOUNTS: &str = "0x26aa394eea5630e07c48ae0c9558cef7b99d880ec681799c0cf30e8886371da9";
const RAO: u128 = 1_000_000_000;
/// Where the free balance lies in an `AccountInfo`: after four numbers of four bytes.
const FREE: usize = 16;

/// Reads the chain for the tests of other clients.
pub(super) struct Witness<'a> {
    chain: SubtensorChain,
    devchain: &'a Devchain,
}

fn text<'a>(fact: &'a Value, name: &str) -> Result<&'a str, String> {
    fact[name].as_str().ok_or_else(|| format!("no {name}"))
}

fn number(fact: &Value, name: &str) -> Result<u64, String> {
    fact[name].as_u64().ok_or_else(|| format!("no {name}"))
}

fn hotkey(fact: &Value) -> Result<Hotkey, String> {
    text(fact, "hotkey")?.parse().map_err(|_| "no account in hotkey".to_owned())
}

fn coldkey(fact: &Value) -> Result<Coldkey, String> {
    text(fact, "coldkey")?.parse().map_err(|_| "no account in coldkey".to_owned())
}

fn uid(fact: &Value) -> Result<Uid, String> {
    u16::try_from(number(fact, "uid")?).map(Uid).map_err(|_| "no uid".to_owned())
}

fn unread(error: ChainError) -> String {
    format!("our client cannot read it: {error:?}")
}

fn equal<T: PartialEq + std::fmt::Debug>(found: T, told: T) -> Result<(), String> {
    if found == told { Ok(()) } else { Err(format!("our client finds {found:?}")) }
}

fn within(found: u64, fact: &Value) -> Result<(), String> {
    let at_least = number(fact, "at_least")?;
    let below = fact["below"].as_u64().unwrap_or(u64::MAX);
    if (at_least..below).contains(&found) { Ok(()) } else { Err(format!("our client finds {found}")) }
}

impl<'a> Witness<'a> {
    /// On this chain, as the validator that the scripts set weights with.
    pub(super) fn of(devchain: &'a Devchain) -> Self {
        let signer = Arc::new(WalletSigner::new(keypair("//Validator1"), Arc::new(OsEntropy)));
        let options = ChainOptions::new(vec![devchain.url.parse().expect("a URL")]);
        let clock = Arc::new(SystemClock::new());
        let chain = SubtensorChain::new(options, Some(signer), clock, Arc::new(OsEntropy))
            .expect("the options are right");
        Self { chain, devchain }
    }

    /// Whether it is so, or what is so instead.
    pub(super) async fn see(&self, fact: &Value) -> Result<(), String> {
        match text(fact, "fact")? {
            "chain" => self.chain_is(fact).await,
            "subnet" => {
                let found = self.chain.metagraph(SUBNET).await.map_err(unread)?.neurons.len();
                equal(Some(found), usize::try_from(number(fact, "neurons")?).ok())
            }
            "neuron" => self.neuron(fact).await,
            "stranger" => {
                let metagraph = self.chain.metagraph(SUBNET).await.map_err(unread)?;
                equal(metagraph.neuron(&hotkey(fact)?).map(|neuron| neuron.uid), None)
            }
            "hyperparameter" => {
                let found = self.chain.hyperparameters(SUBNET).await.map_err(unread)?;
                equal(found.number(text(fact, "name")?), Some(number(fact, "value")?.into()))
            }
            "stake" => {
                let read = self.chain.stake(SUBNET, &hotkey(fact)?, &coldkey(fact)?).await;
                within(read.map_err(unread)?.ok_or("our client finds no stake")?.0, fact)
            }
            "worth" => {
                let read = self.chain.stake(SUBNET, &hotkey(fact)?, &coldkey(fact)?).await;
                let alpha = read.map_err(unread)?.ok_or("our client finds no stake")?.0;
                within(self.worth(alpha)?, fact)
            }
            "weights" => self.weights(fact).await,
            "hash" => {
                let bytes = hex::decode(text(fact, "digest")?).map_err(|_| "no digest")?;
                let bytes = <[u8; 32]>::try_from(bytes).map_err(|_| "no digest")?;
                self.commit(OpenCommitForm::Hash(Digest::from_bytes(bytes))).await
            }
            "timelock" => self.timelock(number(fact, "round")?).await,
            "balance" => equal(self.balance(text(fact, "address")?)?, number(fact, "rao")?),
            "state_call" => {
                let answer = self.devchain.ask("state_call", &json!([text(fact, "method")?, "0x"]));
                equal(first_number(&answer, 0)?, number(fact, "u64")?)
            }
            other => Err(format!("nobody knows how to look up a {other}")),
        }
    }

    async fn chain_is(&self, fact: &Value) -> Result<(), String> {
        let identity = self.chain.identity().await.map_err(unread)?;
        if let Some(version) = fact["spec_version"].as_u64() {
            equal(u64::from(identity.spec_version), version)?;
        }
        let head = self.chain.head().await.map_err(unread)?;
        if head.0 >= number(fact, "head")? {
            Ok(())
        } else {
            Err(format!("our client is at block {}", head.0))
        }
    }

    async fn neuron(&self, fact: &Value) -> Result<(), String> {
        let metagraph = self.chain.metagraph(SUBNET).await.map_err(unread)?;
        let found = metagraph.neuron(&hotkey(fact)?).ok_or("our client finds no such neuron")?;
        equal(found.uid, uid(fact)?)?;
        equal(&found.coldkey, &coldkey(fact)?)?;
        if let Some(axon) = fact["axon"].as_str() {
            equal(found.axon.map(|axon| axon.address.to_string()).as_deref(), Some(axon))?;
        }
        let least = fact["stake_at_least"].as_u64().unwrap_or(0);
        if found.stake.0 >= least {
            Ok(())
        } else {
            Err(format!("our client finds the stake {}", found.stake.0))
        }
    }

    async fn weights(&self, fact: &Value) -> Result<(), String> {
        let metagraph = self.chain.metagraph(SUBNET).await.map_err(unread)?;
        let uid = uid(fact)?;
        let neuron = metagraph.neurons.iter().find(|neuron| neuron.uid == uid);
        let hotkey = neuron.ok_or("our client finds no such uid")?.hotkey;
        let read = self.chain.weights_of(SUBNET, MAIN, &hotkey).await.map_err(unread)?;
        let found: Vec<_> = read
            .1
            .ok_or("our client finds no such hotkey")?
            .iter()
            .map(|(uid, weight)| json!([uid.0, weight.0]))
            .collect();
        equal(&Value::Array(found), &fact["row"])
    }

    async fn open_commits(&self) -> Result<Vec<OpenCommitForm>, String> {
        let rules = self.chain.weight_rules(SUBNET, MAIN).await.map_err(unread)?;
        Ok(rules.open_commits.iter().map(|commit| commit.form).collect())
    }

    async fn commit(&self, form: OpenCommitForm) -> Result<(), String> {
        equal(self.open_commits().await?, vec![form])
    }

    async fn timelock(&self, told: u64) -> Result<(), String> {
        let rounds = self.open_commits().await?.into_iter().filter_map(|form| match form {
            OpenCommitForm::Timelocked { round, .. } => Some(round),
            OpenCommitForm::Hash(_) => None,
        });
        equal(rounds.collect(), vec![told])
    }

    /// What alpha would cost in rao at the subnet's price, of which our client reads none.
    fn worth(&self, alpha: u64) -> Result<u64, String> {
        let netuid = format!("0x{}", hex::encode(SUBNET.0.to_le_bytes()));
        let price = self.devchain.ask("state_call", &json!(["SwapRuntimeApi_current_alpha_price", netuid]));
        let worth = u128::from(alpha) * u128::from(first_number(&price, 0)?) / RAO;
        u64::try_from(worth).map_err(|_| "no amount".to_owned())
    }

    /// The free balance as storage has it; our client reads none, because no server of ours needs any.
    fn balance(&self, address: &str) -> Result<u64, String> {
        let account: Coldkey = address.parse().map_err(|_| "no account in address".to_owned())?;
        let keys = self.devchain.ask("state_getKeysPaged", &json!([ACCOUNTS, 1000]));
        let ending = hex::encode(account.as_bytes());
        let keys = keys.as_array().ok_or("no storage keys")?;
        let key = keys.iter().find(|key| key.as_str().is_some_and(|key| key.ends_with(&ending)));
        match key {
            None => Ok(0),
            Some(key) => first_number(&self.devchain.ask("state_getStorage", &json!([key])), FREE),
        }
    }
}

/// A `u64` of SCALE bytes in hex.
fn first_number(answer: &Value, at: usize) -> Result<u64, String> {
    let digits = answer.as_str().and_then(|text| text.strip_prefix("0x")).ok_or("no bytes")?;
    let bytes = hex::decode(digits).map_err(|e| e.to_string())?;
    let bytes =
        bytes.get(at..at + 8).and_then(|bytes| <[u8; 8]>::try_from(bytes).ok()).ok_or("too few bytes")?;
    Ok(u64::from_le_bytes(bytes))
}
