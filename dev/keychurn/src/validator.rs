//! A validator that asks for keys all the time.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use basilica_ports::{
    AddressPolicy, Clock as _, Dial, Entropy, EntropyRng, HostKeyPolicy, Identity, MinerApi, MinerCallError,
    MinerDialer as _, NodeShell as _, OutputLimits, RefusalCode,
};
use basilica_rpc::GrpcMinerDialer;
use basilica_ssh::RusshShell;
use basilica_system::OsEntropy;
use basilica_types::{Argv, FencingToken, Hotkey, Millis, RequestNonce, SessionToken};
use basilica_wire::Keypair;
use basilica_wire::discovery::{AuthRequest, DiscoverClaim, DiscoverRequest, NodeReport, NodeStatus};
use tokio::sync::Mutex;
use zeroize::Zeroizing;

use crate::dice::Dice;
use crate::world::World;

/// Beyond what a discovery may take.
const PATIENCE: Duration = Duration::from_secs(25);
/// Who has no node asks again after this.
const IDLE: Duration = Duration::from_millis(700);
const LIMITS: OutputLimits = OutputLimits { deadline: Millis::from_secs(5), stdout: 4096, stderr: 4096 };

pub(crate) const ANSWERED: &str = "requests answered";
pub(crate) const REFUSED: &str = "requests refused";
pub(crate) const UNANSWERED: &str = "requests without an answer";

/// Who signs; lanes of one validator share it.
pub(crate) struct Signer {
    keypair: Keypair,
    miner: Hotkey,
    endpoint: SocketAddr,
    epoch: AtomicU64,
    /// The connection to the miner, as long as it works.
    client: Mutex<Option<Arc<dyn MinerApi>>>,
}

impl Signer {
    pub(crate) fn new(keypair: Keypair, miner: Hotkey, endpoint: SocketAddr) -> Self {
        Self { keypair, miner, endpoint, epoch: AtomicU64::new(1), client: Mutex::default() }
    }

    async fn client(&self) -> Option<Arc<dyn MinerApi>> {
        let mut client = self.client.lock().await;
        if client.is_none() {
            *client = GrpcMinerDialer::default().dial(self.endpoint).await.ok();
        }
        client.clone()
    }

    fn nonce() -> RequestNonce {
        let entropy: &dyn Entropy = &OsEntropy;
        RequestNonce::from_random(entropy.array())
    }

    fn authentication(&self, now: i64) -> AuthRequest {
        let nonce = Self::nonce();
        let payload = AuthRequest::payload(&self.miner, &nonce, now);
        let signature = self.keypair.sign(&payload, EntropyRng(&OsEntropy));
        let (validator, target) = (self.keypair.hotkey(), self.miner);
        AuthRequest { validator, target, nonce, timestamp_secs: now, signature }
    }

    fn discovery(&self, token: &SessionToken, identity: &Identity, now: i64) -> DiscoverRequest {
        let claim = DiscoverClaim {
            validator: self.keypair.hotkey(),
            target: self.miner,
            nonce: Self::nonce(),
            timestamp_secs: now,
            epoch: FencingToken(self.epoch.fetch_add(1, Ordering::SeqCst)),
            session_token: token.clone(),
            public_key: RusshShell.public_key(identity).unwrap(),
        };
        let signature_v2 = Some(self.keypair.sign(&claim.payload_v2(), EntropyRng(&OsEntropy)));
        DiscoverRequest { claim, signature_v1: None, signature_v2 }
    }
}

/// An open session, with the key that it has.
struct Session {
    token: SessionToken,
    identity: Identity,
    nodes: Vec<NodeReport>,
}

/// One of the things that a validator is at.
pub(crate) struct Lane {
    pub(crate) world: Arc<World>,
    pub(crate) signer: Arc<Signer>,
    pub(crate) dice: Dice,
}

impl Lane {
    pub(crate) async fn run(mut self) {
        let mut session = None;
        while !self.world.is_over() {
            let kept = session.take();
            session = match kept {
                Some(kept) if self.dice.below(10) < 3 => self.ask(kept).await,
                Some(kept) if self.dice.below(12) == 0 => self.log_in(kept).await,
                _ => self.open().await,
            };
            let pause = self.dice.millis(20, 250);
            let idle = session.as_ref().is_none_or(|session| session.nodes.is_empty());
            tokio::time::sleep(if idle { pause + IDLE } else { pause }).await;
        }
    }

    fn now(&self) -> i64 {
        self.world.clock.now().as_secs()
    }

    fn identity(&mut self) -> Identity {
        Identity::Ephemeral(Zeroizing::new(self.dice.bytes()))
    }

    /// A new session with a key.
    async fn open(&mut self) -> Option<Session> {
        let identity = self.identity();
        let client = self.signer.client().await?;
        let request = self.signer.authentication(self.now());
        let grant = tokio::time::timeout(PATIENCE, client.authenticate(request.clone())).await;
        let grant = self.answered(grant.ok()).await?;
        grant.check(&request).unwrap();
        self.ask(Session { token: grant.session_token, identity, nodes: Vec::new() }).await
    }

    /// Gives the session its first key, or another one.
    async fn ask(&mut self, mut session: Session) -> Option<Session> {
        if !session.nodes.is_empty() {
            session.identity = self.identity();
        }
        let client = self.signer.client().await?;
        for _ in 0..3 {
            let request = self.signer.discovery(&session.token, &session.identity, self.now());
            let answer = tokio::time::timeout(PATIENCE, client.discover(request.clone())).await.ok();
            if let Some(Err(MinerCallError::Refused { code: RefusalCode::PermissionDenied, .. })) = answer {
                // Another lane's request was faster.
                continue;
            }
            let response = self.answered(answer).await?;
            response.check(&request.claim, self.world.clock.now()).unwrap();
            session.nodes = response.nodes;
            return Some(session);
        }
        self.world.count(REFUSED);
        None
    }

    async fn answered<T>(&self, answer: Option<Result<T, MinerCallError>>) -> Option<T> {
        let (what, value) = match answer {
            Some(Ok(value)) => (ANSWERED, Some(value)),
            Some(Err(MinerCallError::Refused { .. })) => (REFUSED, None),
            _ => {
                *self.signer.client.lock().await = None;
                (UNANSWERED, None)
            }
        };
        self.world.count(what);
        value
    }

    /// Leaves a process behind on a node that is said to carry the key.
    async fn log_in(&mut self, session: Session) -> Option<Session> {
        let available: Vec<_> =
            session.nodes.iter().filter(|node| node.status == NodeStatus::Available).collect();
        let node = *available.get(self.dice.below(available.len().max(1)))?;
        let dial = Dial {
            address: node.address.clone(),
            identity: session.identity.clone(),
            host_keys: HostKeyPolicy::Pinned(node.host_keys.clone()),
            addresses: AddressPolicy::Any,
            deadline: LIMITS.deadline,
        };
        let script = Argv::script("setsid sleep infinity >/dev/null 2>&1 </dev/null &", [""; 0]).unwrap();
        let Ok(shell) = RusshShell.connect(&dial).await else {
            // It ended meanwhile, or the node hangs.
            self.world.count("logins denied or without an answer");
            return Some(session);
        };
        let ran = shell.run(&script, b"", LIMITS).await;
        shell.close().await;
        self.world.count(if ran.is_ok() { "logins that left a process" } else { "logins cut off" });
        Some(session)
    }
}
