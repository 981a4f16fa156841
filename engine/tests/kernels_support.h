// What the kernel tests share: counting checks, seeded random data in buffers of exact size, comparisons, random
// windows.
#pragma once
#include <cmath>
#include <cstdarg>
#include <cstdio>
#include <cstring>
#include <random>
#include <vector>

#include "../ops/kernels.h"

namespace camfit_test {

using namespace camfit;

struct Tally {
  int passed = 0, failed = 0;
};
inline Tally tally;

// Counts one check; a failing one prints its description.
inline void check(bool ok, const char* format, ...) {
  ok ? ++tally.passed : ++tally.failed;
  if (ok) return;
  va_list arguments;
  va_start(arguments, format);
  std::printf("FAILED ");
  std::vprintf(format, arguments);
  std::printf("\n");
  va_end(arguments);
}

class Random {
 public:
  explicit Random(uint32_t seed) : seed(seed), engine(seed) {}
  int integer(int low, int high) { return low + int(engine() % uint32_t(high - low + 1)); }
  int one_of(std::initializer_list<int> values) { return values.begin()[integer(0, int(values.size()) - 1)]; }
  float real() { return float(integer(-8191, 8191)) / 8192.0f; }
  uint64_t bits() {
    const uint64_t high = engine();  // a statement each: the order inside an expression is the compiler's choice
    return high << 32 | engine();
  }
  bool coin() { return engine() & 1; }
  const uint32_t seed;

 private:
  std::mt19937 engine;
};

// Exactly `count` values that end where the allocation ends, so that a sanitizer sees a read past them. They begin
// 0 to 7 values after its aligned start.
template <typename T>
class Buffer {
 public:
  Buffer(size_t count, Random& random) : shift(size_t(random.integer(0, 7))), values(count + shift) {}
  T* data() { return values.data() + shift; }
  const T* data() const { return values.data() + shift; }
  size_t size() const { return values.size() - shift; }
  T& operator[](size_t i) { return values[shift + i]; }
  const T& operator[](size_t i) const { return values[shift + i]; }

 private:
  size_t shift;
  std::vector<T> values;
};
using Floats = Buffer<float>;

inline Floats random_floats(size_t count, Random& random) {
  Floats result(count, random);
  for (size_t i = 0; i < count; ++i) result[i] = random.real();
  return result;
}

constexpr float kUntouched = -12345.5f;  // what outputs hold before a kernel writes them
inline Floats untouched(size_t count, Random& random) {
  Floats result(count, random);
  for (size_t i = 0; i < count; ++i) result[i] = kUntouched;
  return result;
}

// Bit for bit, so that -0, infinities and NaN count.
inline bool same(const Floats& a, const Floats& b) {
  return a.size() == b.size() && (a.size() == 0 || std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0);
}

// Sums of `terms` products of values below 1 in another order: |a - b| <= 1e-6 (4 + sqrt(terms)) max(1, |b|).
template <typename Expected>
inline bool close(const Floats& a, const Expected& b, int terms) {
  const double tolerance = 1e-6 * (4 + std::sqrt(double(terms)));
  for (size_t i = 0; i < a.size(); ++i) {
    const double expected = double(b[i]);
    if (!(std::fabs(double(a[i]) - expected) <= tolerance * std::fmax(1.0, std::fabs(expected)))) return false;
  }
  return a.size() == b.size();
}

// Random scale and bias, each absent in one case of three.
struct RandomEpilogue {
  Floats scale, bias;
  Epilogue epilogue;
  RandomEpilogue(int channels, Random& random)
      : scale(random_floats(size_t(channels), random)), bias(random_floats(size_t(channels), random)) {
    if (random.integer(0, 2)) epilogue.scale = scale.data();
    if (random.integer(0, 2)) epilogue.bias = bias.data();
    epilogue.activation = Activation(random.integer(0, 2));
  }
};

inline Range random_range(int end, Random& random) {
  if (random.coin()) return {0, end};
  const int begin = random.integer(0, end);
  return {begin, random.integer(begin, end)};
}

// A random convolution of the given channels. Padding is asymmetric; some windows may lie wholly inside it.
inline Window random_window(int cin, int cout, int groups, int largest, Random& random) {
  for (;;) {
    Window w;
    w.in = {random.integer(1, largest), random.integer(1, largest), cin};
    w.groups = groups;
    const bool square = random.coin();
    w.kernel_h = random.one_of({1, 1, 2, 3, 3, 3, 5});
    w.kernel_w = square ? w.kernel_h : random.one_of({1, 2, 3, 4, 5, 7});
    w.stride_h = random.one_of({1, 1, 1, 2, 3});
    w.stride_w = square ? w.stride_h : random.one_of({1, 1, 2, 3});
    w.dilation_h = random.one_of({1, 1, 1, 2, 3});
    w.dilation_w = square ? w.dilation_h : random.one_of({1, 1, 2, 3});
    const int span_h = w.dilation_h * (w.kernel_h - 1) + 1, span_w = w.dilation_w * (w.kernel_w - 1) + 1;
    w.pad_top = random.coin() ? span_h / 2 : random.integer(0, span_h);
    w.pad_left = random.coin() ? span_w / 2 : random.integer(0, span_w);
    const int height = w.in.height + w.pad_top + random.integer(0, span_h) - span_h;
    const int width = w.in.width + w.pad_left + random.integer(0, span_w) - span_w;
    if (height < 0 || width < 0) continue;
    w.out = {height / w.stride_h + 1, width / w.stride_w + 1, cout};
    return w;
  }
}

// A random pool whose windows may overhang below and to the right, but all touch a real pixel.
inline Window random_pool(int channels, Random& random) {
  Window w;
  w.in = {random.integer(1, 12), random.integer(1, 12), channels};
  w.kernel_h = random.integer(1, 4);
  w.kernel_w = random.integer(1, 4);
  w.stride_h = random.integer(1, 3);
  w.stride_w = random.integer(1, 3);
  w.pad_top = random.integer(0, w.kernel_h - 1);
  w.pad_left = random.integer(0, w.kernel_w - 1);
  w.out = {random.integer(1, (w.in.height - 1 + w.pad_top) / w.stride_h + 1),
           random.integer(1, (w.in.width - 1 + w.pad_left) / w.stride_w + 1), channels};
  return w;
}

// A window in one line, for messages.
struct Text {
  char chars[240];
};
inline Text text_of(const Window& w) {
  Text t;
  std::snprintf(t.chars, sizeof t.chars,
                "in %dx%dx%d out %dx%dx%d kernel %dx%d stride %dx%d pad %d,%d dilation %dx%d groups %d", w.in.height,
                w.in.width, w.in.channels, w.out.height, w.out.width, w.out.channels, w.kernel_h, w.kernel_w,
                w.stride_h, w.stride_w, w.pad_top, w.pad_left, w.dilation_h, w.dilation_w, w.groups);
  return t;
}

}  // namespace camfit_test
