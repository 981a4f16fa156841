// The binary range encoder of coder 1: writes what RangeDecoder reads.
#pragma once
#include <cmath>
#include <cstdint>
#include <vector>

#include "range.h"

namespace camfit::codec {

class RangeEncoder {
 public:
  static constexpr bool kEncodes = true, kLearnsWeights = false;

  explicit RangeEncoder(std::vector<uint8_t>* out) : out_(out) {}

  bool bit(uint32_t one, bool value) {
    const uint32_t bound = (range_ >> kProbabilityBits) * one;
    if (value) {
      range_ = bound;
    } else {
      low_ += bound;
      range_ -= bound;
    }
    while (range_ < 1u << 24) {
      range_ <<= 8;
      shift();
    }
    return value;
  }
  void finish() {
    for (int i = 0; i < 5; ++i) shift();
  }

 private:
  // Moves the top byte of `low` out. A byte waits, with the 0xff that follow it, until no carry can reach it any more.
  void shift() {
    if (low_ < 0xff000000u || low_ > 0xffffffffu) {
      const uint8_t carry = static_cast<uint8_t>(low_ >> 32);
      for (; waiting_; --waiting_) {
        if (started_) out_->push_back(static_cast<uint8_t>(first_ + carry));
        started_ = true;  // the byte before the first one is always 0 and is not stored
        first_ = 0xff;
      }
      first_ = static_cast<uint8_t>(low_ >> 24);
    }
    ++waiting_;
    low_ = (low_ & 0x00ffffffu) << 8;
  }
  std::vector<uint8_t>* out_;
  uint64_t low_ = 0;
  uint32_t range_ = 0xffffffffu;
  uint8_t first_ = 0;
  uint64_t waiting_ = 1;
  bool started_ = false;
};

// Writes nothing, counts bits, and has the position model learn its weights.
class RateMeter {
 public:
  static constexpr bool kEncodes = true, kLearnsWeights = true;

  RateMeter() : cost_(size_t{1} << kCostBits) {
    for (size_t i = 0; i < cost_.size(); ++i) {
      cost_[i] = static_cast<uint32_t>(std::lround(-65536 * std::log2((i + 0.5) / cost_.size())));
    }
  }
  bool bit(uint32_t one, bool value) {
    bits16_ += cost_[(value ? one : 65536 - one) >> (kProbabilityBits - kCostBits)];
    return value;
  }
  uint64_t bits16() const { return bits16_; }  // bits * 2^16

 private:
  static constexpr uint32_t kCostBits = 12;
  std::vector<uint32_t> cost_;
  uint64_t bits16_ = 0;
};

}  // namespace camfit::codec
