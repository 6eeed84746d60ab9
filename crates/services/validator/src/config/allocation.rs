use std::fmt;

use serde::de::value::MapAccessDeserializer;
use serde::de::{self, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

/// A category's part of the emission: a bare percentage, or with conditions.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(untagged)]
pub enum GpuAllocation {
    /// Percent.
    Percent(f64),
    /// Percent and conditions.
    Table(GpuAllocationTable),
}

/// Not derived: serde's words about an untagged value name our types and not its mistake.
impl<'de> Deserialize<'de> for GpuAllocation {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Part;

        impl<'de> Visitor<'de> for Part {
            type Value = GpuAllocation;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(
                    "a percentage such as 25.0, or { weight = 25.0, min_gpu_count = 8, min_gpu_vram = 80 }",
                )
            }

            fn visit_f64<E: de::Error>(self, percent: f64) -> Result<GpuAllocation, E> {
                Ok(GpuAllocation::Percent(percent))
            }

            fn visit_i64<E: de::Error>(self, percent: i64) -> Result<GpuAllocation, E> {
                let percent = i32::try_from(percent).map_err(|_| E::custom("is not a percentage"))?;
                self.visit_f64(percent.into())
            }

            fn visit_u64<E: de::Error>(self, percent: u64) -> Result<GpuAllocation, E> {
                let percent = u32::try_from(percent).map_err(|_| E::custom("is not a percentage"))?;
                self.visit_f64(percent.into())
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<GpuAllocation, A::Error> {
                GpuAllocationTable::deserialize(MapAccessDeserializer::new(map)).map(GpuAllocation::Table)
            }
        }

        deserializer.deserialize_any(Part)
    }
}

/// A category's part with conditions.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct GpuAllocationTable {
    /// Percent.
    pub weight: f64,
    /// A node with fewer GPUs of the category brings nothing.
    #[serde(default = "one")]
    pub min_gpu_count: u32,
    /// A GPU of the category with less memory than this, in GB of 10^9 bytes, brings nothing; 0 for any.
    #[serde(default)]
    pub min_gpu_vram: u32,
}

const fn one() -> u32 {
    1
}
