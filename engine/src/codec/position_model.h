// Which positions are non-zero, one bit per position (coder 1). Two contexts: how dense column and row have been, and
// which neighbours in the row - one and two back, one and two periods back - are non-zero.
#pragma once
#include <cstdint>
#include <cstring>

#include "mixing.h"
#include "payload.h"
#include "workspace.h"

namespace camfit::codec {

class PositionModel {
 public:
  PositionModel(const Payload& payload, uint32_t period, const MixTables* tables, Workspace* space)
      : tables_(tables), columns_(payload.columns), period_(period) {
    count_ = space->take<uint32_t>(columns_);
    class_ = space->take<uint8_t>(columns_);
    pattern_ = space->take<uint8_t>(pattern_size());
    density_counter_ = space->take<Counter>(kClasses * kClasses);
    pattern_counter_ = space->take<Counter>(kClasses * kPatterns);
  }

  // weight: of the two contexts, in 1/128.
  void start(const Payload& payload, const uint8_t weight[2]) {
    weight_[0] = weight[0];
    weight_[1] = weight[1];
    const uint64_t positions = static_cast<uint64_t>(payload.rows) * payload.columns;
    density_ = static_cast<uint32_t>((static_cast<uint64_t>(payload.nonzeros) << 16) / positions);
    if (density_ == 0) density_ = 1;
    std::memset(count_, 0, sizeof(uint32_t) * columns_);
    std::memset(class_, kFirstClass, columns_);
    const uint32_t p = density_ < 65535 ? density_ << 6 : 65535u << 6;
    for (uint32_t i = 0; i < kClasses * kClasses; ++i) density_counter_[i].set(p, kFirstObservations);
    for (uint32_t i = 0; i < kClasses * kPatterns; ++i) pattern_counter_[i].set(p, kFirstObservations);
    learning_.set(kFirstWeight);
    row_ = 0;
  }

  void next_row() {
    std::memset(pattern_, 0, pattern_size());
    for (uint32_t k = 1; k < kClasses; ++k) {
      const int64_t least = least_count(k, row_, kColumnPrior);
      column_threshold_[k] = least < 0 ? 0 : least > UINT32_MAX ? UINT32_MAX : static_cast<uint32_t>(least);
    }
    ++row_;
    row_count_ = 0;
    row_class_ = kFirstClass;
    set_row_drop();
  }

  // Decodes up to the next non-zero of the row, from `column` on; the number of columns when there is none.
  template <class Decoder>
  uint32_t next_nonzero(Decoder* decoder, uint32_t column) {
    Decoder local = *decoder;  // a copy that nothing else can see, so that it lives in registers
    while (column < columns_ && !nonzero(&local, column, false)) ++column;
    *decoder = local;
    return column;
  }

  // To be called for the columns 0, 1, ... of the row.
  template <class Coder>
  bool nonzero(Coder* coder, uint32_t column, bool value) {
    uint32_t k = class_[column];
    if (count_[column] < column_threshold_[k]) {
      do --k;
      while (count_[column] < column_threshold_[k]);
      class_[column] = static_cast<uint8_t>(k);
    }
    while (column >= row_drop_) {
      --row_class_;
      set_row_drop();
    }
    Counter* const counters[2] = {&density_counter_[row_class_ * kClasses + k],
                                  &pattern_counter_[pattern_[column] * kClasses + k]};
    if (Coder::kLearnsWeights) {
      value = learning_.code(coder, counters, kLearningShift, *tables_, value);
    } else {
      const int32_t sum = weight_[0] * counters[0]->log_odds(*tables_) + weight_[1] * counters[1]->log_odds(*tables_);
      value = coder->bit(tables_->probability16(sum >> 7), value);
      if (!value) {  // said separately, because it is the usual case
        counters[0]->update(false, *tables_);
        counters[1]->update(false, *tables_);
        return false;
      }
      counters[0]->update(true, *tables_);
      counters[1]->update(true, *tables_);
    }
    if (value) note(column);
    return value;
  }

  void learnt_weights(uint8_t weight[2]) const {
    for (int i = 0; i < 2; ++i) {
      const int32_t w = (learning_.weight(i) + 256) >> 9;
      weight[i] = static_cast<uint8_t>(w < 0 ? 0 : w > 255 ? 255 : w);
    }
  }

 private:
  static constexpr uint32_t kClasses = 9, kFirstClass = 3, kPatterns = 36;
  static constexpr uint32_t kColumnPrior = 12, kRowPrior = 40, kFirstObservations = 3;
  static constexpr int32_t kFirstWeight = 38000;
  static constexpr int kLearningShift = 17;
  static constexpr uint16_t kStep[kClasses] = {0, 25, 40, 64, 102, 161, 256, 406, 645};

  size_t pattern_size() const { return size_t{columns_} + 2 * size_t{period_} + 1; }

  // Class k begins where the density seen, with `prior` positions of the layer's own density added, is 2^((k-3)*2/3)
  // times the layer's: count * 2^22 >= (step * (seen + prior) - 64 * prior) * density.
  int64_t scaled_threshold(uint32_t k, uint64_t seen, uint32_t prior) const {
    return (static_cast<int64_t>(kStep[k] * (seen + prior)) - 64 * static_cast<int64_t>(prior)) * density_;
  }
  int64_t least_count(uint32_t k, uint64_t seen, uint32_t prior) const {
    return (scaled_threshold(k, seen, prior) + (1 << 22) - 1) >> 22;
  }
  // The first column at which the row falls below its class.
  void set_row_drop() {
    row_drop_ = UINT64_MAX;
    if (row_class_ == 0) return;
    const uint64_t reach = ((static_cast<uint64_t>(row_count_) << 22) / density_ + 64 * kRowPrior) / kStep[row_class_];
    row_drop_ = reach + 1 - kRowPrior;
  }
  void note(uint32_t column) {
    uint32_t k = class_[column];
    ++count_[column];
    while (k + 1 < kClasses && count_[column] >= column_threshold_[k + 1]) ++k;
    class_[column] = static_cast<uint8_t>(k);
    ++row_count_;
    while (row_class_ + 1 < kClasses &&
           static_cast<int64_t>(row_count_) << 22 >=
               scaled_threshold(row_class_ + 1, uint64_t{column} + 1, kRowPrior)) {
      ++row_class_;
    }
    set_row_drop();
    uint8_t* at = pattern_ + column;
    at[1] = static_cast<uint8_t>(at[1] + 3);
    at[2] = static_cast<uint8_t>(at[2] + 1);
    at[period_] = static_cast<uint8_t>(at[period_] + 6);
    at[period_ - 1] = static_cast<uint8_t>(at[period_ - 1] + 12);
    at[period_ + 1] = static_cast<uint8_t>(at[period_ + 1] + 12);
    at[2 * size_t{period_}] = static_cast<uint8_t>(at[2 * size_t{period_}] + 1);
  }

  const MixTables* tables_;
  uint32_t columns_, period_;
  uint32_t* count_;   // non-zeros of each column so far
  uint8_t* class_;    // density class of each column; may be too high until the column is visited
  uint8_t* pattern_;  // of each column of this row and 2 periods beyond: sum over its non-zero neighbours
  Counter* density_counter_;
  Counter* pattern_counter_;
  int32_t weight_[2] = {0, 0};
  Mixer<2> learning_;
  uint32_t density_ = 1;  // of the layer, * 2^16
  uint32_t column_threshold_[kClasses] = {};
  uint64_t row_ = 0, row_drop_ = 0;
  uint32_t row_count_ = 0, row_class_ = 0;
};

}  // namespace camfit::codec
