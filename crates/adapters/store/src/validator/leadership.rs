//! Who leads: the row that every writing transaction locks (RULES R28, decision D11).
//!
//! The row holds the current token, its holder and the end of the lease, all by the database server's clock, so that no
//! validator's clock matters. A transaction that writes locks the row first and goes on only if the token is still the one
//! that this process leads with. So writes of a deposed leader are refused however late they come, and a change of leadership
//! waits for the write under way: what was acknowledged under a token was stored before the next token was given out. Writers
//! are one after the other as on SQLite, because a process has one connection that writes.
//!
//! Which locks: writers take the row `FOR KEY SHARE`, which lets the lease be renewed beside a write of any length (an update of
//! other columns is `FOR NO KEY UPDATE`); a campaign takes it `FOR UPDATE`, which waits for every writer.
//!
//! **Rejected**: advisory locks held by a session (a server's failover or a pooler between loses them without a word, and they
//! carry no number that others can compare), and serialisable isolation in place of the row's lock (a deposed leader would be told only at
//! the commit, and reads would be aborted with it).

use async_trait::async_trait;
use basilica_ports::{Campaign, Leader, Leadership, StoreError};
use basilica_types::{FencingToken, Millis};
use tokio::sync::watch;

use super::columns::{Unexpected, signed, unsigned};
use super::{Engine, ValidatorDatabase};
use crate::cluster::Cluster;
use crate::database::{corrupt, unavailable};
use crate::measure::UnderWay;
use crate::sql::{Begun, Readers, Statement, Transaction, query};

/// Not leading.
const NONE: i64 = -1;

/// The token that this process leads with.
#[derive(Debug)]
pub(super) struct Seat(watch::Sender<i64>);

impl Seat {
    /// Of a process that has the database to itself.
    pub(super) fn alone() -> Self {
        Self(watch::Sender::new(0))
    }

    /// Takes over the token of a file that this process has to itself: 0, unless its rows were restored from a database that
    /// several led.
    pub(super) async fn sit(&self, readers: Readers<'_>) -> Result<(), sqlx::Error> {
        self.take(query("SELECT token FROM leadership").scalar(readers).await?);
        Ok(())
    }

    /// Of a process that must campaign first.
    pub(super) fn vacant() -> Self {
        Self(watch::Sender::new(NONE))
    }

    fn held(&self) -> i64 {
        *self.0.borrow()
    }

    fn take(&self, token: i64) {
        self.0.send_replace(token);
    }

    /// Leads no more if it led with this token; another campaign that was won meanwhile stands.
    fn vacate(&self, held: i64) {
        self.0.send_if_modified(|seat| {
            let mine = *seat == held && held != NONE;
            if mine {
                *seat = NONE;
            }
            mine
        });
    }

    /// Begins a transaction on the server with the leadership's row locked.
    pub(super) async fn begin(
        &self,
        cluster: &Cluster,
        operation: &'static str,
        counted: UnderWay,
    ) -> Result<Transaction, StoreError> {
        let failed = unavailable(operation);
        let held = self.held();
        let begun = Begun::Postgres(cluster.writer().begin().await.map_err(&failed)?);
        let mut transaction = Transaction::new(begun, counted);
        let current: i64 = query("SELECT token FROM leadership WHERE one = 1 FOR KEY SHARE")
            .scalar(&mut transaction)
            .await
            .map_err(&failed)?;
        if current == held {
            return Ok(transaction);
        }
        self.vacate(held);
        transaction.roll_back().await.map_err(failed)?;
        Err(StoreError::Fenced { held: token(held), current: fencing(current)? })
    }
}

/// The token of a seat; none if it does not lead.
fn token(held: i64) -> Option<FencingToken> {
    u64::try_from(held).ok().map(FencingToken)
}

fn fencing(token: i64) -> Result<FencingToken, StoreError> {
    unsigned(token, "leadership.token").map(FencingToken)
}

/// The server's clock in milliseconds, read when the row is locked and not when the transaction began.
macro_rules! server_clock {
    () => {
        "CAST(floor(extract(epoch FROM clock_timestamp()) * 1000) AS BIGINT)"
    };
}

