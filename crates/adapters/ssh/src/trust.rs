//! Which server key is believed.

use std::borrow::Cow;
use std::sync::{Arc, OnceLock};

use basilica_ports::HostKeyPolicy;
use basilica_types::{HostKey, SshPublicKey};
use russh::client::{ChannelOpenHandle, DisconnectReason, Msg, Session};
use russh::keys::{Algorithm, EcdsaCurve, HashAlg, PublicKeyOrCertificate};
use russh::{Channel, Disconnect, Preferred, client};

/// The key that a server proved to hold.
#[derive(Clone, Debug)]
pub(crate) struct ShownKey {
    pub(crate) fingerprint: String,
    /// Absent where the type is none that we know.
    pub(crate) key: Option<HostKey>,
}

/// What one connection learnt about its server; shared with the protocol's task, written once each.
#[derive(Debug, Default)]
pub(crate) struct Learnt {
    pub(crate) shown: OnceLock<ShownKey>,
    /// Set if the shown key was refused.
    pub(crate) refused: OnceLock<()>,
    /// Set if the server ended the connection because of the login.
    pub(crate) turned_away: OnceLock<()>,
}

/// Checks the server's key at the first and at each later key exchange.
pub(crate) struct Trust {
    policy: HostKeyPolicy,
    learnt: Arc<Learnt>,
}

impl Trust {
    pub(crate) const fn new(policy: HostKeyPolicy, learnt: Arc<Learnt>) -> Self {
        Self { policy, learnt }
    }

    fn believes(&self, key: Option<&HostKey>) -> bool {
        let Some(key) = key else { return false };
        let first = self.learnt.shown.get().and_then(|shown| shown.key.as_ref());
        // Also under `Learn`, a connection has one key for its whole life.
        first == Some(key)
            && match &self.policy {
                HostKeyPolicy::Pinned(pinned) => pinned.contains(key),
                HostKeyPolicy::Learn => true,
            }
    }
}

impl client::Handler for Trust {
    type Error = russh::Error;

    async fn check_server_key(&mut self, server: &PublicKeyOrCertificate) -> Result<bool, russh::Error> {
        // Certificates are not offered in the negotiation, so one here is a server that breaks the protocol.
        let PublicKeyOrCertificate::PublicKey { key: server, .. } = server else { return Ok(false) };
        let key = server.to_bytes().ok().and_then(|blob| SshPublicKey::from_blob(&blob).ok());
        let fingerprint = server.fingerprint(HashAlg::Sha256).to_string();
        self.learnt.shown.get_or_init(|| ShownKey { fingerprint, key: key.clone() });
        let believed = self.believes(key.as_ref());
        if !believed {
            self.learnt.refused.get_or_init(|| ());
        }
        Ok(believed)
    }

    async fn disconnected(&mut self, reason: DisconnectReason<russh::Error>) -> Result<(), russh::Error> {
        let because_of_login = match &reason {
            // The code that OpenSSH sends with `Too many authentication failures` is ProtocolError.
            DisconnectReason::ReceivedDisconnect(info) => matches!(
                info.reason_code,
                Disconnect::NoMoreAuthMethodsAvailable
                    | Disconnect::ProtocolError
                    | Disconnect::IllegalUserName
                    | Disconnect::HostNotAllowedToConnect
            ),
            DisconnectReason::Error(error) => matches!(error, russh::Error::NoAuthMethod),
        };
        if because_of_login {
            self.learnt.turned_away.get_or_init(|| ());
        }
        match reason {
            DisconnectReason::ReceivedDisconnect(_) => Ok(()),
            DisconnectReason::Error(error) => Err(error),
        }
    }

    // The library accepts by default what a server wants to open towards us. We forward nothing, so a server that
    // tries wants our memory: the connection ends.

    async fn server_channel_open_forwarded_tcpip(
        &mut self,
        _: Channel<Msg>,
        _: &str,
        _: u32,
        _: &str,
        _: u32,
        _: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), russh::Error> {
        UNASKED
    }

    async fn server_channel_open_forwarded_streamlocal(
        &mut self,
        _: Channel<Msg>,
        _: &str,
        _: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), russh::Error> {
        UNASKED
    }

    async fn server_channel_open_agent_forward(
        &mut self,
        _: Channel<Msg>,
        _: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), russh::Error> {
        UNASKED
    }

    async fn server_channel_open_session(
        &mut self,
        _: Channel<Msg>,
        _: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), russh::Error> {
        UNASKED
    }

    async fn server_channel_open_direct_tcpip(
        &mut self,
        _: Channel<Msg>,
        _: &str,
        _: u32,
        _: &str,
        _: u32,
        _: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), russh::Error> {
        UNASKED
    }

    async fn server_channel_open_direct_streamlocal(
        &mut self,
        _: Channel<Msg>,
        _: &str,
        _: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), russh::Error> {
        UNASKED
    }

    async fn server_channel_open_x11(
        &mut self,
        _: Channel<Msg>,
        _: &str,
        _: u32,
        _: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), russh::Error> {
        UNASKED
    }
}

const UNASKED: Result<(), russh::Error> = Err(russh::Error::Inconsistent);

/// Algorithms by which a server may prove its key: those of the pinned keys first, so that a server with several keys
/// shows one that we know; then the others, so that a changed key is seen as such and not as a failed
/// negotiation. `ssh-rsa` signatures (SHA-1) are not among them.
pub(crate) fn preferred(policy: &HostKeyPolicy) -> Preferred {
    let mut algorithms = vec![
        Algorithm::Ed25519,
        Algorithm::Ecdsa { curve: EcdsaCurve::NistP256 },
        Algorithm::Ecdsa { curve: EcdsaCurve::NistP384 },
        Algorithm::Ecdsa { curve: EcdsaCurve::NistP521 },
        Algorithm::Rsa { hash: Some(HashAlg::Sha512) },
        Algorithm::Rsa { hash: Some(HashAlg::Sha256) },
    ];
    if let HostKeyPolicy::Pinned(keys) = policy {
        let is_pinned = |algorithm: &Algorithm| keys.iter().any(|key| key.algorithm() == key_type(algorithm));
        algorithms.sort_by_key(|algorithm| !is_pinned(algorithm));
    }
    Preferred { key: Cow::Owned(algorithms), ..Preferred::DEFAULT }
}

/// The type of the keys that sign by `algorithm`.
fn key_type(algorithm: &Algorithm) -> &str {
    match algorithm {
        Algorithm::Rsa { .. } => "ssh-rsa",
        other => other.as_str(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first_types(policy: &HostKeyPolicy) -> Vec<String> {
        preferred(policy).key.iter().map(|a| a.as_str().to_owned()).collect()
    }

    #[test]
    fn types_of_pinned_keys_are_negotiated_first_and_sha1_never() {
        assert_eq!(first_types(&HostKeyPolicy::Learn)[0], "ssh-ed25519");
        let mut blob = vec![0, 0, 0, 7];
        blob.extend_from_slice(b"ssh-rsa");
        blob.extend_from_slice(&[0, 0, 0, 3, 1, 0, 1, 0, 0, 1, 1]);
        blob.extend_from_slice(&[0x7f; 257]);
        let rsa = SshPublicKey::from_blob(&blob).unwrap();
        let types = first_types(&HostKeyPolicy::Pinned(vec![rsa]));
        assert_eq!(types[..3], ["rsa-sha2-512", "rsa-sha2-256", "ssh-ed25519"]);
        assert!(!types.contains(&"ssh-rsa".to_owned()));
    }
}
