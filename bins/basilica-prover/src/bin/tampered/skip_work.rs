//! Guesses three tenths of the product.

use basilica_proof::prover::{Block, ExactProduct, Product};

/// Of every ten groups of four rows, how many are guessed.
const SKIPPED_OF_TEN: u32 = 3;
const GROUP_ROWS: usize = 4;

#[derive(Clone, Copy)]
pub(crate) struct Skipping(pub(crate) ExactProduct);

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
