use basilica_types::Millis;

/// How to reach the chain. Durations are spans of the injected clock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChainOptions {
    /// WebSocket URLs in order of preference; all must serve the same chain.
    pub endpoints: Vec<String>,
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
    /// Waits after all endpoints failed, doubled each time up to the second. Default 250 ms and 10 s.
    pub backoff: (Millis, Millis),
    /// Blocks that a signed extrinsic can wait for inclusion: a power of two, 4 to 4,096. Default 32.
    pub era_blocks: u64,
}

/// Why options cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OptionsError {
    /// There must be one at least.
    #[error("no chain endpoint is configured")]
    NoEndpoint,
    /// Only WebSocket carries what we need.
    #[error("chain endpoint {0:?} is not a ws:// or wss:// URL")]
    Scheme(String),
    /// The chain encodes nothing else.
    #[error("era_blocks = {0} is not a power of two from 4 to 4096")]
    Era(u64),
}

impl ChainOptions {
    /// The defaults for these endpoints.
    pub fn new(endpoints: Vec<String>) -> Self {
        Self {
            endpoints,
            connect_deadline: Millis::from_secs(5),
            request_deadline: Millis::from_secs(15),
            call_deadline: Millis::from_secs(60),
            conclude_deadline: Millis::from_secs(900),
            poll_max: Millis::from_secs(2),
            backoff: (Millis(250), Millis::from_secs(10)),
            era_blocks: 32,
        }
    }

    pub(crate) fn check(&self) -> Result<(), OptionsError> {
        if self.endpoints.is_empty() {
            return Err(OptionsError::NoEndpoint);
        }
        let known = |url: &&String| !(url.starts_with("ws://") || url.starts_with("wss://"));
        if let Some(url) = self.endpoints.iter().find(known) {
            return Err(OptionsError::Scheme(url.clone()));
        }
        if !self.era_blocks.is_power_of_two() || !(4..=4096).contains(&self.era_blocks) {
            return Err(OptionsError::Era(self.era_blocks));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unusable_options_are_named() {
        let options = |url: &str| ChainOptions::new(vec![url.to_owned()]);
        assert_eq!(options("wss://entrypoint-finney.opentensor.ai:443").check(), Ok(()));
        assert_eq!(ChainOptions::new(vec![]).check(), Err(OptionsError::NoEndpoint));
        assert_eq!(options("http://x").check(), Err(OptionsError::Scheme("http://x".to_owned())));
        for blocks in [0, 2, 3, 33, 8192] {
            let odd = ChainOptions { era_blocks: blocks, ..options("ws://x") };
            assert_eq!(odd.check(), Err(OptionsError::Era(blocks)));
        }
    }
}
