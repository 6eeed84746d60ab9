//! One SQL text for both engines.
//!
//! The validator's store runs on SQLite and on Postgres (decision D11). Each statement is written once, in the subset
//! that both understand: `$1` placeholders; `BIGINT`, `TEXT` and bytes; truth as 0 and 1; `CASE` in place of `iif` and of
//! two-argument `min` and `max`; `CAST(sum(..) AS BIGINT)`, as Postgres' sums are wider; aliases on subqueries; keys in
//! place of `rowid`; `RETURNING` in place of the last row's id; names that Postgres reserves in quotes. Texts order by their
//! bytes on both: the schema gives Postgres' columns the collation `C`.
//!
//! The layer is thin: a statement owns its text and its values and is run by whichever driver the connection belongs to.
//! Rows are read by sqlx's own `FromRow`, which its derive writes for all drivers at once, so that nothing is copied
//! through a common row. **Rejected**: `sqlx::Any`. It builds, for every row, a second list of its columns and an owned copy of
//! every value, texts included, before the first one is decoded, and the store reads tables of ten thousand rows of
//! thirty columns each minute; it has no way to close a connection whose answer never came, which leadership depends on (see
//! `postgres`). Also rejected: two
//! copies of every statement, one for each engine, which agree until somebody changes one.

use std::sync::Arc;

use sqlx::postgres::{PgArguments, PgRow};
use sqlx::query::Query;
use sqlx::sqlite::{SqliteArguments, SqliteConnection, SqlitePool, SqliteRow};
use sqlx::{Arguments, Database, Encode, Error, FromRow, Postgres, SqlSafeStr, SqlStr, Sqlite, Type};
use tokio::time::Instant;

use crate::database::Writing;
use crate::measure::{Meter, UnderWay};
use crate::postgres::{Held, Slots, deadline, is_lost};

/// A value to be bound.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    Integer(Option<i64>),
    Text(Option<String>),
    Bytes(Option<Vec<u8>>),
}

/// Conversions from what is stored.
macro_rules! value_from {
    ($($type:ty => $variant:ident($value:ident) $owned:expr),* $(,)?) => {$(
        impl From<$type> for Value {
            fn from($value: $type) -> Self {
                Self::$variant(Some($owned))
            }
        }

        impl From<Option<$type>> for Value {
            fn from(value: Option<$type>) -> Self {
                Self::$variant(value.map(|$value| $owned))
            }
        }
    )*};
}

value_from! {
    i64 => Integer(value) value,
    u32 => Integer(value) i64::from(value),
    bool => Integer(value) i64::from(value),
    String => Text(value) value,
    &String => Text(value) value.clone(),
    &str => Text(value) value.to_owned(),
    Vec<u8> => Bytes(value) value,
    &Vec<u8> => Bytes(value) value.clone(),
    &[u8] => Bytes(value) value.to_vec(),
}

/// What either engine's rows are read as.
pub(crate) trait FromEither:
    for<'r> FromRow<'r, SqliteRow> + for<'r> FromRow<'r, PgRow> + Send + Unpin + 'static
{
}

impl<T> FromEither for T where
    T: for<'r> FromRow<'r, SqliteRow> + for<'r> FromRow<'r, PgRow> + Send + Unpin + 'static
{
}

/// A statement with its values.
#[derive(Debug)]
pub(crate) struct Statement {
    text: SqlStr,
    values: Vec<Value>,
}

/// A statement to be bound and run.
pub(crate) fn query(text: impl SqlSafeStr) -> Statement {
    Statement { text: text.into_sql_str(), values: Vec::new() }
}

/// Where statements run: on any free connection, or on the one of a transaction.
#[derive(Debug)]
pub(crate) enum On<'a> {
    SqlitePool(&'a SqlitePool, &'a Meter),
    Sqlite(&'a mut SqliteConnection),
    PgSlots(&'a Arc<Slots>, &'a Meter),
    Pg(&'a mut Held),
}

/// Connections that only read.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Readers<'a> {
    Sqlite(&'a SqlitePool, &'a Meter),
    Postgres(&'a Arc<Slots>, &'a Meter),
}

