//! The vector kernels: the one file of this crate with `unsafe`, for unaligned loads from arrays of known length and
//! for calling functions behind a run-time feature check.
//!
//! The compiler's own vectoriser was tried on the plain loop and stays below half of these at AVX-512, because it
//! widens bytes before multiplying; safe SIMD crates have no byte dot product.

#![expect(unsafe_code, reason = "loads from fixed-size arrays, and calls behind a run-time feature check")]

#[cfg(target_arch = "x86_64")]
pub(crate) use x86::{has_avx2, has_avx512, multiply_avx2, multiply_avx512};

#[cfg(not(target_arch = "x86_64"))]
pub(crate) use other::{has_avx2, has_avx512, multiply_avx2, multiply_avx512};

#[cfg(not(target_arch = "x86_64"))]
mod other {
    pub(crate) const fn has_avx2() -> bool {
        false
    }
    pub(crate) const fn has_avx512() -> bool {
        false
    }
    pub(crate) fn multiply_avx2(_: &[i8], _: &[i8], _: usize, _: &mut [i32]) {
        unreachable!("callers check has_avx2, which is false here")
    }
    pub(crate) fn multiply_avx512(_: &[i8], _: &[i8], _: usize, _: &mut [i32]) {
        unreachable!("callers check has_avx512, which is false here")
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    /// Columns that one pass keeps in registers.
    const COLUMNS: usize = 4;

    pub(crate) fn has_avx2() -> bool {
        is_x86_feature_detected!("avx2")
    }

    pub(crate) fn has_avx512() -> bool {
        is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512vnni")
    }

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
                        line.iter_mut().zip(offsets).for_each(|(cell, offset)| *cell -= offset);
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
        let a = a.map(|row| row.as_chunks::<64>().0);
        let b = b.map(|row| row.as_chunks::<64>().0);
        for step in 0..a[0].len() {
            let lines: [__m512i; R] = std::array::from_fn(|i| _mm512_xor_si512(load_512(&a[i][step]), shift));
            for j in 0..C {
                let column = load_512(&b[j][step]);
                for i in 0..R {
                    sums[i][j] = _mm512_dpbusd_epi32(sums[i][j], lines[i], column);
                }
            }
        }
        sums.map(|line| line.map(|sum| _mm512_reduce_add_epi32(sum)))
    }

    /// 128 · Σb.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
    fn offset_avx512(b: &[i8]) -> i32 {
        let of_128 = _mm512_set1_epi8(i8::MIN); // as unsigned bytes
        let add = |sum, cells| _mm512_dpbusd_epi32(sum, of_128, load_512(cells));
        _mm512_reduce_add_epi32(b.as_chunks::<64>().0.iter().fold(_mm512_setzero_si512(), add))
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
        let a = a.map(|row| row.as_chunks::<16>().0);
        let b = b.map(|row| row.as_chunks::<16>().0);
        for step in 0..a[0].len() {
            let lines: [__m256i; R] = std::array::from_fn(|i| widen(&a[i][step]));
            for j in 0..C {
                let column = widen(&b[j][step]);
                for i in 0..R {
                    sums[i][j] = _mm256_add_epi32(sums[i][j], _mm256_madd_epi16(lines[i], column));
                }
            }
        }
        sums.map(|line| line.map(|sum| add_lanes(sum)))
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn widen(cells: &[i8; 16]) -> __m256i {
        // SAFETY: the array has the 16 bytes that an unaligned load reads.
        _mm256_cvtepi8_epi16(unsafe { _mm_loadu_si128(cells.as_ptr().cast()) })
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn add_lanes(sum: __m256i) -> i32 {
        let half = _mm_add_epi32(_mm256_castsi256_si128(sum), _mm256_extracti128_si256::<1>(sum));
        let pair = _mm_add_epi32(half, _mm_shuffle_epi32::<0b01_00_11_10>(half));
        _mm_cvtsi128_si32(_mm_add_epi32(pair, _mm_shuffle_epi32::<0b10_11_00_01>(pair)))
    }
}
