//! How things are said to people.

use std::fmt;

use basilica_types::{Millis, Ppm, UsdMicros};
use serde::{Deserialize, Deserializer, Serialize};

/// Most characters of a stranger's text.
const LONGEST: usize = 300;

/// A text that may come from a stranger, fit to be shown: one line of at most 300 characters without control characters, and
/// without those that reorder or hide what stands beside them.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Words(String);

impl Words {
    /// Makes a text fit: what may not be shown becomes a space (once for several), what is too long ends in an ellipsis.
    pub fn new(text: &str) -> Self {
        let mut shown = String::new();
        let mut length = 0;
        for c in text.chars() {
            let c = if is_shown(c) { c } else { ' ' };
            if c == ' ' && (shown.is_empty() || shown.ends_with(' ')) {
                continue;
            }
            if length == LONGEST {
                shown.push('…');
                break;
            }
            shown.push(c);
            length = length.saturating_add(1);
        }
        shown.truncate(shown.trim_end().len());
        Self(shown)
    }

    /// As it is shown.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Whether a character stands for itself on a line: no control character, no mark of direction, nothing without width.
pub fn is_shown(c: char) -> bool {
    !c.is_control()
        && !matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
}

impl fmt::Display for Words {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl From<&str> for Words {
    fn from(text: &str) -> Self {
        Self::new(text)
    }
}

impl From<String> for Words {
    fn from(text: String) -> Self {
        Self::new(&text)
    }
}

impl<'de> Deserialize<'de> for Words {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self::from)
    }
}

/// A span in its two largest units: `3 d 4 h`, `12 min`, `5 s`.
pub fn span(span: Millis) -> String {
    let seconds = span.0 / 1000;
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    let two = |large: u64, unit: &str, small: u64, part: &str| {
        if small == 0 { format!("{large} {unit}") } else { format!("{large} {unit} {small} {part}") }
    };
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => two(minutes, "min", if minutes < 10 { seconds % 60 } else { 0 }, "s"),
        (0, ..) => two(hours, "h", minutes, "min"),
        _ => two(days, "d", hours, "h"),
    }
}

/// A share with two decimals, rounded down so that 100 % means all: `99.95 %`.
pub fn percent(share: Ppm) -> String {
    let hundredths = share.value() / 100;
    format!("{}.{:02} %", hundredths / 100, hundredths % 100)
}

/// A count with what is counted, whose plural is regular: `1 node`, `2 nodes`.
pub fn counted<N: fmt::Display + PartialEq + From<u8>>(count: N, one: &str) -> String {
    let ending = if count == N::from(1) { "" } else { "s" };
    format!("{count} {one}{ending}")
}

/// An amount with as many decimals as it needs, at least two: `2.50`, `0.125`.
pub fn dollars(amount: UsdMicros) -> String {
    let fraction = format!("{:06}", amount.0 % 1_000_000);
    let kept = fraction.trim_end_matches('0').len().max(2);
    format!("{}.{}", amount.0 / 1_000_000, &fraction[..kept])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn one_of_a_thing_is_not_several() {
        assert_eq!(
            [0_u16, 1, 2].map(|count| counted(count, "more node")),
            ["0 more nodes", "1 more node", "2 more nodes"]
        );
    }

    #[test]
    fn spans_are_told_in_their_two_largest_units() {
        for (ms, told) in [
            (0, "0 s"),
            (999, "0 s"),
            (59_000, "59 s"),
            (61_000, "1 min 1 s"),
            (120_000, "2 min"),
            (601_000, "10 min"),
            (3_600_000, "1 h"),
            (5_400_000, "1 h 30 min"),
            (90_000_000, "1 d 1 h"),
            (86_400_000, "1 d"),
        ] {
            assert_eq!(span(Millis(ms)), told);
        }
    }

    #[test]
    fn shares_and_amounts_are_told_exactly() {
        let share = |ppm| percent(Ppm::new(ppm).unwrap());
        assert_eq!(
            [share(1_000_000), share(999_999), share(0), share(123_456)],
            ["100.00 %", "99.99 %", "0.00 %", "12.34 %"]
        );
        let amount = |micros| dollars(UsdMicros(micros));
        assert_eq!(
            [amount(2_500_000), amount(125_000), amount(0), amount(1)],
            ["2.50", "0.125", "0.00", "0.000001"]
        );
    }

    #[test]
    fn what_reorders_or_controls_a_line_is_a_space() {
        assert_eq!(Words::new(" a\n\u{1b}[2J\u{202e}b\u{200b} c ").as_str(), "a [2J b c");
        assert_eq!(Words::new("NVIDIA H100 80GB HBM3").as_str(), "NVIDIA H100 80GB HBM3");
        let long = Words::new(&"ä".repeat(1_000));
        assert_eq!(long.as_str().chars().count(), LONGEST + 1);
        assert!(long.as_str().ends_with('…'));
    }

    proptest! {
        #[test]
        fn words_are_one_bounded_line_whatever_was_said(text: String) {
            let words = Words::new(&text);
            prop_assert!(words.as_str().chars().all(is_shown));
            prop_assert!(words.as_str().chars().count() <= LONGEST + 1);
            prop_assert_eq!(&Words::new(words.as_str()), &words);
            let json = serde_json::to_string(&words).unwrap();
            prop_assert_eq!(serde_json::from_str::<Words>(&json).unwrap(), words);
        }
    }
}