impl<'a> From<Readers<'a>> for On<'a> {
    fn from(readers: Readers<'a>) -> Self {
        match readers {
            Readers::Sqlite(pool, meter) => Self::SqlitePool(pool, meter),
            Readers::Postgres(slots, meter) => Self::PgSlots(slots, meter),
        }
    }
}

/// A transaction that writes. Rolled back unless committed, which is for what failed: it counts as an error.
#[derive(Debug)]
pub(crate) struct Transaction {
    begun: Begun,
    counted: UnderWay,
}

/// By engine.
#[derive(Debug)]
pub(crate) enum Begun {
    Sqlite(Writing),
    Postgres(Held),
}

impl Transaction {
    pub(crate) const fn new(begun: Begun, counted: UnderWay) -> Self {
        Self { begun, counted }
    }

    /// After this what was written is on disk.
    pub(crate) async fn commit(self) -> Result<(), Error> {
        match self.begun {
            Begun::Sqlite(transaction) => transaction.commit().await?,
            Begun::Postgres(held) => held.commit().await?,
        }
        self.counted.ends_well();
        Ok(())
    }

    /// Undoes it. To drop it is as right, but costs Postgres a connection.
    pub(crate) async fn roll_back(self) -> Result<(), Error> {
        match self.begun {
            Begun::Sqlite(transaction) => transaction.rollback().await?,
            Begun::Postgres(held) => held.roll_back().await?,
        }
        self.counted.ends_well();
        Ok(())
    }
}

impl<'a> From<&'a mut Transaction> for On<'a> {
    fn from(transaction: &'a mut Transaction) -> Self {
        match &mut transaction.begun {
            Begun::Sqlite(transaction) => Self::Sqlite(&mut *transaction),
            Begun::Postgres(held) => Self::Pg(held),
        }
    }
}

/// Postgres' texts hold no NUL, which what an outsider said may hold.
fn storable(text: String) -> String {
    if text.contains('\0') { text.replace('\0', "\u{fffd}") } else { text }
}

/// The values in a driver's own form.
fn arguments<DB: Database>(values: Vec<Value>) -> Result<DB::Arguments, sqlx::error::BoxDynError>
where
    for<'q> Option<i64>: Encode<'q, DB> + Type<DB>,
    for<'q> Option<String>: Encode<'q, DB> + Type<DB>,
    for<'q> Option<Vec<u8>>: Encode<'q, DB> + Type<DB>,
{
    let mut arguments = DB::Arguments::default();
    for value in values {
        match value {
            Value::Integer(value) => arguments.add(value)?,
            Value::Text(value) => arguments.add(value.map(storable))?,
            Value::Bytes(value) => arguments.add(value)?,
        }
    }
    Ok(arguments)
}

impl Statement {
    /// Binds the next placeholder.
    pub(crate) fn bind(mut self, value: impl Into<Value>) -> Self {
        self.values.push(value.into());
        self
    }

