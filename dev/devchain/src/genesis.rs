//! The settings a chain begins with: a JSON file or the defaults, checked and turned into the first state.
//!
//! A key is an SS58 address or a development URI such as `//Validator1`, whose secret everybody knows.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr as _;
use std::sync::LazyLock;

use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sp_core::crypto::{DEV_PHRASE, Pair as _, SecretUri, Ss58AddressFormat, Ss58Codec as _};
use sp_core::sr25519;
use sp_runtime::BuildStorage as _;

use crate::executor::{self, State};
use crate::profile::Profile;
use crate::runtime::newtypes::{AlphaBalance, NetUid, TaoBalance};
use crate::runtime::subtensor::genesis::{GenesisNeuron, GenesisSubnet};
use crate::runtime::{
    AccountId, Drand, EXISTENTIAL_DEPOSIT, MevShield, Runtime, RuntimeGenesisConfig, SubtensorModule, marker,
};

const RAO: u64 = 1_000_000_000;
/// What every account that the settings name owns at first, in rao: 10,000 tokens.
const DEV_BALANCE: u64 = 10_000 * RAO;
/// What the sudo account owns at first, in rao.
const SUDO_BALANCE: u64 = 1_000_000 * RAO;
/// Most bytes of a genesis file.
const GENESIS_BYTES: u64 = 1024 * 1024;
/// The largest netuid below which there are empty subnets if nothing else is said: as many subnets as the public chain has.
const MOST_FILLED: u16 = 128;
/// Neurons a subnet holds.
const MAX_NEURONS: usize = 256;
/// The prefix of the chain's addresses.
const SS58_PREFIX: u16 = 42;
/// The most that all accounts own at first, in rao, and the most alpha staked at first: 21 million, as many as the public
/// chain will ever make of each. Sums of amounts, and what is created later, stay far below the end of their numbers.
const MAX_SUPPLY: u64 = 21_000_000 * RAO;

/// Why settings cannot begin a chain.
#[derive(Debug, thiserror::Error)]
pub enum GenesisError {
    /// The file cannot be read.
    #[error("cannot read the genesis file {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// The file is not what it should be.
    #[error("the genesis file {path} is not valid")]
    Parse {
        /// The file.
        path: PathBuf,
        /// Where and why.
        #[source]
        source: serde_json::Error,
    },
    /// A value is out of its range.
    #[error("genesis value {field} = {value} is not allowed: {rule}")]
    Value {
        /// Which, with its place in a list: `balances[1].rao`.
        field: String,
        /// What it is.
        value: String,
        /// What it must be.
        rule: &'static str,
    },
    /// A key is neither an SS58 address nor a development URI.
    #[error(
        "genesis key {key:?} of {role} is neither an SS58 address of prefix 42 nor a development URI like //Alice"
    )]
    Key {
        /// Whose.
        role: String,
        /// What was given.
        key: String,
    },
    /// Two neurons share a hotkey.
    #[error("genesis hotkey {key:?} of {role} is that of {other} too; each neuron has its own")]
    DuplicateHotkey {
        /// As it was given to the second.
        key: String,
        /// The second.
        role: String,
        /// The first.
        other: String,
    },
    /// The runtime refused the settings.
    #[error("the runtime cannot build the first state")]
    Build(#[source] executor::Panicked),
    /// The runtime's own part of the first state cannot be built.
    #[error("the runtime cannot build its storage: {0}")]
    Storage(String),
}

/// One neuron of the settings.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct NeuronSettings {
    /// SS58 address or development URI.
    pub hotkey: String,
    /// SS58 address or development URI; `{hotkey}Cold` if left out and the hotkey is a URI.
    #[serde(default)]
    pub coldkey: Option<String>,
    /// Alpha staked on it, in rao.
    #[serde(default)]
    pub stake_rao: u64,
}

/// An account with a first balance.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct BalanceSettings {
    /// SS58 address or development URI.
    pub account: String,
    /// Rao: 0, or at least the existential deposit of 500.
    pub rao: u64,
}

