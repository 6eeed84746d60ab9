//! `stream`: the bytes that a validator asks for, as fast as standard output takes them.

use std::io::{Read, Write};

use anyhow::Context;
use basilica_proof::stream::{STREAM_REQUEST_BYTES, StreamRequest};

/// Bytes that are written at a time.
const PIECE: usize = 256 * 1024;

/// Reads one request and answers it. A request that is none, or asks for too much, is refused before any byte.
pub(crate) fn stream(mut input: impl Read, mut output: impl Write) -> anyhow::Result<()> {
    let mut request = [0; STREAM_REQUEST_BYTES];
    input.read_exact(&mut request).context("read the request from the validator")?;
    let mut source = StreamRequest::decode(&request).context("the validator's request is refused")?.source();
    let mut piece = vec![0; PIECE];
    loop {
        let made = source.fill(&mut piece);
        if made.is_empty() {
            return output.flush().context("send to the validator");
        }
        output.write_all(made).context("send to the validator")?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use basilica_proof::Binding;
    use basilica_proof::stream::{StreamStep, StreamVerifier};
    use basilica_types::NodeId;

    #[test]
    fn what_is_asked_for_is_sent_and_verifies() {
        let binding = Binding {
            beacon: [1; 32],
            validator_nonce: [2; 32],
            node: NodeId::from_bytes([3; 16]),
            host_key: vec![4; 51],
        };
        let request = StreamRequest::new(&binding, 3 * PIECE as u64 + 17).unwrap();
        let mut sent = Vec::new();
        stream(&request.encode()[..], &mut sent).unwrap();
        let mut verifier = StreamVerifier::new(&request);
        assert_eq!(verifier.on_bytes(&sent), Ok(StreamStep::Complete));
        assert_eq!(verifier.on_end(), Ok(()));
    }

    #[test]
    fn a_request_beyond_the_bound_gets_no_byte() {
        let mut request = [0; STREAM_REQUEST_BYTES];
        request[..8].copy_from_slice(b"basstrm\0");
        request[8..10].copy_from_slice(&basilica_proof::PROTOCOL_VERSION.to_le_bytes());
        request[STREAM_REQUEST_BYTES - 8..].copy_from_slice(&(1u64 << 40).to_le_bytes());
        let mut sent = Vec::new();
        let refused = stream(&request[..], &mut sent).unwrap_err();
        assert!(format!("{refused:#}").contains("1099511627776 bytes"), "{refused:#}");
        assert!(sent.is_empty());
        assert!(stream(&request[..20], &mut sent).is_err() && sent.is_empty());
    }
}
