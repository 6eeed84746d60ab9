//! Files that the configuration names.

use std::fs::{File, Metadata};
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use basilica_runtime_service::ConfigError;
use basilica_types::{SshPublicKey, quoted};

use super::check::Check;

/// No public key is longer, in bytes.
const PUBLIC_KEY_MAX: u64 = 16 * 1024;

impl Check<'_> {
    pub(super) fn path(&self, key: &str, text: &str) -> Result<PathBuf, ConfigError> {
        if text.is_empty() {
            return self.reject(key, "is empty", "");
        }
        let Some(rest) = text.strip_prefix('~') else { return Ok(PathBuf::from(text)) };
        match (self.home, rest.strip_prefix('/')) {
            (Some(home), Some(rest)) => Ok(home.join(rest)),
            (Some(home), None) if rest.is_empty() => Ok(home.to_owned()),
            _ => self.reject(key, "`~` cannot be resolved", "write the path in full"),
        }
    }

    pub(super) fn audit_log(&self) -> Result<Option<PathBuf>, ConfigError> {
        let settings = &self.settings.ssh_session;
        match settings.audit_log_path.as_deref().filter(|_| settings.enable_audit_logging) {
            Some(path) => self.path("ssh_session.audit_log_path", path).map(Some),
            None => Ok(None),
        }
    }

    /// A file that must be there; `help` says how to make it.
    pub(super) fn file(
        &self,
        key: &str,
        what: &str,
        path: &Path,
        help: &str,
    ) -> Result<Metadata, ConfigError> {
        let shown = path.display();
        match std::fs::metadata(path) {
            Ok(metadata) if metadata.is_file() => Ok(metadata),
            Ok(found) if found.is_dir() => {
                self.reject(key, format!("{what} {shown} is a directory"), "name the file in it")
            }
            Ok(_) => self.reject(key, format!("{what} {shown} is not a file"), ""),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                self.reject(key, format!("{what} {shown} does not exist"), help)
            }
            Err(error) => {
                let help = match error.kind() {
                    std::io::ErrorKind::PermissionDenied => {
                        "run this as the user whose file it is, or give that file to this user (ls -ld names the owner)"
                    }
                    _ => "",
                };
                self.reject(key, format!("{what} {shown} cannot be read: {error}"), help)
            }
        }
    }

    /// The same for one that nobody else may read.
    pub(super) fn private_file(
        &self,
        key: &str,
        what: &str,
        path: &Path,
        help: &str,
    ) -> Result<(), ConfigError> {
        let mode = self.file(key, what, path, help)?.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            let shown = path.display();
            // Others may read that one, and with other permissions it would be no more of use.
            if is_public_key(path) {
                let help = "name the file of the private key, which has the same name without .pub";
                return self.reject(key, format!("{shown} is a public key"), help);
            }
            let help =
                format!("others on this host could read it: chmod 600 {}", quoted(&path.to_string_lossy()));
            return self.reject(key, format!("Permissions {mode:04o} for {shown} are too open"), &help);
        }
        Ok(())
    }
}

fn is_public_key(path: &Path) -> bool {
    let mut text = String::new();
    let read = File::open(path).and_then(|file| file.take(PUBLIC_KEY_MAX).read_to_string(&mut text));
    read.is_ok() && text.trim().parse::<SshPublicKey>().is_ok()
}
