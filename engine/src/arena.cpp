#include "arena.h"

#include <algorithm>
#include <cstring>

namespace camfit {
namespace {

constexpr uint32_t kMostSearched = 1024;      // buffers; more are placed once
constexpr uint64_t kSearch = uint64_t(1) << 23;  // pairs of buffers that the search may look at: some milliseconds

// What lives together at the busiest moment: a buffer's first one.
uint64_t lower_bound(const ArenaBuffer* buffers, uint32_t count, uint32_t* busiest) {
  uint64_t most = 0;
  for (uint32_t i = 0; i < count; ++i) {
    uint64_t live = 0;
    for (uint32_t k = 0; k < count; ++k) {
      if (buffers[k].first <= buffers[i].first && buffers[i].first <= buffers[k].last) live += buffers[k].bytes;
    }
    if (live <= most) continue;
    most = live;
    *busiest = buffers[i].first;
  }
  return most;
}

// Each buffer, in this order, into the smallest gap that holds it. `placed` is work space. Returns the bytes needed.
uint64_t place(ArenaBuffer* buffers, const uint32_t* order, uint32_t count, uint32_t* placed) {
  uint64_t total = 0;
  for (uint32_t n = 0; n < count; ++n) {
    ArenaBuffer& buffer = buffers[order[n]];
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
    *position = order[n];
  }
  return total;
}

uint32_t distance(const ArenaBuffer& buffer, uint32_t time) {
  return time < buffer.first ? buffer.first - time : time > buffer.last ? time - buffer.last : 0;
}

// A second order, then small changes to the better one, kept where they cost nothing: the buffer that ends the arena goes
// to an earlier place, or any buffer to any place. Leaves in `order` what gave the least bytes.
void search(ArenaBuffer* buffers, uint32_t count, uint64_t total, uint32_t* order, uint32_t* trial, uint32_t* placed) {
  uint32_t busiest = 0;
  const uint64_t bound = lower_bound(buffers, count, &busiest);
  const size_t bytes = count * sizeof *order;
  uint64_t tries = kSearch / (uint64_t(count) * count + 1);
  uint32_t random = 1;
  for (bool first = true; total > bound && tries > 0; --tries, first = false) {
    std::memcpy(trial, order, bytes);
    if (first) {  // outwards from the busiest moment, so that its buffers lie without gaps
      std::sort(trial, trial + count, [buffers, busiest](uint32_t a, uint32_t b) {
        const uint32_t of_a = distance(buffers[a], busiest), of_b = distance(buffers[b], busiest);
        if (of_a != of_b) return of_a < of_b;
        return buffers[a].bytes != buffers[b].bytes ? buffers[a].bytes > buffers[b].bytes : a < b;
      });
    } else {
      // In every other try any buffer goes to any place.
      random = random * 1664525u + 1013904223u;
      uint32_t at = tries % 2 ? 0 : uint32_t(uint64_t(random) * count >> 32);
      for (uint32_t n = 0; n < count && tries % 2; ++n) {
        if (buffers[trial[n]].offset + buffers[trial[n]].bytes >= total) at = n;
      }
      random = random * 1664525u + 1013904223u;
      const uint32_t to = uint32_t(uint64_t(random) * (tries % 2 ? at + 1 : count) >> 32);
      if (to <= at) {
        std::rotate(trial + to, trial + at, trial + at + 1);
      } else {
        std::rotate(trial + at, trial + at + 1, trial + to + 1);
      }
    }
    const uint64_t found = place(buffers, trial, count, placed);
    if (found > total) {
      place(buffers, order, count, placed);  // the offsets of the order that is kept
      continue;
    }
    total = found;
    std::memcpy(order, trial, bytes);
  }
}

}  // namespace

bool plan_arena(ArenaBuffer* buffers, uint32_t count, Allocator& allocator, uint64_t* total_bytes) {
  uint32_t* order = allocator.take<uint32_t>(count);
  uint32_t* trial = allocator.take<uint32_t>(count);
  uint32_t* placed = allocator.take<uint32_t>(count);  // by offset
  const bool room = order && trial && placed;
  if (room) {
    for (uint32_t i = 0; i < count; ++i) {
      order[i] = i;
      buffers[i].bytes = (buffers[i].bytes + kArenaAlignment - 1) / kArenaAlignment * kArenaAlignment;
    }
    std::sort(order, order + count, [buffers](uint32_t a, uint32_t b) {
      return buffers[a].bytes != buffers[b].bytes ? buffers[a].bytes > buffers[b].bytes : a < b;
    });
    *total_bytes = place(buffers, order, count, placed);
    if (count <= kMostSearched) {
      search(buffers, count, *total_bytes, order, trial, placed);
      *total_bytes = place(buffers, order, count, placed);
    }
  }
  allocator.give(order);
  allocator.give(trial);
  allocator.give(placed);
  return room;
}

}  // namespace camfit
