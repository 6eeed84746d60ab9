//! From a believed server to a session: by key, or by password.

use std::sync::Arc;

use basilica_ports::{Dial, ShellError};
use russh::MethodKind;
use russh::client::{AuthResult, Handle, KeyboardInteractiveAuthResponse as Reply, Prompt};
use russh::keys::{HashAlg, PrivateKey, PrivateKeyWithHashAlg};
use zeroize::Zeroizing;

use crate::dial::{LOGIN, lost};
use crate::identity::Credential;
use crate::trust::{Learnt, Trust};

/// A server that asks for a password asks for it in the first or second round.
const ROUNDS: usize = 4;

/// By what means a server lets a user in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Methods {
    /// Keys.
    pub key: bool,
    /// A password, whether as one or as the answer to a question.
    pub password: bool,
    /// Nothing at all is needed.
    pub nothing: bool,
}

fn failed(error: russh::Error) -> ShellError {
    lost(LOGIN, error)
}

pub(crate) async fn log_in(
    dial: &Dial,
    handle: &mut Handle<Trust>,
    credential: Credential,
    learnt: &Learnt,
) -> Result<(), ShellError> {
    let result = match credential {
        Credential::Key(key) => by_key(dial, handle, key).await?,
        Credential::Password(password) => by_password(dial, handle, &password).await?,
    };
    match result {
        AuthResult::Success => Ok(()),
        // The library answers so too when the connection dies while it waits.
        AuthResult::Failure { remaining_methods, .. }
            if remaining_methods.is_empty() && handle.is_closed() && learnt.turned_away.get().is_none() =>
        {
            Err(failed(russh::Error::Disconnect))
        }
        AuthResult::Failure { remaining_methods, partial_success } => Err(ShellError::Denied {
            address: dial.address.clone(),
            wants_more: partial_success,
            // A server that ends the connection instead names none.
            takes_keys: remaining_methods.is_empty() || remaining_methods.contains(&MethodKind::PublicKey),
        }),
    }
}

async fn by_key(
    dial: &Dial,
    handle: &mut Handle<Trust>,
    key: Box<PrivateKey>,
) -> Result<AuthResult, ShellError> {
    let hash = if key.algorithm().is_rsa() {
        // A server that does not say which hashes it takes is old enough for SHA-256 but never asked for SHA-1.
        let offered = handle.best_supported_rsa_hash().await.map_err(failed)?.flatten();
        Some(offered.unwrap_or(HashAlg::Sha256))
    } else {
        None
    };
    let key = PrivateKeyWithHashAlg::new(Arc::from(key), hash);
    handle.authenticate_publickey(dial.address.user.as_str(), key).await.map_err(failed)
}

/// Asks which methods the user may try, which by itself is no attempt.
async fn offered(dial: &Dial, handle: &mut Handle<Trust>) -> Result<AuthResult, ShellError> {
    handle.authenticate_none(dial.address.user.as_str()).await.map_err(failed)
}

pub(crate) async fn methods(dial: &Dial, handle: &mut Handle<Trust>) -> Result<Methods, ShellError> {
    Ok(match offered(dial, handle).await? {
        AuthResult::Success => Methods { nothing: true, ..Methods::default() },
        AuthResult::Failure { remaining_methods: offered, .. } => Methods {
            key: offered.contains(&MethodKind::PublicKey),
            password: offered.contains(&MethodKind::Password)
                || offered.contains(&MethodKind::KeyboardInteractive),
            nothing: false,
        },
    })
}

/// By the one of the two methods that the server offers: trying both would be two failures for one wrong password. The library
/// keeps a copy of the password until the connection ends.
async fn by_password(
    dial: &Dial,
    handle: &mut Handle<Trust>,
    password: &Zeroizing<String>,
) -> Result<AuthResult, ShellError> {
    let before = offered(dial, handle).await?;
    let AuthResult::Failure { remaining_methods: offered, .. } = &before else { return Ok(before) };
    let user = dial.address.user.as_str();
    if offered.contains(&MethodKind::Password) {
        return handle.authenticate_password(user, password.as_str()).await.map_err(failed);
    }
    if !offered.contains(&MethodKind::KeyboardInteractive) {
        return Ok(before);
    }
    let mut reply = handle.authenticate_keyboard_interactive_start(user, None).await.map_err(failed)?;
    let mut answered = false;
    for _ in 0..ROUNDS {
        let answers = match reply {
            Reply::Success => return Ok(AuthResult::Success),
            Reply::Failure { remaining_methods, partial_success } => {
                return Ok(AuthResult::Failure { remaining_methods, partial_success });
            }
            Reply::InfoRequest { prompts, .. } => answers(&prompts, password, &mut answered),
        };
        let Some(answers) = answers else { return Ok(before) };
        reply = handle.authenticate_keyboard_interactive_respond(answers).await.map_err(failed)?;
    }
    Ok(before)
}

/// The password to the first hidden question. A second one is for something else, such as a new password or a code, which is
/// not ours to guess.
fn answers(prompts: &[Prompt], password: &Zeroizing<String>, answered: &mut bool) -> Option<Vec<String>> {
    match prompts {
        [] => Some(Vec::new()),
        [Prompt { echo: false, .. }] if !*answered => {
            *answered = true;
            Some(vec![password.as_str().to_owned()])
        }
        _ => None,
    }
}
