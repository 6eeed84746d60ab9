//! Looking at wallets without changing them: what is there, whether the files agree, who else could read them.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use basilica_types::{Hotkey, WalletName};

use crate::secret::Secret;
use crate::{Encryption, KeyName, KeyfileError, PasswordSource, WalletError, Wallets, file, keyfile};

/// Most entries of a directory that are looked at.
const MOST: usize = 10_000;

/// How a key lies in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// There is no file.
    Absent,
    /// JSON with a public key only.
    Public,
    /// JSON with a secret.
    Plain,
    /// A secret under a password.
    Encrypted(Encryption),
    /// Not readable as any of these.
    Unusable,
}

/// One file of a key.
#[derive(Clone, Debug)]
pub struct FileReport {
    /// The file.
    pub path: PathBuf,
    /// What it is.
    pub form: Form,
    /// Its permission bits, where it could be opened.
    pub mode: Option<u32>,
}

/// What its owner should know about a key.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// A file cannot be used.
    #[error("{}", path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: KeyfileError,
    },
    /// Others can change a public keyfile, and so make its readers send to a key of theirs.
    #[error("others can change '{}' (mode {mode:04o}); run: chmod 600 '{}'", path.display(), path.display())]
    Writable {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Secret and public keyfile are of two keys.
    #[error("'{}' is of {in_secret}, '{}' of {in_public}", secret.display(), public.display())]
    Disagree {
        /// The file with the secret.
        secret: PathBuf,
        /// Its address.
        in_secret: Hotkey,
        /// The public keyfile.
        public: PathBuf,
        /// Its address.
        in_public: Hotkey,
    },
    /// The words in a keyfile do not give its key.
    #[error("the mnemonic in '{}' alone does not give its key; keep the file itself as backup", path.display())]
    Words {
        /// The file.
        path: PathBuf,
    },
    /// There is neither file.
    #[error("there is no {key} at '{}'", path.display())]
    Absent {
        /// The key.
        key: KeyName,
        /// Where its secret would lie.
        path: PathBuf,
    },
}

/// One key of a wallet.
#[derive(Debug)]
pub struct KeyReport {
    /// Which.
    pub key: KeyName,
    /// Its address, as the secret or else the public keyfile states it.
    pub address: Option<Hotkey>,
    /// Whether a secret was opened and gives that address.
    pub verified: bool,
    /// The file with the secret.
    pub secret: FileReport,
    /// The public keyfile.
    pub public: FileReport,
    /// What is wrong.
    pub problems: Vec<Problem>,
}

/// Which keys of a wallet are meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Which {
    /// The coldkey, where there is any trace of one, and every hotkey.
    All,
    /// Every hotkey.
    Hotkeys,
    /// This one, whether it is there or not.
    One(KeyName),
}

/// A wallet with what was found in it.
#[derive(Debug)]
pub struct WalletReport {
    /// Its name.
    pub name: WalletName,
    /// Its keys: the coldkey first, then hotkeys by name.
    pub keys: Vec<KeyReport>,
}

/// A key of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedKey {
    /// If a file states it openly.
    pub address: Option<Hotkey>,
    /// How many things are wrong with its files; [`Wallets::inspect`] says what.
    pub problems: usize,
}

/// One wallet of a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WalletListing {
    /// Its name.
    pub name: WalletName,
    /// Its coldkey; that there is none is no problem.
    pub coldkey: ListedKey,
    /// Its hotkeys by name.
    pub hotkeys: Vec<(WalletName, ListedKey)>,
}

/// All wallets of a directory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// By name.
    pub wallets: Vec<WalletListing>,
    /// Entries whose names we do not use.
    pub skipped: Vec<OsString>,
}

