//! Answers of a running validator to its faces ([`ValidatorQueries`]): from the fleet view, the store, and what the
//! reconcilers know.

mod view;

use std::sync::Arc;

use async_trait::async_trait;
use basilica_ports::{
    CategoryView, CheckUnderWay, EpochsView, HealthReport, KeptVerdict, Leader, LeadershipView, Listed,
    MinerFilter, MinerName, MinerView, NodeFilter, NodeKey, NodeView, StoreError, TranscriptPart,
    ValidatorQueries, VerdictPlace, VerdictsOf, WeightWindow, WeightsOutlook,
};
use basilica_runtime_service::Readiness;
use basilica_scoring::weights::Part;
use basilica_types::{Digest, Hotkey, Timestamp};
use basilica_verification::CardTable;
use basilica_verification::verdict_log::Day;

pub(crate) use self::view::{FleetView, FleetViews, keep_fresh};
use crate::end_days;
use crate::leadership::Position;
use crate::shared::Shared;

/// What the validator's faces ask.
#[derive(Clone)]
pub struct Queries {
    shared: Arc<Shared>,
    readiness: Readiness,
}

impl std::fmt::Debug for Queries {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Queries")
    }
}

impl Queries {
    pub(crate) const fn new(shared: Arc<Shared>, readiness: Readiness) -> Self {
        Self { shared, readiness }
    }
}

#[async_trait]
impl ValidatorQueries for Queries {
    fn hotkey(&self) -> Hotkey {
        self.shared.ports.signer.hotkey()
    }

    fn now(&self) -> Timestamp {
        self.shared.now()
    }

    fn health(&self) -> HealthReport {
        let checks = self.readiness.report();
        let checks = match self.shared.leading.position() {
            // What the reconcilers of a leader would say is not known here. It follows: the database answers, and somebody leads.
            Position::Standby(Some(Leader { holder: Some(_), .. })) => {
                vec![("database", Ok(())), ("leadership", Ok(()))]
            }
            Position::Standby(_) => checks.into_iter().filter(|(name, _)| *name == "leadership").collect(),
            Position::Starting | Position::Leading { .. } => checks,
        };
        HealthReport { checks, at: self.shared.now() }
    }

    async fn miners(
        &self,
        filter: MinerFilter,
        after: Option<Hotkey>,
        limit: usize,
    ) -> Result<Listed<MinerView>, StoreError> {
        Ok(self.shared.fleet_view().await?.miners(filter, after, limit))
    }

    async fn miner(&self, name: MinerName) -> Result<Option<MinerView>, StoreError> {
        Ok(self.shared.fleet_view().await?.miner(name))
    }

    async fn nodes(
        &self,
        filter: &NodeFilter,
        after: Option<NodeKey>,
        limit: usize,
    ) -> Result<Listed<NodeView>, StoreError> {
        Ok(self.shared.fleet_view().await?.nodes(filter, after, limit))
    }

    async fn verdict(&self, digest: Digest) -> Result<Option<Vec<u8>>, StoreError> {
        self.shared.ports.shown.verdict(digest).await
    }

    async fn log_days(&self, before: Option<Day>, limit: u32) -> Result<Vec<Vec<u8>>, StoreError> {
        self.shared.ports.shown.days(before, limit).await
    }

    async fn log_day(&self, day: Day) -> Result<Option<Vec<u8>>, StoreError> {
        self.shared.ports.shown.day(day).await
    }

    async fn inclusion(&self, verdict: Digest) -> Result<Option<Vec<u8>>, StoreError> {
        end_days::inclusion(self.shared.ports.shown.as_ref(), verdict).await
    }

    async fn verdict_page(
        &self,
        of: VerdictsOf,
        after: Option<VerdictPlace>,
        limit: u32,
    ) -> Result<Vec<KeptVerdict>, StoreError> {
        self.shared.ports.shown.verdict_page(of, after, limit).await
    }

    async fn transcript(
        &self,
        digest: Digest,
        skip: u64,
        bytes: u32,
    ) -> Result<Option<TranscriptPart>, StoreError> {
        self.shared.ports.shown.transcript(digest, skip, bytes).await
    }

    fn cards(&self) -> CardTable {
        self.shared.settings.cards.clone()
    }

    async fn categories(&self) -> Result<Vec<CategoryView>, StoreError> {
        let settings = &self.shared.settings;
        let mut filled = self.shared.fleet_view().await?.categories();
        for category in &mut filled {
            category.share = settings.allocation.share(category.category);
            category.min_gpus = settings.minimum(category.category).gpus;
        }
        Ok(filled)
    }

    fn checks_under_way(&self) -> Vec<CheckUnderWay> {
        self.shared.under_way.all()
    }

    async fn windows(&self, limit: u32) -> Result<Vec<WeightWindow>, StoreError> {
        self.shared.ports.shown.windows(limit).await
    }

    async fn emission(&self, window: i64, skip: u32, limit: u32) -> Result<Vec<Part>, StoreError> {
        let store = &self.shared.ports.shown;
        // Only the newest window can be under way, and only then are its weights hidden.
        let newest = store.windows(1).await?.into_iter().next();
        if newest.is_some_and(|newest| newest.id <= window && newest.hides_weights()) {
            return Ok(Vec::new());
        }
        store.emission(window, skip, limit).await
    }

    fn weights(&self) -> Option<WeightsOutlook> {
        self.shared.weights_explained().map(|why| WeightsOutlook {
            code: why.code,
            explanation: why.text,
            until: why.until,
            failed: why.class.is_some(),
            at: why.at,
        })
    }

    fn epochs(&self) -> EpochsView {
        self.shared.epochs.view(self.shared.settings.fleet.mean_blocks)
    }

    fn leadership(&self) -> LeadershipView {
        match self.shared.leading.position() {
            Position::Starting => LeadershipView::Starting,
            Position::Standby(leader) => LeadershipView::Standby(leader),
            Position::Leading { token, .. } => LeadershipView::Leading(token),
        }
    }
}

#[cfg(test)]
mod tests {
    use basilica_types::{FencingToken, Millis};

    use super::*;
    use crate::set_weights::tests::World;

    fn following(holder: Option<&str>) -> Position {
        let holder = holder.map(str::to_owned);
        Position::Standby(Some(Leader { token: FencingToken(3), holder, lease_left: Millis(2_000) }))
    }

    #[tokio::test]
    async fn a_standby_is_healthy_while_it_follows() {
        let world = World::new();
        let shared = Arc::new(world.boot().await);
        let leadership = world.readiness.condition("leadership");
        leadership.not_ready("standby: first leads with token 3");
        let queries = Queries::new(Arc::clone(&shared), world.readiness.clone());
        assert!(!queries.health().is_healthy(), "it has just started");
        shared.leading.take(following(Some("first")));
        assert!(queries.health().is_healthy(), "what only a leader knows is not asked of it");
        shared.leading.take(following(None));
        assert!(!queries.health().is_healthy(), "nobody leads");
        leadership.not_ready("standby: the database does not answer");
        shared.leading.take(Position::Standby(None));
        let report = queries.health();
        let why = Err("standby: the database does not answer".to_owned());
        assert_eq!(report.checks, [("leadership", why)]);
    }
}
