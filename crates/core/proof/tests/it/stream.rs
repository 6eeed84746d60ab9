//! Streams of bytes over the network: honest ones in pieces of any size, and what a hostile node sends instead.

use basilica_proof::Binding;
use basilica_proof::stream::{
    STREAM_BYTES_MAX, STREAM_REQUEST_BYTES, StreamFault, StreamLength, StreamRequest, StreamStep,
    StreamVerifier,
};
use basilica_types::NodeId;
use proptest::prelude::*;

fn binding(nonce: u8) -> Binding {
    Binding {
        beacon: [1; 32],
        validator_nonce: [nonce; 32],
        node: NodeId::from_bytes([3; 16]),
        host_key: vec![4; 51],
    }
}

fn request(bytes: u64) -> StreamRequest {
    StreamRequest::new(&binding(2), bytes).unwrap()
}

fn stream(request: &StreamRequest) -> Vec<u8> {
    let mut bytes = vec![0; usize::try_from(request.bytes()).unwrap()];
    let length = request.source().fill(&mut bytes).len();
    assert_eq!(length, bytes.len());
    bytes
}

#[test]
fn a_stream_of_another_binding_is_refused_at_its_first_block() {
    let asked = request(100_000);
    let others = [
        binding(9),
        Binding { beacon: [9; 32], ..binding(2) },
        Binding { node: NodeId::from_bytes([9; 16]), ..binding(2) },
        Binding { host_key: vec![9; 51], ..binding(2) },
    ];
    let replayed = others.map(|other| stream(&StreamRequest::new(&other, 100_000).unwrap()));
    // Cut from a longer stream of the very same binding.
    let longer = stream(&request(100_001));
    for replay in replayed.iter().chain([&longer]) {
        let mut verifier = StreamVerifier::new(&asked);
        let Err(StreamFault::WrongByte(at)) = verifier.on_bytes(replay) else { panic!("a replay passes") };
        // Sixteen bytes agree by chance with a probability of 2⁻¹²⁸.
        assert!(at < 16 && verifier.received() == at, "{at}");
    }
}

#[test]
fn endless_output_is_refused_at_the_first_byte_too_many() {
    let asked = request(70_000);
    let mut endless = stream(&asked);
    endless.push(0);
    let mut verifier = StreamVerifier::new(&asked);
    assert_eq!(verifier.on_bytes(&endless), Err(StreamFault::TooMuch(70_000)));
    assert_eq!(verifier.on_bytes(b""), Err(StreamFault::TooMuch(70_000)));
    let mut verifier = StreamVerifier::new(&asked);
    assert_eq!(verifier.on_bytes(&endless[..70_000]), Ok(StreamStep::Complete));
    assert_eq!(verifier.on_end(), Ok(()));
    assert_eq!(verifier.on_bytes(&[0]), Err(StreamFault::TooMuch(70_000)));
}

#[test]
fn a_drip_that_ends_counts_for_what_came() {
    let asked = request(5_000);
    let mut verifier = StreamVerifier::new(&asked);
    for byte in &stream(&asked)[..1_234] {
        assert_eq!(verifier.on_bytes(&[*byte]), Ok(StreamStep::More));
    }
    let ended = StreamFault::TooLittle { received: 1_234, asked: 5_000 };
    assert_eq!((verifier.on_end(), verifier.received()), (Err(ended), 1_234));
    assert_eq!(verifier.on_bytes(b"more"), Err(ended));
}

#[test]
fn lengths_out_of_bounds_are_neither_asked_for_nor_read() {
    for bytes in [0, STREAM_BYTES_MAX + 1, u64::MAX] {
        assert_eq!(StreamRequest::new(&binding(2), bytes), Err(StreamLength(bytes)));
        let mut encoded = request(1).encode();
        let at = encoded.len() - 8;
        encoded[at..].copy_from_slice(&bytes.to_le_bytes());
        assert!(StreamRequest::decode(&encoded).is_err());
    }
    assert!(StreamRequest::decode(&request(STREAM_BYTES_MAX).encode()).is_ok());
}

proptest! {
    #[test]
    fn an_honest_stream_is_right_in_pieces_of_any_size(
        bytes in 1..60_000u64,
        pieces in proptest::collection::vec(1..20_000usize, 1..8),
    ) {
        let asked = request(bytes);
        let stream = stream(&asked);
        let (mut verifier, mut rest, mut pieces) = (StreamVerifier::new(&asked), &stream[..], pieces.iter().cycle());
        while !rest.is_empty() {
            let (piece, left) = rest.split_at((*pieces.next().unwrap()).min(rest.len()));
            let step = verifier.on_bytes(piece).unwrap();
            prop_assert_eq!(step == StreamStep::Complete, left.is_empty());
            rest = left;
        }
        prop_assert_eq!((verifier.on_end(), verifier.received()), (Ok(()), bytes));
    }

    #[test]
    fn the_first_wrong_byte_is_found_where_it_is(
        bytes in 1..60_000u64,
        at: proptest::sample::Index,
        bit in 0..8u8,
        size in 1..40_000usize,
    ) {
        let asked = request(bytes);
        let mut stream = stream(&asked);
        let at = at.index(stream.len());
        stream[at] ^= 1 << bit;
        let mut verifier = StreamVerifier::new(&asked);
        let fault = stream.chunks(size).find_map(|piece| verifier.on_bytes(piece).err());
        prop_assert_eq!((fault, verifier.received()), (Some(StreamFault::WrongByte(at as u64)), at as u64));
        prop_assert_eq!(verifier.on_end(), Err(StreamFault::WrongByte(at as u64)));
    }

    #[test]
    fn only_the_one_encoding_of_a_request_is_read(
        bytes in 1..=STREAM_BYTES_MAX,
        noise in proptest::collection::vec(any::<u8>(), 0..80),
        at: proptest::sample::Index,
    ) {
        let encoded = request(bytes).encode();
        prop_assert_eq!(encoded.len(), STREAM_REQUEST_BYTES);
        prop_assert_eq!(StreamRequest::decode(&encoded).unwrap(), request(bytes));
        let cut = &encoded[..at.index(encoded.len())];
        prop_assert!(StreamRequest::decode(cut).is_err());
        if let Ok(read) = StreamRequest::decode(&noise) {
            prop_assert_eq!(read.encode(), noise);
        }
    }
}
