// A loaded network runs each sparse layer in the way that the measured rule names: sparse below the density at which
// both are even, dense above it. Densities are around those that docs/engine.md gives.
#include "checks.h"
#include "engine.h"
#include "network_builder.h"

namespace {

using namespace camfit;
using camfit_test::NetworkBuilder;

// The one step with weights of a network.
struct Chosen {
  Work work;
  Window window;
  double density;
  const Kernels* kernels;
};

Chosen load(const NetworkBuilder& net, camfit_mode mode, camfit_isa isa, const char* what) {
  const auto file = net.file();
  const camfit_options options = {1, mode, isa};
  camfit_engine* engine = nullptr;
  char why[CAMFIT_ERROR_BYTES];
  Chosen chosen = {};
  const bool loaded = camfit_load(file.data(), file.size(), &options, &engine, why) == CAMFIT_OK;
  CHECK(loaded, "%s: %s", what, why);
  if (!loaded) return chosen;
  for (uint32_t s = 0; s < engine->step_count; ++s) {
    const Step& step = engine->steps[s];
    const double elements = double(step.window.out.channels) * step.window.in.channels * step.window.kernel_h *
                            step.window.kernel_w;
    if (step.work != Work::kFlatten)
      chosen = {step.work, step.window, double(step.weights.nonzeros) / elements, engine->kernels};
  }
  camfit_free(engine);
  return chosen;
}

NetworkBuilder conv(uint32_t size, uint32_t channels, uint32_t kernel, uint32_t one_in, bool values) {
  NetworkBuilder net(size, size, channels);
  const std::vector<uint32_t> shape = {channels, channels, kernel, kernel};
  net.conv(1, 0, channels, kernel, 1, values ? net.sparse(shape, one_in) : net.codebook(shape, 16, one_in));
  return net;
}

void test_convolutions(camfit_isa isa) {
  for (bool values : {false, true}) {
    for (uint32_t one_in : {2u, 3u, 4u, 5u, 6u, 8u, 10u, 20u}) {
      for (uint32_t kernel : {1u, 3u}) {
        const Chosen c = load(conv(16, 32, kernel, one_in, values), CAMFIT_SPEED, isa, "convolution");
        const bool sparse = c.work == Work::kConvSparse;
        CHECK(sparse == (c.kernels->conv2d_sparse_cost(c.window).at(c.density) < 1), "%s, %ux%u, %.0f %%", c.kernels->name,
              kernel, kernel, c.density * 100);
        // Even at 14 % beside Winograd's way and at 40 % beside the direct one; the plain set has the direct one alone.
        if (isa == CAMFIT_ISA_PLAIN) continue;
        CHECK(sparse == (c.density < (kernel == 3 ? 0.14 : 0.40)), "%s, %ux%u, %.0f %%: work %d", c.kernels->name,
              kernel, kernel, c.density * 100, int(c.work));
      }
    }
  }
  const Chosen memory = load(conv(16, 32, 3, 20, false), CAMFIT_MEMORY, isa, "mode memory");
  CHECK(memory.work == Work::kConvExpand, "%s: work %d", memory.kernels->name, int(memory.work));
}

// Structured zeros. `kept(o, i, t)`: whether output channel o reads tap t of input channel i.
template <class Kept>
Work structured(uint32_t size, uint32_t channels, uint32_t kernel, const Kept& kept, camfit_isa isa, camfit_mode mode) {
  std::vector<int32_t> index;
  for (uint32_t o = 0; o < channels; ++o)
    for (uint32_t i = 0; i < channels; ++i)
      for (uint32_t t = 0; t < kernel * kernel; ++t) index.push_back(kept(o, i, t) ? 0 : -1);
  NetworkBuilder net(size, size, channels);
  net.conv(1, 0, channels, kernel, 1, net.sparse({channels, channels, kernel, kernel}, index));
  return load(net, mode, isa, "structured zeros").work;
}

// Each scale of structured sparsity runs in the way made for it, where that pays, and in the dense way where it does not.
void test_structured(camfit_isa isa) {
  const auto strided = [](uint32_t stride) {
    return [stride](uint32_t, uint32_t i, uint32_t t) { return t % stride == i % stride; };
  };
  const auto kernels = [](uint32_t of_five) {  // a pattern that the output channels of a panel do not share
    return [of_five](uint32_t o, uint32_t i, uint32_t) { return (o * 3 + i + o * i % 7) % 5 < of_five; };
  };
  const auto grouped = [](uint32_t o, uint32_t i, uint32_t) { return (o / kPanel + i) % 8 == 0; };
  const bool plain = isa == CAMFIT_ISA_PLAIN;
  const Work dense = plain ? Work::kConv : Work::kWinograd, sparse = plain ? Work::kConv : Work::kWinogradPairs;
  const auto expect = [&](Work found, Work expected, const char* what) {
    CHECK(found == expected, "isa %d, %s: work %d, expected %d", int(isa), what, int(found), int(expected));
  };
  expect(structured(16, 64, 5, strided(3), isa, CAMFIT_SPEED), Work::kConvColumns, "5x5 with stride 3");
  expect(structured(16, 64, 3, strided(5), isa, CAMFIT_SPEED), Work::kConvColumns, "3x3 with stride 5");
  expect(structured(16, 64, 3, strided(2), isa, CAMFIT_SPEED), plain ? Work::kConvColumns : dense, "3x3 with stride 2");
  expect(structured(16, 64, 3, grouped, isa, CAMFIT_SPEED), Work::kConvColumns, "3x3, an eighth of each panel's channels");
  expect(structured(32, 64, 3, kernels(2), isa, CAMFIT_SPEED), sparse, "2 of 5 kernels");
  expect(structured(32, 64, 3, kernels(4), isa, CAMFIT_SPEED), dense, "4 of 5 kernels");
  expect(structured(16, 64, 5, strided(3), isa, CAMFIT_MEMORY), Work::kConvExpand, "mode memory");
}

// `below`, `above`: one weight in so many is kept, at half and at twice the density at which both are even. Measured on
// x86 alone, so other processors have no case.
[[maybe_unused]] void test_linear(camfit_isa isa, uint32_t size, uint32_t below, uint32_t above) {
  for (uint32_t one_in : {below, above}) {
    NetworkBuilder net(1, 1, size);
    net.linear(2, net.node(12, {0}, {}), size, net.codebook({size, size}, 15, one_in));
    const Chosen c = load(net, CAMFIT_SPEED, isa, "linear");
    CHECK((c.work == Work::kLinear) == (one_in == above), "%s, %u x %u, %.0f %%: work %d", c.kernels->name, size, size,
          c.density * 100, int(c.work));
  }
}

// Blocks of scattered float values would take 32 MB where rows take 9: no cache holds them, and rows are twice as fast.
[[maybe_unused]] void test_values_from_memory(camfit_isa isa) {
  const uint32_t size = 3072;
  NetworkBuilder net(1, 1, size);
  net.linear(2, net.node(12, {0}, {}), size, net.sparse({size, size}, 6));
  const Chosen c = load(net, CAMFIT_SPEED, isa, "values from memory");
  CHECK(c.work == Work::kLinearRows, "%s: work %d", c.kernels->name, int(c.work));
}

}  // namespace

int main() {
  test_convolutions(CAMFIT_ISA_PLAIN);
  test_structured(CAMFIT_ISA_PLAIN);
#if defined(__x86_64__)
  if (avx2_kernels()) {
    test_convolutions(CAMFIT_ISA_AVX2);
    test_structured(CAMFIT_ISA_AVX2);
    test_linear(CAMFIT_ISA_AVX2, 512, 14, 3);
    test_linear(CAMFIT_ISA_AVX2, 1024, 11, 2);
    test_values_from_memory(CAMFIT_ISA_AVX2);
  }
  if (avx512_kernels()) {
    test_convolutions(CAMFIT_ISA_AVX512);
    test_structured(CAMFIT_ISA_AVX512);
    test_linear(CAMFIT_ISA_AVX512, 512, 9, 2);
    test_linear(CAMFIT_ISA_AVX512, 1024, 8, 2);
  }
#endif
  return camfit_test::failures ? 1 : 0;
}
