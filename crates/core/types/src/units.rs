//! Time, money, sizes and shares, all integers (RULES R20).

use std::fmt;
use std::ops::{Add, Sub};
use std::str::FromStr;
use std::time::Duration;

use crate::text::number_id;

/// A text or value outside the range of a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnitError {
    /// Not a plain decimal number of US dollars with at most six digits after the point.
    #[error("not a dollar amount with at most six decimals")]
    Dollars,
    /// Not a plain decimal number of TAO with at most nine digits after the point.
    #[error("not an amount of TAO with at most nine decimals")]
    Tao,
    /// Not a plain decimal number of percent with at most two digits after the point.
    #[error("not a percentage with at most two decimals")]
    Percent,
    /// More than the type can hold.
    #[error("amount out of range")]
    Range,
    /// A share above the whole.
    #[error("share above 100 percent")]
    Share,
}

/// A plain decimal number in units of its `places`-th decimal, exactly: no sign, no exponent, `malformed` otherwise.
pub(crate) fn decimal(text: &str, places: u32, malformed: UnitError) -> Result<u64, UnitError> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    if !digits(whole) || !digits(fraction) {
        return Err(malformed);
    }
    let length = u32::try_from(fraction.len()).ok().filter(|length| *length <= places).ok_or(malformed)?;
    let whole: u64 = whole.parse().map_err(|_| UnitError::Range)?;
    let fraction: u64 = fraction.parse().map_err(|_| UnitError::Range)?;
    let scaled = fraction.checked_mul(10u64.pow(places - length)).ok_or(UnitError::Range)?;
    whole.checked_mul(10u64.pow(places)).and_then(|w| w.checked_add(scaled)).ok_or(UnitError::Range)
}

/// A moment, in milliseconds since 1970-01-01 UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// The moment `seconds` after the epoch; saturates at the ends of time.
    pub const fn from_secs(seconds: i64) -> Self {
        Self(seconds.saturating_mul(1000))
    }

    /// Whole seconds since the epoch, rounded down.
    pub const fn as_secs(self) -> i64 {
        self.0.div_euclid(1000)
    }

    /// In UTC for people, as `2025-01-01T00:00:00.000Z` (RFC 3339 within its years 0 to 9999). Days become a civil date by
    /// Howard Hinnant's algorithm, exact for every `i64` of milliseconds.
    pub fn rfc3339(self) -> String {
        let (days, ms) = (self.0.div_euclid(86_400_000), self.0.rem_euclid(86_400_000));
        let shifted = days + 719_468;
        let (era, day_of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
        let year_of_era =
            (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month_from_march = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
        let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
        let year = year_of_era + era * 400 + i64::from(month <= 2);
        let (hour, minute, second) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1_000 % 60);
        format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:03}Z", ms % 1_000)
    }

    /// Reads what [`Self::rfc3339`] writes, for the years 0 to 9999, and nothing else.
    pub fn from_rfc3339(text: &str) -> Option<Self> {
        const FORM: &[u8] = b"dddd-dd-ddTdd:dd:dd.dddZ";
        let fits =
            |(byte, form): (u8, &u8)| if *form == b'd' { byte.is_ascii_digit() } else { byte == *form };
        if text.len() != FORM.len() || !text.bytes().zip(FORM).all(fits) {
            return None;
        }
        let part = |from: usize, to: usize| text.get(from..to)?.parse::<i64>().ok();
        let (year, month, day) = (part(0, 4)?, part(5, 7)?, part(8, 10)?);
        let (hour, minute, second, ms) = (part(11, 13)?, part(14, 16)?, part(17, 19)?, part(20, 23)?);
        let year_from_march = if month <= 2 { year - 1 } else { year };
        let era = year_from_march.div_euclid(400);
        let year_of_era = year_from_march.rem_euclid(400);
        let month_from_march = (month + 9) % 12;
        let day_of_year = (153 * month_from_march + 2) / 5 + day - 1;
        let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
        let days = era * 146_097 + day_of_era - 719_468;
        let read = Self(((days * 24 + hour) * 60 + minute) * 60_000 + second * 1_000 + ms);
        // A day or an hour that does not exist is written as another one.
        (read.rfc3339() == text).then_some(read)
    }

    /// Time passed since `earlier`; zero if `earlier` is later than `self`.
    pub fn since(self, earlier: Self) -> Millis {
        Millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// The moment `span` later; saturates at the end of time.
    pub const fn saturating_add(self, span: Millis) -> Self {
        Self(self.0.saturating_add_unsigned(span.0))
    }

    /// Distance between two moments, whichever comes first.
    pub const fn abs_diff(self, other: Self) -> Millis {
        Millis(self.0.abs_diff(other.0))
    }
}

