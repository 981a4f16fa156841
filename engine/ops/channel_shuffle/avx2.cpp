// A small transposition at each pixel. For few groups, eight places of every group at once: each vector of the output
// takes its lanes from all groups, by a permutation and a blend each.
#if defined(__AVX2__)
#include "../avx2_vector.h"

namespace camfit {
namespace avx2 {
namespace {

template <int kGroups>
void shuffle(const float* in, int pixels, int channels, float* out) {
  // Output k*8 + l of a block is place (k*8 + l) / kGroups of group (k*8 + l) % kGroups.
  alignas(32) int32_t place[kGroups][kLanes], group[kGroups][kLanes];
  for (int q = 0; q < kGroups * kLanes; ++q) {
    place[q / kLanes][q % kLanes] = q / kGroups;
    group[q / kLanes][q % kLanes] = q % kGroups;
  }
  const int per_group = channels / kGroups;
  for (int p = 0; p < pixels; ++p, in += channels, out += channels) {
    for (int j = 0; j < per_group; j += kLanes) {
      const int first = j + kLanes <= per_group ? j : per_group - kLanes;  // the last block may overlap
      __m256 from[kGroups];
      for (int i = 0; i < kGroups; ++i) from[i] = _mm256_loadu_ps(in + i * per_group + first);
      for (int k = 0; k < kGroups; ++k) {
        const __m256i places = _mm256_load_si256(reinterpret_cast<const __m256i*>(place[k]));
        const __m256i groups = _mm256_load_si256(reinterpret_cast<const __m256i*>(group[k]));
        __m256 result = _mm256_permutevar8x32_ps(from[0], places);
        for (int i = 1; i < kGroups; ++i) {
          const __m256 mask = _mm256_castsi256_ps(_mm256_cmpeq_epi32(groups, _mm256_set1_epi32(i)));
          result = _mm256_blendv_ps(result, _mm256_permutevar8x32_ps(from[i], places), mask);
        }
        _mm256_storeu_ps(out + first * kGroups + k * kLanes, result);
      }
    }
  }
}

void shuffle_any(const float* in, int pixels, int channels, int groups, float* out) {
  const int per_group = channels / groups;
  for (int p = 0; p < pixels; ++p, in += channels)
    for (int j = 0; j < per_group; ++j)
      for (int i = 0; i < groups; ++i) *out++ = in[i * per_group + j];
}

}  // namespace

void channel_shuffle(const float* in, int pixels, int channels, int groups, float* out) {
  if (channels / groups >= kLanes) {
    if (groups == 2) return shuffle<2>(in, pixels, channels, out);
    if (groups == 3) return shuffle<3>(in, pixels, channels, out);
    if (groups == 4) return shuffle<4>(in, pixels, channels, out);
  }
  shuffle_any(in, pixels, channels, groups, out);
}

}  // namespace avx2
}  // namespace camfit
#endif
