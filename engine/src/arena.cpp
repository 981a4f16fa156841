#include "arena.h"

#include <algorithm>
#include <cstring>

namespace camfit {

bool plan_arena(ArenaBuffer* buffers, uint32_t count, Allocator& allocator, uint64_t* total_bytes) {
  uint32_t* by_size = allocator.take<uint32_t>(count);
  uint32_t* placed = allocator.take<uint32_t>(count);  // by offset
  if (!by_size || !placed) {
    allocator.give(by_size);
    allocator.give(placed);
    return false;
  }
  for (uint32_t i = 0; i < count; ++i) {
    by_size[i] = i;
    buffers[i].bytes = (buffers[i].bytes + kArenaAlignment - 1) / kArenaAlignment * kArenaAlignment;
  }
  std::sort(by_size, by_size + count, [buffers](uint32_t a, uint32_t b) {
    return buffers[a].bytes != buffers[b].bytes ? buffers[a].bytes > buffers[b].bytes : a < b;
  });

  uint64_t total = 0;
  for (uint32_t n = 0; n < count; ++n) {
    ArenaBuffer& buffer = buffers[by_size[n]];
    uint64_t gap_begin = 0, best = UINT64_MAX, best_size = UINT64_MAX;
    for (uint32_t k = 0; k < n; ++k) {
      const ArenaBuffer& other = buffers[placed[k]];
      if (other.last < buffer.first || buffer.last < other.first) continue;
      if (other.offset > gap_begin) {
        const uint64_t gap = other.offset - gap_begin;
        if (gap >= buffer.bytes && gap < best_size) {
          best = gap_begin;
          best_size = gap;
        }
      }
      gap_begin = std::max(gap_begin, other.offset + other.bytes);
    }
    buffer.offset = best != UINT64_MAX ? best : gap_begin;
    total = std::max(total, buffer.offset + buffer.bytes);
    uint32_t* position = std::upper_bound(placed, placed + n, buffer.offset, [buffers](uint64_t offset, uint32_t b) {
      return offset < buffers[b].offset;
    });
    std::memmove(position + 1, position, size_t(placed + n - position) * sizeof *placed);
    *position = by_size[n];
  }
  *total_bytes = total;
  allocator.give(by_size);
  allocator.give(placed);
  return true;
}

}  // namespace camfit
