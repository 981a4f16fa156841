// The plain kernels against direct computation in double precision from weights in the order [cout, cin, kh, kw], and
// against cases worked out by hand.
#pragma once
#include "../ops/linear_hashed/xxh32.h"
#include "kernels_support.h"

namespace camfit_test {

// Weights [cout][cin / groups][kernel_h][kernel_w] to panels, as kernels.h lays them out.
inline Floats panels_of(const Window& w, const Floats& weights, Random& random) {
  const int cin = w.in.channels / w.groups, cout = w.out.channels / w.groups, taps = w.kernel_h * w.kernel_w;
  const int per_group = (cout + kPanel - 1) / kPanel;
  Floats panels(size_t(w.groups) * per_group * taps * cin * kPanel, random);
  for (size_t i = 0; i < panels.size(); ++i) panels[i] = 0.0f;
  for (int o = 0; o < w.out.channels; ++o) {
    const int panel = o / cout * per_group + o % cout / kPanel, lane = o % cout % kPanel;
    for (int c = 0; c < cin; ++c)
      for (int tap = 0; tap < taps; ++tap)
        panels[((size_t(panel) * taps + tap) * cin + c) * kPanel + lane] = weights[(size_t(o) * cin + c) * taps + tap];
  }
  return panels;
}

inline double activate(double y, Activation activation) {
  if (activation != Activation::kNone && y < 0) y = 0;
  return activation == Activation::kRelu6 && y > 6 ? 6 : y;
}

// Direct convolution in double precision. `factor`, where not empty, multiplies the sum of each output pixel.
inline std::vector<double> direct_conv2d(const Window& w, const Floats& in, const Floats& weights,
                                         const Epilogue& epilogue, const std::vector<double>& factor) {
  const int cin = w.in.channels / w.groups, cout = w.out.channels / w.groups;
  std::vector<double> out;
  for (int oy = 0; oy < w.out.height; ++oy) {
    for (int ox = 0; ox < w.out.width; ++ox) {
      const double k = factor.empty() ? 1.0 : factor[size_t(oy) * w.out.width + ox];
      for (int o = 0; o < w.out.channels; ++o) {
        double sum = 0;
        for (int c = 0; c < cin; ++c) {
          for (int ky = 0; ky < w.kernel_h; ++ky) {
            for (int kx = 0; kx < w.kernel_w; ++kx) {
              const int y = oy * w.stride_h + ky * w.dilation_h - w.pad_top;
              const int x = ox * w.stride_w + kx * w.dilation_w - w.pad_left;
              if (y < 0 || x < 0 || y >= w.in.height || x >= w.in.width) continue;
              const float pixel = in[(size_t(y) * w.in.width + x) * w.in.channels + o / cout * cin + c];
              sum += double(pixel) * weights[((size_t(o) * cin + c) * w.kernel_h + ky) * w.kernel_w + kx];
            }
          }
        }
        const double scale = epilogue.scale ? epilogue.scale[o] : 1.0, bias = epilogue.bias ? epilogue.bias[o] : 0.0;
        out.push_back(activate(scale * k * sum + bias, epilogue.activation));
      }
    }
  }
  return out;
}

inline void test_conv2d_direct(const Kernels& k, uint32_t seed) {
  Random random(seed);
  const int groups = random.one_of({1, 1, 2, 3});
  const int each_in = random.integer(1, 9), each_out = random.one_of({1, 3, 16, 17, 20});
  const Window w = random_window(groups * each_in, groups * each_out, groups, 9, random);
  const Floats in = random_floats(w.in.size(), random);
  const Floats weights = random_floats(
      size_t(w.out.channels) * (w.in.channels / groups) * w.kernel_h * w.kernel_w, random);
  const RandomEpilogue e(w.out.channels, random);
  const Floats panels = panels_of(w, weights, random);
  Floats out = untouched(w.out.size(), random), scratch = random_floats(k.conv2d_scratch(w), random);
  const int per_group = (w.out.channels / groups + kPanel - 1) / kPanel;
  k.conv2d(w, in.data(), panels.data(), e.epilogue, out.data(), {0, w.out.height}, {0, groups * per_group},
           scratch.data());
  const int terms = w.in.channels / groups * w.kernel_h * w.kernel_w;
  check(close(out, direct_conv2d(w, in, weights, e.epilogue, {}), terms), "%s conv2d against direct, seed %u: %s",
        k.name, seed, text_of(w).chars);
}

inline void test_depthwise_direct(const Kernels& k, uint32_t seed) {
  Random random(seed);
  const int channels = random.integer(1, 20), groups = channels;
  const Window w = random_window(channels, channels, groups, 9, random);
  const int taps = w.kernel_h * w.kernel_w;
  const Floats in = random_floats(w.in.size(), random);
  const Floats weights = random_floats(size_t(channels) * taps, random);
  Floats by_tap(weights.size(), random);
  for (int c = 0; c < channels; ++c)
    for (int tap = 0; tap < taps; ++tap) by_tap[size_t(tap) * channels + c] = weights[size_t(c) * taps + tap];
  const RandomEpilogue e(channels, random);
  Floats out = untouched(w.out.size(), random);
  k.depthwise(w, in.data(), by_tap.data(), e.epilogue, out.data(), {0, w.out.height});
  check(close(out, direct_conv2d(w, in, weights, e.epilogue, {}), taps), "%s depthwise against direct, seed %u: %s",
        k.name, seed, text_of(w).chars);
}

// Signs as floats through the direct convolution, whose zero padding is what the binary one must give; K in double.
inline void test_binary_direct(const Kernels& k, uint32_t seed) {
  Random random(seed);
  const int cin = random.one_of({1, 3, 8, 63, 64, 65, 130}), cout = random.integer(1, 20);
  const Window w = random_window(cin, cout, 1, 7, random);
  const int words = (w.in.channels + 63) / 64, taps = w.kernel_h * w.kernel_w, pixels = w.in.height * w.in.width;
  const Floats in = random_floats(w.in.size(), random);
  Floats in_signs(in.size(), random);
  std::vector<double> mean(static_cast<size_t>(pixels)), factor;
  for (size_t i = 0; i < in.size(); ++i) {
    in_signs[i] = in[i] >= 0 ? 1.0f : -1.0f;
    mean[i / w.in.channels] += std::fabs(double(in[i])) / w.in.channels;
  }
  Floats signs(size_t(w.out.channels) * w.in.channels * taps, random);
  Buffer<uint64_t> weights(size_t(w.out.channels) * taps * words, random), packed(size_t(pixels) * words, random);
  for (size_t i = 0; i < weights.size(); ++i) weights[i] = 0;
  for (size_t i = 0; i < signs.size(); ++i) {
    const bool positive = random.coin();
    const size_t tap = i % taps, c = i / taps % w.in.channels, o = i / taps / w.in.channels;
    signs[i] = positive ? 1.0f : -1.0f;
    weights[(o * taps + tap) * words + c / 64] |= uint64_t(positive) << c % 64;
  }
  const RandomEpilogue e(w.out.channels, random);
  const bool with_box = random.coin();
  Floats mean_abs = untouched(size_t(pixels), random);
  Floats box = untouched(size_t(w.out.height) * w.out.width, random), out = untouched(w.out.size(), random);
  k.pack_signs(in.data(), pixels, w.in.channels, packed.data(), mean_abs.data());
  k.box_filter(w, mean_abs.data(), box.data(), {0, w.out.height});
  if (with_box) {
    Window one = w;
    one.in.channels = one.out.channels = 1;
    Floats means(size_t(pixels), random), ones(size_t(taps), random);
    for (int i = 0; i < pixels; ++i) means[i] = float(mean[i]);
    for (int i = 0; i < taps; ++i) ones[i] = float(1.0 / taps);
    factor = direct_conv2d(one, means, ones, {}, {});
    check(close(box, factor, taps), "%s box_filter against direct, seed %u: %s", k.name, seed, text_of(w).chars);
  }
  k.binary_conv2d(w, packed.data(), weights.data(), with_box ? box.data() : nullptr, e.epilogue, out.data(),
                  {0, w.out.height}, {0, w.out.channels});
  check(close(out, direct_conv2d(w, in_signs, signs, e.epilogue, factor), 16),
        "%s binary_conv2d against direct, seed %u: %s", k.name, seed, text_of(w).chars);
}

inline bool equals(const float* values, std::initializer_list<float> expected) {
  return std::memcmp(values, expected.begin(), expected.size() * sizeof(float)) == 0;
}

inline void test_hand_computed(const Kernels& k) {
  const float minus_zero = -0.0f, infinity = INFINITY;
  float out[16];

  // 3x3 image, 2x2 pool, stride 2, one pixel of padding at the top and left: 4 windows of 1, 2, 2 and 4 pixels.
  const float image[9] = {-1, -2, -3, -4, -5, -6, -7, -8, -9};
  Window pool;
  pool.in = {3, 3, 1}, pool.out = {2, 2, 1};
  pool.kernel_h = pool.kernel_w = pool.stride_h = pool.stride_w = 2, pool.pad_top = pool.pad_left = 1;
  k.max_pool(pool, image, out, {0, 2});
  check(equals(out, {-1, -2, -4, -5}), "%s max_pool by hand", k.name);
  k.avg_pool(pool, image, false, out, {0, 2});
  check(equals(out, {-1, -2.5f, -5.5f, -7}), "%s avg_pool by hand, real pixels", k.name);
  k.avg_pool(pool, image, true, out, {0, 2});
  check(equals(out, {-0.25f, -1.25f, -2.75f, -7}), "%s avg_pool by hand, padding counted", k.name);
  pool.pad_top = pool.pad_left = 0;  // now the second row and column of windows overhang
  k.avg_pool(pool, image, false, out, {0, 2});
  check(equals(out, {-3, -4.5f, -7.5f, -9}), "%s avg_pool by hand, overhanging", k.name);
  k.global_avg_pool({3, 3, 1}, image, out);
  check(equals(out, {-5}), "%s global_avg_pool by hand", k.name);

  // Two channels of 1x2 pixels: (1, 10), (2, 20) -> 1, 2, 10, 20.
  const float pixels[4] = {1, 10, 2, 20};
  k.flatten({1, 2, 2}, pixels, out);
  check(equals(out, {1, 2, 10, 20}), "%s flatten by hand", k.name);

  // Two pixels of three groups of two channels: 1 2 | 3 4 | 5 6 -> 1 3 5 2 4 6.
  const float grouped[12] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12};
  k.channel_shuffle(grouped, 2, 6, 3, out);
  check(equals(out, {1, 3, 5, 2, 4, 6, 7, 9, 11, 8, 10, 12}), "%s channel_shuffle by hand", k.name);

