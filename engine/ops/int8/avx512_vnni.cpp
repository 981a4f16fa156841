// Integer convolution, depthwise convolution and linear layer by VPDPBUSD and VPDPWSSD, which add exact products to 32
// bits: no pair of weights needs care.
#if defined(__AVX512VNNI__)
#include <immintrin.h>

#include "add_avx2.h"
#include "depthwise_avx512.h"
#include "elementwise.h"
#include "finish_avx512.h"
#include "interleave.h"
#include "padded.h"
#include "pool_avx2.h"

namespace camfit {
namespace avx512 {
namespace {

constexpr int kPixels = 8, kBytes = kPanel * kQuad;

inline __m512i broadcast_quad(const uint8_t* at) {
  int32_t quad;
  memcpy(&quad, at, sizeof quad);
  return _mm512_set1_epi32(quad);
}

struct Work {
  const Window& window;
  const QuadPlaces places;
  const int8_t* weights;  // of the first panel
  size_t apart;           // bytes from a panel to the next
  const Target target;
  const PanelPlace* place;  // of each panel, all of one group
  int panel;                // number of the first
};

// `pixels` pixels, `step` bytes apart, against `panels` panels. The sums start at the biases.
template <int pixels, int panels>
inline __attribute__((always_inline)) void convolve(const Work& work, const uint8_t* origin, size_t step,
                                                    __m512i (&sums)[pixels][panels]) {
  __m512i sum[pixels][panels];
  const int32_t* bias = work.target.to.bias + work.place->first;
  CAMFIT_UNROLL(8) for (int i = 0; i < pixels; ++i)
    CAMFIT_UNROLL(2) for (int p = 0; p < panels; ++p) sum[i][p] = _mm512_loadu_si512(bias + p * kPanel);
  const QuadPlaces& places = work.places;
  const int8_t* weights = work.weights;
  const size_t apart = work.apart;
  // There is always a row, a run and a quad; loops that know it move no sums between registers.
  int rows = places.rows;
  do {
    const uint8_t* of_run = origin;
    int runs = places.runs;
    do {
      const uint8_t *x = of_run, *fifth = of_run + 4 * step;
      int quads = places.quads;
      do {
        // Two pointers and a step reach all pixels; else the compiler makes a register of each, more than there are.
        asm("" : "+r"(x), "+r"(fifth));
        __m512i w[panels];
        CAMFIT_UNROLL(2) for (int p = 0; p < panels; ++p) w[p] = _mm512_loadu_si512(weights + size_t(p) * apart);
        CAMFIT_UNROLL(8) for (int i = 0; i < pixels; ++i) {
          const __m512i pixel = broadcast_quad((i < 4 ? x : fifth) + size_t(i % 4) * step);
          CAMFIT_UNROLL(2) for (int p = 0; p < panels; ++p) sum[i][p] = _mm512_dpbusd_epi32(sum[i][p], pixel, w[p]);
        }
        x += kQuad;
        fifth += kQuad;
        weights += kBytes;
      } while (--quads > 0);
      of_run += places.run;
    } while (--runs > 0);
    origin += places.row;
  } while (--rows > 0);
  CAMFIT_UNROLL(8) for (int i = 0; i < pixels; ++i)
    CAMFIT_UNROLL(2) for (int p = 0; p < panels; ++p) sums[i][p] = sum[i][p];
}

// With `high`, that is what the panels' blocks are.
template <int pixels, int panels, bool high>
inline __attribute__((always_inline)) void convolve_and_store(const Work& work, const uint8_t* origin, size_t step,
                                                              size_t pixel) {
  __m512i sums[pixels][panels];
  convolve(work, origin, step, sums);
  if constexpr (high) return store_high(work.target, sums, work.place, work.target.to.blocks + work.panel, pixel);
  for (int i = 0; i < pixels; ++i)
    for (int p = 0; p < panels; ++p) store(work.target, sums[i][p], work.place[p], work.panel + p, pixel + size_t(i));
}

template <int pixels, int panels, bool high>
__attribute__((noinline)) void last_pixels(const Work& work, const uint8_t* origin, size_t step, size_t pixel) {
  convolve_and_store<pixels, panels, high>(work, origin, step, pixel);
}

template <int panels, bool high>
void convolve_row(const Work& work, const uint8_t* origin, size_t step, size_t pixel, int count) {
  for (; count >= kPixels; count -= kPixels, origin += kPixels * step, pixel += kPixels)
    convolve_and_store<kPixels, panels, high>(work, origin, step, pixel);
  switch (count) {
    case 7: return last_pixels<7, panels, high>(work, origin, step, pixel);
    case 6: return last_pixels<6, panels, high>(work, origin, step, pixel);
    case 5: return last_pixels<5, panels, high>(work, origin, step, pixel);
    case 4: return last_pixels<4, panels, high>(work, origin, step, pixel);
    case 3: return last_pixels<3, panels, high>(work, origin, step, pixel);
    case 2: return last_pixels<2, panels, high>(work, origin, step, pixel);
    case 1: return last_pixels<1, panels, high>(work, origin, step, pixel);
    default: return;
  }
}

template <int panels>
void convolve_row(const Work& work, const uint8_t* origin, size_t step, size_t pixel, int count) {
  const RequantizeBlock* block = work.target.to.blocks;
  bool high = block != nullptr;
  for (int p = 0; p < panels && high; ++p) high = block[work.panel + p].high;
  const auto kernel = high ? convolve_row<panels, true> : convolve_row<panels, false>;
  kernel(work, origin, step, pixel, count);
}

size_t int8_conv2d_scratch(const Window& w) { return band_scratch(w); }

void int8_conv2d(const Window& w, const uint8_t* in, int zero, const Int8Panels& panels, const Requantize& to, void* out,
                 Range rows, Range range, uint8_t* scratch) {
  const size_t apart = size_t(quads_of(w)) * kBytes, cin = size_t(w.in.channels / w.groups);
  const auto row = [&](const uint8_t* first, size_t band_row, size_t pixel, int count, size_t step) {
    for (int p = range.begin; p < range.end;) {
      PanelPlace place[2] = {panel_place(w.out.channels, w.groups, p), {-1, 0, 0}};
      if (p + 1 < range.end) place[1] = panel_place(w.out.channels, w.groups, p + 1);
      const Work work = {w, quad_places(w, band_row), panels.values + size_t(p) * apart, apart,
                         {to, out, size_t(w.out.channels)}, place, p};
      const uint8_t* origin = first + size_t(place[0].group) * cin;
      if (place[0].group == place[1].group) {
        convolve_row<2>(work, origin, step, pixel, count);
        p += 2;
      } else {
        convolve_row<1>(work, origin, step, pixel, count);
        p += 1;
      }
    }
  };
  for_each_row(w, in, zero, rows, scratch, row);
}

void int8_linear(int cin, int cout, const uint8_t* in, const Int8Panels& panels, const Requantize& to, void* out,
                 Range range) {
  constexpr size_t kTogether = 4;  // sums, so that one does not wait for the other
  const size_t quads = size_t(ceil_div(cin, kQuad));
  for (int p = range.begin; p < range.end; ++p) {
    const PanelPlace place = panel_place(cout, 1, p);
    __m512i sums[kTogether] = {_mm512_loadu_si512(to.bias + place.first)};
    for (size_t i = 1; i < kTogether; ++i) sums[i] = _mm512_setzero_si512();
    const int8_t* weights = panels.values + size_t(p) * quads * kBytes;
    size_t q = 0;
    for (; q + kTogether <= quads; q += kTogether)
      for (size_t i = 0; i < kTogether; ++i)
        sums[i] = _mm512_dpbusd_epi32(sums[i], broadcast_quad(in + (q + i) * kQuad),
                                      _mm512_loadu_si512(weights + (q + i) * kBytes));
    for (; q < quads; ++q)
      sums[0] = _mm512_dpbusd_epi32(sums[0], broadcast_quad(in + q * kQuad), _mm512_loadu_si512(weights + q * kBytes));
    const __m512i sum =
        _mm512_add_epi32(_mm512_add_epi32(sums[0], sums[1]), _mm512_add_epi32(sums[2], sums[3]));
    store({to, out, size_t(cout)}, sum, place, p, 0);
  }
}

inline __m512i widened(const uint8_t* at) {
  return _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(at)));
}

// 16 channels of two pixels, one above the other, as pairs of 16 bits.
inline __m512i pair_of(const uint8_t* upper, const uint8_t* lower) {
  return _mm512_or_si512(widened(upper), _mm512_slli_epi32(widened(lower), 16));
}

inline __m512i load_pairs(const int16_t* at) { return _mm512_loadu_si512(at); }

void int8_depthwise(const Window& w, const uint8_t* in, int zero, const int16_t* weights, const Requantize& to, void* out,
                    Range rows, uint8_t* scratch) {
  if (is_depthwise_3x3(w, to))
    return depthwise_3x3<DepthwiseSet>(w, in, zero, weights, to, static_cast<uint8_t*>(out), rows, scratch);
  const size_t channels = size_t(w.in.channels), padded = size_t(ceil_div(w.in.channels, kPanel)) * kPanel;
  const size_t next = size_t(w.dilation_w) * channels;
  const Target target = {to, out, channels};
  const auto row = [&](const uint8_t* first, size_t band_row, size_t pixel, int count, size_t step) {
    const size_t below = band_row * size_t(w.dilation_h);
    for (size_t c = 0; c < channels; c += kPanel) {
      const PanelPlace place = {0, int(c), int(channels - c < kPanel ? channels - c : kPanel)};
      const uint8_t* origin = first + c;
      for (int x = 0; x < count; ++x, origin += step) {
        __m512i sum = _mm512_loadu_si512(to.bias + c);
        const int16_t* pairs = weights + 2 * c;
        for (int kx = 0; kx < w.kernel_w; ++kx) {
          const uint8_t* at = origin + size_t(kx) * next;
          for (int ky = 0; ky < w.kernel_h; ky += 2, at += 2 * below, pairs += 2 * padded) {
            const __m512i taps = ky + 1 < w.kernel_h ? pair_of(at, at + below) : widened(at);
            sum = _mm512_dpwssd_epi32(sum, taps, load_pairs(pairs));
          }
        }
        store(target, sum, place, int(c / kPanel), pixel + size_t(x));
      }
    }
  };
  for_each_row(w, in, zero, rows, scratch, row);
}

}  // namespace

const Int8Kernels int8_kernels =
    CAMFIT_INT8_TABLE(false, int8_conv2d_scratch, int8_conv2d, int8_depthwise, int8_linear,
                      interleave::channel_shuffle, bytes256);

}  // namespace avx512
}  // namespace camfit
#endif
