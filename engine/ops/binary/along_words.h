// Binary convolution one output channel at a time along the words of its taps, for any shape; and how counts become
// output values. What counts is the set's own.
#pragma once
#include "../vector.h"

namespace camfit {
namespace {

// dot -> output values of up to 8 channels. `box` is K of the pixel. Eight go without masks: masked stores are slow.
inline void store_dots(Vec8 dot, float box, const Epilogue& epilogue, const ClampOf<Vec8>& clamp, int channel,
                       int count, float* out) {
  if (count >= Vec8::kLanes) {
    const Vec8 scale = epilogue.scale ? Vec8::load(epilogue.scale + channel) : Vec8::all(1.0f);
    const Vec8 bias = epilogue.bias ? Vec8::load(epilogue.bias + channel) : Vec8::zero();
    clamp(fma(scale * Vec8::all(box), dot, bias)).store(out + channel);
    return;
  }
  const Vec8::Mask mask = Vec8::mask(count);
  const Vec8 scale = epilogue.scale ? Vec8::load(epilogue.scale + channel, mask) : Vec8::all(1.0f);
  const Vec8 bias = epilogue.bias ? Vec8::load(epilogue.bias + channel, mask) : Vec8::zero();
  clamp(fma(scale * Vec8::all(box), dot, bias)).store(out + channel, mask);
}

// kDisagreements(a, b, count): popcount(a ^ b) of `count` words.
template <int (*kDisagreements)(const uint64_t*, const uint64_t*, int)>
void along_words(const Window& w, const uint64_t* in, const uint64_t* weights, const float* box_mean,
                 const Epilogue& epilogue, float* out, Range rows, Range channels) {
  const int words = (w.in.channels + 63) / 64;
  const ClampOf<Vec8> clamp(epilogue.activation);
  for (int oy = rows.begin; oy < rows.end; ++oy) {
    const int iy = oy * w.stride_h - w.pad_top;
    const Range ky = valid_taps(iy, w.kernel_h, w.dilation_h, w.in.height);
    for (int ox = 0; ox < w.out.width; ++ox) {
      const int ix = ox * w.stride_w - w.pad_left;
      const Range kx = valid_taps(ix, w.kernel_w, w.dilation_w, w.in.width);
      const int valid_bits = (ky.end - ky.begin) * (kx.end - kx.begin) * w.in.channels;
      const int run = w.dilation_w == 1 ? kx.end - kx.begin : 1;  // taps beside each other in both images
      const size_t pixel = size_t(oy) * w.out.width + ox;
      const float box = box_mean ? box_mean[pixel] : 1.0f;
      for (int o = channels.begin; o < channels.end; o += Vec8::kLanes) {
        const int left = channels.end - o, count = left < Vec8::kLanes ? left : Vec8::kLanes;
        alignas(32) int32_t dot[Vec8::kLanes] = {};
        for (int i = 0; i < count; ++i) {
          int sum = 0;
          for (int y = ky.begin; y < ky.end; ++y) {
            const uint64_t* row = in + size_t(iy + y * w.dilation_h) * w.in.width * words;
            const uint64_t* taps = weights + (size_t(o + i) * w.kernel_h + y) * w.kernel_w * words;
            for (int x = kx.begin; x < kx.end; x += run)
              sum += kDisagreements(row + size_t(ix + x * w.dilation_w) * words, taps + size_t(x) * words, run * words);
          }
          dot[i] = valid_bits - 2 * sum;
        }
        store_dots(Vec8::load(dot), box, epilogue, clamp, o, count, out + pixel * w.out.channels);
      }
    }
  }
}

}  // namespace
}  // namespace camfit
