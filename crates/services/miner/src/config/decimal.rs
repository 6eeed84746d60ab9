//! Amounts as users write them, exact although TOML calls `2.50` a floating-point number.
//!
//! A number's shortest decimal text is taken, which is the one that was written as long as it has at most 15 digits.

use std::fmt;

use basilica_types::{BasisPoints, Rao, UnitError, UsdMicros};
use serde::de::{self, Deserializer, Visitor};
use serde::{Deserialize, Serialize, Serializer};

/// A price in US dollars.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HourlyRate(pub UsdMicros);

/// An amount of TAO.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tao(pub(super) Rao);

/// A share in percent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Percent(pub(super) BasisPoints);

impl Serialize for HourlyRate {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let UsdMicros(micros) = self.0;
        serializer.collect_str(&format_args!("{}.{:06}", micros / 1_000_000, micros % 1_000_000))
    }
}

impl Serialize for Tao {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0.tao())
    }
}

impl Serialize for Percent {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let points = self.0.value();
        serializer.collect_str(&format_args!("{}.{:02}", points / 100, points % 100))
    }
}

impl<'de> Deserialize<'de> for HourlyRate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let decimal =
            Decimal { expected: "a price in US dollars such as 2.50", parse: UsdMicros::parse_dollars };
        deserializer.deserialize_any(decimal).map(Self)
    }
}

impl<'de> Deserialize<'de> for Tao {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let decimal = Decimal { expected: "an amount of TAO such as 12000.0", parse: Rao::parse_tao };
        deserializer.deserialize_any(decimal).map(Self)
    }
}

impl<'de> Deserialize<'de> for Percent {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let decimal = Decimal { expected: "a percentage such as 1.5", parse: BasisPoints::parse_percent };
        deserializer.deserialize_any(decimal).map(Self)
    }
}

/// Reads a number or a text as an exact amount.
struct Decimal<T> {
    expected: &'static str,
    parse: fn(&str) -> Result<T, UnitError>,
}

impl<T> Visitor<'_> for Decimal<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expected)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        (self.parse)(text).map_err(E::custom)
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> Result<T, E> {
        self.visit_str(&number.to_string())
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<T, E> {
        self.visit_str(&number.to_string())
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<T, E> {
        self.visit_str(&number.to_string())
    }
}
