//! Nodes that cannot pull the image, and who is at fault.

use basilica_verification::ImageOffer;
use basilica_verification::probe::ContainerRun;

use super::*;
use crate::ask_registry::tests::Scripted;

/// Fails full checks by a pull that failed so, as they come due, until there is a verdict: its fault, and after how many tries. The
/// registry answers each with the next of these, and from then on with the last.
async fn fails_to_pull(run: ContainerRun, offers: &[Option<ImageOffer>]) -> (Fault, usize) {
    let world = World::new();
    let key = world.judge_a_node().await;
    let mut shared = world.boot().await;
    let registry = Scripted::new(ImageOffer::Unclear);
    shared.ports.registry = Arc::clone(&registry) as _;
    let before = node(&shared, key).await.last_full;
    for tries in 0..10 {
        let now = node(&shared, key).await;
        if now.last_full != before {
            let Outcome::Failed { reason, fault } = now.last_full.unwrap().outcome else {
                panic!("it passed")
            };
            assert_eq!(reason, Reason::ImagePullFailed);
            return (fault, tries);
        }
        world.clock.advance(now.due.full.since(shared.now()));
        world.chain.advance();
        registry.says(*offers.get(tries).or(offers.last()).unwrap());
        let mut tried = tried(&shared, CheckKind::Full, Finding::Failed(Reason::ImagePullFailed));
        tried.conclusion.probes.container_run = Some(run);
        conclude(&shared, &now, tried).await.unwrap();
    }
    panic!("no verdict");
}

#[tokio::test]
async fn a_pull_that_fails_while_the_registry_offers_the_image_each_time_is_the_nodes_fault() {
    let tries = usize::from(RetryRules::DEFAULT.retries) + 1;
    let offered = Some(ImageOffer::Offered);
    let found = fails_to_pull(ContainerRun::NoImage, &[offered]).await;
    assert_eq!(found, (Fault::Node { confirmed: true }, tries));
    for other in [Some(ImageOffer::Withheld), Some(ImageOffer::Unclear), None] {
        let mut offers = vec![offered; tries];
        offers[tries / 2] = other;
        let found = fails_to_pull(ContainerRun::NoImage, &offers).await;
        assert_eq!(found, (Fault::Unknown, tries), "once {other:?}");
    }
}

#[tokio::test]
async fn a_node_that_its_registry_asks_for_patience_is_not_at_fault() {
    let (fault, _) = fails_to_pull(ContainerRun::PullPutOff, &[Some(ImageOffer::Offered)]).await;
    assert_eq!(fault, Fault::Unknown);
}
