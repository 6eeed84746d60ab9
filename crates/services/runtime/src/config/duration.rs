use std::fmt;
use std::str::FromStr;

use basilica_types::Millis;
use serde::de::{Deserialize, Deserializer, Error, Visitor};
use serde::{Serialize, Serializer};

/// Units from the longest to the shortest, in milliseconds.
const UNITS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// A span of time as users write it: `"30s"`, `"10m"`, `"1h30m"`, `"250ms"`, or a bare number of seconds as in the
/// seeds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DurationSetting(pub Millis);

/// Not a span of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidDuration {
    /// Not numbers with units.
    #[error("not a duration; write it like \"30s\", \"10m\", \"6h\", \"14d\" or \"250ms\"")]
    Form,
    /// More than 584 million years.
    #[error("duration out of range")]
    Range,
}

impl DurationSetting {
    /// The span.
    pub const fn millis(self) -> Millis {
        self.0
    }
}

impl From<DurationSetting> for Millis {
    fn from(setting: DurationSetting) -> Self {
        setting.0
    }
}

impl FromStr for DurationSetting {
    type Err = InvalidDuration;

    fn from_str(text: &str) -> Result<Self, InvalidDuration> {
        let digits_end = |text: &str| text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        if !text.is_empty() && digits_end(text) == text.len() {
            let seconds: u64 = text.parse().map_err(|_| InvalidDuration::Range)?;
            return seconds.checked_mul(1_000).map(|ms| Self(Millis(ms))).ok_or(InvalidDuration::Range);
        }
        let mut rest = text;
        let mut total: u64 = 0;
        // Units must shrink from part to part, so that `5m5m` and `3s1h` are slips and not sums.
        let mut units = UNITS.as_slice();
        while !rest.is_empty() {
            let (digits, tail) = rest.split_at(digits_end(rest));
            let (unit, tail) = tail.split_at(digits_start(tail));
            let position = units.iter().position(|(name, _)| *name == unit).ok_or(InvalidDuration::Form)?;
            if digits.is_empty() {
                return Err(InvalidDuration::Form);
            }
            let count: u64 = digits.parse().map_err(|_| InvalidDuration::Range)?;
            total = count
                .checked_mul(units[position].1)
                .and_then(|part| total.checked_add(part))
                .ok_or(InvalidDuration::Range)?;
            units = &units[position + 1..];
            rest = tail;
        }
        if text.is_empty() { Err(InvalidDuration::Form) } else { Ok(Self(Millis(total))) }
    }
}

fn digits_start(text: &str) -> usize {
    text.find(|c: char| c.is_ascii_digit()).unwrap_or(text.len())
}

impl fmt::Display for DurationSetting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0.0;
        if rest == 0 {
            return f.write_str("0s");
        }
        for (name, size) in UNITS {
            if rest >= size {
                write!(f, "{}{name}", rest / size)?;
                rest %= size;
            }
        }
        Ok(())
    }
}

impl Serialize for DurationSetting {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for DurationSetting {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;

        impl Visitor<'_> for Reader {
            type Value = DurationSetting;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a duration like \"30s\" or a whole number of seconds")
            }

            fn visit_u64<E: Error>(self, seconds: u64) -> Result<DurationSetting, E> {
                let ms = seconds.checked_mul(1_000).ok_or_else(|| E::custom(InvalidDuration::Range))?;
                Ok(DurationSetting(Millis(ms)))
            }

            fn visit_i64<E: Error>(self, seconds: i64) -> Result<DurationSetting, E> {
                let seconds =
                    u64::try_from(seconds).map_err(|_| E::custom("a duration cannot be negative"))?;
                self.visit_u64(seconds)
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<DurationSetting, E> {
                text.parse().map_err(E::custom)
            }
        }

        deserializer.deserialize_any(Reader)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn durations_are_read_with_units_and_without() {
        for (text, ms) in [
            ("30s", 30_000),
            ("10m", 600_000),
            ("6h", 21_600_000),
            ("14d", 1_209_600_000),
            ("250ms", 250),
            ("1h30m", 5_400_000),
            ("300", 300_000),
            ("0s", 0),
        ] {
            assert_eq!(text.parse(), Ok(DurationSetting(Millis(ms))), "{text}");
        }
    }

    #[test]
    fn what_is_not_a_duration_is_refused() {
        for text in ["", "s", "30 s", "-5s", "1.5h", "5m5m", "3s1h", "10min", "1h30", "٣s"] {
            assert_eq!(text.parse::<DurationSetting>(), Err(InvalidDuration::Form), "{text}");
        }
        for text in ["99999999999999999999", "18446744073709551615s", "18446744073709551615ms1"] {
            assert!(text.parse::<DurationSetting>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn printed_durations_read_back(ms: u64) {
            let setting = DurationSetting(Millis(ms));
            prop_assert_eq!(setting.to_string().parse(), Ok(setting));
        }

        #[test]
        fn any_text_is_answered(text in "\\PC{0,40}") {
            let _ = text.parse::<DurationSetting>();
        }
    }
}
