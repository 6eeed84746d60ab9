//! Changes to the list of nodes in the text of a configuration, such that everything else stays as its author wrote it.
//!
//! Comments, order and spelling are the author's: a node is added after the last one, a changed value takes the place of the old one,
//! and a comment stays with what it stands beside. A comment above a node that goes stays as well, for it may be the heading of those that
//! follow. **Rejected**: writing the file anew from its values, which loses all of that.

use basilica_types::{Host, HostKey, NodeAddress, Region, UsdMicros, Username};
use toml_edit::{Array, ArrayOfTables, DocumentMut, InlineTable, Item, Table, TableLike, TomlError, Value};

const SECTION: &str = "node_management";
const NODES: &str = "nodes";

/// What is to be said of a node. What is none stays as it is in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeEntry {
    /// Which node.
    pub address: NodeAddress,
    /// Price per GPU and hour.
    pub hourly_rate_per_gpu: Option<UsdMicros>,
    /// Where it stands.
    pub region: Option<Region>,
    /// The only host key to believe.
    pub host_key: Option<HostKey>,
}

/// What an edit does to the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeChange {
    /// The node is new.
    Added,
    /// It was there, with other values.
    Updated,
    /// It was there just so.
    Unchanged,
}

/// Why a text cannot be edited.
#[derive(Debug, thiserror::Error)]
pub enum EditError {
    /// Not TOML; the parser's words, without the line, which may be a secret.
    #[error("the file is not valid TOML: {0}")]
    Syntax(String),
    /// The list is something else.
    #[error("node_management.nodes is not a list of nodes")]
    Shape,
}

impl From<TomlError> for EditError {
    fn from(error: TomlError) -> Self {
        Self::Syntax(error.message().to_owned())
    }
}

/// The text with the node as `entry` says, and what that changes. `default_user` is the login of nodes that name none.
pub fn set_node(
    text: &str,
    default_user: &Username,
    entry: &NodeEntry,
) -> Result<(String, NodeChange), EditError> {
    let mut document: DocumentMut = text.parse()?;
    let change = match nodes(&mut document)? {
        Nodes::Inline(array) => set_inline(array, default_user, entry),
        Nodes::Tables(tables) => set_table(tables, default_user, entry),
    };
    let text = if change == NodeChange::Unchanged { text.to_owned() } else { document.to_string() };
    Ok((text, change))
}

/// The text without the node; none if it does not have it.
pub fn remove_node(
    text: &str,
    default_user: &Username,
    address: &NodeAddress,
) -> Result<Option<String>, EditError> {
    let mut document: DocumentMut = text.parse()?;
    let removed = match nodes(&mut document)? {
        Nodes::Inline(array) => remove_inline(array, default_user, address),
        Nodes::Tables(tables) => {
            let before = tables.len();
            tables.retain(|table| address_of(table, default_user).as_ref() != Some(address));
            tables.len() < before
        }
    };
    Ok(removed.then(|| document.to_string()))
}

enum Nodes<'a> {
    /// `nodes = [{ … }]`, as in the seeds.
    Inline(&'a mut Array),
    /// `[[node_management.nodes]]`.
    Tables(&'a mut ArrayOfTables),
}

fn nodes(document: &mut DocumentMut) -> Result<Nodes<'_>, EditError> {
    let section = document.entry(SECTION).or_insert_with(|| Item::Table(Table::new()));
    let section = section.as_table_like_mut().ok_or(EditError::Shape)?;
    match section.entry(NODES).or_insert_with(|| Item::Value(Value::Array(Array::new()))) {
        Item::Value(Value::Array(array)) => Ok(Nodes::Inline(array)),
        Item::ArrayOfTables(tables) => Ok(Nodes::Tables(tables)),
        _ => Err(EditError::Shape),
    }
}

/// The address that an entry of the list stands for; none if it has no usable one.
fn address_of(node: &dyn TableLike, default_user: &Username) -> Option<NodeAddress> {
    let host: Host = node.get("host")?.as_str()?.parse().ok()?;
    let port = node.get("port").map_or(Some(22), |port| u16::try_from(port.as_integer()?).ok())?;
    let user = node.get("username").map_or(Some(default_user.clone()), |user| user.as_str()?.parse().ok())?;
    NodeAddress::new(user, host, port).ok()
}

