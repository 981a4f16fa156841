// Places buffers with known lifetimes in one block, so that buffers that never live together share memory.
#pragma once
#include <cstddef>
#include <cstdint>

#include "allocator.h"

namespace camfit {

struct ArenaBuffer {
  uint64_t bytes;
  uint32_t first, last;  // steps during which it is live, both included
  uint64_t offset;       // the answer, a multiple of kArenaAlignment
};

constexpr uint64_t kArenaAlignment = 64;

// Greedy by size (Pisarchyk & Lee 2020): the largest first, each into the smallest gap that holds it between the
// buffers already placed that live at the same time, else at their end. Where that needs more than what lives at the
// busiest moment, other orders are tried, always the same ones. Returns false when out of memory for its lists.
bool plan_arena(ArenaBuffer* buffers, uint32_t count, Allocator& allocator, uint64_t* total_bytes);

}  // namespace camfit
