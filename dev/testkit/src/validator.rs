//! What a validator of the development chain needs before its start.
#![expect(clippy::unwrap_used, reason = "a fixture that fails is a failed test")]

use std::path::{Path, PathBuf};

use basilica_types::Coldkey;
use basilica_wallet::Wallets;

use crate::devchain::{hotkey, keypair};

/// Writes the wallet `name` of a development account below `home`.
///
/// # Panics
/// Here and below: if the files cannot be written.
pub fn write_wallet(home: &Path, name: &str, uri: &str) {
    let coldkey = Coldkey::from_bytes(*hotkey(&format!("{uri}Cold")).as_bytes());
    Wallets::at(home.join("wallets")).create(name, "default", &keypair(uri).into(), coldkey).unwrap();
}

/// Writes the wallet of `//Validator1` and a configuration with these endpoints of the chain, the best first, this database, an API on a free
/// port, and `more` sections; returns the configuration's path.
pub fn write_validator(home: &Path, endpoints: &[&str], database: &str, more: &str) -> PathBuf {
    write_wallet(home, "validator", "//Validator1");
    let (path, (first, others)) = (home.join("validator.toml"), endpoints.split_first().unwrap());
    let text = format!(
        r#"
[bittensor]
wallet_name = "validator"
wallet_path = "{home}/wallets"
network = "local"
netuid = 39
chain_endpoint = "{first}"
fallback_endpoints = {others:?}

[database]
url = "{database}"

[api]
bind = "127.0.0.1:0"
{more}"#,
        home = home.display(),
    );
    std::fs::write(&path, text).unwrap();
    path
}
