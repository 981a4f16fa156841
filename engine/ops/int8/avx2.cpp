// Integer convolution, depthwise convolution and linear layer by VPMADDUBSW: products of neighbouring bytes added in 16
// bits, which int8.h's extras keep from saturating, then VPMADDWD to 32 bits.
#if defined(__AVX2__)
#include "add_avx2.h"
#include "depthwise_avx2.h"
#include "elementwise.h"
#include "interleave.h"
#include "padded.h"
#include "pool_avx2.h"
#include "vectors_avx2.h"
#include "../vector.h"

namespace camfit {
namespace avx2 {
namespace {

constexpr int kPixels = 4, kBytes = kPanel * kQuad;

// Sums of kPanel outputs, in two vectors.
struct Sums {
  __m256i low, high;
};

inline __m256i load_quad(const uint8_t* at) {
  int32_t quad;
  memcpy(&quad, at, sizeof quad);
  return _mm256_set1_epi32(quad);
}

inline __m256i widened(__m256i words) { return _mm256_madd_epi16(words, _mm256_set1_epi16(1)); }

// The weights of a quad, for the low and the high 8 channels of a panel.
struct QuadWeights {
  __m256i low, high;
  explicit QuadWeights(const int8_t* at) {
    low = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(at));
    high = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(at) + 1);
  }
};

// Without `wide`, only the low 8 channels count.
template <bool wide = true>
inline __attribute__((always_inline)) void add_quad(Sums& sums, const uint8_t* pixel, const QuadWeights& w) {
  const __m256i x = load_quad(pixel);
  sums.low = _mm256_add_epi32(sums.low, widened(_mm256_maddubs_epi16(x, w.low)));
  if (wide) sums.high = _mm256_add_epi32(sums.high, widened(_mm256_maddubs_epi16(x, w.high)));
}

// A quad and the one after it, whose products are added in 16 bits first.
template <bool wide = true>
inline __attribute__((always_inline)) void add_quads(Sums& sums, const uint8_t* pixel, const QuadWeights& w,
                                                     const QuadWeights& next) {
  const __m256i x = load_quad(pixel), y = load_quad(pixel + kQuad);
  const __m256i low = _mm256_add_epi16(_mm256_maddubs_epi16(x, w.low), _mm256_maddubs_epi16(y, next.low));
  sums.low = _mm256_add_epi32(sums.low, widened(low));
  if (!wide) return;
  const __m256i high = _mm256_add_epi16(_mm256_maddubs_epi16(x, w.high), _mm256_maddubs_epi16(y, next.high));
  sums.high = _mm256_add_epi32(sums.high, widened(high));
}

inline Sums biases(const Requantize& to, size_t c) { return Sums{load8(to.bias + c), load8(to.bias + c + 8)}; }

// `count` pixels, `step` bytes apart, against one panel. The sums start at the biases.
template <int count, bool wide>
inline __attribute__((always_inline)) void convolve(const uint8_t* origin, size_t step, const QuadPlaces& places,
                                                    const Int8Panels& panels, int panel, size_t quads, const Sums& bias,
                                                    Sums (&all)[count]) {
  Sums sums[count];
  CAMFIT_UNROLL(4) for (int i = 0; i < count; ++i) sums[i] = bias;
  const int8_t* weights = panels.values + size_t(panel) * quads * kBytes;
  const int joined = panels.together == 2 ? places.quads / 2 : 0, single = places.quads - 2 * joined;
  for (int y = 0; y < places.rows; ++y) {
    for (int run = 0; run < places.runs; ++run) {
      const uint8_t* x = origin + size_t(y) * places.row + size_t(run) * places.run;
      for (int q = 0; q < joined; ++q, x += 2 * kQuad, weights += 2 * kBytes) {
        const QuadWeights w(weights), next(weights + kBytes);
        CAMFIT_UNROLL(4) for (int i = 0; i < count; ++i) add_quads<wide>(sums[i], x + size_t(i) * step, w, next);
      }
      for (int q = 0; q < single; ++q, x += kQuad, weights += kBytes) {
        const QuadWeights w(weights);
        CAMFIT_UNROLL(4) for (int i = 0; i < count; ++i) add_quad<wide>(sums[i], x + size_t(i) * step, w);
      }
    }
  }
  if (panels.extra_begin) {
    // Extras come in the order of their quads, so their runs are walked to rather than divided for.
    const uint8_t *row = origin, *of_run = origin;
    int run = 0;
    uint32_t first = 0;  // quad of the run
    for (uint32_t e = panels.extra_begin[panel]; e < panels.extra_begin[panel + 1]; ++e) {
      for (; panels.extra_quad[e] - first >= uint32_t(places.quads); first += uint32_t(places.quads)) {
        const bool last = ++run == places.runs;
        if (last) run = 0;
        row += last ? places.row : 0;
        of_run = last ? row : of_run + places.run;
      }
      const uint8_t* x = of_run + (panels.extra_quad[e] - first) * kQuad;
      const QuadWeights w(panels.extra + size_t(e) * kBytes);
      CAMFIT_UNROLL(4) for (int i = 0; i < count; ++i) add_quad<wide>(sums[i], x + size_t(i) * step, w);
    }
  }
  CAMFIT_UNROLL(4) for (int i = 0; i < count; ++i) all[i] = sums[i];
}

struct Target {
  const Requantize& to;
  void* out;
  size_t channels;  // of a pixel of the output
};

// `block` is the panel's number.
inline void store(const Target& target, const Sums& sums, const PanelPlace& place, int block, size_t pixel) {
  const Requantize& to = target.to;
  const size_t at = pixel * target.channels + size_t(place.first), c = size_t(place.first);
  if (to.blocks) {
    const __m128i bytes = requantize16(sums.low, sums.high, to, to.blocks[block]);
    store_bytes(static_cast<uint8_t*>(target.out) + at, bytes, place.count);
  } else {
    store_floats(static_cast<float*>(target.out) + at, sums.low, sums.high, to, c, place.count);
  }
}

// One panel and the row of pixels that it goes over.
struct Work {
  const QuadPlaces places;
  const Int8Panels& panels;
  int panel;
  size_t quads;  // of a panel
  const Target& target;
  const PanelPlace place;
};

template <int count, bool wide>
void convolve_and_store(const Work& work, const uint8_t* origin, size_t step, size_t pixel) {
  Sums sums[count];
  const Sums bias = biases(work.target.to, size_t(work.place.first));
  convolve<count, wide>(origin, step, work.places, work.panels, work.panel, work.quads, bias, sums);
  CAMFIT_UNROLL(4) for (int i = 0; i < count; ++i)
    store(work.target, sums[i], work.place, work.panel, pixel + size_t(i));
}

template <bool wide>
void convolve_row(const Work& work, const uint8_t* origin, size_t step, size_t pixel, int count) {
  for (; count >= kPixels; count -= kPixels, origin += kPixels * step, pixel += kPixels)
    convolve_and_store<kPixels, wide>(work, origin, step, pixel);
  switch (count) {
    case 3: return convolve_and_store<3, wide>(work, origin, step, pixel);
    case 2: return convolve_and_store<2, wide>(work, origin, step, pixel);
    case 1: return convolve_and_store<1, wide>(work, origin, step, pixel);
    default: return;
  }
}

size_t int8_conv2d_scratch(const Window& w) { return band_scratch(w); }

void int8_conv2d(const Window& w, const uint8_t* in, int zero, const Int8Panels& panels, const Requantize& to, void* out,
                 Range rows, Range range, uint8_t* scratch) {
  const size_t quads = size_t(quads_of(w)), cin = size_t(w.in.channels / w.groups);
  const Target target = {to, out, size_t(w.out.channels)};
  const auto row = [&](const uint8_t* first, size_t band_row, size_t pixel, int count, size_t step) {
    for (int p = range.begin; p < range.end; ++p) {
      const PanelPlace place = panel_place(w.out.channels, w.groups, p);
      const Work work = {quad_places(w, band_row), panels, p, quads, target, place};
      const auto kernel = place.count > kPanel / 2 ? convolve_row<true> : convolve_row<false>;
      kernel(work, first + size_t(place.group) * cin, step, pixel, count);
    }
  };
  for_each_row(w, in, zero, rows, scratch, row);
}

void int8_linear(int cin, int cout, const uint8_t* in, const Int8Panels& panels, const Requantize& to, void* out,
                 Range range) {
  const size_t quads = size_t(ceil_div(cin, kQuad));
  const Target target = {to, out, size_t(cout)};
  for (int p = range.begin; p < range.end; ++p) {
    const PanelPlace place = panel_place(cout, 1, p);
    // Two sums, so that one does not wait for the other.
    Sums sums[2] = {biases(to, size_t(place.first)), {_mm256_setzero_si256(), _mm256_setzero_si256()}};
    const int8_t* weights = panels.values + size_t(p) * quads * kBytes;
    const bool joined = panels.together == 2;
    size_t q = 0;
    for (; q + 4 <= quads; q += 4, weights += 4 * kBytes) {
      const QuadWeights w[4] = {QuadWeights(weights), QuadWeights(weights + kBytes), QuadWeights(weights + 2 * kBytes),
                                QuadWeights(weights + 3 * kBytes)};
      const uint8_t* x = in + q * kQuad;
      if (joined) {
        add_quads(sums[0], x, w[0], w[1]);
        add_quads(sums[1], x + 2 * kQuad, w[2], w[3]);
        continue;
      }
      CAMFIT_UNROLL(4) for (int i = 0; i < 4; ++i) add_quad(sums[i % 2], x + i * kQuad, w[i]);
    }
    for (; q < quads; ++q, weights += kBytes) add_quad(sums[0], in + q * kQuad, QuadWeights(weights));
    for (uint32_t e = panels.extra_begin ? panels.extra_begin[p] : 0;
         panels.extra_begin && e < panels.extra_begin[p + 1]; ++e)
      add_quad(sums[1], in + size_t(panels.extra_quad[e]) * kQuad, QuadWeights(panels.extra + size_t(e) * kBytes));
    sums[0].low = _mm256_add_epi32(sums[0].low, sums[1].low);
    sums[0].high = _mm256_add_epi32(sums[0].high, sums[1].high);
    store(target, sums[0], place, p, 0);
  }
}

// 8 channels of two pixels, one above the other, as pairs of 16 bits.
inline __m256i pair_of(const uint8_t* upper, const uint8_t* lower) {
  const auto widened = [](const uint8_t* at) {
    return _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(at)));
  };
  return lower ? _mm256_or_si256(widened(upper), _mm256_slli_epi32(widened(lower), 16)) : widened(upper);
}

