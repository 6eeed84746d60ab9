//! Sending a subscription's news.

use jsonrpsee::{Extensions, SubscriptionSink};
use serde::Serialize;

use super::line::Line;

/// A subscriber, and the connection by which it is reached: what is sent counts there as owed.
#[derive(Debug)]
pub(super) struct Outlet {
    sink: SubscriptionSink,
    line: Option<Line>,
}

impl Outlet {
    pub(super) fn new(sink: SubscriptionSink, extensions: &Extensions) -> Self {
        Self { sink, line: extensions.get::<Line>().cloned() }
    }

    /// Waits until there is room for it; `None` if the subscriber is gone.
    pub(super) async fn send(&self, news: &impl Serialize) -> Option<()> {
        let message = jsonrpsee::core::to_json_raw_value(news).ok()?;
        if let Some(line) = &self.line {
            line.owe(message.get().len());
        }
        self.sink.send(message).await.ok()
    }

    /// Ends when the subscriber is gone.
    pub(super) async fn closed(&self) {
        self.sink.closed().await;
    }
}
