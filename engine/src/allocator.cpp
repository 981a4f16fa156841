#include "allocator.h"

#include <cstdlib>

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace camfit {
namespace {

constexpr uint64_t kAlignment = 64;

// Asks for huge pages: the first touch of 4 KiB pages takes longer than decoding what is written there, and a layer's
// weights then need few entries of the address cache. A request only; it may fail.
void prefer_huge_pages(void* memory, uint64_t bytes) {
#if defined(__linux__)
  constexpr uintptr_t kPage = uintptr_t(1) << 21;
  const uintptr_t begin = (reinterpret_cast<uintptr_t>(memory) + kPage - 1) & ~(kPage - 1);
  const uintptr_t end = (reinterpret_cast<uintptr_t>(memory) + uintptr_t(bytes)) & ~(kPage - 1);
  if (begin < end) madvise(reinterpret_cast<void*>(begin), end - begin, MADV_HUGEPAGE);
#else
  (void)memory;
  (void)bytes;
#endif
}

}  // namespace

// Sits right before the memory it describes.
struct alignas(kAlignment) Allocator::Block {
  Block* previous;
  Block* next;
  void* raw;       // what malloc gave
  uint64_t bytes;  // what was asked of malloc
};

void Allocator::refuse(uint64_t count, uint64_t size) {
  refused_ = count > UINT64_MAX / size ? UINT64_MAX : count * size;
}

void* Allocator::take_bytes(uint64_t wanted) {
  const uint64_t bytes = wanted + sizeof(Block) + kAlignment - 1;  // `wanted` is within the limit, so no overflow
  if (bytes > limit_ - current_ || bytes > SIZE_MAX) {
    refused_ = wanted;
    return nullptr;
  }
  void* raw = std::malloc(size_t(bytes));
  if (!raw) {
    refused_ = wanted;
    return nullptr;
  }
  prefer_huge_pages(raw, bytes);
  const uintptr_t aligned = (reinterpret_cast<uintptr_t>(raw) + kAlignment - 1) & ~uintptr_t(kAlignment - 1);
  Block* block = reinterpret_cast<Block*>(aligned);
  block->previous = nullptr;
  block->next = first_;
  block->raw = raw;
  block->bytes = bytes;
  if (first_) first_->previous = block;
  first_ = block;
  current_ += bytes;
  if (current_ > peak_) peak_ = current_;
  return block + 1;
}

void Allocator::give(void* memory) {
  if (!memory) return;
  Block* block = static_cast<Block*>(memory) - 1;
  if (block->previous) block->previous->next = block->next;
  if (block->next) block->next->previous = block->previous;
  if (first_ == block) first_ = block->next;
  current_ -= block->bytes;
  std::free(block->raw);
}

void Allocator::release_all() {
  while (first_) give(first_ + 1);
}

}  // namespace camfit