impl Add<Millis> for Timestamp {
    type Output = Self;

    fn add(self, span: Millis) -> Self {
        self.saturating_add(span)
    }
}

impl Sub<Millis> for Timestamp {
    type Output = Self;

    fn sub(self, span: Millis) -> Self {
        Self(self.0.saturating_sub_unsigned(span.0))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A span of time in milliseconds.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
#[serde(transparent)]
pub struct Millis(pub u64);

impl Millis {
    /// A span of whole seconds; saturates.
    pub const fn from_secs(seconds: u64) -> Self {
        Self(seconds.saturating_mul(1000))
    }

    /// The same span for APIs of the standard library.
    pub const fn as_duration(self) -> Duration {
        Duration::from_millis(self.0)
    }

    /// Longest span not above either.
    pub fn min(self, other: Self) -> Self {
        Self(self.0.min(other.0))
    }

    /// `self` minus `other`, at least zero.
    pub const fn saturating_sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

impl From<Duration> for Millis {
    /// Rounds down to whole milliseconds; spans beyond 584 million years saturate.
    fn from(span: Duration) -> Self {
        Self(u64::try_from(span.as_millis()).unwrap_or(u64::MAX))
    }
}

impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ms", self.0)
    }
}

number_id! {
    /// A size in bytes.
    Bytes(u64)
}

number_id! {
    /// An amount of US dollars in millionths.
    UsdMicros(u64)
}

impl UsdMicros {
    /// Parses a decimal amount such as `2.50` exactly; no sign, no exponent, at most six decimals.
    pub fn parse_dollars(text: &str) -> Result<Self, UnitError> {
        decimal(text, 6, UnitError::Dollars).map(Self)
    }

    /// Whole cents, rounded half up, as the seed's `hourly_rate_cents` wants them (RULES R20).
    pub const fn to_cents_half_up(self) -> u64 {
        self.0 / 10_000 + (self.0 % 10_000 >= 5_000) as u64
    }
}

/// A share in hundredths of a percent, 0..=10,000.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(transparent)]
pub struct BasisPoints(u16);

impl BasisPoints {
    /// None of it.
    pub const ZERO: Self = Self(0);
    /// All of it.
    pub const ONE: Self = Self(10_000);

    /// A share of at most the whole.
    pub const fn new(value: u16) -> Result<Self, UnitError> {
        if value > Self::ONE.0 { Err(UnitError::Share) } else { Ok(Self(value)) }
    }

    /// The number, 0..=10,000.
    pub const fn value(self) -> u16 {
        self.0
    }

    /// Parses a decimal number of percent such as `2.5` exactly, with at most two decimals.
    pub fn parse_percent(text: &str) -> Result<Self, UnitError> {
        let value = decimal(text, 2, UnitError::Percent)?;
        u16::try_from(value).map_err(|_| UnitError::Share).and_then(Self::new)
    }
}

/// A share in millionths, 0..=1,000,000.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(transparent)]
pub struct Ppm(u32);

impl Ppm {
    /// None of it.
    pub const ZERO: Self = Self(0);
    /// All of it.
    pub const ONE: Self = Self(1_000_000);

    /// A share of at most the whole.
    pub const fn new(value: u32) -> Result<Self, UnitError> {
        if value > Self::ONE.0 { Err(UnitError::Share) } else { Ok(Self(value)) }
    }