impl Wallets {
    /// Every wallet of the directory; none if it does not exist. Asks for no password.
    ///
    /// # Errors
    /// A directory cannot be read, or has more than 10,000 entries.
    pub fn list(&self) -> Result<Listing, WalletError> {
        let mut listing = Listing::default();
        for (name, path) in entries(&self.root)? {
            let wallet = name.to_str().and_then(|name| name.parse::<WalletName>().ok());
            match wallet.filter(|_| path.is_dir()) {
                Some(wallet) => listing.wallets.push(self.listed(wallet, &mut listing.skipped)?),
                None => listing.skipped.push(name),
            }
        }
        listing.wallets.sort_by(|a, b| a.name.cmp(&b.name));
        listing.skipped.sort();
        Ok(listing)
    }

    fn listed(&self, name: WalletName, skipped: &mut Vec<OsString>) -> Result<WalletListing, WalletError> {
        let look = |key: KeyName| {
            let report = self.inspect_key(&name, key, None);
            let absent = |problem: &&Problem| !matches!(problem, Problem::Absent { .. });
            ListedKey { address: report.address, problems: report.problems.iter().filter(absent).count() }
        };
        let hotkeys = self.hotkey_names(&name, skipped)?.into_iter();
        let hotkeys = hotkeys.map(|hotkey| (hotkey.clone(), look(KeyName::Hotkey(hotkey)))).collect();
        let coldkey = look(KeyName::Coldkey);
        Ok(WalletListing { name, coldkey, hotkeys })
    }

    /// Names of the hotkeys whose secret or public half is there.
    fn hotkey_names(
        &self,
        wallet: &WalletName,
        skipped: &mut Vec<OsString>,
    ) -> Result<Vec<WalletName>, WalletError> {
        let mut names = Vec::new();
        for (name, path) in entries(&self.root.join(wallet.as_str()).join("hotkeys"))? {
            let text = name.to_str().unwrap_or_default();
            if text.ends_with(".lock") || text.ends_with(".tmp") {
                continue;
            }
            match text.strip_suffix("pub.txt").unwrap_or(text).parse::<WalletName>() {
                Ok(hotkey) if path.is_file() => names.push(hotkey),
                _ => skipped.push(name),
            }
        }
        names.sort();
        names.dedup();
        Ok(names)
    }

    /// Looks at keys of a wallet. Encrypted secrets are opened only with `passwords`.
    ///
    /// # Errors
    /// There is no such wallet, none of its keys is meant, or its directory cannot be read. What is wrong with a key is in
    /// its report.
    pub fn inspect(
        &self,
        wallet: &WalletName,
        which: &Which,
        passwords: Option<&dyn PasswordSource>,
    ) -> Result<WalletReport, WalletError> {
        let directory = self.root.join(wallet.as_str());
        if !directory.is_dir() {
            return Err(WalletError::NoWallet { root: self.root.clone(), wallet: wallet.clone() });
        }
        let keys = match which {
            Which::One(key) => vec![key.clone()],
            Which::Hotkeys => self.hotkeys(wallet)?,
            Which::All => {
                // A server's wallet is in order without any trace of a coldkey.
                let paths =
                    [self.key_path(wallet, &KeyName::Coldkey), self.public_path(wallet, &KeyName::Coldkey)];
                let coldkey = paths.iter().any(|path| path.symlink_metadata().is_ok());
                coldkey.then_some(KeyName::Coldkey).into_iter().chain(self.hotkeys(wallet)?).collect()
            }
        };
        if keys.is_empty() {
            return Err(WalletError::NoKey { path: directory, wallet: wallet.clone() });
        }
        let keys = keys.into_iter().map(|key| self.inspect_key(wallet, key, passwords)).collect();
        Ok(WalletReport { name: wallet.clone(), keys })
    }

    fn hotkeys(&self, wallet: &WalletName) -> Result<Vec<KeyName>, WalletError> {
        let names = self.hotkey_names(wallet, &mut Vec::new())?;
        Ok(names.into_iter().map(KeyName::Hotkey).collect())
    }

