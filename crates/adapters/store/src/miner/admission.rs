//! Requests of validators: nonce, order and session in one step, many requests per transaction.

mod book;
mod continuity;
mod log_copier;
mod recall;
mod rows;
mod statements;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use basilica_ports::{DiscoveryUse, Inadmissible, NewSession, NonceUse, SessionRecord, StoreError};
use basilica_types::{ErrorChain, Millis, Timestamp};
use tokio::sync::oneshot;
use tracing::warn;

use self::book::{Settled, settle};
pub(super) use self::continuity::{Boot, FRESH, interrupt};
use self::log_copier::LogCopier;
use self::recall::Recall;
use super::operations::bump;
use crate::Database;
use crate::database::{Turn, unavailable};

const OPERATION: &str = "admit requests";

type Outcome = Result<Result<SessionRecord, Inadmissible>, StoreError>;

/// What a verified request wants written.
#[derive(Debug)]
struct Wish {
    nonce: NonceUse,
    /// How long the kernel had run when it was `now`.
    up: Millis,
    ask: Ask,
}

#[derive(Debug)]
enum Ask {
    Open(NewSession),
    Discover(Box<DiscoveryUse>),
}

impl Wish {
    fn discovery(&self) -> Option<(&NonceUse, &DiscoveryUse)> {
        match &self.ask {
            Ask::Open(_) => None,
            Ask::Discover(discovery) => Some((&self.nonce, discovery)),
        }
    }
}

#[derive(Debug)]
struct Waiting {
    wish: Wish,
    reply: oneshot::Sender<Outcome>,
}

/// What waits for the writing connection. Bounded by the requests in work, which the server bounds.
#[derive(Debug, Default)]
struct Queue {
    waiting: Vec<Waiting>,
    /// Whether a task sees to it that all of it is written.
    is_served: bool,
}

/// The queue in front of the writing connection.
#[derive(Debug)]
pub(super) struct Admissions {
    database: Database,
    boot: Boot,
    queue: Mutex<Queue>,
    /// Of the last group, if it was written, and while no other one is.
    recall: Mutex<Option<Recall>>,
    copier: Arc<LogCopier>,
}

/// A group that is committed.
struct Written {
    decided: Vec<Outcome>,
    changes_keys: bool,
    /// Whether it survives a power cut, if it has to.
    flushed: Result<(), StoreError>,
}

