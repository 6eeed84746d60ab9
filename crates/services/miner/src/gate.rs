//! The miner protocol's side that decides: who gets a session, and who gets onto the nodes.
//!
//! Checks go from cheap and harmless to dear and lasting: permit, target, freshness, signature, and only then the store,
//! which records nonce and order in one transaction before anything happens. Strangers without a permit therefore cost no
//! signature check and leave nothing behind, not even a line in the log at its usual level, and nobody's request causes a
//! chain call. Refusals carry the first network's words where it has any.

use std::borrow::Cow;
use std::sync::Arc;

use async_trait::async_trait;
use basilica_ports::{
    Assignment, Clock, DiscoveryProof, DiscoveryUse, Entropy, HotkeySigner, Inadmissible, MinerApi,
    MinerCallError, MinerStore, NewSession, NonceUse, RefusalCode, SessionRecord, StoreError,
};
use basilica_runtime_service::ErrorChain;
use basilica_types::{Digest, FencingToken, Hotkey, RequestNonce, SessionId, SessionToken, Timestamp};
use basilica_wire::discovery::{
    AuthGrant, AuthRequest, DiscoverClaim, DiscoverRequest, DiscoverResponse, NONCE_MEMORY_SECS, NodeReport,
    Untrusted, check_fresh,
};
use sha2::{Digest as _, Sha256};
use tracing::{debug, error, info};

use crate::config::AdmissionConfig;
use crate::fleet::Fleet;
use crate::log_budget::LogBudget;
use crate::metrics::MinerMetrics;
use crate::subnet::{Snapshot, SubnetView};

/// Answers validators.
pub(crate) struct Gate {
    pub(crate) config: AdmissionConfig,
    pub(crate) signer: Arc<dyn HotkeySigner>,
    pub(crate) store: Arc<dyn MinerStore>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<dyn Entropy>,
    pub(crate) subnet: SubnetView,
    pub(crate) fleet: Arc<Fleet>,
    pub(crate) metrics: Arc<MinerMetrics>,
    pub(crate) refusals: LogBudget,
    pub(crate) grants: LogBudget,
    pub(crate) discoveries: LogBudget,
}

