// Which code each non-zero has (coder 1): the bits of the code from the top, each predicted from three contexts - how
// large the row's weights have been, the weighted sum of the neighbours' values, and the last code with two signs.
#pragma once
#include <cstdint>
#include <cstring>

#include "mixing.h"
#include "payload.h"
#include "workspace.h"

namespace camfit::codec {

class CodeModel {
 public:
  CodeModel(const Payload& payload, uint32_t period, const MixTables* tables, Workspace* space)
      : tables_(tables), columns_(payload.columns), period_(period), entries_(payload.entries) {
    while ((1u << bits_) < entries_) ++bits_;
    leaves_ = 1u << bits_;
    top_ = leaves_ < kMixedNodes ? leaves_ : kMixedNodes;
    level_ = space->take<int16_t>(entries_);
    line_ = space->take<int16_t>(line_size());
    magnitude_ = space->take<Counter>(size_t{kMagnitudes} * top_);
    around_ = space->take<Counter>(size_t{kArounds} * top_);
    recent_ = space->take<Counter>(size_t{kRecents} * top_);
    deep_ = space->take<Counter>(leaves_);
  }

  // plain: every bit by the magnitude context alone, which is faster.
  void start(const float* codebook, bool plain) {
    plain_ = plain;
    set_levels(codebook);
    set_all(magnitude_, kMagnitudes * top_);
    set_all(around_, kArounds * top_);
    set_all(recent_, kRecents * top_);
    set_all(deep_, leaves_);
    for (Mixer<3>& mixer : mixer_) mixer.set(kFirstWeight);
  }

  void next_row() {
    std::memset(line_, 0, sizeof(int16_t) * line_size());
    row_sum_ = row_count_ = 0;
    recent_code_ = 0;
    mean16_ = static_cast<uint32_t>(total_sum_ * 16 / total_count_);
  }

  // The code at a column to the right of the last one. `value` is for the encoder.
  template <class Coder>
  uint32_t code(Coder* coder, uint32_t column, uint32_t value) {
    int16_t* at = line_ + 2 * size_t{period_} + column;
    Counter* magnitude = magnitude_ + size_t{magnitude_context()} * top_;
    Counter* around = around_ + size_t{around_context(at)} * top_;
    const uint32_t signs = sign(at[-1]) + 3 * sign(*(at - period_));
    Counter* recent = recent_ + size_t{signs * 9 + recent_code_} * top_;
    uint32_t node = 1;
    for (uint32_t i = bits_; i-- > 0;) {
      bool bit = value >> i & 1;
      if (((2 * node + 1) << i) - leaves_ >= entries_) {
        bit = false;  // no code begins with a 1 here
      } else if (node >= top_) {
        bit = code_bit(coder, &deep_[node], *tables_, bit);
      } else if (plain_) {
        bit = code_bit(coder, &magnitude[node], *tables_, bit);
      } else {
        Counter* const counters[3] = {&magnitude[node], &around[node], &recent[node]};
        bit = mixer_[bits_ - 1 - i].code(coder, counters, kLearningShift, *tables_, bit);
      }
      node = 2 * node + bit;
    }
    const uint32_t code = node - leaves_;
    note(at, code);
    return code;
  }

 private:
  static constexpr uint32_t kMixedBits = 6, kMixedNodes = 1 << kMixedBits;  // deeper bits have one counter each
  static constexpr uint32_t kMagnitudes = 8, kArounds = 13, kRecents = 81, kFirstObservations = 1;
  static constexpr int32_t kFirstWeight = 30000;
  static constexpr int kLearningShift = 15;

  size_t line_size() const { return size_t{columns_} + 2 * size_t{period_}; }
  static uint32_t sign(int32_t level) { return level == 0 ? 0 : level < 0 ? 1 : 2; }

  static void set_all(Counter* counters, size_t count) {
    for (size_t i = 0; i < count; ++i) counters[i].set(1u << (kCounterBits - 1), kFirstObservations);
  }

  // The level of a code is its value on a scale where the largest exponent gives 128..255; never 0.
  void set_levels(const float* codebook) {
    uint32_t largest = 0;
    for (uint32_t k = 0; k < entries_; ++k) {
      const uint32_t exponent = bits_of(codebook[k]) >> 23 & 255;
      if (exponent > largest) largest = exponent;
    }
    total_sum_ = 0;
    total_count_ = entries_;
    for (uint32_t k = 0; k < entries_; ++k) {
      const uint32_t bits = bits_of(codebook[k]), shift = 16 + largest - (bits >> 23 & 255);
      uint32_t size = shift < 24 ? (0x800000 | (bits & 0x7fffff)) >> shift : 0;
      if (size == 0) size = 1;
      total_sum_ += size;
      level_[k] = static_cast<int16_t>(bits >> 31 ? -static_cast<int32_t>(size) : static_cast<int32_t>(size));
    }
  }
  static uint32_t bits_of(float value) {
    uint32_t bits;
    std::memcpy(&bits, &value, 4);
    return bits;
  }

  // How many steps of about 12 % the row's mean size lies above 2/3 of the layer's.
  uint32_t magnitude_context() const {
    static constexpr uint8_t kStep[kMagnitudes - 1] = {43, 48, 54, 60, 68, 76, 85};
    const uint64_t sum = 16 * row_sum_ + 4 * uint64_t{mean16_}, expected = (row_count_ + 4) * mean16_;
    uint32_t k = 0;
    while (k < kMagnitudes - 1 && 64 * sum >= kStep[k] * expected) ++k;
    return k;
  }
  uint32_t around_context(const int16_t* at) const {
    const int16_t* period = at - period_;
    const int32_t sum = 4 * (at[-1] + period[0]) + 3 * (period[1] + period[-1]) + 2 * (at[-2] + *(period - period_));
    const int32_t shifted = 8 * sum + static_cast<int32_t>(6 * mean16_ + mean16_ / 2);
    const uint32_t k = shifted < 0 ? 0 : static_cast<uint32_t>(shifted) / mean16_;
    return k < kArounds ? k : kArounds - 1;
  }
  void note(int16_t* at, uint32_t code) {
    const int32_t level = level_[code];
    const uint32_t size = static_cast<uint32_t>(level < 0 ? -level : level);
    *at = static_cast<int16_t>(level);
    row_sum_ += size;
    row_count_ += 1;
    total_sum_ += size;
    total_count_ += 1;
    recent_code_ = 1 + (code >> (bits_ > 3 ? bits_ - 3 : 0));
  }

  const MixTables* tables_;
  uint32_t columns_, period_, entries_, bits_ = 0, leaves_, top_;
  bool plain_ = false;
  int16_t* level_;  // of each code
  int16_t* line_;   // levels of this row after 2 periods of zeros; 0 where pruned or not yet known
  Counter *magnitude_, *around_, *recent_, *deep_;
  Mixer<3> mixer_[kMixedBits];
  uint64_t row_sum_ = 0, row_count_ = 0, total_sum_ = 0, total_count_ = 1;
  uint32_t mean16_ = 16;       // of the sizes so far, the codebook's entries included, * 16
  uint32_t recent_code_ = 0;   // 1 + the top 3 bits of the row's last code; 0 before the first
};

}  // namespace camfit::codec
