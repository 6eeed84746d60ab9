//! Which validators each node belongs to.

use std::collections::BTreeSet;

use basilica_ports::{Assignment, StoreError};
use basilica_types::{Hotkey, NodeId};
use sqlx::sqlite::SqliteExecutor;

use crate::Database;
use crate::database::{corrupt, unavailable};

async fn read(executor: impl SqliteExecutor<'_>) -> Result<Assignment, StoreError> {
    let rows: Vec<(String, String)> = sqlx::query_as("SELECT node_id, validator FROM assignments")
        .fetch_all(executor)
        .await
        .map_err(unavailable("read assignment"))?;
    let parse = |(node, validator): (String, String)| {
        Ok((
            node.parse().map_err(corrupt("assignments.node_id"))?,
            validator.parse().map_err(corrupt("assignments.validator"))?,
        ))
    };
    rows.into_iter().map(parse).collect()
}

pub(super) async fn current(database: &Database) -> Result<Assignment, StoreError> {
    read(database.readers()).await
}

/// Writes only what has changed: with open access most of it never does.
pub(super) async fn replace(database: &Database, assignment: &Assignment) -> Result<(), StoreError> {
    let failed = unavailable("remember assignment");
    let mut transaction = database.begin("remember assignment").await?;
    let before: BTreeSet<(NodeId, Hotkey)> = read(&mut *transaction).await?.pairs().collect();
    let after: BTreeSet<(NodeId, Hotkey)> = assignment.pairs().collect();
    let gone = before.difference(&after);
    let new = after.difference(&before);
    for (statement, (node, validator)) in gone
        .map(|pair| ("DELETE FROM assignments WHERE node_id = ? AND validator = ?", pair))
        .chain(new.map(|pair| ("INSERT INTO assignments (node_id, validator) VALUES (?, ?)", pair)))
    {
        let statement = sqlx::query(statement).bind(node.to_string()).bind(validator.to_string());
        statement.execute(&mut *transaction).await.map_err(&failed)?;
    }
    transaction.commit().await.map_err(&failed)
}
