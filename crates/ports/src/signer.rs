use basilica_types::Hotkey;
use basilica_wire::Signature;

/// Signs as this process's hotkey. The secret stays behind the port.
pub trait HotkeySigner: Send + Sync + 'static {
    /// Who signs.
    fn hotkey(&self) -> Hotkey;

    /// An sr25519 signature over `payload`.
    fn sign(&self, payload: &[u8]) -> Signature;
}
