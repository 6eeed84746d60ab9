use std::time::Duration;

/// How many nodes of which kind, and the validator's times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Real OpenSSH servers.
    pub real: usize,
    /// Of these, how many prove their GPU to the validator in this run.
    pub proved: usize,
    /// SSH servers of this process, those that misbehave included.
    pub simulated: usize,
    /// Of these, how many never say a word.
    pub black_holes: usize,
    /// How many take half of the time that a command may take.
    pub slow: usize,
    /// How many answer nonsense.
    pub garbage: usize,
    /// How many of the honest ones another miner claims too.
    pub strangers: usize,
    /// For connecting with login, and for a command.
    pub timeout: Duration,
    /// Between light checks of a node.
    pub interval: Duration,
    /// Tries after a failed one.
    pub retries: u8,
    /// Between two tries.
    pub retry_interval: Duration,
    /// Until the first round is due, from the start of the validator: time for sessions and proofs.
    pub lead: Duration,
    /// Rounds after the first.
    pub warm_rounds: usize,
}

impl Plan {
    /// A subnet: 1,000 nodes, a tenth of which never answers.
    pub const SUBNET: Self = Self {
        real: 200,
        proved: 4,
        simulated: 800,
        black_holes: 100,
        slow: 50,
        garbage: 20,
        strangers: 20,
        // The validator's own for a login. All handshakes of a first round are some seconds of two cores, servers' halves included.
        timeout: Duration::from_secs(30),
        interval: Duration::from_secs(60),
        retries: 3,
        retry_interval: Duration::from_secs(15),
        lead: Duration::from_secs(60),
        warm_rounds: 2,
    };

    /// The same in small, for a test.
    pub const SMALL: Self = Self {
        real: 6,
        proved: 1,
        simulated: 54,
        black_holes: 6,
        slow: 3,
        garbage: 3,
        strangers: 3,
        timeout: Duration::from_secs(4),
        interval: Duration::from_secs(5),
        retries: 1,
        retry_interval: Duration::from_secs(5),
        lead: Duration::from_secs(8),
        warm_rounds: 2,
    };

    /// Nodes in all, without those that another miner claims too.
    pub const fn nodes(&self) -> usize {
        self.real + self.simulated
    }

    /// How long a slow node takes for a command.
    pub fn slowness(&self) -> Duration {
        self.timeout / 2
    }
}
