// Runs a grid of blocks, each block's threads as fibers.
#pragma once
#include <cstdint>
#include <functional>

namespace host {

struct Launch {
    uint32_t grid[3], block[3], shared_bytes;
};

// Runs `thread` once per thread of the launch. Ends the program with a message if the threads of a block deadlock.
void run(const Launch &launch, const std::function<void()> &thread);

} // namespace host
