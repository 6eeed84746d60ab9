//! Golden vectors: what other implementations (GPU kernels, WASM, other languages) must reproduce. Set
//! `UPDATE_VECTORS=1` to write them anew, which is right only together with a new protocol version.

use std::path::PathBuf;
use std::sync::Arc;

use basilica_proof::gemm::Kernel;
use basilica_proof::merkle::{Leaf, Tree, hash_node};
use basilica_proof::opening::{CellQuery, Query, queries};
use basilica_proof::prf::{Matrix, fill_row};
use basilica_proof::prover::{Backend, go_alone};
use basilica_proof::residency::{
    Block, Cache, Region, Space, Walk, compress, lane_hash, mix, segment_tree, to_bytes,
};
use basilica_proof::seed::Seed;
use basilica_proof::stream::StreamRequest;
use basilica_proof::{Binding, Challenge, DeviceChallenge, PROTOCOL_VERSION, ProofParams, Transcript};
use basilica_types::{Digest, NodeId};
use serde_json::{Value, json};

use crate::run::{
    CACHE_LOG2, NONCE, START, answers, binding, challenge, device, honest, region, tiny, verify,
};

fn check(name: &str, made: &Value) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../vectors/proof").join(name);
    if std::env::var_os("UPDATE_VECTORS").is_some_and(|value| value == "1") {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let text = serde_json::to_string_pretty(made).unwrap() + "\n";
        std::fs::write(&path, text).unwrap();
    }
    let stored = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let stored: Value = serde_json::from_slice(&stored).unwrap();
    assert_eq!(&stored, made, "{name} moved: a change of frozen bytes needs a new protocol version");
}

fn bytes(cells: &[i8]) -> String {
    hex::encode(cells.iter().map(|cell| cell.cast_unsigned()).collect::<Vec<u8>>())
}

#[test]
fn prf_rows_match_the_vectors() {
    let cases: Vec<Value> = [
        ([0u8; 32], Matrix::A, 0u32, 0u32, 128usize),
        ([0; 32], Matrix::B, 0, 0, 128),
        ([7; 32], Matrix::A, 65_535, 1, 64),
        ([0xff; 32], Matrix::B, 256, 1_023, 64),
    ]
    .into_iter()
    .map(|(seed, matrix, row, block, count)| {
        let mut cells = vec![0; count];
        fill_row(Kernel::detect(), &Seed::from_bytes(seed), matrix, row, block, &mut cells);
        json!({
            "seed": hex::encode(seed), "matrix": format!("{matrix:?}"), "row": row, "block": block,
            "cells": bytes(&cells),
        })
    })
    .collect();
    check("prf.json", &json!({ "version": PROTOCOL_VERSION, "cases": cases }));
}

#[test]
fn streams_match_the_vectors() {
    let binding = Binding {
        beacon: [1; 32],
        validator_nonce: [2; 32],
        node: NodeId::from_bytes([3; 16]),
        host_key: (0..51).collect(),
    };
    let cases: Vec<Value> = [1, 64, 65, 1_000_003]
        .into_iter()
        .map(|bytes| {
            let request = StreamRequest::new(&binding, bytes).unwrap();
            let mut stream = vec![0; usize::try_from(bytes).unwrap()];
            assert_eq!(request.source().fill(&mut stream).len(), stream.len());
            json!({
                "bytes": bytes, "request": hex::encode(request.encode()),
                "first_64": hex::encode(&stream[..stream.len().min(64)]),
                "blake3": blake3::hash(&stream).to_string(),
            })
        })
        .collect();
    let bound = json!({
        "beacon": hex::encode(binding.beacon), "nonce": hex::encode(binding.validator_nonce),
        "node": hex::encode(binding.node.as_bytes()), "host_key": hex::encode(&binding.host_key),
    });
    check("stream.json", &json!({ "version": PROTOCOL_VERSION, "binding": bound, "cases": cases }));
}

#[test]
fn tree_hashes_match_the_vectors() {
    let counting = Leaf(std::array::from_fn(|i| i32::try_from(i).unwrap() - 128));
    let leaves: Vec<Digest> = (0..8).map(|i| Leaf([i; 256]).hash()).collect();
    let made = json!({
        "version": PROTOCOL_VERSION,
        "leaf_of_zeros": Leaf([0; 256]).hash(),
        "leaf_counting_from_minus_128": counting.hash(),
        "node_of_zeros_and_ones":
            hash_node(&Digest::from_bytes([0; 32]), &Digest::from_bytes([1; 32])),
        "root_of_eight_constant_leaves": Tree::new(leaves).root(),
    });
    check("merkle.json", &made);
}

