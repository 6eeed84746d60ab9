//! What our scripts print on a node, which may be anything.

use basilica_verification::probe::Seen;

const NONCE: [u8; 32] = [0; 32];

pub(crate) fn run(bytes: &[u8]) {
    for engine_asked in [false, true] {
        let Ok(seen) = Seen::parse(bytes, &NONCE, engine_asked) else { continue };
        assert!(bytes.ends_with(b"end 0 0\n\n"), "only a whole output is read");
        assert!(seen.rentals.0.len() <= 64, "lists are bounded");
    }
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let nonce = "00".repeat(32);
    let listing = format!("{} rental-1", "ab".repeat(32));
    let claims = r#"{"version":2,"devices":[]}"#;
    let full =
        [("nonce", 0, nonce.as_str()), ("docker", 1, ""), ("podman", 0, &listing), ("claims", 0, claims)];
    let bare = [("nonce", 0, nonce.as_str()), ("claims", 66, "")];
    let seeds = vec![framed(&full), framed(&bare)];
    assert!(seeds.iter().all(|seed| Seen::parse(seed, &NONCE, true).is_ok()), "they are looks");
    seeds
}

fn framed(sections: &[(&str, u8, &str)]) -> Vec<u8> {
    let section = |(name, code, body): &(&str, u8, &str)| format!("{name} {code} {}\n{body}\n", body.len());
    let mut output: String = sections.iter().map(section).collect();
    output.push_str("end 0 0\n\n");
    output.into_bytes()
}
