use basilica_proof::ClassName;
use basilica_types::Category;
use serde::{Deserialize, Serialize};

/// `[[verification.gpu_cards]]`
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct GpuCardConfig {
    /// What the driver calls it, exactly: `nvidia-smi --query-gpu=name --format=csv,noheader` prints it.
    pub name: ClassName,
    /// Where it belongs.
    pub category: Category,
    /// Least memory, in MiB as `nvidia-smi` prints it; a card with less is OTHER.
    pub min_vram_mib: u64,
    /// Most memory, in MiB; a card with more is OTHER.
    pub max_vram_mib: u64,
}
