//! The vector kernels: the one module of this crate with `unsafe`, for unaligned loads and stores of arrays of known
//! length, for viewing int8 as bytes, and for calling functions behind a run-time feature check.
//!
//! What the compiler makes of the plain loop is several times slower, because the build's baseline is SSE2 and it
//! widens bytes before multiplying. The BLAKE3 stream is here for processors without AVX-512, for which the hash crate
//! makes one block at a time, and for single cells, whose rows nobody needs to see.

#![expect(
    unsafe_code,
    reason = "loads and stores of fixed-size arrays, and calls behind a run-time feature check"
)]

#[cfg(target_arch = "x86_64")]
mod blocks;
#[cfg(target_arch = "x86_64")]
mod cell;
#[cfg(target_arch = "x86_64")]
mod compress;
#[cfg(target_arch = "x86_64")]
mod multiply;
#[cfg(target_arch = "x86_64")]
mod stream;

#[cfg(target_arch = "x86_64")]
pub(crate) use {
    cell::{cell_avx2, cell_avx512},
    compress::compress_eight_avx2,
    multiply::{multiply_avx2, multiply_avx512},
    stream::stream_avx2,
};

#[cfg(not(target_arch = "x86_64"))]
pub(crate) use other::{
    cell_avx2, cell_avx512, compress_eight_avx2, has_avx2, has_avx512, multiply_avx2, multiply_avx512,
    stream_avx2,
};

#[cfg(target_arch = "x86_64")]
pub(crate) fn has_avx2() -> bool {
    is_x86_feature_detected!("avx2")
}

#[cfg(target_arch = "x86_64")]
pub(crate) fn has_avx512() -> bool {
    is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512vnni")
}

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
    pub(crate) fn cell_avx2(_: &[u8; 32], _: [u8; 5], _: [u8; 5], _: u32) -> i32 {
        unreachable!("callers check has_avx2, which is false here")
    }
    pub(crate) fn cell_avx512(_: &[u8; 32], _: [u8; 5], _: [u8; 5], _: u32) -> i32 {
        unreachable!("callers check has_avx512, which is false here")
    }
    pub(crate) fn multiply_avx2(_: &[i8], _: &[i8], _: usize, _: &mut [i32]) {
        unreachable!("callers check has_avx2, which is false here")
    }
    pub(crate) fn multiply_avx512(_: &[i8], _: &[i8], _: usize, _: &mut [i32]) {
        unreachable!("callers check has_avx512, which is false here")
    }
    pub(crate) fn compress_eight_avx2(_: &[u32; 8], _: &[[u32; 16]; 8], _: &[u64; 8]) -> [[u32; 16]; 8] {
        unreachable!("callers check has_avx2, which is false here")
    }
    pub(crate) fn stream_avx2(_: &[u8; 32], _: [u8; 5], _: u32, _: &mut [i8]) {
        unreachable!("callers check has_avx2, which is false here")
    }
}
