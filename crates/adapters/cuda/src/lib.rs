//! The proof's work on NVIDIA devices: rounds (tier T2), memory filled and walked through (T3, T4), and claims (T1).
//!
//! # What is promised
//! [`CudaBackend`] answers bit for bit as the CPU backend does. The driver is opened at run time, so that one program runs
//! with and without it; nothing of CUDA's toolkit is needed on a node. Every failed call is an error with the driver's own
//! name for it, memory is checked before it is asked for, and everything is given back when it is dropped. An opened
//! leaf is computed a second time and compared with the tree: a device that computes wrongly is told before its
//! answer is sent.
//!
//! # How a round is made
//! Both matrices are made in device memory, a thread per 64 cells. The product is made in tiles of 128 rows by 256
//! columns, one per block of 256 threads: operands come in by asynchronous copies three steps ahead, eight warps
//! multiply by `mma.sync` (m16n8k32, int8), and when a tile is done a thread per row hashes its 256 cells, which are one
//! leaf, through shared memory. Only the 32-byte hashes leave the chip; the product (4 GiB at n = 32,768) is never stored.
//! Of the tree all but the lowest five levels are kept, in device memory, beside the region that T3 fills. Products
//! below 256 a side, whose leaves span rows, are made cell by cell from the seed, as opened leaves are.
//!
//! # Operations, counted
//! In the machine code for compute capability 9.0 that ptxas 12.8.93 makes of our PTX (`nvdisasm`); of the columns,
//! ALU is the pipe of 64 lanes per multiprocessor and clock on which the hash's additions, exclusive ors and rotations run:
//!
//! | Loop | Instructions | ALU | Makes |
//! |---|---|---|---|
//! | product | 127, of them 64 `IMMA` and 16 `LDSM` | 24 | 64 × 64 × 64 multiplications a warp |
//! | leaf's block | 694 | 568 | a compression of a leaf (16 of them) a thread |
//! | row's block | 736 | 455 | 64 cells a thread |
//! | fill | 710 | 472 | 4 parents of 32 items a warp |
//! | walk | 105 | 58 | a read of 16 lanes a warp |
//!
//! Shares of the product's time, all at the data sheet's peaks (tensor cores 2,048, 4,096 and 8,192 multiplications per
//! multiprocessor and clock on A100, H100 or H200, and B200):
//!
//! | Device, n, k | Rows | Leaves | Tree | Hashing in all |
//! |---|---|---|---|---|
//! | A100, 32,768, 32,768 | 1.4 % | 3.5 % | 0.2 % | 5 % |
//! | H100 and H200, 32,768, 32,768 | 2.8 % | 7.0 % | 0.4 % | 10 % |
//! | H100 and H200, 32,768, 65,536 | 2.8 % | 3.5 % | 0.2 % | 6.5 % |
//! | B200, 65,536, 65,536 | 2.8 % | 6.9 % | 0.4 % | 10 % |
//!
//! So the shapes of the validators' class table are what these kernels want as well: n = k = 32,768 for A100, n =
//! 32,768 and k = 65,536 for H100 and H200, n = k = 65,536 for B200. A larger n halves the rows' share and costs the
//! verifier nothing but a longer path; a larger k halves the leaves' share and doubles the verifier's work. Fill and walk need 1.8
//! clocks of ALU per read of 64 bytes: memory is the limit up to about 8 TB/s on 132 multiprocessors. A step of a walk
//! is one launch, in which the states of the step before and the tree of the one before that are hashed as well, by other
//! blocks: hashing waits for no read, and no read for hashing.
//!
//! # Not measured
//! There was no GPU where this was written: no time, rate or share of a peak in this crate is measured, and no instruction of it
//! has run on one. The kernels run on the CPU instead (`basilica-cuda-host`), compared with the CPU backend bit for bit. Two
//! things are known to be below the peak: `mma.sync` does not feed Hopper's and Blackwell's tensor cores fully (theirs are
//! `wgmma` and `tcgen05`), and a block's hashing does not overlap its own multiplications. `cargo xtask gpu` measures.
//!
//! Rejected: cuBLASLt (a library of hundreds of megabytes, and it would store the product), hashing in a second kernel
//! (reads 4 GiB again), a kernel per later architecture without a device to run it on, and bindings by a crate
//! (thirty calls are needed).
#![expect(unsafe_code, reason = "a C interface and kernels behind it; every use says why it is sound")]

mod backend;
pub mod claims;
pub mod driver;
mod environment;
mod kernels;
mod library;
mod memory;
pub mod nvml;
mod work;

pub use backend::CudaBackend;
pub use environment::keep_no_compiled_kernels;
pub use library::LibraryError;
pub use memory::FillTime;
pub use work::RoundTimes;
