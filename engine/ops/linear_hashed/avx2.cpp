// Hashes eight columns of a row at a time. The row's word is mixed in once, as a scalar.
#if defined(__AVX2__)
#include "../avx2_vector.h"
#include "xxh32.h"

namespace camfit {
namespace avx2 {
namespace {

inline __m256i times(__m256i v, uint32_t factor) { return _mm256_mullo_epi32(v, _mm256_set1_epi32(int(factor))); }

// xxh32_finish(xxh32_mix(state, j)), given j * kXxhPrime3.
inline __m256i hash_of(__m256i state, __m256i product) {
  __m256i h = _mm256_add_epi32(state, product);
  h = times(_mm256_or_si256(_mm256_slli_epi32(h, 17), _mm256_srli_epi32(h, 15)), kXxhPrime4);
  h = times(_mm256_xor_si256(h, _mm256_srli_epi32(h, 15)), kXxhPrime2);
  h = times(_mm256_xor_si256(h, _mm256_srli_epi32(h, 13)), kXxhPrime3);
  return _mm256_xor_si256(h, _mm256_srli_epi32(h, 16));
}

// Yields the weights of one row, eight columns a call.
class HashedRow {
 public:
  HashedRow(const HashedRows& weights, uint32_t row, uint32_t column)
      : bucket(weights.bucket),
        buckets(_mm256_set1_epi64x(weights.buckets)),
        index_state(_mm256_set1_epi32(int(xxh32_mix(xxh32_start(weights.seed), row)))),
        sign_state(_mm256_set1_epi32(int(xxh32_mix(xxh32_start(weights.seed + 1), row)))),
        product(times(_mm256_add_epi32(_mm256_set1_epi32(int(column)), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7)),
                      kXxhPrime3)) {}

  __m256 next() {
    const __m256i x = hash_of(index_state, product);
    const __m256i even = _mm256_srli_epi64(_mm256_mul_epu32(x, buckets), 32);
    const __m256i odd = _mm256_mul_epu32(_mm256_srli_epi64(x, 32), buckets);
    const __m256i index = _mm256_blend_epi32(even, odd, 0xAA);
    const __m256i positive = hash_of(sign_state, product);
    const __m256i minus = _mm256_slli_epi32(_mm256_xor_si256(positive, _mm256_set1_epi32(1)), 31);
    product = _mm256_add_epi32(product, _mm256_set1_epi32(int(kLanes * kXxhPrime3)));
    return _mm256_xor_ps(_mm256_i32gather_ps(bucket, index, 4), _mm256_castsi256_ps(minus));
  }

 private:
  const float* bucket;
  __m256i buckets, index_state, sign_state, product;
};

}  // namespace

void linear_hashed(const HashedRows& weights, const float* in, const Epilogue& epilogue, float* out, Range rows) {
  const int columns = int(weights.columns);
  for (int row = rows.begin; row < rows.end; ++row) {
    HashedRow values(weights, uint32_t(row), 0);
    __m256 sum = _mm256_setzero_ps();
    int j = 0;
    for (; j + kLanes <= columns; j += kLanes) sum = _mm256_fmadd_ps(values.next(), _mm256_loadu_ps(in + j), sum);
    if (j < columns)
      sum = _mm256_fmadd_ps(values.next(), _mm256_maskload_ps(in + j, lane_mask(columns - j)), sum);
    out[row] = finish_one(sum_lanes(sum), epilogue, row);
  }
}

void hashed_row(const HashedRows& weights, uint32_t row, Range columns, float* out) {
  HashedRow values(weights, row, uint32_t(columns.begin));
  int left = columns.end - columns.begin;
  for (; left >= kLanes; left -= kLanes, out += kLanes) _mm256_storeu_ps(out, values.next());
  if (left > 0) _mm256_maskstore_ps(out, lane_mask(left), values.next());
}

}  // namespace avx2
}  // namespace camfit
#endif
