//! Statements over many rows at once.
//!
//! A round trip to a server takes a millisecond, whatever it asks for: ten thousand nodes are written by forty statements, not
//! by ten thousand. The rows stand in the text as `VALUES ($1, $2), ($3, $4)`, which both engines read alike. **Rejected**: arrays and
//! JSON (`unnest`, `json_each`), for which each engine has its own words, and one statement for all rows, whose values
//! neither engine takes beyond a bound.

use sqlx::{AssertSqlSafe, Error};

use crate::sql::{Transaction, Value, query};

/// Rows of one statement.
pub(crate) const ROWS: usize = 256;

/// What one row binds, in order.
pub(crate) type Row = Vec<Value>;

/// Values of a row.
macro_rules! row {
    ($($value:expr),+ $(,)?) => {
        vec![$($crate::sql::Value::from($value)),+]
    };
}
pub(crate) use row;

/// Runs `text` over all rows, so many at a time; `{rows}` in it stands for them. Returns how many rows of tables it changed.
pub(crate) async fn execute(
    transaction: &mut Transaction,
    text: &'static str,
    rows: Vec<Row>,
) -> Result<u64, Error> {
    let mut changed = 0u64;
    let mut rows = rows.into_iter().peekable();
    while let Some(first) = rows.peek() {
        let columns = first.len();
        let some: Vec<Row> = rows.by_ref().take(ROWS).collect();
        let placed = text.replacen("{rows}", &placeholders(some.len(), columns), 1);
        // The text is ours, and so are the placeholders.
        let mut statement = query(AssertSqlSafe(placed));
        for value in some.into_iter().flatten() {
            statement = statement.bind(value);
        }
        changed = changed.saturating_add(statement.execute(&mut *transaction).await?);
    }
    Ok(changed)
}

/// `($1, $2), ($3, $4)`.
fn placeholders(rows: usize, columns: usize) -> String {
    let row = |row: usize| {
        let places: Vec<String> =
            (1..=columns).map(|column| format!("${}", row * columns + column)).collect();
        format!("({})", places.join(", "))
    };
    (0..rows).map(row).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_counted_on_from_row_to_row() {
        assert_eq!(placeholders(2, 3), "($1, $2, $3), ($4, $5, $6)");
    }
}
