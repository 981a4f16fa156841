// Convolution by the columns of the lowered matrix that a panel of output channels uses. Nothing is gathered: tiles, sums
// and weights are those of the dense kernel (conv2d/simd.h), but the inputs of a pixel are read at a list of offsets, one
// more load for the products of a whole tile. With AVX-512 two panels that use the same columns are computed at once.
#pragma once
#include "../product.h"
#include "../simd.h"
#include "block.h"
#include "winograd/winograd.h"

namespace camfit {
namespace CAMFIT_SET {
namespace {

constexpr int kBlockPixels = 96;  // whose origins are listed at a time: a multiple of both sizes of tiles

// sum[i][v] += the products of the columns from `offset` on of pixel i with the weights of vector v.
template <typename F, int P, int V>
inline __attribute__((always_inline)) void add_columns(F (&sum)[P][V], const float* const (&x)[P],
                                                       const int32_t* offset, uint32_t count, const float* weights,
                                                       size_t apart) {
  for (uint32_t k = 0; k < count; ++k, weights += kPanel) {
    F weight[V];
    CAMFIT_UNROLL(2) for (int v = 0; v < V; ++v) weight[v] = F::load(weights + v * apart);
    const ptrdiff_t at = offset[k];
    CAMFIT_UNROLL(8) for (int i = 0; i < P; ++i) {
      const F value = F::broadcast(x[i] + at);
      CAMFIT_UNROLL(2) for (int v = 0; v < V; ++v) sum[i][v] = fma(value, weight[v], sum[i][v]);
    }
  }
}

// The same for one vector, with the sums of even and odd columns apart, so that there are still two a pixel.
template <typename F, int P>
inline __attribute__((always_inline)) void add_columns_split(F (&sum)[P][2], const float* const (&x)[P],
                                                             const int32_t* offset, uint32_t count,
                                                             const float* weights) {
  uint32_t k = 0;
  for (; k + 2 <= count; k += 2, weights += 2 * kPanel) {
    const F even = F::load(weights), odd = F::load(weights + kPanel);
    const ptrdiff_t at = offset[k], next = offset[k + 1];
    CAMFIT_UNROLL(8) for (int i = 0; i < P; ++i) {
      sum[i][0] = fma(F::broadcast(x[i] + at), even, sum[i][0]);
      sum[i][1] = fma(F::broadcast(x[i] + next), odd, sum[i][1]);
    }
  }
  if (k == count) return;
  const F even = F::load(weights);
  CAMFIT_UNROLL(8) for (int i = 0; i < P; ++i) sum[i][0] = fma(F::broadcast(x[i] + offset[k]), even, sum[i][0]);
}

// V vectors of channels over `count` pixels whose outputs are stored one after the other.
template <typename F, int V, bool kSplit>
__attribute__((noinline)) void tiles_of(const float* const* pixels, int count, const int32_t* offset, uint32_t columns,
                                        const float* weights, size_t apart, const ChannelFinish<F, V>& finish,
                                        float* out, size_t out_stride) {
  for_tiles<kTilePixels<F>>(count, [&](auto size, int first) __attribute__((always_inline)) {
    constexpr int P = decltype(size)::kCount, kSums = kSplit ? 2 : V;
    F sum[P][kSums];
    const float* x[P];
    CAMFIT_UNROLL(8) for (int i = 0; i < P; ++i) {
      x[i] = pixels[first + i];
      CAMFIT_UNROLL(2) for (int v = 0; v < kSums; ++v) sum[i][v] = F::zero();
    }
    if constexpr (kSplit)
      add_columns_split<F, P>(sum, x, offset, columns, weights);
    else
      add_columns<F, P, V>(sum, x, offset, columns, weights, apart);
    float* to = out + size_t(first) * out_stride;
    CAMFIT_UNROLL(8) for (int i = 0; i < P; ++i, to += out_stride) {
      if (kSplit) sum[i][0] = sum[i][0] + sum[i][1];
      CAMFIT_UNROLL(2) for (int v = 0; v < V; ++v) finish.store(to, v, sum[i][v]);
    }
  });
}

void panels_of(const Window& w, const PanelColumns& weights, const float* const* pixels, int count,
               const Epilogue& epilogue, float* out, Range panels) {
  const size_t out_stride = size_t(w.out.channels);
  for (int p = panels.begin; p < panels.end; ++p) {
    const PanelPlace place = panel_place(w.out.channels, w.groups, p);
    const ColumnList list = weights.list[p];
    const int32_t* const offset = weights.offset + list.first;
    const float* const value = weights.value + list.value;
    float* const to = out + place.first;
    if (place.count <= Vec8::kLanes) {
      const ChannelFinish<Vec8, 1> finish(epilogue, place.first, place.count);
      tiles_of<Vec8, 1, true>(pixels, count, offset, list.count, value, 0, finish, to, out_stride);
      continue;
    }
#if defined(__AVX512F__)
    if (p + 1 < panels.end && weights.list[p + 1].first == list.first && weights.list[p + 1].count == list.count) {
      const PanelPlace next = panel_place(w.out.channels, w.groups, p + 1);
      if (next.group == place.group && next.count > Vec8::kLanes) {
        const ChannelFinish<Vec16, 2> finish(epilogue, place.first, kPanel + next.count);
        tiles_of<Vec16, 2, false>(pixels, count, offset, list.count, value, size_t(list.count) * kPanel, finish, to,
                                  out_stride);
        ++p;
        continue;
      }
    }
    const ChannelFinish<Vec16, 1> finish(epilogue, place.first, place.count);
    tiles_of<Vec16, 1, false>(pixels, count, offset, list.count, value, 0, finish, to, out_stride);
#else
    const ChannelFinish<Vec8, 2> finish(epilogue, place.first, place.count);
    tiles_of<Vec8, 2, false>(pixels, count, offset, list.count, value, Vec8::kLanes, finish, to, out_stride);
#endif
  }
}

}  // namespace

// Measured (docs/engine.md): at the rate of the direct kernel, which Winograd's way beats by what its tiles save, less what
// its transforms take: the more, the fewer the channels.
CostLine conv2d_columns_cost(const Window& w) {
  if (!columns_fit(w)) return kNever;
  const int tile = winograd_tile(w);
  if (tile == 0) return {0.05, 1.0};
  constexpr double kChannels = 12;
  const double channels = 2.0 * w.in.channels * w.out.channels / (w.in.channels + w.out.channels);
  const double saved = w.kernel_h == 5 ? 2.55 : tile == 2 ? 2.2 : 3.4;
  return {w.kernel_h == 5 ? 0.05 : 0.1, saved * channels / (channels + kChannels)};
}

size_t conv2d_columns_scratch(const Window& w) { return size_t(columns_layout(w).scratch); }

void conv2d_columns(const Window& w, const float* in, const PanelColumns& weights, const Epilogue& epilogue, float* out,
                    Range rows, Range panels, float* scratch) {
  const ColumnsLayout l = columns_layout(w);
  const size_t down = size_t(w.stride_h) * size_t(l.pitch), right = size_t(w.stride_w) * w.in.channels;
  const int width = w.out.width;
  for (int row = rows.begin; row < rows.end; row += l.rows) {
    const int height = rows.end - row < l.rows ? rows.end - row : l.rows, all = height * width;
    const float* const origin = block_origin(w, l, in, row, height, scratch);
    const float* pixels[kBlockPixels];
    for (int first = 0; first < all; first += kBlockPixels) {
      const int count = all - first < kBlockPixels ? all - first : kBlockPixels;
      for (int i = 0, y = first / width, x = first % width; i < count; ++y, x = 0)
        for (; i < count && x < width; ++i, ++x) pixels[i] = origin + size_t(y) * down + size_t(x) * right;
      float* const to = out + (size_t(row) * width + size_t(first)) * w.out.channels;
      panels_of(w, weights, pixels, count, epilogue, to, panels);
    }
  }
}

}  // namespace CAMFIT_SET
}  // namespace camfit
