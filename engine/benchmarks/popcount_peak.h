// The most exclusive ors and bit counts that this processor does, by the instructions of a set: pairs of words that lie
// in the first-level cache, in as many independent sums as hide latency. What the binary kernels are measured against.
#pragma once
#include <cstdint>
#include <cstring>

#if defined(__x86_64__)
#include <immintrin.h>

namespace camfit {

constexpr int kPeakWords = 512;       // 4 KB, read again and again
constexpr int kPeakPasses = 1 << 12;  // a call: 0.1 to 1 ms
constexpr double kPeakOperations = 2.0 * 64 * kPeakWords * kPeakPasses;  // as of kernels: 2 for each bit

// Each returns its sum, so that nothing can be left out. `words`: kPeakWords, on a cache line.

__attribute__((target("popcnt"))) inline uint64_t peak_popcnt(const uint64_t* words, uint64_t mask) {
  uint64_t sum[4] = {};
  for (int pass = 0; pass < kPeakPasses; ++pass, ++mask)
    for (int i = 0; i < kPeakWords; i += 8)
      for (int k = 0; k < 8; ++k) sum[k % 4] += uint64_t(__builtin_popcountll(words[i + k] ^ mask));
  return sum[0] + sum[1] + sum[2] + sum[3];
}

__attribute__((target("avx2"))) inline uint64_t peak_avx2(const uint64_t* words, uint64_t mask) {
  const __m256i counts = _mm256_setr_epi8(0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4, 0, 1, 1, 2, 1, 2, 2, 3, 1, 2,
                                          2, 3, 2, 3, 3, 4);
  const __m256i low = _mm256_set1_epi8(15), zero = _mm256_setzero_si256();
  __m256i total[2] = {zero, zero};
  for (int pass = 0; pass < kPeakPasses; ++pass, ++mask) {
    const __m256i other = _mm256_set1_epi64x(int64_t(mask));
    for (int i = 0; i < kPeakWords;) {
      __m256i sum[4] = {zero, zero, zero, zero};
      for (int n = 0; n < 16; ++n, i += 8)  // a byte takes 31 additions of at most 8, two of them a time
        for (int k = 0; k < 2; ++k) {
          const __m256i x = _mm256_xor_si256(
              _mm256_load_si256(reinterpret_cast<const __m256i*>(words + i + 4 * k)), other);
          const __m256i high = _mm256_and_si256(_mm256_srli_epi16(x, 4), low);
          sum[k] = _mm256_add_epi8(sum[k], _mm256_shuffle_epi8(counts, _mm256_and_si256(x, low)));
          sum[k + 2] = _mm256_add_epi8(sum[k + 2], _mm256_shuffle_epi8(counts, high));
        }
      for (int k = 0; k < 4; ++k) total[k % 2] = _mm256_add_epi64(total[k % 2], _mm256_sad_epu8(sum[k], zero));
    }
  }
  uint64_t lanes[4];
  const __m256i all = _mm256_add_epi64(total[0], total[1]);
  std::memcpy(lanes, &all, sizeof lanes);
  return lanes[0] + lanes[1] + lanes[2] + lanes[3];
}

__attribute__((target("avx512f,avx512vpopcntdq"))) inline uint64_t peak_avx512(const uint64_t* words, uint64_t mask) {
  __m512i sum[8];
  for (auto& s : sum) s = _mm512_setzero_si512();
  for (int pass = 0; pass < kPeakPasses; ++pass, ++mask) {
    const __m512i other = _mm512_set1_epi64(int64_t(mask));
    for (int i = 0; i < kPeakWords; i += 64)
#pragma GCC unroll 8
      for (int k = 0; k < 8; ++k)
        sum[k] = _mm512_add_epi64(
            sum[k], _mm512_popcnt_epi64(_mm512_xor_si512(_mm512_load_si512(words + i + 8 * k), other)));
  }
  __m512i all = sum[0];
  for (int k = 1; k < 8; ++k) all = _mm512_add_epi64(all, sum[k]);
  uint64_t lanes[8];
  std::memcpy(lanes, &all, sizeof lanes);
  uint64_t result = 0;
  for (uint64_t lane : lanes) result += lane;
  return result;
}

}  // namespace camfit
#endif
