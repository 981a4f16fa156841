// Reads the little-endian numbers of a section and never past its end.
#pragma once
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace camfit {

inline uint16_t load_u16(const uint8_t* at) { return uint16_t(at[0] | at[1] << 8); }
inline uint32_t load_u32(const uint8_t* at) {
  return at[0] | uint32_t(at[1]) << 8 | uint32_t(at[2]) << 16 | uint32_t(at[3]) << 24;
}
inline float load_f32(const uint8_t* at) {
  const uint32_t bits = load_u32(at);
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}
float load_half(const uint8_t* at);  // IEEE binary16

// The first failure sticks: from then on every read gives 0, and `problem` says what was wrong at `position`.
// Callers check `ok()` before they trust what they read, and at least once per loop.
class Cursor {
 public:
  Cursor(const uint8_t* data, size_t size) : data_(data), size_(size) {}

  uint8_t u8();
  uint32_t varint();  // unsigned LEB128, at most 5 bytes, shortest form only
  float f32();
  const uint8_t* bytes(size_t count);  // null on failure

  bool ok() const { return problem_ == nullptr; }
  const char* problem() const { return problem_; }
  size_t position() const { return at_; }
  size_t left() const { return size_ - at_; }

 private:
  bool need(size_t count);

  const uint8_t* data_;
  size_t size_, at_ = 0;
  const char* problem_ = nullptr;
};

}  // namespace camfit
