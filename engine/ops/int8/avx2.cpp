// Integer convolution, depthwise convolution and linear layer by VPMADDUBSW: products of neighbouring bytes added in 16
// bits, which int8.h's extras keep from saturating, then VPMADDWD to 32 bits.
#if defined(__AVX2__)
#include "elementwise.h"
#include "padded.h"
#include "vectors_avx2.h"

namespace camfit {
namespace avx2 {
namespace {

constexpr int kPixels = 4;

// Sums of kPanel outputs, in two vectors.
struct Sums {
  __m256i low, high;
};

inline __m256i quad_product(__m256i pixel, __m256i weights) {
  return _mm256_madd_epi16(_mm256_maddubs_epi16(pixel, weights), _mm256_set1_epi16(1));
}

inline void add_quad(Sums* sums, const uint8_t* pixel, __m256i low, __m256i high) {
  int32_t quad;
  memcpy(&quad, pixel, sizeof quad);
  const __m256i x = _mm256_set1_epi32(quad);
  sums->low = _mm256_add_epi32(sums->low, quad_product(x, low));
  sums->high = _mm256_add_epi32(sums->high, quad_product(x, high));
}

inline __m256i load_weights(const int8_t* at) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(at)); }

// `count` pixels, `step` bytes apart, against one panel.
template <int count>
void convolve(const uint8_t* origin, size_t step, const QuadPlaces& places, const Int8Panels& panels, int panel,
              size_t quads, Sums* sums) {
  for (int i = 0; i < count; ++i) sums[i] = Sums{_mm256_setzero_si256(), _mm256_setzero_si256()};
  constexpr int kBytes = kPanel * kQuad;
  const int8_t* weights = panels.values + size_t(panel) * quads * kBytes;
  for (int y = 0; y < places.rows; ++y) {
    for (int run = 0; run < places.runs; ++run) {
      const uint8_t* x = origin + size_t(y) * places.row + size_t(run) * places.run;
      for (int q = 0; q < places.quads; ++q, x += kQuad, weights += kBytes) {
        const __m256i low = load_weights(weights), high = load_weights(weights + kBytes / 2);
        for (int i = 0; i < count; ++i) add_quad(&sums[i], x + size_t(i) * step, low, high);
      }
    }
  }
  if (!panels.extra_begin) return;
  for (uint32_t e = panels.extra_begin[panel]; e < panels.extra_begin[panel + 1]; ++e) {
    const int8_t* extra = panels.extra + size_t(e) * kBytes;
    const uint8_t* x = origin + places.of(panels.extra_quad[e]);
    const __m256i low = load_weights(extra), high = load_weights(extra + kBytes / 2);
    for (int i = 0; i < count; ++i) add_quad(&sums[i], x + size_t(i) * step, low, high);
  }
}

struct Target {
  const Requantize& to;
  void* out;
  size_t channels;  // of a pixel of the output
};

inline void store(const Target& target, const Sums& sums, const PanelPlace& place, size_t pixel) {
  const Requantize& to = target.to;
  const size_t at = pixel * target.channels + size_t(place.first), c = size_t(place.first);
  if (to.multiplier) {
    const __m128i bytes = requantize16(sums.low, sums.high, to, c);
    store_bytes(static_cast<uint8_t*>(target.out) + at, bytes, place.count);
  } else {
    store_floats(static_cast<float*>(target.out) + at, sums.low, sums.high, to, c, place.count);
  }
}

template <int count>
void convolve_and_store(const uint8_t* origin, size_t step, const QuadPlaces& places, const Int8Panels& panels, int panel,
                        size_t quads, const Target& target, const PanelPlace& place, size_t pixel) {
  Sums sums[kPixels];
  convolve<count>(origin, step, places, panels, panel, quads, sums);
  for (int i = 0; i < count; ++i) store(target, sums[i], place, pixel + size_t(i));
}

size_t int8_conv2d_scratch(const Window& w) { return band_scratch(w); }

void int8_conv2d(const Window& w, const uint8_t* in, int zero, const Int8Panels& panels, const Requantize& to, void* out,
                 Range rows, Range range, uint8_t* scratch) {
  const size_t quads = size_t(quads_of(w)), cin = size_t(w.in.channels / w.groups);
  const Target target = {to, out, size_t(w.out.channels)};
  const auto row = [&](const uint8_t* first, size_t band_row, size_t pixel, int count, size_t step) {
    const QuadPlaces places = quad_places(w, band_row);
    for (int p = range.begin; p < range.end; ++p) {
      const PanelPlace place = panel_place(w.out.channels, w.groups, p);
      const uint8_t* origin = first + size_t(place.group) * cin;
      int x = 0;
      for (; x + kPixels <= count; x += kPixels, origin += kPixels * step)
        convolve_and_store<4>(origin, step, places, panels, p, quads, target, place, pixel + size_t(x));
      switch (count - x) {
        case 3: convolve_and_store<3>(origin, step, places, panels, p, quads, target, place, pixel + size_t(x)); break;
        case 2: convolve_and_store<2>(origin, step, places, panels, p, quads, target, place, pixel + size_t(x)); break;
        case 1: convolve_and_store<1>(origin, step, places, panels, p, quads, target, place, pixel + size_t(x)); break;
        default: break;
      }
    }
  };
  for_each_row(w, in, zero, rows, scratch, row);
}

void int8_linear(int cin, int cout, const uint8_t* in, const Int8Panels& panels, const Requantize& to, void* out,
                 Range range) {
  constexpr int kBytes = kPanel * kQuad;
  const size_t quads = size_t(ceil_div(cin, kQuad));
  const Target target = {to, out, size_t(cout)};
  for (int p = range.begin; p < range.end; ++p) {
    // Two sums, so that one does not wait for the other.
    Sums sums[2];
    for (Sums& s : sums) s = Sums{_mm256_setzero_si256(), _mm256_setzero_si256()};
    const int8_t* weights = panels.values + size_t(p) * quads * kBytes;
    size_t q = 0;
    for (; q + 2 <= quads; q += 2, weights += 2 * kBytes) {
      add_quad(&sums[0], in + q * kQuad, load_weights(weights), load_weights(weights + 32));
      add_quad(&sums[1], in + (q + 1) * kQuad, load_weights(weights + 64), load_weights(weights + 96));
    }
    if (q < quads) add_quad(&sums[0], in + q * kQuad, load_weights(weights), load_weights(weights + 32));
    for (uint32_t e = panels.extra_begin ? panels.extra_begin[p] : 0;
         panels.extra_begin && e < panels.extra_begin[p + 1]; ++e) {
      const int8_t* extra = panels.extra + size_t(e) * kBytes;
      add_quad(&sums[1], in + size_t(panels.extra_quad[e]) * kQuad, load_weights(extra), load_weights(extra + 32));
    }
    sums[0].low = _mm256_add_epi32(sums[0].low, sums[1].low);
    sums[0].high = _mm256_add_epi32(sums[0].high, sums[1].high);
    store(target, sums[0], panel_place(cout, 1, p), 0);
  }
}

// Two taps of 16 channels against their pairs of weights.
inline void add_pair(Sums* sums, __m128i a, __m128i b, const int16_t* weights) {
  const __m256i low = _mm256_cvtepu8_epi16(_mm_unpacklo_epi8(a, b)), high = _mm256_cvtepu8_epi16(_mm_unpackhi_epi8(a, b));
  const __m256i* pairs = reinterpret_cast<const __m256i*>(weights);
  sums->low = _mm256_add_epi32(sums->low, _mm256_madd_epi16(low, _mm256_loadu_si256(pairs)));
  sums->high = _mm256_add_epi32(sums->high, _mm256_madd_epi16(high, _mm256_loadu_si256(pairs + 1)));
}

void int8_depthwise(const Window& w, const uint8_t* in, int zero, const int16_t* weights, const Requantize& to, void* out,
                    Range rows) {
  const size_t channels = size_t(w.in.channels), padded = size_t(ceil_div(w.in.channels, kPanel)) * kPanel;
  const int taps = w.kernel_h * w.kernel_w;
  const Target target = {to, out, channels};
  const __m128i outside = _mm_set1_epi8(char(zero));
  for (int oy = rows.begin; oy < rows.end; ++oy) {
    for (int ox = 0; ox < w.out.width; ++ox) {
      const int iy = oy * w.stride_h - w.pad_top, ix = ox * w.stride_w - w.pad_left;
      for (size_t c = 0; c < channels; c += kPanel) {
        const PanelPlace place = {0, int(c), int(channels - c < kPanel ? channels - c : kPanel)};
        const auto tap = [&](int t) {
          const int y = iy + t / w.kernel_w * w.dilation_h, x = ix + t % w.kernel_w * w.dilation_w;
          if (t >= taps || y < 0 || y >= w.in.height || x < 0 || x >= w.in.width) return outside;
          const uint8_t* at = in + (size_t(y) * size_t(w.in.width) + size_t(x)) * channels + c;
          return _mm_loadu_si128(reinterpret_cast<const __m128i*>(at));  // past the end: kInt8Slack
        };
        Sums sums = {_mm256_setzero_si256(), _mm256_setzero_si256()};
        for (int t = 0; t < taps; t += 2)
          add_pair(&sums, tap(t), tap(t + 1), weights + (size_t(t / 2) * padded + c) * 2);
        store(target, sums, place, size_t(oy) * size_t(w.out.width) + size_t(ox));
      }
    }
  }
}

}  // namespace

const Int8Kernels int8_kernels =
    CAMFIT_INT8_TABLE(true, int8_conv2d_scratch, int8_conv2d, int8_depthwise, int8_linear);

}  // namespace avx2
}  // namespace camfit
#endif
