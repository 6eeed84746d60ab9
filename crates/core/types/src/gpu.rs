//! GPUs as the network names them.

use std::fmt;
use std::str::FromStr;

use crate::text::serde_as_text;

/// A text that is not an NVIDIA GPU UUID.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a GPU UUID of the form GPU-xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx")]
pub struct GpuUuidError;

/// The identity that a GPU claims, in NVIDIA's form `GPU-` + UUID in lower case. A claim until proven (RULES R10).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GpuUuid(uuid::Uuid);

impl GpuUuid {
    /// The 16 bytes behind the prefix, as they enter the proof's seed.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }

    /// A claim from 16 bytes.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(uuid::Uuid::from_bytes(bytes))
    }
}

impl FromStr for GpuUuid {
    type Err = GpuUuidError;

    fn from_str(text: &str) -> Result<Self, GpuUuidError> {
        let id = text.strip_prefix("GPU-").filter(|id| id.len() == 36).ok_or(GpuUuidError)?;
        uuid::Uuid::try_parse(id).map(Self).map_err(|_| GpuUuidError)
    }
}

impl fmt::Display for GpuUuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GPU-{}", self.0.as_hyphenated())
    }
}

impl fmt::Debug for GpuUuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

serde_as_text!(GpuUuid);

/// The class of GPU that shares one slice of the emission. Which card names belong to it is a table in config.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Category {
    /// NVIDIA A100.
    A100,
    /// NVIDIA H100.
    H100,
    /// NVIDIA H200.
    H200,
    /// NVIDIA B200.
    B200,
    /// Anything else that is verified.
    Other,
}

impl Category {
    /// Every category, in the order in which ties and tables are kept.
    pub const ALL: [Self; 5] = [Self::A100, Self::H100, Self::H200, Self::B200, Self::Other];

    /// The name on the wire, in config and in the UI.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::A100 => "A100",
            Self::H100 => "H100",
            Self::H200 => "H200",
            Self::B200 => "B200",
            Self::Other => "OTHER",
        }
    }
}

impl fmt::Display for Category {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gpu_uuid_has_one_spelling() {
        let text = "GPU-5d2e8a3c-9b41-4f07-8a6e-0c1d2e3f4a5b";
        assert_eq!(text.parse::<GpuUuid>().unwrap().to_string(), text);
        for bad in [
            "",
            "GPU-",
            "5d2e8a3c-9b41-4f07-8a6e-0c1d2e3f4a5b",
            "GPU-5d2e8a3c9b414f078a6e0c1d2e3f4a5b",
            "MIG-5d2e8a3c-9b41-4f07-8a6e-0c1d2e3f4a5b",
        ] {
            assert_eq!(bad.parse::<GpuUuid>(), Err(GpuUuidError), "{bad}");
        }
    }
}
