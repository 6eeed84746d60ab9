use std::fmt;
use std::sync::Arc;

use basilica_ports::{Entropy, EntropyRng, HotkeySigner};
use basilica_types::Hotkey;
use basilica_wire::{Keypair, Signature};

/// Signs with a hotkey of a wallet; the randomness of each signature comes from the port (RULES R21).
pub struct WalletSigner {
    keypair: Keypair,
    entropy: Arc<dyn Entropy>,
}

impl WalletSigner {
    /// A signer that owns `keypair` for the life of the process.
    pub fn new(keypair: Keypair, entropy: Arc<dyn Entropy>) -> Self {
        Self { keypair, entropy }
    }
}

impl HotkeySigner for WalletSigner {
    fn hotkey(&self) -> Hotkey {
        self.keypair.hotkey()
    }

    fn sign(&self, payload: &[u8]) -> Signature {
        self.keypair.sign(payload, EntropyRng(&*self.entropy))
    }
}

impl fmt::Debug for WalletSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WalletSigner({}, secret redacted)", self.keypair.hotkey())
    }
}