/// All settings of a new chain. Times are in blocks where no unit is said.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// The subnet's number, 1 to 4095.
    pub netuid: u16,
    /// Whether the numbers between the root network and the subnet are those of empty subnets, as on the public chain,
    /// where no number is left out. If not said, up to netuid 128; each makes a block a little slower.
    pub empty_subnets: Option<bool>,
    /// Milliseconds between blocks, 10 to 60,000.
    pub block_time_ms: u64,
    /// Blocks between epochs, at least 2.
    pub tempo: u16,
    /// Which generation of the public chain this one looks like: `newest` or `legacy`.
    pub profile: Profile,
    /// The sudo account.
    pub sudo: String,
    /// The subnet's owner, uid 0.
    pub owner: NeuronSettings,
    /// Validators, uids from 1.
    pub validators: Vec<NeuronSettings>,
    /// Miners, uids after the validators'. They have no endpoint yet.
    pub miners: Vec<NeuronSettings>,
    /// Neurons in all, at least as many as are named: further miners `//Neuron{uid}` come after those until there are so
    /// many. None if 0.
    pub neurons: u16,
    /// Blocks between two settings of weights.
    pub weights_rate_limit: u64,
    /// Blocks between two changes of an endpoint.
    pub serving_rate_limit: u64,
    /// Whether weights must be committed first.
    pub commit_reveal: bool,
    /// Permits per epoch.
    pub max_allowed_validators: u16,
    /// Fewest weights of one setting, 1 to 256.
    pub min_allowed_weights: u16,
    /// Blocks during which a new neuron cannot be replaced.
    pub immunity_period: u16,
    /// Least stake for a permit and for setting weights, in rao.
    pub stake_threshold_rao: u64,
    /// Price of registration, in rao.
    pub burn_rao: u64,
    /// Alpha created per block, in rao.
    pub emission_rao_per_block: u64,
    /// Seconds between two rounds of the randomness beacon, at least 1.
    pub drand_period_s: u32,
    /// What accounts own, each named once: further ones, or those above in place of what they own by default. In all at
    /// most 21 million tokens.
    pub balances: Vec<BalanceSettings>,
}

/// A setting that is not the same in two chains.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// Which.
    pub field: String,
    /// Its values there and here in short, where they are.
    pub values: Option<(String, String)>,
}

impl fmt::Display for Difference {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.values {
            Some((there, here)) => write!(out, "{} is {there} there and {here} here", self.field),
            None => write!(out, "{} differ", self.field),
        }
    }
}

fn dev_neuron(uri: &str, stake_rao: u64) -> NeuronSettings {
    NeuronSettings { hotkey: uri.to_owned(), coldkey: None, stake_rao }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            netuid: 39,
            empty_subnets: None,
            block_time_ms: 250,
            tempo: 20,
            profile: Profile::Newest,
            sudo: "//Alice".to_owned(),
            owner: dev_neuron("//Owner", 0),
            validators: vec![
                dev_neuron("//Validator1", 100_000 * RAO),
                dev_neuron("//Validator2", 50_000 * RAO),
                dev_neuron("//Validator3", 25_000 * RAO),
            ],
            miners: vec![dev_neuron("//Miner1", 0), dev_neuron("//Miner2", 0)],
            neurons: 0,
            weights_rate_limit: 10,
            serving_rate_limit: 4,
            commit_reveal: false,
            max_allowed_validators: 64,
            min_allowed_weights: 1,
            immunity_period: 4_096,
            stake_threshold_rao: 1_000 * RAO,
            burn_rao: RAO / 10,
            emission_rao_per_block: RAO / 1_000,
            // As the public beacon: clients that have that one built in name rounds that lie ahead here too.
            drand_period_s: 3,
            balances: ["//Bob", "//Charlie", "//Dave", "//Eve"]
                .map(|account| BalanceSettings { account: account.to_owned(), rao: DEV_BALANCE })
                .to_vec(),
        }
    }
}

/// A key with the name it was given by, for the list printed at the start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedAccount {
    /// Its part: `validator 1 hotkey`.
    pub role: String,
    /// The development URI, if its secret is known.
    pub uri: Option<String>,
    /// The account.
    pub account: AccountId,
}

impl NamedAccount {
    /// The SS58 address.
    #[must_use]
    pub fn address(&self) -> String {
        self.account.to_ss58check()
    }
}

