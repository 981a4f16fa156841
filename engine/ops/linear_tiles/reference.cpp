#include "../plain.h"

namespace camfit {
namespace plain {

void linear_tiles(const SparseTiles& weights, const float* in, const Epilogue& epilogue, float* out, Range rows) {
  const int tiles = (weights.columns + kTileColumns - 1) / kTileColumns;
  const SparseRows& rest = weights.rest;
  for (int row = rows.begin; row < rows.end; ++row) {
    float sum = 0.0f;
    const uint32_t* word = weights.word + size_t(row / kTileRows) * tiles * (kTileEntries / 3 * kTileRows);
    for (int t = 0; t < tiles; ++t)
      for (int d = 0; d < kTileEntries / 3; ++d, word += kTileRows)
        for (uint32_t left = word[row % kTileRows]; left; left >>= 10)
          if (const uint32_t code = left >> 5 & 31) sum += weights.codebook[code] * in[t * kTileColumns + (left & 31)];
    const uint16_t* column = static_cast<const uint16_t*>(rest.column);
    for (uint32_t e = rest.row_begin[row]; e < rest.row_begin[row + 1]; ++e)
      sum += weights.codebook[rest.code[e]] * in[column[e]];
    out[row] = finish(sum, epilogue, row);
  }
}

}  // namespace plain
}  // namespace camfit