/// A refusal in the words of the protocol.
#[derive(Debug)]
struct Refusal(RefusalCode, Cow<'static, str>);

impl Refusal {
    const fn new(code: RefusalCode, words: &'static str) -> Self {
        Self(code, Cow::Borrowed(words))
    }
}

impl From<Refusal> for MinerCallError {
    fn from(Refusal(code, message): Refusal) -> Self {
        Self::Refused { code, message: message.into_owned() }
    }
}

impl From<Untrusted> for Refusal {
    fn from(reason: Untrusted) -> Self {
        match reason {
            Untrusted::Stale => Self::new(RefusalCode::Unauthenticated, "Request timestamp too old"),
            Untrusted::Signature => Self::new(RefusalCode::Unauthenticated, "Invalid signature"),
            Untrusted::Target(_) => {
                Self::new(RefusalCode::PermissionDenied, "Authentication request not intended for this miner")
            }
            Untrusted::Responder(_) => Self::new(RefusalCode::Internal, "internal error"),
        }
    }
}

/// Its sender's fencing token is not covered by the signature: whoever is on the way could shut out the true leader.
const UNSIGNED_EPOCH: Refusal = Refusal::new(
    RefusalCode::Unauthenticated,
    "A V1 discovery carries no epoch; it is not covered by its signature",
);
/// On a subnet that was just made, or for a validator that has just staked, nothing is wrong but the time.
const NO_PERMIT: Refusal = Refusal::new(
    RefusalCode::PermissionDenied,
    "Validator not authorized: no validator permit on the subnet; the chain gives permits to the top stakes at each epoch",
);
const NEEDS_V2: Refusal =
    Refusal::new(RefusalCode::Unauthenticated, "Discovery needs a V2 signature over key, target and session");

impl Gate {
    /// The subnet, if it is known and young enough, and the hotkey has a permit on it.
    ///
    /// A clock that is set back makes no snapshot younger: who has lost a permit must not keep it for that long.
    fn permitted(&self, hotkey: &Hotkey) -> Result<Snapshot, Refusal> {
        let snapshot = self.subnet.borrow().clone();
        let (most, now) = (self.config.metagraph_max_age, self.clock.monotonic());
        let fresh = snapshot.filter(|snapshot| snapshot.is_within(most, now));
        let Some(snapshot) = fresh else {
            return Err(Refusal::new(
                RefusalCode::Unavailable,
                "The metagraph is not known at the moment; try again later",
            ));
        };
        if snapshot.permits(hotkey) { Ok(snapshot) } else { Err(NO_PERMIT) }
    }

    fn nonce_use(
        &self,
        validator: Hotkey,
        nonce: &RequestNonce,
        timestamp_secs: i64,
        now: Timestamp,
    ) -> NonceUse {
        // Counted from the later of the two times: a request from a fast clock stays fresh for longer.
        let memory = basilica_types::Millis::from_secs(NONCE_MEMORY_SECS);
        let signed_at = Timestamp::from_secs(timestamp_secs);
        let forget_at = now.max(signed_at) + memory;
        NonceUse {
            validator,
            nonce: nonce.clone(),
            signed_at,
            now,
            forget_at,
            limit: self.config.nonces_per_validator,
        }
    }

    /// Why a verified request changes nothing, in the words of the protocol.
    fn inadmissible(&self, reason: Inadmissible, now: Timestamp) -> Refusal {
        use RefusalCode::{PermissionDenied, ResourceExhausted, Unauthenticated, Unavailable};
        match reason {
            Inadmissible::Replayed => Refusal::new(Unauthenticated, "Nonce was used before"),
            Inadmissible::Forgotten { sign_after } => {
                // Requests are signed in whole seconds.
                let next = Timestamp::from_secs(sign_after.as_secs() + 1);
                let secs = next.since(now).0.div_ceil(1000);
                let words = format!(
                    "This miner has come up again after an interruption and takes requests that are signed after it: sign a \
                     new one in {secs} s"
                );
                Refusal(Unavailable, words.into())
            }
            Inadmissible::Full => {
                Refusal::new(ResourceExhausted, "Too many requests of this hotkey; try again in some minutes")
            }
            Inadmissible::TooManySessions { again_at } => {
                let most = self.config.session_rate.map_or(0, |rate| rate.most);
                let secs = again_at.since(now).0.div_ceil(1000);
                let words = format!(
                    "Too many new sessions of this hotkey: {most} within an hour are allowed; come again in {secs} s"
                );
                Refusal(ResourceExhausted, words.into())
            }
            Inadmissible::NoSession => {
                Refusal::new(Unauthenticated, "Validator must authenticate before discovering nodes")
            }
            Inadmissible::Superseded => Refusal::new(
                PermissionDenied,
                "A later request of this hotkey was accepted before: one that is newer, or has a higher fencing token",
            ),
            Inadmissible::Downgrade => Refusal::new(
                Unauthenticated,
                "This hotkey signs discoveries with V2; V1 is no longer accepted",
            ),
        }
    }

    fn store_failed(&self, operation: &'static str, source: &StoreError) -> Refusal {
        self.metrics.store_errors.inc();
        error!(error = %ErrorChain(source), operation, "the miner's database does not work");
        Refusal::new(RefusalCode::Internal, "internal error")
    }

    fn nonce(&self) -> RequestNonce {
        RequestNonce::from_random(self.entropy.array())
    }

    async fn open_session(&self, request: &AuthRequest) -> Result<AuthGrant, Refusal> {
        let (now, miner) = (self.clock.now(), self.signer.hotkey());
        self.permitted(&request.validator)?;
        request.check(&miner, now)?;
        let session_token = SessionToken::from_random(self.entropy.array());
        let expires_at_secs = (now + self.config.session_lifetime).as_secs();
        let session = NewSession {
            id: SessionId::from_random(self.entropy.array()),
            token_hash: token_hash(&session_token),
            expires_at: Timestamp::from_secs(expires_at_secs),
            rate: self.config.session_rate,
        };
        let nonce = self.nonce_use(request.validator, &request.nonce, request.timestamp_secs, now);
        self.store
            .open_session(&nonce, &session)
            .await
            .map_err(|e| self.store_failed("open session", &e))?
            .map_err(|reason| self.inadmissible(reason, now))?;
        let response_nonce = self.nonce();
        let v1 = AuthGrant::payload(&request.validator, &response_nonce, &session_token);
        let v2 = AuthGrant::payload_v2(
            &request.validator,
            &request.nonce,
            &response_nonce,
            expires_at_secs,
            &session_token,
        );
        self.granted(&request.validator, &session);
        let (signature, signature_v2) = (self.signer.sign(&v1), self.signer.sign(&v2));
        Ok(AuthGrant { miner, session_token, expires_at_secs, response_nonce, signature, signature_v2 })
    }

    /// Operators search their logs for either phrase.
    fn granted(&self, validator: &Hotkey, session: &NewSession) {
        match self.grants.spend(self.clock.monotonic()) {
            Some(unsaid) => {
                info!(validator.hotkey = %validator, session.id = %session.id, unsaid, "Validator authenticated");
                info!(validator.hotkey = %validator, "Successfully authenticated validator");
            }
            None => {
                debug!(validator.hotkey = %validator, session.id = %session.id, "Validator authenticated");
            }
        }
    }

    /// How the request proves itself; its signature is verified here.
    fn proof(&self, request: &DiscoverRequest) -> Result<DiscoveryProof, Refusal> {
        let claim = &request.claim;
        if let Some(signature) = &request.signature_v2 {
            let valid = signature.verifies(&claim.validator, &claim.payload_v2());
            let token_hash = token_hash(&claim.session_token);
            return if valid {
                Ok(DiscoveryProof::V2 { token_hash, epoch: claim.epoch })
            } else {
                Err(Untrusted::Signature.into())
            };
        }
        if !self.config.accept_discover_v1.contains(&claim.validator) {
            return Err(NEEDS_V2);
        }
        if claim.epoch != FencingToken(0) {
            return Err(UNSIGNED_EPOCH);
        }
        let signature = request.signature_v1.as_ref().ok_or(NEEDS_V2)?;
        let valid = signature.verifies(&claim.validator, &claim.payload_v1());
        if valid { Ok(DiscoveryProof::V1) } else { Err(Untrusted::Signature.into()) }
    }

    /// Admits a discovery: the session, and the assignment by which it was admitted. None in their place where the validator
    /// has no node.
    async fn admit(
        &self,
        request: &DiscoverRequest,
    ) -> Result<Option<(SessionRecord, Arc<Assignment>)>, Refusal> {
        let (claim, now) = (&request.claim, self.clock.now());
        let snapshot = self.permitted(&claim.validator)?;
        if claim.target != self.signer.hotkey() {
            return Err(Untrusted::Target(claim.target).into());
        }
        check_fresh(claim.timestamp_secs, now)?;
        let proof = self.proof(request)?;
        let assigned = snapshot.assignment.has_any(&claim.validator);
        let discovery = DiscoveryUse {
            proof,
            timestamp_secs: claim.timestamp_secs,
            public_key: assigned.then(|| claim.public_key.clone()),
            keyed_sessions: self.config.max_sessions.get(),
            rate: self.config.session_rate,
        };
        let nonce = self.nonce_use(claim.validator, &claim.nonce, claim.timestamp_secs, now);
        let session = self
            .store
            .admit_discovery(&nonce, &discovery)
            .await
            .map_err(|e| self.store_failed("admit discovery", &e))?;
        if assigned {
            // Who saw a request can send it again: that says nothing about the validator.
            let is_its_own = !matches!(session, Err(Inadmissible::Replayed));
            self.metrics.assigned_discoveries.inc_by(is_its_own.into());
            self.metrics.refused_discoveries.inc_by((session.is_err() && is_its_own).into());
        }
        let session = session.map_err(|reason| self.inadmissible(reason, now))?;
        Ok(assigned.then_some((session, snapshot.assignment)))
    }

    /// A validator may ask as often as it counts its epochs on: the log tells some of that.
    fn discovers(&self, claim: &DiscoverClaim, session: Option<&SessionRecord>) {
        let (validator, key) = (&claim.validator, || claim.public_key.fingerprint());
        match (session, self.discoveries.spend(self.clock.monotonic())) {
            (Some(session), Some(unsaid)) => {
                info!(validator.hotkey = %validator, session.id = %session.id, key.fingerprint = key(), unsaid, "Deploying SSH key for validator");
            }
            (Some(session), None) => {
                debug!(validator.hotkey = %validator, session.id = %session.id, key.fingerprint = key(), "Deploying SSH key for validator");
            }
            (None, Some(unsaid)) => {
                info!(validator.hotkey = %validator, unsaid, "no node is assigned to this validator; it gets an empty list");
            }
            (None, None) => {
                debug!(validator.hotkey = %validator, "no node is assigned to this validator; it gets an empty list");
            }
        }
    }

    async fn answer(&self, request: &DiscoverRequest) -> Result<DiscoverResponse, Refusal> {
        let nodes: Vec<NodeReport> = match self.admit(request).await? {
            Some((session, assignment)) => {
                self.discovers(&request.claim, Some(&session));
                self.fleet.deploy(&session, &assignment).await
            }
            None => {
                self.discovers(&request.claim, None);
                Vec::new()
            }
        };
        let response_nonce = self.nonce();
        let timestamp_secs = self.clock.now().as_secs();
        let payload = DiscoverResponse::payload(&request.claim, &response_nonce, timestamp_secs, &nodes);
        let signature = self.signer.sign(&payload);
        Ok(DiscoverResponse { nodes, response_nonce, timestamp_secs, signature })
    }

    fn refused(&self, validator: &Hotkey, refusal: Refusal) -> MinerCallError {
        self.metrics.auth_failures.inc();
        let reason = &refusal.1;
        let stranger = self.subnet.borrow().as_ref().is_some_and(|snapshot| !snapshot.permits(validator));
        // The reason stands in the message too: operators search their logs for the whole phrase.
        let unsaid = if stranger { None } else { self.refusals.spend(self.clock.monotonic()) };
        match unsaid {
            Some(unsaid) => {
                info!(validator.hotkey = %validator, unsaid, "Validator authentication failed: {reason}");
            }
            None => debug!(validator.hotkey = %validator, "Validator authentication failed: {reason}"),
        }
        refusal.into()
    }
}

fn token_hash(token: &SessionToken) -> Digest {
    Digest::from_bytes(Sha256::digest(token.reveal()).into())
}

#[async_trait]
impl MinerApi for Gate {
    async fn authenticate(&self, request: AuthRequest) -> Result<AuthGrant, MinerCallError> {
        self.metrics.requests.inc();
        // The miner's own hotkey is the doctor's, who knocks to see whether somebody answers.
        self.metrics.auth_requests.inc_by((request.validator != self.signer.hotkey()).into());
        let grant = self.open_session(&request).await.map_err(|r| self.refused(&request.validator, r))?;
        self.metrics.auth_successes.inc();
        self.metrics.connections.inc();
        Ok(grant)
    }

    async fn discover(&self, request: DiscoverRequest) -> Result<DiscoverResponse, MinerCallError> {
        self.metrics.requests.inc();
        let began = self.clock.monotonic();
        let response = self.answer(&request).await.map_err(|r| self.refused(&request.claim.validator, r))?;
        self.metrics.discoveries.inc();
        self.metrics.deployment_seconds.observe(self.clock.monotonic().saturating_sub(began).as_secs_f64());
        Ok(response)
    }
}
