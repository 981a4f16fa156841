#include "../plain.h"

namespace camfit {
namespace plain {
namespace {

template <typename Column>
float dot(const SparseRows& weights, const Column* column, int row, const float* in) {
  float sum = 0.0f;
  for (uint32_t e = weights.row_begin[row]; e < weights.row_begin[row + 1]; ++e)
    sum += weights.codebook[weights.code ? weights.code[e] : e] * in[column[e]];
  return sum;
}

}  // namespace

void linear_sparse(const SparseRows& weights, const float* in, const Epilogue& epilogue, float* out, Range rows) {
  for (int row = rows.begin; row < rows.end; ++row) {
    const float sum = weights.column16 ? dot(weights, static_cast<const uint16_t*>(weights.column), row, in)
                                       : dot(weights, static_cast<const uint32_t*>(weights.column), row, in);
    out[row] = finish(sum, epilogue, row);
  }
}

}  // namespace plain
}  // namespace camfit
