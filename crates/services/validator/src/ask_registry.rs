//! Whether the image that nodes run is offered to us: the validator's own witness for a node that could not pull it.
//!
//! Asked only when a node could not, one question at a time; an answer counts for one retry interval, so that each try of a series
//! has one of its own (RULES R4), and a thousand nodes that fail at once are one question. What it means is decided in
//! [`basilica_verification::registry`].

use std::time::Duration;

use basilica_runtime_service::ErrorChain;
use basilica_verification::ImageOffer;
use tokio::sync::Mutex;
use tracing::warn;

use crate::shared::Shared;

/// The last answer, with its time by the monotonic clock: one that a wall clock dated ahead would count until that is caught up.
#[derive(Debug, Default)]
pub(crate) struct Asked(Mutex<Option<(Duration, bool)>>);

/// Whether the registry offers the image to this validator, asked within one retry interval.
pub(crate) async fn is_offered(shared: &Shared) -> bool {
    let mut last = shared.asked_registry.0.lock().await;
    let clock = shared.ports.clock.as_ref();
    let is_recent =
        |at: Duration| clock.monotonic().saturating_sub(at) < shared.settings.retries.interval.as_duration();
    if let Some((_, offered)) = last.filter(|(at, _)| is_recent(*at)) {
        return offered;
    }
    let offered = ask(shared).await;
    *last = Some((clock.monotonic(), offered));
    offered
}

async fn ask(shared: &Shared) -> bool {
    let image = &shared.settings.probing.image;
    match shared.ports.registry.offer(image, shared.settings.registry_deadline).await {
        Ok(ImageOffer::Offered) => return true,
        Ok(ImageOffer::Unclear) => {
            warn!(target: "validator::verification", { image.name = %image },
                "image registry says neither yes nor no; nodes that cannot pull the image pass without running it");
        }
        Ok(ImageOffer::Withheld) => {
            warn!(target: "validator::verification", { image.name = %image },
                "image registry does not have docker_image for everybody; nodes that do not have it pass without running it");
        }
        Err(error) => {
            warn!(target: "validator::verification", { image.name = %image, error = %ErrorChain(&error) },
                "image registry cannot be asked; nodes that cannot pull the image pass without running it");
        }
    }
    false
}

#[cfg(test)]
pub(crate) mod tests;