  const float values[9] = {-2, minus_zero, 0, 3, 6, 7, infinity, -infinity, 0.5f};
  k.activation(values, Activation::kRelu6, out, 9);
  check(equals(out, {0, minus_zero, 0, 3, 6, 6, 6, 0, 0.5f}), "%s relu6 by hand", k.name);
  k.add(values, image, Activation::kRelu, out, 6);
  check(equals(out, {0, 0, 0, 0, 1, 1}), "%s add by hand", k.name);
  const float nan[1] = {NAN};
  k.activation(nan, Activation::kRelu, out, 1);
  check(std::isnan(out[0]), "%s relu carries NaN on", k.name);

  // Signs of 0 and -0 are +1, that of NaN is -1; the mean leaves NaN out of the other pixel.
  const float signs[6] = {minus_zero, -1, 0, 2, -3, NAN};
  uint64_t words[2];
  k.pack_signs(signs, 2, 3, words, out);
  check(words[0] == 5 && words[1] == 1, "%s pack_signs by hand", k.name);
  check(out[0] == 1.0f / 3 && std::isnan(out[1]), "%s mean of |x| by hand", k.name);
  k.pack_signs(signs, 2, 3, words, nullptr);

  // 3x1 kernel over 2x1 pixels of 3 channels, padding 1: each output sees one padded tap, so 6 valid bits.
  Window binary;
  binary.in = {2, 1, 3}, binary.out = {2, 1, 1}, binary.kernel_h = 3, binary.pad_top = 1;
  const uint64_t taps[3] = {0, 5, 1};  // output 0: taps 1, 2 see 5, 1: 6 agree; output 1: taps 0, 1 see 5, 1: 1 + 2
  const float scale[1] = {0.5f}, bias[1] = {1}, box[2] = {2, 3};
  k.binary_conv2d(binary, words, taps, nullptr, {}, out, {0, 2}, {0, 1});
  check(equals(out, {6, 0}), "%s binary_conv2d by hand", k.name);
  k.binary_conv2d(binary, words, taps, box, {scale, bias, Activation::kRelu6}, out, {0, 2}, {0, 1});
  check(equals(out, {6, 1}), "%s binary_conv2d with K by hand", k.name);

