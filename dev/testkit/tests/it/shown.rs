//! What a page shows of a program's output, against the output.

/// What stands for anything.
const ANYTHING: char = '\u{2026}';

/// A text with one blank for every gap, and without the marks that say which way to write.
fn squeezed(text: &str) -> String {
    let text = text.replace(['\u{200e}', '\u{200f}'], "");
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Whether a line of the output holds what is shown.
pub(crate) fn prints(output: &str, shown: &str) -> bool {
    output.lines().any(|line| {
        let line = squeezed(line);
        let mut rest = line.as_str();
        squeezed(shown).split(ANYTHING).map(str::trim).all(|part| match rest.split_once(part) {
            Some((_, after)) => {
                rest = after;
                true
            }
            None => false,
        })
    })
}

#[test]
fn an_output_is_compared_by_its_lines() {
    let output = "a   table\n| 39 | \u{200e}10,000.5 t\u{200e} |\n";
    assert!(prints(output, "39 | 10,000.\u{2026} t") && prints(output, "a table"));
    assert!(!prints(output, "39 | 10,001.\u{2026}") && !prints(output, "table | 39"));
}
