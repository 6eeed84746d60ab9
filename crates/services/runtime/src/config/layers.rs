use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use figment::Figment;
use figment::providers::Serialized;
use serde::de::DeserializeOwned;
use toml::{Table, Value};

use super::diagnostic::{Diagnostic, Notice, Place, Problem};
use super::document::{self, Document, Part, Quote};
use super::{ConfigSource, problem, split};

/// The three sources of a configuration, from weakest to strongest.
#[derive(Clone)]
pub(super) struct Layers {
    document: Document,
    variables: BTreeMap<Vec<String>, Variable>,
    flags: Vec<(Vec<String>, Value)>,
}

/// What sets something, without the values: they may be secrets.
impl fmt::Debug for Layers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let flags: Vec<String> = self.flags.iter().map(|(key, _)| key.join(".")).collect();
        f.debug_struct("Layers")
            .field("document", &self.document)
            .field("variables", &self.variables())
            .field("flags", &flags)
            .finish()
    }
}

#[derive(Clone)]
struct Variable {
    name: String,
    text: String,
    value: Value,
}

impl Layers {
    pub(super) fn new(
        document: Document,
        source: &ConfigSource<'_>,
    ) -> Result<(Self, Vec<Notice>), Box<Diagnostic>> {
        let mut notices = Vec::new();
        let mut variables = BTreeMap::new();
        if let Some(legacy) = source.legacy_env_prefix {
            for (path, variable) in select(source, legacy) {
                let right = format!("{}{}", source.env_prefix, &variable.name[legacy.len()..]);
                notices.push(Notice {
                    place: Place::Variable(variable.name.clone()),
                    key: path.join("."),
                    message: format!("the prefix {legacy} is misspelt and will go; write {right}"),
                });
                variables.insert(path, variable);
            }
        }
        variables.extend(select(source, source.env_prefix));
        let flags = source.overrides.iter().map(|(key, value)| (split(key), value.clone())).collect();
        let layers = Self { document, variables, flags };
        layers.check_variables()?;
        Ok((layers, notices))
    }

    /// A variable that sets a section as a whole, or a key inside another variable's value, has no one meaning.
    fn check_variables(&self) -> Result<(), Box<Diagnostic>> {
        for (path, variable) in &self.variables {
            if let Some(outer) = (1..path.len()).find_map(|length| self.variables.get(&path[..length])) {
                return Err(Box::new(Diagnostic {
                    place: Place::Variable(variable.name.clone()),
                    key: Some(path.join(".")),
                    problem: Problem::Unfit { why: format!("{} already sets what contains it", outer.name) },
                    help: Some("set only one of the two".to_owned()),
                }));
            }
        }
        Ok(())
    }

    /// Takes out what a seed had and we do without; says so for each.
    pub(super) fn remove_ignored(&mut self, ignored: &[(&str, &str)]) -> Vec<Notice> {
        let mut notices = Vec::new();
        for (key, message) in ignored {
            let pattern = split(key);
            let mut note = |place, path: &[String]| {
                notices.push(Notice { place, key: path.join("."), message: (*message).to_owned() });
            };
            for path in self.document.matching(&pattern) {
                note(self.document.place(&path, Part::Key, Quote::Keys), &path);
                remove(&mut self.document.table, &path);
            }
            self.variables.retain(|path, variable| {
                let matches = path.len() >= pattern.len()
                    && path.iter().zip(&pattern).all(|(step, want)| want == "*" || step == want);
                if matches {
                    note(Place::Variable(variable.name.clone()), path);
                }
                !matches
            });
        }
        notices
    }

    /// The merged configuration as the caller's type.
    pub(super) fn extract<T: DeserializeOwned>(&mut self) -> Result<T, Box<Diagnostic>> {
        loop {
            let error = match self.figment().extract::<T>() {
                Ok(value) => return Ok(value),
                Err(error) => error,
            };
            let found = problem::classify(&error);
            // `BASILICA_BITTENSOR__WALLET_NAME=42` reads as a number, but where a text belongs it is one. Each round
            // settles one variable, so that this ends.
            match self.variables.get_mut(&found.path) {
                Some(variable) if found.wants_text && !variable.value.is_str() => {
                    variable.value = Value::String(variable.text.clone());
                }
                _ => return Err(Box::new(self.diagnose(found))),
            }
        }
    }

    pub(super) fn file(&self) -> Option<&Path> {
        self.document.path()
    }

    pub(super) fn variables(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self.variables.values().map(|variable| variable.name.as_str()).collect();
        names.sort_unstable();
        names
    }

    /// Where a key was set by the strongest source that sets it, or its nearest enclosing key.
    pub(super) fn place(&self, path: &[String]) -> Place {
        self.place_part(path, Part::Value, Quote::Whole)
    }

    fn place_part(&self, path: &[String], part: Part, quote: Quote) -> Place {
        let flag = self.flags.iter().rev().find(|(set, _)| path.starts_with(set));
        let variable = (1..=path.len()).rev().find_map(|length| self.variables.get(&path[..length]));
        match (flag, variable) {
            (Some((set, _)), _) => Place::Flag(set.join(".")),
            (None, Some(variable)) => Place::Variable(variable.name.clone()),
            (None, None) => self.document.place(path, part, quote),
        }
    }

