// What the coders' writers share.
#pragma once
#include <cstdint>
#include <vector>

#include "encode.h"

namespace camfit::codec {

struct EncodeInput {
  uint32_t rows, columns;
  const int32_t* index;
  uint32_t entries;
  uint32_t nonzeros;
  uint64_t positions() const { return static_cast<uint64_t>(rows) * columns; }
  bool dense() const { return nonzeros == positions(); }
};

class BitWriter {  // what BitReader reads
 public:
  explicit BitWriter(std::vector<uint8_t>* out) : out_(out) {}
  void put(uint32_t value, uint32_t count) {
    while (count--) {
      if (!(at_++ & 7)) out_->push_back(0);
      out_->back() = static_cast<uint8_t>(out_->back() | (value >> count & 1) << (7 - ((at_ - 1) & 7)));
    }
  }
  void align() { at_ = (at_ + 7) & ~uint64_t{7}; }
  uint64_t tell() const { return at_; }

 private:
  std::vector<uint8_t>* out_;
  uint64_t at_ = 0;
};

// The nearest binary16, ties to even. False when there is none: too large, or not a number.
bool float_to_half(float value, uint16_t* half);

// The codebook: by differences where it is ascending, `may_be_ascending` is set and that is smaller. Returns whether it
// was stored so.
bool put_values(const float* codebook, uint32_t entries, bool half, bool may_be_ascending, std::vector<uint8_t>* out);

void put_varint(std::vector<uint8_t>* out, uint32_t value);

// Each appends the coder's own part of the payload and says what positions and codes take of it. range_encode
// and fast_encode return the coder's two bits of the head byte.
void huffman_encode(const EncodeInput& input, const CodebookEncodeOptions& options, std::vector<uint8_t>* out,
                    CodebookSizes* sizes);
uint8_t range_encode(const EncodeInput& input, const CodebookEncodeOptions& options, const float* codebook,
                     std::vector<uint8_t>* out, CodebookSizes* sizes);
uint8_t fast_encode(const EncodeInput& input, std::vector<uint8_t>* out, CodebookSizes* sizes);

}  // namespace camfit::codec