    fn sqlite(self) -> Result<Query<'static, Sqlite, SqliteArguments>, Error> {
        let arguments = arguments::<Sqlite>(self.values).map_err(Error::Encode)?;
        Ok(sqlx::query_with(self.text, arguments))
    }

    fn postgres(&self) -> Result<Query<'static, Postgres, PgArguments>, Error> {
        let arguments = arguments::<Postgres>(self.values.clone()).map_err(Error::Encode)?;
        Ok(sqlx::query_with(self.text.clone(), arguments))
    }

    /// Runs it; returns how many rows it changed.
    pub(crate) async fn execute(self, on: impl Into<On<'_>>) -> Result<u64, Error> {
        #[cfg(test)]
        counted::one();
        match on.into() {
            On::SqlitePool(pool, meter) => {
                let (statement, began) = (self.sqlite()?, Instant::now());
                let done = statement.execute(pool).await;
                meter.outcome(began, done).map(|done| done.rows_affected())
            }
            On::Sqlite(connection) => Ok(self.sqlite()?.execute(connection).await?.rows_affected()),
            On::PgSlots(slots, meter) => {
                let began = Instant::now();
                let done = match slots.hold().await {
                    Ok(mut held) => self.execute_held(&mut held).await,
                    Err(error) => Err(error),
                };
                meter.outcome(began, done)
            }
            On::Pg(held) => self.execute_held(held).await,
        }
    }

    async fn execute_held(&self, held: &mut Held) -> Result<u64, Error> {
        let statement = self.postgres()?;
        let result = deadline(statement.execute(held.start()?)).await;
        held.finish(&result);
        Ok(result?.rows_affected())
    }

    /// All of its rows.
    pub(crate) async fn fetch_all<T: FromEither>(self, on: impl Into<On<'_>>) -> Result<Vec<T>, Error> {
        #[cfg(test)]
        counted::one();
        match on.into() {
            On::SqlitePool(pool, meter) => {
                let (statement, began) = (self.sqlite()?, Instant::now());
                let read = statement.fetch_all(pool).await;
                rows(meter.outcome(began, read)?).await
            }
            On::Sqlite(connection) => rows(self.sqlite()?.fetch_all(connection).await?).await,
            On::Pg(held) => rows(self.fetch_held(held).await?).await,
            On::PgSlots(slots, meter) => {
                let began = Instant::now();
                let read = self.fetch_slots(slots).await;
                rows(meter.outcome(began, read)?).await
            }
        }
    }

    /// On any connection, which others may have again before the rows are read.
    async fn fetch_slots(&self, slots: &Arc<Slots>) -> Result<Vec<PgRow>, Error> {
        let mut held = slots.hold().await?;
        match self.fetch_held(&mut held).await {
            // The server was restarted while this connection lay idle. A read may be made again.
            Err(error) if is_lost(&error) && held.was_idle() => {
                slots.forget_idle();
                drop(held);
                self.fetch_held(&mut slots.hold().await?).await
            }
            read => read,
        }
    }

    async fn fetch_held(&self, held: &mut Held) -> Result<Vec<PgRow>, Error> {
        let statement = self.postgres()?;
        let result = deadline(statement.fetch_all(held.start()?)).await;
        held.finish(&result);
        result
    }

    /// The only row, if there is one.
    pub(crate) async fn fetch_optional<T: FromEither>(
        self,
        on: impl Into<On<'_>>,
    ) -> Result<Option<T>, Error> {
        Ok(self.fetch_all(on).await?.into_iter().next())
    }

    /// The only column of all rows.
    pub(crate) async fn scalars<T>(self, on: impl Into<On<'_>>) -> Result<Vec<T>, Error>
    where
        (T,): FromEither,
    {
        let rows: Vec<(T,)> = self.fetch_all(on).await?;
        Ok(rows.into_iter().map(|(value,)| value).collect())
    }

    /// The only column of the only row, if there is one.
    pub(crate) async fn scalar_optional<T>(self, on: impl Into<On<'_>>) -> Result<Option<T>, Error>
    where
        (T,): FromEither,
    {
        Ok(self.scalars(on).await?.into_iter().next())
    }

    /// The only column of the only row, which is there.
    pub(crate) async fn scalar<T>(self, on: impl Into<On<'_>>) -> Result<T, Error>
    where
        (T,): FromEither,
    {
        self.scalar_optional(on).await?.ok_or(Error::RowNotFound)
    }
}

/// Rows that are read at once; more would keep the thread's other tasks waiting.
const FEW: usize = 256;

/// What takes as long as many rows do, beside the threads that tasks take turns on.
pub(crate) async fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The runtime is going down, and nobody waits any more.
            Err(_) => std::future::pending().await,
        },
    }
}

async fn rows<R: sqlx::Row, T>(rows: Vec<R>) -> Result<Vec<T>, Error>
where
    T: for<'r> FromRow<'r, R> + Send + 'static,
{
    let few = rows.len() <= FEW;
    let read = move || rows.iter().map(T::from_row).collect();
    if few { read() } else { aside(read).await }
}

/// How many statements a test's thread has run: what takes a round trip each on a server.
#[cfg(test)]
pub(crate) mod counted {
    use std::cell::Cell;

    thread_local! {
        static STATEMENTS: Cell<u64> = const { Cell::new(0) };
    }

    pub(super) fn one() {
        STATEMENTS.set(STATEMENTS.get() + 1);
    }

    pub(crate) fn so_far() -> u64 {
        STATEMENTS.get()
    }
}
