//! The frame around what our scripts print on a node.
//!
//! A section is a line `NAME CODE LENGTH`, then so many bytes, then a newline; the last one is `end 0 0`. The length makes any bytes
//! harmless, whatever tool they come from, and the end shows that nothing was cut off. Nothing may stand before, between or
//! behind sections; no name comes twice.

/// Longest name.
const NAME_MAX: usize = 16;
/// Most sections in one output.
const SECTIONS_MAX: usize = 32;
const END: &str = "end";

/// Output that is not of this form. It says what, never what was printed: that is a stranger's text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SectionError {
    /// The output ends before its last section does.
    #[error("the output is cut off")]
    Truncated,
    /// A line that opens no section.
    #[error("a section's head is not NAME CODE LENGTH")]
    Head,
    /// A name that was not asked for.
    #[error("a section that nobody asked for")]
    Unknown,
    /// The same name again.
    #[error("a section comes twice")]
    Repeated,
    /// More than its section may have.
    #[error("a section is longer than it may be")]
    TooLong,
    /// Bytes behind the end.
    #[error("the output goes on behind its end")]
    Trailing,
}

/// One tool's output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Section<'a> {
    /// Which tool's.
    pub name: &'static str,
    /// Its exit code.
    pub code: u8,
    /// Its standard output without trailing newlines.
    pub body: &'a [u8],
}

/// Which section may come, and with how many bytes at the most.
pub type Wanted = [(&'static str, usize)];

/// Reads all sections, in the order in which they came.
pub fn sections<'a>(output: &'a [u8], wanted: &Wanted) -> Result<Vec<Section<'a>>, SectionError> {
    let mut rest = output;
    let mut found: Vec<Section<'a>> = Vec::new();
    loop {
        let newline = rest.iter().position(|byte| *byte == b'\n').ok_or(SectionError::Truncated)?;
        let (line, behind) = rest.split_at(newline);
        let (name, code, length) = head(line)?;
        let behind = behind.get(1..).unwrap_or_default();
        if name == END {
            let ends = (code, length) == (0, 0) && behind.first() == Some(&b'\n');
            return match (ends, behind.len()) {
                (true, 1) => Ok(found),
                (true, _) => Err(SectionError::Trailing),
                (false, 0) => Err(SectionError::Truncated),
                (false, _) => Err(SectionError::Head),
            };
        }
        let (name, most) =
            wanted.iter().find(|(wanted, _)| *wanted == name).copied().ok_or(SectionError::Unknown)?;
        if length > most {
            return Err(SectionError::TooLong);
        }
        if found.len() >= SECTIONS_MAX || found.iter().any(|section| section.name == name) {
            return Err(SectionError::Repeated);
        }
        let body = behind.get(..length).ok_or(SectionError::Truncated)?;
        match behind.get(length) {
            Some(b'\n') => rest = behind.get(length.saturating_add(1)..).unwrap_or_default(),
            Some(_) => return Err(SectionError::Head),
            None => return Err(SectionError::Truncated),
        }
        found.push(Section { name, code, body });
    }
}

fn head(line: &[u8]) -> Result<(&str, u8, usize), SectionError> {
    let line = std::str::from_utf8(line).map_err(|_| SectionError::Head)?;
    let mut words = line.split(' ');
    let (Some(name), Some(code), Some(length), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(SectionError::Head);
    };
    let named = (1..=NAME_MAX).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-');
    let code = decimal(code).and_then(|code| u8::try_from(code).ok());
    match (named, code, decimal(length)) {
        (true, Some(code), Some(length)) => Ok((name, code, usize::try_from(length).unwrap_or(usize::MAX))),
        _ => Err(SectionError::Head),
    }
}

/// A number in its one spelling: digits, no sign, no leading zero.
pub(crate) fn decimal(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let canonical = text == "0" || !text.starts_with('0');
    if digits && canonical { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const WANTED: &Wanted = &[("one", 64), ("two", 8)];

    #[test]
    fn any_bytes_may_be_inside() {
        let output = b"one 0 14\nend 0 0\n\nx\0\xff\x1b\x5b\ntwo 7 0\n\nend 0 0\n\n";
        let read = sections(output, WANTED).unwrap();
        assert_eq!(read[0].body, b"end 0 0\n\nx\0\xff\x1b\x5b");
        assert_eq!((read[1].name, read[1].code, read[1].body), ("two", 7, &b""[..]));
        assert_eq!(sections(b"end 0 0\n\n", WANTED), Ok(vec![]));
    }

    #[test]
    fn what_is_not_of_the_form_is_named() {
        use SectionError::*;
        for (output, error) in [
            (&b""[..], Truncated),
            (b"one 0 3\nab", Truncated),
            (b"one 0 2\nab\n", Truncated),
            (b"one 0 2\nab\nend 0 0\n", Truncated),
            (b"one 0 2\nabend 0 0\n\n", Head),
            (b"one 0\n\nend 0 0\n\n", Head),
            (b"one 256 0\n\nend 0 0\n\n", Head),
            (b"one -1 0\n\nend 0 0\n\n", Head),
            (b"one 00 0\n\nend 0 0\n\n", Head),
            (b"one 0 +1\na\nend 0 0\n\n", Head),
            (b"ONE 0 0\n\nend 0 0\n\n", Head),
            (b"\x1b[31mone 0 0\n\nend 0 0\n\n", Head),
            (b"\xff 0 0\n\nend 0 0\n\n", Head),
            (b"end 0 1\na\n", Head),
            (b"three 0 0\n\nend 0 0\n\n", Unknown),
            (b"one 0 0\n\none 0 0\n\nend 0 0\n\n", Repeated),
            (b"two 0 9\n123456789\nend 0 0\n\n", TooLong),
            (b"one 0 18446744073709551616\n\nend 0 0\n\n", Head),
            (b"one 0 18446744073709551615\n\nend 0 0\n\n", TooLong),
            (b"end 0 0\n\nmore", Trailing),
        ] {
            assert_eq!(sections(output, WANTED), Err(error), "{:?}", String::from_utf8_lossy(output));
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = sections(&bytes, WANTED);
        }

        #[test]
        fn whatever_is_framed_reads_back_and_cut_off_it_does_not(
            one in proptest::collection::vec(any::<u8>(), 0..64),
            code in any::<u8>(),
            cut in 0..200usize,
        ) {
            let mut output = format!("one {code} {}\n", one.len()).into_bytes();
            output.extend(&one);
            output.extend(b"\nend 0 0\n\n");
            let read = sections(&output, WANTED).unwrap();
            prop_assert_eq!(read, vec![Section { name: "one", code, body: &one }]);
            let cut = cut % output.len();
            prop_assert!(sections(&output[..cut], WANTED).is_err());
        }
    }
}
