// The one way the engine obtains memory: malloc behind a counter and a limit. It owns every block, so that a load that
// fails half way releases everything by releasing the allocator.
#pragma once
#include <cstddef>
#include <cstdint>

namespace camfit {

class Allocator {
 public:
  explicit Allocator(uint64_t limit) : limit_(limit) {}
  ~Allocator() { release_all(); }
  Allocator(const Allocator&) = delete;
  Allocator& operator=(const Allocator&) = delete;

  // `count` objects of T (trivial types only), 64-byte aligned and not initialised; null when the limit or malloc
  // refuses. A count of 0 gives a valid pointer.
  template <class T>
  T* take(uint64_t count) {
    if (count > limit_ / sizeof(T)) return refuse(count, sizeof(T)), nullptr;
    return static_cast<T*>(take_bytes(count * sizeof(T)));
  }
  // Releases one block; null is allowed.
  void give(void* block);
  void release_all();

  uint64_t current() const { return current_; }
  uint64_t peak() const { return peak_; }
  uint64_t limit() const { return limit_; }
  uint64_t refused() const { return refused_; }  // bytes of the latest request that was refused

 private:
  struct Block;
  void* take_bytes(uint64_t bytes);
  void refuse(uint64_t count, uint64_t size);

  Block* first_ = nullptr;
  uint64_t limit_, current_ = 0, peak_ = 0, refused_ = 0;
};

}  // namespace camfit
