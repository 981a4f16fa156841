// Depthwise windows of 3 x 3 taps by VPDPBUSD. The bytes of up to four rows are interleaved, so that a vector holds
// columns of four taps of neighbouring channels: one product for each of the three columns of a window. With stride 1 the
// same columns serve the window of the next row too, whose weights lie one byte on. Interleaving leaves channels in an
// order in which narrowing puts them right again.
#pragma once
#include <immintrin.h>

#include "depthwise_rows.h"

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
      const RepeatedChannels four(pairs, padded, to, channels, i);
      set(i, FourChannels(four.pairs[0][0], 4, four.bias, four.multiplier, four.shift));
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

// What narrowing needs.
template <class V>
struct ByteBounds {
  typename V::Type zero, low, high;
  explicit ByteBounds(const Requantize& to) : zero(V::all16(to.zero)), low(V::all8(to.low)), high(V::all8(to.high)) {}
};

// A kernel of depthwise_rows.h.
template <class V>
struct Interleaved {
  static constexpr int kBytes = V::kBytes;
  using Column = TapColumn<V>;
  using Constants = WindowConstants<V>;
  using Bounds = ByteBounds<V>;

  static Column column(const uint8_t* const (&rows)[4], ptrdiff_t at) {
    const auto a = V::load(rows[0] + at), b = V::load(rows[1] + at), c = V::load(rows[2] + at), d = V::load(rows[3] + at);
    const auto ab = V::low8(a, b), ab_high = V::high8(a, b), cd = V::low8(c, d), cd_high = V::high8(c, d);
    return {{V::low16(ab, cd), V::high16(ab, cd), V::low16(ab_high, cd_high), V::high16(ab_high, cd_high)}};
  }

  static Column outside(int zero) {
    const auto all = V::all8(zero);
    return {{all, all, all, all}};
  }

  template <bool two>
  static void windows(const Column& first, const Column& second, const Column& third,
                      const Constants& k, const Bounds& to, uint8_t* const (&out)[2], size_t at,
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
};

struct DepthwiseSet {
  using Flat = Interleaved<Bytes64>;
  static constexpr int kFlatBelow = Bytes32::kBytes;

  static void run(const DepthwiseRows& rows) {
    for (int c = 0; c < rows.w.in.channels;) {
      const int left = rows.w.in.channels - c;
      if (left > Bytes32::kBytes) {
        rows.channels_from<Interleaved<Bytes64>>(c);
        c += Bytes64::kBytes;
      } else if (left > Bytes16::kBytes) {
        rows.channels_from<Interleaved<Bytes32>>(c);
        c += Bytes32::kBytes;
      } else {
        rows.channels_from<Interleaved<Bytes16>>(c);
        c += Bytes16::kBytes;
      }
    }
  }
};

}  // namespace
}  // namespace camfit
