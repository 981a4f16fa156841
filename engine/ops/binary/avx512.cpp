#if defined(__AVX512F__)
#include "../simd.h"

namespace camfit {
namespace avx512 {

void pack_signs(const float* in, int pixels, int channels, uint64_t* words, float* mean_abs) {
  const __m512 zero = _mm512_setzero_ps();
  for (int p = 0; p < pixels; ++p, in += channels) {
    __m512 sum[4] = {zero, zero, zero, zero};
    for (int c = 0; c < channels; c += 64) {
      uint64_t word = 0;
      CAMFIT_UNROLL(4) for (int i = 0; i < 4; ++i) {
        const Vec16::Mask mask = Vec16::mask(channels - c - 16 * i);
        const __m512 x = _mm512_maskz_loadu_ps(mask, in + c + 16 * i);
        word |= uint64_t(_mm512_mask_cmp_ps_mask(mask, x, zero, _CMP_GE_OQ)) << (16 * i);
        sum[i] = _mm512_add_ps(sum[i], _mm512_abs_ps(x));
      }
      *words++ = word;
    }
    if (!mean_abs) continue;
    const __m512 all = _mm512_add_ps(_mm512_add_ps(sum[0], sum[1]), _mm512_add_ps(sum[2], sum[3]));
    mean_abs[p] = sum_lanes(all) / float(channels);
  }
}

}  // namespace avx512
}  // namespace camfit
#endif
