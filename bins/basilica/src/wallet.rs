//! `basilica wallet …`: arguments in, library calls, text out.
//!
//! Promises: no secret is taken from the command line or the clipboard of anybody's shell history; none is printed but
//! the mnemonic of a key that was made just now, to a terminal or where `--show-mnemonic` asks for it; nothing is
//! overwritten. Names and flags are those that users of `btcli` know, in its dotted and its dashed spelling.

mod import;
mod new;
mod passwords;
mod show;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, anyhow};
use basilica_console as console;
use basilica_types::WalletName;
use basilica_wallet::{Form, KeyName, KeyfileError, PasswordError, WalletError, Wallets};
use clap::{Args, Subcommand, ValueEnum};

/// Shown below the help of every command.
pub(crate) const EXIT_CODES: &str = "\
Exit codes: 0 done, 1 failed or a problem was found, 2 the command line is wrong, 3 a password is wrong, empty or not \
twice the same, 4 the key exists already and nothing was changed.";

const WRONG_PASSWORD: u8 = 3;
const EXISTS: u8 = 4;

/// Keys of the chain.
#[derive(Debug, Args)]
pub(crate) struct Wallet {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make new keys.
    #[command(after_help = EXIT_CODES)]
    New(new::New),
    /// Bring a key into a wallet: from its mnemonic, seed or URI, or from a keyfile in any form.
    #[command(after_help = EXIT_CODES)]
    Import(import::Import),
    /// Say what is in a wallet, whether its files agree, and who else can read them.
    #[command(after_help = EXIT_CODES)]
    Show(show::Show),
    /// List all wallets with their addresses.
    #[command(after_help = EXIT_CODES)]
    List(show::List),
}

impl Wallet {
    /// Does what was asked.
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        match self.command {
            Command::New(command) => command.run().map(|()| ExitCode::SUCCESS),
            Command::Import(command) => command.run().map(|()| ExitCode::SUCCESS),
            Command::Show(command) => command.run(),
            Command::List(command) => command.run(),
        }
    }
}

/// Which of a wallet's keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// The key that owns the funds.
    Coldkey,
    /// A key that a server signs with.
    Hotkey,
}

/// Reads it with a hint for who writes a wallet's name there.
fn kind(text: &str) -> Result<Kind, String> {
    <Kind as ValueEnum>::from_str(text, false).map_err(|_| {
        format!("not coldkey or hotkey; a wallet is named with -w {text}, one of its hotkeys with -H {text}")
    })
}

/// Where wallets lie.
#[derive(Debug, Args)]
struct Place {
    /// Directory of wallets [default: ~/.bittensor/wallets].
    #[arg(long, short = 'p', alias = "wallet.path", value_name = "DIR")]
    wallet_path: Option<PathBuf>,
}

impl Place {
    fn wallets(&self) -> anyhow::Result<Wallets> {
        let home = || std::env::home_dir().ok_or_else(|| anyhow!("HOME is not set; give --wallet-path"));
        match &self.wallet_path {
            // The shell leaves the `~` of `--wallet-path=~/x` alone.
            Some(path) => match path.strip_prefix("~") {
                Ok(rest) => Ok(Wallets::at(home()?.join(rest))),
                Err(_) => Ok(Wallets::at(std::path::absolute(path)?)),
            },
            None => Ok(Wallets::in_home(&home()?)),
        }
    }
}

/// Which wallet, and which of its hotkeys.
#[derive(Debug, Args)]
struct Names {
    /// The wallet's name.
    #[arg(long, short = 'w', aliases = ["wallet.name", "name"], default_value = "default", value_name = "NAME")]
    wallet_name: WalletName,
    /// The hotkey's name.
    #[arg(long, short = 'H', aliases = ["wallet.hotkey", "wallet-hotkey"], default_value = "default", value_name = "NAME")]
    hotkey: WalletName,
}

impl Names {
    fn key(&self, kind: Kind) -> KeyName {
        match kind {
            Kind::Coldkey => KeyName::Coldkey,
            Kind::Hotkey => KeyName::Hotkey(self.hotkey.clone()),
        }
    }
}

fn form_name(form: Form) -> String {
    match form {
        Form::Absent => "absent".to_owned(),
        Form::Public => "public".to_owned(),
        Form::Plain => "plain".to_owned(),
        Form::Encrypted(encryption) => format!("encrypted ({encryption})"),
        Form::Unusable => "unusable".to_owned(),
    }
}

fn print(text: &str) -> anyhow::Result<()> {
    console::print(text).context("write to standard output")
}

/// Whether the cause is a password that cannot be right, as opposed to one that could not be had.
fn blames_password(error: &(dyn std::error::Error + 'static)) -> bool {
    std::iter::successors(Some(error), |error| error.source()).any(|cause| {
        let password = cause.downcast_ref::<PasswordError>();
        matches!(cause.downcast_ref::<KeyfileError>(), Some(KeyfileError::WrongPassword(_)))
            || matches!(password, Some(PasswordError::Differ | PasswordError::Empty | PasswordError::Long))
    })
}

/// The exit code that belongs to a failure.
pub(crate) fn exit_code(error: &anyhow::Error) -> u8 {
    if error.is::<new::Partly>() {
        return console::FAILURE;
    }
    if error.is::<new::Taken>() {
        return EXISTS;
    }
    for cause in error.chain() {
        match cause.downcast_ref::<WalletError>() {
            // Something was changed, whatever the cause below.
            Some(WalletError::Half { .. }) => return console::FAILURE,
            Some(
                WalletError::Exists { .. }
                | WalletError::OtherColdkey { .. }
                | WalletError::OtherPublic { .. },
            ) => {
                return EXISTS;
            }
            _ => {}
        }
    }
    if blames_password(error.as_ref()) { WRONG_PASSWORD } else { console::FAILURE }
}
