// Rows are lanes, and a tile's inputs fill two registers: the permutation that looks up a place's input needs no load,
// and another one looks up its value.
#if defined(__AVX512F__)
#include "../simd.h"

namespace camfit {
namespace avx512 {
namespace {

constexpr int kWords = kTileEntries / 3;
static_assert(kTileRows == Vec16::kLanes && kTileColumns == 2 * Vec16::kLanes, "");
constexpr size_t kAhead = 512;  // words that are fetched ahead

inline Vec16 look_up(Vec16 low, Vec16 high, __m512i index) { return _mm512_permutex2var_ps(low, index, high); }

}  // namespace

void linear_tiles(const SparseTiles& weights, const float* in, const Epilogue& epilogue, float* out, Range rows) {
  const int tiles = ceil_div(weights.columns, kTileColumns);
  const Vec16 low = Vec16::load(weights.codebook), high = Vec16::load(weights.codebook + 16);
  const SparseRows& rest = weights.rest;
  const uint16_t* column = static_cast<const uint16_t*>(rest.column);
  for (int row = rows.begin; row < rows.end; row += kTileRows) {
    const uint32_t* word = weights.word + size_t(row / kTileRows) * tiles * (kWords * kTileRows);
    Vec16 sum[3] = {Vec16::zero(), Vec16::zero(), Vec16::zero()};
    for (int t = 0; t < tiles; ++t) {
      const float* x = in + t * kTileColumns;
      const int left = weights.columns - t * kTileColumns;
      const Vec16 a = Vec16::load(x, Vec16::mask(left)), b = Vec16::load(x + 16, Vec16::mask(left - 16));
      CAMFIT_UNROLL(2) for (int d = 0; d < kWords; ++d, word += kTileRows) {
        _mm_prefetch(reinterpret_cast<const char*>(word + kAhead), _MM_HINT_T0);
        const __m512i places = _mm512_loadu_si512(word);
        sum[0] = fma(look_up(a, b, places), look_up(low, high, _mm512_srli_epi32(places, 5)), sum[0]);
        sum[1] = fma(look_up(a, b, _mm512_srli_epi32(places, 10)), look_up(low, high, _mm512_srli_epi32(places, 15)),
                     sum[1]);
        sum[2] = fma(look_up(a, b, _mm512_srli_epi32(places, 20)), look_up(low, high, _mm512_srli_epi32(places, 25)),
                     sum[2]);
      }
    }
    alignas(64) float total[kTileRows];
    (sum[0] + (sum[1] + sum[2])).store(total);
    const int stop = rows.end - row < kTileRows ? rows.end - row : kTileRows;
    for (int lane = 0; lane < stop; ++lane) {
      float more[2] = {};
      uint32_t e = rest.row_begin[row + lane];
      const uint32_t end = rest.row_begin[row + lane + 1];
      for (; e + 2 <= end; e += 2)
        CAMFIT_UNROLL(2) for (int u = 0; u < 2; ++u) more[u] += weights.codebook[rest.code[e + u]] * in[column[e + u]];
      if (e < end) more[0] += weights.codebook[rest.code[e]] * in[column[e]];
      total[lane] += more[0] + more[1];
    }
    ChannelFinish<Vec16, 1>(epilogue, row, stop).store(out + row, 0, Vec16::load(total));
  }
}

}  // namespace avx512
}  // namespace camfit
#endif
