use std::fmt;

use basilica_types::{BlockHash, ChainUrl, Millis, Network};

use crate::identity::genesis_of;

/// How to reach the chain. Durations are spans of the injected clock.
#[derive(Clone, PartialEq, Eq)]
pub struct ChainOptions {
    /// In order of preference; all must serve the same chain. They may hold access keys: only scheme and host of them are
    /// ever shown.
    pub endpoints: Vec<ChainUrl>,
    /// For opening a connection, metadata not included. Default 5 s.
    pub connect_deadline: Millis,
    /// For one request and its answer. Default 15 s: metadata has about 300 kB.
    pub request_deadline: Millis,
    /// For a whole call of the port, failover included. Default 60 s.
    pub call_deadline: Millis,
    /// For following an extrinsic to its end. Default 15 min, twice the life of an extrinsic at 12 s a block.
    pub conclude_deadline: Millis,
    /// Longest wait between looks at the finalised head while following an extrinsic; looks begin at 100 ms. Default 2 s.
    pub poll_max: Millis,
    /// Rests of an endpoint that failed twice in a row, doubled with each failure more up to the second. Default 250 ms
    /// and 10 s.
    pub backoff: (Millis, Millis),
    /// The longest rest that an endpoint can ask for with `Retry-After`. Default 10 min.
    pub rest_max: Millis,
    /// Time between two looks at the endpoints that are not in use. Default 60 s.
    pub health_interval: Millis,
    /// An endpoint whose finalised head is this many blocks behind another's is left. Default 10, two minutes at 12 s.
    pub max_lag: u64,
    /// First block of the chain that is meant; endpoints of another one are skipped. `None` takes that of the first
    /// endpoint that answers.
    pub genesis: Option<BlockHash>,
    /// Blocks that a signed extrinsic can wait for inclusion: a power of two, 4 to 4,096. Default 32.
    pub era_blocks: u64,
}

/// Why options cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OptionsError {
    /// There must be one at least.
    #[error("no chain endpoint is configured")]
    NoEndpoint,
    /// The chain encodes nothing else.
    #[error("era_blocks = {0} is not a power of two from 4 to 4096")]
    Era(u64),
}

impl ChainOptions {
    /// The defaults for these endpoints.
    pub fn new(endpoints: Vec<ChainUrl>) -> Self {
        Self {
            endpoints,
            connect_deadline: Millis::from_secs(5),
            request_deadline: Millis::from_secs(15),
            call_deadline: Millis::from_secs(60),
            conclude_deadline: Millis::from_secs(900),
            poll_max: Millis::from_secs(2),
            backoff: (Millis(250), Millis::from_secs(10)),
            rest_max: Millis::from_secs(600),
            health_interval: Millis::from_secs(60),
            max_lag: 10,
            genesis: None,
            era_blocks: 32,
        }
    }

    /// The same for a network: of finney and test the first block is known, so that no endpoint, not even the first that
    /// answers, can put another chain in their place. A local one leaves that to the endpoints.
    #[must_use]
    pub fn of_network(self, network: Network) -> Self {
        Self { genesis: genesis_of(network).or(self.genesis), ..self }
    }

    pub(crate) fn check(&self) -> Result<(), OptionsError> {
        if self.endpoints.is_empty() {
            return Err(OptionsError::NoEndpoint);
        }
        if !self.era_blocks.is_power_of_two() || !(4..=4096).contains(&self.era_blocks) {
            return Err(OptionsError::Era(self.era_blocks));
        }
        Ok(())
    }
}

impl fmt::Debug for ChainOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChainOptions")
            .field("endpoints", &self.endpoints)
            .field("connect_deadline", &self.connect_deadline)
            .field("request_deadline", &self.request_deadline)
            .field("call_deadline", &self.call_deadline)
            .field("conclude_deadline", &self.conclude_deadline)
            .field("poll_max", &self.poll_max)
            .field("backoff", &self.backoff)
            .field("rest_max", &self.rest_max)
            .field("health_interval", &self.health_interval)
            .field("max_lag", &self.max_lag)
            .field("genesis", &self.genesis)
            .field("era_blocks", &self.era_blocks)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(url: &str) -> ChainOptions {
        ChainOptions::new(vec![url.parse().unwrap()])
    }

    #[test]
    fn unusable_options_are_named() {
        assert_eq!(options("wss://entrypoint-finney.opentensor.ai:443").check(), Ok(()));
        assert_eq!(ChainOptions::new(vec![]).check(), Err(OptionsError::NoEndpoint));
        for blocks in [0, 2, 3, 33, 8192] {
            let odd = ChainOptions { era_blocks: blocks, ..options("ws://x") };
            assert_eq!(odd.check(), Err(OptionsError::Era(blocks)));
        }
    }
}