#[test]
fn seeds_roots_and_queries_match_the_vectors() {
    let challenge = challenge(2, ProofParams::new(64, 128, 2, 4).unwrap());
    let devices: Vec<Value> = challenge
        .devices()
        .iter()
        .map(|device| {
            let mut backend = honest();
            let seeds_and_roots: Vec<Value> = (0..device.params.rounds())
                .scan(Seed::first(challenge.binding(), device, &START), |seed, round| {
                    let root = backend.commit(seed, &device.params).unwrap();
                    let entry = json!({ "seed": hex::encode(seed.as_bytes()), "root": root });
                    *seed = seed.next(round + 1, &root);
                    Some(entry)
                })
                .collect();
            json!({ "uuid": device.claim.uuid, "rounds": seeds_and_roots })
        })
        .collect();
    let drawn: Vec<Value> = queries(&challenge, &Digest::from_bytes([1; 32]), &NONCE)
        .iter()
        .map(|query| match query {
            Query::Cell(CellQuery { device, round, leaf, cell }) => json!([device, round, leaf, cell]),
            Query::Step(query) => panic!("no memory was asked for: {query:?}"),
        })
        .collect();
    let made = json!({
        "version": PROTOCOL_VERSION,
        "challenge_digest": challenge.digest(),
        "devices": devices,
        "queries_device_round_leaf_cell": drawn,
    });
    check("chain.json", &made);
}

#[test]
fn memory_matches_the_vectors() {
    let words = |block: &Block| hex::encode(to_bytes(block));
    let cache = Cache::new([3; 32], 10);
    let params = region(Space::Device);
    let region = Region::new(&Seed::from_bytes([5; 32]), params);
    let walk = Walk::new(region, &[6; 32]);
    let (mut roots, mut met, mut backend) = (Vec::new(), walk.clone(), honest());
    backend.fill(&region, &Arc::new(Cache::new([3; 32], 10))).unwrap();
    backend
        .walk(&walk, &mut |root| {
            roots.push(root);
            go_alone(&mut met, u32::try_from(roots.len()).unwrap() - 1, root)
        })
        .unwrap();
    let shape = params.walk();
    let segments: Vec<Digest> = (0..shape.segments())
        .map(|segment| {
            let [first, end] = [segment, segment + 1].map(|segment| shape.segment_start(segment) as usize);
            segment_tree(shape, roots[first..end].to_vec()).root()
        })
        .collect();
    let mut mixed: Block = std::array::from_fn(|i| u32::try_from(i).unwrap());
    mix(&mut mixed, &[1; 16]);
    let blocks = [0usize, 1, 511, 1_023].map(|i| words(&cache.blocks()[i]));
    let items = [0u64, 1, 1_023].map(|i| words(&region.item(&cache, i)));
    let made = json!({
        "version": PROTOCOL_VERSION,
        "compress_of_key_of_sevens_and_counting_words_at_1":
            words(&compress(&[0x0707_0707; 8], &std::array::from_fn(|i| u32::try_from(i).unwrap()), 1)),
        "round_of_counting_state_and_ones": words(&mixed),
        "cache_of_beacon_of_threes": blocks,
        "region_of_seed_of_fives": { "key": hex::encode(region.key()), "items": params.items(), "parents": params.parents() },
        "items": items,
        "lane_hash_of_zeros": lane_hash(&[0; 16]),
        "walk_of_nonce_of_sixes": {
            "keys": (0..params.walk().steps).map(|step| hex::encode(met.key(step))).collect::<Vec<_>>(), "shape": format!("{:?}", params.walk()),
            "start_of_lane_3": words(&walk.start(3)), "step_roots": roots, "segment_roots": segments,
        },
    });
    check("memory.json", &made);
}

#[test]
fn a_transcript_with_memory_matches_the_vector() {
    let asked = |index, spaces: &[Space]| {
        let residency = spaces.iter().map(|space| region(*space)).collect();
        DeviceChallenge { residency, ..device(index, tiny()) }
    };
    // Two devices meet in the one's memory, and one walks through its host's alone.
    let devices = vec![asked(0, &[Space::Device, Space::Host]), asked(1, &[Space::Device])];
    let challenge = Challenge::new(binding(), Some(CACHE_LOG2), devices).unwrap();
    let (result, transcript) = verify(&challenge, &answers(&challenge, honest, &NONCE), &NONCE);
    let devices = result.unwrap().devices;
    let bytes = transcript.encode();
    let made = json!({
        "version": PROTOCOL_VERSION,
        "transcript": hex::encode(&bytes),
        "hash": transcript.hash(),
        "last_root": devices[0].last_root,
    });
    check("transcript-memory.json", &made);
    assert_eq!(Transcript::decode(&bytes).unwrap().verify().unwrap(), devices);
}

#[test]
fn a_whole_transcript_matches_the_vector() {
    let challenge = challenge(1, ProofParams::new(64, 64, 2, 3).unwrap());
    let (result, transcript) = verify(&challenge, &answers(&challenge, honest, &NONCE), &NONCE);
    let devices = result.unwrap().devices;
    let made = json!({
        "version": PROTOCOL_VERSION,
        "transcript": hex::encode(transcript.encode()),
        "hash": transcript.hash(),
        "last_root": devices[0].last_root,
    });
    check("transcript.json", &made);
    let decoded = Transcript::decode(&hex::decode(made["transcript"].as_str().unwrap()).unwrap()).unwrap();
    assert_eq!(decoded.verify().unwrap(), devices);
}
