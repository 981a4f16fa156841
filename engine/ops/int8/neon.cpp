// The integer kernels for every 64-bit ARM processor. Two products of signed bytes fit 16 bits, as weights are
// -127..127: 2 * 128 * 127 = 32,512; then SADALP to 32.
#if defined(__aarch64__)
#include "depthwise_neon.h"
#include "elementwise.h"
#include "interleave_neon.h"
#include "product_neon.h"

namespace camfit {
namespace neon {
namespace {

struct Long {
  static constexpr int kPixels = 2;
  // Two lanes to a channel, which finish adds up.
  struct Sums {
    int32x4_t of[8];
  };

  static int8x8_t broadcast(int8x8_t quads, int which) {
    const int32x2_t pair = vreinterpret_s32_s8(quads);
    return vreinterpret_s8_s32(which == 0 ? vdup_lane_s32(pair, 0) : vdup_lane_s32(pair, 1));
  }

  template <int count>
  static void add(Sums* sums, const int8x8_t* quads, const int8_t* weights) {
    int8x8_t x[count];
    for (int i = 0; i < count; ++i) x[i] = broadcast(quads[i], 0);
    for (int v = 0; v < 8; ++v) {
      const int8x8_t w = vld1_s8(weights + 8 * v);
      for (int i = 0; i < count; ++i) sums[i].of[v] = vpadalq_s16(sums[i].of[v], vmull_s8(x[i], w));
    }
  }

  template <int count>
  static void add_two(Sums* sums, const int8x8_t* quads, const int8_t* weights) {
    int8x8_t x[count], next[count];
    for (int i = 0; i < count; ++i) {
      x[i] = broadcast(quads[i], 0);
      next[i] = broadcast(quads[i], 1);
    }
    for (int v = 0; v < 8; ++v) {
      const int8x8_t w = vld1_s8(weights + 8 * v), next_w = vld1_s8(weights + kPanelBytes + 8 * v);
      for (int i = 0; i < count; ++i)
        sums[i].of[v] = vpadalq_s16(sums[i].of[v], vmlal_s8(vmull_s8(x[i], w), next[i], next_w));
    }
  }

  static void finish(const Sums& sums, const Lift& lift, int32x4_t* out) {
    for (int i = 0; i < 4; ++i) out[i] = vaddq_s32(vpaddq_s32(sums.of[2 * i], sums.of[2 * i + 1]), lift.of[i]);
  }
};

}  // namespace

const Int8Kernels int8_kernels =
    CAMFIT_INT8_TABLE(false, band_scratch, int8_conv2d<Long>, int8_depthwise, int8_linear<Long>,
                      interleave::channel_shuffle, elementwise);

}  // namespace neon
}  // namespace camfit
#endif
