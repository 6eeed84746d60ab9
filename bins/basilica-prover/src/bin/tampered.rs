//! A dishonest prover for the localnet: it speaks the protocol perfectly and skips three tenths of the work.
//!
//! It takes the same arguments as the honest one and ignores `--expect-hash`. A node's owner, being root, runs it in
//! place of the uploaded file: `basilica-prover-tampered shim` prints a shell that does so. Put it on the node as
//! `sh`, first in PATH, or as the account's login shell; every other command passes through to the real one.
//! Nothing on the wire tells this program from the honest one but the product itself.

use std::io::Write;
use std::process::ExitCode;

use basilica_proof::DeviceChallenge;
use basilica_proof::gemm::Kernel;
use basilica_proof::prover::{BackendError, Block, CpuBackend, ExactProduct, Product};
use basilica_prover::{Device, Identity};

const SHIM: &str = r#"#!/bin/sh
# The shell of a dishonest node: runs another prover than the one that was uploaded.
case "$2 $SSH_ORIGINAL_COMMAND" in
  *basilica/prover-*" prove "*|*basilica/prover-*"'prove'"*|*basilica/prover-*'"prove"'*) exec @PROVER@ prove ;;
esac
exec /bin/sh "$@"
"#;

/// Of every ten groups of four rows, how many are guessed.
const SKIPPED_OF_TEN: u32 = 3;
const GROUP_ROWS: usize = 4;

#[derive(Clone, Copy)]
struct Skipping(ExactProduct);

impl Product for Skipping {
    fn compute(&self, block: &Block<'_>, out: &mut [i32]) {
        let width = block.b.len() / block.inner;
        let rows = block.a.chunks(GROUP_ROWS * block.inner).zip(out.chunks_mut(GROUP_ROWS * width));
        for (row, (a, out)) in (block.row..).step_by(GROUP_ROWS).zip(rows) {
            if row / 4 % 10 < SKIPPED_OF_TEN {
                guess(block, row, width, out);
            } else {
                self.0.compute(&Block { a, row, ..*block }, out);
            }
        }
    }
}

/// Values of a likely size that cost next to nothing, the same each time they are asked for.
fn guess(block: &Block<'_>, row: u32, width: usize, out: &mut [i32]) {
    let [key, ..] = block.seed.as_bytes().as_chunks::<4>().0 else { return };
    let key = u32::from_le_bytes(*key);
    for (row, cells) in (row..).zip(out.chunks_mut(width)) {
        for (column, cell) in (block.column..).zip(cells) {
            let mixed = (row.wrapping_mul(block.side) ^ column ^ key).wrapping_mul(2_654_435_761);
            *cell = mixed.cast_signed() >> 12;
        }
    }
}

fn main() -> ExitCode {
    if std::env::args_os().nth(1).is_some_and(|argument| argument == "shim") {
        return match shim() {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::FAILURE,
        };
    }
    let device = |_: &DeviceChallenge, threads| -> Result<Device, BackendError> {
        let product = Skipping(ExactProduct(Kernel::detect()));
        Ok(Box::new(CpuBackend::new(product, threads, CpuBackend::<Skipping>::LIMIT_DEFAULT)))
    };
    basilica_prover::run(std::env::args_os().skip(1), Identity::Ignored, &device)
}

fn shim() -> std::io::Result<()> {
    let own = std::env::current_exe()?;
    std::io::stdout().lock().write_all(SHIM.replace("@PROVER@", &own.display().to_string()).as_bytes())
}
