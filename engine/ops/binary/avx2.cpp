// Two ways to count disagreeing bits: by table look-up (lookup.h), whose weights must be rearranged first, for images;
// and by counting the bits of exclusive ors, for vectors, tiny images and very long kernels.
#if defined(__AVX2__)
#include "along_words.h"
#include "box_filter.h"
#include "lookup.h"

namespace camfit {
namespace avx2 {
namespace {

constexpr int kLookupPixels = 4;  // from so many pixels on, rearranging the weights pays
constexpr int kBeside = 3;        // pixels counted together: 3 * 4 sums of bytes fit the registers

// popcount(a ^ b) of `count` words.
int disagreements(const uint64_t* a, const uint64_t* b, int count) {
  const __m256i nibble_counts = _mm256_setr_epi8(0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4, 0, 1, 1, 2, 1, 2, 2, 3,
                                                 1, 2, 2, 3, 2, 3, 3, 4);
  const __m256i low = _mm256_set1_epi8(15);
  __m256i total = _mm256_setzero_si256();
  int i = 0;
  while (i + 4 <= count) {
    __m256i sum = _mm256_setzero_si256();
    for (int n = 0; n < 31 && i + 4 <= count; ++n, i += 4) {  // a byte sum takes 31 additions of at most 8
      const __m256i x = _mm256_xor_si256(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(a + i)),
                                         _mm256_loadu_si256(reinterpret_cast<const __m256i*>(b + i)));
      sum = _mm256_add_epi8(sum, _mm256_shuffle_epi8(nibble_counts, _mm256_and_si256(x, low)));
      sum = _mm256_add_epi8(sum, _mm256_shuffle_epi8(nibble_counts, _mm256_and_si256(_mm256_srli_epi16(x, 4), low)));
    }
    total = _mm256_add_epi64(total, _mm256_sad_epu8(sum, _mm256_setzero_si256()));
  }
  int result = 0;
  if (count >= 4) {
    const __m128i half = _mm_add_epi64(_mm256_castsi256_si128(total), _mm256_extracti128_si256(total, 1));
    result = _mm_cvtsi128_si32(half) + _mm_cvtsi128_si32(_mm_unpackhi_epi64(half, half));
  }
  for (; i < count; ++i) result += __builtin_popcountll(a[i] ^ b[i]);
  return result;
}

// Where the results of one call go and how they are finished.
struct Results {
  const float* box_mean;
  const Epilogue& epilogue;
  Clamp clamp;
  float* out;
  int out_channels, first, count;  // the channels of this pass
};

// P pixels beside each other, N * 16 channels. Never inlined: the counting loop needs all registers.
template <int P, int N>
__attribute__((noinline)) void pixels_at(const LookupTaps& t, const LookupWeights& weights, int valid_bits,
                                         size_t pixel, const Results& results) {
  alignas(32) int32_t counts[P * N * 16];
  lookup_count<P, N>(t, weights, counts);
  const __m256i bits = _mm256_set1_epi32(valid_bits);
  for (int p = 0; p < P; ++p, ++pixel) {
    const float box = results.box_mean ? results.box_mean[pixel] : 1.0f;
    float* to = results.out + pixel * results.out_channels;
    for (int c = 0; c < results.count; c += kLanes) {
      const __m256i n = _mm256_load_si256(reinterpret_cast<const __m256i*>(counts + p * N * 16 + c));
      const int left = results.count - c < kLanes ? results.count - c : kLanes;
      store_dots(_mm256_cvtepi32_ps(_mm256_sub_epi32(bits, _mm256_add_epi32(n, n))), box, results.epilogue,
                 results.clamp, results.first + c, left, to);
    }
  }
}

template <int N>
void lookup_channels(const Window& w, const uint64_t* in, const LookupWeights& weights, Range rows,
                     const Results& results) {
  const int pixel_bytes = (w.in.channels + 63) / 64 * 8, tap_bytes = (w.in.channels + 7) / 8;
  const Range inside = interior(w.out.width, w.kernel_w, w.stride_w, w.pad_left, w.dilation_w, w.in.width);
  LookupTaps t;
  t.in = reinterpret_cast<const uint8_t*>(in);
  t.pixel_step = ptrdiff_t(w.stride_w) * pixel_bytes;
  t.run_step = w.kernel_w * tap_bytes;
  for (int oy = rows.begin; oy < rows.end; ++oy) {
    const int iy = oy * w.stride_h - w.pad_top;
    const Range ky = valid_taps(iy, w.kernel_h, w.dilation_h, w.in.height);
    for (int ox = 0; ox < w.out.width;) {
      const int ix = ox * w.stride_w - w.pad_left;
      const Range kx = valid_taps(ix, w.kernel_w, w.dilation_w, w.in.width);
      const int rows_read = ky.end - ky.begin, width = kx.end - kx.begin;
      const bool whole = width == w.kernel_w;  // then the rows follow each other
      t.first = (ptrdiff_t(iy) * w.in.width + ix) * pixel_bytes;
      t.runs = whole ? 1 : rows_read;
      t.begin = (ky.begin * w.kernel_w + kx.begin) * tap_bytes;
      t.end = t.begin + (whole ? rows_read : 1) * width * tap_bytes;
      const size_t pixel = size_t(oy) * w.out.width + ox;
      const int valid_bits = rows_read * width * w.in.channels;
      if (ox >= inside.begin && ox + kBeside <= inside.end) {
        pixels_at<kBeside, N>(t, weights, valid_bits, pixel, results);
        ox += kBeside;
      } else {
        pixels_at<1, N>(t, weights, valid_bits, pixel, results);
        ++ox;
      }
    }
  }
}

void by_lookup(const Window& w, const uint64_t* in, const uint64_t* weights, const float* box_mean,
               const Epilogue& epilogue, float* out, Range rows, Range channels) {
  using Channels = void (*)(const Window&, const uint64_t*, const LookupWeights&, Range, const Results&);
  constexpr Channels kChannels[] = {lookup_channels<1>, lookup_channels<2>, lookup_channels<3>, lookup_channels<4>};
  const int taps = w.kernel_h * w.kernel_w, words = (w.in.channels + 63) / 64, bytes = (w.in.channels + 7) / 8;
  const int most = lookup_groups(taps * bytes) * 16;
  LookupWeights laid_out;
  for (int tap = 0, position = 0; tap < taps; ++tap) {
    const int y = tap / w.kernel_w * w.dilation_h, x = tap % w.kernel_w * w.dilation_w;
    for (int i = 0; i < bytes; ++i) laid_out.offset[position++] = (y * w.in.width + x) * words * 8 + i;
  }
  Results results = {box_mean, epilogue, Clamp(epilogue.activation), out, w.out.channels, 0, 0};
  for (int first = channels.begin; first < channels.end; first += most) {
    const int count = channels.end - first < most ? channels.end - first : most, groups = (count + 15) / 16;
    for (int g = 0; g < groups; ++g) {
      const int left = count - g * 16;
      lookup_layout(weights + size_t(first + g * 16) * taps * words, left < 16 ? left : 16, taps, words, bytes,
                    groups, laid_out.at + g * 32);
    }
    results.first = first;
    results.count = count;
    kChannels[groups - 1](w, in, laid_out, rows, results);
  }
}

}  // namespace

void pack_signs(const float* in, int pixels, int channels, uint64_t* words, float* mean_abs) {
  const __m256 zero = _mm256_setzero_ps(), sign = _mm256_set1_ps(-0.0f);
  for (int p = 0; p < pixels; ++p, in += channels) {
    __m256 sum[2] = {zero, zero};
    for (int c = 0; c < channels; c += 64) {
      uint64_t word = 0;
      for (int i = 0; i < 64 && c + i < channels; i += kLanes) {
        const int left = channels - c - i;
        const float* from = in + c + i;
        const __m256 x = left >= kLanes ? Vec8::load(from) : Vec8::load(from, Vec8::mask(left));
        uint64_t bits = uint64_t(_mm256_movemask_ps(_mm256_cmp_ps(x, zero, _CMP_GE_OQ)));
        if (left < kLanes) bits &= (uint64_t(1) << left) - 1;
        word |= bits << i;
        __m256& half = sum[(i / kLanes) % 2];
        half = _mm256_add_ps(half, _mm256_andnot_ps(sign, x));
      }
      *words++ = word;
    }
    if (mean_abs) mean_abs[p] = sum_lanes(_mm256_add_ps(sum[0], sum[1])) / float(channels);
  }
}

void binary_conv2d(const Window& w, const uint64_t* in, const uint64_t* weights, const float* box_mean,
                   const Epilogue& epilogue, float* out, Range rows, Range channels) {
  const int positions = w.kernel_h * w.kernel_w * ((w.in.channels + 7) / 8);
  const bool lookup = (rows.end - rows.begin) * w.out.width >= kLookupPixels && lookup_groups(positions) > 0;
  (lookup ? by_lookup : along_words<disagreements>)(w, in, weights, box_mean, epilogue, out, rows, channels);
}

}  // namespace avx2
}  // namespace camfit
#endif
