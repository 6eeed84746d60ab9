//! Where passwords come from: a file, the SDK's variables, a person.

use std::path::{Path, PathBuf};

use anyhow::bail;
use basilica_console::Terminal;
use basilica_wallet::{KeyName, Password, PasswordError, PasswordSource, Unattended};
use clap::Args;
use zeroize::Zeroizing;

/// How a new key is protected.
#[derive(Debug, Args)]
pub(crate) struct Choice {
    /// Leave the coldkey unencrypted.
    #[arg(long, alias = "no-use-password", conflicts_with_all = ["password_file", "encrypt_hotkey"])]
    no_password: bool,
    /// File of one line, mode 0600, with the password [default: $BT_WALLET_PASSWORD, or asked for twice].
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// Encrypt the hotkey too; a server then needs its password (bittensor.wallet_password_file).
    #[arg(long)]
    encrypt_hotkey: bool,
}

impl Choice {
    /// Whether this key is to be encrypted.
    pub(crate) const fn encrypts(&self, key: &KeyName) -> bool {
        match key {
            KeyName::Coldkey => !self.no_password,
            KeyName::Hotkey(_) => self.encrypt_hotkey,
        }
    }

    /// The password for these new keys; none if all of them stay unencrypted.
    pub(crate) fn password(&self, keys: &[KeyName]) -> anyhow::Result<Option<Password>> {
        if keys.iter().any(|key| self.encrypts(key)) {
            return self.chosen().map(Some);
        }
        if self.password_file.is_some() {
            bail!("--password-file would protect nothing: a hotkey is encrypted only with --encrypt-hotkey");
        }
        Ok(None)
    }

    fn chosen(&self) -> anyhow::Result<Password> {
        if let Some(file) = &self.password_file {
            return Ok(Password::from_file(file)?);
        }
        if let Some(password) = variable()? {
            return Ok(password);
        }
        let Ok(mut terminal) = Terminal::open() else {
            bail!(
                "a password is needed and there is no terminal to ask at; give --password-file FILE, set \
                 BT_WALLET_PASSWORD, or leave the key unencrypted with --no-password"
            );
        };
        let mut ask = |question| terminal.ask_hidden(question).map_err(PasswordError::Terminal);
        let first = ask("Password for the new key: ")?;
        let again = ask("The same again: ")?;
        if first != again {
            return Err(PasswordError::Differ.into());
        }
        Ok(Password::new(first)?)
    }
}

/// The SDK's variable with a coldkey's password in the clear.
fn variable() -> Result<Option<Password>, PasswordError> {
    let name = "BT_WALLET_PASSWORD";
    match std::env::var_os(name).filter(|value| !value.is_empty()).map(std::ffi::OsString::into_string) {
        None => Ok(None),
        Some(Ok(value)) => Password::new(Zeroizing::new(value)).map(Some),
        Some(Err(_)) => Err(PasswordError::Variable { name: name.to_owned() }),
    }
}

/// For keyfiles that exist: a file, then the SDK's variables, then a person.
pub(crate) struct Asking {
    file: Option<PathBuf>,
}

impl Asking {
    /// With this password file, if one is given.
    pub(crate) const fn new(file: Option<PathBuf>) -> Self {
        Self { file }
    }
}

impl PasswordSource for Asking {
    fn password(&self, keyfile: &Path) -> Result<Option<Password>, PasswordError> {
        let unattended = Unattended::new(self.file.clone(), |name| std::env::var_os(name));
        if let Some(password) = unattended.password(keyfile)? {
            return Ok(Some(password));
        }
        // The variable is for coldkeys; a hotkey is opened with its own.
        if keyfile.file_name().is_some_and(|name| name == "coldkey")
            && let Some(password) = variable()?
        {
            return Ok(Some(password));
        }
        let Ok(mut terminal) = Terminal::open() else { return Ok(None) };
        let question = format!("Password of {}: ", keyfile.display());
        let answer = terminal.ask_hidden(&question).map_err(PasswordError::Terminal)?;
        Password::new(answer).map(Some)
    }
}
