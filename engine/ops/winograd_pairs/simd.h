// Winograd's convolution of which whole kernels are zero. Zero they are at every point too, so one list of pairs of channels
// serves all points, and a pair that is left out saves all of its products. What is left of a point's matrix follows no
// pattern, so vectors lie along tiles here: a weight is loaded once for all tiles of a block, whose sums stay in registers,
// and what it reads is aligned. Both transforms keep to vectors of channels; their results are transposed, 8 x 8 floats
// at a time:
//   inputs   [point][input channel][tile],   products   [point][output channel][tile]
#pragma once
#include "../transpose.h"
#include "winograd/tiles.h"
#include "winograd/winograd.h"

namespace camfit {
namespace CAMFIT_SET {
namespace {

constexpr int kLanes = Vec8::kLanes;
#if defined(__AVX512F__)
constexpr int kMostVectors = 16;
#else
constexpr int kMostVectors = 12;
#endif
constexpr int kSomeVectors = 6, kFewVectors = 3;  // so few sums wait for each other: two or four sets of them take turns
constexpr size_t kBlockFloats = 448 << 10;        // of inputs and products
constexpr size_t kPointFloats = 5 << 10;          // of the inputs of one point: within the first-level cache
constexpr int kGroupChannels = 4 * kPanel;        // output channels whose products are held at a time
constexpr size_t kPassChannels = kPanel;          // and which are transformed at once

struct Layout {
  size_t points;                    // of a tile
  int tiles;                        // of a block: a multiple of 8
  int sums;                         // sets of sums
  size_t input_step, product_step;  // floats from point to point: apart from multiples of the cache's ways
  size_t zeros, inputs, products, transposed;  // floats of scratch
};

Layout layout_of(const Window& w, int tile) {
  Layout l = {};
  l.points = size_t(tile + w.kernel_h - 1) * size_t(tile + w.kernel_h - 1);
  const int all = ceil_div(w.out.width, tile) * ceil_div(w.out.height, tile);
  const size_t group = size_t(w.out.channels < kGroupChannels ? w.out.channels : kGroupChannels);
  const size_t channels = size_t(w.in.channels) + group;
  int most = kMostVectors * kLanes;
  while (most > kLanes && (l.points * channels * size_t(most) > kBlockFloats ||
                           size_t(w.in.channels) * size_t(most) > kPointFloats))
    most -= kLanes;
  l.tiles = ceil_div(ceil_div(all, ceil_div(all, most)), kLanes) * kLanes;
  l.sums = l.tiles <= kFewVectors * kLanes ? 4 : l.tiles <= kSomeVectors * kLanes ? 2 : 1;
  l.input_step = size_t(w.in.channels) * size_t(l.tiles) + 16;
  l.product_step = group * size_t(l.tiles) + 16;
  l.zeros = (size_t(w.in.channels) + Vec::kLanes - 1) / Vec::kLanes * Vec::kLanes;
  l.inputs = l.points * l.input_step;
  l.products = l.points * l.product_step;
  l.transposed = l.points * size_t(kLanes) * kPassChannels;
  return l;
}

// Up to eight tiles from tile `first` on, of which `count` are real, to `to` [point][input channel][tile]; `pitch`: tiles of
// a row of `to`.
template <int A>
__attribute__((noinline)) void transform_inputs(const Window& w, const Layout& l, const float* in, int tile, int first,
                                                int count, const float* zeros, float* transposed, float* to,
                                                size_t pitch) {
  const int across = ceil_div(w.out.width, tile), channels = w.in.channels;
  const ptrdiff_t row = ptrdiff_t(w.in.width) * channels;
  const float* corner[kLanes];     // of a tile that lies inside the image, else null
  const float* pixels[kLanes][A][A];  // of the others
  for (int t = 0; t < kLanes; ++t) {
    const Place place = place_of(first + t, across, tile);
    const int y = place.y - w.pad_top, x = place.x - w.pad_left;
    const float* from = in + y * row + ptrdiff_t(x) * channels;
    corner[t] = t < count && y >= 0 && x >= 0 && y + A <= w.in.height && x + A <= w.in.width ? from : nullptr;
    if (corner[t]) continue;
    list_pixels(w, t < count ? y : w.in.height, x, in, zeros, pixels[t]);
  }
  for (int c = 0; c < channels; c += Vec::kLanes) {
    const int left = channels - c < Vec::kLanes ? channels - c : Vec::kLanes;
    constexpr size_t kStep = size_t(kLanes) * Vec::kLanes;
    for (int t = 0; t < kLanes; ++t) {
      float* const tiles = transposed + t * Vec::kLanes;
      if (const float* const from = corner[t])
        transform_tile<A>(Inside{from + c, row, channels}, left, tiles, kStep);
      else
        transform_tile<A>(Listed<A>{pixels[t][0], c}, left, tiles, kStep);
    }
    const float* from = transposed;
    for (size_t point = 0; point < l.points; ++point, from += kLanes * Vec::kLanes)
      for (int half = 0; half < left; half += kLanes) {
        Vec8 r[8];
        CAMFIT_UNROLL(8) for (int t = 0; t < 8; ++t) r[t] = Vec8::load(from + t * Vec::kLanes + half);
        transpose(r);
        float* row = to + point * l.input_step + size_t(c + half) * pitch;
        for (int k = 0; k < 8 && half + k < left; ++k, row += pitch) r[k].store(row);
      }
  }
}

// Sums over the pairs of each output channel of `channels`, of one point: to[channel][P vectors of tiles]. kSums: sets of sums.
template <int P, int kSums>
__attribute__((noinline)) void add_pairs(const float* in, const ChannelPairs& pairs, const float* value, Range channels,
                                         float* to) {
  for (int o = channels.begin; o < channels.end; ++o, to += P * kLanes) {
    Vec8 sum[kSums][P];
    CAMFIT_UNROLL(4) for (int s = 0; s < kSums; ++s)
      CAMFIT_UNROLL(16) for (int i = 0; i < P; ++i) sum[s][i] = Vec8::zero();
    const auto add = [&](Vec8(&sums)[P], uint32_t e) __attribute__((always_inline)) {
      const float* x = in + size_t(pairs.channel[e]) * (P * kLanes);
      const Vec8 weight = Vec8::broadcast(value + e);
      CAMFIT_UNROLL(16) for (int i = 0; i < P; ++i) sums[i] = fma(weight, Vec8::load(x + i * kLanes), sums[i]);
    };
    uint32_t e = pairs.begin[o];
    const uint32_t end = pairs.begin[o + 1];
    for (; e + kSums <= end; e += kSums) CAMFIT_UNROLL(4) for (int s = 0; s < kSums; ++s) add(sum[s], e + uint32_t(s));
    for (; e < end; ++e) add(sum[0], e);
    CAMFIT_UNROLL(16) for (int i = 0; i < P; ++i) {
      Vec8 all = sum[0][i];
      CAMFIT_UNROLL(4) for (int s = 1; s < kSums; ++s) all = all + sum[s][i];
      all.store(to + i * kLanes);
    }
  }
}

using AddPairs = decltype(&add_pairs<1, 1>);
constexpr AddPairs kAddFew[kFewVectors] = {add_pairs<1, 4>, add_pairs<2, 4>, add_pairs<3, 4>};
constexpr AddPairs kAddSome[kSomeVectors] = {add_pairs<1, 2>, add_pairs<2, 2>, add_pairs<3, 2>,
                                             add_pairs<4, 2>, add_pairs<5, 2>, add_pairs<6, 2>};
constexpr AddPairs kAddMany[kMostVectors] = {
    add_pairs<1, 1>,  add_pairs<2, 1>,  add_pairs<3, 1>,  add_pairs<4, 1>,  add_pairs<5, 1>,  add_pairs<6, 1>,
    add_pairs<7, 1>,  add_pairs<8, 1>,  add_pairs<9, 1>,  add_pairs<10, 1>, add_pairs<11, 1>, add_pairs<12, 1>,
#if defined(__AVX512F__)
    add_pairs<13, 1>, add_pairs<14, 1>, add_pairs<15, 1>, add_pairs<16, 1>,
#endif
};

// The output channels from `channel` on, kPassChannels at most, of `count` tiles from tile `first` on, whose products
// begin at `from`, [point][channel][tile].
template <int M, int A>
__attribute__((noinline)) void store_tiles(const Window& w, const Layout& l, int first, int count, const float* from,
                                           size_t pitch, int channel, const Epilogue& epilogue, float* transposed,
                                           float* out, int end_row) {
  const int left = w.out.channels - channel < int(kPassChannels) ? w.out.channels - channel : int(kPassChannels);
  constexpr int kVectors = int(kPassChannels) / Vec::kLanes;
  float* to = transposed;
  for (size_t point = 0; point < l.points; ++point, to += kLanes * kPassChannels, from += l.product_step)
    for (int half = 0; half < int(kPassChannels); half += kLanes) {
      Vec8 r[8];
      for (int k = 0; k < 8; ++k)
        r[k] = half + k < left ? Vec8::load(from + size_t(half + k) * pitch) : Vec8::zero();
      transpose(r);
      CAMFIT_UNROLL(8) for (int t = 0; t < 8; ++t) r[t].store(to + size_t(t) * kPassChannels + half);
    }
  transform_outputs<M, A>(w, first, count, transposed, kLanes * kPassChannels,
                          ChannelFinish<Vec, kVectors>(epilogue, channel, left), out + channel, end_row);
}

template <int M, int A>
void convolve(const Window& w, const float* in, const ChannelPairs& pairs, const Epilogue& epilogue, float* out,
              Range rows, Range channels, float* scratch) {
  const Layout l = layout_of(w, M);
  const int across = ceil_div(w.out.width, M), end = ceil_div(rows.end, M) * across;
  float* const zeros = reinterpret_cast<float*>((reinterpret_cast<uintptr_t>(scratch) + 63) & ~uintptr_t(63));
  float *const transposed = zeros + l.zeros, *const inputs = transposed + l.transposed;
  float* const products = inputs + l.inputs;
  for (size_t i = 0; i < l.zeros; ++i) zeros[i] = 0.0f;
  for (int first = rows.begin / M * across; first < end; first += l.tiles) {
    const int count = end - first < l.tiles ? end - first : l.tiles, vectors = ceil_div(count, kLanes);
    const size_t pitch = size_t(vectors) * kLanes;
    for (int t = 0; t < count; t += kLanes)
      transform_inputs<A>(w, l, in, M, first + t, count - t, zeros, transposed, inputs + t, pitch);
    const AddPairs* const adds = l.sums == 4 ? kAddFew : l.sums == 2 ? kAddSome : kAddMany;
    for (int group = channels.begin; group < channels.end; group += kGroupChannels) {
      const int stop = channels.end - group < kGroupChannels ? channels.end : group + kGroupChannels;
      for (size_t point = 0; point < l.points; ++point)
        adds[vectors - 1](inputs + point * l.input_step, pairs, pairs.value + point * pairs.count, {group, stop},
                          products + point * l.product_step);
      for (int channel = group; channel < stop; channel += int(kPassChannels)) {
        const float* from = products + size_t(channel - group) * pitch;
        for (int t = 0; t < count; t += kLanes)
          store_tiles<M, A>(w, l, first + t, count - t < kLanes ? count - t : kLanes, from + t, pitch, channel, epilogue,
                            transposed, out, rows.end);
      }
    }
  }
}

}  // namespace

// With tiles of 4 a small image would leave most of a vector empty.
int winograd_pairs_tile(const Window& w) {
  const int tile = winograd_tile(w);
  return tile == 4 && ceil_div(w.out.width, 4) * ceil_div(w.out.height, 4) < kLanes ? 2 : tile;
}

// Measured (docs/engine.md). The transforms are the larger a share, the fewer the channels; with few tiles, or weights that no
// cache holds, loads bound the products.
CostLine winograd_pairs_cost(const Window& w) {
  constexpr int64_t kLargeFloats = 1 << 20, kHugeFloats = 4 << 20;
  constexpr double kChannels = 45;  // with so many the transforms take half of the time
  const int tile = winograd_pairs_tile(w);
  if (tile == 0) return kNever;
  const Layout l = layout_of(w, tile);
  const int64_t floats = int64_t(l.points) * w.in.channels * w.out.channels;
  const double channels = 2.0 * w.in.channels * w.out.channels / (w.in.channels + w.out.channels);
  const double none = kChannels / (kChannels + channels);
  const double few = floats > kLargeFloats ? 2.3 : 1.7;
  const double all = tile != winograd_tile(w) || floats >= kHugeFloats ? 2.9 : l.tiles <= kFewVectors * kLanes ? few : 1.5;
  return {none, all - none};
}

size_t winograd_pairs_scratch(const Window& w, int tile) {
  const Layout l = layout_of(w, tile);
  return l.zeros + l.transposed + l.inputs + l.products + 16;  // 16: to align them
}

void winograd_pairs(const Window& w, const float* in, const ChannelPairs& pairs, const Epilogue& epilogue, float* out,
                    Range rows, Range channels, float* scratch) {
  const int tile = pairs.tile;
  if (w.kernel_h == 5)
    convolve<2, 6>(w, in, pairs, epilogue, out, rows, channels, scratch);
  else if (tile == 4)
    convolve<4, 6>(w, in, pairs, epilogue, out, rows, channels, scratch);
  else
    convolve<2, 4>(w, in, pairs, epilogue, out, rows, channels, scratch);
}

}  // namespace CAMFIT_SET
}  // namespace camfit
