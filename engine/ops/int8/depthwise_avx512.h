// Depthwise windows of 3 x 3 taps by VPDPBUSD. The bytes of up to four rows are interleaved, so that a vector holds
// columns of four taps of neighbouring channels: one product for each of the three columns of a window. With stride 1 the
// same columns serve the window of the next row too, whose weights lie one byte on. Interleaving leaves channels in an
// order in which narrowing puts them right again.
#pragma once
#include <immintrin.h>

#include "padded.h"

namespace camfit {
namespace {

// A vector of `bytes` channels; the wide ones have their channels in lanes of 16.
#define CAMFIT_BYTES_VECTOR(NAME, BITS, REGISTER, MASK, WIDE)                                                      \
  struct NAME {                                                                                                    \
    static constexpr int kBytes = BITS / 8;                                                                        \
    using Type = REGISTER;                                                                                         \
    static Type load(const void* at) { return _mm##WIDE##_loadu_si##BITS(reinterpret_cast<const Type*>(at)); }     \
    static void store(uint8_t* at, int count, Type v) {                                                            \
      if (count >= kBytes) return _mm##WIDE##_storeu_si##BITS(reinterpret_cast<Type*>(at), v);                     \
      _mm##WIDE##_mask_storeu_epi8(at, MASK((MASK(1) << count) - 1), v);                                           \
    }                                                                                                              \
    static Type low8(Type a, Type b) { return _mm##WIDE##_unpacklo_epi8(a, b); }                                   \
    static Type high8(Type a, Type b) { return _mm##WIDE##_unpackhi_epi8(a, b); }                                  \
    static Type low16(Type a, Type b) { return _mm##WIDE##_unpacklo_epi16(a, b); }                                 \
    static Type high16(Type a, Type b) { return _mm##WIDE##_unpackhi_epi16(a, b); }                                \
    static Type products(Type sum, Type q, Type w) { return _mm##WIDE##_dpbusd_epi32(sum, q, w); }                 \
    static Type level(Type sum, Type even, Type odd, Type half, Type shift) {                                      \
      const Type low = _mm##WIDE##_mul_epi32(sum, even);                                                           \
      const Type high = _mm##WIDE##_mul_epi32(_mm##WIDE##_srli_epi64(sum, 32), odd);                               \
      const Type both = _mm##WIDE##_mask_shuffle_epi32(high, 0x5555 & ((1 << BITS / 32) - 1), low, _MM_PERM_DDBB); \
      return _mm##WIDE##_srav_epi32(_mm##WIDE##_add_epi32(both, half), shift);                                     \
    }                                                                                                              \
    static Type byte_on(Type v) { return _mm##WIDE##_slli_epi32(v, 8); }                                           \
    static Type all8(int value) { return _mm##WIDE##_set1_epi8(char(value)); }                                     \
    static Type all16(int value) { return _mm##WIDE##_set1_epi16(int16_t(value)); }                                \
    static Type bytes(const Type (&l)[4], Type zero, Type low, Type high) {                                        \
      const Type first = _mm##WIDE##_adds_epi16(_mm##WIDE##_packs_epi32(l[0], l[1]), zero);                        \
      const Type second = _mm##WIDE##_adds_epi16(_mm##WIDE##_packs_epi32(l[2], l[3]), zero);                       \
      const Type all = _mm##WIDE##_packus_epi16(first, second);                                                    \
      return _mm##WIDE##_min_epu8(_mm##WIDE##_max_epu8(all, low), high);                                           \
    }                                                                                                              \
  };
CAMFIT_BYTES_VECTOR(Bytes16, 128, __m128i, __mmask16, )
CAMFIT_BYTES_VECTOR(Bytes32, 256, __m256i, __mmask32, 256)
CAMFIT_BYTES_VECTOR(Bytes64, 512, __m512i, __mmask64, 512)
#undef CAMFIT_BYTES_VECTOR

// Four channels of the constants of windows, from pairs of taps (int8.h).
struct FourChannels {
  __m128i weights[3], bias, even, odd, half, shift;
  FourChannels(const int16_t* pairs, size_t padded, const int32_t* biases, const int32_t* multipliers,
               const int32_t* shifts) {
    const auto load = [](const void* at) { return _mm_loadu_si128(static_cast<const __m128i*>(at)); };
    const __m128i pick_first = _mm_setr_epi8(0, 2, -1, -1, 4, 6, -1, -1, 8, 10, -1, -1, 12, 14, -1, -1);
    const __m128i pick_third = _mm_setr_epi8(-1, -1, 0, -1, -1, -1, 4, -1, -1, -1, 8, -1, -1, -1, 12, -1);
    for (size_t kx = 0; kx < 3; ++kx)
      weights[kx] = _mm_or_si128(_mm_shuffle_epi8(load(pairs + 4 * kx * padded), pick_first),
                                 _mm_shuffle_epi8(load(pairs + (4 * kx + 2) * padded), pick_third));
    bias = load(biases);
    even = load(multipliers);
    odd = _mm_srli_epi64(even, 32);
    shift = _mm_sub_epi32(load(shifts), _mm_set1_epi32(32));
    half = _mm_sllv_epi32(_mm_set1_epi32(1), _mm_sub_epi32(shift, _mm_set1_epi32(1)));
  }
};

// What the windows of V::kBytes channels need, in the order of interleaved channels.
template <class V>
struct WindowConstants {
  alignas(64) int32_t weights[3][V::kBytes];  // a column's weights and a zero
  alignas(64) int32_t bias[V::kBytes], even[V::kBytes], odd[V::kBytes], half[V::kBytes], shift[V::kBytes];

  // Of the channels from `first` on; past the last, whatever stands there.
  WindowConstants(const int16_t* pairs, size_t padded, const Requantize& to, int first, int channels) {
    for (int i = 0; i < V::kBytes; i += 4) {
      const int last = (channels - 1) / 4 * 4;
      const size_t c = size_t(first + i < last ? first + i : last);
      set(i, FourChannels(pairs + 2 * c, padded, to.bias + c, to.multiplier + c, to.shift + c));
    }
  }

  // Of fewer channels than there are, again and again.
  WindowConstants(const int16_t* pairs, size_t padded, const Requantize& to, int channels) {
    for (int i = 0; i < V::kBytes; i += 4) {
      int16_t taps[6][4][2];
      int32_t numbers[3][4];
      for (int lane = 0; lane < 4; ++lane) {
        const size_t c = size_t((i + lane) % channels);
        for (size_t tap = 0; tap < 6; ++tap)
          memcpy(taps[tap][lane], pairs + 2 * (tap * padded + c), sizeof taps[tap][lane]);
        numbers[0][lane] = to.bias[c];
        numbers[1][lane] = to.multiplier[c];
        numbers[2][lane] = to.shift[c];
      }
      set(i, FourChannels(taps[0][0], 4, numbers[0], numbers[1], numbers[2]));
    }
  }

 private:
  void set(int i, const FourChannels& four) {
    const int at = i % 16 / 4 * (V::kBytes / 4) + i / 16 * 4;
    const auto store = [at](int32_t* to, __m128i v) { _mm_store_si128(reinterpret_cast<__m128i*>(to + at), v); };
    for (int kx = 0; kx < 3; ++kx) store(weights[kx], four.weights[kx]);
    store(bias, four.bias);
    store(even, four.even);
    store(odd, four.odd);
    store(half, four.half);
    store(shift, four.shift);
  }
};

// A column of four taps of V::kBytes channels.
template <class V>
struct TapColumn {
  typename V::Type taps[4];
};

template <class V>
inline TapColumn<V> column_of(const uint8_t* const (&rows)[4], ptrdiff_t at) {
  const auto a = V::load(rows[0] + at), b = V::load(rows[1] + at), c = V::load(rows[2] + at), d = V::load(rows[3] + at);
  const auto ab = V::low8(a, b), ab_high = V::high8(a, b), cd = V::low8(c, d), cd_high = V::high8(c, d);
  return {{V::low16(ab, cd), V::high16(ab, cd), V::low16(ab_high, cd_high), V::high16(ab_high, cd_high)}};
}

// The input rows of one or two rows of windows, the fourth only for the second; windows begin `left` pixels before them.
struct TapRows {
  const uint8_t* rows[4];
  int left, width, zero;
};

// What narrowing needs.
template <class V>
struct ByteBounds {
  typename V::Type zero, low, high;
  explicit ByteBounds(const Requantize& to) : zero(V::all16(to.zero)), low(V::all8(to.low)), high(V::all8(to.high)) {}
};

// The outputs of one window, or of it and the one below, at out[0] + at and out[1] + at.
template <class V, bool two>
inline void windows(const TapColumn<V>& first, const TapColumn<V>& second, const TapColumn<V>& third,
                    const WindowConstants<V>& k, const ByteBounds<V>& to, uint8_t* const (&out)[2], size_t at,
                    int count) {
  typename V::Type upper[4], lower[4];
  for (int j = 0; j < 4; ++j) {
    const size_t i = size_t(j) * (V::kBytes / 4);
    const auto bias = V::load(k.bias + i), even = V::load(k.even + i), odd = V::load(k.odd + i);
    const auto half = V::load(k.half + i), shift = V::load(k.shift + i);
    const auto w0 = V::load(k.weights[0] + i), w1 = V::load(k.weights[1] + i), w2 = V::load(k.weights[2] + i);
    const auto sum = V::products(V::products(bias, first.taps[j], w0), second.taps[j], w1);
    upper[j] = V::level(V::products(sum, third.taps[j], w2), even, odd, half, shift);
    if (!two) continue;
    const auto next = V::products(V::products(bias, first.taps[j], V::byte_on(w0)), second.taps[j], V::byte_on(w1));
    lower[j] = V::level(V::products(next, third.taps[j], V::byte_on(w2)), even, odd, half, shift);
  }
  V::store(out[0] + at, count, V::bytes(upper, to.zero, to.low, to.high));
  if (two) V::store(out[1] + at, count, V::bytes(lower, to.zero, to.low, to.high));
}

// One or two rows of windows of up to V::kBytes channels.
template <class V, int stride, bool two>
void window_rows(const TapRows& from, size_t channels, size_t pixels, const WindowConstants<V>& k, const Requantize& to,
                 uint8_t* const (&outs)[2], int count) {
  const ByteBounds<V> bounds(to);
  const auto padding = V::all8(from.zero);
  const TapColumn<V> outside = {{padding, padding, padding, padding}};
  const uint8_t* const rows[4] = {from.rows[0], from.rows[1], from.rows[2], from.rows[3]};
  uint8_t* const out[2] = {outs[0], outs[1]};
  const int left = from.left, width = from.width;
  const auto column = [&](int x) {
    return x >= 0 && x < width ? column_of<V>(rows, ptrdiff_t(x) * ptrdiff_t(channels)) : outside;
  };
  TapColumn<V> first = column(-left), second = stride == 1 ? column(1 - left) : first;
  int x = 2 - left;
  for (size_t i = 0; i < pixels; ++i, x += stride) {
    if (stride == 2) second = column(x - 1);
    const TapColumn<V> third = column(x);
    windows<V, two>(first, second, third, k, bounds, out, i * channels, count);
    first = stride == 1 ? second : third;
    second = third;
  }
}

// The same with stride 1 where a vector holds the channels of several pixels, which are `bytes` together. The rows have
// their padding.
template <bool two>
void window_rows_flat(const TapRows& from, size_t channels, size_t pixels, const WindowConstants<Bytes64>& k,
                      const Requantize& to, uint8_t* const (&outs)[2], size_t bytes) {
  const ByteBounds<Bytes64> bounds(to);
  const uint8_t* const rows[4] = {from.rows[0], from.rows[1], from.rows[2], from.rows[3]};
  uint8_t* const out[2] = {outs[0], outs[1]};
  for (size_t at = 0, end = pixels * channels; at < end; at += bytes) {
    const auto column = [&](size_t x) { return column_of<Bytes64>(rows, ptrdiff_t(at + x * channels)); };
    const int count = int(end - at < bytes ? end - at : bytes);
    windows<Bytes64, two>(column(0), column(1), column(2), k, bounds, out, at, count);
  }
}

// What depthwise_3x3 takes: bytes out of blocks that are all `high`.
inline bool is_depthwise_3x3(const Window& w, const Requantize& to) {
  if (w.kernel_h != 3 || w.kernel_w != 3 || w.dilation_w != 1 || w.stride_w > 2 || !to.blocks) return false;
  for (int block = 0; block < ceil_div(w.in.channels, kPanel); ++block)
    if (!to.blocks[block].high) return false;
  return true;
}

// Output rows of a depthwise convolution.
struct DepthwiseRows {
  const Window& w;
  const uint8_t* in;
  int zero;
  const int16_t* pairs;
  const Requantize& to;
  uint8_t* out;
  Range rows;
  const uint8_t* padding;  // a row of the input that is all `zero`

  size_t channels() const { return size_t(w.in.channels); }
  size_t padded() const { return size_t(ceil_div(w.in.channels, kPanel)) * kPanel; }

  // Calls kernel(rows of taps, outputs) for all rows, in pairs where they overlap. `row` is where an input row lies.
  template <class Row, class Kernel>
  void for_rows(const Row& row, const Kernel& kernel) const {
    const bool two = w.stride_h == 1 && w.dilation_h == 1;
    const size_t out_row = size_t(w.out.width) * channels();
    for (int y = rows.begin; y < rows.end; y += two ? 2 : 1) {
      const bool both = two && y + 1 < rows.end;
      const int top = y * w.stride_h - w.pad_top, below = w.dilation_h;
      const TapRows taps = {{row(top), row(top + below), row(top + 2 * below), row(both ? top + 3 : top + 2 * below)},
                            w.pad_left, w.in.width, zero};
      uint8_t* to_row = out + size_t(y) * out_row;
      kernel(taps, {to_row, both ? to_row + out_row : nullptr});
    }
  }

  template <class V>
  void channels_from(int c) const {
    const int count = w.in.channels - c < V::kBytes ? w.in.channels - c : V::kBytes;
    const WindowConstants<V> constants(pairs, padded(), to, c, w.in.channels);
    const auto row = [&](int y) {
      return (y >= 0 && y < w.in.height ? in + size_t(y) * size_t(w.in.width) * channels() : padding) + c;
    };
    for_rows(row, [&](const TapRows& taps, uint8_t* const(&outs)[2]) {
      uint8_t* const from_c[2] = {outs[0] + c, outs[1] ? outs[1] + c : nullptr};
      const auto kernel = w.stride_w == 2 ? (outs[1] ? window_rows<V, 2, true> : window_rows<V, 2, false>)
                                          : (outs[1] ? window_rows<V, 1, true> : window_rows<V, 1, false>);
      kernel(taps, channels(), size_t(w.out.width), constants, to, from_c, count);
    });
  }

  void run() const {
    for (int c = 0; c < w.in.channels;) {
      const int left = w.in.channels - c;
      if (left > Bytes32::kBytes) {
        channels_from<Bytes64>(c);
        c += Bytes64::kBytes;
      } else if (left > Bytes16::kBytes) {
        channels_from<Bytes32>(c);
        c += Bytes32::kBytes;
      } else {
        channels_from<Bytes16>(c);
        c += Bytes16::kBytes;
      }
    }
  }

  void run_flat(const Band& band) const {
    const WindowConstants<Bytes64> constants(pairs, padded(), to, w.in.channels);
    const int first = rows.begin * w.stride_h - w.pad_top;
    const auto row = [&](int y) { return band.origin + size_t(y - first) * band.row; };
    for_rows(row, [&](const TapRows& taps, uint8_t* const(&outs)[2]) {
      const auto kernel = outs[1] ? window_rows_flat<true> : window_rows_flat<false>;
      kernel(taps, channels(), size_t(w.out.width), constants, to, outs, Bytes64::kBytes / channels() * channels());
    });
  }
};

void depthwise_3x3(const Window& w, const uint8_t* in, int zero, const int16_t* pairs, const Requantize& to, uint8_t* out,
                   Range rows, uint8_t* scratch) {
  if (w.stride_w == 1 && w.in.channels < Bytes32::kBytes) {
    const int most = band_rows(w);
    for (int begin = rows.begin; begin < rows.end; begin += most) {
      const Range part = {begin, begin + most < rows.end ? begin + most : rows.end};
      const Band band = make_band(w, in, zero, part, scratch);
      DepthwiseRows{w, in, zero, pairs, to, out, part, nullptr}.run_flat(band);
    }
    return;
  }
  if (has_padding(w)) memset(scratch, zero, size_t(w.in.width) * size_t(w.in.channels));
  DepthwiseRows{w, in, zero, pairs, to, out, rows, scratch}.run();
}

}  // namespace
}  // namespace camfit
