//! `[validator_comms] tls_*`: gRPC with TLS beside plain gRPC, or alone.

use std::path::PathBuf;

use basilica_runtime_service::{ConfigError, Loaded, Notice};

use super::check::Check;
use super::settings::Settings;

/// Where the certificate and its key are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsConfig {
    /// The chain of certificates in PEM, the miner's own first.
    pub certificate: PathBuf,
    /// Its private key in PEM.
    pub key: PathBuf,
    /// Whether those who speak no TLS are turned away.
    pub required: bool,
}

const CERTIFICATE: &str = "validator_comms.tls_cert_path";
const KEY: &str = "validator_comms.tls_key_path";

/// Where the certificate and its key are or belong, as far as the configuration says. Needs no such files, which
/// [`check`](super::check()) does as soon as TLS is on.
///
/// # Errors
/// A path is none.
pub fn tls_paths(
    loaded: &Loaded<Settings>,
    home: Option<&std::path::Path>,
) -> Result<(Option<PathBuf>, Option<PathBuf>), ConfigError> {
    Check::new(loaded, home).tls_paths()
}

impl Check<'_> {
    fn tls_paths(&self) -> Result<(Option<PathBuf>, Option<PathBuf>), ConfigError> {
        let comms = &self.settings.validator_comms;
        let path = |key, text: &Option<String>| text.as_ref().map(|text| self.path(key, text)).transpose();
        Ok((path(CERTIFICATE, &comms.tls_cert_path)?, path(KEY, &comms.tls_key_path)?))
    }

    pub(super) fn tls(&self, notices: &mut Vec<Notice>) -> Result<Option<TlsConfig>, ConfigError> {
        const HELP: &str = "make both with: basilica-miner tls self-signed --host YOUR_PUBLIC_IP";
        let comms = &self.settings.validator_comms;
        let (certificate, key) = self.tls_paths()?;
        if !comms.tls_enabled {
            if comms.tls_required {
                return self.reject(
                    "validator_comms.tls_required",
                    "has no meaning without tls_enabled = true",
                    "set tls_enabled too, or remove the key",
                );
            }
            return Ok(None);
        }
        let named = |name, path: Option<PathBuf>| match path {
            Some(path) => Ok(path),
            None => self.reject(name, "is missing, and tls_enabled = true needs it", HELP),
        };
        let (certificate, key) = (named(CERTIFICATE, certificate)?, named(KEY, key)?);
        self.file(CERTIFICATE, "certificate", &certificate, HELP)?;
        self.private_file(KEY, "TLS key", &key, HELP)?;
        if comms.tls_required {
            let message =
                "true: validators of this version speak no TLS, and none of them will reach this miner";
            notices.push(self.notice("validator_comms.tls_required", message));
        }
        Ok(Some(TlsConfig { certificate, key, required: comms.tls_required }))
    }
}