/// Checked settings.
#[derive(Debug, Clone)]
pub struct Genesis {
    /// What it was made of.
    pub settings: Settings,
    /// The subnet.
    pub subnet: GenesisSubnet<AccountId>,
    /// Milliseconds between blocks.
    pub block_time_ms: u64,
    /// Which generation of the public chain this one looks like.
    pub profile: Profile,
    /// Every account that the settings name.
    pub accounts: Vec<NamedAccount>,
    /// Neurons that fill the subnet and are not among the accounts.
    pub unlisted: usize,
    /// Seconds between two rounds of the randomness beacon.
    pub drand_period_s: u32,
    sudo: AccountId,
    balances: Vec<(AccountId, u64)>,
}

/// The pair of a development URI.
///
/// # Errors
/// It is no such URI.
pub fn dev_pair(uri: &str) -> Result<sr25519::Pair, GenesisError> {
    pair(uri).ok_or_else(|| GenesisError::Key { role: "a development key".to_owned(), key: uri.to_owned() })
}

/// The pair of a secret URI. The root of those that name no phrase is stretched from its phrase only once: that takes
/// longer than all else of a small chain's start.
fn pair(uri: &str) -> Option<sr25519::Pair> {
    static ROOT: LazyLock<Option<sr25519::Pair>> =
        LazyLock::new(|| sr25519::Pair::from_phrase(DEV_PHRASE, None).ok().map(|(pair, _)| pair));
    let secret = SecretUri::from_str(uri).ok()?;
    if secret.password.is_some() || !uri.starts_with('/') {
        return sr25519::Pair::from_string(uri, None).ok();
    }
    ROOT.as_ref()?.derive(secret.junctions.into_iter(), None).ok().map(|(pair, _)| pair)
}

fn account(role: &str, key: &str) -> Result<NamedAccount, GenesisError> {
    let refused = || GenesisError::Key { role: role.to_owned(), key: key.to_owned() };
    let (uri, account) = if key.starts_with("//") {
        let pair = pair(key).ok_or_else(refused)?;
        (Some(key.to_owned()), AccountId::new(pair.public().0))
    } else {
        let (account, format) = AccountId::from_ss58check_with_version(key).map_err(|_| refused())?;
        if format != Ss58AddressFormat::custom(SS58_PREFIX) {
            return Err(refused());
        }
        (None, account)
    };
    Ok(NamedAccount { role: role.to_owned(), uri, account })
}

/// The text of a genesis file, of at most [`GENESIS_BYTES`].
pub(crate) fn read_bounded(path: &Path) -> std::io::Result<String> {
    let bytes = basilica_console::read_at_most(std::fs::File::open(path)?, GENESIS_BYTES)?;
    String::from_utf8(bytes).map_err(std::io::Error::other)
}

impl Settings {
    /// Reads a genesis file. What it leaves out has the default.
    ///
    /// # Errors
    /// The file cannot be read, or is not JSON with the fields of [`Settings`].
    pub fn read(path: &Path) -> Result<Self, GenesisError> {
        let text =
            read_bounded(path).map_err(|source| GenesisError::Read { path: path.to_owned(), source })?;
        Self::parse(&text).map_err(|source| GenesisError::Parse { path: path.to_owned(), source })
    }

    fn parse(text: &str) -> Result<Self, serde_json::Error> {
        // A struct would take an array of its fields too, and an empty one would be all defaults.
        serde_json::from_str::<HashMap<String, IgnoredAny>>(text)?;
        serde_json::from_str(text)
    }

    /// All settings, defaults included, as JSON.
    #[must_use]
    pub fn text(&self) -> String {
        self.fields().to_string()
    }

    fn fields(&self) -> Value {
        // A derived serialisation of plain fields cannot fail.
        serde_json::to_value(self).unwrap_or(Value::Null)
    }

    /// What is not as in the settings of another chain, which [`Self::text`] made, perhaps of another version.
    #[must_use]
    pub fn differences(&self, there: &str) -> Vec<Difference> {
        let there: Value = serde_json::from_str(there).unwrap_or(Value::Null);
        let here = self.fields();
        let names = |settings: &Value| -> BTreeSet<String> {
            settings.as_object().map(|fields| fields.keys().cloned().collect()).unwrap_or_default()
        };
        let is_list = |value: &Value| value.is_array() || value.is_object();
        names(&there)
            .union(&names(&here))
            .filter_map(|field| {
                let (there, here) = (&there[field.as_str()], &here[field.as_str()]);
                let values =
                    (!is_list(there) && !is_list(here)).then(|| (there.to_string(), here.to_string()));
                (there != here).then(|| Difference { field: field.clone(), values })
            })
            .collect()
    }

