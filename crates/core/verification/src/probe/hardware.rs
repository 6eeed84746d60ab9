//! The machine around the GPUs: processor, memory, system.

use codec::{Decode, Encode};
use serde::Serialize;

use super::sections::decimal;
use super::text::{ParseError, text, the_one, utf8};

/// Most processors that a machine is believed to have.
const CPUS_MAX: u64 = 65_536;
/// Most memory that a machine is believed to have: 1 PiB, in KiB.
const MEMORY_MAX_KIB: u64 = 1 << 40;

/// What a node says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize)]
pub struct Hardware {
    /// As the processor calls itself.
    pub cpu_model: String,
    /// Logical processors.
    pub cpus: u32,
    /// Bytes of memory that the kernel uses.
    pub memory_bytes: u64,
    /// The system's name and version.
    pub os: String,
    /// The kernel's name and release.
    pub kernel: String,
}

/// Model and number of processors, of `lscpu` in the C locale. Newer versions indent, and name each kind of core of a
/// mixed processor; the first counts.
pub(super) fn lscpu(output: &[u8]) -> Result<(String, u32), ParseError> {
    let output = utf8(output, "lscpu printed no text")?;
    let models = output.split('\n').filter_map(|line| {
        let (name, value) = line.split_once(':')?;
        (name.trim_matches([' ', '\t']) == "Model name").then_some(value)
    });
    let model = models.take(1).next().ok_or(ParseError("lscpu names no model"))?;
    let cpus = the_one(output, "CPU(s)", ':', "lscpu counts no cpus, or twice")?;
    let cpus = decimal(cpus).filter(|cpus| (1..=CPUS_MAX).contains(cpus));
    let cpus = cpus.and_then(|cpus| u32::try_from(cpus).ok()).ok_or(ParseError("lscpu's count is none"))?;
    Ok((text(model, "lscpu's model is no text")?, cpus))
}

/// Bytes of memory, of `/proc/meminfo`.
pub(super) fn meminfo(output: &[u8]) -> Result<u64, ParseError> {
    let output = utf8(output, "meminfo is no text")?;
    let total = the_one(output, "MemTotal", ':', "meminfo has no MemTotal, or two")?;
    let kib = total.strip_suffix(" kB").and_then(decimal).filter(|kib| (1..=MEMORY_MAX_KIB).contains(kib));
    kib.and_then(|kib| kib.checked_mul(1024)).ok_or(ParseError("meminfo's MemTotal is no amount"))
}

/// Where a system does not say what it is.
pub(super) const UNKNOWN: &str = "unknown";

/// The system's name, of os-release(5), where every line is optional.
pub(super) fn os_release(output: &[u8]) -> Result<String, ParseError> {
    let output = utf8(output, "os-release is no text")?;
    let named = |key: &str| output.split('\n').any(|line| line.trim_ascii_start().starts_with(key));
    let Some(key) = ["PRETTY_NAME", "NAME"].into_iter().find(|key| named(&format!("{key}="))) else {
        return Ok(UNKNOWN.to_owned());
    };
    let name = the_one(output, key, '=', "os-release has two names")?;
    let quoted = |quote| name.strip_prefix(quote).and_then(|name: &str| name.strip_suffix(quote));
    text(quoted('"').or_else(|| quoted('\'')).unwrap_or(name), "os-release's name is no text")
}

