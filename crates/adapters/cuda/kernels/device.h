// What the kernels take from the machine: types, and the few instructions that C cannot spell.
//
// Every instruction stands alone in a function here and has a twin in the host shim (dev/cuda-host), which follows the
// PTX ISA's fragment layouts, so that the kernels themselves are compiled unchanged for both and compared bit for bit
// with the CPU's code where there is no GPU. `at` is an offset into a block's dynamic shared memory.
#pragma once

typedef unsigned char u8;
typedef signed char i8;
typedef unsigned int u32;
typedef int i32;
typedef unsigned long long u64;

#ifdef __CUDACC_RTC__

#define KERNEL extern "C" __global__ void
#define BLOCK_OF(threads, per_multiprocessor) __launch_bounds__(threads, per_multiprocessor)
#define DEVICE __device__ __forceinline__
#define UNROLL _Pragma("unroll")
#define ROLLED _Pragma("unroll 1")

extern __shared__ __align__(128) u8 shared_memory[];

DEVICE u32 shared_start() {
    return static_cast<u32>(__cvta_generic_to_shared(shared_memory));
}

// Waits for all threads of the block; what they wrote to shared and device memory is then seen by all of them.
DEVICE void block_barrier() { __syncthreads(); }

DEVICE void warp_barrier() { __syncwarp(); }

// The word of lane `source` of this thread's group of four lanes.
DEVICE u32 from_quad(u32 word, u32 source) { return __shfl_sync(0xffffffffu, word, source, 4); }

DEVICE u32 rotate_right(u32 word, u32 bits) { return __funnelshift_r(word, word, bits); }

DEVICE u64 multiply_high(u64 x, u64 y) { return __umul64hi(x, y); }

// sum + the dot product of four int8 each.
DEVICE i32 dot_four(u32 x, u32 y, i32 sum) {
    return __dp4a(static_cast<i32>(x), static_cast<i32>(y), sum);
}

// A load through the read-only path, for memory that no thread of this launch writes.
DEVICE uint2 load_only(const uint2 *from) { return __ldg(from); }

// Begins a copy of 16 bytes from device to shared memory.
DEVICE void copy_begin(u32 at, const void *from) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16;"
                 :: "r"(shared_start() + at), "l"(from) : "memory");
}

// Closes the group of the copies begun since the last call.
DEVICE void copy_close() { asm volatile("cp.async.commit_group;" ::: "memory"); }

// Waits until at most the last `PENDING` groups of this thread are under way.
template <int PENDING> DEVICE void copy_wait() {
    asm volatile("cp.async.wait_group %0;" :: "n"(PENDING) : "memory");
}

// Four matrices of 8 rows of 16 bytes. Lane 8·m + r names row r of matrix m; lane l gets, of each matrix, the four
// bytes from 4·(l mod 4) on of row l / 4.
DEVICE void load_matrices(u32 (&words)[4], u32 at) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(words[0]), "=r"(words[1]), "=r"(words[2]), "=r"(words[3])
                 : "r"(shared_start() + at) : "memory");
}

// sums += A·B for A of 16 rows by 32 columns (by rows) and B of 32 rows by 8 columns (by columns) of int8.
DEVICE void multiply_add(i32 (&sums)[4], const u32 (&a)[4], u32 b0, u32 b1) {
    asm volatile("mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 "
                 "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                 : "+r"(sums[0]), "+r"(sums[1]), "+r"(sums[2]), "+r"(sums[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

#else
#include "shim.h"
#endif

template <typename T> DEVICE T *shared_at(u32 at) { return reinterpret_cast<T *>(shared_memory + at); }