    fn named_neurons(&self) -> usize {
        1 + self.validators.len() + self.miners.len()
    }

    fn check_ranges(&self) -> Result<(), GenesisError> {
        let neurons = self.named_neurons().max(usize::from(self.neurons));
        let fills = self.neurons == 0 || usize::from(self.neurons) >= self.named_neurons();
        let stakes = std::iter::once(&self.owner).chain(&self.validators).chain(&self.miners);
        let staked = stakes.fold(0u64, |total, neuron| total.saturating_add(neuron.stake_rao));
        let rules: [(&'static str, u64, bool, &'static str); 10] = [
            ("netuid", self.netuid.into(), (1..4096).contains(&self.netuid), "1 to 4095"),
            (
                "block_time_ms",
                self.block_time_ms,
                (10..=60_000).contains(&self.block_time_ms),
                "10 to 60000 milliseconds",
            ),
            ("tempo", self.tempo.into(), self.tempo >= 2, "at least 2 blocks"),
            (
                "max_allowed_validators",
                self.max_allowed_validators.into(),
                self.max_allowed_validators >= 1,
                "at least 1",
            ),
            ("drand_period_s", self.drand_period_s.into(), self.drand_period_s >= 1, "at least 1 second"),
            ("burn_rao", self.burn_rao, self.burn_rao >= 1, "at least 1 rao"),
            ("number of neurons", neurons as u64, neurons <= MAX_NEURONS, "at most 256"),
            (
                "neurons",
                self.neurons.into(),
                fills,
                "0, or at least as many as the owner, validators and miners that are named",
            ),
            (
                "min_allowed_weights",
                self.min_allowed_weights.into(),
                (1..=MAX_NEURONS).contains(&self.min_allowed_weights.into()),
                "1 to 256",
            ),
            (
                "sum of stake_rao",
                staked,
                staked <= MAX_SUPPLY,
                "at most 21000000000000000 (21 million alpha)",
            ),
        ];
        match rules.into_iter().find(|(_, _, holds, _)| !holds) {
            Some((field, value, _, rule)) => {
                Err(GenesisError::Value { field: field.to_owned(), value: value.to_string(), rule })
            }
            None => Ok(()),
        }
    }

    /// Checks the settings and resolves their keys.
    ///
    /// # Errors
    /// The first value that cannot be.
    pub fn resolve(&self) -> Result<Genesis, GenesisError> {
        self.check_ranges()?;
        let sudo = account("sudo", &self.sudo)?;
        let mut accounts = vec![sudo.clone()];
        let mut owned = BTreeMap::from([(sudo.account.clone(), SUDO_BALANCE)]);
        let mut neurons: Vec<GenesisNeuron<AccountId>> = Vec::new();
        let mut owners: HashMap<AccountId, String> = HashMap::new();
        let roles = std::iter::once(("owner".to_owned(), &self.owner))
            .chain((1..).zip(&self.validators).map(|(n, neuron)| (format!("validator {n}"), neuron)))
            .chain((1..).zip(&self.miners).map(|(n, neuron)| (format!("miner {n}"), neuron)));
        for (role, settings) in roles {
            let hotkey = account(&format!("{role} hotkey"), &settings.hotkey)?;
            let cold_uri = settings.coldkey.clone().unwrap_or_else(|| format!("{}Cold", settings.hotkey));
            let coldkey = account(&format!("{role} coldkey"), &cold_uri)?;
            if let Some(other) = owners.insert(hotkey.account.clone(), role.clone()) {
                return Err(GenesisError::DuplicateHotkey { key: settings.hotkey.clone(), role, other });
            }
            neurons.push(GenesisNeuron {
                hotkey: hotkey.account.clone(),
                coldkey: coldkey.account.clone(),
                stake: AlphaBalance(settings.stake_rao),
            });
            owned.entry(coldkey.account.clone()).or_insert(DEV_BALANCE);
            accounts.extend([hotkey, coldkey]);
        }
        let unlisted = self.fill(&mut neurons, &owners)?;
        accounts.extend(self.endow(&mut owned)?);
        Ok(Genesis {
            settings: self.clone(),
            subnet: self.subnet(neurons),
            block_time_ms: self.block_time_ms,
            profile: self.profile,
            accounts,
            unlisted,
            drand_period_s: self.drand_period_s,
            sudo: sudo.account,
            balances: owned.into_iter().filter(|(_, rao)| *rao > 0).collect(),
        })
    }

