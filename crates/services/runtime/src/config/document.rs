use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::diagnostic::{Diagnostic, Place, Problem};
use super::shown::{self, Piece, Shown};

/// A TOML file: its values, and where each of them stands. The default is a file that does not exist.
#[derive(Clone, Default)]
pub(super) struct Document {
    path: Option<PathBuf>,
    text: String,
    pub(super) table: toml::Table,
    entries: Vec<Entry>,
}

/// Its name alone: what it holds may be a secret.
impl fmt::Debug for Document {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Document({:?})", self.path)
    }
}

/// One key of the file.
#[derive(Clone)]
struct Entry {
    path: Vec<String>,
    key: Range<usize>,
    value: Range<usize>,
    /// Neither a section nor an array.
    is_single: bool,
}

/// How much of a line is repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Quote {
    /// All of it, unless the key is one that holds secrets.
    Whole,
    /// No value and no comment: nobody knows whether the line is one of ours.
    Keys,
}

/// Which part of an entry is meant.
#[derive(Clone, Copy, Debug)]
pub(super) enum Part {
    Key,
    Value,
}

impl Document {
    pub(super) fn parse(path: &Path, bytes: Vec<u8>) -> Result<Self, Box<Diagnostic>> {
        let mut document = Self { path: Some(path.to_owned()), ..Self::default() };
        let broken = |place, problem| {
            let is_withheld = matches!(place, Place::File { shown: None, .. });
            let help = is_withheld.then(|| WITHHELD.to_owned());
            Box::new(Diagnostic { place, key: None, problem, help })
        };
        document.text = String::from_utf8(bytes).map_err(|error| {
            let valid = String::from_utf8_lossy(&error.as_bytes()[..error.utf8_error().valid_up_to()]);
            let position = valid.len();
            let read = Self { text: valid.into_owned(), ..document.clone() };
            broken(read.place_of_broken(&(position..position)), Problem::Encoding)
        })?;
        let spans = DeTable::parse(&document.text).map_err(|error| {
            // Errors without a position concern the end of the file.
            let end = document.text.len();
            let span = error.span().unwrap_or(end..end);
            let why = error.message().lines().next().unwrap_or("no reason given").to_owned();
            broken(document.place_of_broken(&span), Problem::Syntax { why })
        })?;
        let mut entries = Vec::new();
        index(spans.get_ref(), &mut Vec::new(), &mut entries);
        document.entries = entries;
        document.table = toml::from_str(&document.text).map_err(|error: toml::de::Error| {
            let end = document.text.len();
            let why = error.message().to_owned();
            broken(document.place_of_broken(&error.span().unwrap_or(end..end)), Problem::Syntax { why })
        })?;
        Ok(document)
    }

    pub(super) fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// Where a key stands, or its nearest ancestor that is in the file.
    pub(super) fn place(&self, path: &[String], part: Part, quote: Quote) -> Place {
        let quote = if is_secret(path) { Quote::Keys } else { quote };
        let entry = (1..=path.len())
            .rev()
            .find_map(|length| self.entries.iter().find(|entry| entry.path == path[..length]));
        match (entry, part) {
            (Some(entry), Part::Value) if entry.path.len() == path.len() => {
                self.place_of(&entry.value, quote)
            }
            (Some(entry), _) => self.place_of(&entry.key, quote),
            (None, _) => Place::Absent(self.path.clone()),
        }
    }

    /// All keys of the file that match a pattern, in which `*` stands for any one step.
    pub(super) fn matching(&self, pattern: &[String]) -> Vec<Vec<String>> {
        let fits = |path: &[String]| {
            path.len() == pattern.len()
                && path.iter().zip(pattern).all(|(step, want)| want == "*" || step == want)
        };
        self.entries.iter().filter(|entry| fits(&entry.path)).map(|entry| entry.path.clone()).collect()
    }

    /// In a file that parses.
    fn place_of(&self, span: &Range<usize>, quote: Quote) -> Place {
        self.place_with(span, |line| {
            let hides = quote == Quote::Keys || shows_secret(&self.text[line.clone()]);
            Some(match quote {
                _ if hides => self.without_values(line, None),
                Quote::Whole if self.has_others(line, span) => self.without_values(line, Some(span)),
                _ => vec![(line.clone(), false)],
            })
        })
    }

    /// In a file that does not.
    fn place_of_broken(&self, span: &Range<usize>) -> Place {
        self.place_with(span, |line| shown::of_broken(&self.text, line))
    }