    /// The number, 0..=1,000,000.
    pub const fn value(self) -> u32 {
        self.0
    }
}

macro_rules! share_deserialize {
    ($name:ident, $inner:ty) => {
        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                Self::new(<$inner>::deserialize(deserializer)?).map_err(serde::de::Error::custom)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = UnitError;

            fn from_str(text: &str) -> Result<Self, UnitError> {
                Self::new(text.parse().map_err(|_| UnitError::Range)?)
            }
        }
    };
}

share_deserialize!(BasisPoints, u16);
share_deserialize!(Ppm, u32);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn moments_are_printed_in_utc() {
        for (ms, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (-1, "1969-12-31T23:59:59.999Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (4_107_542_399_999, "2100-02-28T23:59:59.999Z"),
            (1_735_689_600_123, "2025-01-01T00:00:00.123Z"),
        ] {
            assert_eq!(Timestamp(ms).rfc3339(), text);
            assert_eq!(Timestamp::from_rfc3339(text), Some(Timestamp(ms)));
        }
        for none in [
            "",
            "2025-01-01T00:00:00Z",
            "2025-02-29T00:00:00.000Z",
            "2025-13-01T00:00:00.000Z",
            "2025-00-01T00:00:00.000Z",
            "2025-01-01T24:00:00.000Z",
            "2025-01-01T00:00:60.000Z",
            "2025-01-01T00:00:00.000+",
            "+025-01-01T00:00:00.000Z",
        ] {
            assert_eq!(Timestamp::from_rfc3339(none), None, "{none}");
        }
        for edge in [i64::MIN, i64::MAX] {
            assert!(Timestamp(edge).rfc3339().ends_with('Z'));
        }
    }

    #[test]
    fn dollars_are_exact() {
        assert_eq!(UsdMicros::parse_dollars("2.50"), Ok(UsdMicros(2_500_000)));
        assert_eq!(UsdMicros::parse_dollars("0.000001"), Ok(UsdMicros(1)));
        assert_eq!(UsdMicros::parse_dollars("3"), Ok(UsdMicros(3_000_000)));
        for bad in ["", ".", "1.", ".5", "-1", "+1", "1e3", "1.0000001", "NaN", "1,5", "١"] {
            assert_eq!(UsdMicros::parse_dollars(bad), Err(UnitError::Dollars), "{bad}");
        }
        assert_eq!(UsdMicros::parse_dollars("99999999999999999999"), Err(UnitError::Range));
    }

    #[test]
    fn percentages_are_exact() {
        assert_eq!(BasisPoints::parse_percent("2.5"), BasisPoints::new(250));
        assert_eq!(BasisPoints::parse_percent("100"), Ok(BasisPoints::ONE));
        assert_eq!(BasisPoints::parse_percent("100.01"), Err(UnitError::Share));
        assert_eq!(BasisPoints::parse_percent("0.001"), Err(UnitError::Percent));
        assert_eq!(BasisPoints::parse_percent("9999999"), Err(UnitError::Share));
    }

    #[test]
    fn cents_round_half_up() {
        assert_eq!(UsdMicros(2_504_999).to_cents_half_up(), 250);
        assert_eq!(UsdMicros(2_505_000).to_cents_half_up(), 251);
    }

    #[test]
    fn shares_above_the_whole_do_not_exist() {
        assert_eq!(BasisPoints::new(10_001), Err(UnitError::Share));
        assert_eq!("1000001".parse::<Ppm>(), Err(UnitError::Share));
    }

    proptest! {
        #[test]
        fn seconds_round_down(ms: i64) {
            let t = Timestamp(ms);
            prop_assert!(t.as_secs().checked_mul(1000).is_none_or(|s| s <= ms && ms - s < 1000));
        }

        #[test]
        fn moments_read_back(ms in -62_167_219_200_000i64..253_402_300_800_000) {
            prop_assert_eq!(Timestamp::from_rfc3339(&Timestamp(ms).rfc3339()), Some(Timestamp(ms)));
        }

        #[test]
        fn since_and_add_agree(start in -1_000_000_000_000i64..10_000_000_000_000, span in 0u64..10_000_000_000) {
            let start = Timestamp(start);
            prop_assert_eq!((start + Millis(span)).since(start), Millis(span));
        }
    }
}