    /// Gives the accounts of `balances` what they own; their names.
    fn endow(&self, owned: &mut BTreeMap<AccountId, u64>) -> Result<Vec<NamedAccount>, GenesisError> {
        let mut accounts = Vec::new();
        let mut seen = BTreeSet::new();
        for (position, BalanceSettings { account: key, rao }) in self.balances.iter().enumerate() {
            let refused = |part: &str, value: String, rule| GenesisError::Value {
                field: format!("balances[{position}].{part}"),
                value,
                rule,
            };
            let named = account("account", key)?;
            if !seen.insert(named.account.clone()) {
                return Err(refused("account", key.clone(), "each account is named once"));
            }
            if (1..EXISTENTIAL_DEPOSIT).contains(rao) {
                return Err(refused("rao", rao.to_string(), "0, or at least the existential deposit of 500"));
            }
            owned.insert(named.account.clone(), *rao);
            let total = owned.values().fold(0u64, |total, rao| total.saturating_add(*rao));
            if total > MAX_SUPPLY {
                let rule = "with what the others own at most 21000000000000000 (21 million tokens)";
                return Err(refused("rao", rao.to_string(), rule));
            }
            accounts.push(named);
        }
        Ok(accounts)
    }

    /// Adds the neurons that fill the subnet; how many. Their coldkeys own nothing.
    fn fill(
        &self,
        neurons: &mut Vec<GenesisNeuron<AccountId>>,
        owners: &HashMap<AccountId, String>,
    ) -> Result<usize, GenesisError> {
        let named = neurons.len();
        for uid in named..usize::from(self.neurons) {
            let key = format!("//Neuron{uid}");
            let role = format!("neuron {uid}");
            let hotkey = account(&role, &key)?;
            let coldkey = account(&role, &format!("{key}Cold"))?;
            if let Some(other) = owners.get(&hotkey.account) {
                return Err(GenesisError::DuplicateHotkey { key, role, other: other.clone() });
            }
            neurons.push(GenesisNeuron {
                hotkey: hotkey.account,
                coldkey: coldkey.account,
                stake: AlphaBalance(0),
            });
        }
        Ok(neurons.len() - named)
    }

    fn subnet(&self, neurons: Vec<GenesisNeuron<AccountId>>) -> GenesisSubnet<AccountId> {
        GenesisSubnet {
            netuid: NetUid(self.netuid),
            tempo: self.tempo,
            neurons,
            weights_rate_limit: self.weights_rate_limit,
            serving_rate_limit: self.serving_rate_limit,
            commit_reveal: self.commit_reveal,
            max_allowed_validators: self.max_allowed_validators,
            min_allowed_weights: self.min_allowed_weights,
            immunity_period: self.immunity_period,
            stake_threshold: self.stake_threshold_rao,
            burn: TaoBalance(self.burn_rao),
            emission_per_block: AlphaBalance(self.emission_rao_per_block),
            empty_below: self.empty_subnets.unwrap_or(self.netuid <= MOST_FILLED),
        }
    }
}

impl Genesis {
    /// What an account owns at first, in rao.
    #[must_use]
    pub fn balance_of(&self, account: &AccountId) -> u64 {
        self.balances.iter().find(|(owner, _)| owner == account).map_or(0, |(_, rao)| *rao)
    }

    /// The first state.
    ///
    /// # Errors
    /// The runtime refuses the settings.
    pub fn state(&self) -> Result<State, GenesisError> {
        let config = RuntimeGenesisConfig {
            balances: pallet_balances::GenesisConfig {
                balances: self.balances.clone(),
                ..Default::default()
            },
            sudo: pallet_sudo::GenesisConfig { key: Some(self.sudo.clone()) },
            ..Default::default()
        };
        let storage = config.build_storage().map_err(GenesisError::Storage)?;
        executor::write(&storage.top, || {
            marker::BlockTime::<Runtime>::put(self.block_time_ms);
            marker::Profile::<Runtime>::put(self.profile);
            Drand::install_development_beacon(self.drand_period_s);
            SubtensorModule::install_genesis(&self.subnet);
            MevShield::install_genesis();
        })
        .map_err(GenesisError::Build)
    }
}

#[cfg(test)]
mod tests;
