//! `basilica wallet import`.

use std::io::Read as _;
use std::path::PathBuf;

use anyhow::{Context as _, bail};
use basilica_console::Terminal;
use basilica_system::OsEntropy;
use basilica_types::Hotkey;
use basilica_wallet::{KeyfileError, Secret, WalletError, Wallets};
use clap::Args;
use serde_json::json;
use zeroize::Zeroizing;

use super::new::{Made, protection};
use super::passwords::{Asking, Choice};
use super::{Kind, Names, Place, print};

/// Longest text on standard input.
const LONGEST: u64 = 4096;

/// Bring a key into a wallet. Without a source, a mnemonic or secret URI is asked for and not shown.
#[derive(Debug, Args)]
pub(crate) struct Import {
    /// What the key is to be: `coldkey` or `hotkey`.
    #[arg(value_parser = super::kind)]
    key: Kind,
    #[command(flatten)]
    names: Names,
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    source: Source,
    #[command(flatten)]
    choice: Choice,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct Source {
    /// File, mode 0600, with a mnemonic, a seed (0x…) or a secret URI; `-` reads standard input.
    #[arg(long, alias = "mnemonic-file", value_name = "FILE", group = "from")]
    secret_file: Option<PathBuf>,
    /// A keyfile in any form: plain, $NACL, Ansible vault, Fernet.
    #[arg(long, value_name = "FILE", group = "from")]
    keyfile: Option<PathBuf>,
    /// File of one line, mode 0600, with the password of that keyfile [default: the SDK's variable, or asked for].
    #[arg(long, value_name = "FILE", requires = "keyfile")]
    keyfile_password_file: Option<PathBuf>,
    /// A development key such as //Alice, known to everybody.
    #[arg(long, value_name = "URI", group = "from")]
    uri: Option<String>,
    /// Only the public half, from its address: what a server's wallet needs of a coldkey.
    #[arg(long, alias = "ss58", value_name = "SS58", group = "from")]
    address: Option<Hotkey>,
}

impl Import {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        let wallets = self.place.wallets()?;
        let (wallet, key) = (&self.names.wallet_name, self.names.key(self.key));
        if let Some(address) = self.source.address {
            wallets.add_public(wallet, &key, address)?;
            let path = wallets.public_path(wallet, &key).display().to_string();
            if self.json {
                let key = json!({ "key": key.to_string(), "address": address.to_string(), "path": path });
                return print(&format!("{:#}\n", json!({ "wallet": wallet.as_str(), "keys": [key] })));
            }
            return print(&format!("{key} {address} at {path} (public half only)\n"));
        }
        wallets.vacant(wallet, &key)?;
        let secret = self.source.secret()?;
        let password = self.choice.password(std::slice::from_ref(&key))?;
        wallets.add(wallet, &key, &secret, protection(password.as_ref()))?;
        let made = Made {
            name: key.to_string(),
            path: wallets.key_path(wallet, &key).display().to_string(),
            encrypted: password.is_some(),
            secret,
        };
        if self.json {
            return print(&format!(
                "{:#}\n",
                json!({ "wallet": wallet.as_str(), "keys": [made.json(false)] })
            ));
        }
        print(&made.line())
    }
}

impl Source {
    fn secret(&self) -> anyhow::Result<Secret> {
        if let Some(keyfile) = &self.keyfile {
            let passwords = Asking::new(self.keyfile_password_file.clone());
            return Wallets::read_keyfile(keyfile, &passwords).map_err(|error| {
                let unasked =
                    matches!(error, WalletError::Keyfile { source: KeyfileError::NoPassword { .. }, .. });
                let error = anyhow::Error::from(error);
                if unasked { error.context("give --keyfile-password-file FILE") } else { error }
            });
        }
        let text = match (&self.secret_file, &self.uri) {
            (Some(path), _) if path.as_os_str() == "-" => standard_input()?,
            (Some(path), _) => basilica_wallet::read_secret_text(path)?,
            (None, Some(uri)) if uri.starts_with('/') => Zeroizing::new(uri.clone()),
            (None, Some(_)) => bail!(
                "--uri takes development keys only (//Alice): the command line is visible to every user of this \
                 host; put a secret into a file of mode 0600 and give --secret-file FILE"
            ),
            (None, None) => {
                let Ok(mut terminal) = Terminal::open() else {
                    bail!(
                        "a secret is needed and there is no terminal to ask at; give --secret-file FILE (mode 0600, or \
                         `-` for standard input) or --keyfile FILE"
                    );
                };
                terminal.ask_hidden("Mnemonic, 0xSEED or secret URI (not shown): ")?
            }
        };
        Ok(Secret::from_uri(&text, &OsEntropy)?)
    }
}

fn standard_input() -> anyhow::Result<Zeroizing<String>> {
    let mut text = Zeroizing::new(String::with_capacity(usize::try_from(LONGEST)?));
    std::io::stdin().lock().take(LONGEST).read_to_string(&mut text).context("read standard input")?;
    Ok(text)
}
