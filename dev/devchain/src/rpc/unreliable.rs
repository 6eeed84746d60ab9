//! Requests that go wrong on order, and the bound on how many of one connection are answered at once.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use jsonrpsee::MethodResponse;
use jsonrpsee::core::middleware::{Batch, Notification, RpcServiceT};
use jsonrpsee::types::Request;
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
        let Self { service, node, in_flight } = self.clone();
        async move {
            let Ok(_permit) = in_flight.try_acquire() else {
                return MethodResponse::error(request.id, error::too_many_in_flight(MAX_IN_FLIGHT));
            };
            if request.method.starts_with("dev_") {
                return service.call(request).await;
            }
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

    fn batch<'a>(&self, batch: Batch<'a>) -> impl Future<Output = MethodResponse> + Send + 'a {
        let this = self.clone();
        async move { answer_batch(&this, batch).await }
    }

    fn notification<'a>(
        &self,
        notification: Notification<'a>,
    ) -> impl Future<Output = MethodResponse> + Send + 'a {
        self.service.notification(notification)
    }
}

/// Each request of a batch in turn, as the service below does it, but through the faults.
async fn answer_batch<S>(service: &Unreliable<S>, batch: Batch<'_>) -> MethodResponse
where
    Unreliable<S>: RpcServiceT<MethodResponse = MethodResponse, NotificationResponse = MethodResponse>,
{
    use jsonrpsee::BatchResponseBuilder;
    use jsonrpsee::core::middleware::BatchEntry;
    let mut answers = BatchResponseBuilder::new_with_limit(super::server::MAX_RESPONSE as usize);
    let mut notified = false;
    for entry in batch {
        let answer = match entry {
            Ok(BatchEntry::Call(request)) => service.call(request).await,
            Ok(BatchEntry::Notification(notification)) => {
                notified = true;
                service.notification(notification).await;
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
