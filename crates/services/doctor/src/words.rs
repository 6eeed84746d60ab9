//! Words of a node's, made fit to be shown.

use basilica_status::is_shown;

/// One line of characters that stand for themselves, at most so many.
pub(crate) fn shown(text: &str, most: usize) -> String {
    let plain = |c: char| if is_shown(c) { c } else { ' ' };
    text.trim().chars().map(plain).take(most).collect()
}
