// Integer convolution, depthwise convolution and linear layer by VPDPBUSD and VPDPWSSD, which add exact products to 32
// bits: no pair of weights needs care.
#if defined(__AVX512VNNI__)
#include <immintrin.h>

#include "elementwise.h"
#include "interleave.h"
#include "padded.h"

namespace camfit {
namespace avx512 {
namespace {

constexpr int kPixels = 8, kBytes = kPanel * kQuad;

inline __m512i broadcast_quad(const uint8_t* at) {
  int32_t quad;
  memcpy(&quad, at, sizeof quad);
  return _mm512_set1_epi32(quad);
}

struct Target {
  const Requantize& to;
  void* out;
  size_t channels;  // of a pixel of the output
};

// `block` is the panel's number.
inline void store(const Target& target, __m512i sum, const PanelPlace& place, int number, size_t pixel) {
  const Requantize& to = target.to;
  const size_t at = pixel * target.channels + size_t(place.first), c = size_t(place.first);
  const __mmask16 lanes = __mmask16((1u << place.count) - 1);
  if (!to.blocks) {
    const __m512i biased = _mm512_add_epi32(sum, _mm512_loadu_si512(to.bias + c));
    __m512 y = _mm512_mul_ps(_mm512_cvtepi32_ps(biased), _mm512_loadu_ps(to.scale + c));
    if (to.activation != Activation::kNone) y = _mm512_max_ps(_mm512_setzero_ps(), y);
    if (to.activation == Activation::kRelu6) y = _mm512_min_ps(_mm512_set1_ps(6.0f), y);
    _mm512_mask_storeu_ps(static_cast<float*>(target.out) + at, lanes, y);
    return;
  }
  const RequantizeBlock& block = to.blocks[number];
  const auto scaled = [&](__m512i sums, int odd) {
    const __m512i product = _mm512_mul_epi32(sums, _mm512_loadu_si512(block.multiplier[odd]));
    return _mm512_srlv_epi64(_mm512_add_epi64(product, _mm512_loadu_si512(block.add[odd])),
                             _mm512_loadu_si512(block.shift[odd]));
  };
  const __m512i odd = _mm512_slli_epi64(scaled(_mm512_srli_epi64(sum, 32), 1), 32);
  const __m512i both = _mm512_mask_blend_epi32(0xAAAA, scaled(sum, 0), odd);
  const __m512i level = _mm512_sub_epi32(both, _mm512_loadu_si512(block.less));
  const __m512i clamped = _mm512_min_epi32(_mm512_max_epi32(level, _mm512_set1_epi32(to.low)), _mm512_set1_epi32(to.high));
  _mm512_mask_cvtepi32_storeu_epi8(static_cast<uint8_t*>(target.out) + at, lanes, clamped);
}

// `pixels` pixels, `step` bytes apart, against `panels` panels, whose weights are `apart` bytes apart.
template <int pixels, int panels>
void convolve(const uint8_t* origin, size_t step, const QuadPlaces& places, const int8_t* weights, size_t apart,
              __m512i (*sums)[panels]) {
  __m512i sum[pixels][panels];
  for (int i = 0; i < pixels; ++i)
    for (int p = 0; p < panels; ++p) sum[i][p] = _mm512_setzero_si512();
  for (int y = 0; y < places.rows; ++y) {
    for (int run = 0; run < places.runs; ++run) {
      const uint8_t* x = origin + size_t(y) * places.row + size_t(run) * places.run;
      for (int q = 0; q < places.quads; ++q, x += kQuad, weights += kBytes) {
        __m512i w[panels];
        for (int p = 0; p < panels; ++p) w[p] = _mm512_loadu_si512(weights + size_t(p) * apart);
        for (int i = 0; i < pixels; ++i) {
          const __m512i pixel = broadcast_quad(x + size_t(i) * step);
          for (int p = 0; p < panels; ++p) sum[i][p] = _mm512_dpbusd_epi32(sum[i][p], pixel, w[p]);
        }
      }
    }
  }
  for (int i = 0; i < pixels; ++i)
    for (int p = 0; p < panels; ++p) sums[i][p] = sum[i][p];
}

struct Work {
  const Window& window;
  const QuadPlaces places;
  const int8_t* weights;  // of the first panel
  size_t apart;
  const Target target;
  const PanelPlace* place;  // of each panel
  int panel;                // number of the first
};

template <int pixels, int panels>
void convolve_and_store(const Work& work, const uint8_t* origin, size_t step, size_t pixel) {
  __m512i sums[pixels][panels];
  convolve<pixels, panels>(origin, step, work.places, work.weights, work.apart, sums);
  for (int i = 0; i < pixels; ++i)
    for (int p = 0; p < panels; ++p) store(work.target, sums[i][p], work.place[p], work.panel + p, pixel + size_t(i));
}

template <int panels>
void convolve_row(const Work& work, const uint8_t* origin, size_t step, size_t pixel, int count) {
  for (; count >= kPixels; count -= kPixels, origin += kPixels * step, pixel += kPixels)
    convolve_and_store<kPixels, panels>(work, origin, step, pixel);
  switch (count) {
    case 7: return convolve_and_store<7, panels>(work, origin, step, pixel);
    case 6: return convolve_and_store<6, panels>(work, origin, step, pixel);
    case 5: return convolve_and_store<5, panels>(work, origin, step, pixel);
    case 4: return convolve_and_store<4, panels>(work, origin, step, pixel);
    case 3: return convolve_and_store<3, panels>(work, origin, step, pixel);
    case 2: return convolve_and_store<2, panels>(work, origin, step, pixel);
    case 1: return convolve_and_store<1, panels>(work, origin, step, pixel);
    default: return;
  }
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
    __m512i sums[kTogether];
    for (__m512i& sum : sums) sum = _mm512_setzero_si512();
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
    store({to, out, size_t(cout)}, sum, panel_place(cout, 1, p), p, 0);
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

// The columns that the windows of one row read, of 3 x 3 taps: a column is made once and used up to three times.
struct Column {
  __m512i upper, lower;  // pairs of the first two rows, the third row
};

template <int stride>
void depthwise_3x3(const uint8_t* origin, size_t below, size_t channels, const int16_t* weights, size_t padded, int count,
                   const Target& target, const PanelPlace& place, int block, size_t pixel) {
  __m512i w[6];
  for (int i = 0; i < 6; ++i) w[i] = load_pairs(weights + size_t(i) * padded * 2);
  const auto column = [&](size_t x) {
    const uint8_t* at = origin + x * channels;
    return Column{pair_of(at, at + below), widened(at + 2 * below)};
  };
  Column first = column(0), second = stride == 1 ? column(1) : first;
  for (int x = 0; x < count; ++x) {
    const size_t at = size_t(x) * stride;
    if (stride == 2) second = column(at + 1);
    const Column third = column(at + 2);
    __m512i sum = _mm512_dpwssd_epi32(_mm512_setzero_si512(), first.upper, w[0]);
    __m512i other = _mm512_dpwssd_epi32(_mm512_setzero_si512(), first.lower, w[1]);
    sum = _mm512_dpwssd_epi32(sum, second.upper, w[2]);
    other = _mm512_dpwssd_epi32(other, second.lower, w[3]);
    sum = _mm512_dpwssd_epi32(sum, third.upper, w[4]);
    other = _mm512_dpwssd_epi32(other, third.lower, w[5]);
    store(target, _mm512_add_epi32(sum, other), place, block, pixel + size_t(x));
    first = stride == 1 ? second : third;
    second = third;
  }
}

void int8_depthwise(const Window& w, const uint8_t* in, int zero, const int16_t* weights, const Requantize& to, void* out,
                    Range rows, uint8_t* scratch) {
  const size_t channels = size_t(w.in.channels), padded = size_t(ceil_div(w.in.channels, kPanel)) * kPanel;
  const size_t next = size_t(w.dilation_w) * channels;
  const Target target = {to, out, channels};
  const bool three = w.kernel_h == 3 && w.kernel_w == 3 && w.dilation_w == 1;
  const auto row = [&](const uint8_t* first, size_t band_row, size_t pixel, int count, size_t step) {
    const size_t below = band_row * size_t(w.dilation_h);
    for (size_t c = 0; c < channels; c += kPanel) {
      const PanelPlace place = {0, int(c), int(channels - c < kPanel ? channels - c : kPanel)};
      const int block = int(c / kPanel);
      const uint8_t* origin = first + c;
      if (three && w.stride_w <= 2) {
        const auto kernel = w.stride_w == 1 ? depthwise_3x3<1> : depthwise_3x3<2>;
        kernel(origin, below, channels, weights + 2 * c, padded, count, target, place, block, pixel);
        continue;
      }
      for (int x = 0; x < count; ++x, origin += step) {
        __m512i sum = _mm512_setzero_si512();
        const int16_t* pairs = weights + 2 * c;
        for (int kx = 0; kx < w.kernel_w; ++kx) {
          const uint8_t* at = origin + size_t(kx) * next;
          for (int ky = 0; ky < w.kernel_h; ky += 2, at += 2 * below, pairs += 2 * padded) {
            const __m512i taps = ky + 1 < w.kernel_h ? pair_of(at, at + below) : widened(at);
            sum = _mm512_dpwssd_epi32(sum, taps, load_pairs(pairs));
          }
        }
        store(target, sum, place, block, pixel + size_t(x));
      }
    }
  };
  for_each_row(w, in, zero, rows, scratch, row);
}

}  // namespace

const Int8Kernels int8_kernels =
    CAMFIT_INT8_TABLE(false, int8_conv2d_scratch, int8_conv2d, int8_depthwise, int8_linear, interleave::channel_shuffle);

}  // namespace avx512
}  // namespace camfit
#endif