    /// A variable for a key inside `path`.
    fn inside(&self, path: &[String]) -> Option<&Variable> {
        let deeper = |set: &Vec<String>| set.len() > path.len() && set.starts_with(path);
        self.variables.iter().find(|(set, _)| deeper(set)).map(|(_, variable)| variable)
    }

    fn diagnose(&self, found: problem::Found) -> Diagnostic {
        let (part, quote) = match &found.problem {
            Problem::UnknownKey | Problem::MissingKey | Problem::MissingSection => (Part::Key, Quote::Keys),
            Problem::WrongType { found, expected }
                if [found, expected].into_iter().any(|what| problem::holds_others(what)) =>
            {
                (Part::Value, Quote::Keys)
            }
            _ => (Part::Value, Quote::Whole),
        };
        let mut help = None;
        let mut place = self.place_part(&found.path, part, quote);
        // A section that stands where something else belongs, or that nobody knows, may come from a variable for one
        // of its keys; a line of the file is not to blame then.
        if matches!(found.problem, Problem::UnknownKey | Problem::WrongType { .. })
            && !matches!(place, Place::Flag(_))
            && let Some(variable) = self.inside(&found.path)
        {
            place = Place::Variable(variable.name.clone());
            let array =
                matches!(&found.problem, Problem::WrongType { expected, .. } if expected == "an array");
            help = array
                .then(|| "elements cannot be set one by one; set the whole array, as in TOML".to_owned());
        }
        let help = help.or(found.help).or_else(|| remedy(&found.problem, &found.path));
        let key = (!found.path.is_empty()).then(|| found.path.join("."));
        let problem = match found.problem {
            Problem::WrongType { expected, .. } if document::is_secret(&found.path) => {
                Problem::WrongType { found: "another value".to_owned(), expected }
            }
            problem => problem,
        };
        Diagnostic { place, key, problem, help }
    }

    fn figment(&self) -> Figment {
        let mut environment = Table::new();
        for (path, variable) in &self.variables {
            insert(&mut environment, path, variable.value.clone());
        }
        let mut flags = Table::new();
        for (path, value) in &self.flags {
            insert(&mut flags, path, value.clone());
        }
        Figment::new()
            .merge(Serialized::defaults(&self.document.table))
            .merge(Serialized::defaults(environment))
            .merge(Serialized::defaults(flags))
    }
}

/// What to do about something that is not there.
fn remedy(problem: &Problem, path: &[String]) -> Option<String> {
    let (name, section) = path.split_last()?;
    match problem {
        Problem::MissingSection => Some(format!("add a line `[{name}]` and its keys below it")),
        Problem::MissingKey if section.iter().any(|step| step.parse::<usize>().is_ok()) => {
            Some(format!("add `{name} = …` to this element"))
        }
        Problem::MissingKey => Some(format!("add `{name} = …` under `[{}]`", section.join("."))),
        _ => None,
    }
}

/// The variables under a prefix, as configuration.
fn select(source: &ConfigSource<'_>, prefix: &str) -> Vec<(Vec<String>, Variable)> {
    source
        .env
        .iter()
        .filter_map(|(name, text)| {
            let key = name.strip_prefix(prefix).filter(|_| !prefix.is_empty())?;
            let path: Vec<String> = key.split("__").map(str::to_ascii_lowercase).collect();
            let whole = path.len() > 1 && path.iter().all(|step| !step.is_empty());
            whole
                .then(|| (path, Variable { name: name.clone(), text: text.clone(), value: read_value(text) }))
        })
        .collect()
}

/// A variable's value is read as TOML where it is a number, a truth value, an array, an inline table or a quoted
/// text; anything else is text as it stands (dates too: no setting of ours is one).
fn read_value(text: &str) -> Value {
    let document = format!("value = {text}");
    let parsed = document.parse::<Table>().ok().filter(|table| table.len() == 1);
    match parsed.and_then(|mut table| table.remove("value")) {
        Some(Value::Datetime(_)) | None => Value::String(text.to_owned()),
        Some(value) => value,
    }
}

/// Sets a key; a scalar in the way gives way, because the stronger setting is the later one.
fn insert(table: &mut Table, path: &[String], value: Value) {
    let Some((first, rest)) = path.split_first() else { return };
    if rest.is_empty() {
        table.insert(first.clone(), value);
        return;
    }
    let entry = table.entry(first.clone()).or_insert_with(|| Value::Table(Table::new()));
    if !entry.is_table() {
        *entry = Value::Table(Table::new());
    }
    if let Value::Table(inner) = entry {
        insert(inner, rest, value);
    }
}

fn remove(table: &mut Table, path: &[String]) {
    let Some((first, rest)) = path.split_first() else { return };
    if rest.is_empty() {
        table.remove(first);
    } else if let Some(inner) = table.get_mut(first) {
        remove_value(inner, rest);
    }
}

fn remove_value(value: &mut Value, path: &[String]) {
    match value {
        Value::Table(table) => remove(table, path),
        Value::Array(array) => {
            let element = path[0].parse::<usize>().ok().and_then(|position| array.get_mut(position));
            if let (Some(element), [_, rest @ ..]) = (element, path)
                && !rest.is_empty()
            {
                remove_value(element, rest);
            }
        }
        _ => {}
    }
}
