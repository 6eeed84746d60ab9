//! `basilica wallet new`.

use std::io::IsTerminal as _;

use anyhow::Context as _;
use basilica_console::tell;
use basilica_system::OsEntropy;
use basilica_types::WalletName;
use basilica_wallet::{KeyName, Password, Protection, Secret, WalletError, WordCount};
use clap::Args;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::passwords::Choice;
use super::{Kind, Names, Place};

/// Make new keys: a coldkey and a hotkey, or one of them.
#[derive(Debug, Args)]
pub(crate) struct New {
    /// Only the `coldkey`, or only the `hotkey`.
    #[arg(value_parser = super::kind)]
    key: Option<Kind>,
    #[command(flatten)]
    names: Names,
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    choice: Choice,
    /// Words of each mnemonic: 12, 15, 18, 21 or 24.
    #[arg(long, aliases = ["n-words", "n_words"], default_value = "12", value_name = "N")]
    words: WordCount,
    /// Print the mnemonics even where standard output is no terminal, and in the JSON.
    #[arg(long)]
    show_mnemonic: bool,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

impl New {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        let wallets = self.place.wallets()?;
        let wallet = &self.names.wallet_name;
        let kinds = self.key.map_or_else(|| vec![Kind::Coldkey, Kind::Hotkey], |kind| vec![kind]);
        let keys: Vec<KeyName> = kinds.into_iter().map(|kind| self.names.key(kind)).collect();
        for key in &keys {
            wallets.unclaimed(wallet, key).map_err(|error| self.taken(key, error))?;
        }
        let password = self.choice.password(&keys)?;
        let mut made = Vec::new();
        for key in &keys {
            let password = password.as_ref().filter(|_| self.choice.encrypts(key));
            let secret = Secret::generate(self.words, &OsEntropy)?;
            let added = wallets.add(wallet, key, &secret, protection(password));
            if matches!(added, Ok(()) | Err(WalletError::Half { .. })) {
                made.push(Made {
                    name: key.to_string(),
                    path: wallets.key_path(wallet, key).display().to_string(),
                    encrypted: password.is_some(),
                    secret,
                });
            }
            if let Err(error) = added {
                return self.partly(&made, error);
            }
        }
        self.report(&made)
    }

    /// Who has a coldkey most often wants one hotkey more.
    fn taken(&self, key: &KeyName, error: WalletError) -> anyhow::Error {
        let taken = matches!(error, WalletError::Exists { .. } | WalletError::OtherPublic { .. });
        if self.key.is_some() || *key != KeyName::Coldkey || !taken {
            return error.into();
        }
        let (wallet, hotkey) = (self.names.wallet_name.clone(), self.names.hotkey.clone());
        Taken { error, wallet, hotkey }.into()
    }

    /// What was made is told also where the rest failed: its mnemonic is shown now or never.
    fn partly(&self, made: &[Made], error: WalletError) -> anyhow::Result<()> {
        if made.is_empty() {
            return Err(error.into());
        }
        self.report(made)?;
        let names: Vec<&str> = made.iter().map(|made| made.name.as_str()).collect();
        Err(Partly { made: names.join(" and "), source: error }.into())
    }

    fn report(&self, made: &[Made]) -> anyhow::Result<()> {
        // What is shown this once must not be lost in silence.
        let print = |text: &str| basilica_console::deliver(text).context("write to standard output");
        let shown = self.show_mnemonic || (!self.json && std::io::stdout().is_terminal());
        if self.json {
            let keys: Vec<Value> = made.iter().map(|made| made.json(shown)).collect();
            let report = json!({ "wallet": self.names.wallet_name.as_str(), "keys": keys });
            return print(&Zeroizing::new(format!("{report:#}\n")));
        }
        for made in made {
            print(&made.line())?;
            if let (true, Some(phrase)) = (shown, made.secret.phrase()) {
                print("  mnemonic, shown this once (whoever has it owns the key; write it down):\n    ")?;
                print(phrase)?;
                print("\n")?;
            }
        }
        if !shown {
            tell(
                "note: no mnemonic was shown; the keyfiles hold them and are the only backup (see --show-mnemonic)",
            );
        }
        Ok(())
    }
}

/// There is a coldkey already, and both keys were asked for.
#[derive(Debug, thiserror::Error)]
#[error("{error}; for a hotkey alone: basilica wallet new hotkey --wallet-name {wallet} --hotkey {hotkey}")]
pub(crate) struct Taken {
    error: WalletError,
    wallet: WalletName,
    hotkey: WalletName,
}

/// Only the first of several keys were made.
#[derive(Debug, thiserror::Error)]
#[error("{made} was made and stays; the rest was not")]
pub(crate) struct Partly {
    made: String,
    source: WalletError,
}

pub(crate) fn protection(password: Option<&Password>) -> Protection<'_> {
    password.map_or(Protection::Plain, |password| {
        tell("deriving the key from the password takes some seconds and 512 MiB of memory");
        Protection::Encrypted(password, &OsEntropy)
    })
}

/// A key that was written just now.
pub(crate) struct Made {
    pub(crate) name: String,
    pub(crate) path: String,
    pub(crate) encrypted: bool,
    pub(crate) secret: Secret,
}

impl Made {
    pub(crate) fn line(&self) -> String {
        let form = if self.encrypted { "encrypted" } else { "not encrypted" };
        format!("{} {} at {} ({form})\n", self.name, self.secret.keypair().hotkey(), self.path)
    }

    pub(crate) fn json(&self, mnemonic: bool) -> Value {
        let mut value = json!({
            "key": self.name,
            "address": self.secret.keypair().hotkey().to_string(),
            "path": self.path,
            "encrypted": self.encrypted,
        });
        if let (true, Some(phrase)) = (mnemonic, self.secret.phrase()) {
            value["mnemonic"] = phrase.into();
        }
        value
    }
}
