//! What is kept and what is forgotten.

use super::*;

fn genesis() -> Chain {
    Chain::new(State::from([(b"count".to_vec(), vec![0; 4])]))
}

/// A child of the best block that sets the count to its number.
fn next(chain: &Chain, body: usize, value: usize) -> StoredBlock {
    use sp_runtime::traits::Header as _;
    let best = chain.best();
    let number = best.header.number + 1;
    let header = Header::new(number, Hash::default(), Hash::default(), best.hash, Default::default());
    let mut count = number.encode();
    count.resize(count.len() + value, 0);
    StoredBlock { header, extrinsics: vec![vec![0; body]], changes: vec![(b"count".to_vec(), Some(count))] }
}

fn grow(chain: &mut Chain, blocks: usize, body: usize, value: usize) {
    for _ in 0..blocks {
        let block = next(chain, body, value);
        chain.push(block);
    }
}

#[test]
fn a_long_chain_keeps_as_much_as_a_short_one() {
    let mut chain = genesis();
    let mut hashes = vec![chain.best().hash];
    for _ in 0..BODIES + 500 {
        grow(&mut chain, 1, 10, 0);
        hashes.push(chain.best().hash);
    }
    assert_eq!((chain.undo.len(), chain.blocks.len(), chain.numbers.len()), (STATES, BODIES, BODIES));
    assert_eq!(chain.body_bytes, BODIES * 10);
    let best = hashes.len() - 1;
    for back in [0, 1, STATES] {
        let state = chain.state_at(&hashes[best - back]).expect("kept");
        assert_eq!(state[b"count".as_slice()], u32::try_from(best - back).expect("small").encode());
    }
    let discarded = hashes[best - STATES - 1];
    assert_eq!(chain.state_at(&discarded), Err(StateUnavailable::Discarded(discarded)));
    assert!(chain.block(&hashes[best + 1 - BODIES]).is_some());
    assert!(chain.block(&hashes[best - BODIES]).is_none());
    assert_eq!(chain.hash_of(1), Some(hashes[1]), "hashes are kept for longer");
    assert!(chain.block(&hashes[0]).is_some(), "block 0 is always kept");
    for hash in &hashes[best - STATES..] {
        chain.state_at(hash).expect("kept");
    }
    assert!(chain.ready.len() <= READY_STATES);
}

#[test]
fn big_blocks_and_big_values_are_bounded_by_their_bytes() {
    let mut chain = genesis();
    grow(&mut chain, 100, 1 << 20, 1 << 20);
    assert_eq!((chain.blocks.len(), chain.undo.len()), (BODY_BYTES >> 20, (UNDO_BYTES >> 20) - 1));
    assert!(chain.body_bytes <= BODY_BYTES && chain.undo_bytes <= UNDO_BYTES);
    while chain.pop().is_some() {}
    assert!(chain.stale.len() <= (STALE_BYTES >> 20));
    assert_eq!((chain.poppable(), chain.undo_bytes), (0, 0));
}

#[test]
fn hashes_are_bounded_too() {
    let mut image = genesis().image();
    image.hashes = vec![image.hashes[0]; HASHES];
    let mut chain = Chain::from_image(image).expect("a block");
    grow(&mut chain, 3, 0, 0);
    assert_eq!(chain.hashes.len(), HASHES);
}
