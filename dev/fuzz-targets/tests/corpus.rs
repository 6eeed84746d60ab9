//! The corpus that the repository keeps, replayed without a fuzzer.
//!
//! `UPDATE_VECTORS=1` writes the seeds anew after the golden vectors have changed. What the fuzzer has found stands beside
//! them, under the names that it gives; `cargo xtask fuzz --keep` puts it there.

#![expect(clippy::unwrap_used, reason = "a test stops where it fails, also outside of test functions")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use basilica_fuzz_targets::{TARGETS, Target};

/// Most bytes of the whole corpus.
const CORPUS_BYTES_MAX: usize = 1 << 20;

/// The longest input that `cargo xtask fuzz` makes (`-max_len`).
const INPUT_BYTES_MAX: usize = 64 * 1024;

fn fuzz() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz")
}

fn names(folder: &Path) -> BTreeSet<String> {
    let entries = std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

fn corpus(target: &Target) -> Vec<(String, Vec<u8>)> {
    let folder = fuzz().join("corpus").join(target.name);
    names(&folder).into_iter().map(|name| (name.clone(), std::fs::read(folder.join(name)).unwrap())).collect()
}

#[test]
fn every_target_keeps_its_promises_on_its_corpus() {
    for target in TARGETS {
        for (name, input) in corpus(&target) {
            // libFuzzer would cut it.
            assert!(input.len() <= INPUT_BYTES_MAX, "{}/{name} has {} bytes", target.name, input.len());
            println!("{}/{name}", target.name);
            (target.run)(&input);
        }
    }
}

#[test]
fn the_seeds_are_those_of_the_golden_vectors() {
    let update = std::env::var_os("UPDATE_VECTORS").is_some_and(|value| value == "1");
    for target in TARGETS {
        let folder = fuzz().join("corpus").join(target.name);
        let seeds: Vec<(String, Vec<u8>)> =
            (0..).zip((target.seeds)()).map(|(at, seed)| (format!("seed-{at:02}"), seed)).collect();
        if update {
            std::fs::create_dir_all(&folder).unwrap();
            for old in names(&folder).iter().filter(|name| name.starts_with("seed-")) {
                std::fs::remove_file(folder.join(old)).unwrap();
            }
            for (name, seed) in &seeds {
                std::fs::write(folder.join(name), seed).unwrap();
            }
        }
        let mut kept = corpus(&target);
        kept.retain(|(name, _)| name.starts_with("seed-"));
        assert!(kept == seeds, "{}: UPDATE_VECTORS=1 writes the seeds of new vectors", target.name);
        assert!(!seeds.is_empty(), "{}", target.name);
    }
}

#[test]
fn the_corpus_is_small_and_every_target_has_a_program() {
    let total: usize = TARGETS.iter().flat_map(corpus).map(|(_, input)| input.len()).sum();
    assert!(total < CORPUS_BYTES_MAX, "the corpus has {total} bytes");
    let listed: BTreeSet<String> = TARGETS.iter().map(|target| target.name.to_owned()).collect();
    assert_eq!(names(&fuzz().join("corpus")), listed);
    let programs: BTreeSet<String> = listed.iter().map(|name| format!("{name}.rs")).collect();
    assert_eq!(names(&fuzz().join("fuzz_targets")), programs);
    for name in &listed {
        let program =
            std::fs::read_to_string(fuzz().join("fuzz_targets").join(format!("{name}.rs"))).unwrap();
        assert!(program.contains(&format!("run(\"{name}\", ")), "{name}");
    }
}
