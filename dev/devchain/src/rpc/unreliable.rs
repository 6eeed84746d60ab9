//! Requests that go wrong on order, and the bound on how many of one connection are answered at once.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use jsonrpsee::core::middleware::{Batch, BatchEntry, Notification, RpcServiceT};
use jsonrpsee::types::Request;
use jsonrpsee::{BatchResponseBuilder, MethodResponse};
use tokio::sync::Semaphore;

use super::error;
use super::line::Line;
use crate::faults::Kind;
use crate::node::Node;

/// Requests of one connection that are worked on at once.
const MAX_IN_FLIGHT: usize = 256;

/// Answers requests, unless a fault decides otherwise. The controls themselves are never faulty, so that faults can be
/// ended.
#[derive(Debug, Clone)]
pub(super) struct Unreliable<S> {
    service: S,
    node: Arc<Node>,
    in_flight: Arc<Semaphore>,
}

impl<S> Unreliable<S> {
    pub(super) fn new(service: S, node: Arc<Node>) -> Self {
        Self { service, node, in_flight: Arc::new(Semaphore::new(MAX_IN_FLIGHT)) }
    }
}

/// What happens instead of an answer.
enum Instead {
    Silence,
    Cut,
    RateLimit,
}

fn delay_of(node: &Node, method: &str) -> Option<Duration> {
    node.faults.strike(|kind| match kind {
        Kind::Delay { ms, methods } if methods.cover(method) => Some(Duration::from_millis(*ms)),
        _ => None,
    })
}

fn instead_of(node: &Node, method: &str) -> Option<Instead> {
    node.faults.strike(|kind| match kind {
        Kind::Hang { methods } if methods.cover(method) => Some(Instead::Silence),
        Kind::Disconnect { methods } if methods.cover(method) => Some(Instead::Cut),
        Kind::RateLimit { methods } if methods.cover(method) => Some(Instead::RateLimit),
        _ => None,
    })
}

impl<S> RpcServiceT for Unreliable<S>
where
    S: RpcServiceT<
            MethodResponse = MethodResponse,
            BatchResponse = MethodResponse,
            NotificationResponse = MethodResponse,
        > + Send
        + Sync
        + Clone
        + 'static,
{
    type MethodResponse = MethodResponse;
    type NotificationResponse = MethodResponse;
    type BatchResponse = MethodResponse;

    fn call<'a>(&self, request: Request<'a>) -> impl Future<Output = MethodResponse> + Send + 'a {
        let this = self.clone();
        async move {
            let line = request.extensions.get::<Line>().cloned();
            let size = request.params.as_ref().map_or(0, |params| params.get().len());
            counted(line, size, this.answer(request)).await
        }
    }

    fn batch<'a>(&self, mut batch: Batch<'a>) -> impl Future<Output = MethodResponse> + Send + 'a {
        let this = self.clone();
        async move {
            let line = batch.extensions().get::<Line>().cloned();
            let size = batch.iter().flatten().map(size_of_entry).sum();
            counted(line, size, answer_batch(&this, batch)).await
        }
    }

    fn notification<'a>(
        &self,
        notification: Notification<'a>,
    ) -> impl Future<Output = MethodResponse> + Send + 'a {
        self.service.notification(notification)
    }
}

impl<S> Unreliable<S>
where
    S: RpcServiceT<MethodResponse = MethodResponse> + Send + Sync + Clone + 'static,
{
    /// Answers one request, or does what a fault orders instead.
    fn answer<'a>(&self, request: Request<'a>) -> impl Future<Output = MethodResponse> + Send + use<'a, S> {
        let Self { service, node, in_flight } = self.clone();
        async move {
            if request.method.starts_with("dev_") {
                return service.call(request).await;
            }
            let Ok(_permit) = in_flight.try_acquire() else {
                return MethodResponse::error(request.id, error::too_many_in_flight(MAX_IN_FLIGHT));
            };
            if let Some(delay) = delay_of(&node, &request.method) {
                tokio::time::sleep(delay).await;
            }
            match instead_of(&node, &request.method) {
                None => service.call(request).await,
                Some(Instead::RateLimit) => MethodResponse::error(request.id, error::too_many_requests()),
                Some(Instead::Silence) => pending().await,
                Some(Instead::Cut) => {
                    if let Some(line) = request.extensions.get::<Line>() {
                        line.cut();
                    }
                    pending().await
                }
            }
        }
    }
}

fn size_of_entry(entry: &BatchEntry<'_>) -> usize {
    let params = match entry {
        BatchEntry::Call(request) => request.params.as_ref(),
        BatchEntry::Notification(notification) => notification.params.as_ref(),
    };
    params.map_or(0, |params| params.get().len())
}

/// Waits while the client does not read, counts what it sent while that is worked on, and then what it is owed for it.
async fn counted(
    line: Option<Line>,
    size: usize,
    answering: impl Future<Output = MethodResponse>,
) -> MethodResponse {
    let Some(line) = line else { return answering.await };
    line.has_room().await;
    line.owe(size);
    let answer = answering.await;
    // The answer to a subscription is sent by the subscription itself.
    if answer.is_method_call() || answer.is_batch() {
        line.owe(answer.as_ref().len());
    }
    line.pay(size);
    answer
}

/// Each request of a batch in turn, as the service below does it, but through the faults.
async fn answer_batch<S>(service: &Unreliable<S>, batch: Batch<'_>) -> MethodResponse
where
    S: RpcServiceT<MethodResponse = MethodResponse, NotificationResponse = MethodResponse>
        + Send
        + Sync
        + Clone
        + 'static,
{
    let mut answers = BatchResponseBuilder::new_with_limit(super::server::MAX_RESPONSE as usize);
    let mut notified = false;
    for entry in batch {
        let answer = match entry {
            Ok(BatchEntry::Call(request)) => service.answer(request).await,
            Ok(BatchEntry::Notification(notification)) => {
                notified = true;
                service.service.notification(notification).await;
                continue;
            }
            Err(refused) => {
                let (error, id) = refused.into_parts();
                MethodResponse::error(id, error)
            }
        };
        if let Err(too_big) = answers.append(answer) {
            return too_big;
        }
    }
    if answers.is_empty() && notified {
        return MethodResponse::notification();
    }
    MethodResponse::from_batch(answers.finish())
}
