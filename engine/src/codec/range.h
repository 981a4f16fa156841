// The binary range decoder of coder 1, and its adaptive probability (docs/format.md).
#pragma once
#include <cstdint>

#include "payload.h"

namespace camfit::codec {

constexpr uint32_t kProbabilityBits = 16;

class RangeDecoder {
 public:
  static constexpr bool kEncodes = false, kLearnsWeights = false;

  explicit RangeDecoder(const Reader& body) : body_(body) {
    for (int i = 0; i < 4; ++i) shift();
  }
  // The next bit, whose probability to be 1 is `one` / 2^16, 0 < one < 2^16. The argument after it is for the encoder.
  bool bit(uint32_t one, bool = false) {
    const uint32_t bound = (range_ >> kProbabilityBits) * one;
    const bool value = code_ < bound;
    if (value) {
      range_ = bound;
    } else {
      code_ -= bound;
      range_ -= bound;
    }
    while (range_ < 1u << 24) {
      range_ <<= 8;
      shift();
    }
    return value;
  }
  bool overrun() const { return overrun_; }
  bool finished() const { return !overrun_ && body_.left() == 0 && code_ == 0; }

 private:
  void shift() {
    uint8_t next = 0;
    if (!body_.byte(&next)) overrun_ = true;
    code_ = code_ << 8 | next;
  }
  Reader body_;
  uint32_t range_ = 0xffffffffu, code_ = 0;
  bool overrun_ = false;
};

}  // namespace camfit::codec
