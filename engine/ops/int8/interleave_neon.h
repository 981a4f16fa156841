// The channel shuffle of bytes by NEON's interleaving stores.
#pragma once
#include <arm_neon.h>

#include "elementwise.h"

namespace camfit {
namespace {
namespace interleave {

// 16 places of every group at a time; the last block overlaps the one before.
template <int groups, typename Interleave>
void shuffle(const uint8_t* in, int pixels, int of_group, uint8_t* out, const Interleave& interleave) {
  for (int p = 0; p < pixels; ++p, in += groups * of_group, out += groups * of_group) {
    for (int j = 0; j < of_group; j += 16) {
      const int at = j + 16 <= of_group ? j : of_group - 16;
      interleave(in + at, out + at * groups);
    }
  }
}

void channel_shuffle(const uint8_t* in, int pixels, int channels, int groups, uint8_t* out) {
  const int n = channels / groups;
  if (n < 16 || groups < 2 || groups > 4) return elementwise::channel_shuffle(in, pixels, channels, groups, out);
  if (groups == 2) {
    return shuffle<2>(in, pixels, n, out, [n](const uint8_t* x, uint8_t* to) {
      vst2q_u8(to, uint8x16x2_t{{vld1q_u8(x), vld1q_u8(x + n)}});
    });
  }
  if (groups == 3) {
    return shuffle<3>(in, pixels, n, out, [n](const uint8_t* x, uint8_t* to) {
      vst3q_u8(to, uint8x16x3_t{{vld1q_u8(x), vld1q_u8(x + n), vld1q_u8(x + 2 * n)}});
    });
  }
  shuffle<4>(in, pixels, n, out, [n](const uint8_t* x, uint8_t* to) {
    vst4q_u8(to, uint8x16x4_t{{vld1q_u8(x), vld1q_u8(x + n), vld1q_u8(x + 2 * n), vld1q_u8(x + 3 * n)}});
  });
}

}  // namespace interleave
}  // namespace
}  // namespace camfit
