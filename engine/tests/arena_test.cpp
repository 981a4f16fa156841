// The planner of activation memory: buffers that live together never overlap, and obvious sharing happens.
#include "arena.h"

#include <algorithm>
#include <cstdio>
#include <random>
#include <vector>

#include "checks.h"

namespace {

using camfit::ArenaBuffer;

uint64_t plan(std::vector<ArenaBuffer>& buffers) {
  camfit::Allocator allocator(1 << 24);
  uint64_t total = 0;
  CHECK(plan_arena(buffers.data(), uint32_t(buffers.size()), allocator, &total), "out of memory");
  CHECK(allocator.current() == 0, "%llu bytes kept", static_cast<unsigned long long>(allocator.current()));
  return total;
}

void check_plan(const std::vector<ArenaBuffer>& buffers, uint64_t total) {
  for (size_t i = 0; i < buffers.size(); ++i) {
    const ArenaBuffer& a = buffers[i];
    CHECK(a.offset % camfit::kArenaAlignment == 0, "buffer %zu", i);
    CHECK(a.offset + a.bytes <= total, "buffer %zu", i);
    for (size_t k = 0; k < i; ++k) {
      const ArenaBuffer& b = buffers[k];
      const bool together = a.first <= b.last && b.first <= a.last;
      const bool overlap = a.offset < b.offset + b.bytes && b.offset < a.offset + a.bytes;
      CHECK(!(together && overlap), "buffers %zu and %zu", i, k);
    }
  }
}

// No plan needs less than what lives at the busiest moment.
uint64_t lower_bound(const std::vector<ArenaBuffer>& buffers) {
  uint64_t most = 0;
  for (const ArenaBuffer& at : buffers) {
    uint64_t live = 0;
    for (const ArenaBuffer& other : buffers) {
      if (other.first <= at.first && at.first <= other.last) live += other.bytes;
    }
    most = std::max(most, live);
  }
  return most;
}

void test_random_lifetimes() {
  std::mt19937 random(1);
  for (int round = 0; round < 300; ++round) {
    std::vector<ArenaBuffer> buffers(1 + random() % 40);
    for (ArenaBuffer& buffer : buffers) {
      const uint32_t first = random() % 30, last = first + random() % 8;
      buffer = ArenaBuffer{random() % 5000, first, last, 0};
    }
    const uint64_t total = plan(buffers);
    check_plan(buffers, total);
    CHECK(total >= lower_bound(buffers), "round %d", round);
    CHECK(total <= 2 * lower_bound(buffers), "round %d: %llu", round, static_cast<unsigned long long>(total));
  }
}

void test_chain() {
  // Each value lives until the next has been computed: two at a time.
  std::vector<ArenaBuffer> buffers;
  for (uint32_t i = 0; i < 50; ++i) buffers.push_back({640, i, i + 1, 0});
  CHECK(plan(buffers) == 2 * 640, "a chain");
}

// MobileNet v1 0.25's first values, 96 x 96 pixels: by size alone the third layer's output would lie behind all others.
void test_order() {
  std::vector<ArenaBuffer> buffers = {
      {110592, 0, 1, 0}, {73728, 1, 2, 0}, {73728, 2, 3, 0}, {147456, 3, 4, 0}, {36864, 4, 5, 0}};
  const uint64_t total = plan(buffers);
  check_plan(buffers, total);
  CHECK(total == 73728 + 147456, "%llu", static_cast<unsigned long long>(total));
}

// What networks are like: chains whose sizes shrink and grow, with values that skip some layers.
void test_graphs() {
  std::mt19937 random(2);
  uint64_t worst = 0;
  for (int round = 0; round < 300; ++round) {
    std::vector<ArenaBuffer> buffers;
    const uint32_t length = 5 + random() % 60;
    uint64_t bytes = 64 * (1 + random() % 2000);
    for (uint32_t time = 0; time < length; ++time) {
      const uint32_t skip = random() % 4 ? 1 : 2 + random() % 4;
      buffers.push_back({bytes, time, time + skip, 0});
      if (random() % 3 == 0) bytes = 64 * std::max<uint64_t>(1, bytes / 64 * (1 + random() % 6) / 3);
      bytes = std::min<uint64_t>(bytes, 1 << 20);
    }
    const uint64_t total = plan(buffers), bound = lower_bound(buffers);
    check_plan(buffers, total);
    worst = std::max(worst, 1000 * total / bound);
    CHECK(10 * total <= 11 * bound, "round %d: %llu of %llu bytes", round, static_cast<unsigned long long>(total),
          static_cast<unsigned long long>(bound));
  }
  std::printf("worst graph: %.3f of the bound\n", double(worst) / 1000);
}

void test_smallest_gap() {
  // 640 and 320 bytes are free between longer-lived neighbours; 320 bytes take the smaller gap.
  std::vector<ArenaBuffer> buffers = {{1024, 0, 9, 0}, {640, 0, 3, 0}, {960, 0, 9, 0},
                                      {320, 0, 3, 0},  {900, 0, 9, 0}, {320, 5, 9, 0}};
  const uint64_t total = plan(buffers);
  check_plan(buffers, total);
  CHECK(total == lower_bound(buffers), "%llu", static_cast<unsigned long long>(total));
}

}  // namespace

int main() {
  test_random_lifetimes();
  test_chain();
  test_order();
  test_graphs();
  test_smallest_gap();
  return camfit_test::failures ? 1 : 0;
}
