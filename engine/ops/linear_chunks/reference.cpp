#include "../plain.h"

namespace camfit {
namespace plain {

void linear_chunks(const SparseChunks& weights, const float* in, const Epilogue& epilogue, float* out, Range rows) {
  const int blocks = (weights.columns + kChunkColumns - 1) / kChunkColumns;
  for (int row = rows.begin; row < rows.end; ++row) {
    float sum = 0.0f;
    for (int b = 0; b < blocks; ++b) {
      const uint32_t* begin = weights.begin + size_t(b) * weights.rows + row;
      for (size_t c = begin[0]; c < begin[1]; ++c) {
        float four = 0.0f;
        for (size_t e = 4 * c; e < 4 * c + 4; ++e)
          if (weights.column[e] < kChunkColumns) four += in[size_t(b) * kChunkColumns + weights.column[e]];
        sum += weights.codebook[weights.code[c]] * four;
      }
    }
    out[row] = finish(sum, epilogue, row);
  }
}

}  // namespace plain
}  // namespace camfit
