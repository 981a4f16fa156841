// Convolution from the non-zero weights. Vectors lie along output pixels: a weight is loaded once for a tile of up to
// kMostVectors of them, whose sums stay in registers. The input is copied to planes (layout.h) first, so that what a
// weight reads is consecutive; the sums of a tile, channel by channel, are transposed to pixels at the end.
//
// Vectors of 8 floats in both sets: what a weight reads is not aligned, and with 16 every load would straddle two
// lines. AVX-512 has registers for larger tiles.
#pragma once
#include "../simd.h"
#include "../transpose.h"
#include "layout.h"
#include "winograd/winograd.h"

namespace camfit {
namespace CAMFIT_SET {
namespace {

#if defined(__AVX512F__)
constexpr int kMostVectors = 16;
#else
constexpr int kMostVectors = 12;
#endif
constexpr int kLanes = Vec8::kLanes;
constexpr int kMostPositions = kMostVectors * kLanes;

// A row of the planes of one column phase: pixels [0, count) of `in`, `step` floats apart, to `to`, the planes of its
// channels `apart` floats apart.
__attribute__((noinline)) void fill_row(const float* in, size_t step, int count, int channels, float* to,
                                        size_t apart) {
  for (int i = 0; i < count; i += kLanes, in += kLanes * step, to += kLanes) {
    const bool all = i + kLanes <= count;
    const Vec8::Mask pixels = Vec8::mask(count - i);
    float* plane = to;
    for (int c = 0; c < channels; c += kLanes) {
      Vec8 r[8];
      const bool whole = c + kLanes <= channels;
      const Vec8::Mask mask = Vec8::mask(channels - c);
      if (all && whole) {
        CAMFIT_UNROLL(8) for (int k = 0; k < 8; ++k) r[k] = Vec8::load(in + k * step + c);
        transpose(r);
        CAMFIT_UNROLL(8) for (int k = 0; k < 8; ++k, plane += apart) r[k].store(plane);
        continue;
      }
      for (int k = 0; k < 8; ++k) r[k] = i + k < count ? Vec8::load(in + k * step + c, mask) : Vec8::zero();
      transpose(r);
      for (int k = 0; k < 8 && c + k < channels; ++k, plane += apart) r[k].store(plane, pixels);
    }
  }
}

void fill_planes(const Window& w, const SparseLayout& l, const float* in, int first_row, int rows, float* planes) {
  const size_t apart = size_t(sparse_channel_floats(l)), channels = size_t(w.in.channels);
  for (int py = 0; py < l.phases_y; ++py)
    for (int px = 0; px < l.phases_x; ++px, planes += l.plane) {
      const Range inside = sparse_inside(w, l, px);
      for (int r = 0; r < rows + l.reach_y; ++r) {
        const int y = (first_row + r) * w.stride_h + py - w.pad_top;
        const bool real = y >= 0 && y < w.in.height;
        float* row = planes + size_t(r) * l.pitch;
        const int left = real ? inside.begin : l.columns, right = real ? inside.end : l.columns;
        float* at = row;
        for (size_t c = 0; c < channels; ++c, at += apart) {
          for (int j = 0; j < left; ++j) at[j] = 0.0f;
          for (int j = right; j < l.columns; ++j) at[j] = 0.0f;
        }
        if (!real || inside.begin == inside.end) continue;
        const ptrdiff_t x = ptrdiff_t(inside.begin) * w.stride_w + px - w.pad_left;
        fill_row(in + (ptrdiff_t(y) * w.in.width + x) * w.in.channels, channels * w.stride_w,
                 inside.end - inside.begin, w.in.channels, row + inside.begin, apart);
      }
    }
}

// sums[channel][P vectors] (+)= the products of the taps of one input block.
template <int P>
__attribute__((noinline)) void add_taps(const float* in, const SparseTap* tap, const uint32_t* segment, int count,
                                        bool first, float* sums) {
  for (int o = 0; o < count; ++o, sums += P * kLanes) {
    Vec8 sum[P];
    CAMFIT_UNROLL(16) for (int i = 0; i < P; ++i) sum[i] = first ? Vec8::zero() : Vec8::load(sums + i * kLanes);
    for (const SparseTap *e = tap + segment[o], *end = tap + segment[o + 1]; e != end; ++e) {
      const float* x = in + e->offset;
      const Vec8 value = Vec8::broadcast(&e->value);
      CAMFIT_UNROLL(16) for (int i = 0; i < P; ++i) sum[i] = fma(value, Vec8::load(x + i * kLanes), sum[i]);
    }
    CAMFIT_UNROLL(16) for (int i = 0; i < P; ++i) sum[i].store(sums + i * kLanes);
  }
}

using AddTaps = decltype(&add_taps<1>);
constexpr AddTaps kAddTaps[kMostVectors] = {
    add_taps<1>,  add_taps<2>,  add_taps<3>,  add_taps<4>,  add_taps<5>,  add_taps<6>,
    add_taps<7>,  add_taps<8>,  add_taps<9>,  add_taps<10>, add_taps<11>, add_taps<12>,
#if defined(__AVX512F__)
    add_taps<13>, add_taps<14>, add_taps<15>, add_taps<16>,
#endif
};

// Sums of `channels`, `apart` floats from one to the next, to `count` neighbouring pixels.
__attribute__((noinline)) void store_pixels(const float* sums, size_t apart, int count, const Epilogue& epilogue,
                                            Range channels, float* out, size_t pixel) {
  for (int i = 0; i < count; i += kLanes, sums += kLanes, out += kLanes * pixel) {
    const float* from = sums;
    for (int c = channels.begin; c < channels.end; c += kLanes, from += kLanes * apart) {
      Vec8 r[8];
      float* to = out + c;
      if (i + kLanes <= count && c + kLanes <= channels.end) {
        const FinishOf<Vec8> finish(epilogue, c);
        CAMFIT_UNROLL(8) for (int k = 0; k < 8; ++k) r[k] = Vec8::load(from + k * apart);
        transpose(r);
        CAMFIT_UNROLL(8) for (int k = 0; k < 8; ++k, to += pixel) finish(r[k]).store(to);
        continue;
      }
      const ChannelFinish<Vec8, 1> finish(epilogue, c, channels.end - c);
      for (int k = 0; k < 8; ++k) r[k] = k < channels.end - c ? Vec8::load(from + k * apart) : Vec8::zero();
      transpose(r);
      for (int k = 0; k < 8 && i + k < count; ++k, to += pixel) finish.store(to, 0, r[k]);
    }
  }
}

// Positions [first, end) of a block: those of each row that are pixels.
void store_tile(const Window& w, const SparseLayout& l, const float* sums, size_t apart, int first, int end,
                const Epilogue& epilogue, Range channels, float* out) {
  const size_t pixel = size_t(w.out.channels);
  for (int y = first / l.pitch; y * l.pitch < end; ++y) {
    const int row = y * l.pitch, begin = row > first ? row : first;
    const int stop = row + w.out.width < end ? row + w.out.width : end;
    if (begin < stop)
      store_pixels(sums + (begin - first), apart, stop - begin, epilogue, channels,
                   out + (size_t(y) * w.out.width + size_t(begin - row)) * pixel, pixel);
  }
}

}  // namespace

// Measured (docs/engine.md), where the times cross. Winograd's way loses its lead when its weights come from memory.
CostLine conv2d_sparse_cost(const Window& w) {
  constexpr int64_t kHugeFloats = 4 << 20;
  constexpr double kOfWinograd = 0.14, kOfWinogradHuge = 0.27, kOfDirect = 0.4, kOfDirectFew = 0.17;
  constexpr int kFewPixels = 32;  // so few sums to a weight that reading it shows
  if (!sparse_fits(w)) return kNever;
  const int tile = winograd_tile(w);
  if (tile == 0) return {0, 1 / (int64_t(w.out.height) * w.out.width < kFewPixels ? kOfDirectFew : kOfDirect)};
  const int64_t panels = ceil_div(w.out.channels, kPanel);
  return {0, 1 / (panels * int64_t(winograd_panel_floats(w, tile)) > kHugeFloats ? kOfWinogradHuge : kOfWinograd)};
}

size_t conv2d_sparse_scratch(const Window& w) {
  const SparseLayout l = sparse_layout(w);
  return size_t(w.in.channels * sparse_channel_floats(l)) + kSparseSlack +
         size_t(w.out.channels) * kMostPositions + kLanes + 16;  // read past the sums; 16: to align the planes
}

void conv2d_sparse(const Window& w, const float* in, const SparseTaps& weights, const Epilogue& epilogue, float* out,
                   Range rows, Range channels, float* scratch) {
  const SparseLayout l = sparse_layout(w);
  const int blocks = sparse_blocks(w, l), count = channels.end - channels.begin;
  float* const planes = reinterpret_cast<float*>((reinterpret_cast<uintptr_t>(scratch) + 63) & ~uintptr_t(63));
  float* const sums = planes + w.in.channels * sparse_channel_floats(l) + kSparseSlack;
  for (int row = rows.begin; row < rows.end; row += l.rows) {
    const int height = rows.end - row < l.rows ? rows.end - row : l.rows, end = (height - 1) * l.pitch + w.out.width;
    fill_planes(w, l, in, row, height, planes);
    float* to = out + size_t(row) * w.out.width * w.out.channels;
    const int vectors = ceil_div(end, kLanes), tiles = ceil_div(vectors, kMostVectors);
    for (int tile = 0; tile < tiles; ++tile) {
      const int begin = int(int64_t(vectors) * tile / tiles), size = int(int64_t(vectors) * (tile + 1) / tiles) - begin;
      for (int block = 0; block < blocks; ++block) {
        const uint32_t* segment = weights.begin + size_t(block) * w.out.channels + channels.begin;
        kAddTaps[size - 1](planes + begin * kLanes, weights.tap, segment, count, block == 0, sums);
      }
      const int stop = (begin + size) * kLanes < end ? (begin + size) * kLanes : end;
      store_tile(w, l, sums, size_t(size) * kLanes, begin * kLanes, stop, epilogue, channels, to);
    }
  }
}

}  // namespace CAMFIT_SET
}  // namespace camfit
