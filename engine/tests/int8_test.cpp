// The integer kernels: the plain ones against the definition of int8.h written out, every other set against the plain
// ones, bit for bit.
#include "../ops/int8/int8.h"

#include "kernels_support.h"

namespace camfit_test {
namespace {

using Bytes = std::vector<uint8_t>;

// Activations with the readable slack that integer kernels ask for.
Bytes random_bytes(size_t count, Random& random) {
  Bytes result(count + kInt8Slack);
  const int kind = random.integer(0, 2);
  for (uint8_t& q : result) q = uint8_t(kind == 0 ? random.integer(0, 255) : kind == 1 ? 255 : random.integer(0, 40));
  return result;
}

int random_weight(int kind, Random& random) {
  if (kind == 0) return random.integer(-127, 127);
  if (kind == 1) return random.coin() ? 127 : -127;
  return kind == 2 ? 127 : random.integer(-30, 30);
}

// Weights [cout][taps][cin], and the arithmetic behind the sums.
struct Layer {
  Window w;
  std::vector<int8_t> weights;
  std::vector<int32_t> bias, multiplier, shift;
  std::vector<float> scale;
  std::vector<RequantizeBlock> blocks;
  Requantize to;

  Layer(const Window& window, bool bytes, Random& random) : w(window) {
    const size_t per_output = size_t(w.kernel_h) * size_t(w.kernel_w) * size_t(w.in.channels / w.groups);
    const int kind = random.integer(0, 3);
    weights.resize(size_t(w.out.channels) * per_output);
    for (int8_t& value : weights) value = int8_t(random_weight(kind, random));
    const size_t padded = size_t(w.out.channels) + kPanel;
    bias.resize(padded);
    multiplier.resize(padded);
    shift.resize(padded, 1);
    scale.resize(padded);
    for (size_t c = 0; c < size_t(w.out.channels); ++c) {
      bias[c] = random.integer(-100000, 100000);
      const double ratio = double(random.integer(1, 1000)) / (1000.0 * double(per_output) * random.one_of({1, 30, 4000}));
      check(int8_multiplier(ratio, &multiplier[c], &shift[c]), "a ratio below 1");
      scale[c] = random.real();
    }
    const int zero = random.one_of({0, 3, 128, 255});
    to = Requantize{bias.data(), multiplier.data(), shift.data(), nullptr, zero, random.one_of({0, zero}),
                    random.one_of({255, 200}), Activation(random.integer(0, 2)), nullptr};
    if (to.high < to.low) to.high = 255;
    if (!bytes) {
      to.multiplier = to.shift = nullptr;
      to.scale = scale.data();
      return;
    }
    blocks.resize(size_t(int8_block_count(w)));
    int8_blocks(w, to, blocks.data());
    to.blocks = blocks.data();
  }
};

struct Prepared {
  std::vector<int8_t> values, extra;
  std::vector<uint32_t> begin, quad;
  Int8Panels panels = {};

  Prepared(const Window& w, const int8_t* weights, bool with_extras, int together) {
    const int count = int8_panel_count(w), quads = quads_of(w);
    values.resize(size_t(count) * size_t(quads) * kPanel * kQuad);
    int8_panels(w, weights, values.data());
    panels.values = values.data();
    panels.together = together;
    if (!with_extras) return;
    const uint32_t extras = int8_extras(w, together, values.data(), nullptr, nullptr, nullptr);
    begin.resize(size_t(count) + 1);
    quad.resize(extras);
    extra.resize(size_t(extras) * kPanel * kQuad);
    check(int8_extras(w, together, values.data(), begin.data(), quad.data(), extra.data()) == extras, "the same count");
    panels = {values.data(), together, begin.data(), quad.data(), extra.data()};
    const int run = runs_of(w).quads();
    for (int q = 0; q < count * quads; ++q) {
      const int in_run = q % quads % run;
      check_safe(values, size_t(q), together == 2 && in_run % 2 == 0 && in_run + 1 < run ? 2 : 1);
    }
    for (size_t e = 0; e < extras; ++e) check_safe(extra, e, 1);
  }

