//! What a GPU and its driver must be able to do before anything is asked of them.
//!
//! Read from the claims, which are the driver's own words. The CUDA version is the newest that the driver runs, by NVIDIA's table of
//! driver branches: `nvidia-smi` prints the same number, in a form that changes.

use std::fmt;
use std::str::FromStr;

use basilica_proof::claim::{ComputeCapability, DeviceReport};
use codec::{Decode, Encode};
use serde::{Serialize, Serializer};

use crate::Reason;

/// A CUDA version, such as 12.8.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct CudaVersion {
    /// 1 to 99.
    pub major: u8,
    /// 0 to 9.
    pub minor: u8,
}

/// A text that is no version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is no version such as 12.8")]
pub struct VersionError;

impl FromStr for CudaVersion {
    type Err = VersionError;

    fn from_str(text: &str) -> Result<Self, VersionError> {
        // Of the same form.
        let ComputeCapability { major, minor } = text.parse().map_err(|_| VersionError)?;
        Ok(Self { major, minor })
    }
}

impl fmt::Display for CudaVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

impl Serialize for CudaVersion {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Driver branch and the CUDA version that came with it (CUDA Toolkit release notes, table of driver versions).
const BRANCHES: [(u16, u8, u8); 13] = [
    (450, 11, 0),
    (510, 11, 6),
    (525, 12, 0),
    (530, 12, 1),
    (535, 12, 2),
    (545, 12, 3),
    (550, 12, 4),
    (555, 12, 5),
    (560, 12, 6),
    (565, 12, 7),
    (570, 12, 8),
    (575, 12, 9),
    (580, 13, 0),
];

impl CudaVersion {
    /// The newest that a driver of this branch surely runs; none for branches of before.
    pub fn of_driver(branch: u16) -> Option<Self> {
        let row = BRANCHES.iter().rev().find(|(from, ..)| *from <= branch);
        row.map(|(_, major, minor)| Self { major: *major, minor: *minor })
    }
}

/// What is asked of every GPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CardRules {
    /// Least compute capability.
    pub capability: ComputeCapability,
    /// Least CUDA version of the driver.
    pub cuda: CudaVersion,
}

impl Default for CardRules {
    /// 8.0 (RULES R5) and 12.8.
    fn default() -> Self {
        Self {
            capability: ComputeCapability { major: 8, minor: 0 },
            cuda: CudaVersion { major: 12, minor: 8 },
        }
    }
}

/// The GPUs of a node as far as these rules look at them.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize)]
pub struct Cards {
    /// The driver's version.
    pub driver: String,
    /// The CUDA version that it runs, if its branch is known.
    pub cuda: Option<CudaVersion>,
    /// The least compute capability.
    #[serde(serialize_with = "as_version")]
    pub capability: [u8; 2],
    /// Whether one of them is split (MIG).
    pub mig: bool,
}

fn as_version<S: Serializer>([major, minor]: &[u8; 2], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{major}.{minor}"))
}

impl Cards {
    /// Of the devices that are asked to prove; none if there is none.
    pub fn of(devices: &[DeviceReport]) -> Option<Self> {
        let first = devices.first()?;
        let least = devices.iter().map(|device| device.facts.compute_capability).min()?;
        let branch = devices.iter().map(|device| device.facts.driver.major()).min()?;
        Some(Self {
            driver: first.facts.driver.as_str().to_owned(),
            cuda: branch.and_then(CudaVersion::of_driver),
            capability: [least.major, least.minor],
            mig: devices.iter().any(|device| device.facts.mig == Some(true)),
        })
    }

    /// What they lack.
    pub fn lacks(&self, rules: &CardRules) -> Option<Reason> {
        let [major, minor] = self.capability;
        if (ComputeCapability { major, minor }) < rules.capability {
            Some(Reason::GpuCapabilityTooLow)
        } else if self.cuda.is_none_or(|cuda| cuda < rules.cuda) {
            Some(Reason::CudaTooOld)
        } else {
            self.mig.then_some(Reason::GpuMigEnabled)
        }
    }
}

#[cfg(test)]
mod tests {
    use basilica_proof::{ClassName, DeviceFacts};
    use basilica_types::GpuUuid;

    use super::*;

    fn device(capability: &str, driver: &str, mig: Option<bool>) -> DeviceReport {
        let class: ClassName = "simulated-H100".parse().unwrap();
        let facts = DeviceFacts {
            compute_capability: capability.parse().unwrap(),
            driver: driver.parse().unwrap(),
            mig,
            ..DeviceFacts::simulated(&class, 0)
        };
        DeviceReport { index: 0, uuid: GpuUuid::from_bytes([1; 16]), class, facts }
    }

    #[test]
    fn each_requirement_has_its_reason_and_one_bad_card_is_enough() {
        let good = device("9.0", "570.124.06", Some(false));
        let rules = CardRules::default();
        for (bad, reason) in [
            (device("8.0", "570.26", None), None),
            (device("7.5", "570.26", None), Some(Reason::GpuCapabilityTooLow)),
            (device("8.0", "565.57.01", None), Some(Reason::CudaTooOld)),
            (device("8.0", "390.157", None), Some(Reason::CudaTooOld)),
            (device("10.0", "999", Some(true)), Some(Reason::GpuMigEnabled)),
        ] {
            for devices in
                [vec![bad.clone()], vec![good.clone(), bad.clone()], vec![bad.clone(), good.clone()]]
            {
                assert_eq!(Cards::of(&devices).unwrap().lacks(&rules), reason, "{bad:?}");
            }
        }
        assert_eq!(Cards::of(&[]), None);
    }

    #[test]
    fn driver_branches_run_the_cuda_version_of_nvidias_table() {
        let cuda = |branch| CudaVersion::of_driver(branch).map(|version| version.to_string());
        for (branch, version) in
            [(535, "12.2"), (550, "12.4"), (570, "12.8"), (572, "12.8"), (580, "13.0"), (610, "13.0")]
        {
            assert_eq!(cuda(branch).as_deref(), Some(version));
        }
        assert_eq!(cuda(440), None);
        assert!(BRANCHES.is_sorted());
        assert_eq!("12.8".parse(), Ok(CardRules::default().cuda));
        assert!("12".parse::<CudaVersion>().is_err() && "12.80".parse::<CudaVersion>().is_err());
    }
}
