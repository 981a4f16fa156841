// Scalars, not vectors: an entry costs one load of its input, where gathers take as long as the loads that they hide,
// and its value is paid once a chunk. The input of a block is copied, a zero behind it, so that it stays in the first-level
// cache and places that are left over need no test.
#pragma once
#include <string.h>

#include "../simd.h"

namespace camfit {
namespace CAMFIT_SET {

void linear_chunks(const SparseChunks& weights, const float* in, const Epilogue& epilogue, float* out, Range rows) {
  alignas(64) float x[kChunkColumns + 1];
  for (int first = 0; first < weights.columns; first += kChunkColumns) {
    const bool last = first + kChunkColumns >= weights.columns;
    const size_t count = size_t(last ? weights.columns - first : kChunkColumns);
    memcpy(x, in + first, count * sizeof(float));
    x[kChunkColumns] = 0.0f;
    const uint32_t* begin = weights.begin + size_t(first / kChunkColumns) * weights.rows;
    for (int row = rows.begin; row < rows.end; ++row) {
      float even = 0.0f, odd = 0.0f;
      const uint16_t* column = weights.column + 4 * size_t(begin[row]);
      const uint8_t *code = weights.code + begin[row], *end = weights.code + begin[row + 1];
      for (; code != end; code += 2, column += 8) {
        uint64_t a, b;
        memcpy(&a, column, sizeof a);
        memcpy(&b, column + 4, sizeof b);
        const float first_pair = x[a & 0xFFFF] + x[a >> 16 & 0xFFFF], second_pair = x[a >> 32 & 0xFFFF] + x[a >> 48];
        const float third_pair = x[b & 0xFFFF] + x[b >> 16 & 0xFFFF], fourth_pair = x[b >> 32 & 0xFFFF] + x[b >> 48];
        even += weights.codebook[code[0]] * (first_pair + second_pair);
        odd += weights.codebook[code[1]] * (third_pair + fourth_pair);
      }
      const float sum = first == 0 ? even + odd : out[row] + (even + odd);
      out[row] = last ? finish_one(sum, epilogue, row) : sum;
    }
  }
}

}  // namespace CAMFIT_SET
}  // namespace camfit
