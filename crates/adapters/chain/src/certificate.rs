//! The key by which a neuron is known on TLS, as the chain takes and keeps it.

use basilica_ports::{ChainError, FailureClass};
use subxt::ext::scale_decode::DecodeAsType;

use crate::item::{NEURON_CERTIFICATES, View};

/// The longest public key that the chain keeps.
const KEY_MAX: usize = 64;

#[derive(Debug, DecodeAsType)]
#[decode_as_type(crate_path = "subxt::ext::scale_decode")]
struct Certificate {
    public_key: Vec<u8>,
    algorithm: u8,
}

/// Refuses what the chain would not keep: it takes one byte for the algorithm and then the key, and drops in silence
/// what it cannot.
pub(crate) fn check(certificate: &[u8]) -> Result<(), ChainError> {
    match certificate {
        [_, key @ ..] if (1..=KEY_MAX).contains(&key.len()) => Ok(()),
        _ => Err(ChainError::Preflight {
            rule: format!(
                "a certificate has one byte for its algorithm and a public key of 1 to {KEY_MAX} bytes, this one has {}",
                certificate.len()
            ),
            class: FailureClass::Invalid,
        }),
    }
}

/// Whether the chain keeps this certificate of the hotkey.
pub(crate) async fn is_served(
    view: &View,
    keys: (u16, [u8; 32]),
    certificate: &[u8],
) -> Result<bool, ChainError> {
    let kept: Option<Certificate> = view.storage(NEURON_CERTIFICATES, keys).await?;
    Ok(kept.is_some_and(|kept| certificate.split_first() == Some((&kept.algorithm, &kept.public_key[..]))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certificates_that_the_chain_would_drop_are_refused() {
        for length in [2, 33, 65] {
            assert!(check(&vec![1; length]).is_ok(), "{length}");
        }
        for length in [0, 1, 66] {
            assert_eq!(check(&vec![1; length]).unwrap_err().class(), FailureClass::Invalid, "{length}");
        }
    }
}
