// Up to 8 channels: scale and shift are repeated to whole vectors, `channels` of which hold 8 pixels.
#if defined(__AVX2__)
#include "../avx2_vector.h"

namespace camfit {
namespace avx2 {
namespace {

inline __m256 load_floats(const uint8_t* from) {
  return _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(from))));
}
inline __m256 load_floats(const float* from) { return _mm256_loadu_ps(from); }

template <typename Value>
void normalise(const Value* in, int pixels, int channels, const float* scale, const float* shift, float* out) {
  int p = 0;
  if (channels <= kLanes) {
    float scales[kLanes * kLanes], shifts[kLanes * kLanes];
    const int values = channels * kLanes;
    for (int i = 0; i < values; ++i) scales[i] = scale[i % channels], shifts[i] = shift[i % channels];
    for (; p + kLanes <= pixels; p += kLanes, in += values, out += values) {
      for (int i = 0; i < values; i += kLanes) {
        const __m256 x = load_floats(in + i);
        _mm256_storeu_ps(out + i, _mm256_fmadd_ps(x, _mm256_loadu_ps(scales + i), _mm256_loadu_ps(shifts + i)));
      }
    }
  }
  for (; p < pixels; ++p, in += channels, out += channels) {
    int c = 0;
    for (; c + kLanes <= channels; c += kLanes) {
      const __m256 x = load_floats(in + c);
      _mm256_storeu_ps(out + c, _mm256_fmadd_ps(x, _mm256_loadu_ps(scale + c), _mm256_loadu_ps(shift + c)));
    }
    for (; c < channels; ++c) out[c] = float(in[c]) * scale[c] + shift[c];
  }
}

}  // namespace

void normalise_u8(const uint8_t* in, int pixels, int channels, const float* scale, const float* shift, float* out) {
  normalise(in, pixels, channels, scale, shift, out);
}

void normalise_f32(const float* in, int pixels, int channels, const float* scale, const float* shift, float* out) {
  normalise(in, pixels, channels, scale, shift, out);
}

}  // namespace avx2
}  // namespace camfit
#endif
