//! What logs in: a key from memory, a key from a file that nobody else can read, a password; and how such a file is made.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use basilica_ports::{BoxError, Entropy, Identity, ShellError};
use basilica_types::{SshKeyError, SshPublicKey, quoted};
use russh::keys::ssh_key::LineEnding;
use russh::keys::ssh_key::private::Ed25519Keypair;
use russh::keys::{PrivateKey, decode_secret_key};
use zeroize::Zeroizing;

/// An RSA key with 16,384 bits takes about 13 kB.
const MAX_KEY_FILE: u64 = 64 * 1024;

/// Why a key file is of no use.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// It cannot be opened or read.
    #[error("read the private key file")]
    Read(#[source] std::io::Error),
    /// A directory, a pipe or a device.
    #[error("it is {0}, not a file")]
    NotAFile(&'static str),
    /// Its public half, which opens nothing.
    #[error("it is a public key; name the private one, which has the same name without .pub")]
    Public,
    /// Others could read it: whoever can has the operator's access to every node.
    #[error("Permissions {mode:04o} for '{}' are too open; run: chmod 600 {}", path.display(), quoted(&path.to_string_lossy()))]
    TooOpen {
        /// Permission bits.
        mode: u32,
        /// The file.
        path: PathBuf,
    },
    /// No private key is that long.
    #[error("file is larger than 64 KiB, so it is not a private key")]
    TooLarge,
    /// A service cannot type a passphrase.
    #[error(
        "private key is protected by a passphrase; use a key without one, or remove it with: ssh-keygen -p"
    )]
    Passphrase,
    /// Its first line is that of a private key, and the rest does not fit.
    #[error("the private key is damaged: part of it is missing or changed; copy it anew, whole and as bytes")]
    Damaged(#[source] russh::keys::Error),
    /// Not a private key in OpenSSH, PKCS#8 or PKCS#1 form.
    #[error("file is not a private key in OpenSSH or PEM form")]
    Parse(#[source] russh::keys::Error),
    /// Neither Ed25519 nor RSA nor ECDSA.
    #[error("private key is of a type that is not supported; use ed25519, rsa or ecdsa")]
    Algorithm(#[source] SshKeyError),
    /// A password was given where a key is needed.
    #[error("a password has no public half")]
    Password,
}

/// Why there is no new key.
#[derive(Debug, thiserror::Error)]
pub enum NewKeyError {
    /// A file is there, and no key is ever written over another.
    #[error("{} exists already", .0.display())]
    Exists(PathBuf),
    /// It cannot be made or written.
    #[error("write {}", path.display())]
    Write {
        /// The file or directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The library cannot print it: a defect.
    #[error("print the new key")]
    Form(#[source] BoxError),
}

/// Makes an Ed25519 key pair as `ssh-keygen -t ed25519 -N ''` does: the private key at `path` for its owner only, the public one
/// beside it with `comment`. A missing directory is made for its owner only.
pub fn create_key(path: &Path, comment: &str, entropy: &dyn Entropy) -> Result<SshPublicKey, NewKeyError> {
    let seed = Zeroizing::new(entropy.array::<32>());
    let mut key = PrivateKey::from(Ed25519Keypair::from_seed(&seed));
    key.set_comment(comment);
    let form = |error: russh::keys::ssh_key::Error| NewKeyError::Form(error.into());
    let private = key.to_openssh(LineEnding::LF).map_err(form)?;
    let public = key.public_key().to_openssh().map_err(form)?;
    let at = |path: &Path| {
        let path = path.to_owned();
        move |source| NewKeyError::Write { path, source }
    };
    if let Some(directory) = path.parent().filter(|directory| !directory.as_os_str().is_empty()) {
        DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(at(directory))?;
    }
    let mut public_path = path.as_os_str().to_owned();
    public_path.push(".pub");
    let public_path = PathBuf::from(public_path);
    if public_path.exists() {
        return Err(NewKeyError::Exists(public_path));
    }
    // The public half first: a private key without it would look like one that somebody put there.
    write_new(&public_path, 0o644, format!("{public}\n").as_bytes()).map_err(at(&public_path))?;
    if let Err(source) = write_new(path, 0o600, private.as_bytes()) {
        // Not ours to keep without the key that it belongs to.
        let _ = std::fs::remove_file(&public_path);
        return Err(match source.kind() {
            std::io::ErrorKind::AlreadyExists => NewKeyError::Exists(path.to_owned()),
            _ => NewKeyError::Write { path: path.to_owned(), source },
        });
    }
    let (_, public) = public_half(key).map_err(|error| NewKeyError::Form(error.into()))?;
    Ok(public)
}

fn write_new(path: &Path, mode: u32, bytes: &[u8]) -> std::io::Result<()> {
    let mut file: File = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// What is shown to a server.
pub(crate) enum Credential {
    Key(Box<PrivateKey>),
    Password(Zeroizing<String>),
}

pub(crate) fn credential(identity: &Identity) -> Result<Credential, ShellError> {
    match identity {
        Identity::Password(password) => Ok(Credential::Password(password.clone())),
        Identity::Ephemeral(_) | Identity::File(_) => {
            load(identity).map(|(key, _)| Credential::Key(Box::new(key)))
        }
    }
}

/// The private key of an identity, and its public half as nodes know it. Reads a small file: call off the runtime.
fn load(identity: &Identity) -> Result<(PrivateKey, SshPublicKey), ShellError> {
    match identity {
        Identity::Ephemeral(seed) => {
            let key = PrivateKey::from(Ed25519Keypair::from_seed(seed));
            public_half(key).map_err(|error| unusable(Path::new("ephemeral"), error))
        }
        Identity::File(path) => read_key(path).and_then(public_half).map_err(|error| unusable(path, error)),
        Identity::Password(_) => Err(unusable(Path::new("password"), KeyFileError::Password)),
    }
}

pub(crate) fn public_key(identity: &Identity) -> Result<SshPublicKey, ShellError> {
    load(identity).map(|(_, public)| public)
}

fn unusable(path: &Path, error: KeyFileError) -> ShellError {
    ShellError::Identity { path: path.to_owned(), source: BoxError::from(error) }
}

fn public_half(key: PrivateKey) -> Result<(PrivateKey, SshPublicKey), KeyFileError> {
    let blob = key.public_key().to_bytes().map_err(|e| KeyFileError::Parse(e.into()))?;
    let public = SshPublicKey::from_blob(&blob).map_err(KeyFileError::Algorithm)?;
    Ok((key, public))
}

fn read_key(path: &Path) -> Result<PrivateKey, KeyFileError> {
    let kind = std::fs::metadata(path).map_err(KeyFileError::Read)?.file_type();
    if !kind.is_file() {
        // To open a pipe is to wait for its other end.
        return Err(KeyFileError::NotAFile(if kind.is_dir() { "a directory" } else { "a pipe or a device" }));
    }
    let file = std::fs::File::open(path).map_err(KeyFileError::Read)?;
    // Of the open file, not of the path: nothing can be swapped in between.
    let metadata = file.metadata().map_err(KeyFileError::Read)?;
    let mode = metadata.permissions().mode() & 0o7777;
    let mut bytes = Zeroizing::new(Vec::new());
    let length = file.take(MAX_KEY_FILE + 1).read_to_end(&mut bytes).map_err(KeyFileError::Read)?;
    // What is no text is no key either.
    let text = std::str::from_utf8(&bytes).unwrap_or_default();
    if text.trim().parse::<SshPublicKey>().is_ok() {
        return Err(KeyFileError::Public);
    }
    if mode & 0o077 != 0 {
        return Err(KeyFileError::TooOpen { mode, path: path.to_owned() });
    }
    if length as u64 > MAX_KEY_FILE {
        return Err(KeyFileError::TooLarge);
    }
    decode_secret_key(text, None).map_err(|error| match error {
        russh::keys::Error::KeyIsEncrypted => KeyFileError::Passphrase,
        other if bytes.trim_ascii_start().starts_with(b"-----BEGIN ") => KeyFileError::Damaged(other),
        other => KeyFileError::Parse(other),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn generated(kind: &[&str]) -> (tempfile::TempDir, PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("id");
        let status = std::process::Command::new("ssh-keygen")
            .args(["-q", "-C", "", "-f"])
            .arg(&path)
            .args(kind)
            .status()
            .expect("ssh-keygen is needed: apt-get install openssh-client");
        assert!(status.success());
        (directory, path)
    }

    fn cause(identity: &Identity) -> KeyFileError {
        match public_key(identity).unwrap_err() {
            ShellError::Identity { source, .. } => *source.downcast().unwrap(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn keys_of_every_supported_type_have_the_public_half_that_ssh_keygen_wrote() {
        for kind in [["-t", "ed25519"], ["-t", "ecdsa"], ["-t", "rsa"]] {
            let (_directory, path) = generated(&[kind[0], kind[1], "-N", ""]);
            let written = std::fs::read_to_string(path.with_extension("pub")).unwrap();
            assert_eq!(public_key(&Identity::File(path)).unwrap(), written.parse().unwrap());
        }
    }

    #[test]
    fn a_key_that_others_can_read_is_refused() {
        let (_directory, path) = generated(&["-t", "ed25519", "-N", ""]);
        for mode in [0o644, 0o640, 0o620, 0o601] {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            let error = cause(&Identity::File(path.clone()));
            let expected = format!("Permissions {mode:04o} for '{}' are too open", path.display());
            assert!(error.to_string().starts_with(&expected), "{error}");
        }
    }

    #[test]
    fn a_passphrase_is_named_as_the_reason() {
        let (_directory, path) = generated(&["-t", "ed25519", "-N", "secret-words"]);
        assert!(matches!(cause(&Identity::File(path)), KeyFileError::Passphrase));
    }

    #[test]
    fn a_new_key_is_one_that_ssh_keygen_takes_and_overwrites_nothing() {
        use basilica_ports::Entropy;
        struct Counting;
        impl Entropy for Counting {
            fn fill(&self, bytes: &mut [u8]) {
                bytes.iter_mut().zip(1..).for_each(|(byte, count)| *byte = count);
            }
        }
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("not/yet/there");
        let key = create_key(&path, "a comment", &Counting).unwrap();
        let output = std::process::Command::new("ssh-keygen").arg("-yf").arg(&path).output().unwrap();
        let derived = String::from_utf8(output.stdout).unwrap();
        assert_eq!(derived.trim_end(), format!("{key} a comment"));
        let public = path.with_extension("pub");
        assert_eq!(std::fs::read_to_string(&public).unwrap(), derived);
        assert_eq!(public_key(&Identity::File(path.clone())).unwrap(), key);
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        let modes = (mode(&path), mode(&public), mode(path.parent().unwrap()));
        assert_eq!(modes, (0o600, 0o644, 0o700));
        let before = std::fs::read(&path).unwrap();
        assert!(matches!(create_key(&path, "", &Counting), Err(NewKeyError::Exists(_))));
        std::fs::remove_file(&public).unwrap();
        assert!(matches!(create_key(&path, "", &Counting), Err(NewKeyError::Exists(_))));
        assert_eq!((std::fs::read(&path).unwrap(), public.exists()), (before, false));
    }

    #[test]
    fn a_password_is_never_shown_and_is_no_key() {
        let identity = Identity::Password(Zeroizing::new("hunter2".to_owned()));
        assert!(!format!("{identity:?}").contains("hunter2"));
        assert!(matches!(cause(&identity), KeyFileError::Password));
    }

    #[test]
    fn files_that_are_no_keys_are_refused() {
        let directory = tempfile::tempdir().unwrap();
        let write = |name: &str, content: &[u8]| {
            let path = directory.path().join(name);
            std::fs::write(&path, content).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
            Identity::File(path)
        };
        assert!(matches!(cause(&write("empty", b"")), KeyFileError::Parse(_)));
        assert!(matches!(cause(&write("words", b"not a key\n")), KeyFileError::Parse(_)));
        assert!(matches!(cause(&write("bytes", &[0xff; 100])), KeyFileError::Parse(_)));
        assert!(matches!(cause(&write("long", &[b'a'; 70_000])), KeyFileError::TooLarge));
        let (_directory, whole) = generated(&["-t", "ed25519", "-N", ""]);
        assert!(matches!(cause(&Identity::File(whole.with_extension("pub"))), KeyFileError::Public));
        let text = std::fs::read_to_string(&whole).unwrap();
        for garbled in
            [&text[..text.len() / 2], &text.replace('A', "?"), "-----BEGIN OPENSSH PRIVATE KEY-----\n"]
        {
            let told = cause(&write("garbled", garbled.as_bytes()));
            assert!(matches!(told, KeyFileError::Damaged(_)), "{told}");
        }
        assert!(matches!(
            cause(&Identity::File(directory.path().to_owned())),
            KeyFileError::NotAFile("a directory")
        ));
        let pipe = directory.path().join("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        assert!(matches!(cause(&Identity::File(pipe)), KeyFileError::NotAFile(_)));
        let missing = Identity::File(directory.path().join("missing"));
        assert!(matches!(cause(&missing), KeyFileError::Read(_)));
    }

    #[test]
    fn an_ephemeral_key_is_the_ed25519_key_of_its_seed() {
        // RFC 8032, section 7.1, test 1.
        let seed = [
            0x9d, 0x61, 0xb1, 0x9d, 0xef, 0xfd, 0x5a, 0x60, 0xba, 0x84, 0x4a, 0xf4, 0x92, 0xec, 0x2c, 0xc4,
            0x44, 0x49, 0xc5, 0x69, 0x7b, 0x32, 0x69, 0x19, 0x70, 0x3b, 0xac, 0x03, 0x1c, 0xae, 0x7f, 0x60,
        ];
        let public = public_key(&Identity::Ephemeral(Zeroizing::new(seed))).unwrap();
        assert_eq!(public.algorithm(), "ssh-ed25519");
        assert_eq!(&public.blob()[19..23], &[0xd7, 0x5a, 0x98, 0x01]);
    }
}
