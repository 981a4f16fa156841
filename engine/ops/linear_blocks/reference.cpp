#include "../plain.h"

namespace camfit {
namespace plain {

void linear_blocks(const SparseBlocks& weights, const float* in, const Epilogue& epilogue, float* out, Range rows) {
  for (int row = rows.begin; row < rows.end; ++row) {
    const int block = row / kBlockRows, lane = row % kBlockRows;
    float sum = 0.0f;
    for (size_t e = weights.begin[block]; e < weights.begin[block + 1]; ++e) {
      const float value = weights.value ? weights.value[e * kBlockRows + lane]
                                        : weights.codebook[weights.codes[e] >> 4 * lane & 15];
      sum += value * in[weights.column[e]];
    }
    out[row] = finish(sum, epilogue, row);
  }
}

}  // namespace plain
}  // namespace camfit
