//! Exact int8 × int8 → int32 products of row blocks, by one of several kernels that agree to the bit.
//!
//! Both operands lie by rows of length k (A and Bᵀ), so every cell is a dot product of two contiguous rows. No sum
//! overflows: |product| ≤ 2¹⁴ and k ≤ 65,536. The kernel is chosen once at run time; the baseline x86-64 build
//! has SSE2 only, which is several times slower than what every validator and node has.

use crate::simd;

/// A way to multiply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kernel {
    /// One cell, one multiplication at a time: the reference that all others must equal.
    Scalar,
    /// Plain loops that the compiler vectorises for the build's baseline.
    Portable,
    /// 256-bit vectors; 16 multiplications an instruction.
    Avx2,
    /// 512-bit vectors with byte dot products (VNNI); 64 multiplications an instruction.
    Avx512,
}

impl Kernel {
    /// The fastest kernel of this machine.
    pub fn detect() -> Self {
        [Self::Avx512, Self::Avx2].into_iter().find(|kernel| kernel.is_supported()).unwrap_or(Self::Portable)
    }

    /// Every kernel that this machine can run.
    pub fn supported() -> impl Iterator<Item = Self> {
        [Self::Scalar, Self::Portable, Self::Avx2, Self::Avx512].into_iter().filter(|k| k.is_supported())
    }

    fn is_supported(&self) -> bool {
        match self {
            Self::Scalar | Self::Portable => true,
            Self::Avx2 => simd::has_avx2(),
            Self::Avx512 => simd::has_avx512(),
        }
    }

    /// The dot product of two rows of equal length.
    pub fn dot(self, a: &[i8], b: &[i8]) -> i32 {
        let mut cell = [0];
        self.multiply(a, b, a.len(), &mut cell);
        cell[0]
    }

    /// Fills `out` row-major with the product of the rows of `a` with the rows of `b`, each of `inner` cells.
    ///
    /// # Panics
    /// If the slices are not whole rows, the rows no multiple of 64 cells, or `out` has not one cell per pair.
    pub fn multiply(self, a: &[i8], b: &[i8], inner: usize, out: &mut [i32]) {
        assert!(inner > 0 && inner.is_multiple_of(64), "rows are whole PRF blocks");
        assert!(a.len().is_multiple_of(inner) && b.len().is_multiple_of(inner), "operands are whole rows");
        assert_eq!(out.len(), (a.len() / inner) * (b.len() / inner), "one cell per pair of rows");
        match self {
            Self::Scalar => by_pairs(a, b, inner, out, dot_scalar),
            Self::Portable => by_pairs(a, b, inner, out, dot_portable),
            // Never reached with a kernel from `detect` or `supported`; a kernel named by hand on a machine without
            // it must still be exact.
            Self::Avx2 if !simd::has_avx2() => by_pairs(a, b, inner, out, dot_portable),
            Self::Avx512 if !simd::has_avx512() => by_pairs(a, b, inner, out, dot_portable),
            Self::Avx2 => simd::multiply_avx2(a, b, inner, out),
            Self::Avx512 => simd::multiply_avx512(a, b, inner, out),
        }
    }
}

fn by_pairs(a: &[i8], b: &[i8], inner: usize, out: &mut [i32], dot: fn(&[i8], &[i8]) -> i32) {
    let columns = b.len() / inner;
    for (row, cells) in a.chunks_exact(inner).zip(out.chunks_exact_mut(columns)) {
        for (column, cell) in b.chunks_exact(inner).zip(cells) {
            *cell = dot(row, column);
        }
    }
}

fn dot_scalar(a: &[i8], b: &[i8]) -> i32 {
    let mut sum = 0i64;
    for (x, y) in a.iter().zip(b) {
        sum += i64::from(*x) * i64::from(*y);
    }
    i32::try_from(sum).expect("|product| <= 2^14 and at most 65,536 of them stay below 2^31")
}

fn dot_portable(a: &[i8], b: &[i8]) -> i32 {
    a.iter().zip(b).fold(0i32, |sum, (x, y)| sum.wrapping_add(i32::from(*x) * i32::from(*y)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn every_kernel_equals_the_scalar_one(
            rows in 1usize..7, columns in 1usize..11, blocks in 1usize..9, fill in any::<u64>(),
        ) {
            let inner = blocks * 64;
            let cells = |salt: u64, count: usize| -> Vec<i8> {
                let mut stream = blake3::Hasher::new().update(&(fill ^ salt).to_le_bytes()).finalize_xof();
                let mut bytes = vec![0u8; count];
                stream.fill(&mut bytes);
                bytes.into_iter().map(u8::cast_signed).collect()
            };
            let (a, b) = (cells(1, rows * inner), cells(2, columns * inner));
            let mut expected = vec![0; rows * columns];
            Kernel::Scalar.multiply(&a, &b, inner, &mut expected);
            for kernel in Kernel::supported() {
                let mut out = vec![0; rows * columns];
                kernel.multiply(&a, &b, inner, &mut out);
                prop_assert_eq!(&out, &expected, "{:?}", kernel);
            }
        }
    }

    #[test]
    fn extremes_stay_exact_at_the_longest_inner_dimension() {
        for kernel in Kernel::supported() {
            for (x, y) in [(-128i8, -128i8), (-128, 127), (127, -128), (127, 127)] {
                let exact = i32::from(x) * i32::from(y) * 65_536;
                assert_eq!(kernel.dot(&vec![x; 65_536], &vec![y; 65_536]), exact, "{kernel:?} {x} {y}");
            }
        }
    }
}
