//! Miners of this process: they grant every validator that signs, let its key into their nodes at once, and list them.

use std::net::SocketAddr;
use std::sync::Arc;

use async_trait::async_trait;
use basilica_ports::{Clock as _, Entropy, EntropyRng, MinerApi, MinerCallError, RefusalCode};
use basilica_rpc::{MinerListener, ServerLimits};
use basilica_system::{OsEntropy, SystemClock};
use basilica_testkit::SshNode;
use basilica_types::{RequestNonce, SessionToken};
use basilica_wire::Keypair;
use basilica_wire::discovery::{
    AuthGrant, AuthRequest, DiscoverRequest, DiscoverResponse, NodeReport, SESSION_SECS,
};
use tokio::task::JoinSet;

/// What one lists, and where it lets keys in.
struct Simulated {
    keypair: Keypair,
    clock: SystemClock,
    nodes: Vec<NodeReport>,
    servers: Arc<Vec<SshNode>>,
}

impl Simulated {
    fn nonce() -> RequestNonce {
        let entropy: &dyn Entropy = &OsEntropy;
        RequestNonce::from_random(entropy.array())
    }
}

#[async_trait]
impl MinerApi for Simulated {
    async fn authenticate(&self, request: AuthRequest) -> Result<AuthGrant, MinerCallError> {
        let (own, now) = (self.keypair.hotkey(), self.clock.now());
        request.check(&own, now).map_err(|why| MinerCallError::Refused {
            code: RefusalCode::Unauthenticated,
            message: why.to_string(),
        })?;
        let entropy: &dyn Entropy = &OsEntropy;
        let (session_token, response_nonce) = (SessionToken::from_random(entropy.array()), Self::nonce());
        let expires_at_secs = now.as_secs() + SESSION_SECS;
        let first = AuthGrant::payload(&request.validator, &response_nonce, &session_token);
        let second = AuthGrant::payload_v2(
            &request.validator,
            &request.nonce,
            &response_nonce,
            expires_at_secs,
            &session_token,
        );
        let sign = |payload: &[u8]| self.keypair.sign(payload, EntropyRng(&OsEntropy));
        let (signature, signature_v2) = (sign(&first), sign(&second));
        Ok(AuthGrant { miner: own, session_token, expires_at_secs, response_nonce, signature, signature_v2 })
    }

    async fn discover(&self, request: DiscoverRequest) -> Result<DiscoverResponse, MinerCallError> {
        for server in self.servers.iter() {
            server.admit(&request.claim.public_key);
        }
        let (response_nonce, timestamp_secs) = (Self::nonce(), self.clock.now().as_secs());
        let payload = DiscoverResponse::payload(&request.claim, &response_nonce, timestamp_secs, &self.nodes);
        let signature = self.keypair.sign(&payload, EntropyRng(&OsEntropy));
        Ok(DiscoverResponse { nodes: self.nodes.clone(), response_nonce, timestamp_secs, signature })
    }
}

/// Serves a miner on a loopback address that the chain takes as an axon, which 127.0.0.1 is not; returns where. It ends with `tasks`.
pub(crate) async fn serve(
    keypair: Keypair,
    nodes: Vec<NodeReport>,
    servers: Arc<Vec<SshNode>>,
    tasks: &mut JoinSet<()>,
) -> SocketAddr {
    let listener = MinerListener::bind("127.0.1.1:0".parse().unwrap()).await.unwrap();
    let address = listener.local_addr().unwrap();
    let miner = Arc::new(Simulated { keypair, clock: SystemClock::new(), nodes, servers });
    tasks.spawn(async move {
        listener.serve(miner, ServerLimits::default(), std::future::pending()).await.unwrap();
    });
    address
}
