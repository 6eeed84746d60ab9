//! What a complaint repeats of the line that it is about.
//!
//! The file may be another one than was meant, such as a private key or a wallet: complaints end up on screens and in journals, so
//! nothing is repeated that may be a secret. Of a line that does not parse that is everything but what looks like the name of a
//! setting or a section; of one that parses, its values and comments, unless it is known that the key is one of ours and holds
//! nothing secret. **Rejected**: stars in place of the letters, which tell how long a password is, and each word of a mnemonic.

use std::ops::Range;

/// In place of what is not repeated.
const HIDDEN: &str = "…";
// What passes for a name: its characters, those of one word of it, and the digits among these.
const LONGEST: usize = 64;
const LONGEST_WORD: usize = 16;
const DIGITS: usize = 3;

/// A line as it is repeated, and which part of it is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// The line, or what is left of it.
    pub text: String,
    /// Characters of `text` before what is meant.
    pub lead: usize,
    /// How many characters are meant, at least 1.
    pub width: usize,
}

/// A part of the file in bytes, and whether it is left out.
pub(super) type Piece = (Range<usize>, bool);

impl Shown {
    /// The pieces follow each other within one line of `file`; `meant` may go beyond them.
    pub(super) fn new(file: &str, pieces: &[Piece], meant: &Range<usize>) -> Self {
        let mut shown = Self { text: String::new(), lead: 0, width: 1 };
        let mut end = 0;
        let mut length = 0;
        for (range, hidden) in pieces {
            let piece = if *hidden { HIDDEN } else { &file[range.clone()] };
            let characters = piece.chars().count();
            // Where a place in the file stands in what is repeated.
            let place =
                |at: usize| if *hidden { 0 } else { file[range.start..at.min(range.end)].chars().count() };
            if range.start <= meant.start {
                shown.lead = length + place(meant.start);
            }
            if range.start < meant.end {
                end = length + if *hidden { characters } else { place(meant.end) };
            }
            length += characters;
            shown.text.push_str(piece);
        }
        shown.width = end.saturating_sub(shown.lead).max(1);
        shown
    }
}

/// What may be repeated of a line that does not parse; none where nothing may.
pub(super) fn of_broken(file: &str, line: &Range<usize>) -> Option<Vec<Piece>> {
    let text = &file[line.clone()];
    let kept = header(text).or_else(|| setting(text))?;
    let border = line.start + kept;
    let rest = border..line.end;
    let is_more = !file[rest.clone()].trim().is_empty();
    let mut pieces = vec![(line.start..border, false)];
    pieces.extend(is_more.then_some((rest, true)));
    Some(pieces)
}

/// How much of `[name` or `[[name]]` may be repeated.
fn header(line: &str) -> Option<usize> {
    let inner = line.trim_start().strip_prefix('[')?;
    let inner = inner.strip_prefix('[').unwrap_or(inner);
    let after = inner.trim_start_matches(in_name);
    let name = &inner[..inner.len() - after.len()];
    let rest = after.trim_start_matches([']', ' ', '\t']);
    (is_name(name) && (rest.is_empty() || rest.starts_with('#'))).then(|| line.len() - rest.len())
}

/// How much of `name = value` or `{ name = value` may be repeated.
fn setting(line: &str) -> Option<usize> {
    let inner = line.trim_start();
    let inner = inner.strip_prefix('{').unwrap_or(inner).trim_start();
    let after = inner.trim_start_matches(in_name);
    let name = &inner[..inner.len() - after.len()];
    let value = after.trim_start().strip_prefix('=')?;
    // Base64 ends like that.
    let is_padding = value.starts_with('=') || (value.trim().is_empty() && after.starts_with('='));
    let value = value.trim_start();
    (is_name(name) && !is_padding).then(|| line.len() - value.len())
}

fn in_name(c: char) -> bool {
    c.is_ascii_lowercase() || c.is_ascii_digit() || "_.".contains(c)
}

/// Whether it looks like the name of a setting, dotted or not, and not like a key or a password.
fn is_name(name: &str) -> bool {
    let fits = |word: &str| {
        let digits = word.bytes().filter(u8::is_ascii_digit).count();
        word.starts_with(|c: char| c.is_ascii_lowercase()) && word.len() <= LONGEST_WORD && digits <= DIGITS
    };
    name.len() <= LONGEST && name.split(['.', '_']).all(fits)
}