/// The transaction that a request was to be part of failed, or the process was ending.
#[derive(Debug, thiserror::Error)]
#[error("the group of requests was not written, or is not known to last")]
struct GroupLost(#[source] Option<Arc<StoreError>>);

impl GroupLost {
    fn because_of(cause: Option<Arc<StoreError>>) -> StoreError {
        StoreError::Unavailable { operation: OPERATION, source: Self(cause).into() }
    }
}

/// Serves the queue until it is empty. Whoever still waits when this ends in another way (a panic, the end of the process)
/// learns that nothing was written.
struct Scribe {
    admissions: Arc<Admissions>,
    /// Another one may serve the queue by now.
    is_done: bool,
}

impl Scribe {
    async fn run(mut self) {
        self.admissions.serve().await;
        self.is_done = true;
    }
}

impl Drop for Scribe {
    fn drop(&mut self) {
        if !self.is_done {
            *self.admissions.queue() = Queue::default();
        }
    }
}

impl Admissions {
    pub(super) fn new(database: Database, boot: Boot) -> Self {
        let copier = Arc::new(LogCopier::new(database.clone()));
        Self { database, boot, queue: Mutex::default(), recall: Mutex::default(), copier }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn recall(&self) -> MutexGuard<'_, Option<Recall>> {
        self.recall.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets what can no longer matter at `now`; to be called by who has the writing connection, as a group has what is known for
    /// itself while it is written.
    pub(super) fn forget(&self, now: Timestamp) {
        if let Some(recall) = self.recall().as_mut() {
            recall.forget(now);
        }
    }

    /// Reads what requests are decided by, of which there can be a million rows. Else the first group does.
    pub(super) async fn resume(&self, now: Timestamp) -> Result<(), StoreError> {
        let mut turn = self.database.turn(OPERATION).await?;
        let known = self.recall().take().unwrap_or_default();
        let known = known.at_once(turn.connection(), &self.boot, now).await?;
        let flushed = self.database.flush().await;
        if flushed.is_ok() {
            *self.recall() = Some(known);
        }
        turn.over();
        flushed
    }

    pub(super) async fn open(self: &Arc<Self>, nonce: NonceUse, session: NewSession) -> Outcome {
        self.submit(nonce, Ask::Open(session)).await
    }

    pub(super) async fn discover(self: &Arc<Self>, nonce: NonceUse, discovery: DiscoveryUse) -> Outcome {
        self.submit(nonce, Ask::Discover(Box::new(discovery))).await
    }

    /// Groups are written by a task of their own: a request may be cancelled at any moment (a peer that hangs up), and must
    /// not take those of others along. Nor could they simply be written again: cancelled while the transaction commits,
    /// nobody knows whether their nonces are used. Rejected for that reason: writing in the request itself. Rejected for its
    /// cost: a lock that each request of a group takes in turn only to find that it was written, before the next can be.
    async fn submit(self: &Arc<Self>, nonce: NonceUse, ask: Ask) -> Outcome {
        let wish = Wish { nonce, up: self.boot.up(), ask };
        let (reply, answer) = oneshot::channel();
        let is_served = {
            let mut queue = self.queue();
            queue.waiting.push(Waiting { wish, reply });
            std::mem::replace(&mut queue.is_served, true)
        };
        if !is_served {
            let scribe = Scribe { admissions: Arc::clone(self), is_done: false };
            #[expect(
                clippy::disallowed_methods,
                reason = "ends with the queue that is empty, and its end tells all who wait"
            )]
            tokio::spawn(scribe.run());
        }
        answer.await.unwrap_or_else(|_| Err(GroupLost::because_of(None)))
    }

    async fn serve(&self) {
        while self.is_wanted() {
            // What comes while another one writes is in it.
            let turn = self.database.turn(OPERATION).await;
            let mut group = std::mem::take(&mut self.queue().waiting);
            // Where nobody waits any more, nothing may come of it.
            group.retain(|waiting| !waiting.reply.is_closed());
            let (wishes, replies): (Vec<_>, Vec<_>) =
                group.into_iter().map(|waiting| (waiting.wish, waiting.reply)).unzip();
            let written = match turn {
                Ok(turn) => self.write(turn, &wishes).await,
                Err(error) => Err(error),
            };
            let (changes_keys, decided) = match written {
                Ok(written) => (written.changes_keys, written.flushed.map(|()| written.decided)),
                Err(error) => (false, Err(error)),
            };
            let requests = replies.len();
            let is_heard = answer(replies, decided);
            self.copier.written(requests);
            if changes_keys && !is_heard {
                self.announce().await;
            }
        }
    }

    /// Writes a group. If that fails nothing of it is kept; if only its flush fails, it is written and nobody is told so, and the next group
    /// knows nothing by heart and is flushed for both.
    async fn write(&self, mut turn: Turn, wishes: &[Wish]) -> Result<Written, StoreError> {
        let Some(first) = wishes.first() else {
            turn.over();
            return Ok(Written { decided: Vec::new(), changes_keys: false, flushed: Ok(()) });
        };
        let (known, now) = (self.recall().take().unwrap_or_default(), first.nonce.now);
        let Settled { decided, recall, is_to_last, changes_keys } =
            settle(turn.connection(), wishes, known, (&self.boot, now)).await?;
        let flushed = if is_to_last { self.database.flush().await } else { Ok(()) };
        if flushed.is_ok() {
            *self.recall() = Some(recall);
        }
        turn.over();
        Ok(Written { decided, changes_keys, flushed })
    }

    /// Whose discovery is answered has its key brought onto nodes, and those that it displaced taken away. Who went away before, or was told
    /// that it failed, has not: the fleet looks for itself. Not for every new key: each look is one at all nodes.
    async fn announce(&self) {
        let announced = async {
            let mut transaction = self.database.begin(OPERATION).await?;
            bump(&mut transaction).await?;
            transaction.commit().await.map_err(unavailable(OPERATION))
        };
        if let Err(error) = announced.await {
            let error = ErrorChain(&error);
            warn!(%error, "keys that were displaced stay on nodes until these are looked at next");
        }
    }

    /// Whether anything waits; if not, this was the end of the serving.
    fn is_wanted(&self) -> bool {
        let mut queue = self.queue();
        queue.is_served = !queue.waiting.is_empty();
        queue.is_served
    }
}

/// Whoever no longer waits has been cancelled; its nonce stays used. Whether all heard that it is written.
fn answer(replies: Vec<oneshot::Sender<Outcome>>, written: Result<Vec<Outcome>, StoreError>) -> bool {
    match written {
        Ok(decided) => replies.into_iter().zip(decided).fold(true, |all, (reply, outcome)| {
            let is_heard = reply.send(outcome).is_ok();
            all && is_heard
        }),
        Err(error) => {
            let error = Arc::new(error);
            for reply in replies {
                let _ = reply.send(Err(GroupLost::because_of(Some(Arc::clone(&error)))));
            }
            false
        }
    }
}
