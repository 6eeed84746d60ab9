//! `basilica wallet show` and `list`.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use basilica_console::tell;
use basilica_types::WalletName;
use basilica_wallet::{
    FileReport, Form, KeyName, KeyReport, KeyfileError, ListedKey, Listing, PasswordSource, Problem,
    WalletReport, Which,
};
use clap::Args;
use serde_json::{Value, json};

use super::passwords::Asking;
use super::{Kind, Place, WRONG_PASSWORD, form_name, print};

/// Say what is in a wallet.
#[derive(Debug, Args)]
pub(crate) struct Show {
    /// Only the `coldkey`, or only every `hotkey`.
    #[arg(value_parser = super::kind)]
    key: Option<Kind>,
    /// The wallet's name.
    #[arg(long, short = 'w', aliases = ["wallet.name", "name"], default_value = "default", value_name = "NAME")]
    wallet_name: WalletName,
    /// Only this hotkey.
    #[arg(long, short = 'H', aliases = ["wallet.hotkey", "wallet-hotkey"], value_name = "NAME")]
    hotkey: Option<WalletName>,
    #[command(flatten)]
    place: Place,
    /// Open encrypted keys as well, to see whether they belong to their public halves.
    #[arg(long)]
    unlock: bool,
    /// File of one line, mode 0600, with the password [default: the SDK's variables, or asked for].
    #[arg(long, value_name = "FILE", requires = "unlock")]
    password_file: Option<PathBuf>,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

impl Show {
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        let wallets = self.place.wallets()?;
        let which = match (self.key, self.hotkey) {
            (Some(Kind::Coldkey), _) => Which::One(KeyName::Coldkey),
            (_, Some(hotkey)) => Which::One(KeyName::Hotkey(hotkey)),
            (Some(Kind::Hotkey), None) => Which::Hotkeys,
            (None, None) => Which::All,
        };
        let asking = Asking::new(self.password_file);
        let passwords = self.unlock.then_some(&asking as &dyn PasswordSource);
        let report = wallets.inspect(&self.wallet_name, &which, passwords)?;
        if self.json {
            let keys: Vec<Value> = report.keys.iter().map(key_json).collect();
            let report = json!({ "wallet": report.name.as_str(), "keys": keys });
            print(&format!("{report:#}\n"))?;
        } else {
            print(&text(&report))?;
        }
        Ok(verdict(&report))
    }
}

/// 1 where there is a problem; a password that cannot be right says so.
fn verdict(report: &WalletReport) -> ExitCode {
    let mut problems = report.keys.iter().flat_map(|key| &key.problems).peekable();
    if problems.peek().is_none() {
        return ExitCode::SUCCESS;
    }
    if problems.any(|problem| super::blames_password(problem)) {
        WRONG_PASSWORD.into()
    } else {
        ExitCode::FAILURE
    }
}

fn text(report: &WalletReport) -> String {
    let mut text = String::new();
    for key in &report.keys {
        let address = key.address.map_or_else(|| "address unknown".to_owned(), |address| address.to_string());
        let _infallible = writeln!(text, "{} {address} ({})", key.key, state(key));
        for file in [&key.secret, &key.public] {
            let mode = file.mode.map_or_else(|| "----".to_owned(), |mode| format!("{mode:04o}"));
            let form = form_name(file.form);
            let _infallible = writeln!(text, "  {mode} {form:<28} {}", file.path.display());
        }
        for problem in &key.problems {
            let _infallible = writeln!(text, "  problem: {}", explain(problem));
        }
    }
    text
}

fn state(key: &KeyReport) -> &'static str {
    match (key.verified, key.secret.form) {
        _ if !key.problems.is_empty() => "has problems",
        (true, _) => "secret and address agree",
        (false, Form::Encrypted(_)) => "not opened; --unlock does",
        (false, _) => "public half only",
    }
}

