//! Products of row blocks.

use std::arch::x86_64::*;

use super::{has_avx2, has_avx512};

/// Columns that one pass keeps in registers.
const COLUMNS: usize = 4;

pub(crate) fn multiply_avx2(a: &[i8], b: &[i8], inner: usize, out: &mut [i32]) {
    assert!(has_avx2(), "callers check has_avx2");
    // SAFETY: the feature was just found on this processor.
    unsafe { block_avx2(a, b, inner, out) }
}

pub(crate) fn multiply_avx512(a: &[i8], b: &[i8], inner: usize, out: &mut [i32]) {
    assert!(has_avx512(), "callers check has_avx512");
    // SAFETY: the features were just found on this processor.
    unsafe { block_avx512(a, b, inner, out) }
}

/// Splits a run of `N` rows into rows.
fn rows<const N: usize>(cells: &[i8], inner: usize) -> [&[i8]; N] {
    std::array::from_fn(|row| &cells[row * inner..(row + 1) * inner])
}

/// Rows as pieces of one vector each.
fn pieces<const N: usize, const WIDTH: usize>(rows: [&[i8]; N]) -> [&[[i8; WIDTH]]; N] {
    rows.map(|row| row.as_chunks().0)
}

// In functions with a target feature no vector may pass through a closure: a closure inherits the feature, the
// library function that it is given to does not, and the call between the two is then never inlined.

#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
fn block_avx512(a: &[i8], b: &[i8], inner: usize, out: &mut [i32]) {
    let (height, width) = (a.len() / inner, b.len() / inner);
    for column in (0..width).step_by(COLUMNS) {
        let some = COLUMNS.min(width - column);
        let columns = &b[column * inner..(column + some) * inner];
        let mut offsets = [0; COLUMNS];
        for (offset, other) in offsets.iter_mut().zip(columns.chunks_exact(inner)) {
            *offset = offset_avx512(other);
        }
        // Outer loop over columns: four of them stay in the first cache while all rows pass.
        for row in (0..height).step_by(4) {
            let few = 4.min(height - row);
            let at = row * width + column;
            let lines = &a[row * inner..(row + few) * inner];
            if (few, some) == (4, COLUMNS) {
                let mut tile = tile_avx512(rows::<4>(lines, inner), rows::<COLUMNS>(columns, inner));
                for line in &mut tile {
                    for (cell, offset) in line.iter_mut().zip(offsets) {
                        *cell -= offset;
                    }
                }
                store(&tile, &mut out[at..], width);
            } else {
                for (i, line) in lines.chunks_exact(inner).enumerate() {
                    for (j, other) in columns.chunks_exact(inner).enumerate() {
                        out[at + i * width + j] = tile_avx512([line], [other])[0][0] - offsets[j];
                    }
                }
            }
        }
    }
}

fn store<const R: usize, const C: usize>(tile: &[[i32; C]; R], out: &mut [i32], width: usize) {
    for (line, cells) in tile.iter().enumerate() {
        out[line * width..line * width + C].copy_from_slice(cells);
    }
}

/// Σ (a + 128)·b: `vpdpbusd` multiplies unsigned by signed bytes, so A enters shifted, and the caller takes
/// [`offset_avx512`] off. Sums stay in range: 255 · 128 · 65,536 < 2³¹.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
fn tile_avx512<const R: usize, const C: usize>(a: [&[i8]; R], b: [&[i8]; C]) -> [[i32; C]; R] {
    let shift = _mm512_set1_epi8(i8::MIN);
    let mut sums = [[_mm512_setzero_si512(); C]; R];
    let mut lines = [_mm512_setzero_si512(); R];
    let (a, b) = (pieces::<R, 64>(a), pieces::<C, 64>(b));
    for step in 0..a[0].len() {
        for (line, row) in lines.iter_mut().zip(&a) {
            *line = _mm512_xor_si512(load_512(&row[step]), shift);
        }
        for (j, column) in b.iter().enumerate() {
            let column = load_512(&column[step]);
            for (sums, line) in sums.iter_mut().zip(&lines) {
                sums[j] = _mm512_dpbusd_epi32(sums[j], *line, column);
            }
        }
    }
    let mut cells = [[0; C]; R];
    for (cells, sums) in cells.iter_mut().flatten().zip(sums.iter().flatten()) {
        *cells = _mm512_reduce_add_epi32(*sums);
    }
    cells
}

