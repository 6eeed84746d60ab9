use async_trait::async_trait;
use basilica_types::{ImageName, Millis};
use basilica_verification::ImageOffer;

use crate::BoxError;

/// Why a registry gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// No connection, or none that shows who is there.
    #[error("connect to {host}")]
    Connect {
        /// The registry, or who issues its tokens.
        host: String,
        /// Why.
        #[source]
        source: BoxError,
    },
    /// The connection broke, or what came is no HTTP.
    #[error("talk with {host}")]
    Broken {
        /// The registry, or who issues its tokens.
        host: String,
        /// Why.
        #[source]
        source: BoxError,
    },
    /// HTTP, but no answer of a registry.
    #[error("{host} answers with what no registry answers: {what}")]
    Malformed {
        /// The registry, or who issues its tokens.
        host: String,
        /// What is wrong.
        what: &'static str,
    },
    /// It took too long.
    #[error("no answer within {limit}")]
    Deadline {
        /// The deadline.
        limit: Millis,
    },
}

/// Registries of container images.
#[async_trait]
pub trait ImageRegistry: Send + Sync + 'static {
    /// Whether the image's registry offers it to whoever asks. The deadline is for all of it.
    async fn offer(&self, image: &ImageName, deadline: Millis) -> Result<ImageOffer, RegistryError>;
}
