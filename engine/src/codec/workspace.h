// The caller's work space, handed out piece by piece. Without memory it only counts what would be needed.
#pragma once
#include <cstddef>
#include <cstdint>

namespace camfit::codec {

class Workspace {
 public:
  explicit Workspace(void* memory) : memory_(static_cast<uint8_t*>(memory)) {}
  template <class T>
  T* take(size_t count) {
    T* piece = memory_ ? reinterpret_cast<T*>(memory_ + used_) : nullptr;
    used_ += (count * sizeof(T) + 7) & ~size_t{7};
    return piece;
  }
  size_t used() const { return used_; }

 private:
  uint8_t* memory_;
  size_t used_ = 0;
};

}  // namespace camfit::codec
