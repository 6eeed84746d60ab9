use std::ops::Range;
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::diagnostic::{Diagnostic, Place, Problem};

/// A TOML file: its values, and where each of them stands. The default is a file that does not exist.
#[derive(Clone, Debug, Default)]
pub(super) struct Document {
    path: Option<PathBuf>,
    text: String,
    pub(super) table: toml::Table,
    entries: Vec<Entry>,
}

/// One key of the file.
#[derive(Clone, Debug)]
struct Entry {
    path: Vec<String>,
    key: Range<usize>,
    value: Range<usize>,
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
        let broken = |place, problem| Box::new(Diagnostic { place, key: None, problem, help: None });
        document.text = String::from_utf8(bytes).map_err(|error| {
            let valid = String::from_utf8_lossy(&error.as_bytes()[..error.utf8_error().valid_up_to()]);
            let position = valid.len();
            let read = Self { text: valid.into_owned(), ..document.clone() };
            broken(read.place_of(&(position..position)), Problem::Encoding)
        })?;
        let spans = DeTable::parse(&document.text).map_err(|error| {
            // Errors without a position concern the end of the file.
            let end = document.text.len();
            let span = error.span().unwrap_or(end..end);
            let why = error.message().lines().next().unwrap_or("no reason given").to_owned();
            broken(document.place_of(&span), Problem::Syntax { why })
        })?;
        let mut entries = Vec::new();
        index(spans.get_ref(), &mut Vec::new(), &mut entries);
        document.entries = entries;
        document.table = toml::from_str(&document.text).map_err(|error: toml::de::Error| {
            let end = document.text.len();
            let why = error.message().to_owned();
            broken(document.place_of(&error.span().unwrap_or(end..end)), Problem::Syntax { why })
        })?;
        Ok(document)
    }

    pub(super) fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// Where a key stands, or its nearest ancestor that is in the file.
    pub(super) fn place(&self, path: &[String], part: Part) -> Place {
        let mut place = self.place_unmasked(path, part);
        if let Place::File { text, .. } = &mut place
            && is_secret(path)
        {
            *text = masked(text);
        }
        place
    }

    fn place_unmasked(&self, path: &[String], part: Part) -> Place {
        let entry = (1..=path.len())
            .rev()
            .find_map(|length| self.entries.iter().find(|entry| entry.path == path[..length]));
        match (entry, part) {
            (Some(entry), Part::Value) if entry.path.len() == path.len() => self.place_of(&entry.value),
            (Some(entry), _) => self.place_of(&entry.key),
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

    fn place_of(&self, span: &Range<usize>) -> Place {
        let Some(path) = self.path.clone() else { return Place::Absent(None) };
        let at = self.text.floor_char_boundary(span.start.min(self.text.len()));
        let line_start = self.text[..at].rfind('\n').map_or(0, |newline| newline + 1);
        let line_end = self.text[at..].find('\n').map_or(self.text.len(), |newline| at + newline);
        let text = self.text[line_start..line_end].trim_end_matches('\r');
        let marked_end =
            self.text.floor_char_boundary(span.end.clamp(at, line_start + text.len().max(at - line_start)));
        Place::File {
            path,
            line: self.text[..at].matches('\n').count() + 1,
            column: self.text[line_start..at].chars().count() + 1,
            width: self.text[at..marked_end].chars().count().max(1),
            text: if shows_secret(text) { masked(text) } else { text.to_owned() },
        }
    }
}

/// Keys whose values may hold an access key or a password, and are not repeated in what ends up in a journal.
const SECRET: [&str; 4] = ["chain_endpoint", "fallback_endpoints", "url", "api_key"];

/// Whether a key is one of those, or an element of one.
pub(super) fn is_secret(path: &[String]) -> bool {
    path.iter().any(|step| SECRET.contains(&step.as_str()))
}

/// Whether a line sets such a key or holds a URL, of whatever key: where the file does not parse, nothing else is known.
fn shows_secret(line: &str) -> bool {
    line.contains("://") || SECRET.iter().any(|name| line.contains(name))
}

/// The same line, as long as before, without the value.
fn masked(line: &str) -> String {
    let value = line.find('=').map_or(0, |equals| equals + 1);
    let (key, value) = line.split_at(value);
    let hide = |c: char| if c.is_whitespace() || "\"'[]{},".contains(c) { c } else { '*' };
    key.chars().chain(value.chars().map(hide)).collect()
}

fn index(table: &DeTable<'_>, path: &mut Vec<String>, entries: &mut Vec<Entry>) {
    for (key, value) in table {
        path.push(key.get_ref().to_string());
        entries.push(Entry { path: path.clone(), key: key.span(), value: value.span() });
        index_value(value, path, entries);
        path.pop();
    }
}

fn index_value(value: &Spanned<DeValue<'_>>, path: &mut Vec<String>, entries: &mut Vec<Entry>) {
    match value.get_ref() {
        DeValue::Table(table) => index(table, path, entries),
        DeValue::Array(array) => {
            for (position, element) in array.iter().enumerate() {
                path.push(position.to_string());
                entries.push(Entry { path: path.clone(), key: element.span(), value: element.span() });
                index_value(element, path, entries);
                path.pop();
            }
        }
        _ => {}
    }
}