/// The keys of a node in the order of the seeds.
fn identity(entry: &NodeEntry) -> [(&'static str, Value); 3] {
    let address = &entry.address;
    [
        ("host", Value::from(address.host.to_string())),
        ("port", Value::from(i64::from(address.port()))),
        ("username", Value::from(address.user.as_str())),
    ]
}

fn properties(entry: &NodeEntry) -> impl Iterator<Item = (&'static str, Value)> {
    let rate = entry.hourly_rate_per_gpu.map(|rate| ("hourly_rate_per_gpu", dollars(rate)));
    let region = entry.region.as_ref().map(|region| ("region", Value::from(region.to_string())));
    let host_key = entry.host_key.as_ref().map(|key| ("host_key", Value::from(key.to_string())));
    [rate, region, host_key].into_iter().flatten()
}

/// A number as people write prices: at least two decimals.
fn dollars(UsdMicros(micros): UsdMicros) -> Value {
    let exact = format!("{}.{:06}", micros / 1_000_000, micros % 1_000_000);
    let shortest = exact.trim_end_matches('0');
    let decimals = shortest.len() - shortest.find('.').unwrap_or(0) - 1;
    let text = format!("{shortest}{}", "0".repeat(2usize.saturating_sub(decimals)));
    // What consists of digits and a point is a number in TOML.
    text.parse().unwrap_or_else(|_| Value::from(text))
}

/// Whether two values mean the same, however they are written.
fn same(old: &Item, new: &Value) -> bool {
    let number = |value: &Value| match value {
        Value::Float(float) => Some(*float.value()),
        Value::Integer(integer) => integer.value().to_string().parse().ok(),
        Value::String(text) => text.value().parse().ok(),
        _ => None,
    };
    let Item::Value(old) = old else { return false };
    match (old.as_str(), new.as_str()) {
        (Some(old), Some(new)) => old == new,
        _ => number(old).is_some_and(|old| number(new) == Some(old)),
    }
}

/// Puts values into an entry; whether that changed anything.
fn update(node: &mut dyn TableLike, entry: &NodeEntry) -> bool {
    let mut changed = false;
    for (key, mut value) in properties(entry) {
        match node.get_mut(key) {
            Some(old) if same(old, &value) => continue,
            Some(old) => {
                if let Some(old) = old.as_value() {
                    *value.decor_mut() = old.decor().clone();
                }
                *old = Item::Value(value);
            }
            None => {
                node.insert(key, Item::Value(value));
            }
        }
        changed = true;
    }
    changed
}

fn set_inline(array: &mut Array, default_user: &Username, entry: &NodeEntry) -> NodeChange {
    let found = array.iter_mut().filter_map(Value::as_inline_table_mut).find(|node| {
        let node: &dyn TableLike = &**node;
        address_of(node, default_user).as_ref() == Some(&entry.address)
    });
    if let Some(node) = found {
        let before = node.len();
        let changed = update(node, entry);
        if node.len() > before {
            // A key after the last one would stand behind the blank before the brace.
            node.fmt();
        }
        return if changed { NodeChange::Updated } else { NodeChange::Unchanged };
    }
    let mut node = InlineTable::new();
    for (key, value) in identity(entry).into_iter().chain(properties(entry)) {
        node.insert(key, value);
    }
    push(array, Value::InlineTable(node));
    NodeChange::Added
}

fn set_table(tables: &mut ArrayOfTables, default_user: &Username, entry: &NodeEntry) -> NodeChange {
    let found =
        tables.iter_mut().find(|node| address_of(&**node, default_user).as_ref() == Some(&entry.address));
    if let Some(node) = found {
        return if update(node, entry) { NodeChange::Updated } else { NodeChange::Unchanged };
    }
    let mut node = Table::new();
    for (key, value) in identity(entry).into_iter().chain(properties(entry)) {
        node.insert(key, Item::Value(value));
    }
    tables.push(node);
    NodeChange::Added
}

/// Splits what stands between two values into the rest of the first one's line and the lines that follow.
fn first_line(text: &str) -> (&str, &str) {
    text.find('\n').map_or((text, ""), |end| text.split_at(end))
}

fn raw(text: Option<&toml_edit::RawString>) -> String {
    text.and_then(toml_edit::RawString::as_str).unwrap_or_default().to_owned()
}

fn prefix(value: &Value) -> String {
    raw(value.decor().prefix())
}

/// Adds a value on a line of its own. What stands beside the last one stays beside it.
fn push(array: &mut Array, mut value: Value) {
    let trailing = raw(Some(array.trailing()));
    let (beside, below) = if array.trailing_comma() { first_line(&trailing) } else { ("", &*trailing) };
    value.decor_mut().set_prefix(format!("{beside}\n  "));
    let below = if below.is_empty() { "\n".to_owned() } else { below.to_owned() };
    array.push_formatted(value);
    array.set_trailing_comma(true);
    array.set_trailing(below);
}

fn remove_inline(array: &mut Array, default_user: &Username, address: &NodeAddress) -> bool {
    let at = array.iter().position(|node| {
        node.as_inline_table().is_some_and(|node| address_of(node, default_user).as_ref() == Some(address))
    });
    let Some(at) = at else { return false };
    let removed = array.remove(at);
    let before = prefix(&removed);
    let (beside, above) = first_line(&before);
    let above = if above.contains('#') { above.trim_end_matches([' ', '\t', '\n', '\r']) } else { "" };
    let after = array.get(at).map_or_else(|| raw(Some(array.trailing())), prefix);
    let joined = format!("{beside}{above}{}", first_line(&after).1);
    match array.get_mut(at) {
        Some(next) => next.decor_mut().set_prefix(joined),
        None => array.set_trailing(joined),
    }
    true
}

#[cfg(test)]
mod tests;
