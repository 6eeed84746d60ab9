//! Words of a stranger, fit to be stored, signed and shown.

/// Longest text that is kept of one field.
pub(super) const TEXT_MAX: usize = 128;

/// Output that is not of its tool's form. It does not repeat what was printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ParseError(pub(super) &'static str);

/// A text without control characters, 1 to [`TEXT_MAX`] bytes; blanks around it go.
pub(super) fn text(words: &str, what: &'static str) -> Result<String, ParseError> {
    let words = words.trim_matches([' ', '\t']);
    let shown = (1..=TEXT_MAX).contains(&words.len()) && !words.chars().any(is_hidden);
    if shown { Ok(words.to_owned()) } else { Err(ParseError(what)) }
}

/// Whether a text that somebody else's verdict brings may be shown: what [`text`] gives, or nothing.
pub(super) fn is_shown(words: &str) -> bool {
    words.len() <= TEXT_MAX && !words.chars().any(is_hidden)
}

/// What a terminal would obey instead of showing it, or would show as nothing or in another order.
fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// As text; tools run in the C locale print nothing else.
pub(super) fn utf8<'a>(output: &'a [u8], what: &'static str) -> Result<&'a str, ParseError> {
    std::str::from_utf8(output).map_err(|_| ParseError(what))
}

/// The value of the one line `KEY<separator>VALUE`; blanks around both go.
pub(super) fn the_one<'a>(
    output: &'a str,
    key: &str,
    separator: char,
    what: &'static str,
) -> Result<&'a str, ParseError> {
    let mut values = output.split('\n').filter_map(|line| {
        let (name, value) = line.split_once(separator)?;
        (name.trim_matches([' ', '\t']) == key).then(|| value.trim_matches([' ', '\t']))
    });
    match (values.next(), values.next()) {
        (Some(value), None) => Ok(value),
        _ => Err(ParseError(what)),
    }
}
