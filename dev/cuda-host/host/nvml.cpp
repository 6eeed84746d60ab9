// libnvidia-ml.so.1 for tests: the devices of driver.cpp, as NVML would tell of them.
//
// BASILICA_HOST_NVML=... makes it lie: `uuid` gives another UUID, `name` an unprintable name, `endless` a text without
// an end, `place` devices elsewhere, `old` neither clocks nor MIG.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#define API extern "C" __attribute__((visibility("default"))) int

namespace {

enum Result : int { SUCCESS = 0, INVALID_ARGUMENT = 2, NOT_SUPPORTED = 3 };

struct Memory { uint64_t total, free, used; };
struct Pci { char legacy[16]; unsigned domain, bus, device, id, subsystem; char bus_id[32]; };

bool lies(const char *how) {
    const char *text = std::getenv("BASILICA_HOST_NVML");
    return text && std::strcmp(text, how) == 0;
}

unsigned setting(const char *name, unsigned otherwise) {
    const char *text = std::getenv(name);
    return text ? static_cast<unsigned>(std::strtoul(text, nullptr, 10)) : otherwise;
}

unsigned index_of(const void *device) { return static_cast<unsigned>(reinterpret_cast<uintptr_t>(device) - 1); }

} // namespace

API nvmlInit_v2() { return SUCCESS; }
API nvmlShutdown() { return SUCCESS; }
API nvmlSystemGetDriverVersion(char *text, unsigned length) { std::snprintf(text, length, "570.124.06"); return SUCCESS; }
API nvmlDeviceGetCount_v2(unsigned *count) { *count = setting("BASILICA_HOST_GPUS", 1); return SUCCESS; }
API nvmlDeviceGetHandleByIndex_v2(unsigned index, void **device) {
    *device = reinterpret_cast<void *>(uintptr_t{index} + 1);
    return index < setting("BASILICA_HOST_GPUS", 1) ? SUCCESS : INVALID_ARGUMENT;
}
API nvmlDeviceGetName(void *, char *text, unsigned length) {
    std::snprintf(text, length, lies("name") ? "\xff\x01" : "Kernels on the host");
    if (lies("endless")) std::memset(text, 'A', length);
    return SUCCESS;
}
API nvmlDeviceGetUUID(void *device, char *text, unsigned length) {
    std::snprintf(text, length, "GPU-40414243-4445-4647-4849-4a4b4c4d4e%02x", lies("uuid") ? 0xee : index_of(device));
    return SUCCESS;
}
API nvmlDeviceGetMemoryInfo(void *, Memory *memory) {
    const char *text = std::getenv("BASILICA_HOST_GPU_BYTES");
    memory->total = text ? std::strtoull(text, nullptr, 10) : uint64_t{512} << 20;
    memory->free = memory->total;
    memory->used = 0;
    return SUCCESS;
}
API nvmlDeviceGetPciInfo_v3(void *device, Pci *pci) {
    std::memset(pci, 0, sizeof *pci);
    pci->bus = index_of(device) + (lies("place") ? 0x40 : 1);
    pci->id = 0x233010de;
    return SUCCESS;
}
API nvmlDeviceGetMaxClockInfo(void *, int, unsigned *mhz) { *mhz = 1980; return lies("old") ? NOT_SUPPORTED : SUCCESS; }
API nvmlDeviceGetMigMode(void *, unsigned *current, unsigned *pending) {
    *current = *pending = 0;
    return lies("old") ? NOT_SUPPORTED : SUCCESS;
}
