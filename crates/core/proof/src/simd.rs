//! The vector kernels: the one file of this crate with `unsafe`, for unaligned loads and stores of arrays of known
//! length, for viewing int8 as bytes, and for calling functions behind a run-time feature check.
//!
//! What the compiler makes of the plain loop is several times slower, because the build's baseline is SSE2 and it
//! widens bytes before multiplying. The BLAKE3 stream is here for processors without AVX-512, for which the hash crate
//! makes one block at a time.

#![expect(
    unsafe_code,
    reason = "loads and stores of fixed-size arrays, and calls behind a run-time feature check"
)]

#[cfg(target_arch = "x86_64")]
pub(crate) use x86::{has_avx2, has_avx512, multiply_avx2, multiply_avx512, stream_avx2};

#[cfg(not(target_arch = "x86_64"))]
pub(crate) use other::{has_avx2, has_avx512, multiply_avx2, multiply_avx512, stream_avx2};

/// The bytes behind signed cells.
pub(crate) const fn as_bytes(cells: &mut [i8]) -> &mut [u8] {
    // SAFETY: both types have size and alignment 1 and admit every bit pattern; the borrow is carried over.
    unsafe { std::slice::from_raw_parts_mut(cells.as_mut_ptr().cast(), cells.len()) }
}

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
    pub(crate) fn stream_avx2(_: &[u8; 32], _: [u8; 5], _: u32, _: &mut [i8]) {
        unreachable!("callers check has_avx2, which is false here")
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
    fn add_lanes(sum: __m256i) -> i32 {
        let half = _mm_add_epi32(_mm256_castsi256_si128(sum), _mm256_extracti128_si256::<1>(sum));
        let pair = _mm_add_epi32(half, _mm_shuffle_epi32::<0b01_00_11_10>(half));
        _mm_cvtsi128_si32(_mm_add_epi32(pair, _mm_shuffle_epi32::<0b10_11_00_01>(pair)))
    }

    const IV: [u32; 4] = [0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a];
    /// Keyed hash, one block that is first, last and root of its input.
    const FLAGS: i32 = 1 | 2 | 8 | 16;
    const INPUT_BYTES: i32 = 5;
    /// Where the message words go in each round. Only words 0 and 1 of ours are not zero.
    const SCHEDULE: [[usize; 16]; 7] = schedule();

    const fn schedule() -> [[usize; 16]; 7] {
        const PERMUTATION: [usize; 16] = [2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8];
        let mut rounds = [[0; 16]; 7];
        let mut word = 0;
        while word < 16 {
            rounds[0][word] = word;
            word += 1;
        }
        let mut round = 1;
        while round < 7 {
            let mut word = 0;
            while word < 16 {
                rounds[round][word] = rounds[round - 1][PERMUTATION[word]];
                word += 1;
            }
            round += 1;
        }
        rounds
    }

    /// The BLAKE3 output stream of a five-byte input under `key`, eight blocks at a time.
    pub(crate) fn stream_avx2(key: &[u8; 32], input: [u8; 5], block: u32, cells: &mut [i8]) {
        assert!(has_avx2(), "callers check has_avx2");
        // SAFETY: the feature was just found on this processor.
        unsafe { blocks_avx2(key, input, block, super::as_bytes(cells)) }
    }

    #[target_feature(enable = "avx2")]
    fn blocks_avx2(key: &[u8; 32], [a, b, c, d, e]: [u8; 5], block: u32, out: &mut [u8]) {
        let mut key_words = [0u32; 8];
        for (word, bytes) in key_words.iter_mut().zip(key.as_chunks::<4>().0) {
            *word = u32::from_le_bytes(*bytes);
        }
        let message = [u32::from_le_bytes([a, b, c, d]), u32::from(e)];
        let mut made = [0u8; 512];
        for (at, out) in (block..).step_by(8).zip(out.chunks_mut(512)) {
            if let Some(whole) = out.first_chunk_mut::<512>() {
                eight_blocks(&key_words, message, at, whole);
            } else {
                eight_blocks(&key_words, message, at, &mut made);
                out.copy_from_slice(&made[..out.len()]);
            }
        }
    }

    /// Lane `l` of every vector is block `block + l`. Counters stay below 2³², as rows have at most 1,024 blocks.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn eight_blocks(key: &[u32; 8], message: [u32; 2], block: u32, out: &mut [u8; 512]) {
        let zero = _mm256_setzero_si256();
        let mut v = [zero; 16];
        for (state, word) in v.iter_mut().zip(key.iter().chain(&IV)) {
            *state = _mm256_set1_epi32(word.cast_signed());
        }
        let chain = [v[0], v[1], v[2], v[3], v[4], v[5], v[6], v[7]];
        let lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
        v[12] = _mm256_add_epi32(_mm256_set1_epi32(block.cast_signed()), lanes);
        v[14] = _mm256_set1_epi32(INPUT_BYTES);
        v[15] = _mm256_set1_epi32(FLAGS);
        // The zero words are constants, and their additions disappear.
        let mut words = [zero; 16];
        words[0] = _mm256_set1_epi32(message[0].cast_signed());
        words[1] = _mm256_set1_epi32(message[1].cast_signed());
        round::<0>(&mut v, &words);
        round::<1>(&mut v, &words);
        round::<2>(&mut v, &words);
        round::<3>(&mut v, &words);
        round::<4>(&mut v, &words);
        round::<5>(&mut v, &words);
        round::<6>(&mut v, &words);
        let (mut first, mut second) = ([zero; 8], [zero; 8]);
        for i in 0..8 {
            first[i] = _mm256_xor_si256(v[i], v[i + 8]);
            second[i] = _mm256_xor_si256(v[i + 8], chain[i]);
        }
        let (first, second) = (transpose(first), transpose(second));
        let halves = out.as_chunks_mut::<32>().0.as_chunks_mut::<2>().0;
        for ([low, high], (first, second)) in halves.iter_mut().zip(first.iter().zip(&second)) {
            store_256(low, *first);
            store_256(high, *second);
        }
    }

    /// One round: four columns, then four diagonals.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn round<const R: usize>(v: &mut [__m256i; 16], words: &[__m256i; 16]) {
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = const { SCHEDULE[R] };
        mix::<0, 4, 8, 12>(v, words[a], words[b]);
        mix::<1, 5, 9, 13>(v, words[c], words[d]);
        mix::<2, 6, 10, 14>(v, words[e], words[f]);
        mix::<3, 7, 11, 15>(v, words[g], words[h]);
        mix::<0, 5, 10, 15>(v, words[i], words[j]);
        mix::<1, 6, 11, 12>(v, words[k], words[l]);
        mix::<2, 7, 8, 13>(v, words[m], words[n]);
        mix::<3, 4, 9, 14>(v, words[o], words[p]);
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn mix<const A: usize, const B: usize, const C: usize, const D: usize>(
        v: &mut [__m256i; 16],
        x: __m256i,
        y: __m256i,
    ) {
        v[A] = _mm256_add_epi32(_mm256_add_epi32(v[A], v[B]), x);
        v[D] = rotate_bytes::<2>(_mm256_xor_si256(v[D], v[A]));
        v[C] = _mm256_add_epi32(v[C], v[D]);
        v[B] = rotate_bits::<12, 20>(_mm256_xor_si256(v[B], v[C]));
        v[A] = _mm256_add_epi32(_mm256_add_epi32(v[A], v[B]), y);
        v[D] = rotate_bytes::<1>(_mm256_xor_si256(v[D], v[A]));
        v[C] = _mm256_add_epi32(v[C], v[D]);
        v[B] = rotate_bits::<7, 25>(_mm256_xor_si256(v[B], v[C]));
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn rotate_bits<const RIGHT: i32, const LEFT: i32>(x: __m256i) -> __m256i {
        _mm256_or_si256(_mm256_srli_epi32::<RIGHT>(x), _mm256_slli_epi32::<LEFT>(x))
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn rotate_bytes<const RIGHT: usize>(x: __m256i) -> __m256i {
        let order = match RIGHT {
            1 => _mm_setr_epi8(1, 2, 3, 0, 5, 6, 7, 4, 9, 10, 11, 8, 13, 14, 15, 12),
            _ => _mm_setr_epi8(2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13),
        };
        _mm256_shuffle_epi8(x, _mm256_broadcastsi128_si256(order))
    }

    /// Rows of words to columns of words.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn transpose(rows: [__m256i; 8]) -> [__m256i; 8] {
        let mut pairs = rows;
        for i in [0, 2, 4, 6] {
            pairs[i] = _mm256_unpacklo_epi32(rows[i], rows[i + 1]);
            pairs[i + 1] = _mm256_unpackhi_epi32(rows[i], rows[i + 1]);
        }
        let mut quads = pairs;
        for i in [0, 4] {
            quads[i] = _mm256_unpacklo_epi64(pairs[i], pairs[i + 2]);
            quads[i + 1] = _mm256_unpackhi_epi64(pairs[i], pairs[i + 2]);
            quads[i + 2] = _mm256_unpacklo_epi64(pairs[i + 1], pairs[i + 3]);
            quads[i + 3] = _mm256_unpackhi_epi64(pairs[i + 1], pairs[i + 3]);
        }
        let mut columns = quads;
        for i in 0..4 {
            columns[i] = _mm256_permute2x128_si256::<0x20>(quads[i], quads[i + 4]);
            columns[i + 4] = _mm256_permute2x128_si256::<0x31>(quads[i], quads[i + 4]);
        }
        columns
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn store_256(out: &mut [u8; 32], words: __m256i) {
        // SAFETY: the array has the 32 bytes that an unaligned store writes.
        unsafe { _mm256_storeu_si256(out.as_mut_ptr().cast(), words) }
    }
}
