//! Which of several validators on one database works (RULES R28, decision D11).
//!
//! The reconcilers run only during a term of office. A standby asks for the lead a few times a second, reads the store and
//! serves it; the leader renews its lease each second. A term ends when the lease could not be renewed in time by this process'
//! own monotonic clock, when a renewal or any write is refused because somebody else has led, or with the process, which
//! then gives the lead back. At the end of a term the reconcilers are dropped where they wait: a crash at any point is the same case,
//! and what they had begun is refused by the store, by the miners (the token is the epoch of discovery) and by the chain (only stored
//! bytes are submitted).
//!
//! So the lease only decides how soon another one works; that two never do harm at once is the token's doing, and
//! holds with any clock.

use std::sync::Arc;
use std::time::Duration;

use basilica_ports::{BoxError, Campaign, Clock, Leader, Leadership, StoreError};
use basilica_runtime_service::{Condition, ErrorChain, Stop, within};
use basilica_types::{FencingToken, Millis};
use tokio::sync::watch;
use tracing::{debug, info, warn};

use crate::metrics::ValidatorMetrics;

/// For the work of a term to end when the process is asked to, and for the lead to be given back after that.
const HANDOVER: Millis = Millis(2_000);

/// How leading is timed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseRules {
    /// A lease is for so long.
    pub lease: Millis,
    /// Between two renewals.
    pub renew: Millis,
    /// Between two campaigns of a standby, and between tries of a renewal.
    pub poll: Millis,
}

/// Where this process stands.
#[derive(Clone, Debug)]
pub(crate) enum Position {
    /// Nobody was asked yet.
    Starting,
    /// Somebody else leads, or nobody can be asked.
    Standby(Option<Leader>),
    /// This process does.
    Leading {
        token: FencingToken,
        /// Requested when the term is over.
        term: Stop,
    },
}

/// The position, told to all parts.
#[derive(Debug)]
pub(crate) struct Leading {
    position: watch::Sender<Position>,
    /// Reconcilers at work.
    busy: watch::Sender<usize>,
}

impl Default for Leading {
    fn default() -> Self {
        Self { position: watch::Sender::new(Position::Starting), busy: watch::Sender::new(0) }
    }
}

/// Counts a reconciler for as long as it is at work.
struct Busy<'a>(&'a Leading);

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.busy.send_modify(|busy| *busy -= 1);
    }
}

impl Leading {
    pub(crate) fn position(&self) -> Position {
        self.position.borrow().clone()
    }

    /// Waits until this process leads; the request that ends the term.
    async fn term(&self) -> Stop {
        let mut position = self.position.subscribe();
        let leads =
            |position: &Position| matches!(position, Position::Leading { term, .. } if !term.is_requested());
        loop {
            if let Ok(found) = position.wait_for(leads).await
                && let Position::Leading { term, .. } = &*found
            {
                return term.clone();
            }
        }
    }

    /// A reconciler's life: works during terms, and rests between them.
    pub(crate) async fn while_leading<W, F>(&self, stop: Stop, mut work: W) -> Result<(), BoxError>
    where
        W: FnMut(Stop) -> F + Send,
        F: Future<Output = Result<(), BoxError>> + Send,
    {
        loop {
            let term = tokio::select! {
                biased;
                () = stop.requested() => return Ok(()),
                term = self.term() => term,
            };
            self.busy.send_modify(|busy| *busy += 1);
            let _busy = Busy(self);
            tokio::select! {
                biased;
                () = term.requested() => debug!("dropped at the end of the term"),
                ended = work(stop.clone()) => return ended,
            }
        }
    }

    /// For tests of what goes by it.
    #[cfg(test)]
    pub(crate) fn take(&self, position: Position) {
        self.position.send_replace(position);
    }

    async fn all_rest(&self) {
        // The sender is ours, so that it cannot be gone.
        let _ = self.busy.subscribe().wait_for(|busy| *busy == 0).await;
    }

    fn begin(&self, token: FencingToken) -> Stop {
        let term = Stop::new();
        self.position.send_replace(Position::Leading { token, term: term.clone() });
        term
    }
}

/// Why a term ended.
#[derive(Debug, PartialEq, Eq)]
enum End {
    Stopped,
    NotRenewed,
    Succeeded,
}

/// What campaigns and leads.
pub(crate) struct Office {
    pub(crate) leadership: Arc<dyn Leadership>,
    pub(crate) holder: String,
    pub(crate) rules: LeaseRules,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) metrics: ValidatorMetrics,
    pub(crate) condition: Condition,
    /// Ends what must not outlive a term, once the reconcilers rest.
    pub(crate) retire: Box<dyn Fn() + Send + Sync>,
}

