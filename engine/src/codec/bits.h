// Bits of a byte string, most significant first.
#pragma once
#include <cstddef>
#include <cstdint>

namespace camfit::codec {

inline uint32_t bit_width(uint64_t value) {  // bits that `value` needs; 0 for 0
  uint32_t width = 0;
  while (value) {
    ++width;
    value >>= 1;
  }
  return width;
}

// Past the end it reads zeros and remembers that it did.
class BitReader {
 public:
  BitReader(const uint8_t* data, const uint8_t* end) : data_(data), bits_(8 * static_cast<uint64_t>(end - data)) {}

  uint32_t peek() const {  // the next 24 bits or more, at the top of the word
    const size_t first = static_cast<size_t>(at_ >> 3), size = static_cast<size_t>(bits_ >> 3);
    uint32_t word = 0;
    for (size_t i = 0; i < 4; ++i) word = word << 8 | (first + i < size ? data_[first + i] : 0u);
    return word << (at_ & 7);
  }
  void skip(uint32_t count) { at_ += count; }
  uint32_t take(uint32_t count) {  // count <= 24
    const uint32_t value = count ? peek() >> (32 - count) : 0;
    at_ += count;
    return value;
  }
  bool overrun() const { return at_ > bits_; }
  uint64_t tell() const { return at_; }
  void seek(uint64_t at) { at_ = at; }
  bool align() {  // to the next byte; false unless the bits jumped over are there and 0
    const uint32_t pad = static_cast<uint32_t>(-at_ & 7);
    return take(pad) == 0 && !overrun();
  }
  bool finished() { return align() && at_ == bits_; }

 private:
  const uint8_t* data_;
  uint64_t bits_, at_ = 0;
};

}  // namespace camfit::codec
