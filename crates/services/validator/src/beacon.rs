//! The chain's beacon for the validator's challenges (see [`basilica_probing_service::Beacons`]).

use async_trait::async_trait;
use basilica_probing_service::{BeaconSource, Drawn};
use basilica_verification::Break;

use crate::shared::Shared;

#[async_trait]
impl BeaconSource for Shared {
    async fn draw(&self, cache_log2: Option<u8>) -> Result<Drawn, Break> {
        self.beacons.draw(self.ports.chain.as_ref(), cache_log2).await
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::set_weights::tests::World;
    use basilica_verification::asked::BEACON_BLOCKS;

    #[tokio::test]
    async fn one_beacon_and_one_cache_serve_until_the_next_span_of_blocks() {
        let world = World::new();
        let shared = world.boot().await;
        let first = shared.draw(Some(10)).await.unwrap();
        world.chain.advance();
        let again = shared.draw(Some(10)).await.unwrap();
        assert_eq!(again.beacon, first.beacon);
        assert!(Arc::ptr_eq(again.cache.as_ref().unwrap(), first.cache.as_ref().unwrap()));
        assert!(shared.draw(None).await.unwrap().cache.is_none());
        assert_ne!(shared.draw(Some(11)).await.unwrap().cache.unwrap().bytes(), first.cache.unwrap().bytes());
        (0..BEACON_BLOCKS).for_each(|_| world.chain.advance());
        assert_ne!(shared.draw(None).await.unwrap().beacon, first.beacon);
    }

    #[tokio::test]
    async fn a_silent_chain_leaves_the_last_beacon_and_without_one_no_challenge_is_made() {
        let world = World::new();
        let shared = world.boot().await;
        let held = shared.draw(None).await.unwrap();
        world.chain.fall_silent();
        assert_eq!(shared.draw(None).await.unwrap().beacon, held.beacon);
        let started_blind = world.boot().await;
        assert!(matches!(started_blind.draw(None).await, Err(Break::Internal)));
    }
}