impl Office {
    /// The loop: runs until the stop.
    pub(crate) async fn run(&self, leading: &Leading, stop: Stop) -> Result<(), BoxError> {
        // Of a run before that panicked: nobody renews that term any more.
        if let Position::Leading { term, .. } = leading.position() {
            self.leadership.step_down();
            term.request();
            (self.retire)();
        }
        loop {
            let (token, asked) = tokio::select! {
                biased;
                () = stop.requested() => return Ok(()),
                won = self.win(leading) => won,
            };
            let term = leading.begin(token);
            self.metrics.leading.set(1);
            self.metrics.terms.inc();
            self.condition.ready();
            info!(leadership.token = %token, holder = self.holder, "leads");
            let end = self.lead(asked, &stop).await;
            self.metrics.leading.set(0);
            if end == End::Stopped {
                self.hand_over(leading, &term).await;
                return Ok(());
            }
            // First no write of ours is begun, then those who would begin one are ended.
            self.leadership.step_down();
            term.request();
            leading.position.send_replace(Position::Standby(None));
            if within(self.clock.as_ref(), HANDOVER, leading.all_rest()).await.is_err() {
                warn!(
                    "work of the term is still under way; what it opens now stays open until the next term ends"
                );
            }
            (self.retire)();
            let why = if end == End::Succeeded {
                "somebody else leads"
            } else {
                "the lease was not renewed in time"
            };
            self.condition.not_ready(format!("standby: {why}"));
            warn!(leadership.token = %token, why, "leads no more");
        }
    }

    /// Asks until it leads. Returns the token, and when it asked.
    async fn win(&self, leading: &Leading) -> (FencingToken, Duration) {
        loop {
            let asked = self.clock.monotonic();
            match self.leadership.campaign(&self.holder, self.rules.lease).await {
                Ok(Campaign::Won(token)) => return (token, asked),
                Ok(Campaign::Lost(leader)) => {
                    let holder = leader.holder.as_deref().unwrap_or("nobody");
                    self.condition.not_ready(format!("standby: {holder} leads with token {}", leader.token));
                    leading.position.send_replace(Position::Standby(Some(leader)));
                }
                Err(error) => {
                    self.condition.not_ready(format!("standby: {}", ErrorChain(&error)));
                    leading.position.send_replace(Position::Standby(None));
                }
            }
            self.clock.sleep(self.rules.poll).await;
        }
    }

    /// Renews the lease until it cannot be any more.
    async fn lead(&self, asked: Duration, stop: &Stop) -> End {
        let mut until = asked + self.held_for();
        loop {
            tokio::select! {
                biased;
                () = stop.requested() => return End::Stopped,
                () = self.leadership.deposed() => return End::Succeeded,
                () = self.clock.sleep(self.rules.renew) => {}
            }
            let asked = self.clock.monotonic();
            let renewed = tokio::select! {
                biased;
                () = stop.requested() => return End::Stopped,
                renewed = self.renew_until(until) => renewed,
            };
            match renewed {
                Ok(()) => until = asked + self.held_for(),
                Err(end) => return end,
            }
        }
    }

    /// Tries until it works or the lease is over. Over it is only for those who have to ask somebody: a file of this process alone
    /// answers on the spot, however late a busy machine comes to it.
    async fn renew_until(&self, until: Duration) -> Result<(), End> {
        loop {
            let left = until.saturating_sub(self.clock.monotonic());
            let left = Millis(u64::try_from(left.as_millis()).unwrap_or(u64::MAX));
            match within(self.clock.as_ref(), left, self.leadership.renew(self.rules.lease)).await {
                Ok(Ok(())) => return Ok(()),
                Ok(Err(StoreError::Fenced { .. })) => return Err(End::Succeeded),
                Ok(Err(_)) if left == Millis(0) => return Err(End::NotRenewed),
                Ok(Err(error)) => {
                    warn!(error = %ErrorChain(&error), left_ms = left.0, "lease not renewed yet");
                    self.clock.sleep(Millis(self.rules.poll.0.min(left.0))).await;
                }
                Err(_) => return Err(End::NotRenewed),
            }
        }
    }

    /// How long after it was asked for a lease is relied on: a tenth less than the server holds it, for clocks that do not run alike.
    fn held_for(&self) -> Duration {
        Millis(self.rules.lease.0 - self.rules.lease.0 / 10).as_duration()
    }

    /// Lets the work come to its end, as long as that takes little, and gives the lead back.
    async fn hand_over(&self, leading: &Leading, term: &Stop) {
        let in_order = within(self.clock.as_ref(), HANDOVER, leading.all_rest()).await.is_ok();
        term.request();
        match within(self.clock.as_ref(), HANDOVER, self.leadership.resign()).await {
            Ok(Ok(())) => info!(in_order, "gave the lead back"),
            Ok(Err(error)) => {
                warn!(error = %ErrorChain(&error), "the lead was not given back; its lease runs out")
            }
            Err(_) => warn!("the lead was not given back in time; its lease runs out"),
        }
    }
}

#[cfg(test)]
mod tests;
