// The inner loop of dense products: a tile of pixels times vectors of output channels, all sums in registers.
#pragma once
#include "vector.h"

namespace camfit {
namespace {

// Pixels of a full tile: as many as leave registers for the weights, and pointers for the pixels.
template <typename F>
constexpr int kTilePixels = F::kLanes == 8 ? 6 : 8;

// Weights stream by, and processors that fetch ahead of their own accord stop at each page. So each input of a tile
// fetches `step` bytes on from `at`: one line where each weight is read once.
struct Ahead {
  const char* at;
  size_t step;
  Ahead(const float* weights, size_t bytes) : at(reinterpret_cast<const char*>(weights)), step(bytes) {}
};
constexpr size_t kLine = kPanel * sizeof(float);

// sum[i][v] += the products of `length` inputs of pixel i with the weights of vector v, which lie at
// weights + v * apart, kPanel floats from input to input.
template <typename F, int P, int V>
inline __attribute__((always_inline)) void add_products(F (&sum)[P][V], const float* const (&x)[P], int length,
                                                        const float* weights, size_t apart, Ahead ahead) {
  for (int k = 0; k < length; ++k, weights += kPanel, ahead.at += ahead.step) {
    F weight[V];
    CAMFIT_UNROLL(2) for (int v = 0; v < V; ++v) {
      weight[v] = F::load(weights + v * apart);
      if (v == 0 || F::kLanes == kPanel) __builtin_prefetch(ahead.at + v * apart * sizeof(float), 0, 2);
    }
    CAMFIT_UNROLL(8) for (int i = 0; i < P; ++i) {
      const F value = F::broadcast(x[i] + k);
      CAMFIT_UNROLL(2) for (int v = 0; v < V; ++v) sum[i][v] = fma(value, weight[v], sum[i][v]);
    }
  }
}

// The same for one vector, with the sums of even and odd inputs apart, so that there are still two a pixel.
template <typename F, int P>
inline __attribute__((always_inline)) void add_products_split(F (&sum)[P][2], const float* const (&x)[P], int length,
                                                              const float* weights) {
  int k = 0;
  for (; k + 2 <= length; k += 2, weights += 2 * kPanel) {
    const F even = F::load(weights), odd = F::load(weights + kPanel);
    CAMFIT_UNROLL(8) for (int i = 0; i < P; ++i) {
      sum[i][0] = fma(F::broadcast(x[i] + k), even, sum[i][0]);
      sum[i][1] = fma(F::broadcast(x[i] + k + 1), odd, sum[i][1]);
    }
  }
  if (k == length) return;
  const F even = F::load(weights);
  CAMFIT_UNROLL(8) for (int i = 0; i < P; ++i) sum[i][0] = fma(F::broadcast(x[i] + k), even, sum[i][0]);
}

// Cuts `count` pixels into tiles: full ones, then one or two that share the rest evenly, for a tile of one or two
// pixels waits for its sums. Calls tile(size, first) with size an integral constant.
template <int N>
struct Pixels {
  static constexpr int kCount = N;
};
template <int P, typename Tile>
inline __attribute__((always_inline)) void small_tile(int size, int first, const Tile& tile) {
  switch (size) {
    case 1: return tile(Pixels<1>(), first);
    case 2: return tile(Pixels<2>(), first);
    case 3: return tile(Pixels<3>(), first);
    case 4: return tile(Pixels<4>(), first);
    case 5: return tile(Pixels<5>(), first);
    case 6: return tile(Pixels<6>(), first);
    case 7: return tile(Pixels<(P > 7 ? 7 : 6)>(), first);
    default: return tile(Pixels<P>(), first);
  }
}
template <int P, typename Tile>
inline __attribute__((always_inline)) void for_tiles(int count, const Tile& tile) {
  int i = 0;
  const int rest = count % P, shared = rest > 0 && rest <= P / 2 && count > P ? P + rest : rest;
  for (; i + shared < count; i += P) tile(Pixels<P>(), i);
  while (i < count) {
    const int left = count - i, size = left > P ? left / 2 : left;
    small_tile<P>(size, i, tile);
    i += size;
  }
}

}  // namespace
}  // namespace camfit
