use std::fmt;
use std::path::PathBuf;

use super::shown::Shown;

/// What is wrong with a configuration, where, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// Where the user wrote it.
    pub place: Place,
    /// The full dotted key; none where the text does not parse at all.
    pub key: Option<String>,
    /// What is wrong.
    pub problem: Problem,
    /// What to do.
    pub help: Option<String>,
}

/// Where a value was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// In the configuration file.
    File {
        /// The file.
        path: PathBuf,
        /// From 1.
        line: usize,
        /// In characters, from 1.
        column: usize,
        /// What is repeated of the line; none where any of it may be a secret.
        shown: Option<Shown>,
    },
    /// In an environment variable.
    Variable(String),
    /// In a flag or another override of this key.
    Flag(String),
    /// Nowhere: the file, if there is one, does not have it.
    Absent(Option<PathBuf>),
}

/// A kind of mistake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Problem {
    /// Not TOML.
    Syntax {
        /// The parser's words.
        why: String,
    },
    /// Not UTF-8.
    Encoding,
    /// No such key.
    UnknownKey,
    /// A key without a default is not set.
    MissingKey,
    /// A section without a default is not there.
    MissingSection,
    /// Another type than the key has.
    WrongType {
        /// What is written.
        found: String,
        /// What belongs there.
        expected: String,
    },
    /// The right type, but not a possible value.
    InvalidValue {
        /// Why.
        why: String,
    },
    /// Possible by itself, but not together with the rest.
    Unfit {
        /// Why.
        why: String,
    },
}

/// Something that a user should know about an accepted configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// Where it was written.
    pub place: Place,
    /// The full dotted key, or the name of the variable.
    pub key: String,
    /// What to know.
    pub message: String,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, line, column, .. } => write!(f, "{}:{line}:{column}", path.display()),
            Self::Variable(name) => write!(f, "environment variable {name}"),
            Self::Flag(key) => write!(f, "command line ({key})"),
            Self::Absent(Some(path)) => write!(f, "{}", path.display()),
            Self::Absent(None) => f.write_str("configuration"),
        }
    }
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::Variable(_) => write!(f, "{}: {}", self.place, self.message),
            place => write!(f, "{place}: `{}`: {}", self.key, self.message),
        }
    }
}

impl fmt::Display for Diagnostic {
    /// Like a compiler: `file:line:column: what`, the line with a mark under it, and help. Nothing of the file moves a terminal.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let still = |c: char| if c.is_control() && !"\n\t".contains(c) { '\u{fffd}' } else { c };
        f.write_str(&self.words().chars().map(still).collect::<String>())
    }
}

impl Diagnostic {
    fn words(&self) -> String {
        let key = self.key.as_deref().unwrap_or_default();
        let what = match &self.problem {
            Problem::Syntax { why } => format!("not valid TOML: {why}"),
            Problem::Encoding => "not valid UTF-8".to_owned(),
            Problem::UnknownKey => format!("unknown key `{key}`"),
            Problem::MissingKey => format!("missing key `{key}`"),
            Problem::MissingSection => format!("missing section `[{key}]`"),
            Problem::WrongType { found, expected } => format!("`{key}` is {found}, expected {expected}"),
            Problem::InvalidValue { why } | Problem::Unfit { why } => format!("`{key}`: {why}"),
        };
        let mut words = format!("{}: {what}", self.place);
        if let Place::File { line, shown: Some(Shown { text, lead, width }), .. } = &self.place {
            let gutter = " ".repeat(line.to_string().len());
            // Tabs are kept, so that the mark stands under its word in any terminal.
            let lead: String = text.chars().take(*lead).map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
            let marks = "^".repeat(*width);
            words.push_str(&format!("\n{gutter} |\n{line} | {text}\n{gutter} | {lead}{marks}"));
        }
        if let Some(help) = &self.help {
            words.push_str(&format!("\n  = help: {help}"));
        }
        words
    }
}
