// The same file gives the same bits on every platform: binary and integer layers with every instruction set, and with
// the plain set everything but softmax, whose exp is the system's. The sums below were recorded on x86-64 with the
// plain set.
//   portable_test [FILE IMAGE]: also writes the binary network and its first image there.
#include <cmath>
#include <cstdio>
#include <vector>

#include "checks.h"
#include "network_builder.h"
#include "kernels.h"

namespace {

using camfit_test::Bytes;
using camfit_test::NetworkBuilder;

struct Sums {
  uint32_t file, output;
};
constexpr Sums kBinary = {0xd82a7ae0, 0x047d6607}, kIntegers = {0xeb5d2a48, 0x9c754cdd},
               kEveryOp = {0x45c2f538, 0x476e75d7};
constexpr int kImages = 4;

// Only what has one result: the first K sums whole numbers, which no order of additions changes, and after it the signs
// decide. Shapes take every way that binary kernels have: images and vectors, one and many words, tails.
NetworkBuilder binary() {
  NetworkBuilder net(12, 10, 3, 1.0f, -128.0f);
  // Without an activation: behind a ReLU all signs would be +1.
  const auto conv = [&net](uint32_t in, uint32_t cin, uint32_t cout, uint32_t size, uint32_t scale_input) {
    const uint32_t pad = size / 2, weight = net.sign({cout, cin, size, size}), bias = net.vector(cout);
    return net.node(3, {in}, {cout, size, size, 1, 1, pad, pad, pad, pad, 1, 1, 1, 0, scale_input, weight, 0, bias});
  };
  const auto linear = [&net](uint32_t in, uint32_t cin, uint32_t cout) {
    const uint32_t weight = net.sign({cout, cin}), bias = net.vector(cout);
    return net.node(4, {in}, {cout, 0, 0, weight, 0, bias});
  };
  const uint32_t first = conv(0, 3, 40, 3, 1), second = conv(first, 40, 130, 3, 0);
  uint32_t at = net.node(8, {conv(second, 130, 130, 1, 0), second}, {0});  // add
  at = net.node(14, {at}, {2});                                            // channel_shuffle
  const uint32_t largest = net.pool(5, at), mean = net.pool(6, at);
  at = conv(net.node(9, {largest, mean}, {}), 260, 65, 5, 0);              // concat
  at = linear(net.node(12, {at}, {}), 6 * 5 * 65, 100);                    // flatten
  net.node(9, {linear(at, 100, 10), net.node(7, {first}, {})}, {});        // concat, global_avg_pool
  return net;
}

// Every integer op. Scales are such that outputs spread over the bytes: each layer's sums grow its input's scale.
NetworkBuilder integers() {
  NetworkBuilder net(12, 10, 3, 1.0f, -128.0f);
  const auto power = [](int exponent) { return std::ldexp(1.0f, exponent); };
  uint32_t at = net.node(15, {0}, {net.bits(1.0f), 128});  // quantize
  at = net.int8_conv(at, 3, 40, 3, 1, 1, 1, {power(7), 20});
  const uint32_t left = net.int8_conv(at, 40, 40, 3, 1, 2, 0, {power(15), 128});
  const uint32_t right = net.int8_conv(at, 40, 40, 3, 1, 40, 0, {power(13), 128});  // depthwise
  at = net.node(19, {left, right}, {1, net.bits(power(15)), 9});  // int8_add
  at = net.node(14, {at}, {2});  // channel_shuffle
  at = net.int8_conv(at, 40, 40, 5, 1, 40, 0, {power(21), 128});
  at = net.int8_conv(net.node(10, {at}, {1}), 40, 130, 3, 2, 1, 0, {power(30), 100});  // activation
  at = net.int8_conv(at, 130, 33, 1, 1, 1, 0, {power(38), 100});
  at = net.node(9, {net.pool(5, at), net.pool(6, at)}, {});  // concat
  uint32_t mean = net.node(20, {at}, {net.bits(power(37)), 90});  // int8_global_avg_pool
  mean = net.node(16, {mean}, {});  // dequantize
  at = net.int8_linear(net.node(12, {at}, {}), 3 * 2 * 66, 100, 1, {power(47), 30});  // flatten
  net.node(9, {net.int8_linear(at, 100, 10, 0, {0.0f, 0}), mean}, {});
  return net;
}

std::vector<Bytes> images_of(camfit_shape shape) {
  std::mt19937 random(7);
  std::vector<Bytes> images(kImages, Bytes(size_t(shape.height) * size_t(shape.width) * size_t(shape.channels)));
  for (Bytes& image : images)
    for (uint8_t& value : image) value = uint8_t(random() >> 24);
  return images;
}

void test_bits(const char* name, const Bytes& file, camfit_isa isa, const Sums& expected) {
  const uint32_t sum = camfit::crc32(file.data(), file.size());
  CHECK(sum == expected.file, "%s: the file has %#x, recorded %#x", name, sum, expected.file);
  for (camfit_mode mode : {CAMFIT_SPEED, CAMFIT_MEMORY}) {
    const camfit_options options = {1, mode, isa};
    camfit_engine* engine = nullptr;
    char why[CAMFIT_ERROR_BYTES];
    CHECK(camfit_load(file.data(), file.size(), &options, &engine, why) == CAMFIT_OK, "%s: %s", name, why);
    if (!engine) return;
    const camfit_shape shape = camfit_output_shape(engine);
    std::vector<float> output(size_t(shape.height) * size_t(shape.width) * size_t(shape.channels));
    Bytes all;
    for (const Bytes& image : images_of(camfit_input_shape(engine))) {
      camfit_run_u8(engine, image.data(), output.data());
      for (float value : output) camfit_test::put_float(all, value);
    }
    const uint32_t bits = camfit::crc32(all.data(), all.size());
    CHECK(bits == expected.output, "%s, set %d, mode %d: %#x, recorded %#x", name, isa, mode, bits, expected.output);
    camfit_free(engine);
  }
}

void test_every_set(const char* name, const Bytes& file, const Sums& expected) {
  test_bits(name, file, CAMFIT_ISA_PLAIN, expected);
  if (camfit::avx2_kernels()) test_bits(name, file, CAMFIT_ISA_AVX2, expected);
  if (camfit::avx512_kernels()) test_bits(name, file, CAMFIT_ISA_AVX512, expected);
  if (camfit::neon_kernels()) test_bits(name, file, CAMFIT_ISA_NEON, expected);
}

bool write(const char* path, const Bytes& bytes) {
  std::FILE* file = std::fopen(path, "wb");
  const bool written = file && std::fwrite(bytes.data(), 1, bytes.size(), file) == bytes.size();
  return file && std::fclose(file) == 0 && written;
}

}  // namespace

int main(int argc, char** argv) {
  const Bytes file = binary().file();
  test_every_set("binary", file, kBinary);
  test_every_set("integers", integers().file(), kIntegers);
  test_bits("every op", camfit_test::every_op(3, false).file(), CAMFIT_ISA_PLAIN, kEveryOp);
  if (argc == 3) CHECK(write(argv[1], file) && write(argv[2], images_of({12, 10, 3})[0]), "%s, %s", argv[1], argv[2]);
  return camfit_test::failures ? 1 : 0;
}