/// A problem with its causes in one line, and what to do about it with this program.
fn explain(problem: &Problem) -> String {
    let mut line = problem.to_string();
    let mut cause = std::error::Error::source(problem);
    while let Some(error) = cause {
        let _infallible = write!(line, ": {error}");
        cause = error.source();
    }
    if let Problem::Unusable { source: KeyfileError::NoPassword { .. }, .. } = problem {
        line.push_str(" (here: --password-file FILE)");
    }
    line
}

fn key_json(key: &KeyReport) -> Value {
    json!({
        "key": key.key.to_string(),
        "address": key.address.map(|address| address.to_string()),
        "verified": key.verified,
        "secret": file_json(&key.secret),
        "public": file_json(&key.public),
        "problems": key.problems.iter().map(explain).collect::<Vec<_>>(),
    })
}

fn file_json(file: &FileReport) -> Value {
    json!({
        "path": file.path.display().to_string(),
        "form": form_name(file.form),
        "mode": file.mode.map(|mode| format!("{mode:04o}")),
    })
}

/// List all wallets.
#[derive(Debug, Args)]
pub(crate) struct List {
    #[command(flatten)]
    place: Place,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

impl List {
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        let wallets = self.place.wallets()?;
        let listing = wallets.list()?;
        let sound = listing.wallets.iter().all(|wallet| {
            wallet.coldkey.problems == 0 && wallet.hotkeys.iter().all(|(_, key)| key.problems == 0)
        });
        let code = if sound { ExitCode::SUCCESS } else { ExitCode::FAILURE };
        if self.json {
            let wallets =
                json!({ "path": wallets.root().display().to_string(), "wallets": listing_json(&listing) });
            return print(&format!("{wallets:#}\n")).map(|()| code);
        }
        print(&format!("{}\n{}", wallets.root().display(), tree(&listing)))?;
        if listing.wallets.is_empty() {
            tell("no wallet is there; make one with: basilica wallet new");
        }
        for name in &listing.skipped {
            // Quoted: a name may hold what a terminal obeys.
            tell(&format!(
                "note: {name:?} is no wallet's directory or hotkey's file, by its kind or its name; skipped"
            ));
        }
        Ok(code)
    }
}

fn listing_json(listing: &Listing) -> Vec<Value> {
    let address = |key: &ListedKey| key.address.map(|address| address.to_string());
    let hotkeys = |hotkeys: &[(WalletName, ListedKey)]| -> Vec<Value> {
        let one = |(name, key): &(WalletName, ListedKey)| json!({ "name": name.as_str(), "address": address(key), "problems": key.problems });
        hotkeys.iter().map(one).collect()
    };
    let wallets = listing.wallets.iter();
    wallets
        .map(|wallet| {
            json!({
                "name": wallet.name.as_str(),
                "coldkey": address(&wallet.coldkey),
                "coldkey_problems": wallet.coldkey.problems,
                "hotkeys": hotkeys(&wallet.hotkeys),
            })
        })
        .collect()
}

fn tree(listing: &Listing) -> String {
    let shown = |wallet: &WalletName, key: &ListedKey| {
        let address = key.address.map_or_else(|| "address unknown".to_owned(), |address| address.to_string());
        match key.problems {
            0 => address,
            _ => format!("{address} (has problems: basilica wallet show -w {wallet})"),
        }
    };
    let branch = |last| if last { ("└── ", "    ") } else { ("├── ", "│   ") };
    let mut text = String::new();
    for (index, wallet) in listing.wallets.iter().enumerate() {
        let (arm, below) = branch(index + 1 == listing.wallets.len());
        let _infallible = writeln!(text, "{arm}{} {}", wallet.name, shown(&wallet.name, &wallet.coldkey));
        for (index, (name, key)) in wallet.hotkeys.iter().enumerate() {
            let (arm, _) = branch(index + 1 == wallet.hotkeys.len());
            let _infallible = writeln!(text, "{below}{arm}{name} {}", shown(&wallet.name, key));
        }
    }
    text
}