  const float logits[3] = {0, std::log(2.0f), -infinity};
  k.softmax(logits, out, 3);
  check(std::fabs(out[0] - 1 / 3.0f) < 1e-7f && std::fabs(out[1] - 2 / 3.0f) < 1e-7f && out[2] == 0,
        "%s softmax by hand", k.name);
  const float far[2] = {1000, -1000};
  k.softmax(far, out, 2);
  check(equals(out, {1, 0}), "%s softmax does not overflow", k.name);
  const uint8_t raw[4] = {0, 255, 128, 1};
  const float scales[2] = {0.5f, 2}, shifts[2] = {-1, 1};
  k.normalise_u8(raw, 2, 2, scales, shifts, out);
  check(equals(out, {-1, 511, 63, 3}), "%s normalise_u8 by hand", k.name);
}

// All signs +1 against weights that all agree, then all disagree: dot is plus, then minus the number of valid bits.
// These are the largest counts there are, where narrow sums would overflow.
inline void test_all_signs(const Kernels& k, int cin, int size, int kernel) {
  const int pad = kernel / 2, words = (cin + 63) / 64, taps = kernel * kernel;
  Window w;
  w.in = {size, size, cin}, w.out = {size, size, 2};
  w.kernel_h = w.kernel_w = kernel, w.pad_top = w.pad_left = pad;
  const std::vector<float> ones(w.in.size(), 1.0f);
  std::vector<uint64_t> signs(size_t(size) * size * words), weights(size_t(2) * taps * words);
  k.pack_signs(ones.data(), size * size, cin, signs.data(), nullptr);
  for (size_t i = 0; i < weights.size() / 2; ++i) weights[i] = signs[i % size_t(words)];
  std::vector<float> out(w.out.size());
  k.binary_conv2d(w, signs.data(), weights.data(), nullptr, {}, out.data(), {0, size}, {0, 2});
  bool right = true;
  for (int y = 0; y < size; ++y) {
    for (int x = 0; x < size; ++x) {
      const int high = kernel - (y < pad) - (y >= size - pad), wide = kernel - (x < pad) - (x >= size - pad);
      const float* dot = &out[(size_t(y) * size + x) * 2];
      right = right && dot[0] == float(high * wide * cin) && dot[1] == -dot[0];
    }
  }
  check(right, "%s binary_conv2d of equal signs: %dx%d of %d channels, kernel %d", k.name, size, size, cin, kernel);
}

// Hashes computed by the reference implementation (xxhash 0.8, XXH32 of the two little-endian words).
inline void test_xxh32() {
  const uint32_t vectors[][4] = {
      {0u, 0u, 0u, 0xdeb39513u},          {1u, 2u, 0u, 0x690b83dbu},
      {2u, 1u, 0u, 0x2e724433u},          {299u, 783u, 12345u, 0x42c94369u},
      {65536u, 1u, 1u, 0xa7aeb405u},      {7u, 100000u, 4294967295u, 0xb53a45d0u},
      {4294967295u, 4294967295u, 2654435761u, 0xfc95c692u},
  };
  for (const uint32_t* v : vectors) {
    const uint32_t hash = xxh32_finish(xxh32_mix(xxh32_mix(xxh32_start(v[2]), v[0]), v[1]));
    check(hash == v[3], "XXH32 of (%u, %u) with seed %u: %08x, expected %08x", v[0], v[1], v[2], hash, v[3]);
  }
}

}  // namespace camfit_test
