// Binary convolution of images, eight output channels at once: a word of input signs against the same word of eight
// channels' weights, which are laid out anew for that. The set defines before it includes this, in its namespace:
//   Words: eight words, with load(const uint64_t*) and all(uint64_t);
//   Counts: eight sums, with zero(), add(Words, Words), which adds popcount(a ^ b) of each pair, and
//           dots(int bits), the vector of bits - 2 * sum.
// Sums take kMostWords words.
#pragma once
#include "along_words.h"

namespace camfit {
namespace CAMFIT_SET {
namespace {

constexpr int kImagePixels = 4;        // from so many pixels on, laying the weights out anew pays
constexpr int kBeside = 4;             // pixels counted together
constexpr int kVectors = 4;            // of eight channels, counted together
constexpr int kMostWords = 160;        // of one kernel: bounds the weights laid out on the stack

// One call: its geometry, and where results go.
struct Job {
  const Window& w;
  const uint64_t* in;
  const float* box_mean;
  const Epilogue& epilogue;
  ClampOf<Vec8> clamp;
  float* out;
  int words;
};

// P pixels beside each other from (ox, oy) on, whose taps `ky`, `kx` are valid; N * 8 channels, `count` of them real.
// `laid_out` holds [tap][word][N][8 channels].
template <int P, int N>
__attribute__((noinline)) void pixels_at(const Job& j, const uint64_t* laid_out, int oy, int ox, Range ky, Range kx,
                                         int first, int count) {
  const Window& w = j.w;
  const int iy = oy * w.stride_h - w.pad_top, ix = ox * w.stride_w - w.pad_left;
  const bool joined = w.dilation_w == 1;  // then the words of a row's taps follow each other
  const int runs = joined ? 1 : kx.end - kx.begin, length = joined ? (kx.end - kx.begin) * j.words : j.words;
  const size_t pixel_step = size_t(w.stride_w) * j.words;
  Counts sum[P][N];
  CAMFIT_UNROLL(4) for (int p = 0; p < P; ++p)
    CAMFIT_UNROLL(4) for (int n = 0; n < N; ++n) sum[p][n] = Counts::zero();
  for (int y = ky.begin; y < ky.end; ++y) {
    for (int run = 0; run < runs; ++run) {
      const int x = kx.begin + run;
      const ptrdiff_t pixel = ptrdiff_t(iy + y * w.dilation_h) * w.in.width + (ix + x * w.dilation_w);
      const uint64_t* from = j.in + pixel * j.words;
      const uint64_t* weights = laid_out + size_t(y * w.kernel_w + x) * j.words * (N * 8);
      for (int i = 0; i < length; ++i, ++from, weights += N * 8) {
        Words signs[P];
        CAMFIT_UNROLL(4) for (int p = 0; p < P; ++p) signs[p] = Words::all(from[p * pixel_step]);
        CAMFIT_UNROLL(4) for (int n = 0; n < N; ++n) {
          const Words weight = Words::load(weights + n * 8);
          CAMFIT_UNROLL(4) for (int p = 0; p < P; ++p) sum[p][n].add(signs[p], weight);
        }
      }
    }
  }
  const int bits = (ky.end - ky.begin) * (kx.end - kx.begin) * w.in.channels;
  size_t pixel = size_t(oy) * w.out.width + ox;
  CAMFIT_UNROLL(4) for (int p = 0; p < P; ++p, ++pixel) {
    const float box = j.box_mean ? j.box_mean[pixel] : 1.0f;
    CAMFIT_UNROLL(4) for (int n = 0; n < N; ++n)
      if (n * 8 < count)
        store_dots(sum[p][n].dots(bits), box, j.epilogue, j.clamp, first + n * 8, count - n * 8,
                   j.out + pixel * w.out.channels);
  }
}

template <int N>
void channels_at(const Job& j, const uint64_t* weights, Range rows, int first, int count) {
  const Window& w = j.w;
  const int length = w.kernel_h * w.kernel_w * j.words;
  alignas(64) uint64_t laid_out[kMostWords * N * 8];
  for (int i = 0; i < length; ++i)
    for (int c = 0; c < N * 8; ++c)
      laid_out[i * N * 8 + c] = c < count ? weights[size_t(first + c) * length + i] : 0;
  const Range inside = interior(w.out.width, w.kernel_w, w.stride_w, w.pad_left, w.dilation_w, w.in.width);
  for (int oy = rows.begin; oy < rows.end; ++oy) {
    const Range ky = valid_taps(oy * w.stride_h - w.pad_top, w.kernel_h, w.dilation_h, w.in.height);
    for (int ox = 0; ox < w.out.width;) {
      if (ox >= inside.begin && ox + kBeside <= inside.end) {
        pixels_at<kBeside, N>(j, laid_out, oy, ox, ky, {0, w.kernel_w}, first, count);
        ox += kBeside;
      } else {
        const Range kx = valid_taps(ox * w.stride_w - w.pad_left, w.kernel_w, w.dilation_w, w.in.width);
        pixels_at<1, N>(j, laid_out, oy, ox, ky, kx, first, count);
        ++ox;
      }
    }
  }
}

// Across channels for images, along words for vectors, tiny images and very long kernels. kDisagreements: of along_words.
template <int (*kDisagreements)(const uint64_t*, const uint64_t*, int)>
void across_channels(const Window& w, const uint64_t* in, const uint64_t* weights, const float* box_mean,
                     const Epilogue& epilogue, float* out, Range rows, Range channels) {
  const int words = (w.in.channels + 63) / 64;
  const Job job = {w, in, box_mean, epilogue, ClampOf<Vec8>(epilogue.activation), out, words};
  if ((rows.end - rows.begin) * w.out.width < kImagePixels || w.kernel_h * w.kernel_w * words > kMostWords)
    return along_words<kDisagreements>(w, in, weights, box_mean, epilogue, out, rows, channels);
  for (int first = channels.begin; first < channels.end; first += kVectors * 8) {
    const int left = channels.end - first, count = left < kVectors * 8 ? left : kVectors * 8;
    (count > 24   ? channels_at<4>
     : count > 16 ? channels_at<3>
     : count > 8  ? channels_at<2>
                  : channels_at<1>)(job, weights, rows, first, count);
  }
}

}  // namespace
}  // namespace CAMFIT_SET
}  // namespace camfit
