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

// The input pixels of a tile that lies inside the image, or a list of them. hidden(): the same place, of which the compiler
// knows nothing, or it would work out all A x A addresses of a tile beforehand and keep them on the stack.
template <typename T>
inline __attribute__((always_inline)) T* hidden(T* place) {
  asm("" : "+r"(place));
  return place;
}
struct Inside {
  const float* corner;
  ptrdiff_t row, column;
  Inside from(int c) const { return {hidden(corner + c), row, column}; }
  void next_column() { corner = hidden(corner + column); }
  const float* at(int i) const { return corner + i * row; }
};
template <int A>
struct Listed {
  const float* const* pixels;
  int channel;
  Listed from(int c) const { return {hidden(pixels), channel + c}; }
  void next_column() { ++pixels; }
  const float* at(int i) const { return pixels[i * A] + channel; }
};

// The pixels of the tile whose first one is (y, x): `zeros` for those outside the image.
template <int A>
inline void list_pixels(const Window& w, int y, int x, const float* in, const float* zeros, const float* (&pixels)[A][A]) {
  const int top = y < 0 ? -y : 0, bottom = w.in.height - y < A ? w.in.height - y : A;
  const int left = x < 0 ? -x : 0, right = w.in.width - x < A ? w.in.width - x : A;
  for (auto& row : pixels)
    for (const float*& pixel : row) pixel = zeros;
  for (int i = top; i < bottom; ++i) {
    const float* from = in + (ptrdiff_t(y + i) * w.in.width + x + left) * w.in.channels;
    for (int j = left; j < right; ++j, from += w.in.channels) pixels[i][j] = from;
  }
}

// One vector of channels of a tile, where not kWhole those of `mask`.
template <typename V, int A, bool kWhole, typename Source>
inline __attribute__((always_inline)) void transform_vector(Source source, typename V::Mask mask, float* to,
                                                            size_t step) {
  V rows[A][A];
  CAMFIT_UNROLL(6) for (int j = 0; j < A; ++j, source.next_column()) {
    V d[A], t[A];
    CAMFIT_UNROLL(6) for (int i = 0; i < A; ++i) d[i] = kWhole ? V::load(source.at(i)) : V::load(source.at(i), mask);
    transform_input(d, t);
    CAMFIT_UNROLL(6) for (int i = 0; i < A; ++i) rows[i][j] = t[i];
  }
  CAMFIT_UNROLL(6) for (int i = 0; i < A; ++i) {
    V t[A];
    transform_input(rows[i], t);
    CAMFIT_UNROLL(6) for (int j = 0; j < A; ++j, to += step) t[j].store(to);
  }
}

// All channels of one tile. Half of a wide vector is enough for a tail that fits it.
template <int A, typename Source>
inline __attribute__((always_inline)) void transform_tile(const Source& source, int channels, float* to, size_t step) {
  const int whole = channels - channels % Vec::kLanes, left = channels - whole;
  for (int c = 0; c < whole; c += Vec::kLanes)
    transform_vector<Vec, A, true>(source.from(c), Vec::mask(Vec::kLanes), hidden(to + c), step);
  if (left == 0) return;
  if (left <= Vec8::kLanes)
    transform_vector<Vec8, A, false>(source.from(whole), Vec8::mask(left), to + whole, step);
  else
    transform_vector<Vec, A, false>(source.from(whole), Vec::mask(left), to + whole, step);
}

// `count` tiles of N vectors of channels, [tile][N vectors] and `step` floats from point to point, stored from `out` on.
template <int M, int A, typename V, int N>
__attribute__((noinline)) void transform_outputs(const Window& w, int first, int count, const float* products,
                                                 size_t step, const ChannelFinish<V, N>& to_finish, float* out,
                                                 int end_row) {
  const ChannelFinish<V, N> finish = to_finish;  // a copy, which no store can change
  const int across = ceil_div(w.out.width, M);
  const size_t channels = size_t(w.out.channels), row = size_t(w.out.width) * channels, row_step = A * step;
  Place place = place_of(first, across, M);
  for (int t = 0; t < count; ++t) {
    const int height = end_row - place.y < M ? end_row - place.y : M;
    const int width = w.out.width - place.x < M ? w.out.width - place.x : M;
    CAMFIT_UNROLL(2) for (int n = 0; n < N; ++n, products += V::kLanes) {
      V columns[M][A];
      const float* column = products;
      CAMFIT_UNROLL(6) for (int j = 0; j < A; ++j, column = hidden(column + step)) {
        V m[A], y[M];
        CAMFIT_UNROLL(6) for (int i = 0; i < A; ++i) m[i] = V::load(column + i * row_step);
        transform_output(m, y);
        CAMFIT_UNROLL(4) for (int i = 0; i < M; ++i) columns[i][j] = y[i];
      }
      float* to = out + size_t(place.y) * row + size_t(place.x) * channels;
      CAMFIT_UNROLL(4) for (int i = 0; i < M; ++i, to = hidden(to + row)) {
        if (i >= height) break;
        V y[M];
        transform_output(columns[i], y);
        CAMFIT_UNROLL(4) for (int j = 0; j < M; ++j)
          if (j < width) finish.store(to + j * channels, n, y[j]);
      }
    }
    place.x += M;
    if (place.x >= w.out.width) place = {place.y + M, 0};
  }
}

}  // namespace
}  // namespace camfit
