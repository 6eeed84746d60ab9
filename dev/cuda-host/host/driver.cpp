// libcuda.so.1 for tests: the functions of the driver API that basilica-cuda calls, over kernels compiled for the host.
//
// It checks what a driver checks and what a GPU would trap: launch limits, contexts, kernels that the loaded PTX does
// not have, and memory beyond an allocation (each ends at a page that cannot be touched). Fresh memory is poisoned.
#include "basilica.cu"
#include "fibers.h"

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <mutex>
#include <string>
#include <tuple>
#include <thread>
#include <utility>
#include <sys/mman.h>

namespace {

enum Result : int {
    SUCCESS = 0, INVALID_VALUE = 1, OUT_OF_MEMORY = 2, NOT_INITIALIZED = 3, INVALID_DEVICE = 101, INVALID_IMAGE = 200,
    INVALID_CONTEXT = 201, INVALID_PTX = 218, INVALID_HANDLE = 400, NOT_FOUND = 500, ILLEGAL_ADDRESS = 700,
    LAUNCH_FAILED = 719,
};

constexpr u32 SHARED_DEFAULT = 48 * 1024, SHARED_MOST = 99 * 1024;

using Call = void (*)(const host::Launch &, void **);

template <auto kernel> struct Caller;
template <typename... A, void (*kernel)(A...)> struct Caller<kernel> {
    template <size_t... I> static void apply(const host::Launch &launch, void **values, std::index_sequence<I...>) {
        const std::tuple<A...> arguments{*static_cast<A *>(values[I])...};
        host::run(launch, [&] { std::apply(kernel, arguments); });
    }
    static void call(const host::Launch &launch, void **values) {
        apply(launch, values, std::index_sequence_for<A...>{});
    }
};

#define ENTRY(name) {#name, &Caller<name>::call}
const std::map<std::string, Call> KERNELS = {
    ENTRY(prf_rows), ENTRY(cells), ENTRY(leaves_of_cells), ENTRY(product_leaves), ENTRY(tree_levels),
    ENTRY(fill_items), ENTRY(walk_start), ENTRY(walk_turn),
};

struct Function { Call call; u32 shared_most; };
struct Module { std::string image; std::map<std::string, Function> functions; };
struct Context { int device; };
struct Stream {};
struct Event { std::chrono::steady_clock::time_point at; };
struct Allocation { void *pages; size_t page_bytes, bytes; int device; std::thread::id owner; };

std::mutex lock;
bool initialised = false;
std::map<u64, Allocation> allocations;
// Of the calling thread alone, as are faults: tests of one process do not see each other.
thread_local int live = 0;
// The kernel whose next launch fails, and how.
thread_local std::string faulty_kernel;
thread_local int fault = 0;
thread_local Context *bound = nullptr;

size_t setting(const char *name, size_t otherwise) {
    const char *text = std::getenv(name);
    return text ? std::strtoull(text, nullptr, 10) : otherwise;
}

int devices() { return static_cast<int>(setting("BASILICA_HOST_GPUS", 1)); }
size_t total_memory() { return setting("BASILICA_HOST_GPU_BYTES", size_t{512} << 20); }

size_t used_memory(int device) {
    size_t used = 0;
    for (const auto &[start, allocation] : allocations) used += allocation.device == device ? allocation.bytes : 0;
    return used;
}

// Memory that ends, up to 255 bytes of alignment, where an untouchable page begins.
int allocate(u64 *to, size_t bytes, int device) {
    const size_t page = 4096, rounded = (bytes + 255) / 256 * 256, body = (rounded + page - 1) / page * page;
    void *pages = mmap(nullptr, body + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (pages == MAP_FAILED) return OUT_OF_MEMORY;
    if (mprotect(static_cast<u8 *>(pages) + body, page, PROT_NONE) != 0) return OUT_OF_MEMORY;
    u8 *start = static_cast<u8 *>(pages) + body - rounded;
    std::memset(start, 0xA5, rounded);
    *to = reinterpret_cast<u64>(start);
    allocations[*to] = {pages, body + page, bytes, device, std::this_thread::get_id()};
    live++;
    return SUCCESS;
}

int release(u64 at) {
    const auto found = allocations.find(at);
    if (found == allocations.end()) return INVALID_VALUE;
    munmap(found->second.pages, found->second.page_bytes);
    allocations.erase(found);
    live--;
    return SUCCESS;
}

bool inside(u64 at, size_t bytes) {
    auto next = allocations.upper_bound(at);
    if (next == allocations.begin()) return false;
    const auto &[start, allocation] = *--next;
    return at + bytes <= start + allocation.bytes;
}

const char *name_of(int code) {
    switch (code) {
    case SUCCESS: return "CUDA_SUCCESS";
    case INVALID_VALUE: return "CUDA_ERROR_INVALID_VALUE";
    case OUT_OF_MEMORY: return "CUDA_ERROR_OUT_OF_MEMORY";
    case NOT_INITIALIZED: return "CUDA_ERROR_NOT_INITIALIZED";
    case INVALID_DEVICE: return "CUDA_ERROR_INVALID_DEVICE";
    case INVALID_IMAGE: return "CUDA_ERROR_INVALID_IMAGE";
    case INVALID_CONTEXT: return "CUDA_ERROR_INVALID_CONTEXT";
    case INVALID_PTX: return "CUDA_ERROR_INVALID_PTX";
    case INVALID_HANDLE: return "CUDA_ERROR_INVALID_HANDLE";
    case NOT_FOUND: return "CUDA_ERROR_NOT_FOUND";
    case ILLEGAL_ADDRESS: return "CUDA_ERROR_ILLEGAL_ADDRESS";
    case LAUNCH_FAILED: return "CUDA_ERROR_LAUNCH_FAILED";
    default: return nullptr;
    }
}

} // namespace

#define API extern "C" __attribute__((visibility("default"))) int
#define NEEDS_CONTEXT if (!bound) return INVALID_CONTEXT
#define LOCKED const std::lock_guard<std::mutex> guard(lock)

API cuInit(unsigned flags) { initialised = true; return flags == 0 ? SUCCESS : INVALID_VALUE; }
API cuDriverGetVersion(int *version) { *version = 12080; return SUCCESS; }
API cuGetErrorName(int code, const char **name) { *name = name_of(code); return *name ? SUCCESS : INVALID_VALUE; }
API cuDeviceGetCount(int *count) { *count = devices(); return initialised ? SUCCESS : NOT_INITIALIZED; }
API cuDeviceGet(int *device, int ordinal) { *device = ordinal; return ordinal < devices() ? SUCCESS : INVALID_DEVICE; }
API cuDeviceGetName(char *name, int length, int device) { std::snprintf(name, static_cast<size_t>(length), "Kernels on the host %d", device); return SUCCESS; }
API cuDeviceTotalMem_v2(size_t *bytes, int) { *bytes = total_memory(); return SUCCESS; }
API cuDeviceGetUuid_v2(u8 *uuid, int device) {
    for (int i = 0; i < 16; i++) uuid[i] = static_cast<u8>(0x40 + i);
    uuid[15] = static_cast<u8>(device);
    return SUCCESS;
}
API cuDeviceGetPCIBusId(char *id, int length, int device) { std::snprintf(id, static_cast<size_t>(length), "0000:%02X:00.0", device + 1); return SUCCESS; }
API cuDeviceGetAttribute(int *value, int attribute, int) {
    switch (attribute) {
    case 13: *value = 1'980'000; return SUCCESS;  // clock rate, kHz
    case 16: *value = 2; return SUCCESS;          // multiprocessors
    case 36: *value = 2'619'000; return SUCCESS;  // memory clock, kHz
    case 37: *value = 5'120; return SUCCESS;      // memory bus, bits
    case 38: *value = 50 << 20; return SUCCESS;   // L2 cache
    case 75: *value = 8; return SUCCESS;
    case 76: *value = 0; return SUCCESS;
    case 97: *value = SHARED_MOST; return SUCCESS; // shared memory per block, opt-in
    default: return INVALID_VALUE;
    }
}

API cuCtxCreate_v2(Context **context, unsigned, int device) { *context = new Context{device}; bound = *context; live++; return SUCCESS; }
API cuCtxDestroy_v2(Context *context) { if (bound == context) bound = nullptr; delete context; live--; return SUCCESS; }
API cuCtxSetCurrent(Context *context) { bound = context; return SUCCESS; }
API cuCtxSetLimit(int, size_t) { return bound ? SUCCESS : INVALID_CONTEXT; }
API cuCtxSynchronize() { return bound ? SUCCESS : INVALID_CONTEXT; }

API cuModuleLoadDataEx(Module **module, const void *image, unsigned, int *, void **) {
    NEEDS_CONTEXT;
    const char *text = static_cast<const char *>(image);
    if (!std::strstr(text, ".version 8.7")) return INVALID_PTX;
    *module = new Module{text, {}};
    live++;
    return SUCCESS;
}
API cuModuleUnload(Module *module) { delete module; live--; return SUCCESS; }
API cuModuleGetFunction(Function **function, Module *module, const char *name) {
    const auto found = KERNELS.find(name);
    const bool in_ptx = module->image.find(".entry " + std::string(name) + "(") != std::string::npos;
    if (found == KERNELS.end() || !in_ptx) return NOT_FOUND;
    *function = &(module->functions[name] = {found->second, SHARED_DEFAULT});
    return SUCCESS;
}
API cuFuncSetAttribute(Function *function, int attribute, int value) {
    if (attribute != 8 || value < 0 || static_cast<u32>(value) > SHARED_MOST) return INVALID_VALUE;
    function->shared_most = static_cast<u32>(value);
    return SUCCESS;
}
API cuLaunchKernel(Function *function, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz,
                   unsigned shared, Stream *, void **values, void **) {
    NEEDS_CONTEXT;
    const bool grid = gx > 0 && gx <= 0x7fffffff && gy > 0 && gy <= 65535 && gz == 1;
    const bool block = bx > 0 && bx <= 1024 && bx % 32 == 0 && by == 1 && bz == 1;
    if (!grid || !block || shared > function->shared_most) return INVALID_VALUE;
    const auto faulty = KERNELS.find(faulty_kernel);
    if (fault && faulty != KERNELS.end() && faulty->second == function->call) return std::exchange(fault, 0);
    function->call({{gx, gy, gz}, {bx, by, bz}, shared}, values);
    return SUCCESS;
}

API cuMemGetInfo_v2(size_t *free, size_t *total) {
    NEEDS_CONTEXT;
    LOCKED;
    *total = total_memory();
    const size_t used = used_memory(bound->device);
    *free = used < *total ? *total - used : 0;
    return SUCCESS;
}
API cuMemAlloc_v2(u64 *to, size_t bytes) {
    NEEDS_CONTEXT;
    LOCKED;
    if (bytes == 0) return INVALID_VALUE;
    if (used_memory(bound->device) + bytes > total_memory()) return OUT_OF_MEMORY;
    return allocate(to, bytes, bound->device);
}
API cuMemFree_v2(u64 at) { NEEDS_CONTEXT; LOCKED; return release(at); }
API cuMemHostAlloc(void **to, size_t bytes, unsigned) {
    NEEDS_CONTEXT;
    LOCKED;
    u64 at = 0;
    const int result = bytes ? allocate(&at, bytes, -1) : INVALID_VALUE;
    *to = reinterpret_cast<void *>(at);
    return result;
}
API cuMemFreeHost(void *at) { NEEDS_CONTEXT; LOCKED; return release(reinterpret_cast<u64>(at)); }
API cuMemHostGetDevicePointer_v2(u64 *device, void *at, unsigned) { *device = reinterpret_cast<u64>(at); return bound ? SUCCESS : INVALID_CONTEXT; }
API cuMemcpyHtoD_v2(u64 to, const void *from, size_t bytes) {
    NEEDS_CONTEXT;
    LOCKED;
    if (!inside(to, bytes)) return INVALID_VALUE;
    std::memcpy(reinterpret_cast<void *>(to), from, bytes);
    return SUCCESS;
}
API cuMemcpyDtoH_v2(void *to, u64 from, size_t bytes) {
    NEEDS_CONTEXT;
    LOCKED;
    if (!inside(from, bytes)) return INVALID_VALUE;
    std::memcpy(to, reinterpret_cast<const void *>(from), bytes);
    return SUCCESS;
}
API cuMemcpyDtoD_v2(u64 to, u64 from, size_t bytes) {
    NEEDS_CONTEXT;
    LOCKED;
    if (!inside(from, bytes) || !inside(to, bytes)) return INVALID_VALUE;
    std::memcpy(reinterpret_cast<void *>(to), reinterpret_cast<const void *>(from), bytes);
    return SUCCESS;
}

API cuStreamCreate(Stream **stream, unsigned) { NEEDS_CONTEXT; *stream = new Stream; live++; return SUCCESS; }
API cuStreamDestroy_v2(Stream *stream) { delete stream; live--; return SUCCESS; }
API cuStreamSynchronize(Stream *) { return bound ? SUCCESS : INVALID_CONTEXT; }
API cuEventCreate(Event **event, unsigned) { NEEDS_CONTEXT; *event = new Event; live++; return SUCCESS; }
API cuEventDestroy_v2(Event *event) { delete event; live--; return SUCCESS; }
API cuEventRecord(Event *event, Stream *) { event->at = std::chrono::steady_clock::now(); return SUCCESS; }
API cuEventSynchronize(Event *) { return SUCCESS; }
API cuEventElapsedTime(float *milliseconds, Event *from, Event *to) {
    *milliseconds = std::chrono::duration<float, std::milli>(to->at - from->at).count();
    return SUCCESS;
}

// Not of the driver API: how many objects and allocations are alive, and a launch that is to fail.
API basilica_host_live() { return live; }
API basilica_host_fail(const char *kernel, int code) { faulty_kernel = kernel; fault = code; return SUCCESS; }
// Flips one bit in every 32 bytes of this thread's allocations of this size: memory that has gone bad.
API basilica_host_damage(size_t bytes) {
    LOCKED;
    int damaged = 0;
    for (const auto &[start, allocation] : allocations)
        if (allocation.bytes == bytes && allocation.owner == std::this_thread::get_id()) {
            for (size_t at = 0; at < bytes; at += 32) reinterpret_cast<u8 *>(start)[at] ^= 1;
            damaged++;
        }
    return damaged;
}
