// A convolution of bytes that is pooled as it is computed gives the bytes of the two steps one after the other, with
// every instruction set and number of threads, on random geometries. The unfused twin of a network has an activation in
// between that the convolution has already applied.
#include <cmath>
#include <random>

#include "checks.h"
#include "engine.h"
#include "network_builder.h"

namespace {

using camfit_test::Bytes;
using camfit_test::NetworkBuilder;

struct Geometry {
  uint32_t kernel_h, kernel_w, stride_h, stride_w, top, left, bottom, right, dilation_h, dilation_w;
};

class Drawn {
 public:
  explicit Drawn(uint32_t seed) : random_(seed) {}
  uint32_t of(uint32_t low, uint32_t high) { return low + uint32_t(random_() % (high - low + 1)); }
  uint32_t one_of(std::initializer_list<uint32_t> values) { return values.begin()[of(0, uint32_t(values.size()) - 1)]; }

 private:
  std::mt19937 random_;
};

struct Case {
  uint32_t height, width, cin, cout, groups, activation, zero;
  Geometry conv, pool;
  bool average, count_include_pad;
};

uint32_t outputs(uint32_t size, uint32_t before, uint32_t after, uint32_t kernel, uint32_t stride, uint32_t dilation) {
  const uint32_t reach = (kernel - 1) * dilation + 1, padded = size + before + after;
  return padded < reach ? 0 : (padded - reach) / stride + 1;
}

uint32_t pool_height(const Case& c) {
  const Geometry &g = c.conv, &p = c.pool;
  const uint32_t rows = outputs(c.height, g.top, g.bottom, g.kernel_h, g.stride_h, g.dilation_h);
  return outputs(rows, p.top, p.bottom, p.kernel_h, p.stride_h, 1);
}

Case draw(uint32_t seed) {
  Drawn d(seed);
  Case c;
  c.height = d.of(6, 24);
  c.width = d.of(5, 20);
  const bool depthwise = d.of(0, 3) == 0;
  c.groups = depthwise ? d.one_of({3, 16, 20, 33}) : d.one_of({1, 1, 2});
  c.cin = depthwise ? c.groups : c.groups * d.one_of({1, 3, 4, 9, 16});
  c.cout = depthwise ? c.groups : c.groups * d.one_of({1, 5, 16, 20, 33});
  c.activation = d.of(0, 2);
  c.zero = c.activation == 0 ? 0 : d.one_of({0, 7, 128});  // without one, the twin's ReLU changes nothing at 0 alone
  const uint32_t kernel = d.one_of({1, 2, 3, 3, 5});
  c.conv = {kernel, d.one_of({kernel, kernel, 1, 3}), d.one_of({1, 1, 2}), d.one_of({1, 1, 2}), 0, 0, 0, 0,
            d.one_of({1, 1, 1, 2}), d.one_of({1, 1, 1, 2})};
  for (uint32_t* padding : {&c.conv.top, &c.conv.left, &c.conv.bottom, &c.conv.right})
    *padding = d.of(0, 1) * d.of(0, kernel - 1);
  c.pool = {d.of(1, 4), d.of(1, 4), d.of(1, 5), d.of(1, 4), 0, 0, 0, 0, 1, 1};
  if (d.of(0, 1)) {
    c.pool.top = d.of(0, c.pool.kernel_h - 1);
    c.pool.bottom = d.of(0, c.pool.kernel_h - 1);
    c.pool.left = d.of(0, c.pool.kernel_w - 1);
    c.pool.right = d.of(0, c.pool.kernel_w - 1);
  }
  c.average = d.of(0, 1);
  c.count_include_pad = d.of(0, 1);
  return c;
}

Bytes file_of(const Case& c, bool twin) {
  NetworkBuilder net(c.height, c.width, c.cin, 1.0f, -128.0f);
  const Geometry &g = c.conv, &p = c.pool;
  uint32_t at = net.node(15, {0}, {net.bits(1.0f), 128});  // quantize
  const uint32_t columns = c.cin / c.groups * g.kernel_h * g.kernel_w;
  const float scale = 20.0f * std::sqrt(float(columns));  // outputs spread over some hundred levels
  const uint32_t weight = net.integers({c.cout, c.cin / c.groups, g.kernel_h, g.kernel_w});
  const uint32_t scales = net.vector(c.cout), bias = net.dense({c.cout}, 64.0f * scale);
  at = net.node(17, {at}, {c.cout, g.kernel_h, g.kernel_w, g.stride_h, g.stride_w, g.top, g.left, g.bottom, g.right,
                           g.dilation_h, g.dilation_w, c.groups, c.activation, net.bits(scale), c.zero, weight, scales,
                           bias});
  if (twin) at = net.node(10, {at}, {c.activation ? c.activation : 1});  // activation
  std::vector<uint32_t> pool = {p.kernel_h, p.kernel_w, p.stride_h, p.stride_w, p.top, p.left, p.bottom, p.right};
  if (c.average) pool.push_back(c.count_include_pad);
  at = net.node(c.average ? 6 : 5, {at}, pool);
  net.node(16, {at}, {});  // dequantize
  return net.file();
}

struct Result {
  bool loaded = false, fused = false;
  uint64_t arena = 0;
  std::vector<float> output;
};

Result run(const Bytes& file, int threads, camfit_isa isa, const camfit::Int8Kernels* integers) {
  Result result;
  const camfit_options options = {threads, CAMFIT_SPEED, isa};
  camfit_engine* engine = nullptr;
  char why[CAMFIT_ERROR_BYTES];
  if (camfit_load(file.data(), file.size(), &options, &engine, why) != CAMFIT_OK) return result;
  camfit::Kernels other = *engine->kernels;
  if (integers) other.int8 = integers;
  if (integers) engine->kernels = &other;
  result.loaded = true;
  for (uint32_t s = 0; s < engine->step_count; ++s)
    result.fused = result.fused || engine->steps[s].pool.kind != camfit::FusedPool::kNone;
  result.arena = engine->arena_bytes;
  std::vector<uint8_t> image(engine->input.size());
  std::mt19937 random(7);
  for (uint8_t& byte : image) byte = uint8_t(random());
  result.output.resize(engine->output.size());
  camfit_run_u8(engine, image.data(), result.output.data());
  camfit_free(engine);
  return result;
}

int test_set(camfit_isa isa, const char* name, const camfit::Int8Kernels* integers = nullptr) {
  int fused = 0;
  for (uint32_t seed = 0; seed < 400; ++seed) {
    const Case c = draw(seed);
    if (pool_height(c) == 0) continue;
    const Bytes file = file_of(c, false), twin = file_of(c, true);
    const Result expected = run(twin, 1, isa, integers);
    if (!expected.loaded) continue;  // a geometry that the format refuses
    CHECK(!expected.fused, "%s, seed %u: a network with an activation in between was fused", name, seed);
    for (int threads : {1, 2}) {
      const Result found = run(file, threads, isa, integers);
      CHECK(found.loaded && found.output == expected.output, "%s, seed %u, %d threads", name, seed, threads);
      CHECK(!found.fused || found.arena <= expected.arena, "%s, seed %u: a larger arena", name, seed);
      fused += found.fused;
    }
  }
  std::printf("%s: %d fused\n", name, fused);
  return fused;
}

// A network whose arena is known.
void test_arena() {
  NetworkBuilder net(12, 12, 1);
  uint32_t at = net.node(15, {0}, {net.bits(1.0f), 128});
  at = net.int8_conv(at, 1, 64, 3, 1, 1, 1, {2000.0f, 0});
  net.node(16, {net.pool(5, at)}, {});
  const Bytes file = net.file();
  const Result found = run(file, 1, CAMFIT_ISA_AUTO, nullptr);
  // The output's floats, 6 x 6 x 64 x 4, beside its bytes; the convolution's 12 x 12 x 64 bytes are nowhere.
  CHECK(found.fused && found.arena == 5 * 6 * 6 * 64, "an arena of %llu bytes", static_cast<unsigned long long>(found.arena));
}

}  // namespace

int main() {
  test_arena();
  const camfit_isa sets[] = {CAMFIT_ISA_PLAIN, CAMFIT_ISA_AVX2, CAMFIT_ISA_AVX512, CAMFIT_ISA_NEON};
  const char* const names[] = {"plain", "avx2", "avx512", "neon"};
  const camfit::Kernels* const kernels[] = {&camfit::plain_kernels(), camfit::avx2_kernels(), camfit::avx512_kernels(),
                                            camfit::neon_kernels()};
  for (int i = 0; i < 4; ++i) {
    if (kernels[i]) CHECK(test_set(sets[i], names[i]) > 300, "%s: most cases are fused", names[i]);
  }
#if defined(__aarch64__)
  if (camfit::neon_kernels()->int8 != &camfit::neon::int8_kernels)
    test_set(CAMFIT_ISA_NEON, "neon without dot products", &camfit::neon::int8_kernels);
#endif
  return camfit_test::failures != 0;
}