  // Pairs of `together` quads cannot leave 16 bits, in whatever order they are added.
  static void check_safe(const std::vector<int8_t>& all, size_t quad, int together) {
    constexpr size_t kBytes = kPanel * kQuad;
    for (size_t i = 0; i < kBytes; i += 2) {
      int positive = 0, negative = 0;
      for (size_t j = 0; j < size_t(together); ++j) {
        const int8_t* pair = &all[(quad + j) * kBytes + i];
        for (const int w : {pair[0], pair[1]}) (w > 0 ? positive : negative) += w;
      }
      check(255 * positive <= 32767 && 255 * negative >= -32768, "sums of 16 bits cannot saturate");
    }
  }
};

size_t element(const Layer& layer) { return layer.to.multiplier ? 1 : sizeof(float); }

// The definition, from the file's own order of weights.
void expect_conv(const Layer& layer, const Bytes& in, int zero, Bytes* out) {
  const Window& w = layer.w;
  const int cin = w.in.channels / w.groups, per_group = w.out.channels / w.groups;
  for (int o = 0; o < w.out.channels; ++o) {
    for (int y = 0; y < w.out.height; ++y) {
      for (int x = 0; x < w.out.width; ++x) {
        int64_t sum = layer.bias[size_t(o)];
        for (int ky = 0; ky < w.kernel_h; ++ky) {
          for (int kx = 0; kx < w.kernel_w; ++kx) {
            const int iy = y * w.stride_h - w.pad_top + ky * w.dilation_h;
            const int ix = x * w.stride_w - w.pad_left + kx * w.dilation_w;
            const bool inside = iy >= 0 && iy < w.in.height && ix >= 0 && ix < w.in.width;
            for (int c = 0; c < cin; ++c) {
              const int channel = o / per_group * cin + c;
              const int q = inside ? in[(size_t(iy) * size_t(w.in.width) + size_t(ix)) * size_t(w.in.channels) + size_t(channel)] : zero;
              sum += q * layer.weights[((size_t(o) * size_t(w.kernel_h) + size_t(ky)) * size_t(w.kernel_w) + size_t(kx)) * size_t(cin) + size_t(c)];
            }
          }
        }
        const size_t at = (size_t(y) * size_t(w.out.width) + size_t(x)) * size_t(w.out.channels) + size_t(o);
        if (layer.to.multiplier) {
          const double scaled = std::floor(double(sum) * layer.multiplier[size_t(o)] / std::ldexp(1.0, layer.shift[size_t(o)]) + 0.5);
          const double q = std::min(double(layer.to.high), std::max(double(layer.to.low), layer.to.zero + scaled));
          (*out)[at] = uint8_t(q);
        } else {
          float real = float(int32_t(sum)) * layer.scale[size_t(o)];
          if (layer.to.activation != Activation::kNone && real < 0) real = 0;
          if (layer.to.activation == Activation::kRelu6 && real > 6) real = 6;
          std::memcpy(&(*out)[at * sizeof real], &real, sizeof real);
        }
      }
    }
  }
}

void test_conv(const Kernels& k, uint32_t seed) {
  Random random(seed);
  const int groups = random.one_of({1, 1, 1, 1, 2, 3});
  const bool wide = seed % 50 == 49;  // more panels than a set may hold at a time
  const int cin = groups * (wide ? random.integer(1, 3) : random.one_of({1, 2, 3, 4, 5, 8, 16, 20, 31}));
  const int cout = groups * (wide ? random.integer(1025, 1100) : random.integer(1, 40));
  const Window w = random_window(cin, cout, groups, 14, random);
  const Layer layer(w, random.integer(0, 3) != 0, random);
  const int zero = random.one_of({0, 7, 255});
  const Bytes in = random_bytes(w.in.size(), random);
  const Prepared prepared(w, layer.weights.data(), k.int8->extras, random.integer(1, 2));
  const int panels = int8_panel_count(w);
  Bytes expected(w.out.size() * element(layer), 0x5A), got(expected.size(), 0x5A), untouched = expected;
  expect_conv(layer, in, zero, &expected);
  Bytes scratch(k.int8->conv2d_scratch(w) + 1);
  const int row = random.integer(0, w.out.height), panel = random.integer(0, panels);
  for (const Range rows : {Range{0, row}, Range{row, w.out.height}})
    for (const Range part : {Range{0, panel}, Range{panel, panels}})
      k.int8->conv2d(w, in.data(), zero, prepared.panels, layer.to, got.data(), rows, part, scratch.data());
  check(got == expected, "%s int8 conv2d, seed %u: %dx%dx%d -> %d, kernel %dx%d, groups %d", k.name, seed, w.in.height,
        w.in.width, cin, cout, w.kernel_h, w.kernel_w, groups);
}

void test_depthwise(const Kernels& k, uint32_t seed) {
  Random random(seed);
  const int channels = random.one_of({1, 3, 8, 15, 16, 17, 24, 32, 33, 50, 64, 80, 100, 130});
  const Window w = random_window(channels, channels, channels, 14, random);
  const Layer layer(w, random.coin(), random);
  const int zero = random.one_of({0, 7, 255});
  const Bytes in = random_bytes(w.in.size(), random);
  std::vector<int16_t> pairs(int8_pairs_size(w));
  int8_pairs(w, layer.weights.data(), pairs.data());
  Bytes scratch(k.int8->conv2d_scratch(w) + 1);
  Bytes expected(w.out.size() * element(layer), 0x5A), got = expected;
  expect_conv(layer, in, zero, &expected);
  const int row = random.integer(0, w.out.height);
  for (const Range rows : {Range{0, row}, Range{row, w.out.height}})
    k.int8->depthwise(w, in.data(), zero, pairs.data(), layer.to, got.data(), rows, scratch.data());
  check(got == expected, "%s int8 depthwise, seed %u: %d channels", k.name, seed, channels);
}

void test_linear(const Kernels& k, uint32_t seed) {
  Random random(seed);
  Window w;
  w.in = {1, 1, random.integer(1, 300)};
  w.out = {1, 1, random.integer(1, 70)};
  const Layer layer(w, random.coin(), random);
  const Bytes in = random_bytes(w.in.size(), random);
  const Prepared prepared(w, layer.weights.data(), k.int8->extras, random.integer(1, 2));
  const int panels = int8_panel_count(w), cut = random.integer(0, panels);
  Bytes expected(w.out.size() * element(layer), 0x5A), got = expected;
  expect_conv(layer, in, 0, &expected);
  for (const Range part : {Range{0, cut}, Range{cut, panels}})
    k.int8->linear(w.in.channels, w.out.channels, in.data(), prepared.panels, layer.to, got.data(), part);
  check(got == expected, "%s int8 linear, seed %u: %d -> %d", k.name, seed, w.in.channels, w.out.channels);
}

void test_pools(const Kernels& k, uint32_t seed) {
  Random random(seed);
  const Window w = random_pool(random.one_of({1, 3, 16, 40, 70}), random);
  const Bytes in = random_bytes(w.in.size(), random);
  const int zero = random.integer(0, 255);
  const bool padded = random.coin();
  Bytes expected(w.out.size()), largest(w.out.size()), got = expected;
  for (size_t at = 0; at < w.out.size(); ++at) {
    const int c = int(at) % w.out.channels, ox = int(at) / w.out.channels % w.out.width;
    const int oy = int(at) / w.out.channels / w.out.width;
    int sum = 0, real = 0;
    for (int y = oy * w.stride_h - w.pad_top; y < oy * w.stride_h - w.pad_top + w.kernel_h; ++y) {
      for (int x = ox * w.stride_w - w.pad_left; x < ox * w.stride_w - w.pad_left + w.kernel_w; ++x) {
        if (y < 0 || y >= w.in.height || x < 0 || x >= w.in.width) continue;
        const uint8_t q = in[(size_t(y) * size_t(w.in.width) + size_t(x)) * size_t(w.in.channels) + size_t(c)];
        largest[at] = std::max(largest[at], q);
        sum += q;
        ++real;
      }
    }
    const int count = padded ? w.kernel_h * w.kernel_w : real;
    sum += (count - real) * zero;
    expected[at] = uint8_t((2 * sum + count) / (2 * count));
  }
  k.int8->max_pool(w, in.data(), got.data(), {0, w.out.height});
  check(got == largest, "%s int8 max_pool, seed %u", k.name, seed);
  k.int8->avg_pool(w, in.data(), zero, padded, got.data(), {0, w.out.height});
  check(got == expected, "%s int8 avg_pool, seed %u", k.name, seed);
  const int32_t bias = -random.integer(0, 9000), multiplier = random.integer(0, 2147483646), shift = random.integer(24, 62);
  const Requantize to = {&bias, &multiplier, &shift, nullptr, zero, 0, 255, Activation::kNone, nullptr};
  Bytes mean(size_t(w.in.channels)), mean_got = mean;
  for (int c = 0; c < w.in.channels; ++c) {
    int64_t sum = bias;
    for (int pixel = 0; pixel < w.in.height * w.in.width; ++pixel) sum += in[size_t(pixel * w.in.channels + c)];
    const double rounded = std::floor(double(sum) * multiplier / std::ldexp(1.0, shift) + 0.5);
    mean[size_t(c)] = uint8_t(std::min(255.0, std::max(0.0, rounded + zero)));
  }
  k.int8->global_avg_pool(w.in, in.data(), to, mean_got.data());
  check(mean_got == mean, "%s int8 global_avg_pool, seed %u", k.name, seed);
}

void test_shuffle(const Kernels& k, uint32_t seed) {
  Random random(seed);
  const int groups = random.one_of({1, 2, 3, 3, 4, 7}), of_group = random.integer(1, 50), pixels = random.integer(1, 5);
  const Bytes in = random_bytes(size_t(pixels * groups * of_group), random);
  Bytes expected(size_t(pixels * groups * of_group)), got(expected.size() + 1, 0x5A);
  for (int p = 0; p < pixels; ++p)
    for (int j = 0; j < of_group; ++j)
      for (int i = 0; i < groups; ++i)
        expected[size_t((p * of_group + j) * groups + i)] = in[size_t((p * groups + i) * of_group + j)];
  k.int8->channel_shuffle(in.data(), pixels, groups * of_group, groups, got.data());
  check(got.back() == 0x5A, "%s int8 channel_shuffle stays within its output, seed %u", k.name, seed);
  got.pop_back();
  check(got == expected, "%s int8 channel_shuffle, seed %u: %d groups of %d", k.name, seed, groups, of_group);
}

void test_elements(const Kernels& k, uint32_t seed) {
  Random random(seed);
  const size_t count = size_t(random.integer(0, 100));
  Floats x = random_floats(count, random);
  for (size_t i = 0; i < count; ++i) x[i] *= float(random.one_of({1, 100, 10000}));
  if (count > 3) {
    x[0] = std::nanf("");
    x[1] = INFINITY;
    x[2] = -INFINITY;
    x[3] = -0.0f;
  }
  const int zero = random.integer(0, 255);
  Bytes a(count), b(count), expected(count), got(count);
  plain_kernels().int8->quantize(x.data(), count, 1.7f, zero, expected.data());
  k.int8->quantize(x.data(), count, 1.7f, zero, got.data());
  check(got == expected, "%s quantize, seed %u", k.name, seed);
  for (size_t i = 0; i < count; ++i) {
    a[i] = uint8_t(random.integer(0, 255));
    b[i] = uint8_t(random.integer(0, 255));
  }
  const int high = random.integer(0, 255);
  const Int8Sum sum = {random.integer(0, 255), random.integer(0, 255), random.integer(0, 1 << 21), random.integer(0, 1 << 21),
                       random.integer(1, 30), zero, random.integer(0, high), high};
  plain_kernels().int8->add(a.data(), b.data(), sum, expected.data(), count);
  k.int8->add(a.data(), b.data(), sum, got.data(), count);
  check(got == expected, "%s int8 add, seed %u", k.name, seed);
  Floats real(count, random), real_got(count, random);
  plain_kernels().int8->dequantize(a.data(), count, {0.013f, zero}, real.data());
  k.int8->dequantize(a.data(), count, {0.013f, zero}, real_got.data());
  check(same(real, real_got), "%s dequantize, seed %u", k.name, seed);
}

// Values worked out by hand.
void test_by_hand(const Kernels& k) {
  const float x[6] = {0.0f, 0.25f, 0.24f, -0.26f, 1000.0f, -1000.0f};
  uint8_t q[6];
  k.int8->quantize(x, 6, 2.0f, 10, q);  // x / 0.5, halves round up
  const uint8_t expected[6] = {10, 11, 10, 9, 255, 0};
  check(std::memcmp(q, expected, 6) == 0, "%s quantize by hand", k.name);

  // 2/3: 0.75 * 2^-0 ... the multiplier of 31 bits and its shift; -1.5 rounds up to -1, 1.5 to 2.
  int32_t multiplier, shift;
  check(int8_multiplier(0.5, &multiplier, &shift) && multiplier == 1 << 30 && shift == 31, "one half");
  check(int8_multiplier(0.75, &multiplier, &shift) && multiplier == 1610612736 && shift == 31, "three quarters");
  check(int8_multiplier(1e-12, &multiplier, &shift) && multiplier == 0 && shift == 62, "too small a ratio is 0");
  check(!int8_multiplier(2e9, &multiplier, &shift), "too large a ratio is refused");

  // (100 - 50) * 0.5 + (30 - 20) * 0.25 = 27.5 -> 28, + 5
  const uint8_t a = 100, b = 30;
  const Int8Sum sum = {50, 20, 1 << 20, 1 << 19, 21, 5, 0, 255};
  k.int8->add(&a, &b, sum, q, 1);
  check(q[0] == 33, "%s int8 add by hand: %d", k.name, q[0]);

  // A mean of 1, 2, 4, 255 that rounds halves up: 65.5 -> 66; with one byte of padding that counts as 10.
  Window w;
  w.in = {2, 2, 1};
  w.out = {1, 1, 1};
  w.kernel_h = w.kernel_w = 2;
  const uint8_t image[4 + kInt8Slack] = {1, 2, 4, 255};
  k.int8->avg_pool(w, image, 10, true, q, {0, 1});
  check(q[0] == 66, "%s int8 avg_pool by hand: %d", k.name, q[0]);
}

// Every sum of every number of taps: a set may divide by multiplying.
void test_means(const Kernels& k) {
  for (const int count : {1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 15, 16, 25, 31, 33, 36, 49, 63, 64, 81, 100, 127, 128, 129}) {
    Window w;
    w.in = {1, count, 255 * count + 1};
    w.out = {1, 1, w.in.channels};
    w.kernel_w = count;
    Bytes in(w.in.size() + kInt8Slack), got(w.out.size());
    for (int c = 0; c < w.in.channels; ++c)
      for (int i = 0, left = c; i < count; ++i, left -= std::min(left, 255))
        in[size_t(i * w.in.channels + c)] = uint8_t(std::min(left, 255));
    k.int8->avg_pool(w, in.data(), 0, true, got.data(), {0, 1});
    int wrong = 0;
    for (int c = 0; c < w.in.channels; ++c) wrong += got[size_t(c)] != (2 * c + count) / (2 * count);
    check(wrong == 0, "%s int8 avg_pool of %d taps: %d sums are divided wrongly", k.name, count, wrong);
  }
}

void test_set(const Kernels& k) {
  test_by_hand(k);
  test_means(k);
  for (uint32_t seed = 0; seed < 400; ++seed) {
    test_conv(k, seed);
    test_depthwise(k, seed);
    test_linear(k, seed);
    test_pools(k, seed);
    test_shuffle(k, seed);
    test_elements(k, seed);
  }
  std::printf("%s\n", k.name);
}

}  // namespace
}  // namespace camfit_test

int main() {
  using namespace camfit_test;
  for (const Kernels* k : {&plain_kernels(), avx2_kernels(), avx512_kernels(), neon_kernels()})
    if (k) test_set(*k);
#if defined(__aarch64__)
  Kernels without_dot_products = *neon_kernels();
  without_dot_products.name = "neon without dot products";
  without_dot_products.int8 = &neon::int8_kernels;
  if (neon_kernels()->int8 != &neon::int8_kernels) test_set(without_dot_products);
#endif
  std::printf("%d passed, %d failed\n", tally.passed, tally.failed);
  return tally.failed != 0;
}
