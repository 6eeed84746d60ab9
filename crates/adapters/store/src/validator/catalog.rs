//! What tables there are, from the engine's own catalogue: for backups, which must not forget the table that was added last.

use std::collections::{BTreeMap, BTreeSet};

use basilica_ports::StoreError;

use super::columns::Unexpected;
use super::{Engine, ValidatorDatabase};
use crate::database::{corrupt, unavailable};
use crate::sql::{On, query};

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Integer,
    Text,
    Bytes,
}

impl Kind {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Integer => "integer",
            Self::Text => "text",
            Self::Bytes => "bytes",
        }
    }

    fn of(declared: &str) -> Option<Self> {
        Some(match declared {
            "INTEGER" | "bigint" => Self::Integer,
            "TEXT" | "text" => Self::Text,
            "BLOB" | "bytea" => Self::Bytes,
            _ => return None,
        })
    }
}

/// A table with the columns that are written, none of which is computed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Table {
    pub(super) name: String,
    pub(super) columns: Vec<(String, Kind)>,
}

const COLUMNS_OF_SQLITE: &str =
    "SELECT t.name, c.name, c.type FROM sqlite_master t, pragma_table_xinfo(t.name) c
    WHERE t.type = 'table' AND t.name NOT LIKE 'sqlite%' AND c.hidden = 0 ORDER BY t.name, c.cid";
const PARENTS_OF_SQLITE: &str =
    "SELECT DISTINCT t.name, f.\"table\" FROM sqlite_master t, pragma_foreign_key_list(t.name) f
    WHERE t.type = 'table'";
const COLUMNS_OF_POSTGRES: &str =
    "SELECT CAST(table_name AS TEXT), CAST(column_name AS TEXT), CAST(data_type AS TEXT)
    FROM information_schema.columns
    WHERE table_schema = current_schema() AND table_name <> 'basilica_schema' AND is_generated = 'NEVER'
    ORDER BY table_name, ordinal_position";
const PARENTS_OF_POSTGRES: &str = "SELECT DISTINCT CAST(child.relname AS TEXT), CAST(parent.relname AS TEXT)
    FROM pg_constraint c JOIN pg_class child ON child.oid = c.conrelid JOIN pg_class parent ON parent.oid = c.confrelid
    WHERE c.contype = 'f' AND child.relnamespace = CAST(current_schema() AS regnamespace)";

/// All tables, each after those that its rows refer to.
pub(super) async fn tables(database: &ValidatorDatabase) -> Result<Vec<Table>, StoreError> {
    let failed = unavailable("read catalogue");
    let (columns, parents) = match &database.engine {
        Engine::Sqlite(..) => (COLUMNS_OF_SQLITE, PARENTS_OF_SQLITE),
        Engine::Postgres(_) => (COLUMNS_OF_POSTGRES, PARENTS_OF_POSTGRES),
    };
    let on = || -> On<'_> { database.readers().into() };
    let columns: Vec<(String, String, String)> = query(columns).fetch_all(on()).await.map_err(&failed)?;
    let parents: Vec<(String, String)> = query(parents).fetch_all(on()).await.map_err(&failed)?;
    let mut tables: BTreeMap<String, Table> = BTreeMap::new();
    for (table, column, declared) in columns {
        let kind = Kind::of(&declared).ok_or(Unexpected).map_err(corrupt("catalogue"))?;
        let entry = tables.entry(table.clone()).or_insert_with(|| Table { name: table, columns: Vec::new() });
        entry.columns.push((column, kind));
    }
    Ok(in_order(tables, &parents))
}

fn in_order(mut tables: BTreeMap<String, Table>, parents: &[(String, String)]) -> Vec<Table> {
    let (mut ordered, mut placed) = (Vec::with_capacity(tables.len()), BTreeSet::new());
    while !tables.is_empty() {
        let waits = |name: &String| {
            parents.iter().any(|(child, parent)| child == name && child != parent && !placed.contains(parent))
        };
        // Tables that wait for each other would be a fault of the schema; they come in order of name.
        let next = tables.keys().find(|name| !waits(name)).or_else(|| tables.keys().next()).cloned();
        let Some(table) = next.and_then(|name| tables.remove(&name)) else { break };
        placed.insert(table.name.clone());
        ordered.push(table);
    }
    ordered
}
