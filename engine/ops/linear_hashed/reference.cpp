// HashedNets (Chen et al., 2015): weight (i, j) is xi(i, j) * bucket[h(i, j)], as in docs/format.md.
#include "../plain.h"
#include "xxh32.h"

namespace camfit {
namespace plain {
namespace {

uint32_t xxh32(uint32_t seed, uint32_t row, uint32_t column) {
  return xxh32_finish(xxh32_mix(xxh32_mix(xxh32_start(seed), row), column));
}

float hashed_weight(const HashedRows& weights, uint32_t row, uint32_t column) {
  const uint32_t hash = xxh32(weights.seed, row, column);
  const uint32_t index = uint32_t((uint64_t(hash) * weights.buckets) >> 32);
  const bool positive = (weights.one_hash ? hash : xxh32(weights.seed + 1, row, column)) & 1;
  return positive ? weights.bucket[index] : -weights.bucket[index];
}

}  // namespace

void linear_hashed(const HashedRows& weights, const float* in, const Epilogue& epilogue, float* out, Range rows) {
  for (int row = rows.begin; row < rows.end; ++row) {
    float sum = 0.0f;
    for (uint32_t j = 0; j < weights.columns; ++j) sum += hashed_weight(weights, uint32_t(row), j) * in[j];
    out[row] = finish(sum, epilogue, row);
  }
}

void hashed_row(const HashedRows& weights, uint32_t row, Range columns, float* out) {
  for (int j = columns.begin; j < columns.end; ++j) *out++ = hashed_weight(weights, row, uint32_t(j));
}

}  // namespace plain
}  // namespace camfit