const CAMPAIGN: &str = concat!(
    "WITH free AS (SELECT one FROM leadership WHERE one = 1 AND lease_end <= ",
    server_clock!(),
    " FOR UPDATE) UPDATE leadership SET token = token + 1, holder = $1, lease_end = ",
    server_clock!(),
    " + $2 FROM free WHERE leadership.one = free.one RETURNING token"
);
const RENEW: &str = concat!(
    "UPDATE leadership SET lease_end = ",
    server_clock!(),
    " + $2 WHERE one = 1 AND token = $1 RETURNING token"
);
const LEADER: &str =
    concat!("SELECT token, holder, lease_end - ", server_clock!(), " FROM leadership WHERE one = 1");

impl ValidatorDatabase {
    /// Runs one statement on the leadership's row, in a transaction of its own beside the writer.
    async fn claim(
        &self,
        cluster: &Cluster,
        operation: &'static str,
        statement: Statement,
    ) -> Result<Option<i64>, StoreError> {
        let (failed, counted) = (unavailable(operation), self.leads.begins());
        let begun = Begun::Postgres(cluster.leader().begin().await.map_err(&failed)?);
        let mut transaction = Transaction::new(begun, counted);
        let token = statement.scalar_optional(&mut transaction).await.map_err(&failed)?;
        transaction.commit().await.map_err(failed)?;
        Ok(token)
    }
}

#[async_trait]
impl Leadership for ValidatorDatabase {
    fn is_shared(&self) -> bool {
        matches!(self.engine, Engine::Postgres(_))
    }

    fn held(&self) -> Option<FencingToken> {
        token(self.seat.held())
    }

    async fn campaign(&self, holder: &str, lease: Millis) -> Result<Campaign, StoreError> {
        let Engine::Postgres(cluster) = &self.engine else {
            return fencing(self.seat.held()).map(Campaign::Won);
        };
        let lease = signed(lease.0, "leadership.lease_end")?;
        let claim = query(CAMPAIGN).bind(holder).bind(lease);
        match self.claim(cluster, "campaign", claim).await? {
            Some(won) => {
                let token = fencing(won)?;
                self.seat.take(won);
                Ok(Campaign::Won(token))
            }
            None => self.leader().await.map(Campaign::Lost),
        }
    }

    async fn renew(&self, lease: Millis) -> Result<(), StoreError> {
        let Engine::Postgres(cluster) = &self.engine else { return Ok(()) };
        let held = self.seat.held();
        if held != NONE {
            let lease = signed(lease.0, "leadership.lease_end")?;
            let renewed = self.claim(cluster, "renew lease", query(RENEW).bind(held).bind(lease)).await?;
            if renewed.is_some() {
                return Ok(());
            }
            self.seat.vacate(held);
        }
        let current = self.leader().await?.token;
        Err(StoreError::Fenced { held: token(held), current })
    }

    async fn deposed(&self) {
        // The sender is ours, so that it cannot be gone.
        let _ = self.seat.0.subscribe().wait_for(|seat| *seat == NONE).await;
    }

    fn step_down(&self) {
        if self.is_shared() {
            self.seat.take(NONE);
        }
    }

    async fn resign(&self) -> Result<(), StoreError> {
        let Engine::Postgres(cluster) = &self.engine else { return Ok(()) };
        let held = self.seat.held();
        self.seat.vacate(held);
        if held != NONE {
            let end = "UPDATE leadership SET lease_end = 0, holder = NULL WHERE one = 1 AND token = $1 RETURNING token";
            self.claim(cluster, "resign", query(end).bind(held)).await?;
        }
        Ok(())
    }

    async fn leader(&self) -> Result<Leader, StoreError> {
        let Engine::Postgres(_) = &self.engine else {
            let token = fencing(self.seat.held())?;
            return Ok(Leader { token, holder: None, lease_left: Millis(0) });
        };
        let row: Option<(i64, Option<String>, i64)> =
            query(LEADER).fetch_optional(self.readers()).await.map_err(unavailable("read leadership"))?;
        let (token, holder, left) = row.ok_or(Unexpected).map_err(corrupt("leadership"))?;
        Ok(Leader { token: fencing(token)?, holder, lease_left: Millis(u64::try_from(left).unwrap_or(0)) })
    }
}
