//! Registries of container images, asked over HTTPS as container engines ask them (the OCI distribution specification).
//!
//! One question is at most three requests, each on a connection of its own: `HEAD` of the image's manifest; where the registry
//! wants a token of whoever asks, as most public ones do, one for this repository and nobody in particular; and the manifest again
//! with it. A `HEAD` is no pull: registries that count those do not count it.
//!
//! What is promised: HTTPS with the certificates that the system trusts, and nothing else; no redirect is followed; heads, and the
//! one body that is read, are bounded; one deadline spans everything; no token is kept or printed. The host that issues tokens is
//! the registry's to name, and the registry is the operator's own choice: its address is no stranger's (RULES R11).
//!
//! Rejected: a general HTTP client, which follows redirects, pools, decompresses and brings a second stack of TLS options. Plain HTTP
//! for registries on a laptop: what may be read and changed on the way is no witness. Proxies: a validator whose only way out is one
//! has no witness of its own and says so in its log.

mod challenge;
mod https;

use std::sync::Arc;

use async_trait::async_trait;
use basilica_ports::{ImageRegistry, RegistryError};
use basilica_types::{ImageName, ImagePlace, Millis};
use basilica_verification::ImageOffer;
use hyper::header::HeaderValue;
use hyper::{Method, StatusCode};
use rustls_platform_verifier::ConfigVerifierExt as _;
use tokio_rustls::rustls::{self, ClientConfig};

use crate::challenge::Challenge;
use crate::https::{Answer, Https, Request};

/// Docker's registry is reached by another name than the one that images have.
const DOCKER: (&str, &str) = ("docker.io", "registry-1.docker.io");
/// Whatever form the manifest has: a list of platforms or one, of OCI or Docker.
const MANIFESTS: &str = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, \
    application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.docker.distribution.manifest.v2+json";

/// Asks registries as anybody.
#[derive(Clone, Debug)]
pub struct OciRegistry {
    https: Https,
}

impl OciRegistry {
    /// Believes the certificates that the system believes.
    pub fn new() -> Self {
        // Another library of the process may have set a default already, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        Self::believing(ClientConfig::with_platform_verifier())
    }

    fn believing(config: ClientConfig) -> Self {
        Self { https: Https::new(Arc::new(config)) }
    }

    async fn ask(&self, place: &ImagePlace<'_>) -> Result<ImageOffer, RegistryError> {
        let (name, host) = DOCKER;
        let host = if place.registry == name { host } else { place.registry };
        let first = self.manifest(host, place, None).await?;
        if first.status != StatusCode::UNAUTHORIZED {
            return Ok(ImageOffer::of_status(first.status.as_u16()));
        }
        // Another proof than a token that anybody gets: nobody is offered anything.
        let Some(challenge) = first.challenge.as_ref().and_then(Challenge::parse) else {
            return Ok(ImageOffer::Withheld);
        };
        let Some(token) = self.token(host, place, &challenge).await? else { return Ok(ImageOffer::Withheld) };
        let second = self.manifest(host, place, Some(token)).await?;
        Ok(ImageOffer::of_status(second.status.as_u16()))
    }

    async fn manifest(
        &self,
        host: &str,
        place: &ImagePlace<'_>,
        token: Option<HeaderValue>,
    ) -> Result<Answer, RegistryError> {
        let path = format!("/v2/{}/manifests/{}", place.repository, place.reference);
        self.https.send(host, Request { method: Method::HEAD, path, accept: MANIFESTS, token }).await
    }

    /// A token for this repository; none if not everybody gets one.
    async fn token(
        &self,
        registry: &str,
        place: &ImagePlace<'_>,
        challenge: &Challenge,
    ) -> Result<Option<HeaderValue>, RegistryError> {
        let malformed = |what| RegistryError::Malformed { host: registry.to_owned(), what };
        let (host, path) = challenge.token_for(&place.repository).map_err(malformed)?;
        let request = Request { method: Method::GET, path, accept: "application/json", token: None };
        let answer = self.https.send(&host, request).await?;
        let malformed = |what| RegistryError::Malformed { host: host.clone(), what };
        match ImageOffer::of_status(answer.status.as_u16()) {
            ImageOffer::Withheld => Ok(None),
            ImageOffer::Unclear => Err(malformed("a status other than 200 to a request for a token")),
            ImageOffer::Offered => challenge::bearer(&answer.body).map(Some).map_err(malformed),
        }
    }
}

impl Default for OciRegistry {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl ImageRegistry for OciRegistry {
    async fn offer(&self, image: &ImageName, deadline: Millis) -> Result<ImageOffer, RegistryError> {
        tokio::time::timeout(deadline.as_duration(), self.ask(&image.place()))
            .await
            .map_err(|_| RegistryError::Deadline { limit: deadline })?
    }
}

#[cfg(test)]
mod tests;