/// 128 · Σb.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
fn offset_avx512(b: &[i8]) -> i32 {
    let of_128 = _mm512_set1_epi8(i8::MIN); // as unsigned bytes
    let mut sum = _mm512_setzero_si512();
    for cells in b.as_chunks::<64>().0 {
        sum = _mm512_dpbusd_epi32(sum, of_128, load_512(cells));
    }
    _mm512_reduce_add_epi32(sum)
}

#[inline]
#[target_feature(enable = "avx512f")]
fn load_512(cells: &[i8; 64]) -> __m512i {
    // SAFETY: the array has the 64 bytes that an unaligned load reads.
    unsafe { _mm512_loadu_si512(cells.as_ptr().cast()) }
}

#[target_feature(enable = "avx2")]
fn block_avx2(a: &[i8], b: &[i8], inner: usize, out: &mut [i32]) {
    let (height, width) = (a.len() / inner, b.len() / inner);
    for column in (0..width).step_by(COLUMNS) {
        let some = COLUMNS.min(width - column);
        let columns = &b[column * inner..(column + some) * inner];
        for row in (0..height).step_by(2) {
            let few = 2.min(height - row);
            let at = row * width + column;
            let lines = &a[row * inner..(row + few) * inner];
            if (few, some) == (2, COLUMNS) {
                let tile = tile_avx2(rows::<2>(lines, inner), rows::<COLUMNS>(columns, inner));
                store(&tile, &mut out[at..], width);
            } else {
                for (i, line) in lines.chunks_exact(inner).enumerate() {
                    for (j, other) in columns.chunks_exact(inner).enumerate() {
                        out[at + i * width + j] = tile_avx2([line], [other])[0][0];
                    }
                }
            }
        }
    }
}

/// Widens to 16 bits and multiplies pairs (`vpmaddwd`); the byte form `vpmaddubsw` saturates and is not exact.
#[inline]
#[target_feature(enable = "avx2")]
fn tile_avx2<const R: usize, const C: usize>(a: [&[i8]; R], b: [&[i8]; C]) -> [[i32; C]; R] {
    let mut sums = [[_mm256_setzero_si256(); C]; R];
    let mut lines = [_mm256_setzero_si256(); R];
    let (a, b) = (pieces::<R, 16>(a), pieces::<C, 16>(b));
    for step in 0..a[0].len() {
        for (line, row) in lines.iter_mut().zip(&a) {
            *line = widen(&row[step]);
        }
        for (j, column) in b.iter().enumerate() {
            let column = widen(&column[step]);
            for (sums, line) in sums.iter_mut().zip(&lines) {
                sums[j] = _mm256_add_epi32(sums[j], _mm256_madd_epi16(*line, column));
            }
        }
    }
    let mut cells = [[0; C]; R];
    for (cells, sums) in cells.iter_mut().flatten().zip(sums.iter().flatten()) {
        *cells = add_lanes(*sums);
    }
    cells
}

#[inline]
#[target_feature(enable = "avx2")]
fn widen(cells: &[i8; 16]) -> __m256i {
    // SAFETY: the array has the 16 bytes that an unaligned load reads.
    _mm256_cvtepi8_epi16(unsafe { _mm_loadu_si128(cells.as_ptr().cast()) })
}

#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn add_lanes(sum: __m256i) -> i32 {
    let half = _mm_add_epi32(_mm256_castsi256_si128(sum), _mm256_extracti128_si256::<1>(sum));
    let pair = _mm_add_epi32(half, _mm_shuffle_epi32::<0b01_00_11_10>(half));
    _mm_cvtsi128_si32(_mm_add_epi32(pair, _mm_shuffle_epi32::<0b10_11_00_01>(pair)))
}
