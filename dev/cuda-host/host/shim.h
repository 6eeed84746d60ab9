// The host's twins of what kernels/device.h takes from a GPU.
//
// A block's threads are fibers of one operating-system thread, switched only where they wait for each other: at barriers
// and at instructions of a whole warp. Those check what hardware leaves undefined: all 32 lanes must meet at
// the same instruction, offsets must be aligned and inside the block's shared memory, and a block whose threads wait
// for each other at different places ends the program. Asynchronous copies are made as late as the ISA allows, at the
// wait for their group, and shared memory starts poisoned: a missing wait or barrier shows as wrong bytes.
#pragma once
#include <cstddef>
#include <cstdint>
#include <cstring>

#define KERNEL static void
#define BLOCK_OF(threads, per_multiprocessor)
#define DEVICE static inline
#define UNROLL
#define ROLLED

struct uint2 { u32 x, y; };
struct alignas(16) uint4 { u32 x, y, z, w; };
struct alignas(8) int2 { i32 x, y; };
struct dim3 { u32 x, y, z; };

static inline uint4 make_uint4(u32 x, u32 y, u32 z, u32 w) { return {x, y, z, w}; }
static inline int2 make_int2(i32 x, i32 y) { return {x, y}; }

namespace host {

enum class Meeting : u32 { Warp, Quad, Matrices, MultiplyAdd };

// What the running fiber sees.
struct Place { dim3 thread, block, block_size, grid; u8 *shared; u32 shared_bytes; };
const Place &place();

void block_barrier();
// Hands `in` to the other lanes of the warp; `out` is this lane's share of what the instruction makes of all.
void meet(Meeting meeting, const void *in, size_t in_bytes, void *out, size_t out_bytes);
void copy_begin(u32 at, const void *from);
void copy_close();
void copy_wait(u32 pending);
void load_matrices(u32 *words, u32 at);

} // namespace host

#define threadIdx (host::place().thread)
#define blockIdx (host::place().block)
#define blockDim (host::place().block_size)
#define gridDim (host::place().grid)
#define shared_memory (host::place().shared)

DEVICE void block_barrier() { host::block_barrier(); }
DEVICE void warp_barrier() { host::meet(host::Meeting::Warp, nullptr, 0, nullptr, 0); }
DEVICE u32 from_quad(u32 word, u32 source) {
    const u32 in[2] = {word, source};
    u32 out;
    host::meet(host::Meeting::Quad, in, sizeof in, &out, sizeof out);
    return out;
}
DEVICE u32 rotate_right(u32 word, u32 bits) { return word >> bits | word << (32 - bits); }
DEVICE u64 multiply_high(u64 x, u64 y) { return static_cast<u64>(static_cast<unsigned __int128>(x) * y >> 64); }
DEVICE i32 dot_four(u32 x, u32 y, i32 sum) {
    for (int i = 0; i < 4; i++) sum += static_cast<i32>(static_cast<i8>(x >> 8 * i)) * static_cast<i8>(y >> 8 * i);
    return sum;
}
DEVICE uint2 load_only(const uint2 *from) { return *from; }
DEVICE void copy_begin(u32 at, const void *from) { host::copy_begin(at, from); }
DEVICE void copy_close() { host::copy_close(); }
template <int PENDING> DEVICE void copy_wait() { host::copy_wait(PENDING); }
DEVICE void load_matrices(u32 (&words)[4], u32 at) { host::load_matrices(words, at); }

// A lane's part of an m16n8k32 multiplication.
struct MultiplyAddLane { u32 a[4], b[2]; i32 sums[4]; };

DEVICE void multiply_add(i32 (&sums)[4], const u32 (&a)[4], u32 b0, u32 b1) {
    const MultiplyAddLane in = {{a[0], a[1], a[2], a[3]}, {b0, b1}, {sums[0], sums[1], sums[2], sums[3]}};
    host::meet(host::Meeting::MultiplyAdd, &in, sizeof in, sums, sizeof sums);
}
