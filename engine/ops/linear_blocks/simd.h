// A block's rows are the lanes of a vector: an entry broadcasts its input, and gathers nothing. Codes are looked up in
// the codebook's two halves, which two registers hold.
#pragma once
#include "../simd.h"

namespace camfit {
namespace CAMFIT_SET {
namespace {

constexpr size_t kAhead = 64;  // entries that values are fetched ahead

struct Values {
  const float* value;
  explicit Values(const SparseBlocks& weights) : value(weights.value) {}
  Vec8 operator()(size_t e) const {
    _mm_prefetch(reinterpret_cast<const char*>(value + (e + kAhead) * kBlockRows), _MM_HINT_T0);
    return Vec8::load(value + e * kBlockRows);
  }
};

struct Codes {
  const uint32_t* codes;
  Vec8 low, high;
  __m256i down = _mm256_setr_epi32(0, 4, 8, 12, 16, 20, 24, 28), up = _mm256_setr_epi32(28, 24, 20, 16, 12, 8, 4, 0);
  explicit Codes(const SparseBlocks& weights)
      : codes(weights.codes), low(Vec8::load(weights.codebook)), high(Vec8::load(weights.codebook + 8)) {}
  Vec8 operator()(size_t e) const {
    const __m256i all = _mm256_set1_epi32(int(codes[e])), code = _mm256_srlv_epi32(all, down);
    return _mm256_blendv_ps(_mm256_permutevar8x32_ps(low, code), _mm256_permutevar8x32_ps(high, code),
                            _mm256_castsi256_ps(_mm256_sllv_epi32(all, up)));  // by a code's highest bit
  }
};

template <typename Source>
void blocks_of(const SparseBlocks& weights, const Source& source, const float* in, const Epilogue& epilogue, float* out,
               Range rows) {
  for (int row = rows.begin; row < rows.end; row += kBlockRows) {
    size_t e = weights.begin[row / kBlockRows];
    const size_t end = weights.begin[row / kBlockRows + 1];
    Vec8 sum[4] = {Vec8::zero(), Vec8::zero(), Vec8::zero(), Vec8::zero()};
    for (; e + 4 <= end; e += 4)
      CAMFIT_UNROLL(4) for (int u = 0; u < 4; ++u)
        sum[u] = fma(Vec8::broadcast(in + weights.column[e + u]), source(e + u), sum[u]);
    for (; e < end; ++e) sum[0] = fma(Vec8::broadcast(in + weights.column[e]), source(e), sum[0]);
    ChannelFinish<Vec8, 1>(epilogue, row, rows.end - row).store(out + row, 0, (sum[0] + sum[1]) + (sum[2] + sum[3]));
  }
}

}  // namespace

void linear_blocks(const SparseBlocks& weights, const float* in, const Epilogue& epilogue, float* out, Range rows) {
  if (weights.value)
    blocks_of(weights, Values(weights), in, epilogue, out, rows);
  else
    blocks_of(weights, Codes(weights), in, epilogue, out, rows);
}

}  // namespace CAMFIT_SET
}  // namespace camfit