    fn inspect_key(
        &self,
        wallet: &WalletName,
        key: KeyName,
        passwords: Option<&dyn PasswordSource>,
    ) -> KeyReport {
        let mut problems = Vec::new();
        let (secret, opened) = secret_file(self.key_path(wallet, &key), passwords, &mut problems);
        let (public, stated) = public_file(self.public_path(wallet, &key), &mut problems);
        let address = opened.as_ref().map(|secret| secret.keypair().hotkey());
        if let (Some(in_secret), Some(in_public)) = (address, stated)
            && in_secret != in_public
        {
            let (secret, public) = (secret.path.clone(), public.path.clone());
            problems.push(Problem::Disagree { secret, in_secret, public, in_public });
        }
        if opened.is_some_and(|secret| secret.phrase().is_some() && secret.own_phrase().is_none()) {
            problems.push(Problem::Words { path: secret.path.clone() });
        }
        if (secret.form, public.form) == (Form::Absent, Form::Absent) {
            problems.push(Problem::Absent { key: key.clone(), path: secret.path.clone() });
        }
        KeyReport { key, address: address.or(stated), verified: address.is_some(), secret, public, problems }
    }
}

fn secret_file(
    path: PathBuf,
    passwords: Option<&dyn PasswordSource>,
    problems: &mut Vec<Problem>,
) -> (FileReport, Option<Secret>) {
    let mut unusable = |source| problems.push(Problem::Unusable { path: path.clone(), source });
    let (bytes, mode) = match file::read_with_mode(&path) {
        Ok(read) => read,
        Err(KeyfileError::Missing) => return (FileReport { path, form: Form::Absent, mode: None }, None),
        Err(source) => {
            unusable(source);
            return (FileReport { path, form: Form::Unusable, mode: None }, None);
        }
    };
    if file::is_open(mode) {
        unusable(KeyfileError::TooOpen { mode, path: path.clone() });
    }
    let encryption = Encryption::of(&bytes);
    let decoded = match (encryption, passwords) {
        (Some(_), None) => None,
        (Some(_), Some(passwords)) => Some(keyfile::decode(&bytes, &path, passwords)),
        (None, _) => Some(keyfile::decode(&bytes, &path, &crate::NoPassword)),
    };
    let (form, secret) = match (encryption, decoded.transpose()) {
        (Some(encryption), Ok(secret)) => (Form::Encrypted(encryption), secret),
        (None, Ok(secret)) => (Form::Plain, secret),
        (encryption, Err(source)) => {
            unusable(source);
            (encryption.map_or(Form::Unusable, Form::Encrypted), None)
        }
    };
    (FileReport { path, form, mode: Some(mode) }, secret)
}

fn public_file(path: PathBuf, problems: &mut Vec<Problem>) -> (FileReport, Option<Hotkey>) {
    let read = file::read_with_mode(&path);
    let mode = read.as_ref().ok().map(|(_, mode)| *mode);
    if let Some(mode) = mode.filter(|mode| mode & 0o022 != 0) {
        problems.push(Problem::Writable { path: path.clone(), mode });
    }
    match read.and_then(|(bytes, _)| keyfile::public_key(&bytes)) {
        Ok(key) => (FileReport { path, form: Form::Public, mode }, Some(key)),
        Err(KeyfileError::Missing) => (FileReport { path, form: Form::Absent, mode }, None),
        Err(source) => {
            problems.push(Problem::Unusable { path: path.clone(), source });
            (FileReport { path, form: Form::Unusable, mode }, None)
        }
    }
}

/// Name and path of every entry that is not hidden; none if the directory does not exist.
fn entries(directory: &Path) -> Result<Vec<(OsString, PathBuf)>, WalletError> {
    let failed = |source| WalletError::Directory { path: directory.to_owned(), source };
    let read = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        read => read.map_err(failed)?,
    };
    let mut found = Vec::new();
    for entry in read {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name();
        if name.as_encoded_bytes().starts_with(b".") {
            continue;
        }
        if found.len() == MOST {
            return Err(failed(io::Error::other(format!("it has more than {MOST} entries"))));
        }
        found.push((name, entry.path()));
    }
    Ok(found)
}
