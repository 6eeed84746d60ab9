//! What `nvidia-smi` prints of GPUs at work: use, memory, heat, power.
//!
//! For an operator's eyes only: no verdict rests on it, so that a node gains nothing by lying. It is read as strictly as if it did:
//! whatever a node prints ends up on the screen of its operator.

use std::collections::BTreeSet;

use basilica_types::GpuUuid;

use super::text::{ParseError, text, utf8};

/// The fields that are asked for, in this order, for `--query-gpu` with `--format=csv,noheader,nounits`.
pub const READING_FIELDS: &str = "index,uuid,name,driver_version,utilization.gpu,memory.used,memory.total,temperature.gpu,power.draw,power.limit";
/// Most GPUs of one node.
pub const READINGS_MAX: usize = 64;
/// Most bytes of an answer.
pub const READINGS_BYTES: usize = READINGS_MAX * 512;
/// No card has so much: 16 TiB.
const MEMORY_MAX_MIB: u64 = 16 << 20;
/// No chip is so hot and lives, in degrees Celsius.
const HEAT_MAX: u64 = 200;
/// No card draws so much, in milliwatts.
const POWER_MAX: u64 = 10_000_000;

const FIELDS: ParseError = ParseError("nvidia-smi did not print ten fields for each gpu");
const NUMBER: ParseError = ParseError("nvidia-smi printed a number that cannot be");
const ORDER: ParseError = ParseError("nvidia-smi printed a gpu twice or too many of them");

/// A GPU at one moment. What its driver does not tell (`[N/A]`, `[Unknown Error]`) is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    /// The driver's number.
    pub index: u16,
    /// Its identity.
    pub uuid: Option<GpuUuid>,
    /// What the driver calls it.
    pub name: String,
    /// The driver's version.
    pub driver: String,
    /// Share of time in which it worked, 0 to 100.
    pub utilization_percent: Option<u8>,
    /// In use.
    pub memory_used_mib: Option<u64>,
    /// In all.
    pub memory_total_mib: Option<u64>,
    /// Of the chip.
    pub temperature_celsius: Option<u16>,
    /// Drawn now.
    pub power_milliwatts: Option<u64>,
    /// The most that it may draw.
    pub power_limit_milliwatts: Option<u64>,
}

/// Reads the answer for [`READING_FIELDS`]; in order of index.
///
/// # Errors
/// It has another form, or says what cannot be.
pub fn readings(output: &[u8]) -> Result<Vec<Reading>, ParseError> {
    let output = utf8(output, "nvidia-smi printed no text")?;
    let lines = output.lines().map(str::trim).filter(|line| !line.is_empty());
    let mut read = lines.take(READINGS_MAX + 1).map(reading).collect::<Result<Vec<_>, _>>()?;
    let indexes: BTreeSet<u16> = read.iter().map(|reading| reading.index).collect();
    if indexes.len() != read.len() || read.len() > READINGS_MAX {
        return Err(ORDER);
    }
    read.sort_by_key(|reading| reading.index);
    Ok(read)
}

fn reading(line: &str) -> Result<Reading, ParseError> {
    let fields: Vec<&str> = line.splitn(11, ',').map(str::trim).collect();
    let [index, uuid, name, driver, busy, used, total, heat, power, limit] = fields[..] else {
        return Err(FIELDS);
    };
    let uuid = told(uuid).map(|uuid| uuid.parse().map_err(|_| ParseError("nvidia-smi printed no gpu uuid")));
    Ok(Reading {
        index: index.parse().map_err(|_| NUMBER)?,
        uuid: uuid.transpose()?,
        name: text(name, "nvidia-smi printed a name that cannot be shown")?,
        driver: text(driver, "nvidia-smi printed a driver version that cannot be shown")?,
        utilization_percent: number(busy, 100)?,
        memory_used_mib: number(used, MEMORY_MAX_MIB)?,
        memory_total_mib: number(total, MEMORY_MAX_MIB)?,
        temperature_celsius: number(heat, HEAT_MAX)?,
        power_milliwatts: thousandths(power)?,
        power_limit_milliwatts: thousandths(limit)?,
    })
}

/// What the driver does not tell stands in brackets: `[N/A]`, `[Not Supported]`, `[GPU requires reset]`; some branches leave them out
/// of `N/A`.
fn told(field: &str) -> Option<&str> {
    let untold = field == "N/A" || (field.starts_with('[') && field.ends_with(']'));
    (!untold).then_some(field)
}

