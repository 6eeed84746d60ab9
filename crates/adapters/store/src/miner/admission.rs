//! Requests of validators: nonce, order and session in one step, many requests per flush.

mod book;

use std::sync::{Arc, Mutex, PoisonError};

use basilica_ports::{DiscoveryUse, Inadmissible, NewSession, NonceUse, SessionRecord, StoreError};
use tokio::sync::oneshot::{self, error::TryRecvError};

use self::book::Book;
use crate::Database;
use crate::database::unavailable;

const OPERATION: &str = "admit requests";

type Outcome = Result<Result<SessionRecord, Inadmissible>, StoreError>;

/// What a verified request wants written.
#[derive(Debug)]
enum Wish {
    Open(NonceUse, NewSession),
    Discover(NonceUse, Box<DiscoveryUse>),
}

impl Wish {
    const fn nonce(&self) -> &NonceUse {
        match self {
            Self::Open(nonce, _) | Self::Discover(nonce, _) => nonce,
        }
    }

    fn discovery(&self) -> Option<(&NonceUse, &DiscoveryUse)> {
        match self {
            Self::Open(..) => None,
            Self::Discover(nonce, discovery) => Some((nonce, discovery)),
        }
    }
}

#[derive(Debug)]
struct Waiting {
    wish: Wish,
    reply: oneshot::Sender<Outcome>,
}

/// The queue in front of the writing connection. Its length is bounded by the requests in work, which the server bounds.
#[derive(Debug)]
pub(super) struct Admissions {
    database: Database,
    waiting: Mutex<Vec<Waiting>>,
    /// Held by the group that is being written; in order of arrival.
    turn: Arc<tokio::sync::Mutex<()>>,
}

/// The group's transaction failed, or the process was ending.
#[derive(Debug, thiserror::Error)]
#[error("the group of requests was not written")]
struct GroupLost;

impl Admissions {
    pub(super) fn new(database: Database) -> Self {
        Self { database, waiting: Mutex::new(Vec::new()), turn: Arc::default() }
    }

    pub(super) async fn open(self: &Arc<Self>, nonce: NonceUse, session: NewSession) -> Outcome {
        self.submit(Wish::Open(nonce, session)).await
    }

    pub(super) async fn discover(self: &Arc<Self>, nonce: NonceUse, discovery: DiscoveryUse) -> Outcome {
        self.submit(Wish::Discover(nonce, Box::new(discovery))).await
    }

    /// Whoever gets the turn has everything that waits written, in a task of its own: its request may be cancelled at any
    /// moment (a peer that hangs up), and must not take those of others along. Nor could they simply be written again:
    /// cancelled while the transaction commits, nobody knows whether their nonces are used. Rejected for that reason:
    /// writing in the request itself and putting the wishes back when it is dropped.
    async fn submit(self: &Arc<Self>, wish: Wish) -> Outcome {
        let (reply, mut answer) = oneshot::channel();
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).push(Waiting { wish, reply });
        let turn = Arc::clone(&self.turn).lock_owned().await;
        // While this request waited for its turn, the one before may have taken it along.
        match answer.try_recv() {
            Ok(outcome) => return outcome,
            Err(TryRecvError::Closed) => return Err(not_written()),
            Err(TryRecvError::Empty) => {}
        }
        let this = Arc::clone(self);
        #[expect(
            clippy::disallowed_methods,
            reason = "bounded by one transaction and awaited here; see above"
        )]
        let written = tokio::spawn(async move {
            let _turn = turn;
            this.write_group().await
        });
        written.await.unwrap_or_else(|_| Err(not_written()))?;
        answer.await.unwrap_or_else(|_| Err(not_written()))
    }

    /// Writes everything that waits by now. If that fails nothing of it is kept, and all of the group learn it.
    async fn write_group(&self) -> Result<(), StoreError> {
        let mut transaction = self.database.begin(OPERATION).await?;
        let mut group = std::mem::take(&mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner));
        // Where nobody waits any more, nothing may come of it.
        group.retain(|waiting| !waiting.reply.is_closed());
        if group.is_empty() {
            return Ok(());
        }
        let wishes: Vec<&Wish> = group.iter().map(|waiting| &waiting.wish).collect();
        let mut book = Book::read(&mut transaction, &wishes).await?;
        let decided: Vec<_> =
            group.into_iter().map(|Waiting { wish, reply }| (reply, book.decide(&wish))).collect();
        book.write(&mut transaction).await?;
        transaction.commit().await.map_err(unavailable(OPERATION))?;
        for (reply, outcome) in decided {
            // Whoever no longer waits has been cancelled; its nonce stays used.
            let _ = reply.send(outcome);
        }
        Ok(())
    }
}

fn not_written() -> StoreError {
    StoreError::Unavailable { operation: OPERATION, source: GroupLost.into() }
}
