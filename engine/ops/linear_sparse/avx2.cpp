#if defined(__AVX2__)
#include "../avx2_vector.h"

namespace camfit {
namespace avx2 {
namespace {

inline __m256i load_indices(const uint16_t* from) {
  return _mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from)));
}
inline __m256i load_indices(const uint32_t* from) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from));
}

// kCodes: a value is the codebook's at the entry's code; else values lie in order of the entries.
template <bool kCodes, typename Column>
void rows_of(const SparseRows& weights, const Column* column, const float* in, const Epilogue& epilogue, float* out,
             Range rows) {
  const float* codebook = weights.codebook;
  for (int row = rows.begin; row < rows.end; ++row) {
    size_t e = weights.row_begin[row];
    const size_t end = weights.row_begin[row + 1];
    __m256 sum[2] = {_mm256_setzero_ps(), _mm256_setzero_ps()};
    for (; e + 2 * kLanes <= end; e += 2 * kLanes) {
      CAMFIT_UNROLL(2) for (int u = 0; u < 2; ++u) {
        __m256 value;
        if constexpr (kCodes)
          value = _mm256_i32gather_ps(codebook, load_indices(weights.code + e + u * kLanes), 4);
        else
          value = _mm256_loadu_ps(codebook + e + u * kLanes);
        const __m256 x = _mm256_i32gather_ps(in, load_indices(column + e + u * kLanes), 4);
        sum[u] = _mm256_fmadd_ps(value, x, sum[u]);
      }
    }
    const auto at = [&](size_t i) { return kCodes ? codebook[weights.code[i]] : codebook[i]; };
    float tail[4] = {};
    for (; e + 4 <= end; e += 4)
      CAMFIT_UNROLL(4) for (int u = 0; u < 4; ++u) tail[u] += at(e + u) * in[column[e + u]];
    for (; e < end; ++e) tail[0] += at(e) * in[column[e]];
    const float total = sum_lanes(_mm256_add_ps(sum[0], sum[1])) + ((tail[0] + tail[1]) + (tail[2] + tail[3]));
    out[row] = finish_one(total, epilogue, row);
  }
}

}  // namespace

void linear_sparse(const SparseRows& weights, const float* in, const Epilogue& epilogue, float* out, Range rows) {
  const auto run = [&](auto column) {
    if (weights.code)
      rows_of<true>(weights, column, in, epilogue, out, rows);
    else
      rows_of<false>(weights, column, in, epilogue, out, rows);
  };
  if (weights.column16)
    run(static_cast<const uint16_t*>(weights.column));
  else
    run(static_cast<const uint32_t*>(weights.column));
}

}  // namespace avx2
}  // namespace camfit
#endif
