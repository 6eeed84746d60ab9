use figment::error::{Actual, Error, Kind};

use super::diagnostic::Problem;

/// What figment says about a configuration, in our words.
#[derive(Debug)]
pub(super) struct Found {
    /// Of the key that is meant.
    pub(super) path: Vec<String>,
    pub(super) problem: Problem,
    pub(super) help: Option<String>,
    /// A text belongs where something else is.
    pub(super) wants_text: bool,
}

pub(super) fn classify(error: &Error) -> Found {
    let mut path = error.path.clone();
    let mut help = None;
    let mut wants_text = false;
    let problem = match &error.kind {
        Kind::UnknownField(name, known) => {
            // The path may or may not end with the field already, depending on how far the value was read.
            if path.last() != Some(name) {
                path.push(name.clone());
            }
            help = Some(suggest(name, known, "key"));
            Problem::UnknownKey
        }
        Kind::MissingField(name) => {
            let section = path.is_empty();
            path.push(name.to_string());
            if section { Problem::MissingSection } else { Problem::MissingKey }
        }
        Kind::UnknownVariant(name, known) => {
            help = Some(suggest(name, known, "value"));
            Problem::InvalidValue { why: format!("`{name}` is not a possible value") }
        }
        // Whatever stands in place of a whole section is none of our values.
        Kind::InvalidType(Actual::Str(_), expected) if holds_others(&plain(expected)) => {
            Problem::WrongType { found: "a text".to_owned(), expected: plain(expected) }
        }
        Kind::InvalidType(actual, expected) => {
            wants_text = expected.contains("string");
            help = type_help(actual, expected);
            Problem::WrongType { found: describe(actual), expected: plain(expected) }
        }
        Kind::InvalidValue(actual, expected) => {
            Problem::WrongType { found: describe(actual), expected: plain(expected) }
        }
        Kind::InvalidLength(length, expected) => {
            Problem::InvalidValue { why: format!("has {length} elements, expected {expected}") }
        }
        Kind::Message(why) => Problem::InvalidValue { why: why.clone() },
        Kind::DuplicateField(name) => Problem::InvalidValue { why: format!("sets `{name}` twice") },
        Kind::ISizeOutOfRange(_) | Kind::USizeOutOfRange(_) => {
            Problem::InvalidValue { why: "is out of range".to_owned() }
        }
        Kind::Unsupported(actual) | Kind::UnsupportedKey(actual, _) => {
            Problem::InvalidValue { why: format!("{} cannot stand here", describe(actual)) }
        }
    };
    Found { path, problem, help, wants_text }
}

/// The nearest known name if it is near enough to be a slip, or else all of them.
fn suggest(name: &str, known: &[&str], what: &str) -> String {
    let nearest = known
        .iter()
        .map(|candidate| (strsim::damerau_levenshtein(name, candidate), *candidate))
        .min()
        .filter(|(distance, candidate)| *distance <= 1 + candidate.len().max(name.len()) / 4);
    let contained =
        || known.iter().find(|known| name.len() > 3 && (known.contains(name) || name.contains(**known)));
    match nearest.map(|(_, candidate)| candidate).or_else(|| contained().copied()) {
        Some(candidate) => format!("did you mean `{candidate}`?"),
        None if known.is_empty() => format!("no {what} is known here"),
        None => format!("known {what}s: {}", known.join(", ")),
    }
}

fn describe(actual: &Actual) -> String {
    match actual {
        Actual::Bool(value) => format!("the truth value `{value}`"),
        Actual::Unsigned(value) => format!("the number `{value}`"),
        Actual::Signed(value) => format!("the number `{value}`"),
        Actual::Float(value) => format!("the number `{value}`"),
        Actual::Char(value) => format!("the text `{value}`"),
        Actual::Str(value) => {
            let shown: String = value.chars().take(60).collect();
            format!("the text `{shown}`")
        }
        Actual::Seq => "an array".to_owned(),
        Actual::Map => "a section".to_owned(),
        other => other.to_string(),
    }
}

/// Whether what is found or expected consists of other values.
pub(super) fn holds_others(what: &str) -> bool {
    matches!(what, "a section" | "an array")
}

/// Rust's names for types say nothing to operators.
fn plain(expected: &str) -> String {
    let named = match expected {
        "u8" => "a whole number from 0 to 255",
        "u16" => "a whole number from 0 to 65535",
        "u32" | "u64" | "u128" | "usize" => "a whole number from 0",
        "i8" | "i16" | "i32" | "i64" | "isize" => "a whole number",
        "f32" | "f64" => "a number",
        "a boolean" => "true or false",
        "a string" | "path string" => "a text in quotes",
        "a sequence" => "an array",
        other if other.starts_with("struct ") => "a section",
        other if other.starts_with("enum ") => "a text in quotes",
        other => other,
    };
    named.to_owned()
}

fn type_help(actual: &Actual, expected: &str) -> Option<String> {
    let number = matches!(expected.as_bytes().first(), Some(b'u' | b'i' | b'f')) || expected == "a boolean";
    match actual {
        Actual::Str(text) if number && text.parse::<f64>().is_ok() | text.parse::<bool>().is_ok() => {
            Some(format!("write `{text}` without quotes"))
        }
        Actual::Unsigned(value) if expected.contains("string") => Some(format!("write `\"{value}\"`")),
        Actual::Signed(value) if expected.contains("string") => Some(format!("write `\"{value}\"`")),
        _ => None,
    }
}
