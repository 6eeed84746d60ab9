//! Which of several validators on one database leads (RULES R28, decision D11).
//!
//! Leading is a lease that the store hands out with a fencing token. The token makes it safe: the store refuses every write of a process
//! whose token is not the newest, whatever that process believes. The lease makes it live: whoever does not renew it
//! in time is succeeded. Leases run on the database server's clock.

use async_trait::async_trait;
use basilica_types::{FencingToken, Millis};

use crate::StoreError;

/// What came of asking to lead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Campaign {
    /// This process leads from now on, with a token that nobody had before.
    Won(FencingToken),
    /// Another one does.
    Lost(Leader),
}

/// Who leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leader {
    /// The newest token.
    pub token: FencingToken,
    /// What the holder calls itself; none if it resigned.
    pub holder: Option<String>,
    /// Rest of its lease.
    pub lease_left: Millis,
}

/// The store's side of leading. A store that one process has to itself grants it at once, with token 0.
#[async_trait]
pub trait Leadership: Send + Sync + 'static {
    /// Whether other processes may lead on this database.
    fn is_shared(&self) -> bool;

    /// The token that this process leads with, as far as it knows.
    fn held(&self) -> Option<FencingToken>;

    /// Asks to lead for so long. Won only if no lease is running.
    async fn campaign(&self, holder: &str, lease: Millis) -> Result<Campaign, StoreError>;

    /// Leads on for so long from now.
    ///
    /// # Errors
    /// [`StoreError::Fenced`] if somebody else has led since.
    async fn renew(&self, lease: Millis) -> Result<(), StoreError>;

    /// Returns once this process leads no more, because a write or a renewal of its own was refused. Of one that does not
    /// lead, at once.
    async fn deposed(&self);

    /// Writes nothing from now on until a campaign is won; asks nobody. Writes under way may still be stored if nobody
    /// else leads yet.
    fn step_down(&self);

    /// The same, and lets the next one lead at once. Waits for a write under way.
    async fn resign(&self) -> Result<(), StoreError>;

    /// Who leads now.
    async fn leader(&self) -> Result<Leader, StoreError>;
}
