//! The certificate that the server shows to those who want TLS.
//!
//! **What is promised.** A certificate that cannot be used (unreadable, of another key, of no key) is refused by name before anything
//! starts. One that expired is used all the same and told by [`ServerTls::validity`]: a miner whose operator forgot to renew it
//! must not stay away from validators, who trust signatures and never the transport. [`ServerTls::renew`] takes a new one for the
//! connections to come; those that stand keep theirs.
//!
//! TLS 1.2 and 1.3 with [`rustls`]' safe suites over ring, which the process has already; HTTP/2 is named by ALPN, as gRPC wants it.
//! No client certificate is asked for: who a client is says its signature.

mod self_signed;

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use basilica_types::Timestamp;
use sha2::{Digest as _, Sha256};
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::{self, PemObject as _};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{self, ServerConfig};
use x509_cert::Certificate;
use x509_cert::der::Decode as _;
use zeroize::Zeroizing;

pub use self_signed::{SelfSigned, SelfSignedError, self_signed};

/// Largest file of a certificate chain or key in bytes.
const MAX_FILE: u64 = 256 * 1024;

/// Why a certificate and its key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// One of the files cannot be read.
    #[error("read {}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The file has no certificate in PEM.
    #[error("{} holds no certificate in PEM (-----BEGIN CERTIFICATE-----)", path.display())]
    NoCertificate {
        /// The file.
        path: PathBuf,
    },
    /// What the file calls a certificate is none.
    #[error("{} is not a certificate", path.display())]
    Certificate {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: basilica_ports::BoxError,
    },
    /// The file has no private key in PEM. What it holds instead is not told.
    #[error("{} holds no private key in PEM without a passphrase (-----BEGIN PRIVATE KEY-----)", path.display())]
    NoKey {
        /// The file.
        path: PathBuf,
    },
    /// The key belongs to another certificate, or is of a kind that is not used for TLS.
    #[error(
        "the key in {} does not serve for the certificate in {}", key.display(), certificate.display()
    )]
    Pair {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// What is wrong.
        #[source]
        source: rustls::Error,
    },
}

/// When a certificate counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// From then on.
    pub from: Timestamp,
    /// Until then.
    pub until: Timestamp,
}

impl Validity {
    /// Whether it counts at that moment.
    pub fn covers(self, now: Timestamp) -> bool {
        (self.from..=self.until).contains(&now)
    }
}

/// A certificate with its key, as the server uses it. A clone is the same one: renewed together.
#[derive(Clone, Debug)]
pub struct ServerTls {
    shown: Arc<RwLock<Shown>>,
}

#[derive(Clone, Debug)]
struct Shown {
    config: Arc<ServerConfig>,
    fingerprint: String,
    validity: Validity,
}

impl ServerTls {
    /// Reads a chain of certificates, the server's own first, and its private key (PKCS #8, PKCS #1 or SEC 1), both in PEM.
    ///
    /// # Errors
    /// They cannot be used, whichever the time is.
    pub fn load(certificate: &Path, key: &Path) -> Result<Self, TlsError> {
        let chain = chain(certificate)?;
        let no_certificate = || TlsError::NoCertificate { path: certificate.to_owned() };
        let own = chain.first().ok_or_else(no_certificate)?;
        let (fingerprint, validity) = (fingerprint(own), validity(own, certificate)?);
        let key_bytes = read(key)?;
        let secret = PrivateKeyDer::from_pem_slice(&key_bytes)
            // The source could quote the file.
            .map_err(|_| TlsError::NoKey { path: key.to_owned() })?;
        let pair =
            |source| TlsError::Pair { certificate: certificate.to_owned(), key: key.to_owned(), source };
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, secret));
        let mut config = config.map_err(pair)?;
        config.alpn_protocols = vec![b"h2".to_vec()];
        let shown = Shown { config: Arc::new(config), fingerprint, validity };
        Ok(Self { shown: Arc::new(RwLock::new(shown)) })
    }

    /// Shows what `other` shows from the next connection on.
    pub fn renew(&self, other: &Self) {
        let new = other.shown();
        *self.shown.write().unwrap_or_else(PoisonError::into_inner) = new;
    }

    /// SHA-256 of the certificate, as `openssl x509 -fingerprint -sha256` prints it.
    pub fn fingerprint(&self) -> String {
        self.shown().fingerprint
    }

    /// When it counts.
    pub fn validity(&self) -> Validity {
        self.shown().validity
    }

    pub(crate) fn config(&self) -> Arc<ServerConfig> {
        self.shown().config
    }

    fn shown(&self) -> Shown {
        self.shown.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, TlsError> {
    let failed = |source| TlsError::Read { path: path.to_owned(), source };
    let mut bytes = Zeroizing::new(Vec::new());
    File::open(path).and_then(|file| file.take(MAX_FILE + 1).read_to_end(&mut bytes)).map_err(failed)?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(failed(io::Error::new(
            io::ErrorKind::FileTooLarge,
            format!("it has more than {MAX_FILE} bytes"),
        )));
    }
    Ok(bytes)
}

fn chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let bytes = read(path)?;
    let read: Result<Vec<_>, pem::Error> = CertificateDer::pem_slice_iter(&bytes).collect();
    read.map_err(|source| TlsError::Certificate { path: path.to_owned(), source: source.into() })
}

fn validity(certificate: &CertificateDer<'_>, path: &Path) -> Result<Validity, TlsError> {
    let read = Certificate::from_der(certificate)
        .map_err(|source| TlsError::Certificate { path: path.to_owned(), source: source.into() })?;
    let validity = read.tbs_certificate().validity();
    let moment = |time: x509_cert::time::Time| {
        Timestamp::from_secs(i64::try_from(time.to_unix_duration().as_secs()).unwrap_or(i64::MAX))
    };
    Ok(Validity { from: moment(validity.not_before), until: moment(validity.not_after) })
}

fn fingerprint(certificate: &[u8]) -> String {
    let mut text = String::with_capacity(95);
    for byte in Sha256::digest(certificate) {
        let colon = if text.is_empty() { "" } else { ":" };
        write!(text, "{colon}{byte:02X}").expect("a string takes everything");
    }
    text
}
