// Adaptive probabilities and their logistic mixing, in integers (docs/format.md, "Coder 1").
#pragma once
#include <cstddef>
#include <cstdint>

namespace camfit::codec {

constexpr int32_t kLogOddsMax = 2047;     // log-odds are in units of 1/256
constexpr uint32_t kCounterBits = 22;     // of a counter's probability
constexpr uint32_t kCounterLimit = 1023;  // of a counter's number of observations

// The tables of one decoding, in the caller's work space.
struct MixTables {
  uint16_t squash[2 * (kLogOddsMax + 1)];  // log-odds + 2048 -> probability * 2^16
  int16_t stretch[4096];                   // probability * 2^12 -> log-odds
  uint16_t rate[kCounterLimit + 1];        // observations -> step * 2^16

  void build();
  uint32_t probability16(int64_t log_odds) const {
    if (log_odds > kLogOddsMax) log_odds = kLogOddsMax;
    if (log_odds < -kLogOddsMax) log_odds = -kLogOddsMax;
    return squash[log_odds + kLogOddsMax + 1];
  }
};

// Probability of a 1, estimated from the bits seen: a mean whose step falls as 1/(n + 1.5).
class Counter {
 public:
  void set(uint32_t probability22, uint32_t observations) { state_ = probability22 << 10 | observations; }
  int32_t log_odds(const MixTables& tables) const { return tables.stretch[state_ >> 20]; }
  uint32_t probability16() const {  // kept away from 0 and 1
    const uint32_t p = state_ >> 16;
    return p < 32 ? 32 : p > 65504 ? 65504 : p;
  }
  void update(bool bit, const MixTables& tables) {
    const int32_t p = static_cast<int32_t>(state_ >> 10), target = bit ? (1 << kCounterBits) - 1 : 0;
    const uint32_t n = state_ & kCounterLimit;
    const int32_t step = static_cast<int32_t>((static_cast<int64_t>(target - p) * tables.rate[n]) >> 16);
    state_ = static_cast<uint32_t>(p + step) << 10 | (n < kCounterLimit ? n + 1 : n);
  }

 private:
  uint32_t state_;
};

// Codes a bit by one counter alone.
template <class Coder>
bool code_bit(Coder* coder, Counter* counter, const MixTables& tables, bool value) {
  value = coder->bit(counter->probability16(), value);
  counter->update(value, tables);
  return value;
}

// Adds the log-odds of N counters by learnt weights and codes a bit by the sum; counters and weights learn from it.
template <int N>
class Mixer {
 public:
  void set(int32_t weight16) {
    for (int32_t& w : weight_) w = weight16;
  }
  int32_t weight(int i) const { return weight_[i]; }

  template <class Coder>
  bool code(Coder* coder, Counter* const (&counters)[N], int rate_shift, const MixTables& tables, bool value) {
    int32_t odds[N];
    int64_t sum = 0;
    for (int i = 0; i < N; ++i) {
      odds[i] = counters[i]->log_odds(tables);
      sum += static_cast<int64_t>(weight_[i]) * odds[i];
    }
    const int32_t p = static_cast<int32_t>(tables.probability16(sum >> 16));
    value = coder->bit(static_cast<uint32_t>(p), value);
    const int32_t error = (value ? 65536 : 0) - p;
    for (int i = 0; i < N; ++i) {
      const int32_t w = weight_[i] + ((error * odds[i]) >> rate_shift);
      weight_[i] = w > kWeightMax ? kWeightMax : w < -kWeightMax ? -kWeightMax : w;
      counters[i]->update(value, tables);
    }
    return value;
  }

 private:
  static constexpr int32_t kWeightMax = 1 << 20;
  int32_t weight_[N];
};

}  // namespace camfit::codec
