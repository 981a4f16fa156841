// A small transposition at each pixel. For few groups NEON's interleaving stores do it.
#if defined(__aarch64__)
#include <arm_neon.h>

#include "../neon.h"
#include "../plain.h"

namespace camfit {
namespace neon {
namespace {

constexpr int kPlaces = 4;

inline void interleave(const float* in, int step, float* out, float32x4x2_t v) {
  for (int i = 0; i < 2; ++i) v.val[i] = vld1q_f32(in + i * step);
  vst2q_f32(out, v);
}
inline void interleave(const float* in, int step, float* out, float32x4x3_t v) {
  for (int i = 0; i < 3; ++i) v.val[i] = vld1q_f32(in + i * step);
  vst3q_f32(out, v);
}
inline void interleave(const float* in, int step, float* out, float32x4x4_t v) {
  for (int i = 0; i < 4; ++i) v.val[i] = vld1q_f32(in + i * step);
  vst4q_f32(out, v);
}

template <int kGroups, typename Vectors>
void shuffle(const float* in, int pixels, int channels, float* out) {
  const int per_group = channels / kGroups;
  for (int p = 0; p < pixels; ++p, in += channels, out += channels) {
    for (int j = 0; j < per_group; j += kPlaces) {
      const int first = j + kPlaces <= per_group ? j : per_group - kPlaces;  // the last block may overlap
      interleave(in + first, per_group, out + first * kGroups, Vectors());
    }
  }
}

}  // namespace

void channel_shuffle(const float* in, int pixels, int channels, int groups, float* out) {
  if (channels / groups >= kPlaces) {
    if (groups == 2) return shuffle<2, float32x4x2_t>(in, pixels, channels, out);
    if (groups == 3) return shuffle<3, float32x4x3_t>(in, pixels, channels, out);
    if (groups == 4) return shuffle<4, float32x4x4_t>(in, pixels, channels, out);
  }
  plain::channel_shuffle(in, pixels, channels, groups, out);
}

}  // namespace neon
}  // namespace camfit
#endif
