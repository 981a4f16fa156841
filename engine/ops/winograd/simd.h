// Winograd's convolution in blocks of tiles: the inputs of all tiles are transformed, [point][tile][channel]; then, for a
// group of panels after the other, each point is a matrix product, and its results, [pass][point][tile][channel], are
// transformed to outputs. A pass is what the product takes at once: one panel, or two with AVX-512.
//   weights that a cache holds:  a block is as large as its inputs stay in the second-level cache; groups of one pass;
//   more weights than that:      they should be read as seldom as may be. Blocks are large, and groups too, so that the
//                                inputs of one point stay in the cache for all passes of a group.
#pragma once
#include <string.h>

#include "../product.h"
#include "../simd.h"
#include "tiles.h"
#include "winograd/winograd.h"

namespace camfit {
namespace CAMFIT_SET {
namespace {

constexpr int kLanes = Vec::kLanes;
constexpr int kPanelsAtOnce = kLanes / 8;    // of a pass
constexpr int kMostTiles = 28;               // of a block
constexpr int kGroupPasses = 16 / kPanelsAtOnce / 2;
constexpr int64_t kCachedFloats = 256 << 10;  // of transformed weights
constexpr size_t kBlockFloats = 96 << 10;     // of transformed inputs, where the weights are cached
constexpr int kFewTiles = 9;                  // see winograd_tile
constexpr int64_t kHugeFloats = 4 << 20;
constexpr int kFewChannels = 5;

int64_t weight_floats(const Window& w, int points) {
  return int64_t(points) * points * w.in.channels * w.out.channels;
}

struct Layout {
  int points, tiles, passes;        // per side; of a block; of a group
  size_t pitch;                     // floats from tile to tile of the transformed inputs
  size_t input_step, product_step;  // floats from point to point: apart from multiples of the cache's ways
  size_t half;                      // floats of a pass's products of one panel, before those of half the next one
  size_t zeros, inputs, products;   // floats of scratch; products: of one pass
};

Layout layout_of(const Window& w, int tile) {
  Layout l = {};
  l.points = tile + w.kernel_h - 1;
  const size_t all = size_t(l.points) * l.points;
  const bool cached = weight_floats(w, l.points) <= kCachedFloats;
  l.pitch = (size_t(w.in.channels) + kLanes - 1) / kLanes * kLanes;
  const int across = ceil_div(w.out.width, tile), down = ceil_div(w.out.height, tile);
  l.tiles = kMostTiles;
  while (cached && l.tiles > kTilePixels<Vec> && l.tiles * l.pitch * all > kBlockFloats) l.tiles -= kTilePixels<Vec>;
  if (int64_t(across) * down < l.tiles) l.tiles = across * down;
  l.passes = cached ? 1 : kGroupPasses;
  l.input_step = l.tiles * l.pitch + 16;
  l.product_step = size_t(l.tiles) * (kPanelsAtOnce * kPanel) + 16;
  l.half = size_t(l.tiles) * kPanel;
  l.zeros = l.pitch;
  l.inputs = all * l.input_step;
  l.products = all * l.product_step;
  return l;
}

template <int A>
__attribute__((noinline)) void transform_inputs(const Window& w, const Layout& l, const float* in, int tile, int first,
                                                int count, const float* zeros, float* to) {
  const int across = ceil_div(w.out.width, tile), channels = w.in.channels;
  const ptrdiff_t row = ptrdiff_t(w.in.width) * channels;
  for (int t = 0; t < count; ++t, to += l.pitch) {
    const Place place = place_of(first + t, across, tile);
    const int y = place.y - w.pad_top, x = place.x - w.pad_left;
    const float* from = in + y * row + ptrdiff_t(x) * channels;
    if (y >= 0 && x >= 0 && y + A <= w.in.height && x + A <= w.in.width) {
      transform_tile<A>(Inside{from, row, channels}, channels, to, l.input_step);
      continue;
    }
    const float* pixels[A][A];
    list_pixels(w, y, x, in, zeros, pixels);
    transform_tile<A>(Listed<A>{pixels[0], 0}, channels, to, l.input_step);
  }
}

// to[tile][V vectors] = inputs[tile][cin] x weights[cin][kPanel], of one point. Meanwhile fetches `next`, the weights of the
// next product, evenly, for it reads them all with its first tile.
template <typename F, int V>
__attribute__((noinline)) void multiply(const Layout& l, int count, int cin, const float* inputs, const float* weights,
                                        const float* next, size_t apart, float* to) {
  for_tiles<V == 1 ? 8 : kTilePixels<F>>(count, [&](auto pixels, int first) __attribute__((always_inline)) {
    constexpr int P = decltype(pixels)::kCount;
    F sum[P][V];
    const float* x[P];
    CAMFIT_UNROLL(8) for (int i = 0; i < P; ++i) {
      x[i] = inputs + (first + i) * l.pitch;
      CAMFIT_UNROLL(2) for (int v = 0; v < V; ++v) sum[i][v] = F::zero();
    }
    const Ahead ahead(next + size_t(cin) * first / count * kPanel, kLine * P / count);
    add_products<F, P, V>(sum, x, cin, weights, apart, ahead);
    float* at = to + size_t(first) * (V * F::kLanes);
    CAMFIT_UNROLL(8) for (int i = 0; i < P; ++i)
      CAMFIT_UNROLL(2) for (int v = 0; v < V; ++v, at += F::kLanes) sum[i][v].store(at);
  });
}

#if defined(__AVX512F__)
// The same of one panel and the first half of the next one, `apart` floats on: to `to` and to `to_half`.
__attribute__((noinline)) void multiply_with_half(const Layout& l, int count, int cin, const float* inputs,
                                                  const float* weights, const float* next, size_t apart, float* to,
                                                  float* to_half) {
  for_tiles<kTilePixels<Vec16>>(count, [&](auto pixels, int first) __attribute__((always_inline)) {
    constexpr int P = decltype(pixels)::kCount;
    Vec16 sum[P];
    Vec8 half[P];
    const float* x[P];
    CAMFIT_UNROLL(8) for (int i = 0; i < P; ++i) {
      x[i] = inputs + (first + i) * l.pitch;
      sum[i] = Vec16::zero();
      half[i] = Vec8::zero();
    }
    const float* at = weights;
    Ahead ahead(next + size_t(cin) * first / count * kPanel, kLine * P / count);
    for (int k = 0; k < cin; ++k, at += kPanel, ahead.at += ahead.step) {
      const Vec16 weight = Vec16::load(at);
      const Vec8 half_weight = Vec8::load(at + apart);
      __builtin_prefetch(ahead.at, 0, 2);
      __builtin_prefetch(ahead.at + apart * sizeof(float), 0, 2);
      CAMFIT_UNROLL(8) for (int i = 0; i < P; ++i) {
        const Vec16 value = Vec16::broadcast(x[i] + k);
        sum[i] = fma(value, weight, sum[i]);
        half[i] = fma(Vec8(_mm512_castps512_ps256(value)), half_weight, half[i]);
      }
    }
    CAMFIT_UNROLL(8) for (int i = 0; i < P; ++i) {
      sum[i].store(to + size_t(first + i) * Vec16::kLanes);
      half[i].store(to_half + size_t(first + i) * Vec8::kLanes);
    }
  });
}
#endif

// The products of one pass, of so many channels, at one point: no more than half a vector wider than they are.
void multiply_pass(const Layout& l, int count, int cin, int channels, const float* inputs, const float* weights,
                   const float* next, size_t panel_size, float* to) {
  if (channels <= Vec8::kLanes) return multiply<Vec8, 1>(l, count, cin, inputs, weights, next, 0, to);
#if defined(__AVX512F__)
  if (channels <= kPanel) return multiply<Vec16, 1>(l, count, cin, inputs, weights, next, 0, to);
  if (channels <= kPanel + Vec8::kLanes)
    return multiply_with_half(l, count, cin, inputs, weights, next, panel_size, to, to + l.half);
  multiply<Vec16, 2>(l, count, cin, inputs, weights, next, panel_size, to);
#else
  (void)panel_size;
  multiply<Vec8, 2>(l, count, cin, inputs, weights, next, Vec8::kLanes, to);
#endif
}

template <int M, int A>
void store_pass(const Window& w, const Layout& l, int first, int count, Range channels, const float* products,
                const Epilogue& epilogue, float* out, int end_row) {
  const auto store = [&](auto finish, const float* from, int channel) {
    transform_outputs<M, A>(w, first, count, from, l.product_step, finish, out + channel, end_row);
  };
  const int begin = channels.begin, width = channels.end - begin;
  if (width <= Vec8::kLanes) return store(ChannelFinish<Vec8, 1>(epilogue, begin, width), products, begin);
#if defined(__AVX512F__)
  if (width <= kPanel) return store(ChannelFinish<Vec16, 1>(epilogue, begin, width), products, begin);
  if (width <= kPanel + Vec8::kLanes) {
    store(ChannelFinish<Vec16, 1>(epilogue, begin, kPanel), products, begin);
    return store(ChannelFinish<Vec8, 1>(epilogue, begin + kPanel, width - kPanel), products + l.half, begin + kPanel);
  }
#endif
  store(ChannelFinish<Vec, 2>(epilogue, begin, width), products, begin);
}

template <int M, int A>
void convolve(const Window& w, const float* in, const float* panel, const Epilogue& epilogue, float* out, Range rows,
              Range panels, float* scratch) {
  const Layout l = layout_of(w, M);
  const int across = ceil_div(w.out.width, M), cin = w.in.channels, end = ceil_div(rows.end, M) * across;
  const size_t point_size = size_t(cin) * kPanel, panel_size = point_size * A * A;
  float* const zeros = reinterpret_cast<float*>((reinterpret_cast<uintptr_t>(scratch) + 63) & ~uintptr_t(63));
  float *const inputs = zeros + l.zeros, *const products = inputs + l.inputs;
  memset(zeros, 0, l.zeros * sizeof(float));
  const auto weights_at = [&](int p, int point) {
    return panel + size_t(p - panels.begin) * panel_size + point * point_size;
  };
  // Of the pass whose first panel is p, of a group that ends before panel `stop`.
  const auto channels_of = [&](int p, int stop) {
    const int last = (p + kPanelsAtOnce < stop ? p + kPanelsAtOnce : stop) * kPanel;
    return Range{p * kPanel, last < w.out.channels ? last : w.out.channels};
  };
  const int begin = rows.begin / M * across;
  if (begin == end) return;
  const int block = ceil_div(end - begin, ceil_div(end - begin, l.tiles));  // even ones, none with a tile or two
  for (int first = begin; first < end; first += block) {
    const int count = end - first < block ? end - first : block;
    transform_inputs<A>(w, l, in, M, first, count, zeros, inputs);
    for (int group = panels.begin; group < panels.end; group += l.passes * kPanelsAtOnce) {
      const int after = group + l.passes * kPanelsAtOnce, stop = after < panels.end ? after : panels.end;
      for (int point = 0; point < A * A; ++point) {
        const float* x = inputs + point * l.input_step;
        float* to = products + point * l.product_step;
        for (int p = group; p < stop; p += kPanelsAtOnce, to += l.products) {
          const Range channels = channels_of(p, stop);
          const bool last = p + kPanelsAtOnce >= stop;
          const float* next = last ? weights_at(group, point + 1) : weights_at(p + kPanelsAtOnce, point);
          multiply_pass(l, count, cin, channels.end - channels.begin, x, weights_at(p, point), next, panel_size, to);
        }
      }
      const float* from = products;
      for (int p = group; p < stop; p += kPanelsAtOnce, from += l.products)
        store_pass<M, A>(w, l, first, count, channels_of(p, stop), from, epilogue, out, rows.end);
    }
  }
}

}  // namespace

// Measured (docs/engine.md): with fewer input channels the transforms cost what the products save. Tiles
// of 4 need some of them to share each weight; with few, and transformed weights that no cache holds, those of 2 are
// faster, whose weights take 16/36 of the space.
int winograd_tile(const Window& w) {
  if (!winograd_fits(w, 2) || w.in.channels < kFewChannels) return 0;
  if (!winograd_fits(w, 4)) return 2;
  const int64_t tiles = int64_t(ceil_div(w.out.width, 4)) * ceil_div(w.out.height, 4);
  return tiles < 4 || (tiles < kFewTiles && weight_floats(w, 6) > kHugeFloats) ? 2 : 4;
}

size_t winograd_scratch(const Window& w, int tile) {
  const Layout l = layout_of(w, tile);
  const int passes = ceil_div(ceil_div(w.out.channels, kPanel), kPanelsAtOnce);
  return l.zeros + l.inputs + size_t(passes < l.passes ? passes : l.passes) * l.products + 16;  // 16: to align them
}

void winograd(const Window& w, int tile, const float* in, const float* panel, const Epilogue& epilogue, float* out,
              Range rows, Range panels, float* scratch) {
  if (w.kernel_h == 5)
    convolve<2, 6>(w, in, panel, epilogue, out, rows, panels, scratch);
  else if (tile == 4)
    convolve<4, 6>(w, in, panel, epilogue, out, rows, panels, scratch);
  else
    convolve<2, 4>(w, in, panel, epilogue, out, rows, panels, scratch);
}

}  // namespace CAMFIT_SET
}  // namespace camfit
