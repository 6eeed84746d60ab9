//! Connections to Postgres.
//!
//! Every statement has a deadline here and at the server, and a connection whose answer did not come is closed, never kept:
//! with a cut network an answer comes late or never, and what a late one would say is no longer known. A session that
//! stands still inside a transaction is ended by the server (`idle_in_transaction_session_timeout`): a process that was
//! stopped while it wrote must not keep the others from leading.
//!
//! **Rejected**: sqlx's own pool. It asks each connection for a sign of life when it is given back, without a deadline, so
//! that a server behind a cut network takes the pool's places with it until the kernel gives up, a quarter of an hour
//! later.

use std::future::Future;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{ConnectOptions as _, Error};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// From asking a statement to its answer. The server ends it a little earlier, so that its reason is heard.
const STATEMENT: Duration = Duration::from_secs(12);
const STATEMENT_AT_SERVER: &str = "10000";
/// For a connection with its login, and for a place to have one.
const CONNECT: Duration = Duration::from_secs(5);

/// What a session is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    Read,
    Write,
}

/// A few connections of one kind, made when they are needed.
#[derive(Debug)]
pub(crate) struct Slots {
    options: PgConnectOptions,
    most: usize,
    places: Arc<Semaphore>,
    idle: Mutex<Vec<PgConnection>>,
}

/// Fails a database call that takes too long.
pub(crate) async fn deadline<T>(call: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    within(STATEMENT, call).await
}

async fn within<T>(limit: Duration, call: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    match tokio::time::timeout(limit, call).await {
        Ok(result) => result,
        Err(_) => Err(Error::Io(io::Error::new(io::ErrorKind::TimedOut, "the database did not answer"))),
    }
}

/// Whether the connection is of no more use after this error. What the server says of a statement leaves it as it was, unless it
/// says that it ends the session (classes 08 and 57P, and 25P03), or that a statement prepared on it no longer fits its
/// table (0A000), to which another version has added a column meanwhile.
pub(crate) fn is_lost(error: &Error) -> bool {
    match error {
        Error::Database(said) => said.code().is_none_or(|code| {
            code.starts_with("08") || code.starts_with("57P") || code == "25P03" || code == "0A000"
        }),
        Error::RowNotFound | Error::ColumnDecode { .. } | Error::Decode(_) | Error::Encode(_) => false,
        _ => true,
    }
}

impl Slots {
    /// At most so many connections at a time.
    pub(crate) fn new(options: &PgConnectOptions, purpose: Purpose, places: u32) -> Arc<Self> {
        let options = options.clone().disable_statement_logging().options([
            ("statement_timeout", STATEMENT_AT_SERVER),
            ("lock_timeout", "5000"),
            ("idle_in_transaction_session_timeout", "2000"),
            // A server that waits for a client that is gone gives up within seconds, not hours.
            ("tcp_keepalives_idle", "5"),
            ("tcp_keepalives_interval", "2"),
            ("tcp_keepalives_count", "3"),
            ("default_transaction_read_only", if purpose == Purpose::Read { "on" } else { "off" }),
        ]);
        Self::with(options, places)
    }

    /// As many again, of the same kind, which nobody else uses.
    pub(crate) fn beside(&self, places: u32) -> Arc<Self> {
        Self::with(self.options.clone(), places)
    }

    fn with(options: PgConnectOptions, places: u32) -> Arc<Self> {
        let most = usize::try_from(places).unwrap_or(1).max(1);
        Arc::new(Self { options, most, places: Arc::new(Semaphore::new(most)), idle: Mutex::default() })
    }

    /// Waits for a place and a connection.
    pub(crate) async fn hold(self: &Arc<Self>) -> Result<Held, Error> {
        let place = match tokio::time::timeout(STATEMENT, Arc::clone(&self.places).acquire_owned()).await {
            Ok(Ok(place)) => place,
            Ok(Err(_)) => return Err(Error::PoolClosed),
            Err(_) => return Err(Error::PoolTimedOut),
        };
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let was_idle = idle.is_some();
        let connection = match idle {
            Some(connection) => connection,
            None => within(CONNECT, self.options.connect()).await?,
        };
        Ok(Held {
            connection: Some(connection),
            slots: Arc::clone(self),
            was_idle,
            sound: true,
            open: false,
            _place: place,
        })
    }

    /// A connection with a transaction begun on it.
    pub(crate) async fn begin(self: &Arc<Self>) -> Result<Held, Error> {
        let mut held = self.hold().await?;
        match held.begin().await {
            // The server was restarted while this connection lay idle. Nothing has been done yet.
            Err(error) if is_lost(&error) && held.was_idle => {
                self.forget_idle();
                drop(held);
                held = self.hold().await?;
                held.begin().await?;
            }
            begun => begun?,
        }
        Ok(held)
    }

    /// Closes the connections that nobody uses.
    pub(crate) fn forget_idle(&self) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Those in use or being made, those that are open and unused, and how many there may be.
    pub(crate) fn connections(&self) -> [usize; 3] {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).len();
        [self.most.saturating_sub(self.places.available_permits()), idle, self.most]
    }

    /// Gives out nothing more.
    pub(crate) fn close(&self) {
        self.places.close();
        self.forget_idle();
    }
}

/// A connection in use. Kept for the next user if all went well with it, and closed otherwise, which undoes its transaction.
#[derive(Debug)]
pub(crate) struct Held {
    connection: Option<PgConnection>,
    slots: Arc<Slots>,
    was_idle: bool,
    /// Nothing is under way on it, and nothing failed in its transaction.
    sound: bool,
    /// It has a transaction.
    open: bool,
    _place: OwnedSemaphorePermit,
}

impl Held {
    /// The connection, for one call whose result [`Self::finish`] is told. Dropped in between, it is closed.
    pub(crate) fn start(&mut self) -> Result<&mut PgConnection, Error> {
        if self.open && !self.sound {
            return Err(Error::Protocol("the transaction has failed already".to_owned()));
        }
        self.sound = false;
        self.connection.as_mut().ok_or(Error::PoolClosed)
    }

    /// Takes note of how the call ended.
    pub(crate) fn finish<T>(&mut self, result: &Result<T, Error>) {
        self.sound = match result {
            Ok(_) => true,
            Err(error) => !self.open && !is_lost(error),
        };
    }

    /// Whether it was made earlier and may have died meanwhile.
    pub(crate) const fn was_idle(&self) -> bool {
        self.was_idle
    }

    async fn control(&mut self, statement: &'static str) -> Result<(), Error> {
        let result = deadline(sqlx::raw_sql(statement).execute(self.start()?)).await;
        self.finish(&result);
        result.map(drop)
    }

    async fn begin(&mut self) -> Result<(), Error> {
        self.control("BEGIN").await?;
        self.open = true;
        Ok(())
    }

    /// Ends the transaction. Postgres answers the commit of a failed one with success and undoes it; `start` knows better.
    pub(crate) async fn commit(mut self) -> Result<(), Error> {
        self.control("COMMIT").await?;
        self.open = false;
        Ok(())
    }

    pub(crate) async fn roll_back(mut self) -> Result<(), Error> {
        self.control("ROLLBACK").await?;
        self.open = false;
        Ok(())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let connection = self.connection.take();
        if self.sound && !self.open {
            self.slots.idle.lock().unwrap_or_else(PoisonError::into_inner).extend(connection);
        }
    }
}
