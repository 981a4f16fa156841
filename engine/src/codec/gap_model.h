// Gaps between non-zeros (coder 1), for large sparse layers: the bit width of gap + 1 in unary, then its bits below the
// leading one.
#pragma once
#include <cstdint>

#include "mixing.h"
#include "range.h"
#include "workspace.h"

namespace camfit::codec {

class GapModel {
 public:
  GapModel(const MixTables* tables, Workspace* space) : tables_(tables) {
    width_ = space->take<Counter>(kWidths * kWidths);
    low_ = space->take<Counter>(kWidths * 4);
  }
  void start() {
    for (uint32_t i = 0; i < kWidths * kWidths; ++i) width_[i].set(1u << (kCounterBits - 1), 0);
    for (uint32_t i = 0; i < kWidths * 4; ++i) low_[i].set(1u << (kCounterBits - 1), 0);
    last_ = 0;
  }
  // False when a gap of 2^32 - 1 or more was read.
  template <class Coder>
  bool code(Coder* coder, uint32_t* gap) {
    const uint64_t given = uint64_t{*gap} + 1;  // what the encoder has to write
    uint32_t width = 0;
    while (code_bit(coder, &width_[last_ * kWidths + width], *tables_, given >> (width + 1))) {
      if (++width == kWidths) return false;
    }
    uint64_t value = 1;
    for (uint32_t i = width; i-- > 0;) {
      const bool bit = given >> i & 1;
      // The two bits below the leading one have counters, the rest are taken as even.
      value = 2 * value + (value < 4 ? code_bit(coder, &low_[4 * width + value], *tables_, bit)
                                     : coder->bit(1 << (kProbabilityBits - 1), bit));
    }
    *gap = static_cast<uint32_t>(value - 1);
    last_ = width;
    return true;
  }

 private:
  static constexpr uint32_t kWidths = 32;
  const MixTables* tables_;
  Counter *width_, *low_;
  uint32_t last_ = 0;
};

}  // namespace camfit::codec
