use std::sync::Arc;
use std::sync::Mutex;

use async_trait::async_trait;
use basilica_ports::{ImageRegistry, RegistryError};
use basilica_types::{ImageName, Millis};

use super::*;
use crate::set_weights::tests::World;

/// Answers the same until it is told otherwise; none: not at all.
pub(crate) struct Scripted {
    pub(crate) answer: Mutex<Option<ImageOffer>>,
    pub(crate) asked: Mutex<usize>,
}

impl Scripted {
    pub(crate) fn new(answer: ImageOffer) -> Arc<Self> {
        Arc::new(Self { answer: Mutex::new(Some(answer)), asked: Mutex::default() })
    }

    pub(crate) fn says(&self, answer: Option<ImageOffer>) {
        *self.answer.lock().unwrap() = answer;
    }

    fn asked(&self) -> usize {
        *self.asked.lock().unwrap()
    }
}

#[async_trait]
impl ImageRegistry for Scripted {
    async fn offer(&self, _: &ImageName, limit: Millis) -> Result<ImageOffer, RegistryError> {
        // Whoever else asks meanwhile has its turn.
        tokio::task::yield_now().await;
        *self.asked.lock().unwrap() += 1;
        let answer = *self.answer.lock().unwrap();
        answer.ok_or(RegistryError::Deadline { limit })
    }
}

#[tokio::test]
async fn an_answer_counts_for_one_retry_interval_and_who_asks_meanwhile_hears_it() {
    let world = World::new();
    let (mut shared, registry) = (world.boot().await, Scripted::new(ImageOffer::Offered));
    shared.ports.registry = Arc::clone(&registry) as _;
    let interval = shared.settings.retries.interval;
    let (one, two, three) = tokio::join!(is_offered(&shared), is_offered(&shared), is_offered(&shared));
    assert_eq!((one, two, three, registry.asked()), (true, true, true, 1));
    registry.says(Some(ImageOffer::Withheld));
    world.clock.advance(Millis(interval.0 - 1));
    assert!(is_offered(&shared).await);
    for (asked, answer) in [(2, Some(ImageOffer::Withheld)), (3, Some(ImageOffer::Unclear)), (4, None)] {
        registry.says(answer);
        world.clock.advance(interval);
        assert_eq!((is_offered(&shared).await, is_offered(&shared).await), (false, false), "{answer:?}");
        assert_eq!(registry.asked(), asked, "no answer is kept as any is");
    }
    registry.says(Some(ImageOffer::Offered));
    world.clock.advance(interval);
    assert!(is_offered(&shared).await);
}

#[tokio::test]
async fn an_answer_grows_old_whatever_becomes_of_the_clock() {
    let world = World::new();
    let (mut shared, registry) = (world.boot().await, Scripted::new(ImageOffer::Offered));
    shared.ports.registry = Arc::clone(&registry) as _;
    assert!(is_offered(&shared).await);
    registry.says(Some(ImageOffer::Withheld));
    for hours in [5, -5] {
        world.clock.set_wall_clock(hours * 3_600_000);
        assert!(is_offered(&shared).await, "no time has passed");
        assert_eq!(registry.asked(), 1);
    }
    world.clock.advance(shared.settings.retries.interval);
    assert!(!is_offered(&shared).await, "it is asked again though the clock shows an earlier time");
}
