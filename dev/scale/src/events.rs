//! What the validator's log says of its checks.

use std::collections::BTreeMap;

use basilica_types::Timestamp;
use serde_json::Value;

/// How a try ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Passed,
    Failed,
    /// Nothing is decided; the check is repeated.
    Retried,
}

/// A try's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    pub(crate) at: Timestamp,
    pub(crate) end: End,
    /// Of a full check; always false for one that is repeated, whose line does not tell.
    pub(crate) full: bool,
}

/// The findings on each node, by its id, in their order.
pub(crate) fn findings(log: &str) -> BTreeMap<String, Vec<Finding>> {
    let mut all: BTreeMap<String, Vec<Finding>> = BTreeMap::new();
    for line in log.lines() {
        if let Some((node, finding)) = finding(line) {
            all.entry(node).or_default().push(finding);
        }
    }
    all
}

fn finding(line: &str) -> Option<(String, Finding)> {
    // Most lines are of something else.
    line.contains("\"check ").then_some(())?;
    let line: Value = serde_json::from_str(line).ok()?;
    let end = match line["message"].as_str()? {
        "check passed" => End::Passed,
        "check failed" => End::Failed,
        "check failed and is retried" => End::Retried,
        _ => return None,
    };
    let (node, at) = (line["node.id"].as_str()?.to_owned(), moment(line["timestamp"].as_str()?)?);
    Some((node, Finding { at, end, full: line["check.kind"] == "full" }))
}

/// The moment of an RFC 3339 text in UTC, to the millisecond.
pub(crate) fn moment(text: &str) -> Option<Timestamp> {
    let (date, time): (&str, &str) = text.strip_suffix('Z')?.split_once('T')?;
    let numbers = |text: &str, by| text.split(by).map(|n| n.parse().ok()).collect::<Option<Vec<i64>>>();
    let (clock, fraction) = time.split_once('.').unwrap_or((time, "0"));
    let [year, month, day] = numbers(date, '-')?.try_into().ok()?;
    let [hours, minutes, seconds] = numbers(clock, ':')?.try_into().ok()?;
    let millis: i64 = format!("{fraction:0<3}").get(..3)?.parse().ok()?;
    // Days of the Gregorian calendar with years that begin in March, so that the leap day is the last.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let days =
        era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + (month * 153 + 2) / 5 + day - 719_469;
    Some(Timestamp(((days * 24 + hours) * 60 + minutes) * 60_000 + seconds * 1_000 + millis))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_moment_reads_back(ms in 0..4_102_444_800_000i64) {
            prop_assert_eq!(moment(&Timestamp(ms).rfc3339()), Some(Timestamp(ms)));
        }
    }

    #[test]
    fn findings_are_read_from_the_log() {
        let line = |message: &str, kind: &str| {
            format!(
                "{{\"timestamp\":\"2026-03-01T00:00:00.250123Z\",\"message\":\"{message}\",\"node.id\":\"a\",\"check.kind\":\"{kind}\"}}\n"
            )
        };
        let log = [
            line("check passed", "light"),
            line("node discovered", ""),
            "not JSON with \"check passed\"\n".to_owned(),
            line("check failed", "full"),
            line("check failed and is retried", ""),
        ];
        let at = Timestamp(1_772_323_200_250);
        let expected = [(End::Passed, false), (End::Failed, true), (End::Retried, false)]
            .map(|(end, full)| Finding { at, end, full });
        assert_eq!(findings(&log.concat())["a"], expected);
    }
}
