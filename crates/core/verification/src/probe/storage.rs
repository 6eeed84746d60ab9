//! Room for images and data, where the container engine keeps them.

use codec::{Decode, Encode};
use serde::Serialize;

use super::sections::decimal;
use super::text::{ParseError, utf8};

/// A file system as the node tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, Serialize)]
pub struct Storage {
    /// Its size in bytes.
    pub total_bytes: u64,
    /// What a user may still write, in bytes.
    pub available_bytes: u64,
}

impl Storage {
    /// Of `df -P -B1 -- PATH`: a head and one line.
    pub fn parse(output: &[u8]) -> Result<Self, ParseError> {
        const WHAT: ParseError = ParseError("df printed another table");
        let output = utf8(output, "df printed no text")?;
        let mut lines = output.split_terminator('\n');
        let (Some(head), Some(line), None) = (lines.next(), lines.next(), lines.next()) else {
            return Err(WHAT);
        };
        let names: Vec<&str> = head.split_ascii_whitespace().collect();
        if names.first() != Some(&"Filesystem") || names.get(1) != Some(&"1-blocks") {
            return Err(WHAT);
        }
        // The device may have blanks in its name; the four columns of numbers are before the mount point, which begins with a slash.
        let (before, _mounted) = line.split_once(" /").map_or((line, ""), |(before, after)| {
            if before.trim_ascii_end().ends_with('%') { (before, after) } else { split_behind_percent(line) }
        });
        let columns: Vec<&str> = before.split_ascii_whitespace().collect();
        let [.., total, used, available, capacity] = columns[..] else { return Err(WHAT) };
        let numbers = [total, used, available].map(decimal);
        let [Some(total_bytes), Some(_), Some(available_bytes)] = numbers else { return Err(WHAT) };
        let percent = capacity.strip_suffix('%').and_then(decimal).is_some();
        if !percent || available_bytes > total_bytes {
            return Err(WHAT);
        }
        Ok(Self { total_bytes, available_bytes })
    }
}

/// Where the device's name holds a slash behind a blank.
fn split_behind_percent(line: &str) -> (&str, &str) {
    line.split_once("% ").map_or((line, ""), |(before, after)| {
        (line.get(..before.len().saturating_add(1)).unwrap_or(before), after)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Recorded (coreutils 9.1).
    const DF: &[u8] = b"Filesystem         1-blocks        Used   Available Capacity Mounted on
/dev/vda       270553174016 68889284608 28683464704      71% /";
    /// Recorded: an overlay, whose device has no slash.
    const OVERLAY: &[u8] = b"Filesystem         1-blocks        Used   Available Capacity Mounted on
overlay        270553174016 68889284608 28683464704      71% /var/lib/docker/overlay2/ab c";
    /// Written after POSIX: a device with blanks and a slash.
    const SHARE: &[u8] = b"Filesystem 1-blocks Used Available Capacity Mounted on
//nas/my /disk 4000000000000 1 2000000000000 50% /mnt/data";

    #[test]
    fn what_df_prints_is_read() {
        let expected = Storage { total_bytes: 270_553_174_016, available_bytes: 28_683_464_704 };
        assert_eq!(Storage::parse(DF), Ok(expected));
        assert_eq!(Storage::parse(OVERLAY), Ok(expected));
        let share = Storage { total_bytes: 4_000_000_000_000, available_bytes: 2_000_000_000_000 };
        assert_eq!(Storage::parse(SHARE), Ok(share));
        let own = std::process::Command::new("df").args(["-P", "-B1", "--", "/"]).env("LC_ALL", "C").output();
        assert!(Storage::parse(own.expect("coreutils are installed").stdout.trim_ascii_end()).is_ok());
    }

    #[test]
    fn hostile_output_is_refused() {
        let head = "Filesystem 1-blocks Used Available Capacity Mounted on\n";
        for line in [
            "",
            "/dev/a 1 1 1",
            "/dev/a 10 1 11 50% /",
            "/dev/a -1 1 1 50% /",
            "/dev/a 99999999999999999999 1 1 50% /",
            "/dev/a 1e12 1 1 50% /",
            "/dev/a 10 1 5 x% /",
            "/dev/a 10 1 5 50% /\n/dev/b 10 1 5 50% /b",
            "/dev/a 10 1 5 \u{1b}[31m50% /",
        ] {
            assert!(Storage::parse(format!("{head}{line}").as_bytes()).is_err(), "{line:?}");
        }
        assert!(Storage::parse(b"\xff").is_err() && Storage::parse(&DF[..60]).is_err());
        let kilo = b"Filesystem 1024-blocks Used Available Capacity Mounted on\n/dev/a 10 1 5 50% /";
        assert!(Storage::parse(kilo).is_err(), "another unit");
    }
}
