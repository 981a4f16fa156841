// Tiles of Winograd's convolution: where they lie, and their transforms, vectors of channels at a time.
#pragma once
#include "../simd.h"
#include "../window.h"
#include "transforms.h"

namespace camfit {
namespace {

// Where tile number `index`, counted row by row, begins in the output.
struct Place {
  int y, x;
};
inline Place place_of(int index, int across, int tile) { return {index / across * tile, index % across * tile}; }

// All channels of one tile. source(i, j): input pixel (i, j) of the tile.
template <int A, typename Source>
inline __attribute__((always_inline)) void transform_tile(const Source& source, int channels, float* to, size_t step) {
  for (int c = 0; c < channels; c += Vec::kLanes) {
    const bool whole = c + Vec::kLanes <= channels;
    const Vec::Mask mask = Vec::mask(channels - c);
    Vec rows[A][A];
    CAMFIT_UNROLL(6) for (int j = 0; j < A; ++j) {
      Vec d[A], t[A];
      if (whole)
        CAMFIT_UNROLL(6) for (int i = 0; i < A; ++i) d[i] = Vec::load(source(i, j) + c);
      else
        CAMFIT_UNROLL(6) for (int i = 0; i < A; ++i) d[i] = Vec::load(source(i, j) + c, mask);
      transform_input(d, t);
      CAMFIT_UNROLL(6) for (int i = 0; i < A; ++i) rows[i][j] = t[i];
    }
    float* at = to + c;
    CAMFIT_UNROLL(6) for (int i = 0; i < A; ++i) {
      Vec t[A];
      transform_input(rows[i], t);
      CAMFIT_UNROLL(6) for (int j = 0; j < A; ++j, at += step) t[j].store(at);
    }
  }
}

// `count` tiles of N vectors of channels, [tile][N vectors] and `step` floats from point to point, stored from `out` on.
template <int M, int A, int N>
__attribute__((noinline)) void transform_outputs(const Window& w, int first, int count, const float* products,
                                                 size_t step, const ChannelFinish<Vec, N>& finish, float* out,
                                                 int end_row) {
  const int across = ceil_div(w.out.width, M);
  const size_t channels = size_t(w.out.channels), row = size_t(w.out.width) * channels;
  for (int t = 0; t < count; ++t) {
    const Place place = place_of(first + t, across, M);
    const int height = end_row - place.y < M ? end_row - place.y : M;
    const int width = w.out.width - place.x < M ? w.out.width - place.x : M;
    CAMFIT_UNROLL(2) for (int n = 0; n < N; ++n, products += Vec::kLanes) {
      Vec columns[M][A];
      CAMFIT_UNROLL(6) for (int j = 0; j < A; ++j) {
        Vec m[A], y[M];
        CAMFIT_UNROLL(6) for (int i = 0; i < A; ++i) m[i] = Vec::load(products + size_t(i * A + j) * step);
        transform_output(m, y);
        CAMFIT_UNROLL(4) for (int i = 0; i < M; ++i) columns[i][j] = y[i];
      }
      float* to = out + size_t(place.y) * row + size_t(place.x) * channels;
      CAMFIT_UNROLL(4) for (int i = 0; i < M; ++i, to += row) {
        if (i >= height) break;
        Vec y[M];
        transform_output(columns[i], y);
        CAMFIT_UNROLL(4) for (int j = 0; j < M; ++j)
          if (j < width) finish.store(to + j * channels, n, y[j]);
      }
    }
  }
}

}  // namespace
}  // namespace camfit
