//! A certificate that vouches for itself: enough where a client is told its fingerprint, and to try TLS out.

use std::time::Duration;

use basilica_types::{Millis, Timestamp};
use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose,
};
use x509_cert::der::pem::{self, LineEnding};
use zeroize::Zeroizing;

use super::fingerprint;

/// So much before now it begins to count: clocks differ.
const EARLIER: Duration = Duration::from_secs(3600);

/// Why there is none.
#[derive(Debug, thiserror::Error)]
pub enum SelfSignedError {
    /// A name cannot stand in a certificate, or the system has no randomness.
    #[error("make a certificate for these names")]
    Make(#[from] rcgen::Error),
    /// It would count beyond the years that a certificate can name.
    #[error("a certificate cannot count for so long")]
    TooLong,
    /// It cannot be written down: a defect of this build.
    #[error("write the certificate in PEM")]
    Pem(#[from] pem::Error),
}

/// A certificate and its key, both in PEM.
pub struct SelfSigned {
    /// The certificate.
    pub certificate: String,
    /// The private key, PKCS #8.
    pub key: Zeroizing<String>,
    /// SHA-256 of the certificate, as `openssl x509 -fingerprint -sha256` prints it.
    pub fingerprint: String,
    /// Until when it counts.
    pub until: Timestamp,
}

impl std::fmt::Debug for SelfSigned {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SelfSigned").field("fingerprint", &self.fingerprint).finish_non_exhaustive()
    }
}

/// Makes a key of its own (ECDSA P-256: every gRPC client knows it, and signing costs a flood of handshakes a hundredth of what
/// RSA does) and a certificate for `hosts`, DNS names and IP addresses, that counts for `life`.
///
/// # Errors
/// One of the hosts is neither, or the life is longer than certificates can say.
pub fn self_signed(hosts: &[String], now: Timestamp, life: Millis) -> Result<SelfSigned, SelfSignedError> {
    let until = Timestamp(now.0.saturating_add_unsigned(life.0));
    let mut params = CertificateParams::new(hosts)?;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "basilica-miner");
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    let moment = |at: Timestamp| {
        let since = Duration::from_millis(u64::try_from(at.0).unwrap_or(0));
        epoch.checked_add(since.try_into().ok()?)
    };
    params.not_before = moment(now).ok_or(SelfSignedError::TooLong)? - EARLIER;
    params.not_after = moment(until).ok_or(SelfSignedError::TooLong)?;
    let key = KeyPair::generate()?;
    let certificate = params.self_signed(&key)?;
    let secret = Zeroizing::new(key.serialize_der());
    Ok(SelfSigned {
        certificate: pem::encode_string("CERTIFICATE", LineEnding::LF, certificate.der())?,
        key: Zeroizing::new(pem::encode_string("PRIVATE KEY", LineEnding::LF, &secret)?),
        fingerprint: fingerprint(certificate.der()),
        until,
    })
}
