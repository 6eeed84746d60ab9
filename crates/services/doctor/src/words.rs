//! Words of a node's, made fit to be shown.

/// One line without control characters, at most so many characters.
pub(crate) fn shown(text: &str, most: usize) -> String {
    let plain = |c: char| if c.is_control() { ' ' } else { c };
    text.trim().chars().map(plain).take(most).collect()
}
