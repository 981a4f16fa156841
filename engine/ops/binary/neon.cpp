// Counts the bits of exclusive ors by bytes (CNT) and adds the counts of neighbouring bytes up.
#if defined(__aarch64__)
#include "../simd.h"
#include "box_filter.h"

namespace camfit {
namespace neon {
namespace {

struct Words {
  uint8x16_t v[4];
  static Words load(const uint64_t* from) {
    Words words;
    CAMFIT_UNROLL(4) for (int i = 0; i < 4; ++i) words.v[i] = vreinterpretq_u8_u64(vld1q_u64(from + 2 * i));
    return words;
  }
  static Words all(uint64_t word) {
    const uint8x16_t same = vreinterpretq_u8_u64(vdupq_n_u64(word));
    return {{same, same, same, same}};
  }
};

// Sums of 16 bits: a word adds 64 at most, so 1023 words fit.
struct Counts {
  uint16x8_t v;
  static Counts zero() { return {vdupq_n_u16(0)}; }
  void add(const Words& a, const Words& b) {
    uint8x16_t count[4];
    CAMFIT_UNROLL(4) for (int i = 0; i < 4; ++i) count[i] = vcntq_u8(veorq_u8(a.v[i], b.v[i]));
    // Two words' 16 bytes a vector; four words' 4 bytes each; eight words' 2 bytes each, of 32 at most.
    const uint8x16_t fours = vpaddq_u8(count[0], count[1]), more = vpaddq_u8(count[2], count[3]);
    v = vpadalq_u8(v, vpaddq_u8(fours, more));
  }
  Vec8 dots(int bits) const {
    const int32x4_t all = vdupq_n_s32(bits);
    const int32x4_t low = vreinterpretq_s32_u32(vshll_n_u16(vget_low_u16(v), 1));
    const int32x4_t high = vreinterpretq_s32_u32(vshll_high_n_u16(v, 1));
    return {vcvtq_f32_s32(vsubq_s32(all, low)), vcvtq_f32_s32(vsubq_s32(all, high))};
  }
};

// popcount(a ^ b) of `count` words.
inline int disagreements(const uint64_t* a, const uint64_t* b, int count) {
  uint32x4_t sum = vdupq_n_u32(0);
  int i = 0;
  while (i + 2 <= count) {
    uint8x16_t bytes = vdupq_n_u8(0);
    for (int n = 0; n < 31 && i + 2 <= count; ++n, i += 2)  // a byte takes 31 additions of at most 8
      bytes = vaddq_u8(bytes, vcntq_u8(vreinterpretq_u8_u64(veorq_u64(vld1q_u64(a + i), vld1q_u64(b + i)))));
    sum = vpadalq_u16(sum, vpaddlq_u8(bytes));
  }
  const int rest = i < count ? __builtin_popcountll(a[i] ^ b[i]) : 0;
  return int(vaddvq_u32(sum)) + rest;
}

// The signs of four vectors of four floats, a bit each.
inline uint64_t signs_of(const float32x4_t (&x)[4]) {
  const uint16x4_t place = vcreate_u16(0x0008000400020001);
  uint64_t bits = 0;
  CAMFIT_UNROLL(4) for (int i = 0; i < 4; ++i)
    bits |= uint64_t(vaddv_u16(vand_u16(vmovn_u32(vcgezq_f32(x[i])), place))) << (4 * i);
  return bits;
}

}  // namespace
}  // namespace neon
}  // namespace camfit

#include "across_channels.h"

namespace camfit {
namespace neon {

void pack_signs(const float* in, int pixels, int channels, uint64_t* words, float* mean_abs) {
  for (int p = 0; p < pixels; ++p, in += channels) {
    float32x4_t sum[4] = {vdupq_n_f32(0), vdupq_n_f32(0), vdupq_n_f32(0), vdupq_n_f32(0)};
    for (int c = 0; c < channels; c += 64) {
      uint64_t word = 0;
      for (int i = 0; i < 64 && c + i < channels; i += 16) {
        const int left = channels - c - i;
        float32x4_t x[4];
        CAMFIT_UNROLL(4) for (int n = 0; n < 4; ++n) {
          x[n] = load_first(in + c + i + 4 * n, left - 4 * n);
          sum[n] = vaddq_f32(sum[n], vabsq_f32(x[n]));
        }
        uint64_t bits = signs_of(x);
        if (left < 16) bits &= (uint64_t(1) << left) - 1;  // a missing value was taken for 0
        word |= bits << i;
      }
      *words++ = word;
    }
    if (!mean_abs) continue;
    const float32x4_t all = vaddq_f32(vaddq_f32(sum[0], sum[1]), vaddq_f32(sum[2], sum[3]));
    mean_abs[p] = vaddvq_f32(all) / float(channels);
  }
}

void binary_conv2d(const Window& w, const uint64_t* in, const uint64_t* weights, const float* box_mean,
                   const Epilogue& epilogue, float* out, Range rows, Range channels) {
  across_channels<disagreements>(w, in, weights, box_mean, epilogue, out, rows, channels);
}

}  // namespace neon
}  // namespace camfit
#endif
