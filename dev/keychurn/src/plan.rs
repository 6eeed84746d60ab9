use basilica_types::Millis;

/// How much of everything.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What everything is drawn from.
    pub seed: u64,
    /// Life-cycles to be begun before the end.
    pub cycles: usize,
    /// Real OpenSSH servers.
    pub nodes: usize,
    /// Validators with a permit.
    pub validators: u8,
    /// Sessions of a validator that are worked on at a time.
    pub lanes: u8,
    /// Longest time until `cycles` are reached.
    pub patience: Millis,
}

impl Plan {
    /// What the issue asks for.
    pub const FULL: Self = Self {
        seed: 1,
        cycles: 10_000,
        nodes: 8,
        validators: 6,
        lanes: 16,
        patience: Millis::from_secs(2 * 3600),
    };
    /// What a test has time for.
    pub const SMALL: Self =
        Self { seed: 1, cycles: 800, nodes: 3, validators: 4, lanes: 8, patience: Millis::from_secs(240) };
}
