#include "device.h"
#include "fibers.h"

#include <cstdio>
#include <cstdlib>
#include <memory>
#include <vector>

// Swaps stacks: saves this one's callee-saved registers and pointer, and takes up another's.
#if defined(__x86_64__)
extern "C" void basilica_swap_stacks(void **save, void *take);
asm(R"(
    .text
    .p2align 4
    .local basilica_swap_stacks
    .type basilica_swap_stacks, @function
basilica_swap_stacks:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
    .size basilica_swap_stacks, .-basilica_swap_stacks
)");
#else
#error "the fibers' stacks are swapped by x86-64 code"
#endif

namespace host {
namespace {

constexpr size_t STACK_BYTES = 64 * 1024;
constexpr u32 WARP = 32;
constexpr size_t IN_BYTES = sizeof(MultiplyAddLane), OUT_BYTES = 16;

struct Copy { u32 at; const void *from; };

struct Fiber {
    std::unique_ptr<char[]> stack;
    void *pointer = nullptr;
    bool done = false;
    Place place{};
    std::vector<Copy> open;
    std::vector<std::vector<Copy>> closed;
};

// Where the lanes of a warp hand each other their words.
struct Exchange {
    u32 arrived = 0, turn = 0;
    Meeting meeting{};
    alignas(16) u8 in[WARP][IN_BYTES];
    alignas(16) u8 out[WARP][OUT_BYTES];
};

struct Block {
    std::vector<Fiber> fibers;
    std::vector<Exchange> warps;
    std::vector<u8> shared_bytes;
    u8 *shared = nullptr;
    u32 arrived = 0, turn = 0;
    u64 progress = 0;
    void *scheduler = nullptr;
    Fiber *running = nullptr;
    const std::function<void()> *thread = nullptr;
};

thread_local Block *current = nullptr;

[[noreturn]] void fail(const char *why) {
    const Place &at = current->running->place;
    std::fprintf(stderr, "kernel on the host: %s (block %u,%u thread %u)\n", why, at.block.x, at.block.y, at.thread.x);
    std::abort();
}

void yield() {
    Fiber *self = current->running;
    basilica_swap_stacks(&self->pointer, current->scheduler);
}

[[noreturn]] void enter() {
    (*current->thread)();
    Fiber *self = current->running;
    if (!self->open.empty()) fail("copies were begun and never closed");
    self->done = true;
    current->progress++;
    for (;;) yield();
}

void prepare(Fiber &fiber) {
    if (!fiber.stack) fiber.stack.reset(new char[STACK_BYTES]);
    const auto top = reinterpret_cast<uintptr_t>(fiber.stack.get() + STACK_BYTES) & ~uintptr_t{15};
    // Six registers, the address to return to, and one word so that the callee's stack is aligned.
    void **frame = reinterpret_cast<void **>(top) - 8;
    std::memset(frame, 0, 8 * sizeof *frame);
    frame[6] = reinterpret_cast<void *>(&enter);
    fiber.pointer = frame;
    fiber.done = false;
    fiber.open.clear();
    fiber.closed.clear();
}

void run_block(Block &block, bool backwards) {
    const size_t count = block.fibers.size();
    for (size_t left = count; left > 0;) {
        const u64 before = block.progress;
        left = 0;
        for (size_t i = 0; i < count; i++) {
            Fiber &fiber = block.fibers[backwards ? count - 1 - i : i];
            if (fiber.done) continue;
            block.running = &fiber;
            basilica_swap_stacks(&block.scheduler, fiber.pointer);
            left += !fiber.done;
        }
        if (left > 0 && block.progress == before) fail("the threads of this block wait for each other for ever");
    }
}

u32 word_of(const u8 *bytes, u32 index) {
    u32 word;
    std::memcpy(&word, bytes + 4 * index, 4);
    return word;
}

// PTX ISA, m16n8k32 for .s8: A's register i of lane l has row l/4 + 8·(i mod 2) and columns 4·(l mod 4) + 16·(i / 2)
// on; B's register i has rows 4·(l mod 4) + 16·i on of column l/4; C's has row l/4 + 8·(i / 2), column 2·(l mod 4) + i mod 2.
void multiply_all(Exchange &warp) {
    i8 a[16][32], b[8][32];
    MultiplyAddLane lanes[WARP];
    std::memcpy(lanes, warp.in, sizeof lanes);
    for (u32 l = 0; l < WARP; l++) {
        for (u32 i = 0; i < 4; i++) std::memcpy(&a[l / 4 + 8 * (i % 2)][4 * (l % 4) + 16 * (i / 2)], &lanes[l].a[i], 4);
        for (u32 i = 0; i < 2; i++) std::memcpy(&b[l / 4][4 * (l % 4) + 16 * i], &lanes[l].b[i], 4);
    }
    for (u32 l = 0; l < WARP; l++) {
        i32 sums[4];
        for (u32 i = 0; i < 4; i++) {
            i32 sum = 0;
            for (u32 k = 0; k < 32; k++) sum += static_cast<i32>(a[l / 4 + 8 * (i / 2)][k]) * b[2 * (l % 4) + i % 2][k];
            sums[i] = lanes[l].sums[i] + sum;
        }
        std::memcpy(warp.out[l], sums, sizeof sums);
    }
}

// Matrix m's row r is the 16 bytes that lane 8·m + r names; lane l gets word l mod 4 of row l/4 of each.
void load_all(Exchange &warp, const u8 *shared) {
    for (u32 l = 0; l < WARP; l++)
        for (u32 m = 0; m < 4; m++)
            std::memcpy(warp.out[l] + 4 * m, shared + word_of(warp.in[8 * m + l / 4], 0) + 4 * (l % 4), 4);
}

void complete(Exchange &warp, const u8 *shared) {
    switch (warp.meeting) {
    case Meeting::Warp: break;
    case Meeting::Quad:
        for (u32 l = 0; l < WARP; l++) {
            const u32 word = word_of(warp.in[l / 4 * 4 + word_of(warp.in[l], 1) % 4], 0);
            std::memcpy(warp.out[l], &word, 4);
        }
        break;
    case Meeting::Matrices: load_all(warp, shared); break;
    case Meeting::MultiplyAdd: multiply_all(warp); break;
    }
}

void check_piece(u32 at) {
    if (at % 16 != 0) fail("16 bytes of shared memory at an odd offset");
    if (at + 16 > current->running->place.shared_bytes) fail("beyond the block's shared memory");
}

} // namespace

const Place &place() { return current->running->place; }

void block_barrier() {
    Block &block = *current;
    const u32 turn = block.turn;
    if (++block.arrived == block.fibers.size()) {
        block.arrived = 0;
        block.turn++;
        block.progress++;
    } else {
        while (block.turn == turn) yield();
    }
}

void meet(Meeting meeting, const void *in, size_t in_bytes, void *out, size_t out_bytes) {
    Block &block = *current;
    const u32 thread = block.running->place.thread.x, lane = thread % WARP;
    Exchange &warp = block.warps[thread / WARP];
    if (warp.arrived > 0 && warp.meeting != meeting) fail("lanes of one warp at different instructions");
    warp.meeting = meeting;
    if (in_bytes > 0) std::memcpy(warp.in[lane], in, in_bytes);
    const u32 turn = warp.turn;
    if (++warp.arrived == WARP) {
        complete(warp, block.shared);
        warp.arrived = 0;
        warp.turn++;
        block.progress++;
    } else {
        while (warp.turn == turn) yield();
    }
    // Nobody writes `out` before all lanes have arrived at the next meeting, so after having read this.
    if (out_bytes > 0) std::memcpy(out, warp.out[lane], out_bytes);
}

void copy_begin(u32 at, const void *from) {
    check_piece(at);
    if (reinterpret_cast<uintptr_t>(from) % 16 != 0) fail("16 bytes of device memory at an odd address");
    current->running->open.push_back({at, from});
}

void copy_close() {
    Fiber &self = *current->running;
    self.closed.push_back(std::move(self.open));
    self.open.clear();
}

void copy_wait(u32 pending) {
    Fiber &self = *current->running;
    while (self.closed.size() > pending) {
        for (const Copy &copy : self.closed.front()) std::memcpy(current->shared + copy.at, copy.from, 16);
        self.closed.erase(self.closed.begin());
    }
}

void load_matrices(u32 *words, u32 at) {
    check_piece(at);
    meet(Meeting::Matrices, &at, sizeof at, words, 16);
}

void run(const Launch &launch, const std::function<void()> &thread) {
    // Every other launch runs its blocks and threads backwards: an order that only happens to work shows in one of them.
    static thread_local bool backwards = false;
    backwards = !backwards;
    const u32 threads = launch.block[0];
    Block block;
    block.fibers.resize(threads);
    block.warps.resize((threads + WARP - 1) / WARP);
    block.shared_bytes.resize(launch.shared_bytes + 128);
    block.shared = reinterpret_cast<u8 *>((reinterpret_cast<uintptr_t>(block.shared_bytes.data()) + 127) & ~uintptr_t{127});
    block.thread = &thread;
    current = &block;
    for (u32 i = 0; i < launch.grid[1]; i++)
        for (u32 j = 0; j < launch.grid[0]; j++) {
            const u32 y = backwards ? launch.grid[1] - 1 - i : i, x = backwards ? launch.grid[0] - 1 - j : j;
            std::memset(block.shared, 0xA5, launch.shared_bytes);
            for (u32 t = 0; t < threads; t++) {
                prepare(block.fibers[t]);
                block.fibers[t].place = {{t, 0, 0}, {x, y, 0}, {threads, 1, 1}, {launch.grid[0], launch.grid[1], 1},
                                         block.shared, launch.shared_bytes};
            }
            block.arrived = 0;
            for (Exchange &warp : block.warps) warp.arrived = 0;
            run_block(block, backwards);
        }
    current = nullptr;
}

} // namespace host
