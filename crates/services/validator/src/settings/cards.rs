//! The table of cards: the built-in one with the configuration's entries.

use basilica_runtime_service::{ConfigError, Loaded};
use basilica_verification::{CARDS_MAX, CardError, CardRow, CardTable};

use crate::config::{GpuCardConfig, ValidatorConfig};

const SECTION: &str = "verification.gpu_cards";

pub(super) fn cards(loaded: &Loaded<ValidatorConfig>) -> Result<CardTable, ConfigError> {
    let reject = |(position, error): (usize, CardError)| {
        let (key, help) = told(&error);
        let key = if key.is_empty() { SECTION.to_owned() } else { format!("{SECTION}.{position}.{key}") };
        loaded.reject(&key, error.to_string(), Some(help))
    };
    let rows = loaded.value.verification.gpu_cards.iter().enumerate().map(|(position, card)| {
        let GpuCardConfig { name, category, min_vram_mib, max_vram_mib } = card.clone();
        CardRow::new(name, category, min_vram_mib, max_vram_mib).map_err(|error| (position, error))
    });
    rows.collect::<Result<_, _>>().and_then(CardTable::with).map_err(reject)
}

/// The key that is meant, and what to do.
fn told(error: &CardError) -> (&'static str, String) {
    match error {
        CardError::Memory { .. } => {
            let command = "nvidia-smi --query-gpu=name,memory.total --format=csv";
            ("min_vram_mib", format!("`{command}` prints it; both bounds are MiB"))
        }
        CardError::Empty { .. } => ("min_vram_mib", "exchange the two bounds".to_owned()),
        CardError::OfNoCard { mib, .. } => {
            ("min_vram_mib", format!("give bounds on both sides of {mib}, or remove the entry"))
        }
        CardError::Spelling { known } => ("name", format!("write `{known}`")),
        CardError::Twice(_) => ("name", "remove one of the entries".to_owned()),
        CardError::TooMany(_) => ("", format!("keep the {CARDS_MAX} that nodes have")),
    }
}
