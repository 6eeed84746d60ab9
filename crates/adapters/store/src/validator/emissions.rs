//! Who got what of each window of weights, and why: as long as the window is kept.

use basilica_ports::StoreError;
use basilica_scoring::weights::Part;
use basilica_types::{Category, Uid, Weight};

use super::ValidatorDatabase;
use super::columns::{parse, unsigned};
use crate::database::{corrupt, unavailable};
use crate::sql::{Transaction, query};

#[derive(sqlx::FromRow)]
struct PartRow {
    uid: i64,
    category: Option<String>,
    points: String,
    total: String,
    weight: i64,
}

impl TryFrom<PartRow> for Part {
    type Error = StoreError;

    fn try_from(row: PartRow) -> Result<Self, StoreError> {
        let category = |word: String| {
            let known = Category::ALL.into_iter().find(|category| category.as_str() == word);
            known.ok_or(super::columns::Unexpected).map_err(corrupt("emissions.category"))
        };
        Ok(Self {
            uid: Uid(unsigned(row.uid, "emissions.uid")?),
            category: row.category.map(category).transpose()?,
            points: parse(&row.points, "emissions.points")?,
            total: parse(&row.total, "emissions.total")?,
            weight: Weight(unsigned(row.weight, "emissions.weight")?),
        })
    }
}

pub(super) async fn keep(
    transaction: &mut Transaction,
    window: i64,
    parts: &[Part],
) -> Result<(), StoreError> {
    for (place, part) in (0i64..).zip(parts) {
        query(
            "INSERT INTO emissions (window_id, place, uid, category, points, total, weight)
             VALUES ($1, $2, $3, $4, $5, $6, $7)",
        )
        .bind(window)
        .bind(place)
        .bind(i64::from(part.uid.0))
        .bind(part.category.map(|category| category.as_str()))
        .bind(part.points.to_string())
        .bind(part.total.to_string())
        .bind(i64::from(part.weight.0))
        .execute(&mut *transaction)
        .await
        .map_err(unavailable("store emission"))?;
    }
    Ok(())
}

pub(super) async fn of_window(
    store: &ValidatorDatabase,
    window: i64,
    skip: u32,
    limit: u32,
) -> Result<Vec<Part>, StoreError> {
    let rows: Vec<PartRow> = query(
        "SELECT uid, category, points, total, weight FROM emissions
         WHERE window_id = $1 AND place >= $2 ORDER BY place LIMIT $3",
    )
    .bind(window)
    .bind(skip)
    .bind(limit)
    .fetch_all(store.readers())
    .await
    .map_err(unavailable("read emission"))?;
    rows.into_iter().map(Part::try_from).collect()
}
