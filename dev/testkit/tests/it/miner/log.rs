//! What an operator finds when searching a miner's log.

use std::fmt::{Debug, Write as _};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

use super::admission::NO_PERMIT;
use super::*;

/// Keeps the messages of this thread, on which everything of the test runs.
#[derive(Clone, Default)]
struct Recorder(Arc<Mutex<Vec<(Level, String)>>>);

struct Message(String);

impl Visit for Message {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        if field.name() == "message" {
            write!(self.0, "{value:?}").unwrap();
        }
    }
}

impl Subscriber for Recorder {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }
    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn event(&self, event: &Event<'_>) {
        let mut message = Message(String::new());
        event.record(&mut message);
        self.0.lock().unwrap().push((*event.metadata().level(), message.0));
    }
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

impl Recorder {
    fn levels_of(&self, words: &str) -> Vec<Level> {
        self.0
            .lock()
            .unwrap()
            .iter()
            .filter(|(_, message)| message == words)
            .map(|(level, _)| *level)
            .collect()
    }
}

#[tokio::test]
async fn a_refusal_can_be_searched_for_and_strangers_do_not_fill_the_log() {
    let recorder = Recorder::default();
    let _guard = tracing::subscriber::set_default(recorder.clone());
    let site = Site::start(None, Settings::default()).await;
    let client = site.client().await;
    let mut forged = site.first.auth_request(site.miner.hotkey());
    forged.signature = site.second.party.signature(b"x");
    assert_eq!(code(client.authenticate(forged).await), RefusalCode::Unauthenticated);
    assert_eq!(recorder.levels_of("Validator authentication failed: Invalid signature"), [Level::INFO]);
    let stranger = Validator::new(77).auth_request(site.miner.hotkey());
    assert_eq!(code(client.authenticate(stranger).await), RefusalCode::PermissionDenied);
    let levels = recorder.levels_of(&format!("Validator authentication failed: {NO_PERMIT}"));
    assert!(!levels.is_empty() && levels.iter().all(|level| *level == Level::DEBUG), "{levels:?}");
}

#[tokio::test]
async fn a_login_and_every_key_that_comes_onto_a_node_can_be_searched_for() {
    const DEPLOYED: &str = "Deployed SSH key to node";
    let recorder = Recorder::default();
    let nodes = super::keys::nodes(&["gpu-1"]).await;
    let _guard = tracing::subscriber::set_default(recorder.clone());
    let mut site = Site::start(Some(&nodes), Settings::default()).await;
    let grant = site.first.authenticate(&site).await;
    for words in ["Validator authenticated", "Successfully authenticated validator"] {
        assert_eq!(recorder.levels_of(words), [Level::INFO], "{words}");
    }
    site.first.discover(&site, &grant).await;
    site.first.discover(&site, &grant).await;
    assert_eq!(recorder.levels_of(DEPLOYED), [Level::INFO], "once for a key that stays");
    site.first.identity = Identity::Ephemeral(Zeroizing::new([78; 32]));
    site.first.discover(&site, &grant).await;
    assert_eq!(recorder.levels_of(DEPLOYED), [Level::INFO; 2], "and again for one that takes its place");
}