fn number<T: TryFrom<u64>>(field: &str, most: u64) -> Result<Option<T>, ParseError> {
    let Some(field) = told(field) else { return Ok(None) };
    let number = digits(field)?;
    if number > most { Err(NUMBER) } else { T::try_from(number).map(Some).map_err(|_| NUMBER) }
}

/// Without a sign, which `parse` would take.
fn digits(field: &str) -> Result<u64, ParseError> {
    let are_digits = !field.is_empty() && field.bytes().all(|byte| byte.is_ascii_digit());
    if are_digits { field.parse().map_err(|_| NUMBER) } else { Err(NUMBER) }
}

/// A decimal number with at most three places, in thousandths.
fn thousandths(field: &str) -> Result<Option<u64>, ParseError> {
    let Some(field) = told(field) else { return Ok(None) };
    let (whole, fraction) = field.split_once('.').unwrap_or((field, "0"));
    if !(1..=3).contains(&fraction.len()) {
        return Err(NUMBER);
    }
    let number = digits(whole)?.checked_mul(1_000).ok_or(NUMBER)?;
    let number = number.checked_add(digits(&format!("{fraction:0<3}"))?).ok_or(NUMBER)?;
    if number > POWER_MAX { Err(NUMBER) } else { Ok(Some(number)) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const H100: &str = "0, GPU-5e1c3a4b-0c1d-4e2f-8a9b-0123456789ab, NVIDIA H100 80GB HBM3, 570.124.06, 97, 70123, 81559, 64, 650.12, 700.00";

    #[test]
    fn a_card_at_work_is_read_exactly() {
        let read = readings(format!("{H100}\n").as_bytes()).unwrap();
        let [card] = &read[..] else { panic!("one card") };
        assert_eq!(
            (card.index, card.name.as_str(), card.driver.as_str()),
            (0, "NVIDIA H100 80GB HBM3", "570.124.06")
        );
        assert_eq!(card.utilization_percent, Some(97));
        assert_eq!((card.memory_used_mib, card.memory_total_mib), (Some(70_123), Some(81_559)));
        assert_eq!(card.temperature_celsius, Some(64));
        assert_eq!((card.power_milliwatts, card.power_limit_milliwatts), (Some(650_120), Some(700_000)));
        assert!(card.uuid.is_some());
    }

    #[test]
    fn what_a_driver_does_not_tell_is_none() {
        let line = "3, GPU-5e1c3a4b-0c1d-4e2f-8a9b-0123456789ab, NVIDIA A100-SXM4-40GB, 535.54.03, [N/A], [Unknown Error], 40960, \
                    [GPU requires reset], [Not Supported], N/A";
        let card = &readings(line.as_bytes()).unwrap()[0];
        assert_eq!(
            (card.utilization_percent, card.memory_used_mib, card.temperature_celsius),
            (None, None, None)
        );
        assert_eq!(
            (card.memory_total_mib, card.power_milliwatts, card.power_limit_milliwatts),
            (Some(40_960), None, None)
        );
        assert_eq!(readings(b"\n"), Ok(Vec::new()));
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let with = |from: &str, to: &str| readings(H100.replace(from, to).as_bytes());
        for (from, to) in [
            (", 97,", ", 101,"),
            (", 97,", ", -1,"),
            (", 97,", ", +9,"),
            (", 64,", ", 201,"),
            ("70123", "99999999999999999999"),
            ("650.12", "650.1234"),
            ("650.12", "1e3"),
            ("700.00", "700."),
            (", 700.00", ""),
            ("700.00", "700.00, 1"),
            ("GPU-5e1c", "GPU-"),
            ("NVIDIA H100 80GB HBM3", "\u{1b}[2Jcard"),
            ("NVIDIA H100 80GB HBM3", ""),
            ("0, GPU", "65536, GPU"),
        ] {
            assert!(with(from, to).is_err(), "{from} -> {to}");
        }
        assert_eq!(readings(format!("{H100}\n{H100}").as_bytes()), Err(ORDER));
        assert!(
            readings(b"NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.")
                .is_err()
        );
        assert!(readings(&[0xff, 0xfe]).is_err());
        let many: String = (0..=READINGS_MAX).map(|n| format!("{n}{}\n", &H100[1..])).collect();
        assert_eq!(readings(many.as_bytes()), Err(ORDER));
    }

    proptest! {
        #[test]
        fn no_bytes_do_harm(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = readings(&bytes);
            let _ = readings(&[H100.as_bytes(), &bytes].concat());
        }
    }
}