    fn place_with(
        &self,
        span: &Range<usize>,
        pieces: impl FnOnce(&Range<usize>) -> Option<Vec<Piece>>,
    ) -> Place {
        let Some(path) = self.path.clone() else { return Place::Absent(None) };
        let at = self.text.floor_char_boundary(span.start.min(self.text.len()));
        let end = self.text.floor_char_boundary(span.end.clamp(at, self.text.len()));
        let line_start = self.text[..at].rfind('\n').map_or(0, |newline| newline + 1);
        let line_end = self.text[at..].find('\n').map_or(self.text.len(), |newline| at + newline);
        let line = line_start..line_start + self.text[line_start..line_end].trim_end_matches('\r').len();
        Place::File {
            path,
            line: self.text[..at].matches('\n').count() + 1,
            column: self.text[line_start..at].chars().count() + 1,
            shown: pieces(&line).map(|pieces| Shown::new(&self.text, &pieces, &(at..end))),
        }
    }

    /// Whether a line sets other keys beside the one with this value, of which nobody knows whether they are ours.
    fn has_others(&self, line: &Range<usize>, value: &Range<usize>) -> bool {
        let begins_here = |entry: &&Entry| line.contains(&entry.value.start);
        self.entries
            .iter()
            .filter(begins_here)
            .any(|entry| entry.is_single && entry.key != entry.value && entry.value != *value)
    }

    /// A line's keys and punctuation, up to its comment, and of its values `but`.
    fn without_values(&self, line: &Range<usize>, but: Option<&Range<usize>>) -> Vec<Piece> {
        let in_line = |range: &Range<usize>| range.start.max(line.start)..range.end.min(line.end);
        let parts = self.entries.iter().flat_map(|entry| {
            // An array's element has no name.
            let key = (entry.key != entry.value).then_some((in_line(&entry.key), false));
            key.into_iter()
                .chain(entry.is_single.then_some((in_line(&entry.value), but != Some(&entry.value))))
        });
        let mut parts: Vec<Piece> = parts.filter(|(range, _)| !range.is_empty()).collect();
        parts.sort_by_key(|(range, _)| (range.start, range.end));
        let mut pieces: Vec<Piece> = Vec::with_capacity(2 * parts.len() + 1);
        let mut at = line.start;
        for (range, hidden) in parts.into_iter().chain([(line.end..line.end, false)]) {
            if range.start < at {
                continue;
            }
            // Between keys and values nothing but a comment has this character.
            if let Some(comment) = self.text[at..range.start].find('#') {
                pieces.push((at..at + comment, false));
                return pieces;
            }
            pieces.push((at..range.start, false));
            at = range.end;
            pieces.push((range, hidden));
        }
        pieces
    }
}

/// Where nothing of the line is repeated.
const WITHHELD: &str = "the line is not repeated here, for it does not look like a setting and may be a secret; is this the right file?";

/// Keys whose values may hold an access key or a password, and are not repeated in what ends up in a journal.
const SECRET: [&str; 4] = ["chain_endpoint", "fallback_endpoints", "url", "api_key"];

/// Whether a key is one of those, or an element of one.
pub(super) fn is_secret(path: &[String]) -> bool {
    path.iter().any(|step| SECRET.contains(&step.as_str()))
}

/// Whether a line sets such a key or holds a URL, of whatever key.
fn shows_secret(line: &str) -> bool {
    line.contains("://") || SECRET.iter().any(|name| line.contains(name))
}

fn index(table: &DeTable<'_>, path: &mut Vec<String>, entries: &mut Vec<Entry>) {
    for (key, value) in table {
        path.push(key.get_ref().to_string());
        let (key, is_single) = (key.span(), is_single(value));
        entries.push(Entry { path: path.clone(), key, value: value.span(), is_single });
        index_value(value, path, entries);
        path.pop();
    }
}

fn is_single(value: &Spanned<DeValue<'_>>) -> bool {
    !matches!(value.get_ref(), DeValue::Table(_) | DeValue::Array(_))
}

fn index_value(value: &Spanned<DeValue<'_>>, path: &mut Vec<String>, entries: &mut Vec<Entry>) {
    match value.get_ref() {
        DeValue::Table(table) => index(table, path, entries),
        DeValue::Array(array) => {
            for (position, element) in array.iter().enumerate() {
                path.push(position.to_string());
                let (span, is_single) = (element.span(), is_single(element));
                entries.push(Entry { path: path.clone(), key: span.clone(), value: span, is_single });
                index_value(element, path, entries);
                path.pop();
            }
        }
        _ => {}
    }
}
