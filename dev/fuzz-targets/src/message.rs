//! One message of the proof's protocol: one encoding.

use basilica_proof::wire::{FrameBuffer, Message};

use crate::verifier;

/// Longer than any frame.
const LIMIT: u32 = 64 * 1024;

pub(crate) fn run(bytes: &[u8]) {
    if let Ok(message) = Message::decode(bytes) {
        assert_eq!(message.encode(), bytes, "a message has one encoding");
    }
}

/// Every message of every golden run.
pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let mut seeds: Vec<Vec<u8>> = Vec::new();
    for run in verifier::honest_runs() {
        seeds.push(Message::Challenge(run.challenge).encode());
        for turn in run.turns {
            let (mut frames, mut rest) = (FrameBuffer::default(), &turn[..]);
            while let Ok(Some(body)) = frames.fill(&mut rest, LIMIT) {
                // One of each kind and length.
                if !seeds.iter().any(|seed| seed.len() == body.len() && seed.first() == body.first()) {
                    seeds.push(body);
                }
            }
        }
    }
    seeds
}
