//! Being the file that was asked for.
//!
//! This guards against accidents (a stale cache, a half-written upload), not against the node's owner, who can run
//! anything: against the owner stands the proof itself.

use std::fs::File;
use std::io::Read;

use anyhow::{Context, bail};
use basilica_types::Digest;

const SELF: &str = "/proc/self/exe";

/// BLAKE3 of this program's file.
pub fn own_hash() -> anyhow::Result<Digest> {
    let mut file = File::open(SELF).with_context(|| format!("open {SELF} to hash this program"))?;
    let mut hasher = blake3::Hasher::new();
    let mut piece = vec![0; 64 * 1024];
    loop {
        match file.read(&mut piece).with_context(|| format!("read {SELF}"))? {
            0 => return Ok(Digest::from_bytes(*hasher.finalize().as_bytes())),
            length => hasher.update(&piece[..length]),
        };
    }
}

/// Refuses to go on as any other file than the expected one.
pub(crate) fn check(expected: Option<Digest>) -> anyhow::Result<()> {
    let Some(expected) = expected else {
        bail!("prove needs --expect-hash HEX, the BLAKE3 hash that this file must have");
    };
    let own = own_hash()?;
    if own != expected {
        bail!("this file has hash {own}, not the expected {expected}: upload the prover again");
    }
    Ok(())
}