/// The kernel's name and release, of `uname -sr`.
pub(super) fn uname(output: &[u8]) -> Result<String, ParseError> {
    text(utf8(output, "uname printed no text")?, "uname printed no line")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Recorded (Debian 12, util-linux 2.38, piped); flags and vulnerabilities left out.
    const LSCPU: &str = "Architecture:                            x86_64
CPU op-mode(s):                          32-bit, 64-bit
Address sizes:                           48 bits physical, 57 bits virtual
Byte Order:                              Little Endian
CPU(s):                                  2
On-line CPU(s) list:                     0,1
Vendor ID:                               GenuineIntel
Model name:                              Intel(R) Xeon(R) Processor
CPU family:                              6
Model:                                   207
NUMA node0 CPU(s):                       0,1";
    /// As util-linux 2.37 and later print to a terminal, with two kinds of cores; written after its documentation.
    const MIXED: &str = "Architecture:            aarch64
CPU(s):                  8
  On-line CPU(s) list:   0-7
Vendor ID:               ARM
  Model name:            Cortex-A55
    Model:               0
  Model name:            Cortex-A76
    Model:               1";
    /// Recorded (Debian 12).
    const MEMINFO: &str =
        "MemTotal:       24684084 kB\nMemFree:        14243088 kB\nMemAvailable:   23790092 kB";
    /// Recorded (Debian 12).
    const DEBIAN: &str = "PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nNAME=\"Debian GNU/Linux\"\nVERSION_ID=\"12\"\nID=debian";
    /// Written after os-release(5): quotes are optional.
    const BARE: &str = "PRETTY_NAME=Alpine\nID=alpine";

    #[test]
    fn what_the_tools_print_is_read() {
        assert_eq!(lscpu(LSCPU.as_bytes()), Ok(("Intel(R) Xeon(R) Processor".into(), 2)));
        assert_eq!(lscpu(MIXED.as_bytes()), Ok(("Cortex-A55".into(), 8)));
        assert_eq!(meminfo(MEMINFO.as_bytes()), Ok(24_684_084 * 1024));
        assert_eq!(os_release(DEBIAN.as_bytes()).as_deref(), Ok("Debian GNU/Linux 12 (bookworm)"));
        assert_eq!(os_release(BARE.as_bytes()).as_deref(), Ok("Alpine"));
        assert_eq!(uname(b"Linux 6.1.0-18-amd64").as_deref(), Ok("Linux 6.1.0-18-amd64"));
    }

    #[test]
    fn this_machines_own_tools_are_read() {
        let run = |program: &str, args: &[&str]| {
            let output = std::process::Command::new(program).args(args).env("LC_ALL", "C").output();
            output.expect("util-linux and coreutils are installed").stdout
        };
        assert!(lscpu(run("lscpu", &[]).trim_ascii_end()).is_ok());
        assert!(meminfo(&run("cat", &["/proc/meminfo"])).is_ok());
        assert!(os_release(&run("cat", &["/etc/os-release"])).is_ok());
        assert!(uname(run("uname", &["-sr"]).trim_ascii_end()).is_ok());
    }

    #[test]
    fn hostile_output_is_refused() {
        let long = format!("CPU(s): 2\nModel name: {}", "x".repeat(200));
        for bad in [
            &b""[..],
            b"CPU(s): 2",
            b"Model name: x",
            b"CPU(s): 2\nCPU(s): 4\nModel name: x",
            b"CPU(s): -2\nModel name: x",
            b"CPU(s): 0\nModel name: x",
            b"CPU(s): 99999999999999999999\nModel name: x",
            b"CPU(s): 65537\nModel name: x",
            b"CPU(s): 2\nModel name: \x1b[2Jx",
            b"CPU(s): 2\nModel name: a\0b",
            b"CPU(s): 2\nModel name: \xff",
            "CPU(s): 2\nModel name: \u{202e}x".as_bytes(),
            long.as_bytes(),
        ] {
            assert!(lscpu(bad).is_err(), "{:?}", String::from_utf8_lossy(bad));
        }
        for bad in [
            &b"MemTotal: 1 kB\nMemTotal: 2 kB"[..],
            b"MemTotal: 1",
            b"MemTotal: 1 MB",
            b"MemTotal: 0 kB",
            b"MemTotal: 18446744073709551615 kB",
            b"\xff",
            b"MemFree: 1 kB",
        ] {
            assert!(meminfo(bad).is_err(), "{:?}", String::from_utf8_lossy(bad));
        }
        assert!(os_release(b"PRETTY_NAME=\"\"").is_err());
        assert!(os_release(b"PRETTY_NAME=a\nPRETTY_NAME=b").is_err());
        assert!(uname(b"Linux\n6").is_err() && uname(b"").is_err());
    }
}