// One pair of taps added to 16 channels.
inline void add_pair(Sums* sums, const uint8_t* upper, const uint8_t* lower, const int16_t* weights) {
  const __m256i* pairs = reinterpret_cast<const __m256i*>(weights);
  const __m256i low = pair_of(upper, lower), high = pair_of(upper + 8, lower ? lower + 8 : nullptr);
  sums->low = _mm256_add_epi32(sums->low, _mm256_madd_epi16(low, _mm256_loadu_si256(pairs)));
  sums->high = _mm256_add_epi32(sums->high, _mm256_madd_epi16(high, _mm256_loadu_si256(pairs + 1)));
}

void int8_depthwise(const Window& w, const uint8_t* in, int zero, const int16_t* weights, const Requantize& to, void* out,
                    Range rows, uint8_t* scratch) {
  if (is_depthwise_3x3(w, to))
    return depthwise_3x3<DepthwiseSet>(w, in, zero, weights, to, static_cast<uint8_t*>(out), rows, scratch);
  const size_t channels = size_t(w.in.channels), padded = size_t(ceil_div(w.in.channels, kPanel)) * kPanel;
  const size_t column = size_t(w.dilation_w) * channels;
  const Target target = {to, out, channels};
  const auto row = [&](const uint8_t* first, size_t band_row, size_t pixel, int count, size_t step) {
    const size_t below = band_row * size_t(w.dilation_h);
    for (size_t c = 0; c < channels; c += kPanel) {
      const PanelPlace place = {0, int(c), int(channels - c < kPanel ? channels - c : kPanel)};
      const uint8_t* origin = first + c;
      for (int x = 0; x < count; ++x, origin += step) {
        Sums sums = biases(to, c);
        const int16_t* pairs = weights + 2 * c;
        for (int kx = 0; kx < w.kernel_w; ++kx) {
          const uint8_t* at = origin + size_t(kx) * column;
          for (int ky = 0; ky < w.kernel_h; ky += 2, at += 2 * below, pairs += 2 * padded)
            add_pair(&sums, at, ky + 1 < w.kernel_h ? at + below : nullptr, pairs);
        }
        store(target, sums, place, int(c / kPanel), pixel + size_t(x));
      }
    }
  };
  for_each_row(w, in, zero, rows, scratch, row);
}

}  // namespace

const Int8Kernels int8_kernels =
    CAMFIT_INT8_TABLE(true, int8_conv2d_scratch, int8_conv2d, int8_depthwise, int8_linear,
                      interleave::channel_shuffle, bytes256);

}  // namespace avx2
}  // namespace camfit
#endif
