// Binary convolution of XNOR-Net (Rastegari et al., 2016). With n valid bits, dot = agreements - disagreements
// = n - 2 * popcount(x ^ w); taps in the padding add nothing. The epilogue is one multiplication and one fused
// multiply-add, so that every instruction set gives the same bits.
#include <bitset>
#include <cmath>

#include "../plain.h"

namespace camfit {
namespace plain {
void pack_signs(const float* in, int pixels, int channels, uint64_t* words, float* mean_abs) {
  const int words_per_pixel = (channels + 63) / 64;
  for (int p = 0; p < pixels; ++p, in += channels, words += words_per_pixel) {
    float sum = 0.0f;
    for (int i = 0; i < words_per_pixel; ++i) words[i] = 0;
    for (int c = 0; c < channels; ++c) {
      if (in[c] >= 0.0f) words[c / 64] |= uint64_t(1) << (c % 64);
      sum += std::fabs(in[c]);
    }
    if (mean_abs) mean_abs[p] = sum / float(channels);
  }
}

void binary_conv2d(const Window& w, const uint64_t* in, const uint64_t* weights, const float* box_mean,
                   const Epilogue& epilogue, float* out, Range rows, Range channels) {
  const int words = (w.in.channels + 63) / 64;
  for (int oy = rows.begin; oy < rows.end; ++oy) {
    for (int ox = 0; ox < w.out.width; ++ox) {
      const size_t pixel = size_t(oy) * w.out.width + ox;
      for (int o = channels.begin; o < channels.end; ++o) {
        int dot = 0;
        for (int ky = 0; ky < w.kernel_h; ++ky) {
          for (int kx = 0; kx < w.kernel_w; ++kx) {
            const int iy = oy * w.stride_h - w.pad_top + ky * w.dilation_h;
            const int ix = ox * w.stride_w - w.pad_left + kx * w.dilation_w;
            if (iy < 0 || iy >= w.in.height || ix < 0 || ix >= w.in.width) continue;
            const uint64_t* x = in + (size_t(iy) * w.in.width + ix) * words;
            const uint64_t* tap = weights + ((size_t(o) * w.kernel_h + ky) * w.kernel_w + kx) * words;
            dot += w.in.channels;
            for (int i = 0; i < words; ++i) dot -= 2 * int(std::bitset<64>(x[i] ^ tap[i]).count());
          }
        }
        const float scale = (epilogue.scale ? epilogue.scale[o] : 1.0f) * (box_mean ? box_mean[pixel] : 1.0f);
        const float y = std::fma(scale, float(dot), epilogue.bias ? epilogue.bias[o] : 0.0f);
        out[pixel * w.out.channels + o] = activate(y, epilogue.activation);
      }
    }
  }
}

void box_filter(const Window& w, const float* mean_abs, float* box_mean, Range rows) {
  for (int oy = rows.begin; oy < rows.end; ++oy) {
    for (int ox = 0; ox < w.out.width; ++ox) {
      float sum = 0.0f;
      for (int ky = 0; ky < w.kernel_h; ++ky) {
        for (int kx = 0; kx < w.kernel_w; ++kx) {
          const int iy = oy * w.stride_h - w.pad_top + ky * w.dilation_h;
          const int ix = ox * w.stride_w - w.pad_left + kx * w.dilation_w;
          if (iy < 0 || iy >= w.in.height || ix < 0 || ix >= w.in.width) continue;
          sum += mean_abs[size_t(iy) * w.in.width + ix];
        }
      }
      box_mean[size_t(oy) * w.out.width + ox] = sum / float(w.kernel_h * w.kernel_w);
    }
  }
}

}  // namespace plain
}  // namespace camfit
