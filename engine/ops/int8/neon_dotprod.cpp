// The integer kernels for 64-bit ARM processors with the dot-product extension: SDOT adds four products of signed bytes
// in 32 bits.
#if defined(__ARM_FEATURE_DOTPROD)
#include "depthwise_neon.h"
#include "elementwise.h"
#include "interleave_neon.h"
#include "product_neon.h"

namespace camfit {
namespace neon {
namespace {

struct Dot {
  static constexpr int kPixels = 4;
  struct Sums {
    int32x4_t of[4];
  };

  template <int count>
  static void add(Sums* sums, const int8x8_t* quads, const int8_t* weights) {
    for (int v = 0; v < 4; ++v) {
      const int8x16_t w = vld1q_s8(weights + 16 * v);
      for (int i = 0; i < count; ++i) sums[i].of[v] = vdotq_lane_s32(sums[i].of[v], w, quads[i], 0);
    }
  }

  template <int count>
  static void add_two(Sums* sums, const int8x8_t* quads, const int8_t* weights) {
    add<count>(sums, quads, weights);
    for (int v = 0; v < 4; ++v) {
      const int8x16_t w = vld1q_s8(weights + kPanelBytes + 16 * v);
      for (int i = 0; i < count; ++i) sums[i].of[v] = vdotq_lane_s32(sums[i].of[v], w, quads[i], 1);
    }
  }

  static void finish(const Sums& sums, const Lift& lift, int32x4_t* out) {
    for (int i = 0; i < 4; ++i) out[i] = vaddq_s32(sums.of[i], lift.of[i]);
  }
};

}  // namespace

const Int8Kernels int8_dot_kernels =
    CAMFIT_INT8_TABLE(false, band_scratch, int8_conv2d<Dot>, int8_depthwise, int8_linear<Dot>,
                      interleave::channel_shuffle, elementwise);

}  // namespace neon
}  // namespace camfit
#endif
