//! The matrices: rows of A and of Bᵀ as full-range int8 from BLAKE3 in counter mode.
//!
//! Row `i` of matrix `M` is the keyed BLAKE3 output stream of the five bytes `tag(M) ‖ i (u32 le)` under the
//! round's seed. The input is a single block, so output block `t` (bytes 64·t to 64·t + 63) is one compression with
//! counter `t`: any piece of any row can be made alone. A row of k cells costs k/64 compressions of about 800
//! 32-bit operations, that is 12.5 operations per cell made and `2·12.5/n` per multiplication: 0.08 % at
//! n = 32,768 counted in operations. There is no structure between cells, rows or matrices, which is what stops
//! the Hankel forgery and every low-rank shortcut. Rejected: AES-CTR (fast on CPUs, slow on GPUs without AES
//! units) and LCG/xorshift generators (cheap, but structured).

use crate::gemm::Kernel;
use crate::params::INNER_STEP;
use crate::seed::Seed;
use crate::simd;

/// Cells that one compression makes.
pub const BLOCK_CELLS: usize = 64;

/// Which operand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Matrix {
    /// A, by rows.
    A,
    /// B, transposed: its rows are B's columns.
    B,
}

impl Matrix {
    const fn tag(self) -> u8 {
        match self {
            Self::A => b'A',
            Self::B => b'B',
        }
    }

    const fn input(self, row: u32) -> [u8; 5] {
        let [a, b, c, d] = row.to_le_bytes();
        [self.tag(), a, b, c, d]
    }
}

/// Fills `cells` with a row's cells from block `block` on.
///
/// # Panics
/// If `cells` is not whole blocks.
pub fn fill_row(kernel: Kernel, seed: &Seed, matrix: Matrix, row: u32, block: u32, cells: &mut [i8]) {
    assert!(cells.len().is_multiple_of(BLOCK_CELLS), "rows are made by whole blocks");
    let input = matrix.input(row);
    match kernel {
        // The hash crate makes many blocks at once with AVX-512 only; below that it makes one at a time.
        Kernel::Avx2 if simd::has_avx2() => simd::stream_avx2(seed.as_bytes(), input, block, cells),
        _ => {
            let mut stream = blake3::Hasher::new_keyed(seed.as_bytes()).update(&input).finalize_xof();
            stream.set_position(u64::from(block) * BLOCK_CELLS as u64);
            stream.fill(simd::as_bytes(cells));
        }
    }
}

/// Fills whole rows `first..`, as many as `cells` holds at `inner` cells each.
pub fn fill_rows(kernel: Kernel, seed: &Seed, matrix: Matrix, first: u32, inner: usize, cells: &mut [i8]) {
    for (row, cells) in (first..).zip(cells.chunks_exact_mut(inner)) {
        fill_row(kernel, seed, matrix, row, 0, cells);
    }
}

/// The cell of the product at `row` and `column`: the exact dot product of a row of A and one of Bᵀ, of `inner` cells.
///
/// # Panics
/// If `inner` is not whole blocks.
pub fn cell(kernel: Kernel, seed: &Seed, row: u32, column: u32, inner: u32) -> i32 {
    const { assert!(INNER_STEP as usize == BLOCK_CELLS, "rows are made by whole blocks") };
    assert!(inner.is_multiple_of(INNER_STEP), "rows are made by whole blocks");
    let (a, b, blocks) = (Matrix::A.input(row), Matrix::B.input(column), inner / INNER_STEP);
    match kernel {
        Kernel::Avx512 if simd::has_avx512() => simd::cell_avx512(seed.as_bytes(), a, b, blocks),
        Kernel::Avx2 if simd::has_avx2() => simd::cell_avx2(seed.as_bytes(), a, b, blocks),
        _ => {
            let (mut a, mut b) = (vec![0; inner as usize], vec![0; inner as usize]);
            fill_row(kernel, seed, Matrix::A, row, 0, &mut a);
            fill_row(kernel, seed, Matrix::B, column, 0, &mut b);
            kernel.dot(&a, &b)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_block_of_a_row_can_be_made_alone() {
        let seed = Seed::from_bytes([7; 32]);
        let mut whole = vec![0i8; 8_192 + 64];
        fill_row(Kernel::detect(), &seed, Matrix::A, 3, 0, &mut whole);
        for block in [0u32, 1, 63, 64, 65, 128] {
            let mut piece = [0i8; BLOCK_CELLS];
            fill_row(Kernel::detect(), &seed, Matrix::A, 3, block, &mut piece);
            let start = block as usize * BLOCK_CELLS;
            assert_eq!(piece[..], whole[start..start + BLOCK_CELLS]);
        }
    }

    #[test]
    fn every_kernel_makes_the_same_cells() {
        for (length, block) in [(64, 0), (512, 0), (576, 3), (4_096 + 192, 1_000)] {
            let mut expected = vec![0; length];
            fill_row(
                Kernel::Scalar,
                &Seed::from_bytes([5; 32]),
                Matrix::B,
                0x0102_0304,
                block,
                &mut expected,
            );
            for kernel in Kernel::supported() {
                let mut cells = vec![0; length];
                fill_row(kernel, &Seed::from_bytes([5; 32]), Matrix::B, 0x0102_0304, block, &mut cells);
                assert!(cells == expected, "{kernel:?}, {length} cells from block {block}");
            }
        }
    }

    #[test]
    fn a_single_cell_is_the_dot_product_of_its_rows() {
        for inner in (64u32..=2_176).step_by(64).chain([32_768, 65_536 - 64, 65_536]) {
            let seed = Seed::from_bytes([inner.to_le_bytes()[1]; 32]);
            let (row, column) = (inner.wrapping_mul(2_654_435_761), 0x0102_0304 ^ inner);
            let (mut a, mut b) = (vec![0; inner as usize], vec![0; inner as usize]);
            fill_row(Kernel::Scalar, &seed, Matrix::A, row, 0, &mut a);
            fill_row(Kernel::Scalar, &seed, Matrix::B, column, 0, &mut b);
            let expected = Kernel::Scalar.dot(&a, &b);
            for kernel in Kernel::supported() {
                assert_eq!(cell(kernel, &seed, row, column, inner), expected, "{kernel:?}, {inner} cells");
            }
        }
    }

    #[test]
    fn rows_and_matrices_share_nothing_along_diagonals() {
        // A Hankel matrix has A[i][j] = a[i + j]; here no shifted neighbour repeats more than chance allows.
        let seed = Seed::from_bytes([1; 32]);
        let mut rows = vec![0i8; 64 * 4_096];
        fill_rows(Kernel::detect(), &seed, Matrix::A, 0, 4_096, &mut rows);
        let mut other = vec![0i8; 4_096];
        fill_row(Kernel::detect(), &seed, Matrix::B, 0, 0, &mut other);
        let equal = |x: &[i8], y: &[i8]| x.iter().zip(y).filter(|(x, y)| x == y).count();
        for pair in rows.chunks_exact(4_096).collect::<Vec<_>>().windows(2) {
            assert!(equal(&pair[0][1..], &pair[1][..4_095]) < 64, "expected 16 of 4,095 by chance");
        }
        assert!(equal(&rows[..4_096], &other) < 64);
    }

    #[test]
    fn cells_use_the_full_range() {
        let mut seen = [false; 256];
        let mut row = vec![0i8; 65_536];
        fill_row(Kernel::detect(), &Seed::from_bytes([2; 32]), Matrix::B, 9, 0, &mut row);
        row.iter().for_each(|cell| seen[usize::from(cell.cast_unsigned())] = true);
        assert!(seen.iter().all(|seen| *seen));
    }
}
