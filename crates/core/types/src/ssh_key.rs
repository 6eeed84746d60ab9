//! OpenSSH public keys as values: parsed strictly, compared by content, printed in one form.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use sha2::{Digest as _, Sha256};

use crate::text::serde_as_text;

/// Longest key that is accepted: RSA with 16,384 bits takes about 2.1 kB.
const MAX_BLOB: usize = 4096;

/// The key types of the seeds, less `ssh-dss`: OpenSSH refuses it at login since 7.0 and dropped it in 10.0, so a
/// deployed DSA key could never work.
const ALGORITHMS: [&str; 5] =
    ["ssh-ed25519", "ssh-rsa", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521"];

/// Why a line is not an OpenSSH public key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SshKeyError {
    /// Not `algorithm base64 [comment]` on a single line.
    #[error("ssh public key is not of the form 'algorithm base64 [comment]'")]
    Form,
    /// Not one of ssh-ed25519, ssh-rsa and ecdsa-sha2-nistp*.
    #[error("ssh key type is not one of ssh-ed25519, ssh-rsa, ecdsa-sha2-nistp256/384/521")]
    Algorithm,
    /// The base64 part is malformed or too long.
    #[error("ssh key data is not canonical base64 of at most 4096 bytes")]
    Data,
    /// The data speaks of another key type than the line, or its fields do not add up.
    #[error("ssh key data does not match its type")]
    Mismatch,
}

/// An OpenSSH public key: its algorithm and its wire blob. A comment is dropped when parsing.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SshPublicKey {
    algorithm: &'static str,
    blob: Vec<u8>,
}

impl SshPublicKey {
    /// The key's algorithm name, such as `ssh-ed25519`.
    pub const fn algorithm(&self) -> &'static str {
        self.algorithm
    }

    /// The key in SSH wire format, as servers present it and hashes cover it.
    pub fn blob(&self) -> &[u8] {
        &self.blob
    }

    /// A key from its wire blob; the algorithm is the blob's own first field.
    pub fn from_blob(blob: &[u8]) -> Result<Self, SshKeyError> {
        if blob.len() > MAX_BLOB {
            return Err(SshKeyError::Data);
        }
        let name = field(blob).ok_or(SshKeyError::Mismatch)?.0;
        let algorithm =
            ALGORITHMS.into_iter().find(|a| a.as_bytes() == name).ok_or(SshKeyError::Algorithm)?;
        let fields = fields(blob).ok_or(SshKeyError::Mismatch)?;
        let shape_holds = match (algorithm, fields.as_slice()) {
            ("ssh-ed25519", [_, key]) => key.len() == 32,
            ("ssh-rsa", [_, exponent, modulus]) => !exponent.is_empty() && modulus.len() >= 128,
            ("ssh-ed25519" | "ssh-rsa", _) => false,
            (ecdsa, [_, curve, point]) => ecdsa.as_bytes().ends_with(curve) && point.len() > 64,
            _ => false,
        };
        if shape_holds { Ok(Self { algorithm, blob: blob.to_vec() }) } else { Err(SshKeyError::Mismatch) }
    }

    /// The fingerprint that `ssh-keygen -l` shows: `SHA256:` and unpadded base64.
    pub fn fingerprint(&self) -> String {
        format!("SHA256:{}", STANDARD_NO_PAD.encode(Sha256::digest(&self.blob)))
    }
}

/// The first length-prefixed field and what follows it.
fn field(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    rest.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)
}

/// All fields, at most four, with nothing left over.
fn fields(mut bytes: &[u8]) -> Option<Vec<&[u8]>> {
    let mut fields = Vec::with_capacity(3);
    while !bytes.is_empty() {
        let (value, rest) = field(bytes)?;
        if fields.len() == 4 {
            return None;
        }
        fields.push(value);
        bytes = rest;
    }
    Some(fields)
}

impl FromStr for SshPublicKey {
    type Err = SshKeyError;

    fn from_str(line: &str) -> Result<Self, SshKeyError> {
        let line = line.trim_end_matches(['\r', '\n']);
        if line.len() > MAX_BLOB * 2 || line.chars().any(char::is_control) {
            return Err(SshKeyError::Form);
        }
        let mut words = line.splitn(3, ' ');
        let (Some(algorithm), Some(data)) = (words.next(), words.next()) else {
            return Err(SshKeyError::Form);
        };
        let blob = STANDARD.decode(data).map_err(|_| SshKeyError::Data)?;
        let key = Self::from_blob(&blob)?;
        if key.algorithm == algorithm { Ok(key) } else { Err(SshKeyError::Mismatch) }
    }
}

impl fmt::Display for SshPublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.algorithm, STANDARD.encode(&self.blob))
    }
}

impl fmt::Debug for SshPublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.algorithm, self.fingerprint())
    }
}

serde_as_text!(SshPublicKey);

/// The public key by which a node's SSH server is known.
pub type HostKey = SshPublicKey;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    // The key bytes count up from 0; `ssh-keygen -lf` of OpenSSH 9.2 printed the fingerprint.
    const ED25519: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f";

    #[test]
    fn a_key_keeps_its_content_and_loses_its_comment() {
        let key: SshPublicKey = format!("{ED25519} me@laptop validator-x\n").parse().unwrap();
        assert_eq!(key.to_string(), ED25519);
        assert_eq!(key.algorithm(), "ssh-ed25519");
        assert_eq!(key.fingerprint(), "SHA256:ZkAslGjFiUHdGf/WUL8rQvkib4PTvQatUV0OUQSncCA");
        assert_eq!(SshPublicKey::from_blob(key.blob()), Ok(key));
    }

    #[test]
    fn lines_that_could_smuggle_something_are_refused() {
        let with_options = format!("command=\"sh\" {ED25519}");
        let two_lines = format!("{ED25519} x\nssh-ed25519 AAAA");
        let wrong_type = ED25519.replacen("ssh-ed25519", "ssh-rsa", 1);
        for bad in [
            "",
            "ssh-ed25519",
            "ssh-ed25519 ",
            "ssh-ed25519 !!!!",
            &with_options,
            &two_lines,
            &wrong_type,
            "ssh-dss AAAAB3NzaC1kc3M=",
            "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5",
            "ssh-ed25519  AAAA",
        ] {
            assert!(bad.parse::<SshPublicKey>().is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn any_ed25519_key_prints_and_parses(bytes: [u8; 32]) {
            let mut blob = vec![0, 0, 0, 11];
            blob.extend_from_slice(b"ssh-ed25519");
            blob.extend_from_slice(&[0, 0, 0, 32]);
            blob.extend_from_slice(&bytes);
            let key = SshPublicKey::from_blob(&blob).unwrap();
            prop_assert_eq!(key.to_string().parse(), Ok(key));
        }

        #[test]
        fn no_blob_panics(blob in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = SshPublicKey::from_blob(&blob);
        }
    }
}
