//! Content with the validator's signature.

use basilica_ports::HotkeySigner;
use basilica_wire::{Domain, EnvelopeError, Signed};

/// Content, signed by a hotkey that this process need not hold itself.
///
/// # Errors
/// If the signer's answer is not a signature of the content.
pub(crate) fn sign<T: Domain>(signer: &dyn HotkeySigner, content: T) -> Result<Signed<T>, EnvelopeError> {
    let signature = signer.sign(&Signed::signing_payload(&content, &signer.hotkey()));
    Signed::assemble(content, signer.hotkey(), signature)
}
