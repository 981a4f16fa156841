// Integer convolution, depthwise convolution and linear layer by VPDPBUSD and VPDPWSSD, which add exact products to 32
// bits: no pair of weights needs care.
#if defined(__AVX512VNNI__)
#include <immintrin.h>

#include "elementwise.h"
#include "padded.h"

namespace camfit {
namespace avx512 {
namespace {

constexpr int kPixels = 8, kBytes = kPanel * kQuad;

inline __m512i load16(const int32_t* at) { return _mm512_loadu_si512(at); }

inline __m512i broadcast_quad(const uint8_t* at) {
  int32_t quad;
  memcpy(&quad, at, sizeof quad);
  return _mm512_set1_epi32(quad);
}

// (sum * multiplier + 2^(shift-1)) >> shift of the even 32-bit lanes.
inline __m512i scaled_even(__m512i sum, __m512i multiplier, __m512i shift) {
  const __m512i one = _mm512_set1_epi64(1), product = _mm512_mul_epi32(sum, multiplier);
  const __m512i half = _mm512_add_epi64(_mm512_srav_epi64(product, _mm512_sub_epi64(shift, one)), one);
  return _mm512_srai_epi64(half, 1);
}

struct Target {
  const Requantize& to;
  void* out;
  size_t channels;  // of a pixel of the output
};

inline void store(const Target& target, __m512i sum, const PanelPlace& place, size_t pixel) {
  const Requantize& to = target.to;
  const size_t at = pixel * target.channels + size_t(place.first), c = size_t(place.first);
  const __mmask16 lanes = __mmask16((1u << place.count) - 1);
  sum = _mm512_add_epi32(sum, load16(to.bias + c));
  if (!to.multiplier) {
    __m512 y = _mm512_mul_ps(_mm512_cvtepi32_ps(sum), _mm512_loadu_ps(to.scale + c));
    if (to.activation != Activation::kNone) y = _mm512_max_ps(_mm512_setzero_ps(), y);
    if (to.activation == Activation::kRelu6) y = _mm512_min_ps(_mm512_set1_ps(6.0f), y);
    _mm512_mask_storeu_ps(static_cast<float*>(target.out) + at, lanes, y);
    return;
  }
  const __m512i multiplier = load16(to.multiplier + c), shift = load16(to.shift + c);
  const __m512i even = scaled_even(sum, multiplier, _mm512_and_si512(shift, _mm512_set1_epi64(0xFFFFFFFF)));
  const __m512i odd =
      scaled_even(_mm512_srli_epi64(sum, 32), _mm512_srli_epi64(multiplier, 32), _mm512_srli_epi64(shift, 32));
  const __m512i both = _mm512_mask_blend_epi32(0xAAAA, even, _mm512_slli_epi64(odd, 32));
  const __m512i level = _mm512_add_epi32(both, _mm512_set1_epi32(to.zero));
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
};

template <int pixels, int panels>
void convolve_and_store(const Work& work, const uint8_t* origin, size_t step, size_t pixel) {
  __m512i sums[pixels][panels];
  convolve<pixels, panels>(origin, step, work.places, work.weights, work.apart, sums);
  for (int i = 0; i < pixels; ++i)
    for (int p = 0; p < panels; ++p) store(work.target, sums[i][p], work.place[p], pixel + size_t(i));
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
                         {to, out, size_t(w.out.channels)}, place};
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
    store({to, out, size_t(cout)}, sum, panel_place(cout, 1, p), 0);
  }
}

// Two taps of 16 channels as pairs of 16 bits.
inline __m512i pair_of(__m128i a, __m128i b) {
  const __m256i bytes = _mm256_set_m128i(_mm_unpackhi_epi8(a, b), _mm_unpacklo_epi8(a, b));
  return _mm512_cvtepu8_epi16(bytes);
}

void int8_depthwise(const Window& w, const uint8_t* in, int zero, const int16_t* weights, const Requantize& to, void* out,
                    Range rows) {
  const size_t channels = size_t(w.in.channels), padded = size_t(ceil_div(w.in.channels, kPanel)) * kPanel;
  const int taps = w.kernel_h * w.kernel_w;
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
        __m512i sum = _mm512_setzero_si512();
        for (int t = 0; t < taps; t += 2)
          sum = _mm512_dpwssd_epi32(sum, pair_of(tap(t), tap(t + 1)),
                                    _mm512_loadu_si512(weights + (size_t(t / 2) * padded + c) * 2));
        store({to, out, channels}, sum, place, size_t(oy) * size_t(w.out.width) + size_t(ox));
      }
    }
  }
}

}  // namespace

const Int8Kernels int8_kernels =
    CAMFIT_INT8_TABLE(false, int8_conv2d_scratch, int8_conv2d, int8_depthwise, int8_linear);

}  // namespace avx512
}  // namespace camfit
#endif
